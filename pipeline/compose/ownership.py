"""Whose are the pixels that protection takes away: docs/evidence-format.md, section 5.

Two steps: `copied` before anything is written, `originals_of` after all of it is. What is decided
is decided for cells of 2 x 2 pixels, which share their chroma. Only where rectangles of tracks
overlap or an `always` zone reaches in is there anything to decide: else all of it is the track's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from ..frames import (
    NOBODY,
    FaceBox,
    FacePatch,
    FrameOriginals,
    OriginalTile,
    Surroundings,
    U8Array,
    YuvPlanes,
    part_of,
)
from .blend import halved

# Ranks of a track's claim to a cell, the lower the stronger; inside a rank the distance counts.
_IN_BOX = 0  # inside the box of its face, which was seen: nothing beats it
_IN_WEAK_BOX, _HIDES_SEEN, _HIDES_HELD, _BESIDE = (np.int32(rank << 24) for rank in (1, 2, 3, 4))
_FARTHEST = (1 << 23) - 1  # of each axis, so that no distance reaches into the rank
_DISTANCE_STEPS = 4096.0  # to one box size squared

AROUND_PX = 16  # on each side of a tile; see OriginalTile.around

Box = tuple[int, int, int, int]  # left, top, right, bottom; right and bottom exclusive
_Bools = NDArray[np.bool_]
_Claims = NDArray[np.int32]


def box_in_frame(face: FaceBox, frame_px: tuple[int, int]) -> Box | None:
    """The pixels that count as inside the face's box; None where it lies outside the frame."""
    x1, y1, x2, y2 = (int(v) for v in np.rint(face.box_xyxy_px))
    width, height = frame_px
    box = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
    return box if box[0] < box[2] and box[1] < box[3] else None


@dataclass(frozen=True, slots=True)
class TrackCopy:
    """What the camera saw in one track's rectangle."""

    track_id: int
    box: Box  # the rectangle: even, inside the frame
    planes: YuvPlanes = field(repr=False)  # a copy, of this frame alone: a view into `around`
    around: Surroundings = field(repr=False)  # its margin is not filled yet
    seen: tuple[Box, ...]  # the boxes of its face, in the frame, where it was seen
    weak: tuple[Box, ...]  # boxes that are nobody's, and may show anybody
    centre_px: tuple[float, float]
    size_px: tuple[float, float]  # of its face's box: what distances are measured in


def copied(
    planes: YuvPlanes, faces: Sequence[FaceBox], patches: Sequence[FacePatch]
) -> tuple[TrackCopy, ...]:
    """A copy for each track that has a patch, by track id; `planes` are still the camera's."""
    around: dict[int, Box] = {}
    for patch in patches:
        height, width = patch.alpha.shape
        box = (patch.x_px, patch.y_px, patch.x_px + width, patch.y_px + height)
        around[patch.track_id] = _union(around.get(patch.track_id, box), box)
    copies = []
    for track_id in sorted(around):
        own = [face for face in faces if face.track_id == track_id]
        copy = _copy(planes, track_id, around[track_id], own)
        if copy is not None:
            copies.append(copy)
    return tuple(copies)


def originals_of(
    copies: Sequence[TrackCopy],
    planes: YuvPlanes,
    used: Sequence[tuple[FacePatch, U8Array]],
    always: U8Array | None,
    number: int,
) -> FrameOriginals:
    """Each pixel that was taken away in one tile at most; `planes` are the protected ones now.

    `used` has each patch with the (h, w) weight that it was written with, `always` is the (H, W)
    mask of what is covered for good. The copies become the tiles: use them once.
    """
    overlapping = [pair for pair in combinations(copies, 2) if _common(*pair) is not None]
    contested = {copy.track_id: copy for pair in overlapping for copy in pair}
    contests = {track: _Contest(copy, used) for track, copy in contested.items()}
    for lower, higher in overlapping:
        _settle(contests[lower.track_id], contests[higher.track_id])
    faces: list[OriginalTile] = []
    scenes: list[OriginalTile] = []
    for copy in copies:
        contest = contests.get(copy.track_id)
        zone = _cells_of(always, copy.box)
        owned, shared = _masks(contest, zone)
        protected = _part(planes, copy.box)
        # first the scene: the face's tile takes the copy's own arrays
        if shared is not None:
            other = _framed(copy.planes, copy.box, planes.size_px)
            scenes.append(_tile(copy, other, protected, shared))
        if owned is None or _gives_any(owned, contest):
            # what is nobody's can be opened with nobody: it has no box that others could share
            kind = scenes if copy.track_id >= NOBODY else faces
            kind.append(_tile(copy, copy.around, protected, owned))
    boxes = [copy.box for copy in copies]
    return FrameOriginals(
        number,
        tuple(_surrounded(tile, planes, boxes) for tile in faces),
        tuple(_surrounded(tile, planes, boxes) for tile in scenes),
    )


