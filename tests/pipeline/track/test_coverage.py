"""What is covered, and who is somebody: boxes on known paths, strong and weak."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.frames import NOBODY, Detections, FaceBox
from pipeline.track.coverage import Coverage
from pipeline.track.tracker import Tracker

SURE, FAIR, WEAK = 0.9, 0.3, 0.15
PERSON_SCORE, SURE_SCORE = 0.2, 0.5
HOLD, BACK = 10, 4

Square = tuple[float, float]  # x, score


def coverage() -> Coverage:
    return Coverage(
        person_score=PERSON_SCORE, sure_score=SURE_SCORE, hold_frames=HOLD, back_frames=BACK
    )


def found(*squares: Square, side: float = 40) -> Detections:
    count = len(squares)
    boxes = [(x, 100.0, x + side, 100.0 + side) for x, _ in squares]
    return Detections(
        np.array(boxes, np.float32).reshape(count, 4),
        np.full((count, 5, 2), np.nan, np.float32),
        np.array([score for _, score in squares], np.float32),
    )


def x_and_number(boxes: list[FaceBox]) -> list[tuple[float, int]]:
    return [(round(float(box.box_xyxy_px[0]), 3), box.track_id) for box in boxes]


def test_a_weak_box_is_covered_before_and_after_and_is_nobody() -> None:
    faces = coverage()
    faces.update(found(), 0)
    faces.update(found((100, WEAK)), 8)
    faces.update(found(), 12)
    faces.update(found(), 16)

    boxes = {index: faces.boxes_at(index) for index in range(17)}
    covered = [index for index, there in boxes.items() if there]
    assert covered == list(range(8 - BACK, 8 + BACK + 2))
    assert all(
        not box.is_somebody and not box.is_found for there in boxes.values() for box in there
    )
    assert faces.live_count == 0
    assert faces.next_id == 1  # no number was used up


def test_a_weak_box_that_moves_is_followed() -> None:
    faces = coverage()
    faces.update(found((100, WEAK)), 0)
    faces.update(found((112, WEAK)), 4)
    assert x_and_number(faces.boxes_at(2)) == [(106, NOBODY)]


def test_who_is_found_well_is_somebody_from_there_on() -> None:
    """Until then the weak box is followed to where the stronger one is."""
    faces = coverage()
    faces.update(found((100, WEAK)), 0)
    faces.update(found((112, FAIR)), 4)
    faces.update(found((124, FAIR)), 8)

    assert (106, NOBODY) in x_and_number(faces.boxes_at(2))
    assert x_and_number(faces.boxes_at(6)) == [(118, 1)]
    assert faces.live_count == 1


def test_who_is_found_weakly_for_a_while_keeps_the_number() -> None:
    faces = coverage()
    for look, score in enumerate((SURE, SURE, WEAK, SURE)):
        faces.update(found((100 + 12 * look, score)), 4 * look)

    for index in range(13):
        there = faces.boxes_at(index)
        assert {box.track_id for box in there if box.is_somebody} == {1}
        assert any(float(box.box_xyxy_px[0]) == pytest.approx(100 + 3 * index) for box in there)


def test_a_phantom_beside_a_face_puts_nobody_in_doubt() -> None:
    """As close as another face would have to be for the number to be closed."""
    faces = coverage()
    for look in range(8):
        x = 100 + 20 * look
        weak = [(x + (-1) ** look * 30, WEAK)]
        faces.update(found((x, SURE), *weak), 4 * look)
    numbers = {box.track_id for i in range(29) for box in faces.boxes_at(i) if box.is_somebody}
    assert numbers == {1}


def test_a_weak_box_inside_a_face_is_covered_with_it() -> None:
    faces = coverage()
    inside = found((112, WEAK), side=14)
    faces.update(Detections.joined((found((100, SURE)), inside)), 0)
    assert x_and_number(faces.boxes_at(0)) == [(100, 1)]


def test_a_weak_box_is_not_held() -> None:
    faces = coverage()
    faces.update(found((100, WEAK)), 0)
    faces.update(found((100, FAIR)), 4)
    for index in range(8, 24, 4):
        faces.update(found(), index)
    assert not faces.boxes_at(4 + BACK + 2)


def test_no_box_goes_over_a_cut_as_somebody_known() -> None:
    faces = coverage()
    faces.update(found((100, SURE), (300, WEAK)), 0)
    faces.cut(4)
    faces.update(found((100, SURE)), 4)
    assert 1 not in {box.track_id for box in faces.boxes_at(4)}


def test_stillness_repeats_weak_boxes_too() -> None:
    faces = coverage()
    faces.update(found((100, WEAK)), 0)
    for index in range(4, 40, 4):
        faces.repeat(index)
    assert x_and_number(faces.boxes_at(30)) == [(100, NOBODY)]
    faces.forget_before(30)
    assert x_and_number(faces.boxes_at(30)) == [(100, NOBODY)]


LOOKS = st.lists(
    st.lists(st.tuples(st.floats(0, 600), st.sampled_from([SURE, FAIR, WEAK])), max_size=4),
    min_size=1,
    max_size=6,
)


@settings(max_examples=200)
@given(LOOKS)
def test_weak_boxes_change_nothing_for_people_and_all_is_covered(looks: list[list[Square]]) -> None:
    """Their numbers and places are those that they would have without."""
    faces = coverage()
    alone = Tracker(sure_score=SURE_SCORE, hold_frames=HOLD, back_frames=BACK)
    for look, squares in enumerate(looks):
        faces.update(found(*squares), 4 * look)
        alone.update(found(*(each for each in squares if each[1] >= PERSON_SCORE)), 4 * look)

    for index in range(4 * len(looks) - 3):
        there = faces.boxes_at(index)
        people = [box for box in there if box.is_somebody]
        assert x_and_number(people) == x_and_number(alone.boxes_at(index))
    for look, squares in enumerate(looks):
        there = faces.boxes_at(4 * look)
        for x, _ in squares:
            assert any(abs(float(box.box_xyxy_px[0]) - x) <= 0.21 * 40 for box in there)


@settings(max_examples=50)
@given(LOOKS, st.integers(0, 20))
def test_forgetting_what_went_out_changes_nothing(looks: list[list[Square]], until: int) -> None:
    def boxes(*, forget: bool) -> Mapping[int, list[tuple[float, int]]]:
        faces = coverage()
        for look, squares in enumerate(looks):
            faces.update(found(*squares), 4 * look)
        last = 4 * (len(looks) - 1)
        begin = min(until, last)
        if forget:
            faces.forget_before(begin)
        return {index: x_and_number(faces.boxes_at(index)) for index in range(begin, last + 1)}

    assert boxes(forget=True) == boxes(forget=False)
