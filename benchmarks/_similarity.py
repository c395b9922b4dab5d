"""How alike pictures are: PSNR, SSIM, shares with their uncertainty; and planes as RGB.

Batches of pictures throughout: (N, H, W) or (N, H, W, 3), values 0..255. A figure over a batch is
the mean of the pictures' figures, as in the papers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.bands import BandLayout, unhaar

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
U8 = NDArray[np.uint8]

PSNR_CEILING_DB = 99.0  # equal pictures: infinity would swallow every mean

# Wang et al. 2004, as the paper's SSIM: an 11x11 Gaussian of sigma 1.5, population covariance.
SSIM_WINDOW_PX = 11
SSIM_SIGMA_PX = 1.5
SSIM_MARGIN_PX = SSIM_WINDOW_PX // 2  # the window would reach outside: not part of the mean
_C1, _C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2


def psnr(first: NDArray[Any], second: NDArray[Any]) -> F64:
    """Peak signal-to-noise ratio of each picture in dB. (N,)"""
    difference = first.astype(np.float32) - second.astype(np.float32)
    error = np.square(difference).reshape(len(difference), -1).mean(axis=1, dtype=np.float64)
    decibels: F64 = 10 * np.log10(255.0**2 / np.maximum(error, 1e-9))
    return np.minimum(decibels, PSNR_CEILING_DB)


@dataclass(frozen=True, slots=True)
class SsimReference:
    """Pictures that many others are compared with: their half of the sums is taken once."""

    pictures: F32 = field(repr=False)  # (N, H, W, C)
    mean: F32 = field(repr=False)
    variance: F32 = field(repr=False)

    @classmethod
    def of(cls, pictures: NDArray[Any]) -> SsimReference:
        """Prepare (N, H, W) or (N, H, W, C)."""
        values = _with_channels(pictures)
        mean = _smoothed(values)
        return cls(values, mean, _smoothed(values * values) - mean * mean)

    def ssim(self, others: NDArray[Any]) -> F64:
        """Structural similarity of each pair, the mean over pixels and channels. (N,)"""
        values = _with_channels(others)
        mean = _smoothed(values)
        variance = _smoothed(values * values) - mean * mean
        covariance = _smoothed(values * self.pictures) - mean * self.mean
        luminance = (2 * mean * self.mean + _C1) / (mean * mean + self.mean * self.mean + _C1)
        structure = (2 * covariance + _C2) / (variance + self.variance + _C2)
        inner = slice(SSIM_MARGIN_PX, -SSIM_MARGIN_PX)
        similarity: F64 = (luminance * structure)[:, inner, inner].mean(
            axis=(1, 2, 3), dtype=np.float64
        )
        return similarity


def ssim(first: NDArray[Any], second: NDArray[Any]) -> F64:
    """Structural similarity of each pair. (N,)"""
    return SsimReference.of(second).ssim(first)


def _with_channels(pictures: NDArray[Any]) -> F32:
    values = pictures.astype(np.float32)
    return values[..., None] if values.ndim == 3 else values


def _smoothed(values: F32) -> F32:
    """Every picture under the Gaussian window.

    One call for all of them, stacked: what bleeds from one into the next lies in the margin.
    """
    count, height, width, channels = values.shape
    tall = cv2.GaussianBlur(
        values.reshape(count * height, width, channels),
        (SSIM_WINDOW_PX, SSIM_WINDOW_PX),
        SSIM_SIGMA_PX,
    )
    return np.asarray(tall, np.float32).reshape(values.shape)


# --- planes as RGB ---


def rgb_of(picture: Sequence[U8]) -> U8:
    """A picture batch (see BandLayout) as (B, H, W, 3); 4:2:0 planes as BT.601, limited range."""
    if len(picture) == 1:
        return np.ascontiguousarray(picture[0].transpose(0, 2, 3, 1))
    luma, chroma = picture
    count, _, height, width = luma.shape
    i420 = np.concatenate([luma.reshape(count, -1), chroma.reshape(count, -1)], axis=1)
    rgb = np.empty((count, height, width, 3), np.uint8)
    for one, planes in zip(rgb, i420.reshape(count, height * 3 // 2, width), strict=True):
        cv2.cvtColor(planes, cv2.COLOR_YUV2RGB_I420, dst=one)
    return rgb


def luma_of(picture: Sequence[U8]) -> U8:
    """A picture batch as (B, H, W) luma."""
    if len(picture) == 2:
        return picture[0][:, 0]
    height = picture[0].shape[2]
    i420 = [cv2.cvtColor(one, cv2.COLOR_RGB2YUV_I420) for one in rgb_of(picture)]
    return np.stack(i420)[:, :height].astype(np.uint8, copy=False)


def float_rgb_of(bands: F32, layout: BandLayout) -> F32:
    """Bands as (B, H, W, 3), neither rounded nor clipped: for figures beside those of papers."""
    full = 4**layout.levels

    def planes(part: F32, times: int) -> F32:
        for _ in range(times):
            part = unhaar(part)
        return part * 255 + 128

    if layout.planes == "rgb":
        return planes(bands, layout.levels).transpose(0, 2, 3, 1)
    luma = planes(bands[:, :full], layout.levels)[:, 0]
    chroma = planes(bands[:, full:], layout.levels - 1) - 128
    u, v = np.moveaxis(chroma.repeat(2, axis=2).repeat(2, axis=3), 1, 0)
    # the inverse of BT.601 in limited range: 1.164 is 255 / 219, the others 255 / 224 times
    # 2 (1 - kr), 2 (1 - kb) and their shares in green
    y = (luma - 16) * (255 / 219)
    red, blue = y + 1.596027 * v, y + 2.017232 * u
    green = y - 0.391762 * u - 0.812968 * v
    return np.stack([red, green, blue], axis=-1)


# --- shares ---


def wilson(hits: int, count: int, z: float = 1.96) -> tuple[float, float]:
    """The 95 % interval of a share seen as `hits` of `count` (Wilson 1927): right near 0 and 1."""
    if count == 0:
        return 0.0, 1.0
    share = hits / count
    centre = share + z * z / (2 * count)
    spread = z * math.sqrt(share * (1 - share) / count + z * z / (4 * count * count))
    scale = 1 + z * z / count
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)
