"""The only maker of `ProtectedFrame`. Whatever breaks before or in here, the curtain falls.

The gate trusts nobody: it is told which boxes must be hidden, writes the patches, and then checks
with the weights it really used that every box is covered. A frame that does not pass, or any
exception on the way, goes out as the curtain: a picture made from nothing of the original.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import ClassVar

import av
import numpy as np

from ..errors import ProtectionError
from ..frames import (
    CarriedFace,
    FaceBox,
    FacePatch,
    FrameMoment,
    FrameOriginals,
    FusedFace,
    RawFrame,
    Square,
    TrackBox,
    U8Array,
    YuvPlanes,
    planes_of,
)
from ..runtime.cadence import Cadence
from ..runtime.ratelimit import RateLimitedLog
from .blend import halved, write_patch
from .curtain import curtain_frame, mosaic
from .ownership import TrackCopy, box_in_frame, copied, originals_of

LEAST_COVER = 0.95  # share of a face box (its part inside the frame) that must be replaced
_OPAQUE = 250  # of 255: what counts as replaced

_log = logging.getLogger(__name__)
_SEAL = object()


@dataclass(frozen=True, slots=True)
class ProtectedFrame:
    """A picture that may leave the process. Made by `Gate` alone: the seal is its private key."""

    image: av.VideoFrame = field(repr=False)
    pts: int
    time_base: Fraction
    captured_ns: int
    faces: int  # that are somebody's
    redacted: str | None  # why the whole picture was obscured; None where it was not
    seal: object = field(repr=False)
    number: int = 0  # counts what left the gate, from 0
    is_idr: bool = False  # the encoder must make an IDR frame of it
    fused: tuple[FusedFace, ...] = ()  # faces that are in here to be recovered
    carried: tuple[CarriedFace, ...] = ()  # faces that show an earlier frame's protection, moved
    tracks: tuple[TrackBox, ...] = ()  # whose faces are hidden, by number; none in the curtain

    _owner: ClassVar[object] = _SEAL

    def __post_init__(self) -> None:
        if self.seal is not _SEAL:
            raise ProtectionError("a ProtectedFrame is made by compose/gate.py only")


@dataclass(frozen=True, slots=True)
class Zones:
    """Polygons as masks for one frame size; None where there are none."""

    always: U8Array | None = field(default=None, repr=False)  # (H, W)
    never: U8Array | None = field(default=None, repr=False)  # (H, W)


PatchMaker = Callable[[YuvPlanes, Sequence[FaceBox]], list[FacePatch]]
"""A patch for every face: what hides it."""

Overlay = Callable[
    [YuvPlanes, Sequence[FaceBox], Sequence[FacePatch], FrameMoment], list[FacePatch]
]
"""Further patches, to lie over those that hide the faces. Without them all is hidden as well."""

Keep = Callable[[FrameOriginals], None]
"""Takes what a frame's protection took away, to be sealed. It may raise: the frame goes on."""


