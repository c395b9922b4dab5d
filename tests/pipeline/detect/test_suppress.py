import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.suppress import iou, suppress
from pipeline.frames import FloatArray


def boxes(*rows: tuple[float, float, float, float]) -> FloatArray:
    return np.array(rows, np.float32).reshape(-1, 4)


def test_overlap_of_known_boxes() -> None:
    a = boxes((0, 0, 10, 10))
    b = boxes((0, 0, 10, 10), (5, 0, 15, 10), (10, 0, 20, 10), (2, 2, 4, 4), (3, 3, 3, 3))
    np.testing.assert_allclose(iou(a, b), [[1, 50 / 150, 0, 4 / 100, 0]], atol=1e-6)
    assert iou(boxes(), b).shape == (0, 5)


def test_of_two_boxes_on_one_face_the_surer_stays() -> None:
    found = boxes((0, 0, 10, 10), (1, 0, 11, 10), (100, 0, 110, 10))
    assert suppress(found, np.array([0.5, 0.9, 0.4], np.float32)).tolist() == [1, 2]


def test_a_suppressed_box_suppresses_nobody() -> None:
    found = boxes((0, 0, 10, 10), (6, 0, 16, 10), (12, 0, 22, 10))
    score = np.array([0.9, 0.8, 0.7], np.float32)
    assert suppress(found, score, limit=0.2).tolist() == [0, 2]


def test_nothing_stays_nothing() -> None:
    assert suppress(boxes(), np.zeros(0, np.float32)).tolist() == []


corner = st.floats(0, 100, width=32)
random_boxes = st.lists(
    st.tuples(corner, corner, st.floats(1, 50, width=32), st.floats(1, 50, width=32)), max_size=12
).map(lambda rows: boxes(*((x, y, x + w, y + h) for x, y, w, h in rows)))


@given(random_boxes)
def test_kept_boxes_are_apart_and_every_lost_one_has_a_surer_neighbour(
    found: FloatArray,
) -> None:
    """No face is lost: whatever goes is covered by a box that stays."""
    score = np.linspace(0.9, 0.1, len(found)).astype(np.float32)
    kept = suppress(found, score).tolist()
    overlap = iou(found, found)

    assert kept == sorted(kept)  # scores fall with the index here
    for index in range(len(found)):
        near = [k for k in kept if k != index and overlap[index, k] > 0.3]
        if index in kept:
            assert not near
        else:
            assert any(score[k] >= score[index] for k in near)
