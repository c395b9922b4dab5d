from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.runtime.channel import Channel, ChannelClosed, Overflow

PATIENCE_SECONDS = 30.0


def in_thread(work: Callable[[], object]) -> tuple[threading.Thread, list[object]]:
    """Runs `work` beside the test; what it returned or raised is in the list."""
    outcome: list[object] = []

    def run() -> None:
        try:
            outcome.append(work())
        except Exception as error:
            outcome.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    return thread, outcome


def test_items_come_in_order() -> None:
    channel: Channel[int] = Channel(3, Overflow.BLOCK)
    for item in range(3):
        channel.send(item)
    assert [channel.receive() for _ in range(3)] == [0, 1, 2]
    assert channel.dropped == 0


@given(st.integers(1, 8), st.integers(0, 30))
def test_a_live_channel_keeps_the_newest_and_counts_the_rest(depth: int, items: int) -> None:
    channel: Channel[int] = Channel(depth, Overflow.DROP_OLDEST)
    for item in range(items):
        channel.send(item)
        assert len(channel) <= depth

    assert channel.dropped == max(items - depth, 0)
    left = [channel.receive() for _ in range(len(channel))]
    assert left == list(range(items))[-depth:]


def test_a_blocking_channel_never_loses() -> None:
    channel: Channel[int] = Channel(2, Overflow.BLOCK)

    def send_all() -> None:
        for item in range(200):
            channel.send(item)
        channel.close()

    sender, outcome = in_thread(send_all)
    got = []
    try:
        while True:
            assert len(channel) <= 2
            got.append(channel.receive(PATIENCE_SECONDS))
    except ChannelClosed:
        pass
    sender.join(PATIENCE_SECONDS)
    assert got == list(range(200))
    assert (outcome, channel.dropped) == ([None], 0)


@pytest.mark.parametrize("end", ["close", "abort"])
def test_ending_wakes_a_sender_that_waits(end: str) -> None:
    channel: Channel[int] = Channel(1, Overflow.BLOCK)
    channel.send(1)
    sender, outcome = in_thread(lambda: channel.send(2))

    getattr(channel, end)()

    sender.join(PATIENCE_SECONDS)
    assert not sender.is_alive()
    assert isinstance(outcome[0], ChannelClosed)


@pytest.mark.parametrize("end", ["close", "abort"])
def test_ending_wakes_a_receiver_that_waits(end: str) -> None:
    channel: Channel[int] = Channel(1, Overflow.BLOCK)
    receiver, outcome = in_thread(channel.receive)

    getattr(channel, end)()

    receiver.join(PATIENCE_SECONDS)
    assert not receiver.is_alive()
    assert isinstance(outcome[0], ChannelClosed)


@pytest.mark.parametrize("overflow", list(Overflow))
def test_a_closed_channel_gives_what_it_holds_and_takes_nothing(overflow: Overflow) -> None:
    channel: Channel[int] = Channel(2, overflow)
    channel.send(1)
    channel.close()

    with pytest.raises(ChannelClosed):
        channel.send(2)
    assert channel.receive() == 1
    with pytest.raises(ChannelClosed):
        channel.receive()


@pytest.mark.parametrize("overflow", list(Overflow))
def test_an_aborted_channel_forgets_what_it_holds(overflow: Overflow) -> None:
    """Originals do not outlive their use."""
    channel: Channel[object] = Channel(2, overflow)
    channel.send(object())
    channel.abort()

    assert len(channel) == 0
    with pytest.raises(ChannelClosed):
        channel.receive()
    with pytest.raises(ChannelClosed):
        channel.send(object())


def test_waiting_can_be_bounded() -> None:
    channel: Channel[int] = Channel(1, Overflow.BLOCK)
    with pytest.raises(TimeoutError):
        channel.receive(0.01)
    channel.send(5)
    assert channel.receive(0.0) == 5


@pytest.mark.parametrize("depth", [0, -1])
def test_a_channel_holds_something(depth: int) -> None:
    with pytest.raises(ValueError, match=f"got {depth}"):
        Channel(depth, Overflow.BLOCK)
