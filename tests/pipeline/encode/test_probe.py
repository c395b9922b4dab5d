from fractions import Fraction

import pytest

from pipeline.encode import probe
from pipeline.encode.probe import (
    LIVE_PRESETS,
    NVENC,
    SOFTWARE,
    choose_encoder,
    encoder_works,
    live_preset,
)
from pipeline.errors import EncodeError


@pytest.mark.parametrize("name", ["nonsense", "", "rawaudio"])
def test_what_is_no_encoder_does_not_work(name: str) -> None:
    assert encoder_works(name) is False


@pytest.mark.parametrize("name", list(SOFTWARE.values()))
def test_the_software_encoders_work(name: str) -> None:
    assert encoder_works(name) is True


def working(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    monkeypatch.setattr(probe, "encoder_works", lambda name: name in names)


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_auto_takes_hardware_only_where_it_works(
    monkeypatch: pytest.MonkeyPatch, codec: probe.Codec
) -> None:
    working(monkeypatch, SOFTWARE[codec], NVENC[codec])
    assert choose_encoder(codec, "auto") == NVENC[codec]
    assert choose_encoder(codec, "nvenc") == NVENC[codec]
    assert choose_encoder(codec, "software") == SOFTWARE[codec]
    working(monkeypatch, SOFTWARE[codec])
    assert choose_encoder(codec, "auto") == SOFTWARE[codec]


def test_a_wish_that_cannot_be_met_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    working(monkeypatch, "libx264")
    with pytest.raises(EncodeError, match=r"encode\.encoder is nvenc, but a test encode"):
        choose_encoder("h264", "nvenc")
    with pytest.raises(EncodeError, match="libx265 does not work"):
        choose_encoder("h265", "auto")


def test_a_machine_with_time_gets_the_best_preset_and_one_without_the_fastest() -> None:
    """One frame in a quarter of an hour, and a million frames a second."""
    assert live_preset("libx264", 320, 180, Fraction(1, 1000), 1) == LIVE_PRESETS[0]
    assert live_preset("libx264", 320, 180, Fraction(1_000_000), 1) == LIVE_PRESETS[-1]


def test_a_list_of_names_is_no_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    """The encoder opens, and then gives nothing: as NVENC does on cards that have none."""

    def silent(*_: object, **__: object) -> None:
        raise EncodeError("libx264 gave 0 packets for 3 frames")

    probe.encoder_works.cache_clear()
    monkeypatch.setattr(probe, "_encode", silent)
    try:
        assert encoder_works("libx264") is False
    finally:
        probe.encoder_works.cache_clear()
