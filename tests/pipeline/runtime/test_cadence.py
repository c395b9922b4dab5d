import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.cadence import Cadence


def test_due_at_once_and_then_by_the_streams_clock() -> None:
    cadence = Cadence(2.0)
    times = [5.0 + n / 25 for n in range(150)]
    assert [t for t in times if cadence.due(t)] == [5.0, 7.0, 9.0]


def test_a_stream_that_stands_still_is_due_when_it_goes_on() -> None:
    cadence = Cadence(1.0)
    assert [cadence.due(t) for t in (0.0, 0.5, 60.0, 60.5, 61.0)] == [
        True,
        False,
        True,
        False,
        True,
    ]


def test_what_happened_for_another_reason_counts() -> None:
    cadence = Cadence(1.0)
    cadence.restart(0.7)
    assert not cadence.due(1.6)
    assert cadence.due(1.7)


@given(st.lists(st.floats(0.001, 3.0), max_size=60), st.floats(0.05, 5.0))
def test_two_that_see_the_same_frames_agree(steps: list[float], every: float) -> None:
    one, other = Cadence(every), Cadence(every)
    now = 0.0
    last: float | None = None
    for step in steps:
        now += step
        due = one.due(now)
        assert due == other.due(now)
        if due:
            assert last is None or now - last >= every - 1e-5
            last = now
        else:
            assert last is not None and now - last < every


@pytest.mark.parametrize("fps", [24, 25, 30, 50])
def test_the_edge_is_not_missed_by_rounding(fps: int) -> None:
    cadence = Cadence(2.0)
    due = [n for n in range(10 * 2 * fps) if cadence.due(n * (1 / fps))]
    assert due == list(range(0, 10 * 2 * fps, 2 * fps))
