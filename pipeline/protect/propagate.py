"""Carries a keyframe's protection along with the face (IdentityMask, book, section 8.4).

From frame to frame the face's motion is measured and added up to one motion since the keyframe;
the keyframe's own pixels are moved by that. Nothing of the original is ever in what is carried. It
is laid over the patches of `choose.py`, which hide every face already: where it is uncertain or
does not reach, their plain obfuscation is seen. It stops at the first doubt.
"""

from __future__ import annotations

import logging
import math
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from ..frames import (
    MOTION_CELLS,
    Doubt,
    FaceBox,
    FacePatch,
    FloatArray,
    FrameMoment,
    Motion,
    U8Array,
    YuvPlanes,
    part_of,
)
from ..motion import as_grid, move
from ..runtime.ratelimit import RateLimitedLog
from .budget import Budget
from .flow import CELLS, View, face_weights, flow_between, in_view, sample, view_of
from .fuse import FusedFacePatches

# Thresholds: benchmarks/motion.py, table "doubt". Lengths in face widths.
MOST_DISAGREEMENT = 0.025  # in one frame, between the flow forth and back
MOST_DRIFT = 0.1  # the same, added up since the keyframe
MOST_RESIDUAL = 0.42  # of the face's contrast, which its motion does not explain
MOST_TURN_DEGREES = 15.0  # since the keyframe: beyond it the pixels are another face's view
MOST_SCALE = 1.25  # either way: beyond it they are too coarse or too fine
MOST_STRAY = 0.3  # between the face's box and where the motion says that it is
MOST_OCCLUSION = 0.15  # change since the keyframe of the share that other faces' boxes hide
LEAST_CARRIED = 0.8  # of what must be hidden: else the face is mostly another patchwork
MOST_GAP_SECONDS = 0.25
MOST_AGES = 2.0  # of `keyframe_every`, while the network has no time for another keyframe
MARGIN = 1.12  # of a keyframe's patch: the view shows a little of what is around it
LIVE_SHARE = 0.25  # of a live stream's time, what it may take; see fuse.py
LIVE_SAVED_SECONDS = 0.1
_OPAQUE = 250
_PAD_PX = 4  # even, so that chroma has it too

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Track:
    """What is carried for one face: from its keyframe, and from the frame before."""

    key_number: int
    key_seconds: float
    key_xys_px: tuple[int, int, int]  # the view's square in the keyframe
    key_box_xyxy_px: FloatArray
    key_hidden: float  # share of the face that other faces' boxes hid
    xy_px: tuple[int, int]  # of `planes` in the keyframe
    planes: YuvPlanes = field(repr=False)  # protected: ring and fused square
    weight: U8Array = field(repr=False)
    view: View = field(repr=False)  # the frame before, not protected: see `forget`
    off_px: FloatArray = field(repr=False)  # (G, G, 2) as in `Motion`, not rounded
    last_number: int = 0
    last_seconds: float = 0.0
    drift: float = 0.0


class _InDoubt(Exception):
    def __init__(self, doubt: Doubt) -> None:
        super().__init__(doubt)
        self.doubt = doubt