class Gate:
    """One camera's gate."""

    def __init__(
        self,
        camera: str,
        make_patches: PatchMaker,
        *,
        everything: bool = False,
        overlay: Overlay | None = None,
        gop_seconds: float | None = None,
        keep: Keep | None = None,
        refusal: Callable[[], str | None] | None = None,
    ) -> None:
        """`everything`: the whole picture is obscured, faces or not.

        `gop_seconds`: which frames become IDR frames is decided here; None: by the encoder.

        `keep`: called once, in order and before `protect` returns, for each frame that was hidden
        face by face; with empty tuples where nothing was hidden. Not called for the curtain, with
        `everything`, and where the originals could not be had (counted in `not_kept`).

        `refusal`: why no picture at all may be shown now, or None; asked for each frame.
        """
        self._camera = camera
        self._make_patches = make_patches
        self._everything = everything
        self._overlay = overlay
        self._idr = Cadence(gop_seconds) if gop_seconds is not None else None
        self._next_number = 0
        self._keep = keep
        self._refusal = refusal
        self._quiet = RateLimitedLog(_log)
        self._quiet_keep = RateLimitedLog(_log)
        self.redactions: Counter[str] = Counter()
        self.not_kept: Counter[str] = Counter()  # frames without originals, by what was raised

    def protect(
        self,
        frame: RawFrame,
        faces: Sequence[FaceBox],
        zones: Zones,
        *,
        follows_cut: bool = False,
    ) -> ProtectedFrame:
        """The frame with every face hidden, or the curtain. Never raises, never passes it clear.

        `follows_cut`: it shows another scene than the frame before.
        """
        moment = self._moment(frame, zones, follows_cut=follows_cut)
        try:
            if self._refusal is not None and (reason := self._refusal()) is not None:
                return self._curtain(frame, moment, reason)
            if self._everything:
                frame.image.make_writable()
                mosaic(planes_of(frame.image))
                people = sum(face.is_somebody for face in faces)
                return _sealed(frame, frame.image, moment, people)
            return self._hide(frame, faces, zones, moment)
        except ProtectionError as error:
            return self._curtain(frame, moment, str(error))
        except Exception as error:  # anything else is a defect, and must not show a face either
            return self._curtain(frame, moment, f"{type(error).__name__} while hiding faces")

    def redact(self, frame: RawFrame, reason: str) -> ProtectedFrame:
        """The curtain instead of the frame, counted and logged at most once a second."""
        return self._curtain(frame, self._moment(frame, Zones()), reason)

    def _curtain(self, frame: RawFrame, moment: FrameMoment, reason: str) -> ProtectedFrame:
        self.redactions[reason] += 1
        self._quiet.warning("%s: frame obscured: %s", self._camera, reason)
        source = frame.image
        image = curtain_frame(source.width, source.height, source.format.name)
        image.color_range, image.colorspace = source.color_range, source.colorspace
        return _sealed(frame, image, moment, 0, redacted=reason)

    def _moment(self, frame: RawFrame, zones: Zones, *, follows_cut: bool = False) -> FrameMoment:
        """Called once for each frame that leaves: it counts them."""
        number, self._next_number = self._next_number, self._next_number + 1
        is_idr = self._idr is not None and self._idr.due(frame.pts_seconds)
        masks = tuple(mask for mask in (zones.always, zones.never) if mask is not None)
        return FrameMoment(number, frame.pts_seconds, is_idr, masks, follows_cut)

    def _hide(
        self, frame: RawFrame, faces: Sequence[FaceBox], zones: Zones, moment: FrameMoment
    ) -> ProtectedFrame:
        image = frame.image
        if not faces and zones.always is None:
            protected = _sealed(frame, image, moment, 0)
            self._give(lambda: FrameOriginals(moment.number, (), ()))
            return protected
        patches = self._patches(planes_of(image), faces, moment)
        # Decoded frames share their buffers with the decoder's references: without this call
        # a patch would show up again in later frames. It moves the buffers: view them anew.
        image.make_writable()
        planes = planes_of(image)
        copies = self._copied(planes, faces, patches)
        used = [write_patch(planes, patch, zones.never) for patch in patches]
        _check_covered(planes.size_px, faces, patches, used, zones.never)
        if zones.always is not None:
            _fill(planes, zones.always)
        people = sum(face.is_somebody for face in faces)
        fused = tuple(
            FusedFace(patch.track_id, Square(patch.x_px, patch.y_px, patch.alpha.shape[0]))
            for patch in patches
            if patch.is_fused
        )
        carried = tuple(
            CarriedFace(patch.track_id, patch.motion)
            for patch in patches
            if patch.motion is not None
        )
        tracks = _tracks(faces, planes.size_px)
        protected = _sealed(
            frame, image, moment, people, fused=fused, carried=carried, tracks=tracks
        )
        if copies is not None:  # last: of a frame that falls nothing is kept
            written = list(zip(patches, used, strict=True))
            self._give(lambda: originals_of(copies, planes, written, zones.always, moment.number))
        return protected

    def _copied(
        self, planes: YuvPlanes, faces: Sequence[FaceBox], patches: Sequence[FacePatch]
    ) -> tuple[TrackCopy, ...] | None:
        """The camera's pixels where something is about to be written; None: nobody wants them."""
        if self._keep is None:
            return None
        try:
            return copied(planes, faces, patches)
        except Exception as error:  # the faces will be hidden all the same
            self._not_kept(error)
            return None

    def _give(self, originals: Callable[[], FrameOriginals]) -> None:
        """Hand over what was taken away. The frame is protected already, whatever happens here."""
        if self._keep is None:
            return
        try:
            self._keep(originals())
        except Exception as error:
            self._not_kept(error)

    def _not_kept(self, error: Exception) -> None:
        reason = type(error).__name__  # its own words may hold anything
        self.not_kept[reason] += 1
        self._quiet_keep.warning("%s: originals not kept: %s", self._camera, reason)

    def _patches(
        self, planes: YuvPlanes, faces: Sequence[FaceBox], moment: FrameMoment
    ) -> list[FacePatch]:
        """In the order of writing: what hides each face, and over it what can be recovered."""
        patches = self._make_patches(planes, faces)
        if self._overlay is None or not faces:
            return patches
        try:
            over = self._overlay(planes, faces, patches, moment)
        except Exception as error:  # every face is hidden without it
            self._quiet.warning("%s: not fused: %s", self._camera, type(error).__name__)
            return patches
        # a pixel that is written into a fused square later would spoil its recovery
        return patches + sorted(over, key=lambda patch: patch.is_fused)


