import numpy as np
import pytest

from pipeline.compose.blend import write_patch
from pipeline.frames import FacePatch, U8Array, YuvPlanes

WIDTH, HEIGHT = 64, 48


def planes(seed: int, width: int = WIDTH, height: int = HEIGHT) -> YuvPlanes:
    rng = np.random.default_rng(seed)
    half = (height // 2, width // 2)
    return YuvPlanes(
        rng.integers(0, 256, (height, width), np.uint8),
        rng.integers(0, 256, half, np.uint8),
        rng.integers(0, 256, half, np.uint8),
    )


def patch(alpha: U8Array, x_px: int = 10, y_px: int = 4) -> FacePatch:
    height, width = alpha.shape
    return FacePatch(1, x_px, y_px, planes(9, width, height), alpha, np.zeros(4, np.float32))


def full(level: int = 255) -> U8Array:
    return np.full((16, 20), level, np.uint8)


def test_an_opaque_patch_replaces_its_rectangle_and_nothing_else() -> None:
    target, before, made = planes(0), planes(0), patch(full())

    used = write_patch(target, made, None)

    np.testing.assert_array_equal(target.y[4:20, 10:30], made.planes.y)
    np.testing.assert_array_equal(target.u[2:10, 5:15], made.planes.u)
    np.testing.assert_array_equal(target.v[2:10, 5:15], made.planes.v)
    for plane, old, (rows, columns) in (
        (target.y, before.y, (slice(4, 20), slice(10, 30))),
        (target.u, before.u, (slice(2, 10), slice(5, 15))),
        (target.v, before.v, (slice(2, 10), slice(5, 15))),
    ):
        outside = np.ones(plane.shape, np.bool_)
        outside[rows, columns] = False
        np.testing.assert_array_equal(plane[outside], old[outside])
    assert (used == 255).all()


def test_a_clear_patch_changes_nothing() -> None:
    target, before = planes(0), planes(0)
    write_patch(target, patch(full(0)), None)
    for plane, old in zip(
        (target.y, target.u, target.v), (before.y, before.u, before.v), strict=True
    ):
        np.testing.assert_array_equal(plane, old)


@pytest.mark.parametrize("level", [1, 64, 127, 128, 200, 254])
def test_between_the_two_is_the_rounded_mean(level: int) -> None:
    target, before, made = planes(0), planes(0), patch(full(level))
    write_patch(target, made, None)
    old = before.y[4:20, 10:30].astype(np.float64)
    expected = (made.planes.y * float(level) + old * (255.0 - level)) / 255
    assert np.abs(target.y[4:20, 10:30] - expected).max() <= 0.5


def test_colour_goes_with_the_first_hidden_pixel() -> None:
    """One luma pixel of four is enough: skin colour must not show around the edge."""
    alpha = full(0)
    alpha[6, 8] = 255  # luma (10, 18) of the frame, chroma (5, 9)
    target, before, made = planes(0), planes(0), patch(alpha)
    write_patch(target, made, None)
    assert target.u[5, 9] == made.planes.u[3, 4]
    assert target.v[5, 9] == made.planes.v[3, 4]
    assert (target.y != before.y).sum() <= 1


def test_a_clear_zone_stays_and_is_reported() -> None:
    target, before = planes(0), planes(0)
    clear = np.zeros((HEIGHT, WIDTH), np.uint8)
    clear[:, :16] = 255
    made = patch(full())

    used = write_patch(target, made, clear)

    np.testing.assert_array_equal(target.y[:, :16], before.y[:, :16])
    np.testing.assert_array_equal(target.u[:, :8], before.u[:, :8])
    np.testing.assert_array_equal(target.y[4:20, 16:30], made.planes.y[:, 6:])
    assert (used[:, :6] == 0).all() and (used[:, 6:] == 255).all()


def test_a_patch_at_the_very_edge() -> None:
    target, made = planes(0), patch(full(), WIDTH - 20, HEIGHT - 16)
    write_patch(target, made, None)
    np.testing.assert_array_equal(target.y[-16:, -20:], made.planes.y)
    np.testing.assert_array_equal(target.v[-8:, -10:], made.planes.v)


def test_a_patch_over_the_edge_is_an_error_not_a_gap() -> None:
    with pytest.raises(ValueError):
        write_patch(planes(0), patch(full(), WIDTH - 10, 0), None)
