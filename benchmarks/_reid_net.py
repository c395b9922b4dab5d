"""The network of _reid_restore.py: a U-Net of three levels that corrects a guess."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ._similarity import F32
from .report import progress

_CHANNELS = (32, 48, 64)
_BATCH = 32
_RATE = 5e-4  # four times as much, and it does not learn at all
_EDGES = 0.5  # of the loss: a mean of all possible faces is smooth, and recognizers want edges


class Corrector(nn.Module):
    """Protected crop and guess, (B, 3, 56, 56) each, to a better guess."""

    def __init__(self) -> None:
        super().__init__()
        first, second, third = _CHANNELS
        self.enter = _block(4 * 6, first)  # (B, 24, 28, 28): 2 x 2 pixels are one place
        self.down = nn.ModuleList([_block(first, second), _block(second, third)])
        self.up = nn.ModuleList([_block(third + second, second), _block(second + first, first)])
        self.leave = nn.Conv2d(first, 4 * 3, 3, padding=1)
        nn.init.zeros_(self.leave.weight)
        assert self.leave.bias is not None
        nn.init.zeros_(self.leave.bias)

    def forward(self, hidden: Tensor, guess: Tensor) -> Tensor:
        """See the class."""
        fine = self.enter(F.pixel_unshuffle(torch.cat([hidden, guess], 1) - 0.5, 2))  # 28
        middle = self.down[0](F.avg_pool2d(fine, 2))  # 14
        coarse = self.down[1](F.avg_pool2d(middle, 2))  # 7
        middle = self.up[0](torch.cat([_doubled(coarse), middle], 1))
        fine = self.up[1](torch.cat([_doubled(middle), fine], 1))
        return guess + F.pixel_shuffle(self.leave(fine), 2)


def _block(taken: int, given: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(taken, given, 3, padding=1),
        nn.LeakyReLU(0.1),
        nn.Conv2d(given, given, 3, padding=1),
        nn.LeakyReLU(0.1),
    )


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def train(hidden: F32, guess: F32, truth: F32, steps: int, seed: int) -> Corrector:
    """On (N, 56, 56, 3) each."""
    torch.manual_seed(seed)
    net = Corrector()
    optimizer = torch.optim.Adam(net.parameters(), _RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps + 1)
    rng = np.random.default_rng([seed, 5])
    losses = []
    for step in range(steps):
        some = rng.integers(len(hidden), size=min(_BATCH, len(hidden)))
        wanted = _planes(truth[some])
        found = net(_planes(hidden[some]), _planes(guess[some]))
        loss = F.l1_loss(found, wanted) + _EDGES * sum(
            F.l1_loss(found.diff(dim=axis), wanted.diff(dim=axis)) for axis in (2, 3)
        )
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
        losses.append(float(loss.detach()))
        if (step + 1) % 100 == 0:
            mean = 255 * float(np.mean(losses[-100:]))
            progress(f"network: step {step + 1} of {steps}, loss {mean:.2f} levels")
    return net.eval()


@torch.no_grad()
def corrected(net: Corrector, hidden: F32, guess: F32) -> F32:
    """(N, 56, 56, 3) both, and what comes out."""
    found = [
        net(_planes(hidden[start : start + 64]), _planes(guess[start : start + 64]))
        for start in range(0, len(hidden), 64)
    ]
    return np.asarray(torch.cat(found).permute(0, 2, 3, 1).numpy(), np.float32)


def _planes(pictures: F32) -> Tensor:
    """(N, H, W, 3) to (N, 3, H, W)."""
    return torch.from_numpy(np.ascontiguousarray(pictures.transpose(0, 3, 1, 2)))