class _Contest:
    """One track's claims to the cells of its rectangle, and what became of them."""

    def __init__(self, copy: TrackCopy, used: Sequence[tuple[FacePatch, U8Array]]) -> None:
        self.copy = copy
        self.claims = _claims(copy, used)
        self.lost: _Bools = np.zeros(self.claims.shape, np.bool_)
        self.shared: _Bools = np.zeros(self.claims.shape, np.bool_)  # with a higher track
        self.left: _Bools = np.zeros(self.claims.shape, np.bool_)  # shared with a lower one


def _settle(lower: _Contest, higher: _Contest) -> None:
    """Between two tracks, in what their rectangles have in common."""
    common = _common(lower.copy, higher.copy)
    assert common is not None
    mine, theirs = _inside(common, lower.copy.box), _inside(common, higher.copy.box)
    ours, other = lower.claims[mine], higher.claims[theirs]
    # two that are seen there: nobody can tell from boxes whose face it is
    both = np.maximum(ours, other) == _IN_BOX
    lower.lost[mine] |= (other < ours) | both
    higher.lost[theirs] |= (other >= ours) | both
    lower.shared[mine] |= both
    higher.left[theirs] |= both


def _claims(copy: TrackCopy, used: Sequence[tuple[FacePatch, U8Array]]) -> _Claims:
    """(h/2, w/2) the lower the stronger."""
    left, top, right, bottom = copy.box
    across = _distances(left, right, copy.centre_px[0], copy.size_px[0])
    claims: _Claims = _distances(top, bottom, copy.centre_px[1], copy.size_px[1])[:, None] + across
    hides: _Bools = np.zeros(claims.shape, np.bool_)
    for patch, alpha in used:
        if patch.track_id == copy.track_id:
            height, width = alpha.shape
            x, y = patch.x_px, patch.y_px
            hides[_inside((x, y, x + width, y + height), copy.box)] |= halved(alpha) > 0
    rank = _HIDES_SEEN if copy.seen else _HIDES_HELD
    claims += np.where(hides, rank, _BESIDE)
    for box in copy.weak:
        claims[_inside(_even(box), copy.box)] = _IN_WEAK_BOX
    for box in copy.seen:
        claims[_inside(_even(box), copy.box)] = _IN_BOX
    return claims


def _distances(begin: int, end: int, centre_px: float, size_px: float) -> _Claims:
    """(n,) along one axis, of the cells' middles from the centre: squared, in steps."""
    away = (np.arange(begin + 1, end, 2) - centre_px) / size_px
    steps: _Claims = np.minimum(away**2 * _DISTANCE_STEPS, _FARTHEST).astype(np.int32)
    return steps


def _masks(contest: _Contest | None, zone: _Bools | None) -> tuple[_Bools | None, _Bools | None]:
    """(h/2, w/2) what is the track's alone (None: all), what is the scene's (None: nothing)."""
    owned: _Bools | None = None
    shared: _Bools | None = None
    if contest is not None:
        owned = ~contest.lost
        shared = contest.shared & ~contest.left  # the lowest of those that share it
    if zone is not None:
        owned = ~zone if owned is None else owned & ~zone
        shared = shared & ~zone if shared is not None else None
    return (
        None if owned is not None and owned.all() else owned,
        shared if shared is not None and shared.any() else None,
    )


def _gives_any(owned: _Bools, contest: _Contest | None) -> bool:
    """Whether anything was taken away in what is owned."""
    if contest is not None:
        owned = owned & (contest.claims < _BESIDE)
    return bool(owned.any())


def _tile(
    copy: TrackCopy, around: Surroundings, protected: YuvPlanes, owned: _Bools | None
) -> OriginalTile:
    """Writes the protected picture into the middle of `around` wherever it is not owned."""
    x, y, right, bottom = copy.box
    content = around.part(x - around.x_px, y - around.y_px, right - x, bottom - y).planes
    if owned is None:
        return OriginalTile(copy.track_id, x, y, content, around=around)
    other = ~owned
    for row in (0, 1):
        for column in (0, 1):
            some = (slice(row, None, 2), slice(column, None, 2))
            np.copyto(content.y[some], protected.y[some], where=other)
    np.copyto(content.u, protected.u, where=other)
    np.copyto(content.v, protected.v, where=other)
    return OriginalTile(copy.track_id, x, y, content, owned.view(np.uint8), around)


def _framed(content: YuvPlanes, box: Box, frame_px: tuple[int, int]) -> Surroundings:
    """A copy with a margin around it, of which nothing is known yet."""
    left, top = max(box[0] - AROUND_PX, 0), max(box[1] - AROUND_PX, 0)
    width = min(box[2] + AROUND_PX, frame_px[0]) - left
    height = min(box[3] + AROUND_PX, frame_px[1]) - top
    half = height // 2, width // 2
    around = YuvPlanes(
        np.empty((height, width), np.uint8), np.empty(half, np.uint8), np.empty(half, np.uint8)
    )
    middle = part_of(around, box[0] - left, box[1] - top, content.size_px[0], content.size_px[1])
    for target, given in zip(_each(middle), _each(content), strict=True):
        target[...] = given
    return Surroundings(left, top, around, None)


