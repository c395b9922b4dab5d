"""How a face moved from one frame to the next: dense flow between two small pictures of it.

Both pictures are squares around the face, each where the tracker saw it in its frame, shrunk to
the same bounded size: what the box did is no motion any more, only the rest has to be found. DIS
(Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016) finds it in both
directions; where the two disagree it is not to be trusted. Alternatives: benchmarks/flow.py.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..frames import MOTION_CELLS, FloatArray, U8Array

VIEW_PX = 96  # side of the small pictures; benchmarks/flow.py, table "methods"
LEAST_PART_PX = 8  # of the frame inside a view; DIS itself refuses pictures of 8 px
_RESIDUAL_PX = 48
_NOISE_LEVELS = 6.0  # differences of this size are a camera's noise, whatever the contrast
_NO_GUESS: FloatArray = np.zeros(0, np.float32)  # DIS begins with no motion
_OUTSIDE = 0.02  # weight of what lies beside the face

_CENTRES = (np.arange(MOTION_CELLS, dtype=np.float32) + np.float32(0.5)) / MOTION_CELLS
CELLS: FloatArray = np.stack(np.meshgrid(_CENTRES, _CENTRES), axis=-1)
"""(G, G, 2) the cells' centres, x and y, as shares of the view's side."""
_ALONG = np.arange(_RESIDUAL_PX, dtype=np.float32)
_SMALL: FloatArray = np.stack(np.meshgrid(_ALONG, _ALONG), axis=-1)
_LINES = np.column_stack([CELLS.reshape(-1, 2) - 0.5, np.ones(MOTION_CELLS**2)]).astype(np.float32)


@dataclass(frozen=True, slots=True)
class View:
    """A square of one frame's luma, at a bounded size."""

    xys_px: tuple[int, int, int]  # left, top, side in the frame, even; may hang out of it
    luma: U8Array = field(repr=False)  # (VIEW_PX, VIEW_PX)


@dataclass(frozen=True, slots=True)
class Flow:
    """From a view to the one before; lengths are shares of the view's side."""

    moved: FloatArray = field(repr=False)  # (G, G, 2) from each cell's centre to where it was
    disagreement: float  # between forth and back, mean over the face
    residual: float  # of the luma that the motion does not explain, in parts of its contrast


def view_of(luma: U8Array, xys_px: tuple[int, int, int]) -> View | None:
    """None where too little of the square lies in the frame. Its edge is continued outside."""
    x, y, side = xys_px
    height, width = luma.shape
    left, top = max(x, 0), max(y, 0)
    right, bottom = min(x + side, width), min(y + side, height)
    if right - left < LEAST_PART_PX or bottom - top < LEAST_PART_PX:
        return None
    part = luma[top:bottom, left:right]
    if (right - left, bottom - top) != (side, side):
        beyond = (top - y, y + side - bottom, left - x, x + side - right)
        part = np.asarray(cv2.copyMakeBorder(part, *beyond, cv2.BORDER_REPLICATE), np.uint8)
    # averaged, then picked: a quarter of the cost of a resize by area
    window = round(side / VIEW_PX / 2) * 2 + 1
    small = cv2.resize(cv2.blur(part, (window, window)), (VIEW_PX, VIEW_PX))
    return View(xys_px, np.asarray(small, np.uint8))


def face_weights(box_xyxy: FloatArray) -> FloatArray:
    """(G, G) 1 on the face, little beside it; the box in shares of the view's side."""
    centre = (box_xyxy[:2] + box_xyxy[2:]) / 2
    half = np.maximum((box_xyxy[2:] - box_xyxy[:2]) / 2, np.float32(1 / MOTION_CELLS))
    radius = (((CELLS - centre) / half) ** 2).sum(axis=2)
    weights: FloatArray = np.maximum(np.exp(-2 * np.maximum(radius - 1, 0)), _OUTSIDE)
    return weights.astype(np.float32, copy=False)


class FlowEstimator:
    """Holds DIS and its buffers. Used by one thread."""

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)

    def between(self, before: View, now: View, weights: FloatArray) -> Flow:
        """`weights`: `face_weights` of `now`. Raises cv2.error, ValueError where it finds none."""
        forth = _pooled(self._dis.calc(now.luma, before.luma, _NO_GUESS))
        back = _pooled(self._dis.calc(before.luma, now.luma, _NO_GUESS))
        disagreement = np.linalg.norm(forth + sample(back, CELLS + forth), axis=2)
        # IdentityMask's affine module and background mask: the face moves by what it measured,
        # its surroundings, which may stand still, by the affine motion of the face.
        rigid = affine(forth, weights, rounds=2)
        moved = rigid + weights[..., None] * (forth - rigid)
        if not np.isfinite(moved).all():
            raise ValueError("the flow is not finite")
        total = float(weights.sum())
        return Flow(
            moved.astype(np.float32, copy=False),
            float((weights * disagreement).sum()) / total,
            _residual(before.luma, now.luma, moved, weights),
        )


def affine(grid: FloatArray, weights: FloatArray, *, rounds: int = 1) -> FloatArray:
    """(G, G, 2) the affine motion nearest to `grid`; each further round trusts outliers less."""
    flat, given = grid.reshape(-1, 2), weights.ravel()
    weight, fitted = given, flat
    for round_number in range(rounds):
        weighted = _LINES * weight[:, None]
        fitted = _LINES @ np.linalg.solve(weighted.T @ _LINES, weighted.T @ flat)
        if round_number + 1 < rounds:
            miss = ((flat - fitted) ** 2).sum(axis=1)
            scale = np.float32(1e-6) + 4 * (given @ miss) / given.sum()
            weight = given / (1 + miss / scale)
    return np.asarray(fitted.reshape(grid.shape), np.float32)


def sample(grid: FloatArray, places: FloatArray) -> FloatArray:
    """A (G, G, 2) grid between its cells, at places in shares of the side; continued outside."""
    return _fetch(grid, places * np.float32(MOTION_CELLS) - np.float32(0.5))


def _pooled(dense_px: NDArray[Any]) -> FloatArray:
    """Pixels of the view to (G, G, 2) cell means in shares of its side."""
    cells = cv2.resize(dense_px, (MOTION_CELLS, MOTION_CELLS), interpolation=cv2.INTER_AREA)
    return np.asarray(cells / np.float32(VIEW_PX), np.float32)


def _residual(before: U8Array, now: U8Array, moved: FloatArray, weights: FloatArray) -> float:
    size = (_RESIDUAL_PX, _RESIDUAL_PX)
    then = cv2.resize(before, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    here = cv2.resize(now, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    places = _SMALL + np.asarray(cv2.resize(moved * np.float32(_RESIDUAL_PX), size), np.float32)
    moved_then = _fetch(then, places)
    face = cv2.resize(weights, size)
    total = float(face.sum())
    off = here - moved_then
    off -= float((face * off).sum()) / total  # the light may change
    contrast = here - float((face * here).sum()) / total
    spread = float((face * np.abs(contrast)).sum()) / total
    return float((face * np.abs(off)).sum()) / total / (spread + _NOISE_LEVELS)


def _fetch(picture: FloatArray, places: FloatArray) -> FloatArray:
    """Bilinear samples at (h, w, 2) places; the edge is continued outside."""
    x, y = np.ascontiguousarray(places[..., 0]), np.ascontiguousarray(places[..., 1])
    # x and y apart: as one array they want None for the second map, and an empty array for None,
    # as the stubs would have it, gives noise
    fetched = cv2.remap(picture, x, y, cv2.INTER_LINEAR, None, cv2.BORDER_REPLICATE)
    return np.asarray(fetched, np.float32)
