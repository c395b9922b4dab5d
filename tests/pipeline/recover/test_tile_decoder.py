"""What is decoded was sealed by whoever had the service key: whatever it is, nothing may break."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from functools import cache

import av
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.errors import RecordError
from pipeline.evidence.body import TileItem, mask_bits
from pipeline.frames import OriginalTile, YuvPlanes
from pipeline.recover.tile_decoder import TileDecoder, lay_in
from pipeline.seal.tile_encoder import TileEncoder
from support.tiles import moving_face, noise


@cache
def tiles() -> tuple[OriginalTile, ...]:
    return tuple(moving_face(8, size_px=(320, 240), face_px=60))


@cache
def items() -> tuple[TileItem, ...]:
    encoder = TileEncoder(lossless=True)
    return tuple(encoder.encode(tile) for tile in tiles())


def assert_is(made: YuvPlanes | None, expected: YuvPlanes) -> None:
    assert made is not None
    np.testing.assert_array_equal(made.y, expected.y)
    np.testing.assert_array_equal(made.u, expected.u)
    np.testing.assert_array_equal(made.v, expected.v)


def h264(width_px: int, height_px: int, pix_fmt: str = "yuv420p") -> bytes:
    """One picture that no tile encoder of ours made."""
    context = av.CodecContext.create("libx264", "w")
    context.width, context.height, context.pix_fmt = width_px, height_px, pix_fmt
    context.time_base = Fraction(1, 25)
    context.options = {"preset": "ultrafast", "tune": "zerolatency"}
    picture = av.VideoFrame(width_px, height_px, pix_fmt)
    for plane in picture.planes:
        plane.update(bytes(plane.buffer_size))
    return b"".join(bytes(packet) for packet in context.encode(picture))


# --- pixels ---


def test_tiles_come_back_in_order() -> None:
    decoder = TileDecoder()
    for item, tile in zip(items(), tiles(), strict=True):
        assert_is(decoder.decode(item), tile.planes)


def test_what_is_given_out_may_be_written_into() -> None:
    """The decoder makes the next picture out of its own, not out of what the caller painted."""
    decoder = TileDecoder()
    for item, tile in zip(items(), tiles(), strict=True):
        made = decoder.decode(item)
        assert_is(made, tile.planes)
        assert made is not None
        made.y[...], made.u[...], made.v[...] = 0, 0, 0


def test_a_decoder_goes_on_with_the_next_video() -> None:
    decoder = TileDecoder()
    for item, tile in zip(items() * 2, tiles() * 2, strict=True):
        assert_is(decoder.decode(item), tile.planes)


# --- damage ---


def test_without_its_beginning_nothing_comes() -> None:
    decoder = TileDecoder()
    assert [decoder.decode(item) for item in items()[1:]] == [None] * 7
    assert_is(decoder.decode(items()[0]), tiles()[0].planes)


@pytest.mark.parametrize(
    "packet",
    [b"", b"\0", b"\0\0\0\1", b"\0\0\0\1\x41", b"nonsense" * 9, b"\0\0\1\x65" + b"\xff" * 99],
)
def test_after_damage_nothing_comes_until_a_video_begins(packet: bytes) -> None:
    decoder = TileDecoder()
    first, second, third = items()[:3]
    assert_is(decoder.decode(first), tiles()[0].planes)
    assert decoder.decode(replace(second, packet=packet)) is None
    assert decoder.decode(third) is None
    assert_is(decoder.decode(first), tiles()[0].planes)
    assert_is(decoder.decode(second), tiles()[1].planes)


def test_a_missing_item_must_be_told() -> None:
    decoder = TileDecoder()
    assert_is(decoder.decode(items()[0]), tiles()[0].planes)
    decoder.skip()
    assert decoder.decode(items()[2]) is None
    assert_is(decoder.decode(items()[0]), tiles()[0].planes)


def test_a_packet_that_was_cut_short_is_damage() -> None:
    packet = items()[1].packet
    for length in range(0, len(packet) - len(packet) // 4, 61):
        decoder = TileDecoder()
        decoder.decode(items()[0])
        assert decoder.decode(replace(items()[1], packet=packet[:length])) is None


def test_two_pictures_in_one_packet_are_none() -> None:
    both = items()[0].packet + items()[1].packet
    assert TileDecoder().decode(replace(items()[0], packet=both)) is None


def test_a_rectangle_larger_than_the_picture_is_refused() -> None:
    item = items()[0]
    x, y, width, height = item.box_xywh_px
    for box in ((x, y, width + 64, height), (x, y, width, height + 64)):
        assert TileDecoder().decode(replace(item, box_xywh_px=box)) is None


def test_a_picture_too_large_is_refused() -> None:
    box = (0, 0, 16, 16)
    assert TileDecoder().decode(TileItem(True, box, h264(8192, 16))) is not None
    assert TileDecoder().decode(TileItem(True, box, h264(8208, 16))) is None
    assert TileDecoder().decode(TileItem(True, box, h264(16, 8208))) is None


@pytest.mark.parametrize("pix_fmt", ["yuv444p", "yuv422p", "yuv420p10le"])
def test_other_formats_are_refused(pix_fmt: str) -> None:
    packet = h264(64, 64, pix_fmt)
    assert TileDecoder().decode(TileItem(True, (0, 0, 16, 16), packet)) is None


def test_full_range_is_no_other_format() -> None:
    assert (
        TileDecoder().decode(TileItem(True, (0, 0, 16, 16), h264(64, 64, "yuvj420p"))) is not None
    )


@settings(max_examples=150)
@given(st.binary(max_size=200), st.booleans(), st.booleans())
@example(b"\0\0\1\x67\x64\0\x0a\xff\xff\xff\xff", True, True)
def test_any_bytes_are_survived(data: bytes, framed: bool, starts: bool) -> None:
    decoder = TileDecoder()
    decoder.decode(items()[0])
    packet = b"\0\0\0\1" + data if framed else data
    decoder.decode(replace(items()[1], packet=packet, starts_video=starts))
    assert_is(decoder.decode(items()[0]), tiles()[0].planes)


@settings(max_examples=200)
@given(st.integers(0, 1), st.data())
def test_any_flipped_bits_are_survived(which: int, data: st.DataObject) -> None:
    """Not each of them is noticed: for that there is the entry's tag."""
    packet = bytearray(items()[which].packet)
    end = st.sampled_from([64, len(packet)])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, data.draw(end) - 1))
        packet[at] ^= data.draw(st.integers(1, 255))
    decoder = TileDecoder()
    if which:
        decoder.decode(items()[0])
    made = decoder.decode(replace(items()[which], packet=bytes(packet)))
    assert made is None or made.size_px == items()[which].box_xywh_px[2:]
    assert_is(decoder.decode(items()[0]), tiles()[0].planes)


