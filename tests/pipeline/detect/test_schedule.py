"""Each rule of the schedule on its own; thumbnails are plain grey, `MOVED` differs in a corner."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.scene_change import SceneChange
from pipeline.detect.schedule import DetectionSchedule, Look
from pipeline.frames import U8Array
from pipeline.settings import ProtectSettings

STILL = np.full((135, 240), 100, np.uint8)
OTHER_SCENE = np.full((135, 240), 200, np.uint8)
FRAME = 1 / 25


def moved(step: int) -> U8Array:
    """A bright square that is somewhere else for every step."""
    thumb = STILL.copy()
    x = step * 7 % 220
    thumb[20:32, x : x + 12] = 180
    return thumb


def settings(**changes: object) -> ProtectSettings:
    return ProtectSettings.model_validate(
        {"detect_every": 4, "lookahead": 3, "longest_gap": 10.0, "gate_refresh": 2.0} | changes
    )


def decisions(
    schedule: DetectionSchedule, thumbs: list[U8Array], *, first: int = 0, step: float = FRAME
) -> list[Look]:
    return [schedule.decide(thumb, (first + n) * step) for n, thumb in enumerate(thumbs)]


def test_the_first_frame_is_looked_at() -> None:
    assert DetectionSchedule(settings()).decide(STILL, 0.0) is Look.DETECT


@pytest.mark.parametrize("every", [1, 2, 4])
def test_while_something_moves_every_nth_frame_is_looked_at(every: int) -> None:
    schedule = DetectionSchedule(settings(detect_every=every))
    looks = decisions(schedule, [moved(n) for n in range(17)])
    expected = [Look.DETECT if n % every == 0 else Look.BETWEEN for n in range(17)]
    assert looks == expected


def test_a_slow_camera_is_looked_at_after_the_longest_gap() -> None:
    schedule = DetectionSchedule(settings(longest_gap=0.24))
    # 5 frames a second: four frames would be 0.8 s, in which a face crosses the picture
    looks = decisions(schedule, [moved(n) for n in range(7)], step=0.2)
    assert looks == [Look.DETECT, Look.BETWEEN] * 3 + [Look.DETECT]
    slower = DetectionSchedule(settings(longest_gap=0.24))
    assert set(decisions(slower, [moved(n) for n in range(7)], step=1.0)) == {Look.DETECT}


def test_a_still_scene_keeps_its_last_answer() -> None:
    schedule = DetectionSchedule(settings())
    looks = decisions(schedule, [STILL] * 13)
    assert looks == [Look.DETECT] + ([Look.BETWEEN] * 3 + [Look.STILL]) * 3


def test_a_still_scene_is_refreshed() -> None:
    schedule = DetectionSchedule(settings(gate_refresh=1.0))
    looks = decisions(schedule, [STILL] * 60)
    seen = [n for n, look in enumerate(looks) if look is Look.DETECT]
    # the first frame that is due once a second has passed: 25 -> 28, 28 + 25 -> 56
    assert seen == [0, 28, 56]


def test_without_the_gate_stillness_saves_nothing() -> None:
    schedule = DetectionSchedule(settings(gate=False))
    looks = decisions(schedule, [STILL] * 9)
    assert [n for n, look in enumerate(looks) if look is Look.DETECT] == [0, 4, 8]
    assert Look.STILL not in looks


def test_motion_after_stillness_is_looked_at_at_once() -> None:
    schedule = DetectionSchedule(settings())
    assert decisions(schedule, [STILL] * 6)[4] is Look.STILL
    assert schedule.decide(moved(1), 6 * FRAME) is Look.DETECT  # not due before frame 8
    # from here on as usual
    looks = decisions(schedule, [moved(n) for n in range(2, 6)], first=7)
    assert looks == [Look.BETWEEN] * 3 + [Look.DETECT]


@pytest.mark.parametrize("change", [SceneChange.CUT, SceneChange.LIGHT])
def test_what_changes_at_once_is_looked_at_twice(change: SceneChange) -> None:
    """A flash blinds the network: the frame after it is the first that it can see in."""
    schedule = DetectionSchedule(settings())
    decisions(schedule, [moved(0), moved(1)])
    assert schedule.decide(OTHER_SCENE, 2 * FRAME, change) is Look.DETECT
    looks = decisions(schedule, [OTHER_SCENE] * 5, first=3)
    assert looks == [Look.DETECT] + [Look.BETWEEN] * 3 + [Look.STILL]


def test_a_camera_that_moves_is_looked_at_as_usual() -> None:
    schedule = DetectionSchedule(settings())
    looks = [schedule.decide(moved(n), n * FRAME, SceneChange.MOVE) for n in range(5)]
    assert looks == [Look.DETECT] + [Look.BETWEEN] * 3 + [Look.DETECT]


def test_after_a_failure_the_next_frame_is_looked_at_whatever_it_shows() -> None:
    schedule = DetectionSchedule(settings())
    decisions(schedule, [STILL] * 6)
    schedule.distrust()
    assert schedule.decide(STILL, 6 * FRAME) is Look.DETECT
    assert schedule.decide(STILL, 7 * FRAME) is Look.BETWEEN


def test_a_look_of_the_callers_own_counts() -> None:
    schedule = DetectionSchedule(settings())
    decisions(schedule, [moved(n) for n in range(3)])
    schedule.look_now(moved(2), 2 * FRAME)
    looks = decisions(schedule, [moved(n) for n in range(3, 7)], first=3)
    assert looks == [Look.BETWEEN] * 3 + [Look.DETECT]


@given(
    every=st.integers(1, 8),
    gap=st.floats(0.05, 2.0),
    refresh=st.floats(0.1, 3.0),
    steps=st.lists(st.sampled_from([0.01, 0.04, 0.2, 1.0]), min_size=1, max_size=80),
    scene=st.lists(st.integers(0, 3), min_size=80, max_size=80),
)
def test_no_frame_is_ever_far_from_an_answer(
    every: int, gap: float, refresh: float, steps: list[float], scene: list[int]
) -> None:
    """Whatever happens in the picture: an answer every n frames, a real look every refresh."""
    schedule = DetectionSchedule(
        settings(detect_every=every, lookahead=every, longest_gap=gap, gate_refresh=refresh)
    )
    seconds, since_answer, answered, looked = 0.0, 0, 0.0, 0.0
    for n, step in enumerate(steps):
        seconds += step
        look = schedule.decide(STILL if scene[n] else moved(n), seconds)
        since_answer += 1
        if n == 0:
            assert look is Look.DETECT
        if look is Look.BETWEEN:
            assert since_answer < every
            assert seconds - answered < gap
        else:
            assert look is Look.DETECT or seconds - looked < refresh
            since_answer, answered = 0, seconds
        if look is Look.DETECT:
            looked = seconds
