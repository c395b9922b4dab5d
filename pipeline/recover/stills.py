"""Of each track its largest frame, before and after: for the report."""

from __future__ import annotations

from dataclasses import dataclass, field

import av

from ..frames import YuvPlanes, part_of
from .evidence import FrameTiles
from .video import as_png

AROUND = 0.25  # of the rectangle's sides, on each side


@dataclass(frozen=True, slots=True)
class Still:
    """One track's, as PNG files."""

    track: int
    position: int  # in the clip
    seconds: float
    before: bytes = field(repr=False)
    after: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Largest:
    rank: tuple[bool, int]  # a frame's own pixels before those of another, then the area
    position: int
    seconds: float
    box_xywh_px: tuple[int, int, int, int]
    before: YuvPlanes = field(repr=False)
    after: YuvPlanes | None = field(default=None, repr=False)


class Stills:
    """Looks at each frame twice: before and after the tiles are laid in."""

    def __init__(self) -> None:
        self._kept: dict[int, _Largest] = {}
        self._fresh: list[int] = []
        self._like: av.VideoFrame | None = None  # for its colours

    def before(self, planes: YuvPlanes, here: FrameTiles, position: int, seconds: float) -> None:
        """The protected frame."""
        self._fresh = []
        for track, (rank, box) in _ranked(here).items():
            kept = self._kept.get(track)
            if kept is None or rank > kept.rank:
                around = _around(box, planes.size_px)
                copy = _copy(planes, around)
                self._kept[track] = _Largest(rank, position, seconds, around, copy)
                self._fresh.append(track)

    def after(self, planes: YuvPlanes, image: av.VideoFrame) -> None:
        """The same frame, recovered, without a mark."""
        if not self._fresh:
            return
        if self._like is None:
            self._like = av.VideoFrame(2, 2, image.format.name)
            self._like.color_range, self._like.colorspace = image.color_range, image.colorspace
        for track in self._fresh:
            kept = self._kept[track]
            self._kept[track] = _Largest(
                *(kept.rank, kept.position, kept.seconds, kept.box_xywh_px, kept.before),
                _copy(planes, kept.box_xywh_px),
            )

    def made(self) -> tuple[Still, ...]:
        """By track."""
        stills = []
        for track, kept in sorted(self._kept.items()):
            if kept.after is None or self._like is None:
                continue
            pictures = (as_png(each, self._like) for each in (kept.before, kept.after))
            stills.append(Still(track, kept.position, kept.seconds, *pictures))
        return tuple(stills)


def _ranked(
    here: FrameTiles,
) -> dict[int, tuple[tuple[bool, int], tuple[int, int, int, int]]]:
    """Track to (rank, rectangle)."""
    found: dict[int, tuple[tuple[bool, int], tuple[int, int, int, int]]] = {}
    boxes = [(moved.key.track, False, _moved_box(moved.motion.xys_px)) for moved in here.moved]
    boxes += [(tile.track, True, tile.item.box_xywh_px) for tile in here.tiles]
    for track, is_own, box in boxes:
        rank = (is_own, box[2] * box[3])
        if track not in found or rank > found[track][0]:
            found[track] = rank, box
    return found


def _moved_box(xys_px: tuple[int, int, int]) -> tuple[int, int, int, int]:
    return xys_px[0], xys_px[1], xys_px[2], xys_px[2]


def _around(box: tuple[int, int, int, int], size_px: tuple[int, int]) -> tuple[int, int, int, int]:
    """A wider rectangle, even, inside the frame."""
    x, y, width, height = box
    more_x, more_y = (int(length * AROUND) // 2 * 2 for length in (width, height))
    left = min(max(x - more_x, 0), size_px[0] - 2)
    top = min(max(y - more_y, 0), size_px[1] - 2)
    right = max(min(x + width + more_x, size_px[0]), left + 2)
    bottom = max(min(y + height + more_y, size_px[1]), top + 2)
    return left, top, right - left, bottom - top


def _copy(planes: YuvPlanes, box: tuple[int, int, int, int]) -> YuvPlanes:
    part = part_of(planes, *box)
    return YuvPlanes(part.y.copy(), part.u.copy(), part.v.copy())