def _surrounded(tile: OriginalTile, planes: YuvPlanes, boxes: Sequence[Box]) -> OriginalTile:
    """With the protected picture in the margin."""
    around = tile.around
    assert around is not None
    x, y, width, height = tile.xywh_px
    inner = x - around.x_px, y - around.y_px, x - around.x_px + width, y - around.y_px + height
    size = around.planes.size_px
    shown = part_of(planes, around.x_px, around.y_px, *size)
    for target, given, scale in zip(_each(around.planes), _each(shown), (1, 2, 2), strict=True):
        left, top, right, bottom = (value // scale for value in inner)
        target[:top], target[bottom:] = given[:top], given[bottom:]
        target[top:bottom, :left] = given[top:bottom, :left]
        target[top:bottom, right:] = given[top:bottom, right:]
    own = (x, y, x + width, y + height)
    box = (around.x_px, around.y_px, around.x_px + size[0], around.y_px + size[1])
    hidden = _hidden_around(tile, box, [other for other in boxes if other != own])
    return replace(tile, around=replace(around, is_hidden=hidden))


def _each(planes: YuvPlanes) -> tuple[U8Array, U8Array, U8Array]:
    return planes.y, planes.u, planes.v


def _hidden_around(tile: OriginalTile, box: Box, others: Sequence[Box]) -> U8Array | None:
    """(h/2, w/2) of the box: where it shows an obfuscation; None: nowhere."""
    near = [common for other in others if (common := _intersection(other, box)) is not None]
    if not near and tile.owned is None:
        return None
    hidden = np.zeros(((box[3] - box[1]) // 2, (box[2] - box[0]) // 2), np.uint8)
    for common in near:
        hidden[_inside(common, box)] = 1
    x, y, width, height = tile.xywh_px
    own = _inside((x, y, x + width, y + height), box)
    hidden[own] = 0 if tile.owned is None else tile.owned == 0
    return hidden


def _copy(
    planes: YuvPlanes, track_id: int, around: Box, own: Sequence[FaceBox]
) -> TrackCopy | None:
    frame = planes.size_px
    seen = _boxes_of([face for face in own if face.is_found], frame)
    weak = _boxes_of([face for face in own if face.is_seen and not face.is_somebody], frame)
    for box in seen + weak:  # a patch may leave out a rim of what it hides
        around = _union(around, _even(box))
    box = (around[0], around[1], min(around[2], frame[0]), min(around[3], frame[1]))
    if box[0] >= box[2] or box[1] >= box[3]:
        return None
    x1, y1, x2, y2 = (float(v) for v in own[0].box_xyxy_px) if own else box
    framed = _framed(_part(planes, box), box, frame)
    size = box[2] - box[0], box[3] - box[1]
    return TrackCopy(
        track_id,
        box,
        part_of(framed.planes, box[0] - framed.x_px, box[1] - framed.y_px, *size),
        framed,
        seen,
        weak,
        ((x1 + x2) / 2, (y1 + y2) / 2),
        (max(x2 - x1, 1.0), max(y2 - y1, 1.0)),
    )


def _boxes_of(faces: Sequence[FaceBox], frame_px: tuple[int, int]) -> tuple[Box, ...]:
    boxes = (box_in_frame(face, frame_px) for face in faces)
    return tuple(box for box in boxes if box is not None)


def _cells_of(mask: U8Array | None, box: Box) -> _Bools | None:
    """(h/2, w/2) where the mask is set inside the box; None where it is not."""
    if mask is None:
        return None
    inside = mask[box[1] : box[3], box[0] : box[2]]
    # quicker than any()
    return halved(inside) > 0 if inside.max() else None


def _common(one: TrackCopy, other: TrackCopy) -> Box | None:
    return _intersection(one.box, other.box)


def _intersection(one: Box, other: Box) -> Box | None:
    left, top = max(one[0], other[0]), max(one[1], other[1])
    right, bottom = min(one[2], other[2]), min(one[3], other[3])
    return (left, top, right, bottom) if left < right and top < bottom else None


def _inside(box: Box, of: Box) -> tuple[slice, slice]:
    """The cells of an even box in the grid of another that holds it."""
    return (
        slice((box[1] - of[1]) // 2, (box[3] - of[1]) // 2),
        slice((box[0] - of[0]) // 2, (box[2] - of[0]) // 2),
    )


def _even(box: Box) -> Box:
    """Outward to whole cells."""
    return box[0] // 2 * 2, box[1] // 2 * 2, -(-box[2] // 2) * 2, -(-box[3] // 2) * 2


def _union(one: Box, other: Box) -> Box:
    return (
        min(one[0], other[0]),
        min(one[1], other[1]),
        max(one[2], other[2]),
        max(one[3], other[3]),
    )


def _part(planes: YuvPlanes, box: Box) -> YuvPlanes:
    return part_of(planes, box[0], box[1], box[2] - box[0], box[3] - box[1])
