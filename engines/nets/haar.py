"""The Haar transform and its inverse on torch tensors (PRO-Face S, section IV, DWT and IWT).

Orthonormal: noise in the pixels is noise of the same strength in the bands.
"""

from __future__ import annotations

import torch
from torch import Tensor


def dwt(planes: Tensor) -> Tensor:
    """(B, C, H, W) with even H and W to (B, 4C, H/2, W/2).

    Band-major: the C low bands first, then horizontal, vertical and diagonal detail.
    """
    a, b = planes[..., 0::2, 0::2], planes[..., 0::2, 1::2]
    c, d = planes[..., 1::2, 0::2], planes[..., 1::2, 1::2]
    low, horizontal = a + b + c + d, a - b + c - d
    vertical, diagonal = a + b - c - d, a - b - c + d
    return torch.cat((low, horizontal, vertical, diagonal), dim=1) / 2


def iwt(bands: Tensor) -> Tensor:
    """The exact inverse of `dwt`: (B, 4C, h, w) to (B, C, 2h, 2w)."""
    low, horizontal, vertical, diagonal = bands.chunk(4, dim=1)
    batch, channels, height, width = low.shape
    out = bands.new_empty((batch, channels, 2 * height, 2 * width))
    out[..., 0::2, 0::2] = low + horizontal + vertical + diagonal
    out[..., 0::2, 1::2] = low - horizontal + vertical - diagonal
    out[..., 1::2, 0::2] = low + horizontal - vertical - diagonal
    out[..., 1::2, 1::2] = low - horizontal - vertical + diagonal
    return out / 2
