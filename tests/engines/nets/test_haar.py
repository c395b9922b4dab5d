from __future__ import annotations

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from engines.bands import haar, unhaar
from engines.nets.haar import dwt, iwt

SHAPES = st.tuples(*(st.integers(1, 3), st.integers(1, 4), st.integers(1, 9), st.integers(1, 9)))


def planes(shape: tuple[int, int, int, int], seed: int) -> NDArray[np.float64]:
    batch, channels, height, width = shape
    return np.random.default_rng(seed).normal(size=(batch, channels, 2 * height, 2 * width))


@given(SHAPES, st.integers(0, 1000))
def test_the_inverse_is_exact(shape: tuple[int, int, int, int], seed: int) -> None:
    x = torch.from_numpy(planes(shape, seed))
    bands = dwt(x)
    batch, channels, height, width = shape
    assert bands.shape == (batch, 4 * channels, height, width)
    assert (iwt(bands) - x).abs().max() < 1e-12
    assert (dwt(iwt(bands)) - bands).abs().max() < 1e-12


@given(SHAPES, st.integers(0, 1000))
def test_torch_and_numpy_are_the_same_transform(
    shape: tuple[int, int, int, int], seed: int
) -> None:
    x = planes(shape, seed).astype(np.float32)
    bands = haar(x)
    np.testing.assert_allclose(dwt(torch.from_numpy(x)).numpy(), bands, atol=1e-6)
    np.testing.assert_allclose(iwt(torch.from_numpy(bands)).numpy(), unhaar(bands), atol=1e-6)


def test_noise_keeps_its_strength() -> None:
    """Orthonormal: energy in the bands is energy in the pixels."""
    x = torch.from_numpy(planes((2, 3, 8, 8), 0))
    assert torch.isclose((dwt(x) ** 2).sum(), (x**2).sum())


def test_a_flat_picture_is_all_low_band() -> None:
    bands = dwt(torch.ones(1, 1, 4, 4))
    assert torch.equal(bands[0, 0], torch.full((2, 2), 2.0))
    assert not bands[0, 1:].any()
