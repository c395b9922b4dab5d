"""What training minimises: logarithms of squared errors, so that every term counts in decibels.

The paper adds LPIPS (section IV-E), whose backbone's weights cannot be shipped. Its role there is
to keep the protected picture free of visible structure and wrong recoveries far from the face. Here
the first is done by the logarithm, which keeps pressing where an L1 loss has become small, and the
second is not left to a loss at all in scrambled models. `perceptual` takes an LPIPS module where
one is at hand.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ..bands import BandLayout

Perceptual = Callable[[Tensor, Tensor], Tensor]
"""(B, 3, H, W) twice, values in -1..1, to (B,) distances."""


def band_weights(layout: BandLayout, chroma_weight: float) -> Tensor:
    """(C, 1, 1) with sum 1: what each band's squared error counts.

    1 counts every sample of the 4:2:0 picture alike, as the usual average PSNR of video does;
    another `chroma_weight` counts the samples of the chroma planes so many times.
    """
    weights = torch.ones(layout.channels)
    if layout.planes == "yuv420":
        weights[4**layout.levels :] = chroma_weight
    return (weights / weights.sum()).view(-1, 1, 1)


def squared_error(a: Tensor, b: Tensor, weights: Tensor) -> Tensor:
    """Weighted squared error of each picture in squared levels of 255. (B, C, h, w) twice to (B,).

    Taken on bands: the transform is orthonormal, so planes would give the same.
    """
    return (((a - b) * 255).square().mean((2, 3), keepdim=True) * weights).sum((1, 2, 3))


def log_error(error: Tensor, floor: float) -> Tensor:
    """Mean of log(error + floor): errors well below `floor` (squared levels) gain nothing more."""
    return torch.log(error + floor).mean()


def excess(error: Tensor, allowed: float) -> Tensor:
    """Mean of how far log(error) lies above log(allowed), picture by picture; nothing below.

    Hiding trades protection for recovery decibel for decibel: with a plain sum of the two a run
    slides to one end. This pins the one at what is asked of it and leaves all else to the other.
    """
    return torch.relu(torch.log(error.clamp_min(1e-3) / allowed)).mean()


def psnr(error: Tensor) -> float:
    """Mean over pictures of the PSNR in dB, from squared errors in levels of 255."""
    return float((10 * torch.log10(255**2 / error.detach().clamp_min(1e-3))).mean())


def wrong_key_hinge(wrong: Tensor, original: Tensor, least_error: float) -> Tensor:
    """RandWR without scrambling: pushes every 8x8 patch of bands away from the face.

    Clipped first and judged patch by patch: on means over a picture it is satisfied by exploding in
    a few places while the face stays readable between them.
    """
    difference = (wrong.clamp(-2.2, 2.2) - original) * 255
    local = torch.nn.functional.avg_pool2d(difference.square().mean(1, keepdim=True), 4)
    return torch.relu(torch.log(least_error / (local + 1.0))).mean()
