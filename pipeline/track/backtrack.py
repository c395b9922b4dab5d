"""Where a face was just before it was first detected: template search, newest frame first.

A face that crosses the picture moves by its own width between two looks; covering the place where
it was found would leave the frames before it clear. The luma of the waiting frames is still
untouched, so the face itself is looked for there.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from ..frames import FloatArray, U8Array

TEMPLATE_PX = 16  # width at which faces are compared: fine enough to place, too coarse to be fooled
SEARCH = 1.0  # face sizes to each side, per frame
LEAST_MATCH = 0.65  # normalised correlation; below it the face was hidden or not there


def trace_back(
    luma: U8Array, box_xyxy_px: FloatArray, earlier: Sequence[U8Array]
) -> list[FloatArray]:
    """Boxes in `earlier` (newest first), ending where the face can no longer be found.

    `luma` (H, W) is the frame in which `box_xyxy_px` was detected.
    """
    frame_h, frame_w = luma.shape
    x1, y1, x2, y2 = (int(v) for v in np.rint(box_xyxy_px))
    width, height = x2 - x1, y2 - y1
    left, top = max(x1, 0), max(y1, 0)
    right, bottom = min(x2, frame_w), min(y2, frame_h)
    if right - left < 8 or bottom - top < 8:
        return []
    scale = min(TEMPLATE_PX / width, 1.0)
    template = _shrunk(luma[top:bottom, left:right], scale)
    if float(template.std()) < 4.0:
        return []  # nothing to recognise: anything would match
    found: list[FloatArray] = []
    box = np.asarray(box_xyxy_px, np.float32)
    for picture in earlier:
        reach_x, reach_y = int(width * SEARCH), int(height * SEARCH)
        sx1, sy1 = max(left - reach_x, 0), max(top - reach_y, 0)
        sx2, sy2 = min(right + reach_x, frame_w), min(bottom + reach_y, frame_h)
        area = _shrunk(picture[sy1:sy2, sx1:sx2], scale)
        if area.shape[0] < template.shape[0] or area.shape[1] < template.shape[1]:
            break
        match = cv2.matchTemplate(area, template, cv2.TM_CCOEFF_NORMED)
        _, best, _, (mx, my) = cv2.minMaxLoc(match)
        if not best >= LEAST_MATCH:  # NaN is no match either
            break
        shift = (round(sx1 + mx / scale) - left, round(sy1 + my / scale) - top)
        left, right = left + shift[0], right + shift[0]
        top, bottom = top + shift[1], bottom + shift[1]
        box = (box + np.array([*shift, *shift], np.float32)).astype(np.float32)
        found.append(box)
    return found


def _shrunk(picture: U8Array, scale: float) -> U8Array:
    size = (max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
