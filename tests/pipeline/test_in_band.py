from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engines.bands import BandLayout
from pipeline import build
from pipeline.errors import SettingsError, SidecarError, UsageError
from pipeline.frames import MOTION_CELLS, CarriedFace, FusedFace, Motion, Square
from pipeline.in_band import ModelName, Sidecars, sidecar_paths
from pipeline.recover_in_band import _opened
from pipeline.settings import CameraSettings
from pipeline.vault.clip_key import new_clip_key
from pipeline.vault.identity import create_identity
from pipeline.vault.sidecar import is_complete, read_header, read_lines
from support.fusion import SPEC, scripted_model, use_scripted_models

FACE = (FusedFace(3, Square(10, 20, 48)),)
KEY = new_clip_key()


def camera(**more: object) -> CameraSettings:
    protect = {"protector": "proface-s"} | dict(more.pop("protect", {}))  # type: ignore[call-overload]
    return CameraSettings.model_validate(
        {"id": "cam", "source": "a.mp4", "protect": protect} | more
    )


def sidecars(paths: list[Path], *, live: bool = False) -> Sidecars:
    return Sidecars("cam", paths, ModelName("m", "ab" * 32), KEY, live=live)


def note(
    some: Sidecars,
    number: int,
    fused: tuple[FusedFace, ...] = FACE,
    carried: tuple[CarriedFace, ...] = (),
) -> None:
    some.note(
        number=number, pts_seconds=number / 25, size_px=(64, 96), fused=fused, carried=carried
    )


def test_a_line_names_the_frame_that_is_coded_and_the_number_of_its_keys(tmp_path: Path) -> None:
    """A live stream dropped the frames 1, 2 and 5 behind the gate."""
    paths = [tmp_path / "a" / "one.jsonl", tmp_path / "two.jsonl"]
    some = sidecars(paths)
    for number, fused in ((0, FACE), (3, ()), (4, FACE), (6, FACE)):
        note(some, number, fused)
    some.close()
    some.close()
    for path in paths:
        lines = list(read_lines(path, KEY.key))
        assert [(line.frame, line.number) for line in lines] == [(0, 0), (2, 4), (3, 6)]
        assert is_complete(path) and read_header(path).size_px == (64, 96)


def test_carried_faces_have_lines_of_their_own(tmp_path: Path) -> None:
    """Also those whose keyframe, number 1, was dropped behind the gate: recovery counts them."""
    still = np.zeros((MOTION_CELLS, MOTION_CELLS, 2), np.int16)

    def carried(key_number: int) -> tuple[CarriedFace, ...]:
        return (CarriedFace(3, Motion(key_number, (8, 18, 52), (8, 20, 52), still)),)

    some = sidecars([tmp_path / "one.jsonl"])
    note(some, 0)
    note(some, 2, (), carried(1))
    note(some, 3, ())
    note(some, 4, (), carried(0))
    note(some, 5, FACE, carried(0))
    some.close()
    lines = list(read_lines(tmp_path / "one.jsonl", KEY.key))
    assert [(line.frame, line.number) for line in lines] == [(0, 0), (1, 2), (3, 4), (4, 5)]
    assert [len(line.faces) for line in lines] == [1, 0, 0, 1]
    keys = [[face.motion.key_number for face in line.carried] for line in lines]
    assert keys == [[], [1], [0], [0]]


def test_a_file_ends_with_its_sidecar_and_a_camera_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    bad, good = tmp_path / "file" / "a.jsonl", tmp_path / "b.jsonl"
    with pytest.raises(SidecarError):
        note(sidecars([bad]), 0)
    some = sidecars([bad, good], live=True)
    with caplog.at_level(logging.ERROR):
        for number in range(3):
            note(some, number)
    some.close()
    assert len(list(read_lines(good, KEY.key))) == 3
    assert len(caplog.records) == 1
    assert "cannot be recovered any more" in caplog.records[0].message


def test_where_sidecars_go(tmp_path: Path) -> None:
    publish = [str(tmp_path / "a.mp4"), "rtsp://user:secret@10.0.0.1/x", str(tmp_path / "b.ts")]
    paths = sidecar_paths(camera(publish=publish, record={"dir": str(tmp_path / "r")}))
    assert paths[:2] == [tmp_path / "a.mp4.inband.jsonl", tmp_path / "b.ts.inband.jsonl"]
    assert paths[2].parent == tmp_path / "r" and paths[2].name.startswith("cam_2")
    assert len(paths) == 3


# --- from settings ---


def test_other_protectors_have_none_of_it() -> None:
    plain = CameraSettings(id="cam", source="a.mp4")
    assert build.build_in_band(plain, live=False) is None
    assert build.build_in_band(camera(privacy="everything"), live=False) is None


def test_recipients_are_read_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    use_scripted_models(monkeypatch)
    create_identity(tmp_path / "dpo.key", None)
    publish = [str(tmp_path / "out.mp4")]
    protect = {"recipients": [str(tmp_path / "dpo.pub")]}
    built = build.build_in_band(camera(publish=publish, protect=protect), live=False)
    assert built is not None and built.sidecars is not None
    for wrong, message in (("none.pub", "No such file"), ("dpo.key", "holds a secret key")):
        protect = {"recipients": [str(tmp_path / wrong)]}
        with pytest.raises(UsageError, match=message):
            build.build_in_band(camera(publish=publish, protect=protect), live=False)


def test_a_model_of_rgb_pictures_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    use_scripted_models(monkeypatch)

    def rgb(_name: str, *, threads: int = 0) -> object:
        model = scripted_model()
        model.spec = replace(SPEC, layout=BandLayout("rgb", 1))
        return model

    monkeypatch.setattr(build, "open_fusion_model", rgb)
    with pytest.raises(SettingsError, match="needs a model of the planes yuv420"):
        build.build_in_band(camera(), live=False)


def test_without_a_place_for_a_sidecar_it_is_said(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    use_scripted_models(monkeypatch)
    network = camera(publish=["rtsp://10.0.0.1/x"])
    with caplog.at_level(logging.WARNING):
        built = build.build_in_band(network, live=False, password="x")
    assert built is not None and built.sidecars is None
    assert "there is neither" in caplog.records[0].message


def test_a_model_that_shows_the_obfuscation_cannot_tell_a_wrong_key() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (112, 112), np.uint8)
    model = scripted_model()
    assert not _opened(model, noise)
    model.spec = replace(SPEC, mode="obfswr")
    assert _opened(model, noise)
