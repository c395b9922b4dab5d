import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.settings import ReconnectSettings
from pipeline.source.backoff import Backoff


@given(
    first=st.floats(0.01, 10),
    longest=st.floats(0.01, 600),
    seed=st.integers(),
    rounds=st.integers(1, 60),
)
def test_pauses_are_bounded_on_both_sides(
    first: float, longest: float, seed: int, rounds: int
) -> None:
    settings = ReconnectSettings(first_pause=first, longest_pause=longest)
    backoff = Backoff(settings, rng=random.Random(seed))
    for failure in range(rounds):
        full = min(first * 2.0**failure, longest)
        assert full / 2 <= backoff.next_pause_seconds() <= full
    assert backoff.failures == rounds


def test_a_frame_makes_the_next_pause_short_again() -> None:
    backoff = Backoff(ReconnectSettings(first_pause=1.0, longest_pause=100.0))
    for _ in range(10):
        backoff.next_pause_seconds()
    backoff.succeeded()
    assert backoff.next_pause_seconds() <= 1.0


def test_years_of_failures_do_not_overflow() -> None:
    backoff = Backoff(ReconnectSettings())
    backoff.failures = 10**6
    assert backoff.next_pause_seconds() == pytest.approx(22.5, abs=7.5)


def test_two_cameras_are_not_in_step() -> None:
    one, other = (
        [backoff.next_pause_seconds() for _ in range(5)]
        for backoff in (Backoff(ReconnectSettings()), Backoff(ReconnectSettings()))
    )
    assert one != other
