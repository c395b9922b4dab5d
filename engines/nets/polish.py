"""Cleans a recovered face after unscrambling: what 8 bits and codecs did to its bands is noise
without structure once they are back in order, and faces are smooth.

It sees neither key nor protected picture, and what it may change is bounded: a wrong key's noise
stays noise. (An enhancement step after extraction: PRIS, arXiv 2309.13620.)
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

MOST_CHANGE = 0.3  # of the range 0..1 of pixels, for each coefficient


class Polish(nn.Module):
    """Five 3x3 convolutions around a bounded change; begins as the identity."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for size_in, size_out in pairwise([channels, width, width, width, width]):
            layers += [nn.Conv2d(size_in, size_out, 3, padding=1), nn.LeakyReLU(0.1)]
        self.body = nn.Sequential(*layers)
        self.last = nn.Conv2d(width, channels, 3, padding=1)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, bands: Tensor) -> Tensor:
        """(B, C, h, w) to the same."""
        change: Tensor = self.last(self.body(bands))
        return bands + MOST_CHANGE * torch.tanh(change / MOST_CHANGE)
