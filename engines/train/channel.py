"""What happens to protected pixels on their way to the recovering side, as training sees it.

Rounding and clipping to 8 bits are always in the loop (straight-through). For video a lossy channel
follows: Gaussian noise, or the noise that a real encoder made of this very batch, whose gradient
is taken as one.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from ..bands import U8

Codec = Callable[[tuple[U8, ...], np.random.Generator], tuple[U8, ...]]
"""An 8-bit picture batch coded and decoded again, at a quality drawn at random."""


def to_8_bits(planes: Tensor) -> Tensor:
    """Values (pixel - 128) / 255 rounded and clipped; the gradient passes straight through.

    Clipping is in the loop on purpose: a network that only saw rounding noise never learns to stay
    inside 0..255, and 0.3 % of clipped pixels cost 16 dB.
    """
    pixels = planes * 255 + 128
    rounded = pixels.round().clamp(0, 255)
    return (pixels + (rounded - pixels).detach() - 128) / 255


def add_noise(planes: Tensor, sigma: Tensor, generator: torch.Generator) -> Tensor:
    """Gaussian noise of `sigma` (B,) levels of 255."""
    noise = torch.randn(planes.shape, generator=generator).to(planes.device)
    return planes + noise * (sigma / 255).view(-1, 1, 1, 1)


def through_codec(
    planes: tuple[Tensor, ...], codec: Codec, rng: np.random.Generator
) -> tuple[Tensor, ...]:
    """Planes with what a real encoder does to them added as if it were noise."""
    sent = tuple(
        (plane.detach() * 255 + 128).round().clamp(0, 255).to(torch.uint8).cpu().numpy()
        for plane in planes
    )
    received = codec(sent, rng)
    return tuple(
        plane
        + (torch.from_numpy(after.astype(np.float32)).to(plane.device) - 128) / 255
        - (torch.from_numpy(before.astype(np.float32)).to(plane.device) - 128) / 255
        for plane, before, after in zip(planes, sent, received, strict=True)
    )
