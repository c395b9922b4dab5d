"""Faces on known paths; `sure` is a score that is held after loss, `weak` one that is not."""

from __future__ import annotations

import copy
from collections.abc import Mapping

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.frames import Detections, FaceBox, FloatArray
from pipeline.track.tracker import MOST_SLACK, SLACK_PER_FRAME, Tracker

SURE, WEAK = 0.9, 0.3
HOLD, BACK = 10, 4


def tracker() -> Tracker:
    return Tracker(sure_score=0.5, hold_frames=HOLD, back_frames=BACK)


def found(*boxes: tuple[float, float, float, float], score: float = SURE) -> Detections:
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(count, 4),
        np.full((count, 5, 2), np.nan, np.float32),
        np.full(count, score, np.float32),
    )


def square(x: float, y: float = 100, side: float = 40) -> tuple[float, float, float, float]:
    return (x, y, x + side, y + side)


def x_of(boxes: list[FaceBox]) -> list[float]:
    return [float(box.box_xyxy_px[0]) for box in boxes]


# --- between, before and after observations ---


def test_between_two_looks_a_face_is_interpolated() -> None:
    faces = tracker()
    faces.update(found(square(100)), 0)
    faces.update(found((120, 108, 168, 156)), 4)

    boxes = [faces.boxes_at(index) for index in range(5)]

    assert [len(frame) for frame in boxes] == [1] * 5
    assert {frame[0].track_id for frame in boxes} == {1}
    np.testing.assert_allclose(
        [frame[0].box_xyxy_px for frame in boxes],
        [np.array([100, 100, 140, 140]) + np.array([20, 8, 28, 16]) * n / 4 for n in range(5)],
        rtol=1e-6,
    )
    slack = [frame[0].slack_px for frame in boxes]
    assert slack[0] == slack[4] == 0
    assert slack[2] == max(slack) > 0


def test_before_its_first_look_a_face_is_covered_backwards() -> None:
    """Seen at frame 8 for the first time: published from frame 8 - BACK on only covered."""
    faces = tracker()
    faces.update(found(), 0)
    faces.update(found(square(100)), 8)

    covered = [bool(faces.boxes_at(index)) for index in range(9)]
    assert covered == [False] * (8 - BACK) + [True] * (BACK + 1)
    (box,) = faces.boxes_at(8 - BACK)
    assert box.slack_px == pytest.approx(BACK * SLACK_PER_FRAME * 40)


def test_backwards_the_motion_is_carried_on() -> None:
    faces = tracker()
    faces.update(found(square(100)), 4)
    faces.update(found(square(120)), 8)
    assert x_of(faces.boxes_at(2)) == pytest.approx([90])


def test_a_lost_face_is_held_and_then_forgotten() -> None:
    faces = tracker()
    faces.update(found(square(100)), 0)
    for index in range(4, 40, 4):
        faces.update(found(), index)

    covered = [bool(faces.boxes_at(index)) for index in range(20)]
    assert covered == [True] * (HOLD + 1) + [False] * (20 - HOLD - 1)
    slack = [faces.boxes_at(index)[0].slack_px for index in range(HOLD + 1)]
    assert slack == sorted(slack)
    assert slack[-1] == pytest.approx(min(HOLD * SLACK_PER_FRAME, MOST_SLACK) * 40)


def test_a_face_is_seen_up_to_its_last_observation_and_then_held() -> None:
    """What is held is hidden, and no protector may take it for a face."""
    faces = tracker()
    faces.update(found(square(100)), 4)
    faces.update(found(square(104)), 8)
    faces.update(found(), 12)
    seen = [faces.boxes_at(index)[0].is_seen for index in range(13)]
    assert seen == [True] * 9 + [False] * 4
    led_in = [faces.boxes_at(index)[0].is_led_in for index in range(13)]
    assert led_in == [True] * 4 + [False] * 9


def test_a_lost_face_goes_on_as_it_went_and_slows_down() -> None:
    faces = tracker()
    faces.update(found(square(100)), 0)
    faces.update(found(square(140)), 4)  # 10 px a frame
    places = [x_of(faces.boxes_at(index))[0] for index in range(4, 15)]
    steps = np.diff(places)
    assert (steps > 0).all()
    assert steps[0] == pytest.approx(10)
    assert (np.diff(steps) < 0).all()


def test_a_shrinking_face_is_not_extrapolated_to_nothing() -> None:
    faces = tracker()
    faces.update(found(square(100, side=60)), 0)
    faces.update(found((112, 112, 148, 148)), 4)
    (box,) = faces.boxes_at(14)
    assert box.box_xyxy_px[2] - box.box_xyxy_px[0] == pytest.approx(36)


