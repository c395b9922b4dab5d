"""Pictures as wavelet bands and back, in numpy: what a fusion network sees.

Orthonormal Haar, applied `levels` times to every band (a full packet), so that all bands have one
size and noise of one level in a pixel is noise of one level in every band. Values are
(pixel - 128) / 255. The torch twin for training is `nets/haar.py`; a test holds the two equal.

`yuv420` works on the decoder's own planes: chroma has half the size already and takes one
transform less, so nothing is resampled and no colour is converted (docs/fusion.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

F32 = NDArray[np.float32]
U8 = NDArray[np.uint8]

Planes = Literal["yuv420", "rgb"]


@dataclass(frozen=True, slots=True)
class BandLayout:
    """How pictures become bands.

    A picture batch is a tuple of uint8 arrays: for `yuv420` luma (B, 1, H, W) and chroma
    (B, 2, H/2, W/2); for `rgb` one array (B, 3, H, W).
    """

    planes: Planes
    levels: int  # Haar transforms of the full-size planes: 1 as in the paper, or 2

    def __post_init__(self) -> None:
        if self.planes not in ("yuv420", "rgb") or not 1 <= self.levels <= 3:
            raise ValueError(f"planes must be yuv420 or rgb and levels 1..3, got {self}")

    @property
    def channels(self) -> int:
        """C of the bands: 6 and 24 for yuv420, 12 and 48 for rgb, at levels 1 and 2."""
        full = 1 << 2 * self.levels
        return 3 * full if self.planes == "rgb" else full + full // 2

    @property
    def side_multiple_px(self) -> int:
        """Luma sides must be multiples of this."""
        return 1 << self.levels

    def to_bands(self, picture: Sequence[U8]) -> F32:
        """A picture batch to (B, C, H / 2**levels, W / 2**levels)."""
        return np.concatenate(
            [
                _down(
                    (plane.astype(np.float32) - np.float32(128)) / np.float32(255), self._times(i)
                )
                for i, plane in enumerate(picture)
            ],
            axis=1,
        )

    def to_picture(self, bands: F32) -> tuple[U8, ...]:
        """The inverse, rounded to 8 bits and clipped. A picture batch."""
        if self.planes == "rgb":
            parts = [bands]
        else:
            luma = 4**self.levels
            parts = [bands[:, :luma], bands[:, luma:]]
        return tuple(_to_u8(_up(part, self._times(i))) for i, part in enumerate(parts))

    def _times(self, plane_index: int) -> int:
        return self.levels - plane_index


def haar(planes: F32) -> F32:
    """(B, C, H, W) with even sides to (B, 4C, H/2, W/2), band-major (PRO-Face S, eq. 7)."""
    a, b = planes[..., 0::2, 0::2], planes[..., 0::2, 1::2]
    c, d = planes[..., 1::2, 0::2], planes[..., 1::2, 1::2]
    top, bottom, left, right = a + b, c + d, a - b, c - d
    bands = np.concatenate((top + bottom, left + right, top - bottom, left - right), axis=1)
    bands *= 0.5
    return bands


def unhaar(bands: F32) -> F32:
    """The exact inverse of `haar`."""
    low, horizontal, vertical, diagonal = np.split(bands, 4, axis=1)
    batch, channels, height, width = low.shape
    planes = np.empty((batch, channels, 2 * height, 2 * width), np.float32)
    top, bottom = low + vertical, low - vertical
    left, right = horizontal + diagonal, horizontal - diagonal
    planes[..., 0::2, 0::2], planes[..., 0::2, 1::2] = top + left, top - left
    planes[..., 1::2, 0::2], planes[..., 1::2, 1::2] = bottom + right, bottom - right
    planes *= 0.5
    return planes


def _down(planes: F32, times: int) -> F32:
    for _ in range(times):
        planes = haar(planes)
    return planes


def _up(bands: F32, times: int) -> F32:
    for _ in range(times):
        bands = unhaar(bands)
    return bands


def _to_u8(planes: F32) -> U8:
    pixels: U8 = np.clip(np.rint(planes * 255 + 128), 0, 255).astype(np.uint8)
    return pixels
