import cv2
import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.detect.letterbox import MARGIN_PX, Letterbox, mirrored
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
    (left, top), (fitted_w, fitted_h) = box.corner_px, box.fitted_px

    inside = np.array([left + share[0] * fitted_w, top + share[1] * fitted_h], np.float32)
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
    assert 2 <= fitted_w <= target[0] - 2 * MARGIN_PX
    assert 2 <= fitted_h <= target[1] - 2 * MARGIN_PX
    # rounding to even loses less than two pixels of either side
    for fitted, side in ((fitted_w, width), (fitted_h, height)):
        assert fitted == 2 or side * box.scale - 2 < fitted <= side * box.scale + 1e-6


@given(even, even, targets)
@example(2, 4000, (640, 384))
@example(4000, 2, (640, 384))
def test_there_is_room_on_every_side_and_the_picture_lies_in_the_middle(
    width: int, height: int, target: tuple[int, int]
) -> None:
    box = Letterbox((width, height), target)
    for corner, fitted, side in zip(box.corner_px, box.fitted_px, target, strict=True):
        rest = side - fitted - corner
        assert corner >= MARGIN_PX and rest >= MARGIN_PX and 0 <= rest - corner <= 1


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
    (left, top), (fitted_w, fitted_h) = box.corner_px, box.fitted_px
    bright = image[top : top + fitted_h, left : left + fitted_w, 1] > 190
    rows = top + np.flatnonzero(bright.any(axis=1))
    columns = left + np.flatnonzero(bright.any(axis=0))
    found = box.to_source(
        np.array([[columns[0], rows[0]], [columns[-1] + 1, rows[-1] + 1]], np.float32)
    )
    slack = 1.0 / min(box.scale, 1.0) + 0.01  # a pixel of the coarser picture
    np.testing.assert_allclose(
        found.ravel(), [x1, y1, x1 + side_x, y1 + side_y], rtol=0, atol=slack
    )


@pytest.mark.parametrize("size", [(320, 320), (640, 360), (2, 2), (4000, 2), (2, 4000)])
def test_beside_the_picture_is_its_mirror_image(size: tuple[int, int]) -> None:
    planes = picture(*size)
    planes.y[:] = np.random.default_rng(1).integers(0, 255, planes.y.shape, np.uint8)
    box = Letterbox(size, (640, 384))
    image = box.image(planes, rgb=True)
    (left, top), (width, height) = box.corner_px, box.fitted_px
    inside = image[top : top + height, left : left + width]
    reach_x, reach_y = min(left, width), min(top, height)
    np.testing.assert_array_equal(
        image[top : top + height, left - reach_x : left], inside[:, :reach_x][:, ::-1]
    )
    np.testing.assert_array_equal(
        image[top - reach_y : top, left : left + width], inside[:reach_y][::-1]
    )


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


# --- mirror images ---

FRAME = (640, 360)


def is_mirrored(*boxes: tuple[float, float, float, float]) -> list[bool]:
    return [bool(each) for each in mirrored(np.array(boxes, np.float32).reshape(-1, 4), FRAME)]


def test_no_boxes_are_no_mirror_images() -> None:
    assert is_mirrored() == []


@pytest.mark.parametrize(
    ("face", "image"),
    [
        ((4, 100, 44, 150), (-44, 100, -4, 150)),
        ((600, 100, 638, 150), (642, 100, 680, 150)),
        ((100, 2, 140, 52), (100, -52, 140, -2)),
        ((100, 310, 140, 358), (100, 362, 140, 410)),
    ],
)
def test_a_face_seen_beyond_an_edge_is_dropped(
    face: tuple[float, float, float, float], image: tuple[float, float, float, float]
) -> None:
    assert is_mirrored(face, image) == [False, True]
    assert is_mirrored(image) == [True]  # there is nothing of it to cover


def test_the_image_of_a_face_that_reaches_over_the_edge_is_dropped() -> None:
    assert is_mirrored((-10, 100, 40, 150), (-41, 101, 11, 149)) == [False, True]
    # not if it is somebody else's
    assert is_mirrored((-10, 100, 40, 150), (-41, 201, 11, 249)) == [False, False]


def test_half_a_face_whose_middle_is_beyond_the_edge_is_kept() -> None:
    assert is_mirrored((-30, 100, 20, 160)) == [False]
    assert is_mirrored((620, 340, 670, 400)) == [False]


BOXES = st.lists(
    st.tuples(st.floats(-80, 700), st.floats(-80, 420), st.floats(4, 120), st.floats(4, 120)),
    max_size=6,
)


@given(BOXES)
def test_what_shows_in_the_frame_keeps_a_box(
    drawn: list[tuple[float, float, float, float]],
) -> None:
    """Every box with its middle inside stays; none beyond is dropped but for one that covers it."""
    boxes = [(x, y, x + w, y + h) for x, y, w, h in drawn]
    dropped = is_mirrored(*boxes)
    for (x, y, right, bottom), is_dropped in zip(boxes, dropped, strict=True):
        middle = np.float32((x + right) / 2), np.float32((y + bottom) / 2)
        if 1 <= middle[0] <= FRAME[0] - 1 and 1 <= middle[1] <= FRAME[1] - 1:
            assert not is_dropped
        if right <= 0 or bottom <= 0 or x >= FRAME[0] or y >= FRAME[1]:
            assert is_dropped
    if all(dropped):
        assert all(
            right <= 0 or bottom <= 0 or x >= FRAME[0] or y >= FRAME[1]
            for x, y, right, bottom in boxes
        )
