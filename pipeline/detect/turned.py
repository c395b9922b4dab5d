"""The face of a turned head lies at its box's edge, and its chin or mask beyond it.

Seen from half behind or from above, the networks draw their boxes around the head and too tightly
on the side that it looks to; but they place the landmarks well. So a box is joined with itself,
moved until its landmarks lie where those of an upright frontal face do. docs/privacy.md says what
it was for.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from ..frames import Detections

# Shares of the box's sides, the median of what CenterFace is sure of in made and recorded pictures.
FRONTAL_XY = (0.52, 0.565)
MOST_MOVED = 0.5  # shares of the sides: landmarks may lie anywhere


def with_turned_faces(found: Detections) -> Detections:
    """Boxes that hold their old selves and, where the head is turned, more on that side.

    Without landmarks (NaN) a box stays as it is.
    """
    box = found.box_xyxy_px
    sides = np.maximum(box[:, 2:] - box[:, :2], 1e-3)
    middle = (found.landmark_px.mean(axis=1) - box[:, :2]) / sides  # (N, xy)
    moved = np.nan_to_num(middle - np.array(FRONTAL_XY, np.float32), nan=0.0)
    shift = np.clip(moved, -MOST_MOVED, MOST_MOVED) * sides
    widened = np.concatenate(
        [box[:, :2] + np.minimum(shift, 0), box[:, 2:] + np.maximum(shift, 0)], axis=1
    )
    return replace(found, box_xyxy_px=widened.astype(np.float32))
