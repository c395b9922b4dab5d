"""Has anything moved since the network last looked? Cheap enough to ask for every frame."""

from __future__ import annotations

from typing import cast

import cv2
import numpy as np

from ..frames import FloatArray, U8Array, YuvPlanes

THUMB_WIDTH_PX = 240  # an 8-pixel cell at 1080p: a 16-pixel face fills four cells
CELL_LEVELS = 10.0  # luma levels by which a cell must change; benchmarks/gating.py


def thumbnail(planes: YuvPlanes) -> U8Array:
    """(h, w) area-averaged luma, 240 wide at most."""
    width, height = planes.size_px
    factor = max(1, width // THUMB_WIDTH_PX)
    small = (max(2, width // factor), max(2, height // factor))
    return cast(U8Array, cv2.resize(planes.y, small, interpolation=cv2.INTER_AREA))


def change(reference: U8Array, current: U8Array) -> FloatArray:
    """(h, w) absolute luma change, each cell averaged with its neighbours (3x3)."""
    difference = cv2.absdiff(reference, current)
    return cast(FloatArray, cv2.blur(difference, (3, 3)).astype(np.float32))


class ActivityGate:
    """Compares each frame with the one that the network last saw, so slow drift adds up."""

    def __init__(self) -> None:
        self._reference: U8Array | None = None

    def observe(self, thumb: U8Array) -> bool:
        """Something moved since `looked`."""
        if self._reference is None or self._reference.shape != thumb.shape:
            return True
        return bool(change(self._reference, thumb).max() > CELL_LEVELS)

    def looked(self, thumb: U8Array) -> None:
        """The network is looking at this frame."""
        self._reference = thumb

    def forget(self) -> None:
        """Nothing is known any more: the next frame counts as changed."""
        self._reference = None
