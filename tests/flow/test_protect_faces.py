"""What is hidden and what is not: from the first visible frame on, by every obfuscation."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from pipeline.detect.service import DetectionService
from support.asserts import (
    assert_background_kept,
    assert_faces_hidden,
    assert_faces_shown,
    face_visible,
)
from support.clips import Clip, decode_all, luma, make_clip
from support.flow import MOST_FALSE_COVER, assert_no_face, pictures_of, protect, run_file

TILES = [
    np.array([x, y, x + 80, y + 90], np.float32)
    for x in range(0, 640, 80)
    for y in range(0, 360, 90)
]


@pytest.mark.parametrize("enter_at", [20, 21, 22, 23])
def test_face_is_hidden_from_its_first_visible_frame(enter_at: int, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "enter.mp4", enter_at=enter_at, leave_at=40)
    assert [len(boxes) for boxes in clip.truth].count(1) == 40 - enter_at
    out = tmp_path / "out.mp4"
    result = protect(clip.path, out)
    assert result["obscured_frames"] == 0
    assert_no_face(clip, out)


@pytest.mark.parametrize(("detect_every", "lookahead"), [(1, 0), (2, 5), (8, 7), (5, 30)])
def test_other_windows_hide_entering_faces_too(
    detect_every: int, lookahead: int, tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "enter.mp4", enter_at=17, faces=2, face_px=50)
    out = tmp_path / "out.mp4"
    options = ("--detect-every", str(detect_every), "--lookahead", str(lookahead))
    assert protect(clip.path, out, *options)["obscured_frames"] == 0
    assert_no_face(clip, out)


def test_thorough_hides_small_faces_too(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "far.mp4", faces=4, face_px=12, frames=30)
    out = tmp_path / "out.mp4"
    # solid: pixels of so small a face are hardly finer than the cells that pixelate leaves
    options = ("--detector-preset", "thorough", "--obfuscation", "solid")
    assert protect(clip.path, out, *options)["obscured_frames"] == 0
    assert_no_face(clip, out)


@pytest.mark.parametrize("name", ["pixelate", "solid", "median", "noise", "mask", "blur"])
def test_each_obfuscation_hides(name: str, clip: Clip, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    protect(clip.path, out, "--obfuscation", name)
    assert_no_face(clip, out)


def test_obfuscations_really_differ(clip: Clip, tmp_path: Path) -> None:
    pictures = []
    for name in ("pixelate", "solid", "mask"):
        protect(clip.path, tmp_path / f"{name}.mp4", "--obfuscation", name)
        x1, y1, x2, y2 = clip.truth[10].astype(int)[0]
        face = pictures_of(tmp_path / f"{name}.mp4")[10][y1:y2, x1:x2].astype(int)
        pictures.append(face)
    for first, second in ((0, 1), (0, 2), (1, 2)):
        assert np.abs(pictures[first] - pictures[second]).mean() > 5


def test_everything_leaves_no_detail_anywhere(clip: Clip, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    assert protect(clip.path, out, "--everything")["frames"] == clip.frames
    after = pictures_of(out)
    assert len(after) == clip.frames
    for index, (old, shown) in enumerate(zip(decode_all(clip.path), after, strict=True)):
        assert_faces_hidden(luma(old), shown, clip.truth[index], most=0.2)
        if index % 10 == 0:
            assert max(face_visible(luma(old), shown, tile) for tile in TILES) < 0.35
        # coarse light and shadow stay: something can still be seen to happen
        assert abs(float(luma(old).mean()) - float(shown.mean())) < 6


def test_empty_scene_costs_almost_no_look_and_changes_hardly_anything(
    service: DetectionService, tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "empty.mp4", empty=True, frames=150)
    out = tmp_path / "out.mp4"
    session = run_file(service, clip, out)
    assert session.counts.frames_out == 150 and session.counts.face_frames == 0
    assert session.window is not None
    # the first frame, the last, and one for every gate_refresh of 2 s: 150 / 25 / 2 = 3
    assert session.window.looks <= 5
    for old, new in zip(decode_all(clip.path), decode_all(out), strict=True):
        assert_background_kept(
            luma(old), luma(new), np.zeros((0, 4), np.float32), psnr_db=38, spare=MOST_FALSE_COVER
        )


def test_moving_scene_is_looked_at_every_fourth_frame(
    service: DetectionService, clip: Clip, tmp_path: Path
) -> None:
    session = run_file(service, clip, tmp_path / "out.mp4")
    assert session.window is not None
    assert clip.frames / 4 <= session.window.looks <= clip.frames / 4 + 3


def test_always_zone_is_covered_in_every_frame(
    service: DetectionService, clip: Clip, tmp_path: Path
) -> None:
    zone = [(0.0, 0.0), (0.25, 0.0), (0.25, 0.5), (0.0, 0.5)]
    out = tmp_path / "out.mp4"
    run_file(service, clip, out, zones={"always": [zone]})
    for index, shown in enumerate(pictures_of(out)):
        covered = shown[2:176, 2:156].astype(int)
        assert np.abs(covered - 96).max() <= 6, f"frame {index}"
    # faces outside are still hidden
    before, after = decode_all(clip.path), pictures_of(out)
    for old, shown, boxes in zip(before, after, clip.truth, strict=True):
        assert_faces_hidden(luma(old), shown, boxes)


def test_never_zone_stays_clear_and_is_warned_of(
    service: DetectionService, clip: Clip, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    zone = [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]
    out = tmp_path / "out.mp4"
    with caplog.at_level(logging.WARNING):
        session = run_file(service, clip, out, zones={"never": [zone]})
    assert sum("CLEAR" in record.message for record in caplog.records) == 1
    assert not session.gate.redactions
    before, after = decode_all(clip.path), pictures_of(out)
    for old, shown, boxes in zip(before, after, clip.truth, strict=True):
        assert_faces_shown(luma(old), shown, boxes)


def test_never_zone_beside_the_face_uncovers_nothing(
    service: DetectionService, clip: Clip, tmp_path: Path
) -> None:
    right = float(np.concatenate(clip.truth)[:, 0].min()) / 640 - 0.01
    zone = [(0.0, 0.0), (right, 0.0), (right, 1.0), (0.0, 1.0)]
    out = tmp_path / "out.mp4"
    run_file(service, clip, out, zones={"never": [zone]})
    assert_no_face(clip, out)
