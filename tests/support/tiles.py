"""Tiles as the gate hands them over: a moving face cut out of painted frames."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from pipeline.frames import OriginalTile, U8Array, YuvPlanes, part_of

from .clips import paint_frames


def moving_face(
    frames: int,
    *,
    size_px: tuple[int, int] = (640, 480),
    face_px: int = 120,
    grow: float = 1.5,
    seed: int = 0,
) -> Iterator[OriginalTile]:
    """A rectangle of one size about the face, following it."""
    for rgb, truth in paint_frames(size_px, frames, face_px=face_px, seed=seed):
        x1, y1, x2, y2 = (float(v) for v in truth[0])
        width, height = (int(side * grow / 8) * 8 for side in (x2 - x1, y2 - y1))
        x = int(min(max((x1 + x2 - width) / 2, 0), size_px[0] - width)) // 2 * 2
        y = int(min(max((y1 + y2 - height) / 2, 0), size_px[1] - height)) // 2 * 2
        yield OriginalTile(1, x, y, part_of(as_planes(rgb), x, y, width, height))


def as_planes(rgb: U8Array) -> YuvPlanes:
    """(H, W, 3) to 4:2:0."""
    height, width = rgb.shape[:2]
    i420 = cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420)
    u, v = (i420[height + n * height // 4 : height + (n + 1) * height // 4] for n in (0, 1))
    half = (height // 2, width // 2)
    return YuvPlanes(
        np.asarray(i420[:height], np.uint8),
        np.asarray(u.reshape(half), np.uint8),
        np.asarray(v.reshape(half), np.uint8),
    )


def noise(width_px: int, height_px: int, seed: int = 0) -> YuvPlanes:
    """The worst to code."""
    random = np.random.default_rng(seed)
    half = (height_px // 2, width_px // 2)
    return YuvPlanes(
        random.integers(0, 256, (height_px, width_px), np.uint8),
        random.integers(0, 256, half, np.uint8),
        random.integers(0, 256, half, np.uint8),
    )


def psnr_db(one: U8Array, other: U8Array) -> float:
    """Infinite for the same."""
    error = float(np.mean((one.astype(np.float64) - other.astype(np.float64)) ** 2))
    return float("inf") if error == 0 else float(10 * np.log10(255**2 / error))
