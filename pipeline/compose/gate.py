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
from ..frames import FaceBox, FacePatch, RawFrame, U8Array, YuvPlanes, planes_of
from ..runtime.ratelimit import RateLimitedLog
from .blend import halved, write_patch
from .curtain import curtain_frame, mosaic

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
    faces: int
    redacted: str | None  # why the whole picture was obscured; None where it was not
    seal: object = field(repr=False)

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


class Gate:
    """One camera's gate."""

    def __init__(self, camera: str, make_patches: PatchMaker, *, everything: bool = False) -> None:
        """`everything`: the whole picture is obscured, faces or not."""
        self._camera = camera
        self._make_patches = make_patches
        self._everything = everything
        self._quiet = RateLimitedLog(_log)
        self.redactions: Counter[str] = Counter()

    def protect(self, frame: RawFrame, faces: Sequence[FaceBox], zones: Zones) -> ProtectedFrame:
        """The frame with every face hidden, or the curtain. Never raises, never passes it clear."""
        try:
            if self._everything:
                frame.image.make_writable()
                mosaic(planes_of(frame.image))
                return _sealed(frame, frame.image, len(faces), None)
            return self._hide(frame, faces, zones)
        except ProtectionError as error:
            return self.redact(frame, str(error))
        except Exception as error:  # anything else is a defect, and must not show a face either
            return self.redact(frame, f"{type(error).__name__} while hiding faces")

    def redact(self, frame: RawFrame, reason: str) -> ProtectedFrame:
        """The curtain instead of the frame, counted and logged at most once a second."""
        self.redactions[reason] += 1
        self._quiet.warning("%s: frame obscured: %s", self._camera, reason)
        source = frame.image
        image = curtain_frame(source.width, source.height, source.format.name)
        image.color_range, image.colorspace = source.color_range, source.colorspace
        return _sealed(frame, image, 0, reason)

    def _hide(self, frame: RawFrame, faces: Sequence[FaceBox], zones: Zones) -> ProtectedFrame:
        image = frame.image
        if faces or zones.always is not None:
            patches = self._make_patches(planes_of(image), faces)
            # Decoded frames share their buffers with the decoder's references: without this call
            # a patch would show up again in later frames. It moves the buffers: view them anew.
            image.make_writable()
            planes = planes_of(image)
            used = [write_patch(planes, patch, zones.never) for patch in patches]
            _check_covered(planes.size_px, faces, patches, used, zones.never)
            if zones.always is not None:
                _fill(planes, zones.always)
        return _sealed(frame, image, len(faces), None)


def _sealed(
    frame: RawFrame, image: av.VideoFrame, faces: int, redacted: str | None
) -> ProtectedFrame:
    return ProtectedFrame(
        image, frame.pts, frame.time_base, frame.captured_ns, faces, redacted, _SEAL
    )


def _check_covered(
    frame_px: tuple[int, int],
    faces: Sequence[FaceBox],
    patches: Sequence[FacePatch],
    used: Sequence[U8Array],
    never: U8Array | None,
) -> None:
    """Every face box is replaced by the patch of its own track, never zones left out.

    Raises ProtectionError.
    """
    by_track = {patch.track_id: (patch, alpha) for patch, alpha in zip(patches, used, strict=True)}
    width, height = frame_px
    for face in faces:
        x1, y1, x2, y2 = (int(v) for v in np.rint(face.box_xyxy_px))
        x1, y1, x2, y2 = max(x1, 0), max(y1, 0), min(x2, width), min(y2, height)
        if x1 >= x2 or y1 >= y2:
            continue  # outside the picture
        if face.track_id not in by_track:
            raise ProtectionError("a face has no patch")
        patch, alpha = by_track[face.track_id]
        inside = alpha[
            max(y1 - patch.y_px, 0) : max(y2 - patch.y_px, 0),
            max(x1 - patch.x_px, 0) : max(x2 - patch.x_px, 0),
        ]
        covered = int(np.count_nonzero(inside >= _OPAQUE))
        if never is not None:
            covered += int(np.count_nonzero(never[y1:y2, x1:x2]))
        if covered < LEAST_COVER * (x2 - x1) * (y2 - y1):
            raise ProtectionError("a face is not covered by its patch")


def _fill(planes: YuvPlanes, mask: U8Array) -> None:
    """Plain grey inside the mask, in place."""
    planes.y[mask > 0] = 96
    small = halved(mask) > 0
    planes.u[small] = 128
    planes.v[small] = 128
