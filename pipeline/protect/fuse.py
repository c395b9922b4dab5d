"""Keyframes: squares from which who has the key recovers the face (PRO-Face S, design section 3).

Whatever goes wrong in here, a face keeps what hides it already, counted by reason. One key opens
one person: what belongs to other faces is obfuscated inside a square before it is fused, and no
two squares touch.
"""

from __future__ import annotations

import logging
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from engines.fusion import with_head_room

from ..frames import FaceBox, FacePatch, FrameMoment, Square, U8Array, YuvPlanes, part_of
from ..runtime.ratelimit import RateLimitedLog
from ..settings import ProtectSettings
from .budget import Budget, cost_of
from .obfuscate import obfuscate
from .region import face_width_px
from .square import NoSquare, ring_alpha, ring_around, square_around

MOST_FAILURES = 5  # in a row: then the engine is broken, and asking it again costs time
# Of a live stream's time, what fusion may take: the rest is for detection and for the frames that
# carry no keyframe. What can be saved up is 0.2 s of work, less than the raw frames' queue holds.
LIVE_SHARE = 0.35
LIVE_SAVED_SECONDS = 0.2
# A sound engine's output follows the obfuscation. These two catch one that gives the original back
# (0: nothing of it; 1: the original) or anything else that it was not trained for. The shipped
# models, all obfuscations, faces of 32 to 112 px: at most 0.02, and 10.3 levels.
MOST_SHOWN = 0.25
MOST_STRAY_LEVELS = 30.0  # rms, of 255
_log = logging.getLogger(__name__)

Picture = tuple[U8Array, ...]
"""Luma (B, 1, H, W) and chroma (B, 2, H/2, W/2)."""


class FaceFuser(Protocol):
    """A fusion engine together with the keys, which nothing in this room ever sees."""

    side_multiple_px: int

    def fuse(
        self, original: Picture, obfuscated: Picture, number: int, squares: Sequence[Square]
    ) -> Picture:
        """Faces of one side in frame `number` to protected ones. Raises whatever it likes."""
        ...


class Waiting(Protocol):
    """Where a face that is due is waiting: `track/keyframe.py`."""

    def settle(self, track_id: int, *, fused_seconds: float | None = None) -> None:
        """It waits no longer; `fused_seconds` where it was fused."""
        ...


@dataclass(frozen=True, slots=True)
class FusedFacePatches:
    """One face's keyframe: the soft-edged ring, and the square over it."""

    face: FaceBox
    ring: FacePatch = field(repr=False)
    square: FacePatch = field(repr=False)


@dataclass(frozen=True, slots=True)
class _Job:
    """One face of one frame, ready for the engine."""

    face: FaceBox
    square: Square
    original: YuvPlanes = field(repr=False)
    ring: FacePatch = field(repr=False)

    @property
    def obfuscated(self) -> YuvPlanes:
        """The square's part of the ring's patch: seen from outside they are one."""
        x, y, side = self.square.xys_px
        return part_of(self.ring.planes, x - self.ring.x_px, y - self.ring.y_px, side, side)


