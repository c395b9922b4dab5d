"""The secure affine coupling block, both ways (PRO-Face S, section IV-B and IV-C).

Shapes as in the paper: X and Y are (B, C, h, w) wavelet bands (the paper: C = 12, h = H/2) and the
secret map K is (B, Ck, h, w) (the paper: Ck = 4). Every map takes C + Ck channels and gives C.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

LIMIT = 1.0  # the constant factor of a(): what one block may scale by is e ** +-LIMIT at most


class DenseMap(nn.Module):
    """Five densely connected 3x3 convolutions; the last begins at zero: a new block is identity."""

    def __init__(self, channels_in: int, channels_out: int, growth: int) -> None:
        super().__init__()
        inputs = [channels_in + i * growth for i in range(5)]
        self.grow = nn.ModuleList(nn.Conv2d(n, growth, 3, padding=1) for n in inputs[:4])
        self.last = nn.Conv2d(inputs[4], channels_out, 3, padding=1)
        self.activation = nn.LeakyReLU(0.2, inplace=True)
        for conv in self.grow:
            assert isinstance(conv, nn.Conv2d) and conv.bias is not None
            nn.init.kaiming_normal_(conv.weight, a=0.2)
            nn.init.zeros_(conv.bias)
        assert self.last.bias is not None
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels_in, h, w) to (B, channels_out, h, w)."""
        for conv in self.grow:
            x = torch.cat((x, self.activation(conv(x))), dim=1)
        out: Tensor = self.last(x)
        return out


def bounded(scale: Tensor) -> Tensor:
    """a() of equation 10, centred: the factor exp(a) stays within e ** +-LIMIT.

    Centred so that a new block is the identity; bounded because an unbounded one lets the wrong-key
    inverse explode in a few places while the face stays readable between them.
    """
    return LIMIT * (2 * torch.sigmoid(scale) - 1)


class KeyedCoupling(nn.Module):
    """One block: equations 10 and 11 forward, 14 and 15 back."""

    def __init__(self, channels: int, key_channels: int, growth: int) -> None:
        super().__init__()
        self.omega, self.phi, self.rho, self.eta = (
            DenseMap(channels + key_channels, channels, growth) for _ in range(4)
        )

    def forward(self, x: Tensor, y: Tensor, key: Tensor | None) -> tuple[Tensor, Tensor]:
        """X^i, Y^i, K to X^(i+1), Y^(i+1)."""
        y = self.forward_y(x, y, key)
        y_key = with_key(y, key)
        x = x * torch.exp(bounded(self.rho(y_key))) + self.eta(y_key)
        return x, y

    def inverse(self, x: Tensor, y: Tensor, key: Tensor | None) -> tuple[Tensor, Tensor]:
        """X^(i+1), Y^(i+1), K to X^i, Y^i."""
        x = self.inverse_x(x, y, key)
        x_key = with_key(x, key)
        y = (y - self.phi(x_key)) * torch.exp(-bounded(self.omega(x_key)))
        return x, y

    def forward_y(self, x: Tensor, y: Tensor, key: Tensor | None) -> Tensor:
        """Equation 10 alone."""
        x_key = with_key(x, key)
        protected: Tensor = y * torch.exp(bounded(self.omega(x_key))) + self.phi(x_key)
        return protected

    def inverse_x(self, x: Tensor, y: Tensor, key: Tensor | None) -> Tensor:
        """Equation 14 alone."""
        y_key = with_key(y, key)
        recovered: Tensor = (x - self.eta(y_key)) * torch.exp(-bounded(self.rho(y_key)))
        return recovered


def with_key(bands: Tensor, key: Tensor | None) -> Tensor:
    """Concatenation by channels, as in equation 9."""
    return bands if key is None else torch.cat((bands, key), dim=1)
