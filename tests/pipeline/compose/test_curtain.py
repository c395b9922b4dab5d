import numpy as np
import pytest

from pipeline.compose.curtain import MOSAIC_CELLS, curtain_frame, mosaic
from pipeline.frames import YuvPlanes, planes_of


@pytest.mark.parametrize("name", ["yuv420p", "yuvj420p"])
@pytest.mark.parametrize("size", [(2, 2), (64, 2), (2, 64), (640, 360), (1920, 1080)])
def test_the_curtain_has_every_size(name: str, size: tuple[int, int]) -> None:
    frame = curtain_frame(*size, name)
    assert (frame.width, frame.height, frame.format.name) == (*size, name)
    assert (planes_of(frame).u == 128).all()


def test_the_curtain_says_so() -> None:
    """Somebody who sees it must not take it for a dead camera."""
    luma = planes_of(curtain_frame(640, 360, "yuv420p")).y
    assert luma.max() > luma.min() + 40
    assert (luma == luma[0, 0]).mean() > 0.9


def test_no_two_curtains_share_a_buffer() -> None:
    """The encoder sets fields and the next stage may write: one curtain must not spoil another."""
    one, other = (curtain_frame(64, 48, "yuv420p") for _ in range(2))
    planes_of(one).y[:] = 255
    assert planes_of(other).y.max() < 255
    assert planes_of(curtain_frame(64, 48, "yuv420p")).y.max() < 255


def planes(width: int, height: int, seed: int = 0) -> YuvPlanes:
    rng = np.random.default_rng(seed)
    half = (height // 2, width // 2)
    return YuvPlanes(
        rng.integers(0, 256, (height, width), np.uint8),
        rng.integers(0, 256, half, np.uint8),
        rng.integers(0, 256, half, np.uint8),
    )


@pytest.mark.parametrize("size", [(1920, 1080), (640, 360), (480, 640), (1280, 64)])
def test_the_mosaic_leaves_a_few_cells(size: tuple[int, int]) -> None:
    picture = planes(*size)
    mosaic(picture)
    for plane in (picture.y, picture.u, picture.v):
        columns = 1 + int((np.diff(plane.astype(int), axis=1) != 0).any(axis=0).sum())
        rows = 1 + int((np.diff(plane.astype(int), axis=0) != 0).any(axis=1).sum())
        assert max(columns, rows) <= MOSAIC_CELLS
        assert min(columns, rows) <= MOSAIC_CELLS * min(size) / max(size) + 1


@pytest.mark.parametrize("size", [(2, 2), (2, 64), (64, 2)])
def test_the_mosaic_takes_every_size(size: tuple[int, int]) -> None:
    mosaic(planes(*size))
