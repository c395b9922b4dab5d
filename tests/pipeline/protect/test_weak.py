import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest

from pipeline.protect.weak import (
    CHANCE_PERCENT,
    NAMED,
    PARROT_MOST_PERCENT,
    RESTORED_MOST_PERCENT,
    weakness,
)
from pipeline.settings import ProtectSettings

BASELINE = Path(__file__).parents[3] / "benchmarks" / "results" / "baseline-reidentify.json"
OBFUSCATIONS = get_args(ProtectSettings.model_fields["obfuscation"].annotation)


@pytest.fixture(scope="module")
def measured() -> Mapping[str, Any]:
    found: Mapping[str, Any] = json.loads(BASELINE.read_text(encoding="utf-8"))
    return found


def settings(obfuscation: str, strength: float = 0.25) -> ProtectSettings:
    return ProtectSettings.model_validate({"obfuscation": obfuscation, "strength": strength})


def test_the_figures_are_those_that_were_measured(measured: Mapping[str, Any]) -> None:
    assert pytest.approx(100 / measured["settings"]["gallery"]) == CHANCE_PERCENT
    by_name = {line["setting"]: line for line in measured["summary"]}
    for obfuscation, by_strength in NAMED.items():
        for strength, named in by_strength.items():
            line = by_name[f"{obfuscation} {strength:g}"]
            assert named.parrot == pytest.approx(line["parrot_rank1"], abs=0.051)
            if named.restored is None:
                assert "restored_rank1" not in line
            else:
                assert named.restored == pytest.approx(line["restored_rank1"], abs=0.051)


def test_whatever_does_not_hold_is_named_and_nothing_else(measured: Mapping[str, Any]) -> None:
    for line in measured["summary"]:
        if ":" in line["setting"]:
            continue  # keyed protectors: as their obfuscation
        obfuscation, _, strength = line["setting"].partition(" ")
        holds = line["parrot_rank1"] <= PARROT_MOST_PERCENT
        holds &= line.get("restored_rank1", 0) <= RESTORED_MOST_PERCENT
        assert (weakness(settings(obfuscation, float(strength or 0.25))) is None) == holds


@pytest.mark.parametrize("obfuscation", OBFUSCATIONS)
def test_a_weakness_has_a_figure_chance_and_a_way_out(obfuscation: str) -> None:
    found = weakness(settings(obfuscation))
    assert (found is None) == (obfuscation not in NAMED)
    if found is not None:
        assert found.startswith(f"{obfuscation} 0.25: ")
        assert "% of 200 people" in found and "(chance 0.5 %)" in found
        assert "choose mask or solid" in found


@pytest.mark.parametrize("obfuscation", NAMED)
def test_between_two_strengths_the_milder_one_speaks(obfuscation: str) -> None:
    assert f"{NAMED[obfuscation][0.25].parrot:.1f} %" in str(weakness(settings(obfuscation, 0.4)))
    assert "0.4, measured at 0.25: " in str(weakness(settings(obfuscation, 0.4)))
    least = min(NAMED[obfuscation])
    assert f"measured at {least:g}" in str(weakness(settings(obfuscation, 0.05)))
