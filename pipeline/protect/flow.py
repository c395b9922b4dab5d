"""How a face moved from one frame to the next, measured between two small pictures of it.

Both pictures are squares around the face, each where the tracker saw it in its frame, shrunk to
the same bounded size: what the box did is no motion any more, only the rest has to be found. It is
found by pyramidal Lucas-Kanade (Bouguet, "Pyramidal implementation of the Lucas Kanade feature
tracker", 2000) at the cells of a coarse grid that lie on the face, forth and back: what does not
come back to where it began is not trusted. Dense flow is smooth where face and background part, so
the background drags the face along: DIS was off by six times as much after a second
(benchmarks/motion.py, table "methods").
"""

from __future__ import annotations

from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ..frames import MOTION_CELLS, FloatArray, U8Array

VIEW_PX = 96  # side of the small pictures; benchmarks/motion.py, table "methods"
LEAST_PART_PX = 8  # of the frame inside a view: less shows nothing to follow
_WINDOW_PX = 11  # of Lucas-Kanade, in the view
_LEVELS = 2  # halvings: motions of up to a quarter of the view are found
_STOP = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03)
_INNER = 0.8  # of the box: at its edge half of a window is background
_LEAST_WEIGHT = 0.1  # of a cell that is looked at
_HALF_TRUSTED = 0.01  # of the view, between forth and back: half of a cell's weight is left
_LOST = 0.02  # the same: nothing is left
_LEAST_CELLS = 6  # an affine motion has as many unknowns, two to a cell
_EVEN_SPREAD = 40.0  # levels: a face's standard deviation, as it is compared
_LEAST_SPREAD = 8.0  # a flat face is not made of noise
_RESIDUAL_PX = 48
_NOISE_LEVELS = 6.0  # differences of this size are a camera's noise, whatever the contrast
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
    luma: U8Array = field(repr=False)  # (VIEW_PX, VIEW_PX), the face in an even light


@dataclass(frozen=True, slots=True)
class Flow:
    """From a view to the one before; lengths are shares of the view's side."""

    moved: FloatArray = field(repr=False)  # (G, G, 2) from each cell's centre to where it was
    disagreement: float  # between forth and back, mean over the face; inf: nothing was found
    residual: float  # of the luma that the motion does not explain, in parts of its contrast


def view_of(luma: U8Array, xys_px: tuple[int, int, int], face_xyxy_px: FloatArray) -> View | None:
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
    return View(xys_px, evened(np.asarray(small, np.uint8), in_view(face_xyxy_px, xys_px)))


def in_view(box_xyxy_px: FloatArray, xys_px: tuple[int, int, int]) -> FloatArray:
    """(4,) a box of the frame in shares of a view's side."""
    x, y, side = xys_px
    shares = (box_xyxy_px - np.array((x, y, x, y), np.float32)) / np.float32(side)
    return np.asarray(shares, np.float32)


def face_weights(box_xyxy: FloatArray) -> FloatArray:
    """(G, G) 1 on the face, little beside it; the box in shares of the view's side."""
    centre = (box_xyxy[:2] + box_xyxy[2:]) / 2
    half = np.maximum((box_xyxy[2:] - box_xyxy[:2]) / 2, np.float32(1 / MOTION_CELLS))
    radius = (((CELLS - centre) / half) ** 2).sum(axis=2)
    weights: FloatArray = np.maximum(np.exp(-2 * np.maximum(radius - 1, 0)), _OUTSIDE)
    return weights.astype(np.float32, copy=False)


def flow_between(before: View, now: View, face_xyxy: FloatArray, face: FloatArray) -> Flow:
    """`face_xyxy` (4,): its box in `now`, in shares of the side; `face`: its `face_weights`.

    Raises cv2.error, ValueError.
    """
    weights = face_weights(_shrunk(face_xyxy, _INNER))
    asked = weights >= _LEAST_WEIGHT
    moved = np.zeros((MOTION_CELLS, MOTION_CELLS, 2), np.float32)
    trust = np.zeros((MOTION_CELLS, MOTION_CELLS), np.float32)
    moved[asked], off, found = _tracked(before.luma, now.luma, CELLS[asked])
    trust[asked] = weights[asked] * found / (1 + (off / _HALF_TRUSTED) ** 2)
    # what was lost counts as much as the worst that was not
    disagreement = float(np.average(np.where(found, off, _LOST), weights=weights[asked]))
    if np.count_nonzero(trust) < _LEAST_CELLS:
        return Flow(np.zeros_like(moved), float("inf"), float("inf"))
    # IdentityMask's affine module and background mask: the face moves by what was measured on it,
    # its surroundings, which may stand still, by the affine motion of the face.
    rigid = affine(moved, trust, rounds=2)
    whole = rigid + trust[..., None] * (moved - rigid)
    if not np.isfinite(whole).all():
        raise ValueError("the flow is not finite")
    residual = _residual(before.luma, now.luma, whole, face)
    return Flow(whole.astype(np.float32, copy=False), disagreement, residual)


def evened(luma: U8Array, face_xyxy: FloatArray) -> U8Array:
    """The same face in the same light: Lucas-Kanade takes a change of light for motion."""
    x1, y1, x2, y2 = (int(v) for v in np.clip(face_xyxy * VIEW_PX, 0, VIEW_PX))
    face = luma[y1:y2, x1:x2]
    if not face.size:
        return luma
    mean, spread = cv2.meanStdDev(face)
    gain = _EVEN_SPREAD / max(float(spread[0, 0]), _LEAST_SPREAD)
    curve = np.clip((np.arange(256) - float(mean[0, 0])) * gain + 128, 0, 255)
    return np.asarray(cv2.LUT(luma, curve.astype(np.uint8)), np.uint8)


def _tracked(
    before: U8Array, now: U8Array, places: FloatArray
) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
    """From `places` (N, 2) of `now` to where they were: (N, 2) the way, (N,) how far off the way
    back ended, (N,) whether it is to be believed. All in shares of the side.
    """
    points = np.asarray(places * VIEW_PX - np.float32(0.5), np.float32)
    window = (_WINDOW_PX, _WINDOW_PX)
    there, found, _ = cv2.calcOpticalFlowPyrLK(
        now, before, points, points.copy(), winSize=window, maxLevel=_LEVELS, criteria=_STOP
    )
    again, returned, _ = cv2.calcOpticalFlowPyrLK(
        before, now, there, points.copy(), winSize=window, maxLevel=_LEVELS, criteria=_STOP
    )
    off = np.asarray(np.linalg.norm(again - points, axis=1) / VIEW_PX, np.float32)
    # NaN is not below anything
    believed = (found.ravel() > 0) & (returned.ravel() > 0) & (off < _LOST)
    way = np.where(believed[:, None], (there - points) / np.float32(VIEW_PX), np.float32(0))
    return np.asarray(way, np.float32), np.where(believed, off, np.float32(_LOST)), believed


def _shrunk(box_xyxy: FloatArray, share: float) -> FloatArray:
    centre, half = (box_xyxy[:2] + box_xyxy[2:]) / 2, (box_xyxy[2:] - box_xyxy[:2]) / 2
    return np.asarray(np.concatenate([centre - half * share, centre + half * share]), np.float32)


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
