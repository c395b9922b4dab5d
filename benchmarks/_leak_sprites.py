"""Cut-outs with soft edges, laid anywhere into a picture at any size, without fringes."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ._flow_scenes import Affine
from ._similarity import U8

LEVELS = 5  # each half the size of the one before: 12 px faces are drawn from the fourth
SIDES_PX = 2 ** (LEVELS - 1)  # a sprite's sides are multiples of it, so that halves are exact
SOLID = 128  # from this weight on a pixel hides what is behind it


@dataclass(frozen=True, slots=True)
class Sprite:
    """A cut-out in its own units: those of an aligned 112x112 crop, for everything of a person."""

    levels: tuple[U8, ...] = field(repr=False)  # (h, w, 4) RGBA, colours times weight
    corner: tuple[float, float]  # of its left top pixel, in units
    detail: float  # pixels to a unit, at the first level

    def at_scale(self, scale: float) -> Sprite:
        """With the one level that suits so many pixels to a unit."""
        wish = round(math.log2(self.detail / scale))
        number = min(max(wish, 0), len(self.levels) - 1)
        return Sprite((self.levels[number],), self.corner, self.detail / 2**number)


Edges = tuple[int, int, int, int]
"""(x1, y1, x2, y2) of a rectangle of the frame."""


@dataclass(frozen=True, slots=True)
class Placed:
    """What is to be seen of a sprite in some rectangle of the frame."""

    x_px: int
    y_px: int
    rgba: U8 = field(repr=False)

    def hides(self, edges: Edges) -> NDArray[np.bool_]:
        """(h, w) of that rectangle: which pixels show this and nothing behind it."""
        x1, y1, x2, y2 = edges
        hidden = np.zeros((y2 - y1, x2 - x1), np.bool_)
        rows, columns = self.rgba.shape[:2]
        left, right = max(self.x_px, x1), min(self.x_px + columns, x2)
        top, bottom = max(self.y_px, y1), min(self.y_px + rows, y2)
        if left < right and top < bottom:
            weight = self.rgba[
                top - self.y_px : bottom - self.y_px, left - self.x_px : right - self.x_px, 3
            ]
            hidden[top - y1 : bottom - y1, left - x1 : right - x1] = weight >= SOLID
        return hidden


def sprite_of(
    rgb: U8, weight: NDArray[np.float32], corner: tuple[float, float], detail: float
) -> Sprite:
    """`weight`: (h, w) in 0..1. Raises ValueError where the sides cannot be halved."""
    height, width = weight.shape
    if height % SIDES_PX or width % SIDES_PX:
        raise ValueError(f"a sprite's sides must be multiples of {SIDES_PX}, got {width}x{height}")
    alpha = weight[..., None]
    rgba = np.concatenate([rgb * alpha, 255 * alpha], axis=2)
    levels = [np.rint(rgba).astype(np.uint8)]
    for _ in range(LEVELS - 1):
        rows, columns = levels[-1].shape[:2]
        half = cv2.resize(levels[-1], (columns // 2, rows // 2), interpolation=cv2.INTER_AREA)
        levels.append(np.asarray(half, np.uint8))
    return Sprite(tuple(levels), corner, detail)


def placed(
    sprite: Sprite,
    affine: Affine,
    window: Edges,
    *,
    blur_px: tuple[float, float] = (0.0, 0.0),
    bent: Callable[[Sprite], Sprite] | None = None,
) -> Placed | None:
    """Laid by its units' way to the frame; None where it does not touch the window.

    `blur_px`: its way while the shutter is open. `bent` is done to the level that is used.
    """
    flat = sprite.at_scale(math.sqrt(abs(float(np.linalg.det(affine[:, :2])))))
    edges = _edges(affine, flat, window, blur_px)
    if edges is None:
        return None
    if bent is not None:
        flat = bent(flat)
    left, top, right, bottom = edges
    to_frame = affine.copy()
    to_frame[:, 2] += to_frame[:, :2] @ np.array(flat.corner)
    to_frame[:, :2] /= flat.detail
    # a pixel's centre lies half a pixel inside of it, in the sprite as in the frame
    to_frame[:, 2] += to_frame[:, :2] @ np.array([0.5, 0.5]) - 0.5 - np.array([left, top])
    size = (right - left, bottom - top)
    moved = np.asarray(cv2.warpAffine(flat.levels[0], to_frame, size), np.uint8)
    return Placed(left, top, blurred(moved, blur_px))


def blurred(picture: U8, way_px: tuple[float, float]) -> U8:
    """Moved on while the shutter was open."""
    length = math.hypot(*way_px)
    if length < 1:
        return picture
    side = 2 * math.ceil(length / 2) + 1
    kernel = np.zeros((side, side), np.float32)
    steps = np.linspace(-0.5, 0.5, 4 * side)
    columns = np.rint(side // 2 + steps * way_px[0]).astype(int)
    rows = np.rint(side // 2 + steps * way_px[1]).astype(int)
    np.add.at(kernel, (rows, columns), 1 / len(steps))
    if not kernel[: side // 2].any() and not kernel[side // 2 + 1 :].any():
        kernel = kernel[side // 2 : side // 2 + 1]  # along a row: a fraction of the work
    flat = cv2.filter2D(picture, -1, kernel, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(flat, np.uint8)


def blend(canvas: U8, top: Placed) -> None:
    """Into the canvas, RGB; what hangs over its edge is left out."""
    x1, y1 = max(-top.x_px, 0), max(-top.y_px, 0)
    rgba = top.rgba[y1 : canvas.shape[0] - top.y_px, x1 : canvas.shape[1] - top.x_px]
    x, y = max(top.x_px, 0), max(top.y_px, 0)
    place = canvas[y : y + rgba.shape[0], x : x + rgba.shape[1]]
    if place.size == 0:
        return
    red, green, blue, weight = cv2.split(rgba)
    left = cv2.bitwise_not(weight)
    behind = cv2.multiply(place, cv2.merge([left, left, left]), scale=1 / 255)
    place[:] = cv2.add(behind, cv2.merge([red, green, blue]))


def _edges(
    affine: Affine, sprite: Sprite, window: Edges, blur_px: tuple[float, float]
) -> Edges | None:
    """Around sprite and blur, and no more than its reach beyond the window."""
    rows, columns = sprite.levels[0].shape[:2]
    (x1, y1), units = sprite.corner, 1 / sprite.detail
    x2, y2 = x1 + columns * units, y1 + rows * units
    corners = np.array([(x1, y1), (x2, y1), (x1, y2), (x2, y2)])
    points = corners @ affine[:, :2].T + affine[:, 2]
    reach = np.ceil(np.abs(blur_px)).astype(int)
    low = np.maximum(np.floor(points.min(axis=0)).astype(int) - reach, window[:2] - reach)
    high = np.minimum(np.ceil(points.max(axis=0)).astype(int) + reach, window[2:] + reach)
    if (low >= high).any():
        return None
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])
