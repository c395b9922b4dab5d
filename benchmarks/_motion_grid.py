"""Grids of motions with any number of cells a side, as pipeline/protect/flow.py has them with 9."""

from __future__ import annotations

import zlib
from functools import lru_cache

import cv2
import numpy as np

from pipeline.frames import FloatArray
from pipeline.motion import STEPS_PER_PX

from ._motion_scenes import fetch


@lru_cache(maxsize=16)
def cells_of(count: int) -> FloatArray:
    """(G, G, 2) the cells' centres, as shares of the side."""
    along = (np.arange(count, dtype=np.float32) + np.float32(0.5)) / np.float32(count)
    return np.stack(np.meshgrid(along, along), axis=-1)


def sample(grid: FloatArray, places: FloatArray) -> FloatArray:
    """A grid between its cells, at (h, w, 2) shares of the side; continued outside."""
    at = places * np.float32(grid.shape[0]) - np.float32(0.5)
    return fetch(grid, at)


def pooled(dense_px: FloatArray, count: int) -> FloatArray:
    """Pixels of a view to cell means, in shares of its side."""
    side = dense_px.shape[0]
    cells = cv2.resize(dense_px, (count, count), interpolation=cv2.INTER_AREA)
    return np.asarray(cells.reshape(count, count, 2) / np.float32(side), np.float32)


def resampled(grid: FloatArray, count: int) -> FloatArray:
    """The same motions with another number of cells: means where there are fewer."""
    return pooled(grid * np.float32(grid.shape[0]), count)


def affine(
    grid: FloatArray, weights: FloatArray, *, rounds: int = 2, linear: bool = True
) -> FloatArray:
    """The affine motion (or mere shift) nearest to `grid`; further rounds trust outliers less."""
    count = grid.shape[0]
    flat, given = grid.reshape(-1, 2), weights.ravel()
    away = cells_of(count).reshape(-1, 2) - np.float32(0.5)
    ones = np.ones((count**2, 1), np.float32)
    lines = np.concatenate([away, ones], axis=1) if linear else ones
    weight, fitted = given, flat
    for _ in range(rounds):
        weighted = lines * weight[:, None]
        fitted = lines @ np.linalg.solve(weighted.T @ lines, weighted.T @ flat)
        miss = ((flat - fitted) ** 2).sum(axis=1)
        scale = np.float32(1e-6) + 4 * (given @ miss) / given.sum()
        weight = given / (1 + miss / scale)
    return np.asarray(fitted.reshape(grid.shape), np.float32)


def face_weights(box_xyxy: FloatArray, count: int) -> FloatArray:
    """(G, G) as pipeline.protect.flow.face_weights."""
    centre = (box_xyxy[:2] + box_xyxy[2:]) / 2
    half = np.maximum((box_xyxy[2:] - box_xyxy[:2]) / 2, np.float32(1 / count))
    radius = (((cells_of(count) - centre) / half) ** 2).sum(axis=2)
    weights: FloatArray = np.maximum(np.exp(-2 * np.maximum(radius - 1, 0)), np.float32(0.02))
    return weights.astype(np.float32, copy=False)


def composed(
    off_px: FloatArray, moved: FloatArray, key_side_px: float, *, apart: bool = False
) -> FloatArray:
    """One frame on: the motion since the keyframe, in pixels of it.

    `apart`: its affine part goes on beyond the grid's edge, only the rest ends there.
    """
    count = moved.shape[0]
    before = cells_of(count) + moved
    moved_px = moved * np.float32(key_side_px)
    if not apart:
        return np.asarray(sample(off_px, before) + moved_px, np.float32)
    rigid = affine(off_px, np.ones((count, count), np.float32), rounds=1)
    # three cells of an affine motion say all of it
    across = (rigid[0, -1] - rigid[0, 0]) / np.float32((count - 1) / count)
    down = (rigid[-1, 0] - rigid[0, 0]) / np.float32((count - 1) / count)
    away = before - cells_of(count)[0, 0]
    on = rigid[0, 0] + away[..., :1] * across + away[..., 1:] * down
    return np.asarray(on + sample(off_px - rigid, before) + moved_px, np.float32)


def places_px(
    off_px: FloatArray,
    key_xys_px: tuple[int, int, int],
    xys_px: tuple[int, int, int],
    points_px: FloatArray,
) -> FloatArray:
    """(N, 2) pixels of a frame to where its motion says that they were in the keyframe."""
    x, y, side = xys_px
    share = (points_px + np.float32(0.5) - np.array((x, y), np.float32)) / np.float32(side)
    off = sample(off_px, share[None].astype(np.float32))[0]
    key_x, key_y, key_side = key_xys_px
    start = np.array((key_x, key_y), np.float32) - np.float32(0.5)
    return np.asarray(share * np.float32(key_side) + off + start, np.float32)


def packed_bytes(off_px: FloatArray) -> int:
    """As pipeline.motion.pack packs a grid, without its header."""
    grid = np.rint(off_px * STEPS_PER_PX).astype(np.int16)
    steps = np.diff(np.diff(grid, axis=0, prepend=np.int16(0)), axis=1, prepend=np.int16(0))
    halves = steps.astype(">i2").tobytes()
    return len(zlib.compress(halves[::2] + halves[1::2], 9))