def test_a_face_that_comes_back_keeps_its_id() -> None:
    faces = tracker()
    faces.update(found(square(100)), 0)
    faces.update(found(), 4)
    faces.update(found(square(104)), 8)
    assert [box.track_id for box in faces.boxes_at(8)] == [1]
    assert len(faces.boxes_at(4)) == 1  # and was covered while it was not seen


# --- weak detections ---


def test_a_weak_detection_is_covered_but_not_held() -> None:
    faces = tracker()
    faces.update(found(square(100), score=WEAK), 8)
    for index in range(12, 40, 4):
        faces.update(found(), index)
    covered = [index for index in range(30) if faces.boxes_at(index)]
    assert covered == list(range(8 - BACK, 8 + BACK + 2))
    assert BACK + 1 < HOLD


def test_a_weak_detection_keeps_a_sure_track_alive() -> None:
    faces = tracker()
    faces.update(found(square(100)), 0)
    for index in (4, 8, 12):
        faces.update(found(square(100 + index), score=WEAK), index)
    faces.update(found(), 16)
    assert [box.track_id for box in faces.boxes_at(12)] == [1]
    assert faces.boxes_at(12 + HOLD)  # still held: it was sure once


def test_a_weak_box_that_fits_better_than_a_sure_one_makes_both_a_guess() -> None:
    faces = tracker()
    faces.update(found(square(100)), 0)
    both = Detections(
        np.array([square(101), square(110)], np.float32),
        np.full((2, 5, 2), np.nan, np.float32),
        np.array([WEAK, SURE], np.float32),
    )
    faces.update(both, 4)
    assert {i: float(box[0]) for i, box in observed(faces, 4).items()} == {2: 101, 3: 110}
    assert sorted(x_of(faces.boxes_at(4))) == [100, 101, 110]  # and all are covered


def test_a_weak_box_beside_a_sure_face_is_not_its_own() -> None:
    """Half hidden faces come out beside those who hide them, and are found weakly."""
    faces = tracker()
    for look in range(4):
        faces.update(found(square(100)), look * 4)
    faces.update(found(square(122), score=WEAK), 16)
    assert set(observed(faces, 16)) == {2}
    assert set(x_of(faces.boxes_at(16))) == {100, 122}


@given(
    st.lists(
        st.lists(
            st.tuples(
                st.floats(0, 1800), st.floats(0, 1000), st.floats(8, 300), st.floats(0.05, 1)
            ),
            max_size=6,
        ),
        min_size=1,
        max_size=8,
    )
)
@settings(max_examples=60)
def test_every_detection_is_covered_in_its_own_frame(
    answers: list[list[tuple[float, float, float, float]]],
) -> None:
    """Confirmed or not, matched or not, in doubt or not."""
    faces = tracker()
    for look, answer in enumerate(answers):
        rows = np.array([square(x, y, side) for x, y, side, _ in answer], np.float32)
        detections = Detections(
            rows.reshape(-1, 4),
            np.full((len(answer), 5, 2), np.nan, np.float32),
            np.array([score for *_, score in answer], np.float32),
        )
        faces.update(detections, look * 4)
        boxes = [box.box_xyxy_px for box in faces.boxes_at(look * 4)]
        for row in detections.box_xyxy_px:
            assert any(np.allclose(row, box, atol=1e-2) for box in boxes)
        assert faces.live_count == len(answer)


# --- doubt ---


def observed(faces: Tracker, index: int) -> dict[int, FloatArray]:
    """Track id to box of the tracks that the answer for `index` was given to."""
    return {
        track.track_id: track.last.box_xyxy_px
        for track in faces._tracks
        if track.last.index == index
    }


def test_two_tracks_that_fit_a_box_alike_start_a_new_id() -> None:
    faces = tracker()
    faces.update(found(square(100), square(130)), 0)
    faces.update(found(square(115)), 4)  # as near to one as to the other

    assert set(observed(faces, 4)) == {3}
    assert {box.track_id for box in faces.boxes_at(4)} == {1, 2, 3}  # all three stay covered


@settings(max_examples=150)
@given(
    side=st.floats(20, 200),
    step=st.floats(0.02, 0.25),
    phase=st.floats(0, 1),
    apart=st.floats(0, 0.6),
    every=st.integers(1, 8),
)
def test_two_people_who_cross_never_swap_ids(
    side: float, step: float, phase: float, apart: float, every: int
) -> None:
    """Towards each other and past, at up to a quarter of a face from look to look."""
    faces = tracker()
    looks = 30
    who: dict[int, set[str]] = {}
    for look in range(looks):
        way = (look - looks / 2 + phase) * step * side
        people = {"A": square(600 + way, 300, side)}
        people["B"] = square(600 - way, 300 + apart * side, side)
        faces.update(found(*people.values()), look * every)
        for track_id, box in observed(faces, look * every).items():
            near = {
                name for name, place in people.items() if np.allclose(box, place, atol=side * 1e-3)
            }
            if len(near) == 1:  # both at one place are nobody's proof
                who.setdefault(track_id, set()).update(near)

    assert [names for names in who.values() if len(names) > 1] == []


