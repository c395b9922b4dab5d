"""What entries seal: tiles, masks and motions, both ways; padding; bombs."""

from __future__ import annotations

import tracemalloc
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from pipeline.errors import RecordError
from pipeline.evidence.body import (
    MOST_SIDE_PX,
    SIZES,
    TileItem,
    encode_motions,
    encode_tiles,
    mask_bits,
    mask_of,
    padded,
    parse_motions,
    parse_tiles,
)
from pipeline.frames import MOTION_CELLS, Motion, U8Array
from pipeline.motion import MOST_BYTES, pack
from support.records import filler, some_motions, some_tiles

TILES = encode_tiles(some_tiles())
MOTIONS = encode_motions(some_motions())

even = st.integers(0, 2**15 - 1).map(lambda half: 2 * half)
sides = st.sampled_from([2, 64, 640]) | st.integers(1, MOST_SIDE_PX // 2).map(lambda half: 2 * half)
boxes = st.tuples(even, even, sides, sides)
tile_items = st.one_of(
    st.builds(TileItem, st.booleans(), boxes, st.binary(max_size=60)),
    st.builds(
        lambda starts, packet, bits: TileItem(starts, (2, 4, 48, 12), packet, bits),
        st.booleans(),
        st.binary(max_size=60),
        st.binary(min_size=18, max_size=18),
    ),
)
masks = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(
    lambda shape: arrays(np.uint8, shape, elements=st.integers(0, 1))
)


@contextmanager
def at_most(memory_bytes: int) -> Iterator[None]:
    """Held at once, by Python and numpy."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < memory_bytes
    finally:
        tracemalloc.stop()


# --- padding ---


def test_the_sizes_are_as_the_format_says() -> None:
    assert SIZES[:6] == [128, 144, 176, 208, 240, 272]
    for one, following in pairwise(SIZES):
        assert following % 16 == 0 and 0 <= following - one * 9 / 8 < 16
    assert SIZES[-1] >= 4 * 2**20


@pytest.mark.parametrize(("size", "padded_to"), [(0, 128), (128, 128), (129, 144), (145, 176)])
def test_content_is_filled_up_with_zeros(size: int, padded_to: int) -> None:
    assert padded(b"\1" * size) == b"\1" * size + bytes(padded_to - size)


def test_what_is_too_long_is_refused() -> None:
    assert len(padded(bytes(SIZES[-1]))) == SIZES[-1]
    with pytest.raises(RecordError, match="too long"):
        padded(bytes(SIZES[-1] + 1))


# --- tiles ---


@given(st.lists(tile_items, min_size=1, max_size=8))
def test_tiles_come_back(items: list[TileItem]) -> None:
    plain = encode_tiles(items)
    assert parse_tiles(plain) == tuple(items)
    assert len(plain) in SIZES


def test_the_bytes_of_tiles_are_as_the_format_says() -> None:
    first, second, third = some_tiles()
    assert first.mask is not None
    masks = zlib.compress(first.mask, 9)
    by_hand = [
        b"\1\3",
        *(b"\3", b"\0\x64\0\xc8", b"\0\x32\0\x18", b"\0\1\x2c"),
        *(b"\4", b"\0\x66\0\xc6", b"\0\0\x28"),
        *(b"\0", b"\0\x68\0\xc6", b"\0\x40\0\x20", b"\0\0\0"),
        *(len(masks).to_bytes(3, "big"), masks),
        *(first.packet, second.packet, third.packet),
    ]
    assert padded(b"".join(by_hand)) == TILES


@pytest.mark.parametrize(
    "box",
    [
        (1, 0, 2, 2),
        (0, 3, 2, 2),
        (0, 0, 5, 2),
        (0, 0, 2, 7),
        (-2, 0, 2, 2),
        (0, 2**16, 2, 2),
        (0, 0, 0, 2),
        (0, 0, 2, 0),
        (0, 0, MOST_SIDE_PX + 2, 2),
        (0, 0, 2, MOST_SIDE_PX + 2),
    ],
)
def test_a_rectangle_that_breaks_a_rule(box: tuple[int, int, int, int]) -> None:
    with pytest.raises(RecordError, match="a tile"):
        TileItem(True, box, b"")


@pytest.mark.parametrize("count", [0, 9])
def test_an_entry_has_1_to_8_items(count: int) -> None:
    with pytest.raises(RecordError, match="1 to 8 items"):
        encode_tiles(some_tiles()[1:2] * count)
    with pytest.raises(RecordError, match="1 to 8 items"):
        encode_motions(some_motions()[:1] * count)
    with pytest.raises(RecordError, match="1 to 8 items"):
        parse_tiles(TILES[:1] + bytes((count,)) + TILES[2:])
    with pytest.raises(RecordError, match="1 to 8 items"):
        parse_motions(bytes((count,)) + MOTIONS[1:])


@pytest.mark.parametrize(
    ("at", "put", "match"),
    [
        (0, b"\2", "codec"),
        (2, b"\x0b", "unknown flags"),
        (2, b"\x80", "unknown flags"),
        (2, b"\7", "no size"),
        (3, b"\0\1", "even"),
        (7, b"\0\0", "empty"),
        (11, b"\xff\xff\xff", "cut short"),
        (32, b"\xff\xff\xff", "cut short"),
        (len(TILES) - 1, b"\1", "padding"),
    ],
)
def test_changed_tiles_are_refused(at: int, put: bytes, match: str) -> None:
    with pytest.raises(RecordError, match=match):
        parse_tiles(TILES[:at] + put + TILES[at + len(put) :])


@given(st.binary(max_size=300), st.integers(0, 60))
def test_any_bytes_are_tiles_or_a_record_error(data: bytes, kept: int) -> None:
    with suppress(RecordError):
        parse_tiles(TILES[:kept] + data)


@given(st.lists(tile_items, min_size=1, max_size=8), st.data())
def test_changed_bytes_are_other_tiles_or_a_record_error(
    items: list[TileItem], data: st.DataObject
) -> None:
    changed = bytearray(encode_tiles(items))
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(RecordError):
        parse_tiles(bytes(changed))


# --- masks ---


def with_mask(mask: U8Array, *, packet: bytes = b"p") -> TileItem:
    return TileItem(True, (0, 0, 2 * mask.shape[1], 2 * mask.shape[0]), packet, mask_bits(mask))


def entry_of(squeezed: bytes, size_px: tuple[int, int]) -> bytes:
    """One item with a mask, as the format says."""
    box = b"".join(value.to_bytes(2, "big") for value in (0, 0, *size_px))
    return b"\1\1\2" + box + bytes(3) + len(squeezed).to_bytes(3, "big") + squeezed


@given(st.lists(masks, min_size=1, max_size=8))
def test_masks_come_back(given_masks: list[U8Array]) -> None:
    found = parse_tiles(encode_tiles([with_mask(mask * 255) for mask in given_masks]))
    for item, mask in zip(found, given_masks, strict=True):
        np.testing.assert_array_equal(mask_of(item), mask)


def test_the_bytes_of_a_mask_are_as_the_format_says() -> None:
    mask = np.zeros((2, 10), np.uint8)
    mask[0, 0] = mask[0, 9] = mask[1, 7] = 1
    assert mask_bits(mask) == b"\x80\x40\1\0"
    plain = encode_tiles([with_mask(mask, packet=b"")])
    squeezed = zlib.compress(b"\x80\x40\1\0", 9)
    by_hand = (
        b"\1\1" + b"\3" + bytes(4) + b"\0\x14\0\4" + bytes(3) + b"\0\0" + bytes((len(squeezed),))
    )
    assert plain == padded(by_hand + squeezed)


def test_masks_like_the_one_before_cost_next_to_nothing() -> None:
    mask = np.tril(np.ones((68, 52), np.uint8))
    one, eight = (len(encode_tiles([with_mask(mask, packet=b"")] * n)) for n in (1, 8))
    assert eight - one <= 128


def test_an_item_refuses_a_mask_of_another_size() -> None:
    for length in (0, 17, 19):
        with pytest.raises(RecordError, match="wrong size"):
            TileItem(True, (0, 0, 40, 12), b"", bytes(length))
    assert TileItem(True, (0, 0, 40, 12), b"", bytes(18)).mask == bytes(18)  # 6 rows of 3 bytes


def test_a_damaged_mask_is_refused() -> None:
    data = zlib.compress(mask_bits(some_mask()))
    assert mask_of(parse_tiles(entry_of(data, (80, 80)))[0]) is not None
    for size in range(len(data)):
        with pytest.raises(RecordError):
            parse_tiles(entry_of(data[:size], (80, 80)))
    for damaged in (data + b"\0", data + data, b"\0" + data, data[:-1] + b"\0"):
        with pytest.raises(RecordError):
            parse_tiles(entry_of(damaged, (80, 80)))
    for size_px in ((80, 78), (80, 82), (64, 80), (98, 80)):
        with pytest.raises(RecordError, match="wrong size"):
            parse_tiles(entry_of(data, size_px))


def test_a_mask_that_inflates_without_end_costs_no_memory() -> None:
    bomb = zlib.compress(bytes(64 * 2**20), 9)
    assert len(bomb) < 2**17
    with at_most(2**20), pytest.raises(RecordError, match="wrong size"):
        parse_tiles(entry_of(bomb, (64, 64)))
    many_empty = bytes.fromhex("7801") + b"\0\0\0\xff\xff" * 200_000  # blocks that give nothing
    with at_most(4 * 2**20), pytest.raises(RecordError):
        parse_tiles(entry_of(many_empty, (64, 64)))
    with at_most(2**20), pytest.raises(RecordError, match="px a side"):
        parse_tiles(entry_of(bomb, (2**16 - 2, 2**16 - 2)))


@given(st.binary(max_size=100), st.booleans(), st.integers(0, 150), st.integers(0, 150))
def test_any_bytes_are_a_mask_or_a_record_error(
    data: bytes, squeezed: bool, width: int, height: int
) -> None:
    with suppress(RecordError):
        entry = entry_of(zlib.compress(data) if squeezed else data, (2 * width, 2 * height))
        mask = mask_of(parse_tiles(entry)[0])
        assert mask is not None and mask.shape == (height, width) and mask.max() <= 1


def some_mask() -> U8Array:
    return np.frombuffer(filler(1, 1600), np.uint8).reshape(40, 40) % 2


# --- motions ---


def test_motions_come_back() -> None:
    motions = some_motions() * 4
    found = parse_motions(encode_motions(motions))
    assert [pack(motion) for motion in found] == [pack(motion) for motion in motions]
    assert [motion.key_number for motion in found] == [8] * 8
    assert len(MOTIONS) in SIZES


def test_the_bytes_of_motions_are_as_the_format_says() -> None:
    one, other = (pack(motion) for motion in some_motions())
    lengths = [len(data).to_bytes(2, "big") for data in (one, other)]
    assert padded(b"\2" + lengths[0] + one + lengths[1] + other) == MOTIONS


@pytest.mark.parametrize(
    ("at", "put", "match"),
    [
        (1, b"\xff\xff", "too long"),
        (1, b"\0\0", "a motion"),
        (1, b"\0\x21", "grid"),
        (3 + 8, b"\x7f", "out of range"),
        (3 + 11, b"\1", "even"),
        (3 + 34, b"\xff", "damaged"),
        (len(MOTIONS) - 1, b"\1", "padding"),
    ],
)
def test_changed_motions_are_refused(at: int, put: bytes, match: str) -> None:
    with pytest.raises(RecordError, match=match):
        parse_motions(MOTIONS[:at] + put + MOTIONS[at + len(put) :])


def test_a_motion_that_inflates_without_end_costs_no_memory() -> None:
    head = pack(some_motions()[0])[:32]
    bomb = head + zlib.compress(bytes(200_000), 9)
    assert len(bomb) < MOST_BYTES
    with at_most(2**18), pytest.raises(RecordError, match="wrong size"):
        parse_motions(padded(b"\1" + len(bomb).to_bytes(2, "big") + bomb))


def test_an_odd_motion_is_refused_as_a_record() -> None:
    grid = np.zeros((MOTION_CELLS, MOTION_CELLS, 2), np.int16)
    data = bytearray(pack(Motion(1, (0, 0, 2), (0, 0, 2), grid)))
    data[19] = 3  # the side of the square in the keyframe
    with pytest.raises(RecordError, match="even"):
        parse_motions(padded(b"\1" + len(data).to_bytes(2, "big") + bytes(data)))


@given(st.binary(max_size=300), st.integers(0, len(MOTIONS)))
def test_any_bytes_are_motions_or_a_record_error(data: bytes, kept: int) -> None:
    with suppress(RecordError):
        parse_motions(MOTIONS[:kept] + data)


@given(st.data())
def test_changed_bytes_are_other_motions_or_a_record_error(data: st.DataObject) -> None:
    changed = bytearray(MOTIONS)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(RecordError):
        parse_motions(bytes(changed))


def test_pixels_and_masks_are_not_shown() -> None:
    item = replace(some_tiles()[0], packet=b"PACKET", mask=b"MASK" * 12)
    assert "PACKET" not in repr(item) and "MASK" not in repr(item)
