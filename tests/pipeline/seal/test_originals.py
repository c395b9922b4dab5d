"""Originals wait for their frame, and no longer."""

from __future__ import annotations

from pipeline.frames import FrameOriginals
from pipeline.seal.originals import DEPTH, Originals


def of(number: int) -> FrameOriginals:
    return FrameOriginals(number, (), ())


def test_a_frame_is_taken_once() -> None:
    waiting = Originals()
    waiting.keep(of(3))
    assert waiting.take(3) == of(3)
    assert waiting.take(3) is None


def test_those_of_dropped_frames_go_with_the_next_that_came() -> None:
    waiting = Originals()
    for number in range(5):
        waiting.keep(of(number))
    assert waiting.take(3) == of(3)
    assert [waiting.take(number) for number in range(3)] == [None] * 3
    assert waiting.take(4) == of(4)


def test_no_more_wait_than_can_be_on_their_way() -> None:
    waiting = Originals()
    for number in range(DEPTH + 10):
        waiting.keep(of(number))
    assert waiting.take(9) is None
    assert waiting.take(10) == of(10)


def test_forgotten_is_forgotten() -> None:
    waiting = Originals()
    waiting.keep(of(1))
    waiting.forget()
    assert waiting.take(1) is None
