"""Whose rectangles lie where in a frame: a moved face is not laid over somebody else's.

Of eight frames a record says one rectangle openly, that of the first. What a face of somebody
whose secrets are not there does until the next record is not known: it is taken to stay within
both records' rectangles. A face that turns back between them may be touched outside of these.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..evidence.group_record import EntryKind, GroupRecord
from ..frames import U8Array

Box = tuple[int, int, int, int]  # x, y, w, h, pixels
Claim = tuple[int, Box]  # track, or SCENE
SCENE = -1  # is nobody's


def claims_of(group: GroupRecord, following: GroupRecord | None) -> list[list[Claim]]:
    """For each frame of the group what each entry may cover there."""
    after: dict[int, Box] = {}
    for entry in following.entries if following is not None else ():
        if entry.place.kind is not EntryKind.SCENE:
            after[entry.place.track] = entry.place.box_xywh_px
    found: list[list[Claim]] = [[] for _ in group.head.digests]
    for place in (entry.place for entry in group.entries):
        is_scene = place.kind is EntryKind.SCENE
        box = place.box_xywh_px
        if not is_scene and place.track in after:
            box = _around(box, after[place.track])
        for offset in place.offsets:
            found[offset].append((SCENE if is_scene else place.track, box))
    return found


class ClaimMap:
    """How many rectangles cover each pixel of a frame."""

    def __init__(self, claims: Sequence[Claim], size_px: tuple[int, int]) -> None:
        """There may be thousands, each as large as the frame: they are counted by their corners."""
        width, height = size_px
        self._own: dict[int, list[Box]] = {}
        steps = np.zeros((height + 1, width + 1), np.int32)
        for track, box in claims:
            left, top, right, bottom = _inside(box, size_px)
            self._own.setdefault(track, []).append((left, top, right, bottom))
            steps[top, left] += 1
            steps[top, right] -= 1
            steps[bottom, left] -= 1
            steps[bottom, right] += 1
        self._count: NDArray[np.int32] = steps.cumsum(axis=0).cumsum(axis=1)[:-1, :-1]

    def of_others(self, track: int, x: int, y: int, shape: tuple[int, int]) -> U8Array:
        """(h, w) not 0 where somebody else than `track` is, from (x, y) of the frame on."""
        height, width = shape
        count = self._count[y : y + height, x : x + width].copy()
        for left, top, right, bottom in self._own.get(track, ()):
            count[max(top - y, 0) : max(bottom - y, 0), max(left - x, 0) : max(right - x, 0)] -= 1
        others: U8Array = (count > 0).astype(np.uint8)
        return others


def _around(one: Box, other: Box) -> Box:
    x, y = min(one[0], other[0]), min(one[1], other[1])
    right = max(one[0] + one[2], other[0] + other[2])
    bottom = max(one[1] + one[3], other[1] + other[3])
    return x, y, right - x, bottom - y


def _inside(box: Box, size_px: tuple[int, int]) -> Box:
    """(left, top, right, bottom), even: a chroma sample belongs to four pixels."""
    x, y, width, height = box
    right, bottom = x + width + (x + width) % 2, y + height + (y + height) % 2
    return (
        min(x - x % 2, size_px[0]),
        min(y - y % 2, size_px[1]),
        min(right, size_px[0]),
        min(bottom, size_px[1]),
    )
