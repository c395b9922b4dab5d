from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines.bands import U8, BandLayout, Planes

LAYOUTS = [
    BandLayout(planes, levels)
    for planes in ("yuv420", "rgb")
    for levels in (1, 2)
]  # fmt: skip


def picture(layout: BandLayout, batch: int, height: int, width: int, seed: int) -> tuple[U8, ...]:
    rng = np.random.default_rng(seed)
    shapes = [(batch, 3, height, width)]
    if layout.planes == "yuv420":
        shapes = [(batch, 1, height, width), (batch, 2, height // 2, width // 2)]
    return tuple(rng.integers(0, 256, shape, dtype=np.uint8) for shape in shapes)


@given(
    layout=st.sampled_from(LAYOUTS),
    batch=st.integers(1, 3),
    rows=st.integers(1, 9),
    columns=st.integers(1, 9),
    seed=st.integers(0, 1000),
)
def test_a_picture_comes_back_exactly(
    layout: BandLayout, batch: int, rows: int, columns: int, seed: int
) -> None:
    step = layout.side_multiple_px
    planes = picture(layout, batch, rows * step, columns * step, seed)
    bands = layout.to_bands(planes)
    assert bands.shape == (batch, layout.channels, rows, columns)
    assert bands.dtype == np.float32
    for before, after in zip(planes, layout.to_picture(bands), strict=True):
        np.testing.assert_array_equal(before, after)


def test_channels_are_as_documented() -> None:
    assert [layout.channels for layout in LAYOUTS] == [6, 24, 12, 48]
    assert [layout.side_multiple_px for layout in LAYOUTS] == [2, 4, 2, 4]


def test_what_is_out_of_range_is_clipped() -> None:
    layout = BandLayout("yuv420", 1)
    bands = np.zeros((1, 6, 2, 2), np.float32)
    bands[:, :4] = 9
    luma, chroma = layout.to_picture(bands)
    assert luma.max() == 255 and set(np.unique(chroma)) == {128}


@pytest.mark.parametrize(("planes", "levels"), [("yuv444", 1), ("rgb", 0), ("yuv420", 4)])
def test_other_layouts_are_refused(planes: Planes, levels: int) -> None:
    with pytest.raises(ValueError, match="planes must be"):
        BandLayout(planes, levels)