class FaceFusion:
    """One session's fusion. Used by one thread."""

    def __init__(
        self,
        camera: str,
        settings: ProtectSettings,
        fuser: FaceFuser,
        waiting: Waiting,
        *,
        live: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`live`: the time it takes, by `clock`, is bounded as well: by a share of the stream's."""
        self._camera = camera
        self._settings = settings
        self._fuser = fuser
        self._clock = clock
        self._waiting = waiting
        self._budget = Budget(settings.fusions_per_second)
        self._time = Budget(LIVE_SHARE, most=LIVE_SAVED_SECONDS) if live else None
        self._seconds_per_cost = 0.0  # of the engine as measured last
        self._failures = 0
        self._off = False
        self._quiet = RateLimitedLog(_log)
        self.fused = 0
        self.not_fused: Counter[str] = Counter()  # reason to faces, frame by frame

    def fuse(
        self,
        planes: YuvPlanes,
        due: Sequence[FaceBox],
        patches: Sequence[FacePatch],
        moment: FrameMoment,
        held: Collection[int] = (),
    ) -> list[FusedFacePatches]:
        """Those of the faces that can be fused in this frame; reads `planes`, writes nothing.

        `held`: tracks whose face was not found again. It may have gone, or be the same person as
        a face that was found where it was.
        """
        if self._off:
            self.not_fused["switched off"] += len(due)
            for face in due:
                self._waiting.settle(face.track_id)
            return []
        jobs: list[_Job] = []
        for face in due:
            placed = self._place(face, planes.size_px, patches, moment, jobs)
            if isinstance(placed, Square):
                jobs.append(self._job(face, placed, planes, patches, held))
            else:
                self.not_fused[placed] += 1
        made: list[FusedFacePatches] = []
        for side in sorted({job.square.side_px for job in jobs}):
            made += self._fuse([job for job in jobs if job.square.side_px == side], moment)
        return made

    def _place(
        self,
        face: FaceBox,
        frame_px: tuple[int, int],
        patches: Sequence[FacePatch],
        moment: FrameMoment,
        jobs: Sequence[_Job],
    ) -> Square | str:
        """The face's square, or why it keeps its plain obfuscation in this frame."""
        patch = next((patch for patch in patches if patch.track_id == face.track_id), None)
        found: Square | NoSquare = "no room"
        if patch is not None:
            found = square_around(patch, frame_px, self._fuser.side_multiple_px)
        if not isinstance(found, Square):
            self._waiting.settle(face.track_id)  # the next frame would say the same
            return found
        x, y, side = found.xys_px
        if any(zone[y : y + side, x : x + side].any() for zone in moment.zones):
            self._waiting.settle(face.track_id)
            return "in a zone"
        # What follows is due again in the next frame.
        if any(found.overlaps(job.square) for job in jobs):
            return "overlaps another"
        now = moment.pts_seconds
        if not self._budget.has_any(now):
            return "over the budget"
        if self._time is not None and not self._time.has_any(now):
            return "too slow"
        self._budget.spend(cost_of(side))
        if self._time is not None:
            self._time.spend(self._seconds_per_cost * cost_of(side))
        return found

    def _job(
        self,
        face: FaceBox,
        square: Square,
        planes: YuvPlanes,
        patches: Sequence[FacePatch],
        held: Collection[int],
    ) -> _Job:
        own = next(patch for patch in patches if patch.track_id == face.track_id)
        others = [
            _beside(patch, face) if patch.track_id in held else patch
            for patch in patches
            if patch.track_id != face.track_id
        ]
        x, y, width, height = rectangle = ring_around(square, own, planes.size_px)
        content = _without_others(part_of(planes, x, y, width, height), x, y, others)
        hidden = obfuscate(
            content, self._settings.obfuscation, self._settings.strength * face_width_px(face)
        )
        hidden = YuvPlanes(*with_head_room((hidden.y, hidden.u, hidden.v)))
        box = np.asarray(face.box_xyxy_px, np.float32)
        alpha = ring_alpha(square, rectangle)
        return _Job(
            face,
            square,
            part_of(content, square.x_px - x, square.y_px - y, square.side_px, square.side_px),
            FacePatch(face.track_id, x, y, hidden, alpha, box),
        )

    def _fuse(self, jobs: Sequence[_Job], moment: FrameMoment) -> list[FusedFacePatches]:
        """All faces of one side in one run; none of them where the engine fails."""
        cost = sum(cost_of(job.square.side_px) for job in jobs)
        original = _batch(job.original for job in jobs)
        obfuscated = _batch(job.obfuscated for job in jobs)
        started = self._clock()
        try:
            protected = self._fuser.fuse(
                original, obfuscated, moment.number, [job.square for job in jobs]
            )
            _check(protected, obfuscated, original)
        except Exception as error:  # whatever an engine raises, the faces are hidden already
            self._failed(jobs, error)
            return []
        finally:
            self._measure(self._clock() - started, cost)
        self._failures = 0
        self.fused += len(jobs)
        made = []
        for index, job in enumerate(jobs):
            square = job.square
            self._waiting.settle(job.face.track_id, fused_seconds=moment.pts_seconds)
            luma, chroma = protected[0][index], protected[1][index]
            whole = np.full((square.side_px, square.side_px), 255, np.uint8)
            patch = FacePatch(
                job.face.track_id,
                square.x_px,
                square.y_px,
                YuvPlanes(luma[0], chroma[0], chroma[1]),
                whole,
                job.ring.face_xyxy_px,
                is_fused=True,
            )
            made.append(FusedFacePatches(job.face, job.ring, patch))
        return made

    def _measure(self, seconds: float, cost: float) -> None:
        if self._time is not None:
            self._time.spend(seconds - self._seconds_per_cost * cost)
        self._seconds_per_cost = seconds / cost

    def _failed(self, jobs: Sequence[_Job], error: Exception) -> None:
        self.not_fused["the engine failed"] += len(jobs)
        for job in jobs:
            self._waiting.settle(job.face.track_id)
        self._failures += 1
        if self._failures < MOST_FAILURES:
            # of the engine's own words only the kind: they may hold anything
            self._quiet.warning(
                "%s: %s while fusing: faces keep their plain obfuscation",
                self._camera,
                type(error).__name__,
            )
        elif not self._off:
            self._off = True
            _log.error(
                "%s: fusion failed %d times in a row and is switched off: faces keep their plain "
                "obfuscation and cannot be recovered; restart the camera to try again",
                self._camera,
                self._failures,
            )


def _beside(patch: FacePatch, face: FaceBox) -> FacePatch:
    """What a held track's patch owns: nothing inside the box of a face that was found."""
    x1, y1, x2, y2 = (int(v) for v in np.rint(face.box_xyxy_px))
    alpha = patch.alpha.copy()
    x, y = patch.x_px, patch.y_px
    alpha[max(y1 - y, 0) : max(y2 - y, 0), max(x1 - x, 0) : max(x2 - x, 0)] = 0
    return replace(patch, alpha=alpha)


def _without_others(
    planes: YuvPlanes, x_px: int, y_px: int, others: Sequence[FacePatch]
) -> YuvPlanes:
    """A copy in which everything that belongs to other faces is their obfuscation."""
    content = YuvPlanes(planes.y.copy(), planes.u.copy(), planes.v.copy())
    width, height = content.size_px
    for patch in others:
        rows, columns = patch.alpha.shape
        x1, y1 = max(patch.x_px, x_px), max(patch.y_px, y_px)
        x2, y2 = min(patch.x_px + columns, x_px + width), min(patch.y_px + rows, y_px + height)
        if x1 >= x2 or y1 >= y2:
            continue
        theirs = part_of(patch.planes, x1 - patch.x_px, y1 - patch.y_px, x2 - x1, y2 - y1)
        ours = part_of(content, x1 - x_px, y1 - y_px, x2 - x1, y2 - y1)
        # Their soft edge as well, whole: mixed in, it would let their original through.
        owned = patch.alpha[y1 - patch.y_px : y2 - patch.y_px, x1 - patch.x_px : x2 - patch.x_px]
        np.copyto(ours.y, theirs.y, where=owned > 0)
        small = (owned[::2, ::2] | owned[1::2, ::2] | owned[::2, 1::2] | owned[1::2, 1::2]) > 0
        np.copyto(ours.u, theirs.u, where=small)
        np.copyto(ours.v, theirs.v, where=small)
    return content


def _batch(squares: Iterable[YuvPlanes]) -> Picture:
    """(B, 1, H, W) and (B, 2, H/2, W/2)"""
    parts = list(squares)
    return (
        np.stack([planes.y for planes in parts])[:, None],
        np.stack([np.stack([planes.u, planes.v]) for planes in parts]),
    )


class _UnsoundPicture(Exception):
    """The engine's output must not be shown."""


def _check(protected: Picture, obfuscated: Picture, original: Picture) -> None:
    """Raises _UnsoundPicture where the output is no obfuscation of the face."""
    if [p.shape for p in protected] != [o.shape for o in obfuscated]:
        raise _UnsoundPicture(f"shapes {[plane.shape for plane in protected]}")
    if any(plane.dtype != np.uint8 for plane in protected):
        raise _UnsoundPicture("not 8 bits")
    hidden = obfuscated[0].astype(np.float32)
    strayed = protected[0].astype(np.float32) - hidden
    detail = original[0].astype(np.float32) - hidden
    axes = (1, 2, 3)
    # how much of the detail that the obfuscation took away has come back, face by face
    shown = (strayed * detail).sum(axes) / ((detail**2).sum(axes) + detail[0].size)
    stray_levels = np.sqrt((strayed**2).mean(axes))
    if float(shown.max()) > MOST_SHOWN or float(stray_levels.max()) > MOST_STRAY_LEVELS:
        raise _UnsoundPicture("it strays from the obfuscation")
