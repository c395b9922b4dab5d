from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from engines import Catalog, EngineError, FusionEntry
from engines.base import Array
from engines.catalog import verified_graphs
from engines.export.parity import TOLERANCES, Engines, Tolerance, compare, made_faces
from engines.scripted import ScriptedEngine
from engines.select_runtime import Runtime, open_on

SHIPPED = Catalog.load(Path(__file__).resolve().parents[3] / "configs" / "models.yaml").fusions
Entries = Mapping[str, FusionEntry]


SMALL = ((2, 24, 40), (1, 8, 8))


def engines(entry: FusionEntry, runtime: Runtime) -> Engines:
    return Engines(*open_on(runtime, entry, verified_graphs(entry), threads=1).values())


def off_by(entry: FusionEntry, difference: float, part: int = 0) -> Engines:
    """The reference, one part of which is off."""
    made = list(engines(entry, "eager-cpu"))
    inner = made[part]
    assert inner is not None

    def script(inputs: Mapping[str, Array]) -> dict[str, Array]:
        outputs = inner.run(inputs)
        return outputs | {"out": outputs["out"] + np.float32(difference)}

    made[part] = ScriptedEngine(script)
    return Engines(*made)  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["scrambled", "keyed", "one-block", "restored"])
def test_openvino_is_within_its_tolerance(entries: Entries, name: str) -> None:
    entry = entries[name]
    found = compare(entry.spec, engines(entry, "eager-cpu"), engines(entry, "openvino"))
    assert found.runtime == "openvino"
    assert found.holds(), found
    assert found.protect_float_levels < 0.01 and found.recover_float_levels < 0.05


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_shipped_models_are_within_it_too(name: str) -> None:
    """Trained weights multiply other numbers than random ones. The sizes: a face, and one cell."""
    entry = SHIPPED[name]
    reference, candidate = engines(entry, "eager-cpu"), engines(entry, "openvino")
    found = compare(entry.spec, reference, candidate, cases=((1, 112, 112), *SMALL))
    assert found.holds(), found


def test_the_reference_is_the_reference(entries: Entries) -> None:
    entry = entries["restored"]
    found = compare(
        entry.spec, engines(entry, "eager-cpu"), engines(entry, "eager-cpu"), cases=SMALL
    )
    assert (found.protect_levels, found.recover_levels, found.loss_db) == (0, 0, 0.0)
    assert found.holds()


def test_a_runtime_that_is_off_does_not_hold(entries: Entries) -> None:
    entry = entries["restored"]
    reference = engines(entry, "eager-cpu")
    for part, field in ((0, "protect_levels"), (1, "recover_levels"), (2, "recover_levels")):
        found = compare(entry.spec, reference, off_by(entry, 12 / 255, part), cases=SMALL)
        assert getattr(found, field) >= 3
        assert not found.holds(Tolerance(levels=2, recovery_loss_db=99))


def test_not_a_number_never_holds(entries: Entries) -> None:
    entry = entries["scrambled"]
    good = engines(entry, "eager-cpu")
    broken = good._replace(
        recover=ScriptedEngine(lambda inputs: {"out": np.full_like(inputs["y"], np.nan)})
    )
    with pytest.raises(EngineError, match="no usable picture"):
        compare(entry.spec, good, broken, cases=SMALL)


def test_a_wrong_shape_is_an_error(entries: Entries) -> None:
    entry = entries["scrambled"]
    good = engines(entry, "eager-cpu")
    broken = good._replace(protect=ScriptedEngine(lambda inputs: {"out": inputs["y"][:, :1]}))
    with pytest.raises(EngineError, match="the reference"):
        compare(entry.spec, good, broken, cases=SMALL)


def test_every_runtime_has_a_tolerance() -> None:
    assert set(TOLERANCES) == set(get_args(Runtime))
    assert TOLERANCES["openvino"].levels == 1
    for tolerance in TOLERANCES.values():
        assert tolerance.levels <= 2 and tolerance.recovery_loss_db <= 0.1


def test_what_is_compared_looks_like_pictures(entries: Entries) -> None:
    """Flat or random pictures would say little about faces."""
    for entry in entries.values():
        for original, obfuscated, secrets in made_faces(entry.spec, 0):
            assert len(original) == (2 if entry.spec.layout.planes == "yuv420" else 1)
            for plane, hidden in zip(original, obfuscated, strict=True):
                assert plane.dtype == hidden.dtype == np.uint8
                assert plane.shape == hidden.shape
                assert hidden.min() >= 20 and hidden.max() <= 234  # head-room
                if plane.shape[2] >= 40:
                    assert 20 < plane.std() < 80
                    neighbours = np.corrcoef(plane[..., 1:].ravel(), plane[..., :-1].ravel())
                    assert neighbours[0, 1] > 0.8
            assert (secrets.sign_map is not None) == entry.spec.keyed
            assert (secrets.order is not None) == entry.spec.scrambled


def test_a_perfect_recovery_is_infinite_and_holds(entries: Entries) -> None:
    """Nothing is lost against infinity but infinity."""
    entry = entries["scrambled"]
    same = Engines(
        ScriptedEngine(lambda inputs: {"out": inputs["y"]}),
        ScriptedEngine(lambda inputs: {"out": inputs["y"]}),
    )
    found = compare(entry.spec, same, same, cases=SMALL)
    assert math.isfinite(found.recovery_db) and found.loss_db == 0
