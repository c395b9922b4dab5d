"""What entries seal, as the second reader reads it (section 5). Nothing of pipeline."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from .independent_wire import Bytes, Fields, need, unzipped

MOTION = 3


def read_contents(kind: int, plain: bytes) -> list[Fields]:
    return read_motions(plain) if kind == MOTION else read_tiles(plain)


def read_tiles(plain: bytes) -> list[Fields]:
    take = Bytes(plain)
    need(take.u(1) == 1, "codec")
    items: list[Fields] = []
    for _ in range(number_of_items(take)):
        flags = take.u(1)
        need(flags < 8, "flags")
        corner = take.u(2), take.u(2)
        need(bool(items) or not flags & 4, "no size")
        size = items[-1]["box"][2:] if flags & 4 else (take.u(2), take.u(2))
        need(not any(v % 2 for v in corner + size) and min(size) > 0, "odd or empty")
        need(max(size) <= 8192, "too large")
        items.append({"starts_video": bool(flags & 1), "box": corner + size})
        items[-1] |= {"length": take.u(3), "has_mask": bool(flags & 2)}
    read_masks(take, items)
    for item in items:
        item["packet"] = take.take(item.pop("length"))
    need(not any(take.rest()), "padding")
    return items


def read_masks(take: Bytes, items: Sequence[Fields]) -> None:
    """All of an entry are one zlib stream."""
    sizes = [mask_bytes(item["box"]) if item.pop("has_mask") else 0 for item in items]
    bits = Bytes(unzipped(take.take(take.u(3)), sum(sizes)) if any(sizes) else b"")
    for item, size in zip(items, sizes, strict=True):
        item["mask"] = bits.take(size) if size else None


def mask_bytes(box: Sequence[int]) -> int:
    row, rows = (box[2] // 2 + 7) // 8, box[3] // 2
    return row * rows


def read_motions(plain: bytes) -> list[Fields]:
    take = Bytes(plain)
    motions = [read_motion(take.take(take.u(2))) for _ in range(number_of_items(take))]
    need(not any(take.rest()), "padding")
    return motions


def read_motion(data: bytes) -> Fields:
    need(32 < len(data) <= 420, "length of a motion")
    key_number, *squares = struct.unpack(">QiiIiiI", data[:32])
    need(max(abs(value) for value in squares) <= 16384, "out of range")
    need(not any(v % 2 for v in squares) and min(squares[2], squares[5]) >= 2, "odd or empty")
    steps = unzipped(data[32:], 324)
    grid = [[[0, 0] for _ in range(9)] for _ in range(9)]
    for row in range(9):
        for column in range(9):
            for axis in (0, 1):
                at = (row * 9 + column) * 2 + axis
                value = steps[at] << 8 | steps[162 + at]
                value += grid[row - 1][column][axis] if row else 0
                value += grid[row][column - 1][axis] if column else 0
                value -= grid[row - 1][column - 1][axis] if row and column else 0
                grid[row][column][axis] = (value + 2**15) % 2**16 - 2**15
    return {
        "key_number": key_number,
        "key_xys": squares[:3],
        "xys": squares[3:],
        "grid": grid,
    }


def number_of_items(take: Bytes) -> int:
    count = take.u(1)
    need(1 <= count <= 8, "items")
    return count
