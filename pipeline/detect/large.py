"""A large face is found surely: a large box with a low score is a shadow, or a wall.

Of the labelled faces of `bauta bench leaks` larger than 128 px in the network's input all that were
found had more than 0.2 (a throw-away count); one phantom of that size covers much of a picture.
"""

from __future__ import annotations

import numpy as np

from ..frames import Detections, FloatArray

# sqrt(w * h) in the network's input: up to the first all that the settings ask for is kept, from
# the second on only what is as sure as LARGE_SCORE; between them the least score grows steadily.
GROWING_PX = (64.0, 128.0)
LARGE_SCORE = 0.2


def without_large_phantoms(found: Detections, min_score: float) -> Detections:
    """Boxes in network-input pixels; those that are too large for their score are left out."""
    return found.take(found.score >= least_score(found.box_xyxy_px, min_score))


def least_score(box_xyxy_px: FloatArray, min_score: float) -> FloatArray:
    """(N,) what each box needs: `min_score` or more."""
    sides = np.maximum(box_xyxy_px[:, 2:] - box_xyxy_px[:, :2], 1.0)
    size_px = np.sqrt(sides[:, 0]) * np.sqrt(sides[:, 1])  # their product may overflow
    scores = np.log([min_score, max(min_score, LARGE_SCORE)])
    least: FloatArray = np.exp(np.interp(np.log(size_px), np.log(GROWING_PX), scores))
    return least.astype(np.float32)