class Propagation:
    """One session's carried faces. Used by one thread."""

    def __init__(
        self,
        camera: str,
        every_seconds: float,
        *,
        with_texture: bool = False,
        live: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`every_seconds`: between keyframes. `live`: the time it takes, by `clock`, is bounded.

        `with_texture`: what fusion added to the obfuscation is carried as well.
        """
        self._camera = camera
        self._with_texture = with_texture
        self._most_age_seconds = MOST_AGES * every_seconds
        self._clock = clock
        self._time = Budget(LIVE_SHARE, most=LIVE_SAVED_SECONDS) if live else None
        self._tracks: dict[int, _Track] = {}
        self._frame_px: tuple[int, int] | None = None
        self._flow = flow_between
        self._quiet = RateLimitedLog(_log)
        self.carried = 0  # faces, frame by frame
        self.too_slow = 0  # faces that were let go for want of time
        self.doubts: Counter[str] = Counter()  # why others were let go

    def forget(self) -> None:
        """Nothing is carried on. Call it when the stream pauses: a view shows an original."""
        self._tracks.clear()

    def carry(
        self,
        planes: YuvPlanes,
        faces: Sequence[FaceBox],
        patches: Sequence[FacePatch],
        moment: FrameMoment,
    ) -> tuple[dict[int, FacePatch], dict[int, Doubt]]:
        """Patches by track, and the doubts about those that are carried no further.

        Reads `planes`, which are still untouched, and writes nothing.
        """
        carried: dict[int, FacePatch] = {}
        doubts: dict[int, Doubt] = {}
        if planes.size_px != self._frame_px:
            self._frame_px = planes.size_px
            self.forget()
        known = {face.track_id for face in faces}
        self._tracks = {n: track for n, track in self._tracks.items() if n in known}
        # the largest first: where time is short, they are what is looked at
        for face in sorted(faces, key=_width_px, reverse=True):
            track = self._tracks.get(face.track_id)
            if track is None:
                continue
            if self._time is not None and not self._time.has_any(moment.pts_seconds):
                del self._tracks[face.track_id]
                self.too_slow += 1
                continue
            started = self._clock()
            try:
                carried[face.track_id] = self._step(track, face, planes, faces, patches, moment)
                self.carried += 1
            except _InDoubt as error:
                doubts[face.track_id] = error.doubt
            except Exception as error:  # whatever breaks in here, the face is hidden already
                self._quiet.warning(
                    "%s: %s in the flow of a face: it keeps its plain obfuscation",
                    self._camera,
                    type(error).__name__,
                )
                doubts[face.track_id] = "flow failed"
            finally:
                if self._time is not None:
                    self._time.spend(self._clock() - started)
        for track_id, doubt in doubts.items():
            del self._tracks[track_id]
            self.doubts[doubt] += 1
        return carried, doubts

    def start(
        self,
        fused: FusedFacePatches,
        planes: YuvPlanes,
        faces: Sequence[FaceBox],
        moment: FrameMoment,
    ) -> None:
        """A keyframe: what is carried from here on. `planes`: the original, still untouched."""
        face, ring, square = fused.face, fused.ring, fused.square
        height, width = ring.alpha.shape
        xys_px = _square_around(
            (ring.x_px + width / 2, ring.y_px + height / 2), max(width, height) * MARGIN
        )
        view = view_of(planes.y, xys_px, face.box_xyxy_px)
        if view is None:
            self._tracks.pop(face.track_id, None)
            return
        self._tracks[face.track_id] = _Track(
            key_number=moment.number,
            key_seconds=moment.pts_seconds,
            key_xys_px=xys_px,
            key_box_xyxy_px=face.box_xyxy_px,
            key_hidden=_hidden_by_others(face, faces),
            xy_px=(ring.x_px - _PAD_PX, ring.y_px - _PAD_PX),
            planes=_padded(_joined(ring, square) if self._with_texture else ring.planes),
            weight=_with_margin(ring.alpha, _PAD_PX, cv2.BORDER_CONSTANT),
            view=view,
            off_px=np.zeros((MOTION_CELLS, MOTION_CELLS, 2), np.float32),
            last_number=moment.number,
            last_seconds=moment.pts_seconds,
        )

    def _step(
        self,
        track: _Track,
        face: FaceBox,
        planes: YuvPlanes,
        faces: Sequence[FaceBox],
        patches: Sequence[FacePatch],
        moment: FrameMoment,
    ) -> FacePatch:
        """One frame on. Raises _InDoubt."""
        _check_time(track, moment, self._most_age_seconds)
        if abs(_hidden_by_others(face, faces) - track.key_hidden) > MOST_OCCLUSION:
            raise _InDoubt("occlusion")
        view = view_of(planes.y, _square_of(track, face), face.box_xyxy_px)
        if view is None:
            raise _InDoubt("uncovered")
        box = in_view(face.box_xyxy_px, view.xys_px)
        weights = face_weights(box)
        flow = self._flow(track.view, view, box, weights)
        disagreement = flow.disagreement * view.xys_px[2] / _width_px(face)
        track.drift += disagreement
        # written so that NaN is doubt
        if not (disagreement <= MOST_DISAGREEMENT and track.drift <= MOST_DRIFT):
            raise _InDoubt("forward-backward")
        if not flow.residual <= MOST_RESIDUAL:
            raise _InDoubt("residual")
        before = CELLS + flow.moved
        track.off_px = sample(track.off_px, before) + flow.moved * np.float32(track.key_xys_px[2])
        track.view, track.last_number, track.last_seconds = view, moment.number, moment.pts_seconds
        _check_pose(track, view.xys_px, face, weights)
        motion = Motion(track.key_number, track.key_xys_px, view.xys_px, as_grid(track.off_px))
        moved = move(track.planes, track.xy_px, track.weight, motion, planes.size_px)
        if moved is None:
            raise _InDoubt("uncovered")
        patch = FacePatch(
            face.track_id,
            moved.x_px,
            moved.y_px,
            moved.planes,
            moved.weight,
            face.box_xyxy_px,
            motion=motion,
        )
        _check_cover(patch, patches)
        return patch


def _joined(ring: FacePatch, square: FacePatch) -> YuvPlanes:
    """The ring's rectangle with the square in it."""
    planes = YuvPlanes(ring.planes.y.copy(), ring.planes.u.copy(), ring.planes.v.copy())
    side = square.alpha.shape[0]
    inner = part_of(planes, square.x_px - ring.x_px, square.y_px - ring.y_px, side, side)
    inner.y[...], inner.u[...], inner.v[...] = square.planes.y, square.planes.u, square.planes.v
    return planes


def _padded(planes: YuvPlanes) -> YuvPlanes:
    """With the margin that `move` asks for, the edge continued in it."""
    return YuvPlanes(
        _with_margin(planes.y, _PAD_PX, cv2.BORDER_REPLICATE),
        _with_margin(planes.u, _PAD_PX // 2, cv2.BORDER_REPLICATE),
        _with_margin(planes.v, _PAD_PX // 2, cv2.BORDER_REPLICATE),
    )


def _with_margin(plane: U8Array, width_px: int, border: int) -> U8Array:
    sides = (width_px, width_px, width_px, width_px)
    return np.asarray(cv2.copyMakeBorder(plane, *sides, border), np.uint8)


def _check_time(track: _Track, moment: FrameMoment, most_age_seconds: float) -> None:
    if moment.follows_cut:
        raise _InDoubt("scene cut")
    gap_seconds = moment.pts_seconds - track.last_seconds
    if moment.number != track.last_number + 1 or not 0 <= gap_seconds <= MOST_GAP_SECONDS:
        raise _InDoubt("gap")
    if moment.pts_seconds - track.key_seconds > most_age_seconds:
        raise _InDoubt("too old")


def _check_pose(
    track: _Track, xys_px: tuple[int, int, int], face: FaceBox, weights: FloatArray
) -> None:
    """What the motion since the keyframe does to the picture of the face."""
    key_x, key_y, key_side = track.key_xys_px
    # from shares of the view to pixels of the keyframe; near the face that is an affine motion
    places = CELLS * np.float32(key_side) + track.off_px
    span = np.float32(xys_px[2] * 2 / MOTION_CELLS)
    across = _mean(places[1:-1, 2:] - places[1:-1, :-2], weights[1:-1, 1:-1]) / span
    down = _mean(places[2:, 1:-1] - places[:-2, 1:-1], weights[1:-1, 1:-1]) / span
    area = float(across[0] * down[1] - across[1] * down[0])
    scale = math.sqrt(max(area, 1e-6))
    turn = math.degrees(math.atan2(float(across[1] - down[0]), float(across[0] + down[1])))
    if not (1 / MOST_SCALE <= scale <= MOST_SCALE and abs(turn) <= MOST_TURN_DEGREES):
        raise _InDoubt("scale or rotation")
    box, key_box = face.box_xyxy_px, track.key_box_xyxy_px
    shares = in_view(box, xys_px)
    at: FloatArray = ((shares[:2] + shares[2:]) / np.float32(2))[None, None]
    from_px = sample(places, at)[0, 0] + np.array((key_x, key_y), np.float32)
    stray = np.linalg.norm(from_px - (key_box[:2] + key_box[2:]) / 2)
    key_width = max(float((key_box[2:] - key_box[:2]).max()), 2.0)
    if not float(stray) <= MOST_STRAY * key_width:
        raise _InDoubt("box jump")


def _mean(vectors: FloatArray, weights: FloatArray) -> FloatArray:
    """(2,) of (h, w, 2) vectors."""
    weight = weights.ravel()
    mean: FloatArray = weight @ vectors.reshape(-1, 2) / weight.sum()
    return mean


def _check_cover(patch: FacePatch, patches: Sequence[FacePatch]) -> None:
    """Little may be left to the plain obfuscation below."""
    for plain in patches:
        if plain.track_id != patch.track_id:
            continue
        must = plain.alpha >= _OPAQUE
        height, width = must.shape
        dx, dy = patch.x_px - plain.x_px, patch.y_px - plain.y_px
        over = patch.alpha[max(-dy, 0) : max(height - dy, 0), max(-dx, 0) : max(width - dx, 0)]
        x, y = max(dx, 0), max(dy, 0)
        part = must[y : y + over.shape[0], x : x + over.shape[1]]
        over = over[: part.shape[0], : part.shape[1]]
        done = np.count_nonzero(part & (over >= _OPAQUE))
        if not done >= LEAST_CARRIED * np.count_nonzero(must):
            raise _InDoubt("uncovered")


def _hidden_by_others(face: FaceBox, faces: Sequence[FaceBox]) -> float:
    """The largest share of the face's box that lies in the box of another face."""
    box = face.box_xyxy_px
    area = max(float((box[2] - box[0]) * (box[3] - box[1])), 1.0)
    most = 0.0
    for other in faces:
        if other.track_id == face.track_id:
            continue
        low = np.maximum(box[:2], other.box_xyxy_px[:2])
        sides = np.maximum(np.minimum(box[2:], other.box_xyxy_px[2:]) - low, 0)
        most = max(most, float(sides[0] * sides[1]) / area)
    return most


def _square_of(track: _Track, face: FaceBox) -> tuple[int, int, int]:
    """The view in this frame: it lies about the box as it did in the keyframe."""
    x, y, side = track.key_xys_px
    box, key_box = face.box_xyxy_px, track.key_box_xyxy_px
    key_width = max(float((key_box[2:] - key_box[:2]).max()), 2.0)
    grown = _width_px(face) / key_width
    beside = np.array((x + side / 2, y + side / 2), np.float32) - (key_box[:2] + key_box[2:]) / 2
    centre = (box[:2] + box[2:]) / 2 + beside * np.float32(grown)
    return _square_around((float(centre[0]), float(centre[1])), side * grown)


def _square_around(centre_px: tuple[float, float], side_px: float) -> tuple[int, int, int]:
    side = max(math.ceil(side_px / 2) * 2, 2)
    return (
        round((centre_px[0] - side / 2) / 2) * 2,
        round((centre_px[1] - side / 2) / 2) * 2,
        side,
    )


def _width_px(face: FaceBox) -> float:
    box = face.box_xyxy_px
    return max(float((box[2:] - box[:2]).max()), 2.0)