def _sealed(
    frame: RawFrame,
    image: av.VideoFrame,
    moment: FrameMoment,
    faces: int,
    *,
    redacted: str | None = None,
    fused: tuple[FusedFace, ...] = (),
    carried: tuple[CarriedFace, ...] = (),
    tracks: tuple[TrackBox, ...] = (),
) -> ProtectedFrame:
    return ProtectedFrame(
        image,
        frame.pts,
        frame.time_base,
        frame.captured_ns,
        faces,
        redacted,
        _SEAL,
        number=moment.number,
        is_idr=moment.is_idr,
        fused=fused,
        carried=carried,
        tracks=tracks,
    )


def _tracks(faces: Sequence[FaceBox], frame_px: tuple[int, int]) -> tuple[TrackBox, ...]:
    """One box for each track that was seen: around all of its faces, if it has several.

    What is merely held, too weak, or covered before it was first found, is hidden too, but nobody
    may be there: it would make cards of bare walls.
    """
    boxes: dict[int, tuple[int, int, int, int]] = {}
    for face in faces:
        is_there = face.is_found and not face.is_led_in
        box = box_in_frame(face, frame_px) if is_there else None
        if box is not None:
            other = boxes.get(face.track_id, box)
            boxes[face.track_id] = (
                *(min(box[0], other[0]), min(box[1], other[1])),
                *(max(box[2], other[2]), max(box[3], other[3])),
            )
    return tuple(
        TrackBox(track_id, (x1, y1, x2 - x1, y2 - y1))
        for track_id, (x1, y1, x2, y2) in sorted(boxes.items())
    )


def _check_covered(
    frame_px: tuple[int, int],
    faces: Sequence[FaceBox],
    patches: Sequence[FacePatch],
    used: Sequence[U8Array],
    never: U8Array | None,
) -> None:
    """Every face box is replaced by a patch of its own track, never zones left out.

    What lies over it was written by patches as well. Raises ProtectionError.
    """
    by_track: dict[int, list[tuple[FacePatch, U8Array]]] = {}
    for patch, alpha in zip(patches, used, strict=True):
        by_track.setdefault(patch.track_id, []).append((patch, alpha))
    for face in faces:
        box = box_in_frame(face, frame_px)
        if box is None:
            continue  # outside the picture
        x1, y1, x2, y2 = box
        if face.track_id not in by_track:
            raise ProtectionError("a face has no patch")
        covered = max(
            _opaque(patch, alpha, (x1, y1, x2, y2)) for patch, alpha in by_track[face.track_id]
        )
        if never is not None:
            covered += int(np.count_nonzero(never[y1:y2, x1:x2]))
        if covered < LEAST_COVER * (x2 - x1) * (y2 - y1):
            raise ProtectionError("a face is not covered by its patch")


def _opaque(patch: FacePatch, alpha: U8Array, box_xyxy_px: tuple[int, int, int, int]) -> int:
    """Pixels of the box that the patch has replaced."""
    x1, y1, x2, y2 = box_xyxy_px
    inside = alpha[
        max(y1 - patch.y_px, 0) : max(y2 - patch.y_px, 0),
        max(x1 - patch.x_px, 0) : max(x2 - patch.x_px, 0),
    ]
    return int(np.count_nonzero(inside >= _OPAQUE))


def _fill(planes: YuvPlanes, mask: U8Array) -> None:
    """Plain grey inside the mask, in place."""
    planes.y[mask > 0] = 96
    small = halved(mask) > 0
    planes.u[small] = 128
    planes.v[small] = 128
