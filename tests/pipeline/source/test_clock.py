from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.source.clock import JUMP_SECONDS, OutputClock

TICKS = Fraction(1, 90_000)
FRAME = 3_600  # 25 frames a second

# what cameras send: nothing, the same again, a step back, a leap, or a proper next one
faults = st.one_of(
    st.none(),
    st.just("repeat"),
    st.integers(-200_000, 200_000).map(lambda step: ("step", step)),
    st.integers(-(10**10), 10**10).map(lambda stamp: ("at", stamp)),
    st.just(("step", FRAME)),
)


class Wall:
    def __init__(self) -> None:
        self.seconds = 1_000.0

    def __call__(self) -> float:
        return self.seconds


def clock(*, live: bool, wall: Wall | None = None, time_base: Fraction = TICKS) -> OutputClock:
    return OutputClock(live=live, time_base=time_base, fps=Fraction(25), monotonic=wall or Wall())


def stamps(kinds: list[object], first: int = 0) -> list[int | None]:
    """The source's pts for a list of faults."""
    made: list[int | None] = []
    now = first
    for kind in kinds:
        if kind is None:
            made.append(None)
            continue
        if isinstance(kind, tuple):
            now = kind[1] if kind[0] == "at" else now + kind[1]
        made.append(now)
    return made


@given(
    kinds=st.lists(faults, max_size=40),
    live=st.booleans(),
    walls=st.lists(st.sampled_from([0.0, 0.04, 1.0, 30.0]), min_size=40, max_size=40),
    lost=st.sets(st.integers(0, 39)),
    time_base=st.sampled_from([TICKS, Fraction(1, 1000), Fraction(1, 25), Fraction(1, 10**9)]),
)
def test_time_never_stands_still_or_goes_back(
    kinds: list[object],
    live: bool,
    walls: list[float],
    lost: set[int],
    time_base: Fraction,
) -> None:
    wall = Wall()
    output = clock(live=live, wall=wall, time_base=time_base)
    last = None
    for index, pts in enumerate(stamps(kinds)):
        wall.seconds += walls[index]
        if index in lost:
            output.reconnected()
        ticks = output.frame(pts, time_base)
        assert last is None or ticks > last
        last = ticks


@given(
    first=st.integers(-(10**6), 10**12),
    steps=st.lists(st.integers(90, 10**9), max_size=40),
)
def test_a_files_own_good_clock_is_untouched(first: int, steps: list[int]) -> None:
    """From any start, at any rate, with any gap."""
    output = clock(live=False)
    pts = first
    assert output.frame(pts, TICKS) == first
    for step in steps:
        pts += step
        assert output.frame(pts, TICKS) == pts
    assert output.mended == 0


@given(
    kinds=st.lists(faults, min_size=1, max_size=40),
    walls=st.lists(st.sampled_from([0.0, 0.04, 1.0, 30.0]), min_size=40, max_size=40),
)
def test_a_live_stream_never_leaps_further_than_time_has_passed(
    kinds: list[object], walls: list[float]
) -> None:
    """A camera that sets its clock by hours must not make a player wait for hours."""
    wall = Wall()
    output = clock(live=True, wall=wall)
    last = None
    for index, pts in enumerate(stamps(kinds)):
        wall.seconds += walls[index]
        ticks = output.frame(pts, TICKS)
        if last is not None:
            leap = (ticks - last) / 90_000
            assert leap <= max(walls[index], JUMP_SECONDS) + 0.05
        last = ticks


@pytest.mark.parametrize("at", [1, 2, 10])
@pytest.mark.parametrize("jump_seconds", [3_600, -3_600, 50_000])
def test_a_leap_of_the_cameras_clock_continues_by_the_wall_clock(
    at: int, jump_seconds: int
) -> None:
    wall = Wall()
    output = clock(live=True, wall=wall)
    out = []
    for index in range(20):
        wall.seconds += 0.04
        pts = index * FRAME + (jump_seconds * 90_000 if index >= at else 0)
        out.append(output.frame(pts, TICKS))
    assert out == pytest.approx([index * FRAME for index in range(20)], abs=2)


def test_a_live_stream_starts_at_zero_whatever_the_camera_says() -> None:
    output = clock(live=True)
    out = [output.frame(50_000 * 90_000 + index * FRAME, TICKS) for index in range(3)]
    assert out == [0, FRAME, 2 * FRAME]
    assert output.time_base == TICKS


def test_the_source_may_count_in_other_ticks() -> None:
    output = clock(live=True)
    out = [output.frame(index * 40, Fraction(1, 1000)) for index in range(3)]
    assert out == [0, FRAME, 2 * FRAME]


def test_after_a_reconnect_time_goes_on_where_the_wall_clock_is() -> None:
    wall = Wall()
    output = clock(live=True, wall=wall)
    for index in range(3):
        output.frame(index * FRAME, TICKS)
    wall.seconds += 12.0
    output.reconnected()

    out = [output.frame(777_000 + index * FRAME, TICKS) for index in range(3)]

    assert out == [2 * FRAME + 12 * 90_000 + index * FRAME for index in range(3)]


def test_a_reconnect_within_one_frame_is_one_frame_later() -> None:
    output = clock(live=True)
    output.frame(0, TICKS)
    output.reconnected()
    assert output.frame(0, TICKS) == FRAME


def test_another_rate_after_a_reconnect() -> None:
    output = clock(live=True)
    output.frame(0, TICKS)
    output.reconnected()
    output.set_rate(Fraction(10))
    assert output.frame(None, TICKS) == 9_000


def test_missing_stamps_are_filled_at_the_nominal_rate() -> None:
    for live in (True, False):
        output = clock(live=live)
        assert [output.frame(None, TICKS) for _ in range(4)] == [0, 3_600, 7_200, 10_800]
        assert output.mended == 4


def test_a_repeated_stamp_in_a_file_pushes_nothing_on() -> None:
    output = clock(live=False)
    out = [output.frame(pts, TICKS) for pts in (0, 3_600, 3_600, 7_200, 10_800)]
    assert out == [0, 3_600, 3_690, 7_200, 10_800]
    assert output.mended == 1


def test_a_file_whose_clock_starts_again_goes_on() -> None:
    output = clock(live=False)
    pts = [*range(0, 90_000, FRAME), *range(0, 90_000, FRAME)]
    assert [output.frame(stamp, TICKS) for stamp in pts] == [n * FRAME for n in range(50)]


def test_sound_follows_the_pictures_clock() -> None:
    output = clock(live=True)
    assert output.audio(0, Fraction(1, 48_000)) is None  # before any picture
    output.frame(90_000, TICKS)
    assert output.audio(48_000, Fraction(1, 48_000)) == 0
    assert output.audio(96_000, Fraction(1, 48_000)) == 90_000
    output.reconnected()
    assert output.audio(96_000, Fraction(1, 48_000)) is None
