from __future__ import annotations

import math
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from support.asserts import (
    U8Array,
    assert_background_kept,
    assert_faces_hidden,
    assert_faces_shown,
    face_visible,
    filled,
    pixelated,
)
from support.clips import (
    FORWARD_JUMP_S,
    LATE_START_S,
    PtsFault,
    corrupt_packets,
    decode_all,
    luma,
    make_clip,
    not_a_video,
    truncate,
    zero_length,
)

SMALL: dict[str, Any] = {"size": (320, 240), "face_px": 40, "frames": 12}


def seconds(frame: av.VideoFrame) -> float:
    return math.nan if frame.time is None else frame.time


@pytest.mark.parametrize(
    ("name", "request_", "pix_fmt"),
    [
        ("a.mp4", {}, "yuv420p"),
        ("b.mkv", {"bframes": 2}, "yuv420p"),
        ("c.ts", {"bframes": 2, "audio": True, "vfr": True}, "yuv420p"),
        ("d.mkv", {"vfr": True, "audio": True, "bframes": 2}, "yuv420p"),
        ("e.mp4", {"codec": "libx265", "pix_fmt": "yuv420p10le"}, "yuv420p10le"),
        ("f.264", {"bframes": 2}, "yuv420p"),
        ("g.265", {"codec": "libx265"}, "yuv420p"),
        ("h.avi", {"codec": "mjpeg", "pix_fmt": "yuv422p"}, "yuvj422p"),
        ("i.mkv", {"codec": "ffv1", "pix_fmt": "yuv444p", "size": (321, 241)}, "yuv444p"),
        ("j.mkv", {"pix_fmt": "yuvj420p"}, "yuvj420p"),
        ("k.mkv", {"pix_fmt": "yuv422p", "fps": Fraction(30_000, 1001)}, "yuv422p"),
        ("l.mp4", {"cover_stream": True, "slices": 4}, "yuv420p"),
    ],
)
def test_a_clip_is_what_it_says(
    tmp_path: Path, name: str, request_: dict[str, Any], pix_fmt: str
) -> None:
    clip = make_clip(tmp_path / name, **(SMALL | request_))
    frames = decode_all(clip.path)
    assert len(frames) == clip.frames == len(clip.pts) == len(clip.sizes) == 12
    assert {frame.format.name for frame in frames} == {pix_fmt}
    assert [(frame.width, frame.height) for frame in frames] == list(clip.sizes)
    # 1 ms: what Matroska rounds to.
    got = [seconds(frame) for frame in frames]
    np.testing.assert_allclose(got, clip.pts, rtol=0, atol=0.0011)
    with av.open(str(clip.path)) as container:
        assert bool(container.streams.audio) == clip.has_audio
        assert len(container.streams.video) == (2 if "cover_stream" in request_ else 1)


def test_b_frames_are_really_there(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "b.mp4", bframes=2, **SMALL)
    with av.open(str(clip.path)) as container:
        pts = [packet.pts for packet in container.demux(video=0) if packet.pts is not None]
    assert pts != sorted(pts)


def test_the_same_seed_paints_the_same_clip(tmp_path: Path) -> None:
    first, again, other = (
        decode_all(make_clip(tmp_path / f"{index}.mkv", codec="ffv1", seed=seed, **SMALL).path)[5]
        for index, seed in enumerate((3, 3, 4))
    )
    assert np.array_equal(luma(first), luma(again))
    assert not np.array_equal(luma(first), luma(other))


