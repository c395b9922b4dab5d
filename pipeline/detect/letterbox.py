"""The network's input straight from the planes, and boxes back to source pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import cv2
import numpy as np

from ..frames import FloatArray, U8Array, YuvPlanes

# Enlarging adds nothing to a picture but phantoms, and makes large faces too large to be found:
# docs/detectors.md has both beside each other.
MOST_ENLARGED = 1.25


@dataclass(frozen=True, slots=True)
class Letterbox:
    """Fits a picture into (width, height) with even sides, anchored top left, grey beside it."""

    source_px: tuple[int, int]
    target_px: tuple[int, int]

    @property
    def scale(self) -> float:
        """Target pixels per source pixel; small pictures are enlarged a little at most."""
        (sw, sh), (tw, th) = self.source_px, self.target_px
        return min(tw / sw, th / sh, MOST_ENLARGED)

    @property
    def fitted_px(self) -> tuple[int, int]:
        """The picture's size inside the target, even."""
        width, height = (max(2, int(side * self.scale) // 2 * 2) for side in self.source_px)
        return width, height

    def image(self, planes: YuvPlanes, *, rgb: bool) -> U8Array:
        """(H, W, 3) network input, uint8. Only the small picture ever becomes RGB."""
        width, height = self.fitted_px
        i420 = np.empty((height * 3 // 2, width), np.uint8)
        # Bilinear at a third of the size skips pixels, area averaging keeps small faces.
        cv2.resize(planes.y, (width, height), dst=i420[:height], interpolation=cv2.INTER_AREA)
        half, quarter = (width // 2, height // 2), height // 2 * (width // 2)
        chroma = i420[height:].reshape(-1)
        for start, plane in ((0, planes.u), (quarter, planes.v)):
            small = cv2.resize(plane, half, interpolation=cv2.INTER_AREA)
            chroma[start : start + quarter] = small.reshape(-1)
        # BT.601 for every source: detectors do not care, and one path is one path to test.
        code = cv2.COLOR_YUV2RGB_I420 if rgb else cv2.COLOR_YUV2BGR_I420
        colour = cv2.cvtColor(i420, code)
        tw, th = self.target_px
        if (width, height) == (tw, th):
            return cast(U8Array, colour)
        canvas = np.full((th, tw, 3), 114, np.uint8)
        canvas[:height, :width] = colour
        return canvas

    def to_source(self, points_px: FloatArray) -> FloatArray:
        """(..., 2) target pixels to source pixels."""
        (sw, sh), (fw, fh) = self.source_px, self.fitted_px
        return points_px * np.array([sw / fw, sh / fh], np.float32)
