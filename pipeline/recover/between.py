"""Between keyframes: the face that a keyframe opened, moved as its protection was moved.

What is shown so is the keyframe's picture. It tells who somebody is and where, and nothing of what
the face did since: the pixels of the frame it is laid over hold no face.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..compose.blend import write_patch
from ..frames import FacePatch, FusedFace, Motion, Square, U8Array, YuvPlanes
from ..motion import move

# A face is carried for two of `keyframe_every` at most, by default two seconds.
KEEP_SECONDS = 60.0
MOST_KEPT = 256  # tracks; a face of 112 x 112 px takes 19 kB, the largest 400 kB
EDGE_SHARE = 1 / 16  # of the square's side, fading into what is around it

OpenFaces = Callable[[Sequence[YuvPlanes], int, Sequence[Square]], list[YuvPlanes]]
"""(the squares' protected pixels, the number of their frame, the squares) to their originals."""


@dataclass(slots=True)
class Keyframe:
    """A track's last one."""

    number: int
    square: Square
    seconds: float
    planes: YuvPlanes = field(repr=False)  # of the square
    is_open: bool


class Between:
    """The last keyframe of each track, for as long as its face may be carried."""

    def __init__(self, open_faces: OpenFaces, is_face: Callable[[U8Array], bool]) -> None:
        self._open_faces = open_faces
        self._is_face = is_face
        self._kept: dict[int, Keyframe] = {}  # the oldest first

    def keep_open(self, face: FusedFace, number: int, seconds: float, original: YuvPlanes) -> None:
        """A face that has opened; it takes the place of its track's last one."""
        self._keep(face, Keyframe(number, face.square, seconds, original, is_open=True))

    def keep_closed(
        self, face: FusedFace, number: int, seconds: float, protected: YuvPlanes
    ) -> None:
        """A square, copied as it is: opened when it is needed, and most never are."""
        copy = YuvPlanes(protected.y.copy(), protected.u.copy(), protected.v.copy())
        self._keep(face, Keyframe(number, face.square, seconds, copy, is_open=False))

    def drop(self, track_id: int) -> None:
        """The track has another keyframe, which did not open."""
        self._kept.pop(track_id, None)

    def expire(self, now_seconds: float) -> None:
        """Drop what is too old to be carried."""
        self._kept = {
            track_id: keyframe
            for track_id, keyframe in self._kept.items()
            if now_seconds - keyframe.seconds <= KEEP_SECONDS
        }

    def opened(self, track_id: int, motion: Motion) -> Keyframe | None:
        """The keyframe that a motion starts from; None where it is another one or did not open.

        Raises EngineError.
        """
        keyframe = self._kept.get(track_id)
        if keyframe is None or keyframe.number != motion.key_number:
            return None
        if not keyframe.is_open:
            (original,) = self._open_faces([keyframe.planes], keyframe.number, [keyframe.square])
            if not self._is_face(original.y):
                self.drop(track_id)
                return None
            keyframe.planes, keyframe.is_open = original, True
        return keyframe

    def _keep(self, face: FusedFace, keyframe: Keyframe) -> None:
        self._kept.pop(face.track_id, None)
        self._kept[face.track_id] = keyframe
        if len(self._kept) > MOST_KEPT:
            del self._kept[next(iter(self._kept))]


def lay_over(
    planes: YuvPlanes, keyframe: Keyframe, motion: Motion, leave_out: Sequence[Square]
) -> bool:
    """Write an opened face where it has moved to; False where nothing of it is in the frame.

    `leave_out`: the frame's own fused squares, which lie over what is carried.
    """
    square = keyframe.square
    weight = soft_square(square.side_px)
    moved = move(
        keyframe.planes, (square.x_px, square.y_px), weight, motion, planes.size_px, sharp=True
    )
    if moved is None:
        return False
    alpha = moved.weight.copy()
    for other in leave_out:
        x, y = other.x_px - moved.x_px, other.y_px - moved.y_px
        side = other.side_px
        alpha[max(y, 0) : max(y + side, 0), max(x, 0) : max(x + side, 0)] = 0
    nowhere = np.zeros(4, np.float32)
    patch = FacePatch(0, moved.x_px, moved.y_px, moved.planes, alpha, nowhere)
    write_patch(planes, patch, None)
    return bool(alpha.any())


def soft_square(side_px: int) -> U8Array:
    """(side, side) 255, and falling to nearly nothing at the edge, inside of it."""
    edge_px = max(side_px * EDGE_SHARE, 2.0)
    along = np.arange(side_px, dtype=np.float32) + np.float32(0.5)
    near = np.minimum(np.minimum(along, side_px - along) / np.float32(edge_px), 1)
    weight: U8Array = np.rint(255 * np.minimum(near[:, None], near[None, :])).astype(np.uint8)
    return weight
