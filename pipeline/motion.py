"""Moves a keyframe's pixels to where they are in a later frame, and packs that motion into bytes.

Protection is carried along by it (IdentityMask, book, section 8.4.3, equation 8.21), and recovery
moves the keyframe's recovered face by the same numbers. Pixels are taken from the keyframe itself,
once, however long ago it was: warping the warped picture again would blur it a little in each frame
(benchmarks/motion.py, table "drift").
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from .frames import MOTION_CELLS, FloatArray, I16Array, Motion, U8Array, YuvPlanes, part_of

STEPS_PER_PX = 8  # of the grid
MOST_PX = 4_000  # farther off is an error, not a motion
_HEADER = struct.Struct(">QiiIiiI")
_GRID_BYTES = 2 * MOTION_CELLS**2 * 2
MOST_BYTES = _HEADER.size + _GRID_BYTES + 64  # zlib adds a few bytes to what it cannot shrink
_MOST_SIDE_PX = 16_384


@dataclass(frozen=True, slots=True)
class Moved:
    """A keyframe's pixels in a later frame: an even rectangle inside of it."""

    x_px: int
    y_px: int
    planes: YuvPlanes = field(repr=False)
    weight: U8Array = field(repr=False)  # (h, w) 0 where the keyframe knows nothing


def move(
    source: YuvPlanes,
    xy_px: tuple[int, int],
    weight: U8Array,
    motion: Motion,
    frame_px: tuple[int, int],
    *,
    sharp: bool = False,
) -> Moved | None:
    """`source` lies at `xy_px` of the keyframe; None where nothing of it is in the frame.

    `weight` (h, w) of the source moves with it. `sharp`: cubic samples instead of linear ones
    keep 98 % of the sharpness instead of 77 %, at three times the cost: for faces, not for masks.
    Without it a source should have a margin of weight 0: its edge is not continued, but dark.
    """
    x, y, side = motion.xys_px
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + side, frame_px[0]), min(y + side, frame_px[1])
    if left >= right or top >= bottom:
        return None
    part = (slice(top - y, bottom - y), slice(left - x, right - x))
    luma_at = key_positions_px(motion, xy_px, part=part)
    moved_weight = _fetch(weight, luma_at, cv2.BORDER_CONSTANT)
    inner = _even_box(moved_weight)
    if inner is None:
        return None
    half = (
        slice(part[0].start // 2, part[0].stop // 2),
        slice(part[1].start // 2, part[1].stop // 2),
    )
    chroma_at = key_positions_px(motion, xy_px, chroma=True, part=half)
    how = (
        (cv2.BORDER_REPLICATE, cv2.INTER_CUBIC)
        if sharp
        else (cv2.BORDER_CONSTANT, cv2.INTER_LINEAR)
    )
    planes = YuvPlanes(
        _fetch(source.y, luma_at, *how),
        _fetch(source.u, chroma_at, *how),
        _fetch(source.v, chroma_at, *how),
    )
    dx, dy, width, height = inner
    return Moved(
        left + dx,
        top + dy,
        part_of(planes, dx, dy, width, height),
        moved_weight[dy : dy + height, dx : dx + width],
    )


def key_positions_px(
    motion: Motion,
    origin_px: tuple[int, int] = (0, 0),
    *,
    chroma: bool = False,
    part: tuple[slice, slice] = (slice(None), slice(None)),
) -> tuple[FloatArray, FloatArray]:
    """x and y, (side, side) each: where in the keyframe each pixel of the square is fetched from.

    Counted from `origin_px`. `chroma`: (side/2, side/2), in samples of those planes. `part`: its
    rows and columns alone.
    """
    side, key_side = motion.xys_px[2] // (2 if chroma else 1), motion.key_xys_px[2]
    along = (np.arange(side, dtype=np.float32) + np.float32(0.5)) * np.float32(key_side / side)
    found = []
    for axis in (0, 1):
        off = motion.grid[..., axis].astype(np.float32) / STEPS_PER_PX
        whole: FloatArray = np.asarray(cv2.resize(off, (side, side)), np.float32)  # bilinear
        places: FloatArray = np.ascontiguousarray(whole[part])
        start = np.float32(motion.key_xys_px[axis] - origin_px[axis] - 0.5)
        rows, columns = along[part[0], None], along[None, part[1]]
        places += (columns if axis == 0 else rows) + start
        if chroma:  # its samples lie in the middle of four luma pixels
            places *= np.float32(0.5)
            places -= np.float32(0.25)
        found.append(places)
    return found[0], found[1]


def as_grid(off_px: FloatArray) -> I16Array:
    """(G, G, 2) pixels of the keyframe to a motion's grid. Raises ValueError for what is none."""
    if not np.isfinite(off_px).all() or float(np.abs(off_px).max()) > MOST_PX:
        raise ValueError("no motion: a cell is not a number or too far off")
    return np.rint(off_px * STEPS_PER_PX).astype(np.int16)


def pack(motion: Motion) -> bytes:
    """About a hundred bytes. They tell how a face moved: seal them."""
    steps = np.diff(motion.grid, axis=0, prepend=np.int16(0))
    steps = np.diff(steps, axis=1, prepend=np.int16(0))
    # high bytes are nearly all alike: apart from the low ones they cost next to nothing
    halves = steps.astype(">i2").tobytes()
    header = _HEADER.pack(motion.key_number, *motion.key_xys_px, *motion.xys_px)
    return header + zlib.compress(halves[::2] + halves[1::2], 9)


def unpack(data: bytes) -> Motion:
    """The inverse of `pack`, for bytes from anywhere. Raises ValueError."""
    if not _HEADER.size < len(data) <= MOST_BYTES:
        raise ValueError(f"a motion has at most {MOST_BYTES} bytes, got {len(data)}")
    number, *squares = _HEADER.unpack_from(data)
    if any(abs(value) > _MOST_SIDE_PX for value in squares):
        raise ValueError("a motion's square is out of range")
    inflate = zlib.decompressobj()
    try:
        halves = inflate.decompress(data[_HEADER.size :], _GRID_BYTES + 1)
    except zlib.error:
        raise ValueError("a motion's grid is damaged") from None
    if len(halves) != _GRID_BYTES or not inflate.eof or inflate.unused_data:
        raise ValueError("a motion's grid has the wrong size")
    middle = _GRID_BYTES // 2
    both = np.frombuffer(halves, np.uint8).reshape(2, middle).T.tobytes()
    steps = np.frombuffer(both, ">i2").astype(np.int16)
    grid = steps.reshape(MOTION_CELLS, MOTION_CELLS, 2)
    grid = np.cumsum(np.cumsum(grid, axis=1, dtype=np.int16), axis=0, dtype=np.int16)
    key, here = tuple(squares[:3]), tuple(squares[3:])
    return Motion(number, key, here, grid)  # raises ShapeError, a ValueError, for odd squares


def _fetch(
    plane: U8Array, places: Sequence[FloatArray], border: int, how: int = cv2.INTER_LINEAR
) -> U8Array:
    x, y = places
    return np.asarray(cv2.remap(plane, x, y, how, None, border), np.uint8)


def _even_box(weight: U8Array) -> tuple[int, int, int, int] | None:
    """(x, y, width, height), even, around all that is not 0."""
    rows, columns = weight.max(axis=1).nonzero()[0], weight.max(axis=0).nonzero()[0]
    if not rows.size:
        return None
    x, y = int(columns[0]) // 2 * 2, int(rows[0]) // 2 * 2
    right, bottom = -(-(int(columns[-1]) + 1) // 2) * 2, -(-(int(rows[-1]) + 1) // 2) * 2
    return x, y, right - x, bottom - y