# --- stillness ---


def test_a_still_scene_repeats_its_answer() -> None:
    faces = tracker()
    faces.update(found(square(100), score=WEAK), 0)
    for index in range(4, 80, 4):
        faces.repeat(index)
    assert x_of(faces.boxes_at(76)) == [100]
    assert faces.boxes_at(76)[0].slack_px == 0
    assert faces.live_count == 1


def test_what_was_lost_before_is_not_repeated() -> None:
    faces = tracker()
    faces.update(found(square(100)), 0)
    faces.update(found(), 4)
    for index in range(8, 40, 4):
        faces.repeat(index)
    assert faces.boxes_at(HOLD)
    assert not faces.boxes_at(HOLD + 1)
    assert faces.live_count == 0


def test_there_must_be_an_answer_to_repeat() -> None:
    with pytest.raises(ValueError, match="no answer"):
        tracker().repeat(0)


# --- tracing ---


def test_a_traced_face_is_covered_where_it_was() -> None:
    faces = tracker()
    faces.update(found(), 0)
    (new,) = faces.update(found(square(200)), 4)
    new.lead_in([np.array(square(200 - 30 * step), np.float32) for step in (1, 2, 3)])

    assert [x_of(faces.boxes_at(index)) for index in (1, 2, 3, 4)] == [[110], [140], [170], [200]]
    assert faces.boxes_at(1)[0].slack_px == 0  # seen there, not guessed


def test_update_names_the_new_tracks_only() -> None:
    faces = tracker()
    assert [track.track_id for track in faces.update(found(square(100), square(400)), 0)] == [1, 2]
    again = faces.update(found(square(102), square(402), square(700)), 4)
    assert [track.track_id for track in again] == [3]


# --- forgetting ---


@settings(max_examples=60)
@given(
    looks=st.lists(
        st.lists(st.tuples(st.integers(0, 3), st.sampled_from([SURE, WEAK])), max_size=4),
        min_size=1,
        max_size=12,
    ),
    still=st.lists(st.booleans(), min_size=12, max_size=12),
    lag=st.integers(0, 6),
)
def test_forgetting_changes_no_frame_that_is_still_to_go_out(
    looks: list[list[tuple[int, float]]], still: list[bool], lag: int
) -> None:
    faces = tracker()
    for look, seen in enumerate(looks):
        index = look * 4
        if still[look] and look:
            faces.repeat(index)
        else:
            people = dict(seen)  # who is seen, each once
            detections = Detections(
                np.array(
                    [square(100 + 200 * who + 5 * look) for who in people], np.float32
                ).reshape(-1, 4),
                np.full((len(people), 5, 2), np.nan, np.float32),
                np.array(list(people.values()), np.float32),
            )
            faces.update(detections, index)
        remembers = copy.deepcopy(faces)
        gone = max(index - lag, 0)
        faces.forget_before(gone)
        for frame in range(gone, index + HOLD + 3):
            before = {box.track_id: box for box in remembers.boxes_at(frame)}
            after = {box.track_id: box for box in faces.boxes_at(frame)}
            assert set(before) == set(after), f"frame {frame}"
            for track_id, box in before.items():
                np.testing.assert_array_equal(box.box_xyxy_px, after[track_id].box_xyxy_px)
                assert box.slack_px == after[track_id].slack_px


def test_memory_does_not_grow() -> None:
    faces = tracker()
    for look in range(400):
        faces.update(found(square(100 + look % 50), square(900 - look % 37)), look * 4)
        faces.forget_before(look * 4 - 3)
    assert len(faces._tracks) <= 4
    assert all(len(track.seen) <= 4 for track in faces._tracks)
    assert len(faces._answers) <= 3


# --- cuts ---


def ids_at(faces: Tracker, index: int) -> set[int]:
    return {box.track_id for box in faces.boxes_at(index)}


