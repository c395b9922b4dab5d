from __future__ import annotations

import struct
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.frames import planes_of
from pipeline.source.normalize import Normalizer
from support.clips import Clip, Codec, decode_all, luma, make_clip, textured_background


def picture(width: int, height: int, name: str) -> av.VideoFrame:
    rgb = av.VideoFrame.from_ndarray(textured_background(width, height), format="rgb24")
    frame = rgb.reformat(format=name)
    frame.color_range = 2 if name.startswith("yuvj") else 1
    return frame


@pytest.mark.parametrize("name", ["yuv420p", "yuvj420p"])
def test_what_fits_is_passed_on_untouched(name: str) -> None:
    """The very same object: no copy of a 1080p frame that needs none."""
    normalize = Normalizer("lobby")
    for _ in range(3):
        image = picture(64, 48, name)
        assert normalize(image) is image


@pytest.mark.parametrize(
    "name", ["yuv422p", "yuv444p", "yuv420p10le", "yuv422p10le", "nv12", "gray", "rgb24"]
)
def test_other_formats_become_8_bit_420(name: str, caplog: pytest.LogCaptureFixture) -> None:
    normalize = Normalizer("lobby")
    image = picture(64, 48, name)
    made = normalize(image)

    assert (made.format.name, made.width, made.height) == ("yuv420p", 64, 48)
    expected = luma(picture(64, 48, "yuv420p")).astype(int)
    assert np.abs(planes_of(made).y.astype(int) - expected).mean() < 3
    normalize(picture(64, 48, name))
    assert len(caplog.records) == 1  # said once
    assert f"lobby: {name} 64x48 is converted to yuv420p 64x48" in caplog.text


@pytest.mark.parametrize("name", ["yuv420p", "yuv444p"])
@pytest.mark.parametrize("size", [(65, 48), (64, 49), (65, 49), (3, 3), (2, 2), (1, 1)])
def test_odd_sides_become_even(size: tuple[int, int], name: str) -> None:
    image = av.VideoFrame(*size, name)
    for plane in image.planes:
        plane.update(bytes([120]) * plane.buffer_size)
    made = Normalizer("lobby")(image)
    assert (made.width, made.height) == tuple(max(side // 2 * 2, 2) for side in size)
    assert np.abs(planes_of(made).y.astype(int) - 120).max() <= 2


FORMATS: list[tuple[Codec, str, str]] = [
    ("libx264", "yuv422p", ".mp4"),
    ("libx264", "yuv444p", ".mkv"),
    ("libx264", "yuv420p10le", ".mkv"),
    ("libx265", "yuv420p10le", ".mkv"),
    ("mjpeg", "yuvj420p", ".mkv"),
    ("mjpeg", "yuvj422p", ".mkv"),
    ("mjpeg", "yuvj444p", ".mkv"),
]


@pytest.mark.parametrize(("codec", "name", "suffix"), FORMATS)
def test_decoded_pictures_look_the_same(
    tmp_path: Path, codec: Codec, name: str, suffix: str
) -> None:
    """As a viewer sees them, in colour: levels and range must agree with each other."""
    clip = make_clip(
        tmp_path / f"a{suffix}", codec=codec, pix_fmt=name, size=(160, 96), frames=2, face_px=30
    )
    image = decode_all(clip.path)[0]
    made = Normalizer("lobby")(image)

    before = image.to_ndarray(format="rgb24").astype(float)
    after = made.to_ndarray(format="rgb24").astype(float)
    planes_of(made)  # the live path can work on it
    assert abs(before.mean() - after.mean()) < 1.5
    assert after.std() == pytest.approx(before.std(), rel=0.05)  # range mixed up: 16 % more or less
    assert np.abs(before - after).mean() < 6


def test_a_smaller_picture_is_fitted_whole_into_the_first_size() -> None:
    normalize = Normalizer("lobby")
    normalize(picture(160, 96, "yuv420p"))
    small = av.VideoFrame(96, 96, "yuv420p")
    for plane in small.planes:
        plane.update(bytes([180]) * plane.buffer_size)
    small.color_range, small.colorspace = 1, 1

    made = normalize(small)

    assert (made.width, made.height, made.format.name) == (160, 96, "yuv420p")
    assert (made.color_range, made.colorspace) == (1, 1)
    planes = planes_of(made)
    assert (planes.y[:, 32:128] > 170).all()
    for border in (planes.y[:, :30], planes.y[:, 130:]):
        assert (border == 16).all()
    assert (planes.u[:, :14] == 128).all() and (planes.v[:, 66:] == 128).all()


@pytest.mark.parametrize(
    "second", [(320, 192), (96, 160), (162, 96), (2, 2), (1000, 2), (63, 97), (160, 98)]
)
def test_any_later_size_keeps_the_streams_size(second: tuple[int, int]) -> None:
    normalize = Normalizer("lobby")
    normalize(picture(160, 96, "yuv420p"))
    image = av.VideoFrame(*second, "yuv420p")
    for plane in image.planes:
        plane.update(bytes([180]) * plane.buffer_size)
    made = normalize(image)
    assert (made.width, made.height) == (160, 96)
    assert planes_of(made).y.max() > 170  # the picture is in there


def test_the_first_size_comes_back_untouched(tmp_path: Path) -> None:
    clip = make_clip(
        tmp_path / "a.264",
        size=(160, 96),
        second_size=(128, 96),
        frames=6,
        face_px=24,
        resolution_change_at=3,
    )
    normalize = Normalizer("lobby")
    frames = decode_all(clip.path)
    assert [(frame.width, frame.height) for frame in frames] == list(clip.sizes)
    made = [normalize(frame) for frame in frames]
    assert [a is b for a, b in zip(made, frames, strict=True)] == [True] * 3 + [False] * 3
    assert {(frame.width, frame.height) for frame in made} == {(160, 96)}


def turned(clip: Clip, degrees: int) -> Path:
    """The clip with a display matrix, as a phone writes it: `degrees` clockwise to be upright."""
    a, b, c, d, tx, ty = {
        90: (0, 1, -1, 0, clip.height, 0),
        180: (-1, 0, 0, -1, clip.width, clip.height),
        270: (0, -1, 1, 0, 0, clip.width),
    }[degrees]
    content = bytearray(clip.path.read_bytes())
    # tkhd: type, version and flags, five 32-bit fields, 8 reserved bytes, four 16-bit fields
    at = content.find(b"tkhd") + 4 + 4 + 5 * 4 + 8 + 4 * 2
    one = 1 << 16
    matrix = (a * one, b * one, 0, c * one, d * one, 0, tx * one, ty * one, 1 << 30)
    content[at : at + 36] = struct.pack(">9i", *matrix)
    path = clip.path.with_name(f"turned{degrees}.mp4")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("degrees", [90, 180, 270])
def test_a_turned_picture_is_set_upright(tmp_path: Path, degrees: int) -> None:
    """A face that lies on its side is not found."""
    clip = make_clip(tmp_path / "a.mp4", size=(160, 96), frames=3, face_px=30)
    normalize = Normalizer("lobby")
    for lying in decode_all(turned(clip, degrees)):
        upright = planes_of(normalize(lying))
        before = planes_of(lying)
        for plane, old in (
            (upright.y, before.y),
            (upright.u, before.u),
            (upright.v, before.v),
        ):
            np.testing.assert_array_equal(plane, np.rot90(old, -degrees // 90))
