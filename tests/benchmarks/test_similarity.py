"""Figures against their definitions, and against scikit-image."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from benchmarks._similarity import (
    PSNR_CEILING_DB,
    U8,
    SsimReference,
    float_rgb_of,
    luma_of,
    psnr,
    rgb_of,
    ssim,
    wilson,
)
from engines.bands import BandLayout


def pictures(count: int, seed: int = 0) -> U8:
    """Smooth colour pictures with some noise."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[0:40, 0:48]
    waves = [
        127 + 80 * np.sin(rows[..., None] / rng.uniform(3, 9, 3) + columns[..., None] / 7)
        for _ in range(count)
    ]
    noisy = np.stack(waves) + rng.normal(0, 6, (count, 40, 48, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


def test_psnr_is_scikit_images() -> None:
    first, second = pictures(3), pictures(3, seed=1)
    found = psnr(first, second)
    for index in range(3):
        expected = peak_signal_noise_ratio(first[index], second[index])
        assert found[index] == pytest.approx(expected, abs=1e-4)


def test_equal_pictures_have_a_finite_psnr() -> None:
    same = pictures(2)
    assert psnr(same, same).tolist() == [PSNR_CEILING_DB] * 2


@pytest.mark.parametrize("colour", [True, False])
def test_ssim_is_scikit_images(colour: bool) -> None:
    first, second = pictures(3), pictures(3, seed=1)
    second = (0.7 * first + 0.3 * second).astype(np.uint8)
    if not colour:
        first, second = first[..., 0], second[..., 0]
    found = ssim(first, second)
    for index in range(3):
        expected = structural_similarity(
            first[index],
            second[index],
            data_range=255,
            channel_axis=-1 if colour else None,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert found[index] == pytest.approx(expected, abs=1e-5)


def test_a_batch_does_not_change_its_pictures_ssim() -> None:
    """They lie on top of each other while they are smoothed."""
    first, second = pictures(4), pictures(4, seed=1)
    alone = [float(ssim(first[i : i + 1], second[i : i + 1])[0]) for i in range(4)]
    assert SsimReference.of(second).ssim(first).tolist() == pytest.approx(alone, abs=1e-6)


@pytest.mark.parametrize("layout", [BandLayout("yuv420", 2), BandLayout("rgb", 1)])
def test_unrounded_pictures_are_the_rounded_ones(layout: BandLayout) -> None:
    rng = np.random.default_rng(0)
    if layout.planes == "rgb":
        picture: tuple[U8, ...] = (rng.integers(0, 256, (2, 3, 16, 16), np.uint8),)
    else:
        # muted colours: what lies outside RGB is clipped in 8 bits only
        luma = rng.integers(100, 156, (2, 1, 16, 16), np.uint8)
        picture = luma, rng.integers(120, 137, (2, 2, 8, 8), np.uint8)
    exact = float_rgb_of(layout.to_bands(picture), layout)
    assert np.abs(exact - rgb_of(picture)).max() <= 1.01


def test_luma_of_planes_is_a_plane() -> None:
    rng = np.random.default_rng(0)
    luma = rng.integers(0, 256, (2, 1, 16, 16), np.uint8)
    assert (luma_of((luma, np.full((2, 2, 8, 8), 128, np.uint8))) == luma[:, 0]).all()


def test_luma_of_rgb_is_bt601() -> None:
    white = np.full((1, 3, 8, 8), 255, np.uint8)
    assert luma_of((white,)).tolist() == [[[235] * 8] * 8]


def test_wilson_holds_the_share_and_is_right_at_the_ends() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    low, high = wilson(0, 200)
    assert low == 0.0 and high == pytest.approx(0.0188, abs=2e-4)
    low, high = wilson(50, 100)
    assert low == pytest.approx(0.4038, abs=1e-3) and high == pytest.approx(0.5962, abs=1e-3)