def test_nobody_goes_on_over_a_cut() -> None:
    """The face after it is where the face before it was: another id, no line between them."""
    faces = tracker()
    faces.update(found(square(100)), 0)
    faces.update(found(square(110)), 7)
    faces.cut(8)
    faces.update(found(square(112)), 8)
    faces.update(found(square(120)), 9)
    faces.update(found(square(140)), 12)

    before = set.union(*(ids_at(faces, index) for index in range(8)))
    after = set.union(*(ids_at(faces, index) for index in range(8, 20)))
    assert before == {1}
    assert not before & after
    assert len(observed(faces, 12)) == 1  # after the cut it is one id again
    assert observed(faces, 12).keys() == {3}  # 2 is what covers in case it was no cut


def test_a_cut_that_was_none_uncovers_nobody() -> None:
    """A flash: the face is not found in it, and goes on as before."""
    faces = tracker()
    faces.update(found(square(100)), 0)
    faces.update(found(square(120)), 4)  # 5 px a frame
    faces.cut(6)
    faces.update(found(), 6)
    faces.update(found(square(135)), 7)
    faces.update(found(square(150)), 10)

    for index in range(4, 11):
        places = [box.box_xyxy_px[0] - box.slack_px for box in faces.boxes_at(index)]
        ends = [box.box_xyxy_px[2] + box.slack_px for box in faces.boxes_at(index)]
        x = 120 + (index - 4) * 5
        assert any(
            left <= x + 2 and right >= x + 38 for left, right in zip(places, ends, strict=True)
        ), f"frame {index}"
    assert not ids_at(faces, 5) & ids_at(faces, 6)


def test_what_was_before_a_cut_covers_for_a_few_frames_after_it_and_no_longer() -> None:
    faces = tracker()
    faces.update(found(square(100), square(300, side=60)), 0)
    faces.cut(3)
    faces.update(found(), 3)
    assert x_of(faces.boxes_at(2)) == x_of(faces.boxes_at(3)) == [100, 300]
    covered = [bool(faces.boxes_at(index)) for index in range(20)]
    assert covered == [True] * (3 + BACK + 1) + [False] * (20 - 3 - BACK - 1)


def test_a_face_after_a_cut_is_not_covered_before_it() -> None:
    faces = tracker()
    faces.update(found(), 0)
    faces.cut(6)
    faces.update(found(), 6)
    faces.update(found(square(100)), 8)
    assert [bool(faces.boxes_at(index)) for index in range(9)] == [False] * 6 + [True] * 3
    assert faces.scene_start == 6


def test_what_covers_over_a_cut_is_never_associated() -> None:
    faces = tracker()
    faces.update(found(square(100)), 0)
    faces.cut(4)
    faces.update(found(), 4)
    faces.update(found(square(100)), 5)
    assert set(observed(faces, 5)) == {3}
    with_second_cut = faces.boxes_at(5)
    faces.cut(6)
    faces.update(found(square(100)), 6)
    assert not {box.track_id for box in with_second_cut} & ids_at(faces, 6)


def test_a_second_cut_makes_nothing_cover_longer() -> None:
    """Lights that flicker must not drag a face's place through the whole clip."""
    faces = tracker()
    faces.update(found(square(100)), 0)
    for index in range(1, 30):
        faces.cut(index)
        faces.update(found(), index)
        faces.forget_before(index)
    assert not faces.boxes_at(29)
    assert faces._tracks == []


@given(cuts=st.lists(st.integers(1, 11), max_size=3, unique=True), lag=st.integers(0, 6))
def test_forgetting_changes_nothing_around_cuts(cuts: list[int], lag: int) -> None:
    faces = tracker()
    for look in range(12):
        index = look * 2
        if look in cuts:
            faces.cut(index)
        seen = [square(100 + 3 * index)] if look % 3 else []
        faces.update(found(*seen, square(400)), index)
        remembers = copy.deepcopy(faces)
        gone = max(index - lag, 0)
        faces.forget_before(gone)
        for frame in range(gone, index + 6):
            before = {box.track_id: box.box_xyxy_px.tolist() for box in remembers.boxes_at(frame)}
            after = {box.track_id: box.box_xyxy_px.tolist() for box in faces.boxes_at(frame)}
            assert before == after, f"frame {frame}"


# --- one face hides another ---


def owners(faces: Tracker, index: int, people: Mapping[str, tuple[float, ...]]) -> dict[int, str]:
    return {
        track_id: name
        for track_id, box in observed(faces, index).items()
        for name, place in people.items()
        if np.allclose(box, place, atol=0.01)
    }


