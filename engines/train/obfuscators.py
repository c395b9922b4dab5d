"""The paper's pre-obfuscators with its parameters (PRO-Face S, section V-A2), on 4:2:0 planes.

Two of the paper's six, the face swaps, need weights that cannot be had; the sticker of its masking
is drawn here. Parameters are in pixels of a 112x112 face; chroma planes get half of them.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cv2
import numpy as np

from ..bands import U8

Picture = tuple[U8, U8, U8]
"""Y (H, W), U and V (H/2, W/2)."""
Obfuscator = Callable[[Picture, np.random.Generator], Picture]
"""What training draws from: a face to its obfuscation, parameters at random."""

PAPER_KINDS = ("blur", "pixelate", "median", "mask")
BLUR_WINDOW_PX = 21


def paper_obfuscate(y: U8, u: U8, v: U8, kind: str, rng: np.random.Generator | None) -> Picture:
    """One of PAPER_KINDS, with the training parameters; `rng` None: with the evaluation's.

    Raises ValueError for another kind.
    """
    planes = (y, u, v)
    if kind == "blur":
        sigma = 8.0 if rng is None else float(rng.uniform(6, 10))
        return _each(planes, lambda p, share: _blur(p, share, sigma))
    if kind == "pixelate":
        block = 9 if rng is None else int(rng.integers(5, 14))
        return _each(planes, lambda p, share: _pixelate(p, block * share))
    if kind == "median":
        window = 15 if rng is None else int(rng.integers(8, 23))
        return _each(planes, lambda p, share: _median(p, window * share))
    if kind == "mask":
        return _mask(planes, rng)
    raise ValueError(f"kind must be one of {PAPER_KINDS}, got {kind!r}")


def _each(planes: Picture, work: Callable[[U8, float], Any]) -> Picture:
    y, u, v = (
        work(np.ascontiguousarray(p), share) for p, share in zip(planes, (1, 0.5, 0.5), strict=True)
    )
    return y, u, v


def _blur(plane: U8, share: float, sigma: float) -> Any:
    window = int(BLUR_WINDOW_PX * share) | 1
    return cv2.GaussianBlur(plane, (window, window), sigma * share)


def _pixelate(plane: U8, block_px: float) -> Any:
    height, width = plane.shape
    cells = (max(1, round(width / block_px)), max(1, round(height / block_px)))
    small = cv2.resize(plane, cells, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST)


def _median(plane: U8, window_px: float) -> Any:
    return cv2.medianBlur(plane, max(3, int(window_px) | 1))


def _mask(planes: Picture, rng: np.random.Generator | None) -> Picture:
    """A cartoon sticker over the inner part of the face: flat skin, hair, eyes, mouth."""
    draw = np.random.default_rng(0) if rng is None else rng
    y, u, v = (plane.copy() for plane in planes)
    height, width = y.shape
    centre, axes = (width // 2, height // 2), (round(0.40 * width), round(0.46 * height))
    skin, hair = int(draw.integers(120, 225)), int(draw.integers(20, 110))
    tint = (int(draw.integers(105, 126)), int(draw.integers(130, 152)))
    _ellipse(y, centre, axes, skin)
    cv2.ellipse(y, centre, axes, 0, 190, 350, hair, -1)
    _ellipse(y, (centre[0], round(0.55 * height)), (axes[0], round(0.36 * height)), skin)
    for eye_x in (0.36, 0.64):
        at = (round(eye_x * width), round(0.45 * height))
        _ellipse(y, at, (round(0.08 * width), round(0.06 * height)), 240)
        _ellipse(y, at, (round(0.04 * width), round(0.04 * height)), 30)
    mouth = (round(0.5 * width), round(0.72 * height))
    cv2.ellipse(y, mouth, (round(0.16 * width), round(0.07 * height)), 0, 0, 180, 60, 2)
    half_centre, half_axes = (centre[0] // 2, centre[1] // 2), (axes[0] // 2, axes[1] // 2)
    _ellipse(u, half_centre, half_axes, tint[0])
    _ellipse(v, half_centre, half_axes, tint[1])
    return y, u, v


def _ellipse(plane: U8, centre: tuple[int, int], axes: tuple[int, int], value: int) -> None:
    cv2.ellipse(plane, centre, axes, 0, 0, 360, value, -1)
