"""Of boxes that show the same face, keep the surest."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..frames import FloatArray


def iou(a_xyxy: FloatArray, b_xyxy: FloatArray) -> FloatArray:
    """(N, 4) and (M, 4) boxes to (N, M) intersection over union."""
    top_left = np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    bottom_right = np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    overlap = np.prod(np.clip(bottom_right - top_left, 0, None), axis=2)
    area_a = np.prod(np.clip(a_xyxy[:, 2:] - a_xyxy[:, :2], 0, None), axis=1)
    area_b = np.prod(np.clip(b_xyxy[:, 2:] - b_xyxy[:, :2], 0, None), axis=1)
    union = area_a[:, None] + area_b[None, :] - overlap
    ratio: FloatArray = (overlap / np.maximum(union, 1e-9)).astype(np.float32)
    return ratio


def suppress(box_xyxy: FloatArray, score: FloatArray, *, limit: float = 0.3) -> NDArray[np.int64]:
    """Indices kept, surest first: greedy non-maximum suppression."""
    order = np.argsort(-score, kind="stable")
    overlaps = iou(box_xyxy, box_xyxy)
    kept: list[int] = []
    for index in order:
        if not kept or overlaps[index, kept].max() <= limit:
            kept.append(int(index))
    return np.array(kept, np.int64)
