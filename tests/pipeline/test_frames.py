from fractions import Fraction

import av
import numpy as np
import pytest

from pipeline.frames import (
    Detections,
    EncodedPacket,
    FaceBox,
    FacePatch,
    RawFrame,
    ShapeError,
    YuvPlanes,
    planes_of,
)


def planes(width: int, height: int, fill: int = 0) -> YuvPlanes:
    half = (height // 2, width // 2)
    return YuvPlanes(
        np.full((height, width), fill, np.uint8),
        np.full(half, fill, np.uint8),
        np.full(half, fill, np.uint8),
    )


def patch(x_px: int = 0, y_px: int = 0, alpha: tuple[int, int] = (8, 8)) -> FacePatch:
    return FacePatch(
        1, x_px, y_px, planes(8, 8), np.full(alpha, 255, np.uint8), np.zeros(4, np.float32)
    )


# 50 px wide: line_size is padded, so a view that forgets the padding is caught.
@pytest.mark.parametrize("name", ["yuv420p", "yuvj420p"])
def test_planes_are_views_of_the_frame(name: str) -> None:
    image = av.VideoFrame(50, 34, name)
    for index in range(3):
        image.planes[index].update(bytes(image.planes[index].buffer_size))

    views = planes_of(image)
    views.y[33, 49], views.u[16, 24], views.v[0, 0] = 201, 202, 203

    again = planes_of(image)
    assert (again.y.shape, again.u.shape, again.v.shape) == ((34, 50), (17, 25), (17, 25))
    assert (again.y[33, 49], again.u[16, 24], again.v[0, 0]) == (201, 202, 203)
    assert again.size_px == (50, 34)
    written = [bytes(image.planes[index]) for index in range(3)]
    assert [plane.count(200 + n) for n, plane in enumerate(written, 1)] == [1, 1, 1]
    assert written[0][33 * image.planes[0].line_size + 49] == 201


def test_planes_show_the_picture_that_was_put_in() -> None:
    i420 = np.arange(36 * 50, dtype=np.uint32).astype(np.uint8).reshape(36, 50)
    views = planes_of(av.VideoFrame.from_ndarray(i420, format="yuv420p"))

    np.testing.assert_array_equal(views.y, i420[:24])
    np.testing.assert_array_equal(views.u.ravel(), i420[24:30].ravel())
    np.testing.assert_array_equal(views.v.ravel(), i420[30:].ravel())


@pytest.mark.parametrize("name", ["yuv422p", "nv12", "yuv420p10le", "rgb24", "gray"])
def test_other_formats_are_refused(name: str) -> None:
    with pytest.raises(ShapeError, match=name):
        planes_of(av.VideoFrame(32, 32, name))


@pytest.mark.parametrize("size", [(33, 32), (32, 33)])
def test_odd_sides_are_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ShapeError, match="even"):
        planes_of(av.VideoFrame(*size, "yuv420p"))


def test_chroma_must_be_half() -> None:
    small = np.zeros((4, 4), np.uint8)
    with pytest.raises(ShapeError, match="chroma"):
        YuvPlanes(np.zeros((8, 8), np.uint8), small, small[:3])
    with pytest.raises(ShapeError, match="chroma"):
        YuvPlanes(np.zeros((8, 8), np.uint8), small[:3], small)


def test_detections_check_their_shapes() -> None:
    box, marks, score = np.ones((2, 4)), np.ones((2, 5, 2)), np.ones(2)
    wrong = [
        (box[:1], marks, score),
        (box, marks[:1], score),
        (box, marks[:, :4], score),
        (box.reshape(4, 2), marks, score),
    ]
    for parts in wrong:
        with pytest.raises(ShapeError):
            Detections(*(part.astype(np.float32) for part in parts))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_box_that_covers_nothing_does_not_go_on(bad: float) -> None:
    marks = np.full((1, 5, 2), np.nan, np.float32)
    good = np.array([[0, 0, 9, 9]], np.float32)
    broken = good.copy()
    broken[0, 2] = bad

    with pytest.raises(ShapeError, match="finite"):
        Detections(broken, marks, np.ones(1, np.float32))
    with pytest.raises(ShapeError, match="finite"):
        Detections(good, marks, np.array([bad], np.float32))
    with pytest.raises(ShapeError, match="finite"):
        FaceBox(1, broken[0], 0.0)
    assert len(Detections(good, marks, np.ones(1, np.float32))) == 1  # landmarks may be unknown


def test_a_face_box_has_four_numbers() -> None:
    with pytest.raises(ShapeError):
        FaceBox(1, np.zeros(3, np.float32), 0.0)


def test_taken_and_joined_rows_stay_together() -> None:
    found = Detections(
        np.arange(12, dtype=np.float32).reshape(3, 4),
        np.arange(30, dtype=np.float32).reshape(3, 5, 2),
        np.array([0.1, 0.2, 0.3], np.float32),
    )

    taken = found.take(np.array([2, 0]))

    assert taken.score.tolist() == pytest.approx([0.3, 0.1])
    assert taken.box_xyxy_px[:, 0].tolist() == [8, 0]
    assert taken.landmark_px[:, 0, 0].tolist() == [20, 0]
    assert len(found.take(found.score > 0.9)) == 0
    assert len(Detections.empty()) == 0

    joined = Detections.joined([taken, Detections.empty(), found])
    assert joined.score.tolist() == pytest.approx([0.3, 0.1, 0.1, 0.2, 0.3])
    assert joined.box_xyxy_px[:, 0].tolist() == [8, 0, 0, 4, 8]
    assert joined.landmark_px[:, 0, 0].tolist() == [20, 0, 0, 10, 20]
    assert len(Detections.joined([])) == len(Detections.joined([Detections.empty()])) == 0


@pytest.mark.parametrize("origin", [(1, 0), (0, 3), (-2, 0), (0, -2)])
def test_a_patch_starts_at_even_pixels_inside(origin: tuple[int, int]) -> None:
    with pytest.raises(ShapeError, match="origin"):
        patch(*origin)


def test_a_patch_has_a_weight_for_every_pixel() -> None:
    with pytest.raises(ShapeError, match="alpha"):
        patch(alpha=(8, 6))
    assert patch(4, 6).alpha.shape == (8, 8)


def test_no_representation_holds_pixels() -> None:
    """Whatever is logged with %s or %r, or lands in an assertion of ours, shows no picture."""
    image = av.VideoFrame(16, 16, "yuv420p")
    values = [
        planes_of(image),
        RawFrame(image, 0, 0, Fraction(1, 25), 0),
        patch(),
        FaceBox(1, np.zeros(4, np.float32), 0.0),
        EncodedPacket("video", b"\x00\x00secret", 0, 0, 1, Fraction(1, 25), True),
    ]
    for value in values:
        shown = f"{value!r}{value!s}"
        for telling in ("array", "VideoFrame", "secret", "[["):
            assert telling not in shown, f"{type(value).__name__} shows {telling}"


def test_time_is_pts_times_time_base() -> None:
    frame = RawFrame(av.VideoFrame(2, 2, "yuv420p"), 0, 45_000, Fraction(1, 90_000), 0)
    assert frame.pts_seconds == 0.5
