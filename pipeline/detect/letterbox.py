"""The network's input straight from the planes, and boxes back to source pixels."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..frames import FloatArray, U8Array, YuvPlanes
from .suppress import iou

SAME_FACE_IOU = 0.3  # a face and its image are found alike
MARGIN_PX = 8  # of the network's input, on every side at least


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Fits a picture into the middle of (width, height) with even sides, its mirror image around.

    The network was taught whole faces: one that the frame's edge cuts is found more often when it
    is mirrored at that edge. Grey, or the last pixels repeated, find fewer. What is found may
    therefore lie beyond the frame: a mirrored face whole, a cut one in part.
    """

    source_px: tuple[int, int]
    target_px: tuple[int, int]

    @property
    def scale(self) -> float:
        """Target pixels per source pixel; small pictures are enlarged."""
        (sw, sh), (tw, th) = self.source_px, self.target_px
        return min((tw - 2 * MARGIN_PX) / sw, (th - 2 * MARGIN_PX) / sh)

    @property
    def fitted_px(self) -> tuple[int, int]:
        """The picture's size inside the target, even."""
        width, height = (max(2, int(side * self.scale) // 2 * 2) for side in self.source_px)
        return width, height

    @property
    def corner_px(self) -> tuple[int, int]:
        """Where the picture's left top corner lies inside the target."""
        (fw, fh), (tw, th) = self.fitted_px, self.target_px
        return (tw - fw) // 2, (th - fh) // 2

    def image(self, planes: YuvPlanes, *, rgb: bool) -> U8Array:
        """(H, W, 3) network input, uint8. Only the small picture ever becomes RGB."""
        width, height = self.fitted_px
        i420 = np.empty((height * 3 // 2, width), np.uint8)
        i420[:height] = _shrunk(planes.y, (width, height))
        half, quarter = (width // 2, height // 2), height // 2 * (width // 2)
        chroma = i420[height:].reshape(-1)
        for start, plane in ((0, planes.u), (quarter, planes.v)):
            chroma[start : start + quarter] = _shrunk(plane, half).reshape(-1)
        # BT.601 for every source: detectors do not care, and one path is one path to test.
        code = cv2.COLOR_YUV2RGB_I420 if rgb else cv2.COLOR_YUV2BGR_I420
        colour = cv2.cvtColor(i420, code)
        (left, top), (tw, th) = self.corner_px, self.target_px
        right, bottom = tw - width - left, th - height - top
        framed = cv2.copyMakeBorder(colour, top, bottom, left, right, cv2.BORDER_REFLECT)
        return np.asarray(framed, np.uint8)

    def to_source(self, points_px: FloatArray) -> FloatArray:
        """(..., 2) target pixels to source pixels; those in the margin lie outside the source."""
        (sw, sh), (fw, fh) = self.source_px, self.fitted_px
        per_pixel = np.array([sw / fw, sh / fh], np.float32)
        return (points_px - np.array(self.corner_px, np.float32)) * per_pixel


def _shrunk(plane: U8Array, size_px: tuple[int, int]) -> U8Array:
    """Averaged over whole pixels, which keeps small faces and is quick, and then interpolated.

    Area averaging by 3.08 instead of 3 takes three times as long; bilinear alone skips pixels.
    """
    height, width = plane.shape
    whole = min(width // size_px[0], height // size_px[1])
    if whole > 1:
        size = (width // whole, height // whole)
        plane = np.asarray(cv2.resize(plane, size, interpolation=cv2.INTER_AREA), np.uint8)
    return np.asarray(cv2.resize(plane, size_px, interpolation=cv2.INTER_LINEAR), np.uint8)


def mirrored(box_xyxy_px: FloatArray, source_px: tuple[int, int]) -> NDArray[np.bool_]:
    """(N,) which boxes are mirror images: outside, or the image of another that is inside.

    A box about a face that the frame cuts may have its middle outside as well. It is none of them
    unless the same face was found inside, where its box covers more of it.
    """
    corner, size = box_xyxy_px[:, :2], np.array(source_px, np.float32)
    far_corner = box_xyxy_px[:, 2:]
    is_outside = np.asarray(((far_corner <= 0) | (corner >= size)).any(axis=1), np.bool_)
    middle = (corner + far_corner) / 2
    beyond = np.asarray((middle < 0) | (middle > size))  # (N, 2) by axis
    inside = box_xyxy_px[~beyond.any(axis=1)]
    candidates = np.flatnonzero(beyond.any(axis=1) & ~is_outside)
    if not len(candidates) or not len(inside):
        return is_outside
    near = box_xyxy_px[candidates].reshape(-1, 2, 2)  # corners, axes
    axis = np.where(middle[candidates] < 0, 0, 2 * size)[:, None]  # twice where the mirror stands
    images = np.where(beyond[candidates][:, None], (axis - near)[:, ::-1], near).reshape(-1, 4)
    is_outside[candidates] = (iou(images, inside) >= SAME_FACE_IOU).any(axis=1)
    return is_outside
