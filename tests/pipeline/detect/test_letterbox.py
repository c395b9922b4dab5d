import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.detect.letterbox import MOST_ENLARGED, Letterbox
from pipeline.frames import YuvPlanes

even = st.integers(1, 2200).map(lambda half: half * 2)
targets = st.sampled_from([(640, 384), (960, 544), (320, 192)])


def picture(width: int, height: int) -> YuvPlanes:
    y = np.full((height, width), 100, np.uint8)
    return YuvPlanes(
        y,
        np.full((height // 2, width // 2), 128, np.uint8),
        np.full((height // 2, width // 2), 128, np.uint8),
    )


@given(even, even, targets, st.tuples(*[st.floats(0, 1)] * 2))
@example(2, 2, (640, 384), (0.5, 0.5))
@example(4000, 2, (640, 384), (1.0, 1.0))
@example(2, 4000, (640, 384), (1.0, 1.0))
@example(1366, 768, (640, 384), (0.3, 0.7))
def test_a_point_comes_back(
    width: int, height: int, target: tuple[int, int], share: tuple[float, float]
) -> None:
    box = Letterbox((width, height), target)
    fitted_w, fitted_h = box.fitted_px

    inside = np.array([share[0] * fitted_w, share[1] * fitted_h], np.float32)
    back = box.to_source(inside)

    np.testing.assert_allclose(back, [share[0] * width, share[1] * height], atol=0.01)


@given(even, even, targets)
@example(2, 4000, (640, 384))
@example(4000, 2, (640, 384))
@example(2, 2, (320, 192))
def test_the_fitted_picture_is_even_inside_and_whole(
    width: int, height: int, target: tuple[int, int]
) -> None:
    box = Letterbox((width, height), target)
    fitted_w, fitted_h = box.fitted_px

    assert fitted_w % 2 == 0 and fitted_h % 2 == 0
    assert 2 <= fitted_w <= target[0] and 2 <= fitted_h <= target[1]
    fills = fitted_w >= target[0] - 2 or fitted_h >= target[1] - 2
    assert fills or box.scale == MOST_ENLARGED  # as large as it may be
    # rounding to even loses less than two pixels of either side
    for fitted, side in ((fitted_w, width), (fitted_h, height)):
        assert fitted == 2 or side * box.scale - 2 < fitted <= side * box.scale + 1e-6


@pytest.mark.parametrize(
    "size", [(1920, 1080), (1366, 768), (720, 576), (240, 320), (640, 384), (64, 48), (18, 1000)]
)
def test_a_square_is_where_the_geometry_says(size: tuple[int, int]) -> None:
    """Drawn in source pixels, found in the network's input, mapped back."""
    width, height = size
    planes = picture(width, height)
    x1, y1 = width // 4, height // 3
    side_x, side_y = max(width // 5, 6), max(height // 5, 6)
    planes.y[y1 : y1 + side_y, x1 : x1 + side_x] = 250
    box = Letterbox(size, (640, 384))

    image = box.image(planes, rgb=True)

    assert image.shape == (384, 640, 3)
    fitted_w, fitted_h = box.fitted_px
    bright = image[:fitted_h, :fitted_w, 1] > 190
    rows, columns = np.flatnonzero(bright.any(axis=1)), np.flatnonzero(bright.any(axis=0))
    found = box.to_source(
        np.array([[columns[0], rows[0]], [columns[-1] + 1, rows[-1] + 1]], np.float32)
    )
    slack = 1.0 / min(box.scale, 1.0) + 0.01  # a pixel of the coarser picture
    np.testing.assert_allclose(
        found.ravel(), [x1, y1, x1 + side_x, y1 + side_y], rtol=0, atol=slack
    )


def test_what_is_beside_the_picture_is_grey() -> None:
    image = Letterbox((320, 320), (640, 384)).image(picture(320, 320), rgb=True)
    assert (image[:, 384:] == 114).all()
    assert (image[:, :384] != 114).any()


def test_a_small_picture_is_enlarged_a_little_at_most() -> None:
    box = Letterbox((160, 120), (640, 384))

    image = box.image(picture(160, 120), rgb=True)

    assert box.scale == MOST_ENLARGED < 384 / 120
    assert (image[150:] == 114).all() and (image[:, 200:] == 114).all()
    assert (image[:150, :200] != 114).all()


@pytest.mark.parametrize("rgb", [True, False])
def test_colours_are_in_the_order_that_was_asked_for(rgb: bool) -> None:
    red = np.full((384, 640, 3), (0, 0, 220), np.uint8)  # OpenCV's order
    i420 = np.asarray(cv2.cvtColor(red, cv2.COLOR_BGR2YUV_I420), np.uint8)
    planes = YuvPlanes(i420[:384], i420[384:480].reshape(192, 320), i420[480:].reshape(192, 320))

    image = Letterbox((640, 384), (640, 384)).image(planes, rgb=rgb)

    assert int(np.argmax(image.mean(axis=(0, 1)))) == (0 if rgb else 2)
    np.testing.assert_allclose(image.mean(axis=(0, 1)), [220, 0, 0] if rgb else [0, 0, 220], atol=3)


def test_the_planes_are_only_read() -> None:
    planes = picture(200, 100)
    before = [plane.copy() for plane in (planes.y, planes.u, planes.v)]
    for plane in (planes.y, planes.u, planes.v):
        plane.flags.writeable = False
    Letterbox((200, 100), (640, 384)).image(planes, rgb=True)
    for plane, old in zip((planes.y, planes.u, planes.v), before, strict=True):
        np.testing.assert_array_equal(plane, old)
