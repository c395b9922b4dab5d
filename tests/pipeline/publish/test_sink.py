"""A sink with a writer that does as it is told; pauses are waited for, never measured."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from fractions import Fraction

import pytest

from pipeline.errors import SinkError
from pipeline.frames import EncodedPacket
from pipeline.publish import sink as module
from pipeline.publish.sink import Sink, SinkState
from pipeline.streams import StreamTemplates

Made = tuple[StreamTemplates, list[EncodedPacket]]
PATIENCE_SECONDS = 30.0
GOP = 10


def video(index: int, size: int = 100) -> EncodedPacket:
    return EncodedPacket(
        "video", bytes(size), index, index, 1, Fraction(1, 25), index % GOP == 0, captured_ns=1
    )


def audio(index: int) -> EncodedPacket:
    return EncodedPacket("audio", b"a", index, index, 1, Fraction(1, 25), True)


class FakeWriter:
    """Remembers what was written; `hold` stops it, `fail` breaks it."""

    def __init__(self) -> None:
        self.got: list[EncodedPacket] = []
        self.hold = threading.Event()
        self.hold.set()
        self.fail: Exception | None = None
        self.closed = 0
        self.fail_close: Exception | None = None

    def write(self, packet: EncodedPacket) -> None:
        assert self.hold.wait(PATIENCE_SECONDS)
        if self.fail is not None:
            raise self.fail
        self.got.append(packet)

    def close(self) -> None:
        self.closed += 1
        if self.fail_close is not None:
            raise self.fail_close

    @property
    def times(self) -> list[int]:
        return [packet.pts for packet in self.got if packet.kind == "video"]


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.005)


class Bench:
    """A sink whose writers are lined up."""

    def __init__(self, templates: StreamTemplates, *, live: bool, writers: int = 4) -> None:
        self.writers = [FakeWriter() for _ in range(writers)]
        self.opened = 0
        self.refuse = 0
        self.sink = Sink("lobby out", self._open, live=live)
        self._templates = templates

    def _open(self, templates: StreamTemplates) -> FakeWriter:
        assert templates is self._templates
        if self.refuse:
            self.refuse -= 1
            raise SinkError("the server is not there")
        self.opened += 1
        return self.writers[self.opened - 1]

    def start(self) -> Bench:
        self.sink.start(self._templates)
        return self

    def offer(self, *indices: int, size: int = 100) -> None:
        for index in indices:
            self.sink.offer(video(index, size))


@pytest.fixture
def bench(stream: Made, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bench]]:
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.05)
    monkeypatch.setattr(module, "LONGEST_PAUSE_SECONDS", 0.1)
    made: list[Bench] = []

    def make(*, live: bool, started: bool = True) -> Bench:
        one = Bench(stream[0], live=live)
        made.append(one)
        return one.start() if started else one

    yield make
    for one in made:
        for writer in one.writers:
            writer.hold.set()
        one.sink.close()


@pytest.mark.parametrize("live", [True, False])
def test_packets_are_written_in_order_and_the_writer_is_closed(
    bench: Callable[..., Bench], live: bool
) -> None:
    one = bench(live=live)
    states = [one.sink.state]
    one.offer(*range(30))
    until(lambda: one.sink.written == 30)
    states.append(one.sink.state)

    one.sink.close()

    assert [*states, one.sink.state] == [SinkState.WAITING, SinkState.UP, SinkState.CLOSED]

    assert one.writers[0].times == list(range(30))
    assert one.writers[0].closed == 1
    assert (one.opened, one.sink.dropped, one.sink.error) == (1, 0, None)


def test_closing_writes_what_is_queued_and_takes_no_more(bench: Callable[..., Bench]) -> None:
    one = bench(live=True)
    one.writers[0].hold.clear()
    one.offer(*range(20))
    threading.Timer(0.05, one.writers[0].hold.set).start()
    one.sink.close()
    one.sink.close()
    one.offer(20)
    assert one.writers[0].times == list(range(20))
    assert one.writers[0].closed == 1


@pytest.mark.parametrize("live", [True, False])
def test_closing_a_sink_that_never_started(bench: Callable[..., Bench], live: bool) -> None:
    one = bench(live=live, started=False)
    one.sink.close()
    one.sink.close()
    assert (one.sink.state, one.opened) == (SinkState.CLOSED, 0)


def test_closing_gives_up_on_a_writer_that_hangs(
    bench: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    one = bench(live=True)
    one.writers[0].hold.clear()
    one.offer(0)
    one.sink.close(timeout_seconds=0.05)
    assert "did not close within 0.05 s" in caplog.text


# --- where a stream may begin ---


@pytest.mark.parametrize("live", [True, False])
def test_writing_begins_with_a_keyframe(bench: Callable[..., Bench], live: bool) -> None:
    one = bench(live=live)
    one.offer(*range(7, 25))
    one.sink.close()
    assert one.writers[0].times == list(range(10, 25))
    assert one.sink.dropped == 3


def test_without_a_keyframe_nothing_is_opened(bench: Callable[..., Bench]) -> None:
    one = bench(live=True)
    one.offer(1, 2, 3)
    one.sink.close()
    assert (one.opened, one.sink.dropped) == (0, 3)


def test_sound_from_before_the_first_picture_is_left_out(bench: Callable[..., Bench]) -> None:
    one = bench(live=True)
    for index in (7, 9, 10, 11):
        one.sink.offer(audio(index))
    one.offer(10, 11)
    one.sink.close()
    assert [(p.kind, p.pts) for p in one.writers[0].got] == [
        ("audio", 10),
        ("audio", 11),
        ("video", 10),
        ("video", 11),
    ]
    assert one.sink.dropped == 2


# --- too slow ---


def test_a_live_sink_that_is_slow_drops_to_the_next_keyframe(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEPTH_PACKETS", 12)
    one = bench(live=True)
    writer = one.writers[0]
    writer.hold.clear()
    one.offer(0)
    until(lambda: one.opened == 1 and not one.sink._queue)  # packet 0 is in the writer's hands
    one.offer(*range(1, 27))  # 1..12 fit, from 13 on there is no room

    writer.hold.set()
    until(lambda: one.sink.written == 13)
    one.offer(*range(27, 40))
    one.sink.close()

    # 13..29 are gone: 13..26 had no room, 27..29 could not be decoded without them
    assert writer.times == [*range(13), *range(30, 40)]
    assert one.sink.dropped == 17
    assert one.opened == 1


def test_a_live_sink_holds_a_bounded_number_of_bytes(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEPTH_BYTES", 5_000)
    one = bench(live=True)
    one.writers[0].hold.clear()
    one.offer(0)
    until(lambda: one.opened == 1 and not one.sink._queue)
    one.offer(*range(1, 200), size=1_000)
    assert sum(len(packet.data) for packet in one.sink._queue) <= 5_000 + 1_000
    assert one.sink.dropped >= 190
    one.writers[0].hold.set()


def test_offering_to_a_live_sink_never_waits(bench: Callable[..., Bench]) -> None:
    """One stuck destination must not hold the others: 5000 packets go in with nobody writing."""
    one = bench(live=True)
    one.writers[0].hold.clear()
    done = threading.Event()

    def offer_all() -> None:
        one.offer(*range(5_000))
        done.set()

    threading.Thread(target=offer_all, daemon=True).start()
    assert done.wait(PATIENCE_SECONDS)
    assert one.sink.dropped >= 5_000 - module.DEPTH_PACKETS - 1
    one.writers[0].hold.set()


def test_a_file_sink_makes_the_encoder_wait_and_loses_nothing(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEPTH_PACKETS", 5)
    one = bench(live=False)
    one.writers[0].hold.clear()
    feeder = threading.Thread(target=lambda: one.offer(*range(100)), daemon=True)
    feeder.start()
    until(lambda: len(one.sink._queue) == 5)
    assert feeder.is_alive()

    one.writers[0].hold.set()
    feeder.join(PATIENCE_SECONDS)
    one.sink.close()
    assert one.writers[0].times == list(range(100))
    assert one.sink.dropped == 0


# --- failures ---


def test_a_failed_live_sink_is_opened_again_and_starts_with_a_keyframe(
    bench: Callable[..., Bench], caplog: pytest.LogCaptureFixture
) -> None:
    one = bench(live=True)
    one.offer(*range(5))
    until(lambda: one.sink.written == 5)
    one.writers[0].fail = SinkError("lobby out: the connection ended")
    one.offer(5)
    until(lambda: one.sink.state is SinkState.DOWN)
    reasons = [one.sink.error]
    assert one.writers[0].closed == 1

    index = 6
    while one.opened < 2:
        one.offer(index)
        index += 1
        time.sleep(0.01)
        assert index < 3_000
    until(lambda: one.sink.state is SinkState.UP)
    one.offer(*range(index, index + 3))
    one.sink.close()

    second = one.writers[1].times
    assert second[0] % GOP == 0
    assert second == list(range(second[0], index + 3))
    assert [*reasons, one.sink.error] == ["lobby out: the connection ended", None]
    assert one.sink.dropped == second[0] - 6
    assert caplog.text.count("the connection ended") == 1


def test_a_server_that_is_not_there_is_tried_again(bench: Callable[..., Bench]) -> None:
    one = bench(live=True, started=False)
    one.refuse = 3
    one.start()
    index = 0
    while one.opened < 1:
        one.offer(index)
        index += 1
        time.sleep(0.005)
        assert index < 6_000
    until(lambda: one.sink.state is SinkState.UP)
    assert one.writers[0].times[0] % GOP == 0


def test_a_defect_in_a_live_writer_does_not_end_the_sink(bench: Callable[..., Bench]) -> None:
    one = bench(live=True)
    one.writers[0].fail = ZeroDivisionError("x")
    one.offer(0)
    until(lambda: one.sink.error == "lobby out: ZeroDivisionError")
    index = 1
    while one.opened < 2:
        one.offer(index)
        index += 1
        time.sleep(0.005)
        assert index < 6_000
    until(lambda: one.sink.error is None)


def test_while_a_live_sink_is_down_nothing_piles_up(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 600.0)
    one = bench(live=True)
    one.writers[0].fail = SinkError("gone")
    one.offer(0)
    until(lambda: one.sink.state is SinkState.DOWN)
    one.offer(*range(1, 3_000))
    until(lambda: len(one.sink._queue) == 0)
    assert one.sink.dropped >= 2_990
    one.sink.close()  # and closing does not wait for the pause
    assert not one.sink._thread.is_alive()


def test_a_file_sink_that_fails_says_so_to_the_encoder(bench: Callable[..., Bench]) -> None:
    one = bench(live=False)
    one.writers[0].fail = SinkError("out.mp4: the disk is full")
    one.offer(0)
    until(lambda: one.sink.error is not None)

    with pytest.raises(SinkError, match="the disk is full"):
        one.offer(1)
    one.sink.close()
    assert (one.opened, one.writers[0].closed) == (1, 1)
    assert one.sink.error == "out.mp4: the disk is full"


def test_a_file_sink_that_fails_wakes_an_encoder_that_waits(
    bench: Callable[..., Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DEPTH_PACKETS", 3)
    one = bench(live=False)
    writer = one.writers[0]
    writer.hold.clear()
    caught: list[Exception] = []

    def feed() -> None:
        try:
            one.offer(*range(50))
        except SinkError as error:
            caught.append(error)

    feeder = threading.Thread(target=feed, daemon=True)
    feeder.start()
    until(lambda: len(one.sink._queue) == 3)
    writer.fail = SinkError("the disk is full")
    writer.hold.set()
    feeder.join(PATIENCE_SECONDS)
    assert not feeder.is_alive()
    assert str(caught[0]) == "the disk is full"


def test_a_file_that_cannot_be_finished_is_an_error(bench: Callable[..., Bench]) -> None:
    one = bench(live=False)
    one.writers[0].fail_close = SinkError("out.mp4: the disk is full")
    one.offer(0)
    one.sink.close()
    assert one.sink.error == "out.mp4: the disk is full"
