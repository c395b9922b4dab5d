"""Presets of the detector: the table, and the ways to it from a file and the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from engines import Catalog, EngineError, ModelEntry
from pipeline import build, protect_command
from pipeline.build import build_service, open_detector
from pipeline.config import settings_from
from pipeline.errors import SettingsError
from pipeline.resources import config_path
from pipeline.settings import DETECTOR_PRESETS, DetectorPreset, DetectorSettings
from support.flow import bauta

CATALOG = Catalog.load(config_path("models.yaml"))


def test_what_each_preset_looks_with() -> None:
    sizes = {
        preset: [CATALOG.entry(name).input_size_px for name in models]
        for preset, models in DETECTOR_PRESETS.items()
    }
    assert sizes == {
        "fast": [(480, 288)],
        "default": [(640, 384)],
        "fine": [(960, 544)],
        "thorough": [(640, 384), (1280, 736)],
    }
    for models in DETECTOR_PRESETS.values():
        # of an installed package: every preset works offline
        assert all(CATALOG.entry(name).file.startswith("package:") for name in models)


def test_the_table_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        DETECTOR_PRESETS["fast"] = ("yunet",)  # type: ignore[index]


def test_a_model_takes_the_place_of_the_preset() -> None:
    assert DetectorSettings().models == DETECTOR_PRESETS["default"]
    assert DetectorSettings(preset="thorough").models == ("centerface", "centerface-xlarge")
    assert DetectorSettings(model="yunet").models == ("yunet",)
    assert DetectorSettings(preset="default", model="yunet").models == ("yunet",)


def test_presets_differ_in_their_networks_alone() -> None:
    fast, thorough = (DetectorSettings(preset=preset) for preset in ("fast", "thorough"))
    assert fast.model_copy(update={"preset": "thorough"}) == thorough
    default = DetectorSettings()
    assert fast.model_copy(update={"preset": "default"}) == default


@pytest.mark.parametrize(
    ("detector", "words"),
    [
        ({"preset": "slow"}, "detector.preset: Input should be 'fast', 'default', 'fine' or"),
        ({"preset": None}, "detector.preset: "),
        ({"presets": "fast"}, "detector.presets: unknown key; did you mean preset?"),
        ({"preset": "fast", "model": "yunet"}, "detector: model 'yunet' takes the place of preset"),
    ],
)
def test_wrong_sections_say_where(detector: dict[str, Any], words: str) -> None:
    with pytest.raises(SettingsError) as caught:
        settings_from({"detector": detector})
    assert str(caught.value).startswith(words)


def test_a_preset_and_a_model_are_not_both_asked_for() -> None:
    with pytest.raises(ValidationError, match="'thorough': leave one out"):
        DetectorSettings(preset="thorough", model="centerface-large")


@pytest.mark.parametrize(
    ("settings", "start"),
    [
        (DetectorSettings(preset="thorough"), "detector.preset thorough: model centerface-xlarge"),
        (DetectorSettings(model="centerface-xlarge"), "detector.model: model centerface-xlarge"),
        (DetectorSettings(model="nope"), "detector.model: unknown model 'nope'"),
        (DetectorSettings(model="fan68"), "detector.model: fan68 finds landmarks"),
    ],
)
def test_what_cannot_be_had_is_said_with_its_key(
    settings: DetectorSettings, start: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[FakeEngine] = []

    def open_engine(entry: ModelEntry, *, threads: int = 0) -> FakeEngine:
        if entry.name == "centerface-xlarge":
            raise EngineError(f"model {entry.name}: {entry.file} is not installed. {entry.fix}")
        opened.append(FakeEngine())
        return opened[-1]

    monkeypatch.setattr(build, "open_engine", open_engine)
    with pytest.raises(SettingsError) as caught:
        build_service(settings)
    assert str(caught.value).startswith(start)
    assert all(engine.closed for engine in opened)  # what came up before the failure goes
    assert len(opened) == (1 if settings.preset == "thorough" else 0)


class FakeEngine:
    closed = False

    def close(self) -> None:
        self.closed = True


@pytest.mark.parametrize("preset", list(DETECTOR_PRESETS))
def test_a_preset_opens(preset: DetectorPreset) -> None:
    detector = open_detector(DetectorSettings(preset=preset))
    assert detector.name == " + ".join(DETECTOR_PRESETS[preset])
    detector.close()


# --- bauta protect ---


@pytest.mark.parametrize(
    ("options", "models"),
    [
        ((), DETECTOR_PRESETS["fine"]),
        (("--detector-preset", "default"), DETECTOR_PRESETS["default"]),
        (("--detector-preset", "fast"), DETECTOR_PRESETS["fast"]),
        (("--detector-preset", "thorough"), DETECTOR_PRESETS["thorough"]),
        (("--model", "yunet"), ("yunet",)),
        # that of the encoder has names of its own
        (("--preset", "fast"), DETECTOR_PRESETS["fine"]),
    ],
)
def test_the_command_line_reaches_the_detector(
    options: tuple[str, ...],
    models: tuple[str, ...],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    asked: list[DetectorSettings] = []

    def no_service(settings: DetectorSettings) -> None:
        asked.append(settings)
        raise SettingsError("far enough")

    monkeypatch.setattr(protect_command, "build_service", no_service)
    done = bauta("protect", tmp_path / "in.mp4", tmp_path / "out.mp4", *options)
    assert "far enough" in done.error_line
    assert [settings.models for settings in asked] == [models]


def test_help_tells_the_two_presets_apart() -> None:
    text = " ".join(bauta("protect", "--help").out.split())
    assert "--detector-preset {fast,default,fine,thorough} how small a face is found" in text
    assert "--preset PRESET encoder preset" in text
