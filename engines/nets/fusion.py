"""The stack of coupling blocks: bands of a face and of its obfuscation to protected bands, and
back (PRO-Face S, figure 2)."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from ..fusion import FusionSpec
from .coupling import KeyedCoupling
from .polish import Polish
from .restore import Restore


class FusionNet(nn.Module):
    """PRO-Face S on wavelet bands. Fully convolutional: any (h, w).

    The paper: channels 12, key_channels 4, depth 3, growth 32 are 1.07 M parameters.
    """

    def __init__(
        self,
        *,
        channels: int,
        key_channels: int,
        depth: int,
        growth: int,
        polish_width: int = 0,
        restore_width: int = 0,
    ) -> None:
        """The widths add a last step of recovery, which the paper has not; 0: none."""
        super().__init__()
        self.channels, self.key_channels = channels, key_channels
        self.blocks = nn.ModuleList(
            KeyedCoupling(channels, key_channels, growth) for _ in range(depth)
        )
        self.polish = Polish(channels, polish_width) if polish_width else None
        self.restore = Restore(channels, restore_width) if restore_width else None

    def protect(self, x: Tensor, y: Tensor, key: Tensor | None) -> Tensor:
        """X^1, Y^1 (B, C, h, w) and K (B, Ck, h, w) to Y^(N+1).

        The by-product X^(N+1) shows the face (section V-D2): it is never computed.
        """
        *first, last = self._couplings()
        for block in first:
            x, y = block(x, y, key)
        return last.forward_y(x, y, key)

    def recover(self, y: Tensor, key: Tensor | None) -> Tensor:
        """Y^(N+1) and K to X^1, still scrambled in models that scramble."""
        first, *others = self._couplings()
        x = self._stand_in(y, key)
        for block in reversed(others):
            x, y = block.inverse(x, y, key)
        return first.inverse_x(x, y, key)

    def recover_both(self, y: Tensor, key: Tensor | None) -> tuple[Tensor, Tensor]:
        """Y^(N+1) and K to X^1 and Y^1, the obfuscated face (equations 14 and 15)."""
        x = self._stand_in(y, key)
        for block in reversed(self._couplings()):
            x, y = block.inverse(x, y, key)
        return x, y

    def _couplings(self) -> list[KeyedCoupling]:
        return [cast(KeyedCoupling, block) for block in self.blocks]

    def _stand_in(self, y: Tensor, key: Tensor | None) -> Tensor:
        """K repeated stands for the lost by-product (section IV-C); without a key, zeros."""
        if key is None:
            return torch.zeros_like(y)
        times = -(-self.channels // self.key_channels)
        return key.repeat(1, times, 1, 1)[:, : self.channels]


def net_for(spec: FusionSpec) -> FusionNet:
    """An untrained network of these dimensions."""
    return FusionNet(
        channels=spec.layout.channels,
        key_channels=spec.key_channels,
        depth=spec.depth,
        growth=spec.growth,
        polish_width=0 if spec.carries_difference else spec.restore_width,
        restore_width=spec.restore_width if spec.carries_difference else 0,
    )
