"""From a face box to the rectangle and the soft-edged shape that hide it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import cv2
import numpy as np

from ..frames import FaceBox, FloatArray, U8Array

Shape = Literal["ellipse", "box"]
FEATHER = 0.06  # of the region's side: width of the soft edge, outside of what must be hidden
ELLIPSE_GROW = 1.3  # the mask's order 3 holds a box's corners from 2 ** (1 / 3) = 1.26 on
LEAST_SIDE_PX = 8  # smaller than a macroblock hides nothing after coding


@dataclass(frozen=True, slots=True)
class Region:
    """An even-aligned rectangle inside the frame and the weight of its pixels."""

    x_px: int
    y_px: int
    alpha: U8Array  # (h, w) 255 where the original must vanish
    face_width_px: float  # the scale that strengths refer to

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height)"""
        return self.alpha.shape[1], self.alpha.shape[0]


def region_of(
    face: FaceBox, frame_px: tuple[int, int], *, grow: float, shape: Shape
) -> Region | None:
    """The region that hides `face`, or None where the face lies outside the frame."""
    box = face.box_xyxy_px
    centre = (box[:2] + box[2:]) / 2
    side = _head_sides(face)
    if shape == "ellipse":
        grow = max(grow, ELLIPSE_GROW)  # less would leave corners clear, and the gate would refuse
    hard = np.maximum(side * grow + 2 * face.slack_px, LEAST_SIDE_PX)
    # Sizes in steps of 8 px: masks are reused, and the edge does not shimmer with the box.
    width, height = (int(np.ceil(value * (1 + 2 * FEATHER) / 8) * 8) for value in hard)
    x0 = round(float(centre[0] - width / 2) / 2) * 2
    y0 = round(float(centre[1] - height / 2) / 2) * 2
    frame_w, frame_h = frame_px
    left, top = max(x0, 0), max(y0, 0)
    right, bottom = min(x0 + width, frame_w), min(y0 + height, frame_h)
    if right - left < 2 or bottom - top < 2:
        return None
    part = (slice(top - y0, bottom - y0), slice(left - x0, right - x0))
    if width > frame_w or height > frame_h:
        alpha = _weights(width, height, shape, part)  # only what is seen of it: bounded
    else:
        alpha = _mask(width, height, shape)[part]
    return Region(left, top, alpha, face_width_px(face))


def face_width_px(face: FaceBox) -> float:
    """The scale that strengths refer to."""
    return float(max(_head_sides(face)[0], 2.0))


def _head_sides(face: FaceBox) -> FloatArray:
    """(2,) width and height of the box, at least of a head's proportions."""
    side: FloatArray = np.maximum(face.box_xyxy_px[2:] - face.box_xyxy_px[:2], 1.0)
    # A profile's box is narrow while the head behind it is not: never narrower than 3:4.
    widened: FloatArray = np.maximum(side, np.float32(0.75) * side.max())
    return widened


@lru_cache(maxsize=128)
def _mask(width_px: int, height_px: int, shape: Shape) -> U8Array:
    """(h, w) 255 inside the shape, falling to 0 at the rectangle's edge."""
    mask = _weights(width_px, height_px, shape, (slice(0, height_px), slice(0, width_px)))
    mask.flags.writeable = False
    return mask


def _weights(width_px: int, height_px: int, shape: Shape, part: tuple[slice, slice]) -> U8Array:
    """The (rows, columns) of `part` of the mask."""
    feather_x, feather_y = (side * FEATHER / (1 + 2 * FEATHER) for side in (width_px, height_px))
    rows, columns = part
    xs = np.abs(np.arange(columns.start, columns.stop) + 0.5 - width_px / 2)
    ys = np.abs(np.arange(rows.start, rows.stop) + 0.5 - height_px / 2)
    half_x, half_y = width_px / 2 - feather_x, height_px / 2 - feather_y
    if shape == "box":
        outside = np.maximum(
            np.clip((xs - half_x) / feather_x, 0, 1)[None, :],
            np.clip((ys - half_y) / feather_y, 0, 1)[:, None],
        )
    else:
        # A superellipse of order 3 hides a box's corners that an ellipse leaves out.
        radius = ((xs / half_x)[None, :] ** 3 + (ys / half_y)[:, None] ** 3) ** (1 / 3)
        outside = np.clip((radius - 1) / (feather_x / half_x), 0, 1)
    weights: U8Array = np.rint((1 - outside) * 255).astype(np.uint8)
    return weights


def polygon_mask(corners: list[tuple[float, float]], frame_px: tuple[int, int]) -> U8Array:
    """(H, W) 255 inside a polygon whose corners are shares of the frame's sides."""
    width, height = frame_px
    points: FloatArray = np.array(corners, np.float32) * np.array([width, height], np.float32)
    mask = np.zeros((height, width), np.uint8)
    cv2.fillPoly(mask, [np.rint(points).astype(np.int32)], 255)
    return mask