# --- into the frame ---


def item(x: int, y: int, width: int, height: int, mask: bytes | None = None) -> TileItem:
    return TileItem(True, (x, y, width, height), b"", mask)


@pytest.mark.parametrize("corner", [(0, 0), (60, 20), (100, 60), (0, 60)])
def test_a_tile_is_laid_over_its_rectangle(corner: tuple[int, int]) -> None:
    x, y = corner
    frame, before, tile = noise(160, 120), noise(160, 120), noise(60, 60, 1)
    lay_in(frame, item(x, y, 60, 60), tile)
    np.testing.assert_array_equal(frame.y[y : y + 60, x : x + 60], tile.y)
    np.testing.assert_array_equal(frame.u[y // 2 : y // 2 + 30, x // 2 : x // 2 + 30], tile.u)
    np.testing.assert_array_equal(frame.v[y // 2 : y // 2 + 30, x // 2 : x // 2 + 30], tile.v)
    outside = np.ones((120, 160), np.bool_)
    outside[y : y + 60, x : x + 60] = False
    np.testing.assert_array_equal(frame.y[outside], before.y[outside])
    np.testing.assert_array_equal(frame.u[outside[::2, ::2]], before.u[outside[::2, ::2]])


@settings(max_examples=50)
@given(st.integers(1, 20), st.integers(1, 20), st.integers(0, 2**32 - 1))
def test_only_what_the_mask_gives_is_written(half_w: int, half_h: int, seed: int) -> None:
    owned = np.random.default_rng(seed).integers(0, 2, (half_h, half_w), np.uint8)
    frame, before, tile = noise(64, 64), noise(64, 64), noise(half_w * 2, half_h * 2, 1)
    lay_in(frame, item(10, 4, half_w * 2, half_h * 2, mask_bits(owned)), tile)
    luma = np.zeros((64, 64), np.bool_)
    luma[4 : 4 + half_h * 2, 10 : 10 + half_w * 2] = owned.repeat(2, 0).repeat(2, 1) > 0
    expected = before.y.copy()
    expected[luma] = tile.y[owned.repeat(2, 0).repeat(2, 1) > 0]
    np.testing.assert_array_equal(frame.y, expected)
    for plane, old, new in ((frame.u, before.u, tile.u), (frame.v, before.v, tile.v)):
        chroma = old.copy()
        chroma[luma[::2, ::2]] = new[owned > 0]
        np.testing.assert_array_equal(plane, chroma)


def test_what_does_not_fit_is_refused_and_nothing_written() -> None:
    frame, tile = noise(160, 120), noise(60, 60, 1)
    refused = [
        (item(102, 0, 60, 60), "does not lie in the frame"),
        (item(0, 62, 60, 60), "does not lie in the frame"),
        (item(65_534, 65_534, 60, 60), "does not lie in the frame"),
        (item(0, 0, 60, 58), "not of its rectangle's size"),
    ]
    for each, reason in refused:
        with pytest.raises(RecordError, match=reason):
            lay_in(frame, each, tile)
    np.testing.assert_array_equal(frame.y, noise(160, 120).y)