def test_faces_come_and_go_and_move(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", faces=2, enter_at=3, leave_at=9, **SMALL)
    assert [len(boxes) for boxes in clip.truth] == [0] * 3 + [2] * 6 + [0] * 3
    assert not np.array_equal(clip.truth[3], clip.truth[8])
    x1, y1, x2, y2 = clip.truth[3].T
    assert np.all(x2 - x1 == pytest.approx(40, abs=0.5)) and np.all(y2 > y1)
    assert x1.min() >= 0 and y1.min() >= 0 and x2.max() <= 320 and y2.max() <= 240
    empty = make_clip(tmp_path / "b.mkv", empty=True, **SMALL)
    assert {boxes.shape for boxes in empty.truth} == {(0, 4)}
    assert np.any(luma(decode_all(clip.path)[5]) != luma(decode_all(empty.path)[5]))


@pytest.mark.parametrize("name", ["a.264", "a.ts"])
def test_the_resolution_changes_on_the_way(tmp_path: Path, name: str) -> None:
    clip = make_clip(tmp_path / name, resolution_change_at=5, second_size=(256, 192), **SMALL)
    sizes = [(frame.width, frame.height) for frame in decode_all(clip.path)]
    assert sizes == list(clip.sizes) == [(320, 240)] * 5 + [(256, 192)] * 7


@pytest.mark.parametrize(
    ("name", "fault"),
    [
        ("a.ts", "missing"),
        ("a.ts", "repeat"),
        ("a.mkv", "repeat"),
        ("a.ts", "backward"),
        ("a.mkv", "backward"),
        ("a.ts", "forward"),
        ("a.ts", "late_start"),
    ],
)
def test_lying_timestamps_reach_the_reader(tmp_path: Path, name: str, fault: PtsFault) -> None:
    clip = make_clip(tmp_path / name, pts_faults=fault, **SMALL)
    got = [seconds(frame) for frame in decode_all(clip.path)]
    np.testing.assert_allclose(got, clip.pts, rtol=0, atol=0.0011)
    steps = [after - before for before, after in pairwise(got)]
    assert {
        "missing": any(math.isnan(time) for time in got),
        "repeat": 0.0 in steps,
        "backward": min(steps) < 0,
        "forward": max(steps) > FORWARD_JUMP_S - 1,
        "late_start": got[0] >= LATE_START_S,
    }[fault]


def test_a_fault_that_a_container_cannot_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'missing' needs one of"):
        make_clip(tmp_path / "a.mp4", pts_faults="missing")
    with pytest.raises(ValueError, match="face_px 200 needs"):
        make_clip(tmp_path / "a.mp4", face_px=200)


@pytest.mark.parametrize(
    ("name", "codec"), [("a.ts", "libx264"), ("a.264", "libx264"), ("a.265", "libx265")]
)
def test_corruption_shows_and_the_rest_still_decodes(tmp_path: Path, name: str, codec: Any) -> None:
    clip = make_clip(tmp_path / name, codec=codec, gop=6, **(SMALL | {"frames": 24}))
    damaged = tmp_path / f"damaged{clip.path.suffix}"
    assert corrupt_packets(clip.path, damaged) >= 2
    assert damaged.stat().st_size == clip.path.stat().st_size
    before, after = decode_all(clip.path), decode_all(damaged, damaged_ok=True)
    assert len(after) >= 12
    pairs = zip(before, after, strict=False)
    assert any(np.any(luma(clean) != luma(dirty)) for clean, dirty in pairs)


def test_files_that_are_no_clips(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", gop=3, **SMALL)
    truncate(clip.path, tmp_path / "cut.mkv", keep=0.5)
    assert 0 < len(decode_all(tmp_path / "cut.mkv", damaged_ok=True)) < clip.frames
    for path in (not_a_video(tmp_path / "b.mp4"), zero_length(tmp_path / "c.mkv")):
        with pytest.raises(av.FFmpegError):
            decode_all(path)


def test_luma_ignores_the_padding_of_rows() -> None:
    picture = np.arange(35 * 37, dtype=np.int64).reshape(35, 37).astype(np.uint8)
    chroma = np.full((35, 37), 128, np.uint8)
    frame = av.VideoFrame.from_ndarray(np.stack([picture, chroma, chroma]), format="yuv444p")
    assert frame.planes[0].line_size > 37
    assert np.array_equal(luma(frame), picture)


def reencoded(pictures: list[U8Array], path: Path, crf: int = 23) -> list[U8Array]:
    height, width = pictures[0].shape
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.options = {"crf": str(crf)}
        for picture in pictures:
            grey = np.full((height // 2, width), 128, np.uint8)
            frame = av.VideoFrame.from_ndarray(np.vstack([picture, grey]), format="yuv420p")
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return [luma(frame) for frame in decode_all(path)]


@pytest.mark.parametrize("face_px", [24, 40, 80])
def test_the_visibility_measure_discriminates(tmp_path: Path, face_px: int) -> None:
    clip = make_clip(tmp_path / "a.mkv", size=(320, 240), face_px=face_px, frames=8)
    originals = [luma(frame) for frame in decode_all(clip.path)]
    pairs = list(zip(originals, clip.truth, strict=True))
    crf23 = reencoded(originals, tmp_path / "same.mkv")
    five_cells = [pixelated(picture, boxes[0], cells=5) for picture, boxes in pairs]
    solid = [filled(picture, boxes[0]) for picture, boxes in pairs]
    redacted = {
        "5 cells": five_cells,
        "5 cells, x264": reencoded(five_cells, tmp_path / "cells.mkv"),
        "solid": solid,
        "solid, x264": reencoded(solid, tmp_path / "solid.mkv"),
    }
    for index, (original, boxes) in enumerate(pairs):
        assert_faces_shown(original, crf23[index], boxes, where=f"frame {index}")
        # The margin that the thresholds promise: 0.35 and 0.7 are far from either side.
        assert face_visible(original, crf23[index], boxes[0]) > 0.9
        for name, pictures in redacted.items():
            assert_faces_hidden(original, pictures[index], boxes, where=f"{name}, frame {index}")
            assert face_visible(original, pictures[index], boxes[0]) < 0.3
            assert_background_kept(original, pictures[index], boxes, where=name)
        with pytest.raises(AssertionError, match="still visible"):
            assert_faces_hidden(original, crf23[index], boxes)
        with pytest.raises(AssertionError, match="background changed"):
            assert_background_kept(original, original[::-1], boxes)


def test_half_a_face_is_a_visible_face(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", **SMALL)
    original, box = luma(decode_all(clip.path)[0]), clip.truth[0][0]
    upper = box.copy()
    upper[3] = (box[1] + box[3]) / 2
    with pytest.raises(AssertionError, match="still visible"):
        assert_faces_hidden(original, filled(original, upper), box)
    flat = np.full_like(original, 90)
    with pytest.raises(ValueError, match="no detail"):
        face_visible(flat, original, box)
