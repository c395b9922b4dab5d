"""Each family's tensors to boxes, landmarks and scores in network-input pixels.

CenterFace: anchor-free centre heat map at stride 4 (Xu et al., arXiv 1911.03599): a face's
centre cell holds its score, log size, sub-cell offset and five landmarks.
YuNet: three strides with one anchor a cell (Wu et al., 2023): centre offset and log size in
cells; the score is the geometric mean of class and objectness.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from ..frames import Detections, FloatArray
from .suppress import suppress

Tensors = Mapping[str, FloatArray]
Decoder = Callable[[Tensors, int, float, int], Detections]
"""(outputs of a batch, index in the batch, least score, input width) to one picture's faces."""

CENTERFACE_STRIDE = 4
YUNET_STRIDES = (8, 16, 32)


def decode_centerface(outputs: Tensors, index: int, min_score: float, _width_px: int) -> Detections:
    """Outputs 537 (heat map), 538 (log h, w), 539 (offset y, x), 540 (landmarks y, x)."""
    heat = outputs["537"][index, 0]  # (H/4, W/4)
    rows, cols = np.nonzero(heat > min_score)
    if not len(rows):
        return Detections.empty()
    size_hw = np.exp(outputs["538"][index][:, rows, cols]) * CENTERFACE_STRIDE  # (2, N)
    offset_yx = outputs["539"][index][:, rows, cols]  # (2, N)
    y1 = (rows + offset_yx[0] + 0.5) * CENTERFACE_STRIDE - size_hw[0] / 2
    x1 = (cols + offset_yx[1] + 0.5) * CENTERFACE_STRIDE - size_hw[1] / 2
    box = np.stack([x1, y1, x1 + size_hw[1], y1 + size_hw[0]], axis=1).astype(np.float32)
    marks = outputs["540"][index][:, rows, cols].reshape(5, 2, -1)  # (5, yx, N), in face sizes
    mark_x = marks[:, 1] * size_hw[1] + x1
    mark_y = marks[:, 0] * size_hw[0] + y1
    landmark = np.stack([mark_x, mark_y], axis=2).transpose(1, 0, 2).astype(np.float32)
    found = Detections(box, landmark, heat[rows, cols])
    return found.take(suppress(found.box_xyxy_px, found.score))


def decode_yunet(outputs: Tensors, index: int, min_score: float, width_px: int) -> Detections:
    """Outputs cls_S, obj_S, bbox_S, kps_S, a row per cell, for the strides S of 8, 16 and 32."""
    parts: list[Detections] = []
    for stride in YUNET_STRIDES:
        chance = np.clip(outputs[f"cls_{stride}"][index, :, 0], 0, 1)
        chance = np.sqrt(chance * np.clip(outputs[f"obj_{stride}"][index, :, 0], 0, 1))
        cells = np.nonzero(chance > min_score)[0]
        if not len(cells):
            continue
        columns = width_px // stride
        origin = np.stack([cells % columns, cells // columns], axis=1)  # (N, xy)
        shape = outputs[f"bbox_{stride}"][index][cells]  # (N, 4)
        centre = (origin + shape[:, :2]) * stride
        half = np.exp(shape[:, 2:]) * stride / 2
        marks = outputs[f"kps_{stride}"][index][cells].reshape(-1, 5, 2)
        parts.append(
            Detections(
                np.concatenate([centre - half, centre + half], axis=1).astype(np.float32),
                ((marks + origin[:, None]) * stride).astype(np.float32),
                chance[cells].astype(np.float32),
            )
        )
    found = Detections.joined(parts)
    return found.take(suppress(found.box_xyxy_px, found.score))


DECODERS: Mapping[str, Decoder] = {"centerface": decode_centerface, "yunet": decode_yunet}
