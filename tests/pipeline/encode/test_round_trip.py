"""Pictures through a real encoder and back."""

from __future__ import annotations

import numpy as np
import pytest

from pipeline.encode.round_trip import code
from pipeline.frames import YuvPlanes


def picture(seed: int) -> YuvPlanes:
    rng = np.random.default_rng(seed)
    planes = (
        np.kron(rng.integers(30, 220, (h, w)), np.ones((8, 8), int)).astype(np.uint8)
        for h, w in ((8, 16), (4, 8), (4, 8))
    )
    return YuvPlanes(*planes)


def error(one: YuvPlanes, other: YuvPlanes) -> float:
    return float(np.mean((one.y.astype(float) - other.y) ** 2))


@pytest.mark.parametrize("encoder", ["libx264", "libx265"])
def test_each_picture_comes_back_in_order_and_worse_with_crf(encoder: str) -> None:
    pictures = [picture(seed) for seed in range(3)]
    fine, fine_bytes = code(pictures, encoder=encoder, crf=5)
    coarse, coarse_bytes = code(pictures, encoder=encoder, crf=40)
    assert len(fine) == len(coarse) == len(fine_bytes) == len(coarse_bytes) == 3
    for sent, one, other in zip(pictures, fine, coarse, strict=True):
        assert one.size_px == sent.size_px
        assert error(sent, one) < error(sent, other)
        assert all(error(sent, one) < error(p, one) for p in pictures if p is not sent)
    assert sum(coarse_bytes) < sum(fine_bytes)
