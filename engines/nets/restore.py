"""From what the coupling blocks gave back to the face: the last step of recovery.

The blocks carry the scrambled difference between the face and its obfuscation. Unscrambled with the
right key it has the structure of a face; with a wrong one it is noise without structure. A small
network sees which of the two it is, place by place, cleans the one, and turns the other into what
the mode wants a wrong key to show. No secrecy rests on it: who leaves it out has the obfuscated
picture and noise. (An enhancement step after extraction: PRIS, arXiv 2309.13620.)
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

MOST_LOG_GAIN = 3.0


class Restore(nn.Module):
    """Five 3x3 convolutions that weight the difference and correct the sum; begins as the sum."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.channels = channels
        layers: list[nn.Module] = []
        for size_in, size_out in pairwise([2 * channels, width, width, width, width]):
            layers += [nn.Conv2d(size_in, size_out, 3, padding=1), nn.LeakyReLU(0.1)]
        self.body = nn.Sequential(*layers)
        self.last = nn.Conv2d(width, 2 * channels, 3, padding=1)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, difference: Tensor, obfuscated: Tensor) -> Tensor:
        """(B, C, h, w) unscrambled difference and obfuscated bands to the face's bands."""
        both = torch.cat((difference, obfuscated), dim=1)
        log_gain, change = self.last(self.body(both)).split(self.channels, dim=1)
        gain = torch.exp(MOST_LOG_GAIN * torch.tanh(log_gain / MOST_LOG_GAIN))
        face: Tensor = obfuscated + difference * gain + change
        return face
