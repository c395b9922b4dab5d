"""`bauta protect` of every kind of file: all frames come out, on their own clock, faces hidden."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from support.asserts import U8Array, assert_faces_hidden, background_psnr_db
from support.clips import Clip, corrupt_packets, decode_all, luma, make_clip, truncate
from support.flow import (
    MOST_FALSE_COVER,
    assert_no_face,
    bauta,
    eight_bit_420,
    protect,
    seconds_of,
)

Make = Callable[[Path], Clip]

FORMATS: dict[str, Make] = {
    "h264.mp4": lambda d: make_clip(d / "h264.mp4"),
    "h264 with B frames.mp4": lambda d: make_clip(d / "b.mp4", bframes=2),
    "h264.ts": lambda d: make_clip(d / "h264.ts"),
    "h265.mkv": lambda d: make_clip(d / "h265.mkv", codec="libx265", bframes=2),
    "mjpeg.mkv": lambda d: make_clip(d / "mjpeg.mkv", codec="mjpeg", frames=30),
    "vfr.mkv": lambda d: make_clip(d / "vfr.mkv", vfr=True),
    "29.97.mp4": lambda d: make_clip(d / "ntsc.mp4", fps=Fraction(30000, 1001)),
    "slow.mp4": lambda d: make_clip(d / "slow.mp4", fps=2, frames=12),
    "cover.mp4": lambda d: make_clip(d / "cover.mp4", cover_stream=True),
    "cover.mkv": lambda d: make_clip(d / "cover.mkv", cover_stream=True),
    "two faces.mp4": lambda d: make_clip(d / "two.mp4", faces=2, face_px=60),
}


@pytest.mark.parametrize("name", FORMATS)
def test_every_frame_comes_out_on_its_own_clock_and_hidden(name: str, tmp_path: Path) -> None:
    clip = FORMATS[name](tmp_path)
    out = tmp_path / "out.mp4"

    result = protect(clip.path, out)

    assert result["frames"] == clip.frames
    assert result["obscured_frames"] == 0 and result["damaged_packets"] == 0
    assert result["faces_per_frame"] >= len(clip.truth[0]) * 0.95
    assert_no_face(clip, out)
    assert seconds_of(decode_all(out)) == seconds_of(decode_all(clip.path))


@pytest.mark.parametrize(
    ("codec", "ending"),
    [
        ("h264", ".mp4"),
        ("h264", ".mov"),
        ("h264", ".mkv"),
        ("h264", ".ts"),
        ("h265", ".mp4"),
        ("h265", ".ts"),
    ],
)
def test_every_container_and_codec_we_write(
    codec: str, ending: str, clip: Clip, tmp_path: Path
) -> None:
    out = tmp_path / f"out{ending}"
    protect(clip.path, out, "--codec", codec, "--preset", "ultrafast")
    assert_no_face(clip, out)
    frames = decode_all(out)
    # MPEG-TS has no zero: its clock starts where the muxer likes, and goes on as ours does
    times = [time - seconds_of(frames)[0] for time in seconds_of(frames)]
    assert [round(float(time), 3) for time in times] == [round(i / 25, 3) for i in range(50)]
    assert not list(tmp_path.glob("*.part"))


def test_bare_h264_without_any_clock_gets_an_even_one(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "bare.264", frames=30)
    out = tmp_path / "out.mp4"
    protect(clip.path, out)
    assert_no_face(clip, out)
    assert [float(time) for time in seconds_of(decode_all(out))] == pytest.approx(
        [index / 25 for index in range(30)], abs=0.021
    )


@pytest.mark.parametrize(
    ("fault", "ending"),
    [
        ("missing", ".ts"),
        ("repeat", ".ts"),
        ("repeat", ".mkv"),
        ("backward", ".ts"),
        ("backward", ".mkv"),
        ("forward", ".ts"),
        ("late_start", ".ts"),
    ],
)
def test_timestamps_that_lie_cost_no_frame(fault: str, ending: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / f"faulty{ending}", pts_faults=fault)  # type: ignore[arg-type]
    out = tmp_path / "out.mkv"

    result = protect(clip.path, out)

    assert result["frames"] == clip.frames
    assert_no_face(clip, out)
    times = seconds_of(decode_all(out))
    assert all(a < b for a, b in itertools.pairwise(times)), "time must go forward"
    if fault != "forward":
        # honest stamps stay where they were; a clock that starts again goes on
        assert float(times[-1] - times[0]) == pytest.approx(49 / 25, abs=0.081)


def test_variable_frame_rate_stays_exactly_on_the_source_clock(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "vfr.mkv", vfr=True, frames=60)
    for name in ("out.mp4", "out.mkv"):
        protect(clip.path, tmp_path / name)
        milliseconds = [round(time * 1000) for time in seconds_of(decode_all(tmp_path / name))]
        assert milliseconds == [round(pts * 1000) for pts in clip.pts]


@pytest.mark.parametrize("second_size", [(480, 272), (800, 448), (360, 640)])
def test_resolution_change_keeps_the_first_size_and_hides_both(
    second_size: tuple[int, int], tmp_path: Path
) -> None:
    clip = make_clip(
        tmp_path / "change.ts", resolution_change_at=25, second_size=second_size, face_px=90
    )
    out = tmp_path / "out.mp4"

    done = bauta("protect", clip.path, out, "--json")

    assert done.code == 0 and done.result["frames"] == 50
    assert f"{second_size[0]}x{second_size[1]}" in done.error_line
    before, after = decode_all(clip.path), decode_all(out)
    assert {(frame.width, frame.height) for frame in after} == {(640, 360)}
    scale = min(640 / second_size[0], 360 / second_size[1])
    width, height = (int(side * scale) // 2 * 2 for side in second_size)
    x, y = (640 - width) // 4 * 2, (360 - height) // 4 * 2
    for index, (old, new) in enumerate(zip(before, after, strict=True)):
        original, boxes = luma(old), clip.truth[index]
        shown = luma(new)
        if index >= 25:
            shown = shown[y : y + height, x : x + width]
            original = luma(old.reformat(width=width, height=height))
            boxes = boxes * np.array([width / old.width, height / old.height] * 2, np.float32)
            kept_db = background_psnr_db(original, shown, boxes, spare=2 * MOST_FALSE_COVER)
            assert kept_db > 25, "the whole picture is there"
        assert_faces_hidden(original, shown, boxes, where=f"frame {index}")


@pytest.mark.parametrize("ending", [".ts", ".264"])
def test_corrupt_packets_are_survived_and_no_face_shows(ending: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / f"clean{ending}", slices=4)
    broken = tmp_path / f"broken{ending}"
    assert corrupt_packets(clip.path, broken, every=9) > 10
    out = tmp_path / "out.mkv"

    done = bauta("protect", broken, out, "--json")

    assert done.code == 0, done.err
    decoded = decode_all(broken, damaged_ok=True)
    after = decode_all(out)
    assert len(after) == len(decoded) == done.result["frames"] > 40
    if len(decoded) == clip.frames:
        for index, (old, new) in enumerate(zip(decoded, after, strict=True)):
            # compared with what a viewer of the broken file would see
            assert_hidden_where_seen(luma(old), luma(new), clip, index)


@pytest.mark.parametrize("ending", [".ts", ".mkv"])
def test_truncated_file_gives_what_is_there(ending: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / f"whole{ending}")
    cut = tmp_path / f"cut{ending}"
    truncate(clip.path, cut, keep=0.6)
    out = tmp_path / "out.mp4"

    done = bauta("protect", cut, out, "--json")

    assert done.code == 0, done.err
    decoded = decode_all(cut, damaged_ok=True)
    after = decode_all(out)
    assert len(after) == len(decoded) > 20
    for index, (old, new) in enumerate(zip(decoded, after, strict=True)):
        assert_hidden_where_seen(luma(old), luma(new), clip, index)


def assert_hidden_where_seen(original: U8Array, shown: U8Array, clip: Clip, index: int) -> None:
    """A damaged picture may have lost its face; then there is nothing to hide."""
    for x1, y1, x2, y2 in clip.truth[index]:
        face = original[int(y1) : int(y2), int(x1) : int(x2)]
        # both halves still show something
        half = len(face) // 2
        if min(face[:half].std(), face[half:].std()) > 12:
            box = np.array([x1, y1, x2, y2], np.float32)
            assert_faces_hidden(original, shown, box, where=f"frame {index}")


CONVERTED: dict[str, Make] = {
    "yuv422p": lambda d: make_clip(d / "a.mkv", pix_fmt="yuv422p", frames=20),
    "yuv444p": lambda d: make_clip(d / "a.mkv", pix_fmt="yuv444p", frames=20),
    "yuv444p odd sides": lambda d: make_clip(
        d / "a.mkv", pix_fmt="yuv444p", size=(641, 361), frames=20
    ),
    "yuv420p10le": lambda d: make_clip(d / "a.mkv", pix_fmt="yuv420p10le", frames=20),
    "hevc yuv420p10le": lambda d: make_clip(
        d / "a.mkv", codec="libx265", pix_fmt="yuv420p10le", frames=20
    ),
    "yuvj422p": lambda d: make_clip(d / "a.mkv", codec="mjpeg", pix_fmt="yuvj422p", frames=20),
    "yuvj444p": lambda d: make_clip(d / "a.mkv", codec="mjpeg", pix_fmt="yuvj444p", frames=20),
    "bgr0": lambda d: make_clip(d / "a.mkv", codec="ffv1", pix_fmt="bgr0", frames=20),
    "gray": lambda d: make_clip(d / "a.mkv", codec="ffv1", pix_fmt="gray", frames=20),
}


@pytest.mark.parametrize("name", CONVERTED)
def test_other_pixel_formats_are_converted_and_said_in_one_line(name: str, tmp_path: Path) -> None:
    clip = CONVERTED[name](tmp_path)
    out = tmp_path / "out.mp4"

    done = bauta("protect", clip.path, out, "--json")

    assert done.code == 0, done.err
    assert "is converted to yuv" in done.error_line and "640x360" in done.error_line
    assert done.result["frames"] == 20 and done.result["obscured_frames"] == 0
    assert {frame.format.name for frame in decode_all(out)} <= {"yuv420p", "yuvj420p"}
    assert_no_face(clip, out, psnr_db=28.0)


@pytest.mark.parametrize("name", ["yuvj422p", "yuvj444p"])
def test_full_range_levels_are_what_the_output_says(name: str, tmp_path: Path) -> None:
    clip = CONVERTED[name](tmp_path)
    out = tmp_path / "out.mp4"
    protect(clip.path, out)
    old, new = decode_all(clip.path)[0], decode_all(out)[0]
    # seen by a player: both as RGB, by what each file says about itself
    shown_old = old.to_ndarray(format="gray").astype(int)
    shown_new = new.reformat(format="gray", dst_color_range=2).to_ndarray().astype(int)
    corner = (slice(0, 40), slice(0, 200))
    assert abs(shown_old[corner].mean() - shown_new[corner].mean()) < 3
    assert eight_bit_420(new).shape == (360, 640)


@pytest.mark.parametrize("frames", [1, 2, 5])
def test_very_short_videos(frames: int, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "short.mp4", frames=frames)
    out = tmp_path / "out.mp4"
    assert protect(clip.path, out)["frames"] == frames
    assert_no_face(clip, out)


@pytest.mark.parametrize("size", [(16, 16), (34, 18), (90, 1080), (1920, 32)])
def test_strange_sizes(size: tuple[int, int], tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "tiny.mp4", size=size, empty=True, frames=10)
    out = tmp_path / "out.mp4"
    result = protect(clip.path, out)
    assert result["frames"] == 10 and result["obscured_frames"] == 0
    assert {(frame.width, frame.height) for frame in decode_all(out)} == {size}
