"""What an entry seals: tiles or motions of a group of frames (docs/evidence-format.md, 5)."""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ..errors import RecordError
from ..frames import Motion, U8Array
from ..motion import MOST_BYTES, pack, unpack
from .group_record import MOST_FRAMES
from .wire import Reader, number

H264 = 1
_NEW_VIDEO, _HAS_MASK, _SAME_SIZE = 1, 2, 4


def _sizes() -> list[int]:
    sizes = [128]
    while sizes[-1] < 4 * 2**20:
        sizes.append(-(-sizes[-1] * 9 // (8 * 16)) * 16)
    return sizes


SIZES = _sizes()
"""What plaintexts are padded to: each 9/8 of the one before, in steps of 16."""

MOST_SIDE_PX = 8192
"""Of a tile: no encoder makes larger pictures, and a mask must not cost memory by what it says."""


def padded(content: bytes) -> bytes:
    """Filled up with zeros to the next size. Raises RecordError for what is too long."""
    at = bisect_left(SIZES, len(content))
    if at == len(SIZES):
        raise RecordError("an entry is too long")
    return content.ljust(SIZES[at], b"\0")


@dataclass(frozen=True, slots=True)
class TileItem:
    """One frame's packet of a tile video, and which pixels it gives."""

    starts_video: bool
    box_xywh_px: tuple[int, int, int, int]  # even, inside the frame
    packet: bytes = field(repr=False)  # H.264, Annex B
    mask: bytes | None = field(default=None, repr=False)  # its bits, see mask_bits; None: all

    def __post_init__(self) -> None:
        if any(value % 2 or not 0 <= value < 2**16 for value in self.box_xywh_px):
            raise RecordError("a tile's rectangle must be even")
        if not self.box_xywh_px[2] or not self.box_xywh_px[3]:
            raise RecordError("a tile's rectangle is empty")
        if max(self.box_xywh_px[2:]) > MOST_SIDE_PX:
            raise RecordError(f"a tile has at most {MOST_SIDE_PX} px a side")
        if self.mask is not None and len(self.mask) != _mask_bytes(*self.box_xywh_px[2:]):
            raise RecordError("a mask has the wrong size")


def encode_tiles(items: Sequence[TileItem]) -> bytes:
    """The plaintext of a face or scene entry, padded."""
    heads = []
    size: tuple[int, int] | None = None
    for item in items:
        x, y, w, h = item.box_xywh_px
        same = size == (w, h)
        flags = (
            (_NEW_VIDEO if item.starts_video else 0)
            | (_HAS_MASK if item.mask is not None else 0)
            | (_SAME_SIZE if same else 0)
        )
        heads.append(number(flags, 1) + number(x, 2) + number(y, 2))
        if not same:
            heads.append(number(w, 2) + number(h, 2))
        heads.append(number(len(item.packet), 3))
        size = (w, h)
    # Together: a mask is nearly the one before, which costs next to nothing then.
    masks = b"".join(item.mask or b"" for item in items)
    if masks:
        squeezed = zlib.compress(masks, 9)
        heads.append(number(len(squeezed), 3) + squeezed)
    packets = b"".join(item.packet for item in items)
    return padded(number(H264, 1) + _counted(items) + b"".join(heads) + packets)


def parse_tiles(plain: bytes) -> tuple[TileItem, ...]:
    """The inverse, for bytes from anywhere. Raises RecordError."""
    reader = Reader(plain)
    if reader.number(1) != H264:
        raise RecordError("an entry's codec is unknown")
    heads: list[tuple[bool, tuple[int, int, int, int], int, int]] = []
    size: tuple[int, int] | None = None
    for _ in range(_count(reader)):
        flags, x, y = reader.number(1), reader.number(2), reader.number(2)
        if flags & ~(_NEW_VIDEO | _HAS_MASK | _SAME_SIZE):
            raise RecordError("an item has unknown flags")
        if not flags & _SAME_SIZE:
            size = reader.number(2), reader.number(2)
        if size is None:
            raise RecordError("an entry's first item has no size")
        if max(size) > MOST_SIDE_PX:  # before memory is taken for its mask
            raise RecordError(f"a tile has at most {MOST_SIDE_PX} px a side")
        mask_bytes = _mask_bytes(*size) if flags & _HAS_MASK else 0
        heads.append((bool(flags & _NEW_VIDEO), (x, y, *size), reader.number(3), mask_bytes))
    masks = Reader(_inflated_masks(reader, sum(head[3] for head in heads)))
    items = []
    for starts, box, packet_bytes, mask_bytes in heads:
        mask = masks.take(mask_bytes) if mask_bytes else None
        items.append(TileItem(starts, box, reader.take(packet_bytes), mask))
    _only_padding(reader)
    return tuple(items)


def _inflated_masks(reader: Reader, size_bytes: int) -> bytes:
    """The bits of all masks of an entry. Raises RecordError."""
    if not size_bytes:
        return b""
    inflate = zlib.decompressobj()
    try:
        bits = inflate.decompress(reader.take(reader.number(3)), size_bytes + 1)
    except zlib.error:
        raise RecordError("a mask is damaged") from None
    if len(bits) != size_bytes or not inflate.eof or inflate.unused_data:
        raise RecordError("a mask has the wrong size")
    return bits


def encode_motions(motions: Sequence[Motion]) -> bytes:
    """The plaintext of a motion entry, padded."""
    packed = [pack(motion) for motion in motions]
    body = b"".join(number(len(data), 2) + data for data in packed)
    return padded(_counted(packed) + body)


def parse_motions(plain: bytes) -> tuple[Motion, ...]:
    """The inverse, for bytes from anywhere. Raises RecordError."""
    reader = Reader(plain)
    motions = []
    for _ in range(_count(reader)):
        length = reader.number(2)
        if length > MOST_BYTES:
            raise RecordError("a motion is too long")
        try:
            motions.append(unpack(reader.take(length)))
        except ValueError as error:
            raise RecordError(str(error)) from None
    _only_padding(reader)
    return tuple(motions)


def mask_bits(mask: U8Array) -> bytes:
    """(h/2, w/2), not 0 where the entry gives the pixels, to a TileItem's mask."""
    return np.packbits(mask > 0, axis=1).tobytes()


def mask_of(item: TileItem) -> U8Array | None:
    """(h/2, w/2), 0 or 1; None: the item gives all pixels of its rectangle."""
    if item.mask is None:
        return None
    width, height = item.box_xywh_px[2] // 2, item.box_xywh_px[3] // 2
    rows = np.frombuffer(item.mask, np.uint8).reshape(height, -1)
    return np.unpackbits(rows, axis=1, count=width)


def _mask_bytes(width_px: int, height_px: int) -> int:
    """Rows of one bit for each 2 x 2 pixels, each filled up to whole bytes."""
    return -(-width_px // 16) * (height_px // 2)


def _counted(items: Sequence[object]) -> bytes:
    return number(_checked_count(len(items)), 1)


def _count(reader: Reader) -> int:
    return _checked_count(reader.number(1))


def _checked_count(count: int) -> int:
    if not 1 <= count <= MOST_FRAMES:
        raise RecordError(f"an entry has 1 to {MOST_FRAMES} items, got {count}")
    return count


def _only_padding(reader: Reader) -> None:
    if any(reader.take(reader.left)):
        raise RecordError("an entry's padding is not zeros")
