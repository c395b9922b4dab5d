import pytest

from pipeline.runtime.rate import Rate


def test_a_steady_stream_has_its_rate() -> None:
    clock = [0.0]
    rate = Rate(window_seconds=3.0, monotonic=lambda: clock[0])
    for index in range(200):
        clock[0] = index / 25
        rate.tick()
    assert rate.per_second() == pytest.approx(25.0)


def test_a_stream_that_stops_has_none() -> None:
    clock = [0.0]
    rate = Rate(window_seconds=3.0, monotonic=lambda: clock[0])
    for index in range(50):
        clock[0] = index / 25
        rate.tick()

    clock[0] += 1.0
    assert 0 < rate.per_second() < 25
    clock[0] += 3.0
    assert rate.per_second() == 0.0


def test_one_event_is_no_rate() -> None:
    rate = Rate(monotonic=lambda: 5.0)
    assert rate.per_second() == 0.0
    rate.tick()
    assert rate.per_second() == 0.0
    rate.tick()
    assert rate.per_second() > 0  # and no division by zero
