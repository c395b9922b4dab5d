from __future__ import annotations

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st
from torch import Tensor

from engines.fusion import FusionSpec
from engines.nets.coupling import LIMIT, KeyedCoupling, bounded
from engines.nets.fusion import FusionNet
from support.fusion_nets import KEYED, ONE_BLOCK, RESTORED, SCRAMBLED, SPECS, random_net

WORST = {torch.float64: 1e-9, torch.float32: 2e-4}


def bands(
    spec: FusionSpec, batch: int, height: int, width: int, dtype: torch.dtype = torch.float32
) -> tuple[Tensor, Tensor, Tensor | None]:
    generator = torch.Generator().manual_seed(7)
    size = (batch, spec.layout.channels, height, width)
    x, y = (torch.randn(size, generator=generator, dtype=dtype) for _ in range(2))
    if not spec.key_channels:
        return x, y, None
    size = (batch, spec.key_channels, height, width)
    return x, y, torch.randn(size, generator=generator, dtype=dtype)


@given(
    spec=st.sampled_from(SPECS),
    batch=st.integers(1, 3),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    dtype=st.sampled_from(sorted(WORST, key=str)),
    seed=st.integers(0, 50),
)
@example(KEYED, 1, 1, 1, torch.float64, 0)
@example(SCRAMBLED, 2, 28, 27, torch.float32, 1)
def test_what_the_blocks_do_they_undo(
    spec: FusionSpec, batch: int, height: int, width: int, dtype: torch.dtype, seed: int
) -> None:
    """With the by-product at hand the network is exactly invertible (equations 10 to 15)."""
    net = random_net(spec, seed).to(dtype)
    x, y, key = bands(spec, batch, height, width, dtype)
    u, v = x, y
    with torch.inference_mode():
        for block in net.blocks:
            u, v = block(u, v, key)
        assert not torch.allclose(v, y)
        for block in reversed(list(net.blocks)):
            assert isinstance(block, KeyedCoupling)
            u, v = block.inverse(u, v, key)
    assert (u - x).abs().max() < WORST[dtype]
    assert (v - y).abs().max() < WORST[dtype]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_protect_is_the_y_of_the_stack(spec: FusionSpec) -> None:
    net = random_net(spec)
    x, y, key = bands(spec, 2, 5, 6)
    with torch.inference_mode():
        protected = net.protect(x, y, key)
        u, v = x, y
        for block in net.blocks:
            u, v = block(u, v, key)
    assert torch.equal(protected, v)


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_recover_takes_the_key_for_the_by_product(spec: FusionSpec) -> None:
    net = random_net(spec)
    _, y, key = bands(spec, 2, 5, 6)
    with torch.inference_mode():
        u, v = stand_in(spec, y, key), y
        for block in reversed(list(net.blocks)):
            assert isinstance(block, KeyedCoupling)
            u, v = block.inverse(u, v, key)
        assert torch.allclose(net.recover(y, key), u, atol=1e-5)
        both = net.recover_both(y, key)
    assert torch.allclose(both[0], u, atol=1e-5) and torch.allclose(both[1], v, atol=1e-5)


def stand_in(spec: FusionSpec, y: Tensor, key: Tensor | None) -> Tensor:
    if key is None:
        return torch.zeros_like(y)
    return torch.cat([key] * spec.layout.channels, dim=1)[:, : spec.layout.channels]


def test_the_papers_network_has_the_papers_parameters() -> None:
    net = FusionNet(channels=12, key_channels=4, depth=3, growth=32)
    one_map = 9 * (16 + 48 + 80 + 112) * 32 + 4 * 32 + 9 * 144 * 12 + 12
    count = sum(weight.numel() for weight in net.parameters())
    assert count == 3 * 4 * one_map == 1_073_040  # section V-A: 1.07 M


def test_a_new_network_shows_the_obfuscated_face() -> None:
    """It begins as the identity: training starts from a picture that protects."""
    net = FusionNet(channels=24, key_channels=0, depth=2, growth=4)
    x, y, _ = bands(SCRAMBLED, 1, 7, 7)
    assert torch.equal(net.protect(x, y, None), y)


def test_a_wrong_key_opens_something_else() -> None:
    net = random_net(KEYED)
    x, y, key = bands(KEYED, 1, 8, 8)
    assert key is not None
    with torch.inference_mode():
        right = net.recover(net.protect(x, y, key), key)
        wrong = net.recover(net.protect(x, y, key), -key)
    assert (right - wrong).abs().mean() > 0.1


def test_the_factor_of_a_block_is_bounded() -> None:
    scale = torch.tensor([-1e9, -3.0, 0.0, 3.0, 1e9])
    a = bounded(scale)
    assert a.abs().max() <= LIMIT and a[2] == 0
    assert torch.all(a.diff() > 0)


@pytest.mark.parametrize("spec", [ONE_BLOCK, RESTORED], ids=lambda spec: spec.name)
def test_protect_gives_one_picture(spec: FusionSpec) -> None:
    """The by-product shows the face (section V-D2)."""
    x, y, key = bands(spec, 1, 4, 4)
    protected = random_net(spec).protect(x, y, key)
    assert isinstance(protected, Tensor) and protected.shape == y.shape