@pytest.mark.parametrize("speed", [4, 8, 16, 24])  # px a look, of faces 40 px wide
@pytest.mark.parametrize("back", [False, True])  # who is hidden turns, or goes on
@pytest.mark.parametrize("missed", [None, 0, 1, 2])  # look after the meeting that misses A
def test_who_comes_out_of_hiding_gets_no_id_of_another(
    speed: int, back: bool, missed: int | None
) -> None:
    faces = tracker()
    who: dict[int, set[str]] = {}
    hidden_at: list[int] = []
    for look in range(24):
        way = (look - 10) * speed
        other = -way if way < 0 or not back else way
        people = {"A": square(600), "B": square(600 + other, 104)}
        index = look * 4
        seen = dict(people)
        if abs(other) < 20:
            del seen["B"]
            hidden_at.append(look)
        if missed is not None and look == 10 + missed:
            del seen["A"]
        faces.update(found(*seen.values()), index)
        for track_id, name in owners(faces, index, people).items():
            who.setdefault(track_id, set()).add(name)
        faces.forget_before(index - 3)
    assert hidden_at
    assert [names for names in who.values() if len(names) > 1] == []


def test_a_closed_id_goes_on_covering_as_long_as_it_would_have() -> None:
    faces = tracker()
    faces.update(found(square(100), square(130)), 0)
    faces.update(found(square(115)), 4)  # either of them
    for index in (8, 10):
        faces.update(found(), index)
    assert ids_at(faces, HOLD) == {1, 2, 3}
    assert ids_at(faces, HOLD + 1) == {3}


def test_people_who_stand_side_by_side_keep_their_ids() -> None:
    """Doubt has its price; a row of faces one face apart must not pay it."""
    faces = tracker()
    rng = np.random.default_rng(4)
    for look in range(20):
        places = [square(100 + 55 * n + rng.normal(0, 1.5), 100) for n in range(5)]
        faces.update(found(*places), look * 4)
    assert faces.next_id == 6


def test_a_face_that_is_missed_now_and_then_keeps_its_id() -> None:
    faces = tracker()
    for look in range(20):
        faces.update(found(*([square(100 + 4 * look)] if look % 4 else [])), look * 4)
    assert faces.next_id == 2


def test_ids_that_a_guess_was_about_never_come_back() -> None:
    """One box between two: either may have been hidden, so neither place tells who is who."""
    faces = tracker()
    for index in (0, 4, 8):
        faces.update(found(square(100), square(128)), index)
    faces.update(found(square(114)), 12)
    assert set(observed(faces, 12)) == {3}
    faces.update(found(square(100), square(128)), 16)
    assert set(observed(faces, 16)) == {4, 5}
    assert not [track for track in faces._tracks if track.is_lurking and track.track_id < 3]


def test_a_newcomer_may_be_as_quick_as_the_one_that_it_may_be() -> None:
    faces = tracker()
    for index in (0, 4, 8):
        faces.update(found(square(100 + 2 * index), square(128 + 2 * index)), index)
    (new,) = faces.update(found(square(114 + 24)), 12)
    assert new.stride == pytest.approx(2 / 40, rel=1e-3)
    np.testing.assert_allclose(new.drift_px, [2, 0, 2, 0], atol=1e-3)
    np.testing.assert_allclose(new.expect(16), square(138))  # whose motion it has is not known
    new.is_open = False
    assert new.expect(16)[0] == pytest.approx(146, abs=0.5)  # once it is lost, a guess will do


def test_a_fast_walker_who_is_missed_once_keeps_the_id() -> None:
    faces = tracker()
    for look in range(6):
        faces.update(found(*([square(100 + 64 * look)] if look != 3 else [])), look * 4)
    assert faces.next_id == 2


def test_a_face_that_stood_and_is_elsewhere_at_once_is_another() -> None:
    faces = tracker()
    for index in (0, 4, 8):
        faces.update(found(square(100)), index)
    faces.update(found(square(134)), 12)
    assert set(observed(faces, 12)) == {2}
    assert {box.track_id for box in faces.boxes_at(12)} == {1, 2}


def test_what_a_cut_has_ended_is_not_repeated_and_is_forgotten() -> None:
    faces = tracker()
    faces.update(found(square(100)), 0)
    faces.cut(4)
    faces.repeat(4)
    assert faces.live_count == 0
    assert [track.last.index for track in faces._tracks] == [0, 0]
    faces.forget_before(4)
    assert [track.track_id for track in faces._tracks] == [2]


def test_who_was_seen_once_and_missed_is_not_found_again_far_from_there() -> None:
    """A newcomer may be quick, and is looked for far around; but only at the next look."""
    quick, late = tracker(), tracker()
    for faces in (quick, late):
        faces.update(found(square(100)), 0)
    quick.update(found(square(160)), 4)
    late.update(found(), 4)
    late.update(found(square(160)), 8)
    assert set(observed(quick, 4)) == {1}
    assert set(observed(late, 8)) == {2}
