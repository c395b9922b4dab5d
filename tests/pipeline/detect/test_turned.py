from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from pipeline.detect.turned import FRONTAL_XY, MOST_MOVED, with_turned_faces
from pipeline.frames import Detections, FloatArray

numbers = st.floats(-3000, 3000, width=32)
marks = arrays.arrays(np.float32, (3, 5, 2), elements=st.one_of(numbers, st.just(float("nan"))))
corners = arrays.arrays(np.float32, (3, 2), elements=numbers)
sizes = arrays.arrays(np.float32, (3, 2), elements=st.floats(0, 900, width=32))


def one(box: tuple[float, ...], middle: tuple[float, float]) -> Detections:
    """A face whose landmarks are all in one place, given in shares of the box."""
    x1, y1, x2, y2 = box
    at = [x1 + middle[0] * (x2 - x1), y1 + middle[1] * (y2 - y1)]
    landmark = np.tile(np.array(at, np.float32), (1, 5, 1))
    return Detections(np.array([box], np.float32), landmark, np.ones(1, np.float32))


def widened(middle: tuple[float, float]) -> FloatArray:
    box: FloatArray = with_turned_faces(one((100, 100, 140, 150), middle)).box_xyxy_px[0]
    return box


@given(corners, sizes, marks)
def test_nothing_of_a_box_is_given_up(
    corner: FloatArray, size: FloatArray, landmark: FloatArray
) -> None:
    box = np.concatenate([corner, corner + size], axis=1)
    found = Detections(box, landmark, np.ones(3, np.float32))

    after = with_turned_faces(found).box_xyxy_px

    assert after.dtype == np.float32 and np.isfinite(after).all()
    assert (after[:, :2] <= box[:, :2]).all() and (after[:, 2:] >= box[:, 2:]).all()
    grown = (after[:, 2:] - after[:, :2]) - (box[:, 2:] - box[:, :2])
    assert (grown <= MOST_MOVED * (box[:, 2:] - box[:, :2]) + 0.01).all()  # on one side of two


def test_a_frontal_face_keeps_its_box() -> None:
    np.testing.assert_allclose(widened(FRONTAL_XY), [100, 100, 140, 150], atol=1e-3)


@pytest.mark.parametrize(
    ("middle", "box"),
    [
        ((0.82, 0.565), [100, 100, 152, 150]),  # looks to the right: 0.3 of 40
        ((0.22, 0.565), [88, 100, 140, 150]),
        ((0.52, 0.765), [100, 100, 140, 160]),  # bowed: 0.2 of 50
        ((0.52, 0.365), [100, 90, 140, 150]),
        ((9.0, -9.0), [100, 75, 160, 150]),  # landmarks that are nowhere near: half a side at most
    ],
)
def test_a_turned_one_is_covered_where_it_looks_to(
    middle: tuple[float, float], box: list[float]
) -> None:
    np.testing.assert_allclose(widened(middle), box, atol=1e-3)


def test_without_landmarks_a_box_stays() -> None:
    assert widened((float("nan"), float("nan"))).tolist() == [100, 100, 140, 150]


def test_nobody_found() -> None:
    assert len(with_turned_faces(Detections.empty())) == 0
