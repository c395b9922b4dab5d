"""From the patch that hides a face to the square in which it is fused, on the frame's own grid.

Nothing is resampled and nothing is rotated: a shift of half a pixel between protection and
recovery kills recovery (40 dB to 8-11 dB).
"""

from __future__ import annotations

from math import lcm
from typing import Literal

import numpy as np

from ..frames import FacePatch, Square, U8Array

LEAST_SIDE_PX = 32  # below it there is too little to carry a face, and nobody to recognise
MOST_SIDE_PX = 512  # 21 times the work of a face of 112 px; such a face fills the picture
STEP_PX = 16  # sides come in steps: faces of one step are fused in one run of the network
RING = 0.06  # of the side: the soft edge, outside of the square
LEAST_RING_PX = 4

NoSquare = Literal["too small", "too large", "no room"]


def square_around(
    patch: FacePatch, frame_px: tuple[int, int], side_multiple_px: int
) -> Square | NoSquare:
    """The smallest square over all that `patch` hides, or why there is none.

    Its side is a multiple of 4 and of `side_multiple_px`, its corner even, all of it inside the
    frame; at a picture's edge the face is then not in its middle.
    """
    hard = opaque_box(patch)
    if hard is None:
        return "too small"
    left, top, right, bottom = hard
    least = max(right - left, bottom - top)
    if least < LEAST_SIDE_PX:
        return "too small"
    multiple = lcm(4, side_multiple_px)
    # An even corner before an odd first pixel: one pixel more may be needed.
    for step in (lcm(STEP_PX, multiple), multiple):
        side = -(-least // step) * step
        x = _corner(left, right, side, frame_px[0])
        y = _corner(top, bottom, side, frame_px[1])
        if side > MOST_SIDE_PX:
            continue
        if x is not None and y is not None:
            return Square(x, y, side)
    return "too large" if least > MOST_SIDE_PX else "no room"


def opaque_box(patch: FacePatch) -> tuple[int, int, int, int] | None:
    """(x1, y1, x2, y2) in the frame, even, around the pixels of which nothing is left; or None."""
    solid = patch.alpha == 255
    rows, columns = np.flatnonzero(solid.any(axis=1)), np.flatnonzero(solid.any(axis=0))
    if not rows.size:
        return None
    x1, x2 = patch.x_px + int(columns[0]), patch.x_px + int(columns[-1]) + 1
    y1, y2 = patch.y_px + int(rows[0]), patch.y_px + int(rows[-1]) + 1
    return x1 // 2 * 2, y1 // 2 * 2, -(-x2 // 2) * 2, -(-y2 // 2) * 2


def _corner(low: int, high: int, side: int, frame: int) -> int | None:
    """Where a side of the square begins on one axis; None where it does not fit."""
    if side > frame:
        return None
    centred = (low + high - side) // 4 * 2
    corner = min(max(centred, 0), (frame - side) // 2 * 2)
    return corner if corner <= low and high <= corner + side else None


def ring_around(
    square: Square, patch: FacePatch, frame_px: tuple[int, int]
) -> tuple[int, int, int, int]:
    """(x, y, width, height), even, inside the frame: the square, its soft edge, and the patch."""
    ring = max(LEAST_RING_PX, round(square.side_px * RING / 2) * 2)
    height, width = patch.alpha.shape
    x1 = max(min(square.x_px - ring, patch.x_px), 0)
    y1 = max(min(square.y_px - ring, patch.y_px), 0)
    x2 = min(max(square.x_px + square.side_px + ring, patch.x_px + width), frame_px[0])
    y2 = min(max(square.y_px + square.side_px + ring, patch.y_px + height), frame_px[1])
    return x1, y1, x2 - x1, y2 - y1


def ring_alpha(square: Square, rectangle_xywh_px: tuple[int, int, int, int]) -> U8Array:
    """(h, w) 255 on the whole square, falling to 0 at the rectangle's edge."""
    x, y, width, height = rectangle_xywh_px
    across = _ramp(square.x_px - x, square.side_px, width)
    down = _ramp(square.y_px - y, square.side_px, height)
    return np.minimum(down[:, None], across[None, :])


def _ramp(start: int, side: int, length: int) -> U8Array:
    """(length,) 255 over the side, falling linearly before and after it."""
    after = length - start - side
    weights = np.full(length, 255, np.uint8)
    weights[:start] = np.linspace(0, 255, start + 2)[1:-1].astype(np.uint8)
    weights[start + side :] = np.linspace(255, 0, after + 2)[1:-1].astype(np.uint8)
    return weights
