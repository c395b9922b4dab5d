"""What waits for the console: bounded, whole groups, and nobody waits for it."""

from __future__ import annotations

import io
import threading
import time

import pytest

from pipeline.review.lanes import LANE_BYTES, LANE_FRAGMENTS, Lanes
from pipeline.review.live.pieces import InitSegment
from pipeline.review.wire import (
    LARGEST_BYTES,
    Begin,
    Config,
    End,
    Message,
    Piece,
    Refusal,
    Status,
    read_messages,
)
from support.live import fragment

INIT = InitSegment(b"init", "avc1.42C01F", 1280, 720)
OTHER = InitSegment(b"other", "avc1.64001F", 640, 480)
KEY, DELTA = fragment("K"), fragment("p")


@pytest.fixture
def lanes() -> Lanes:
    """With a console at the other end that can be reached."""
    lanes = Lanes()
    lanes.connect()
    lanes.count()
    return lanes


def taken(lanes: Lanes) -> list[Message]:
    found = lanes.take(0)
    assert found is not None
    return list(read_messages(io.BytesIO(b"".join(found))))


def test_everything_comes_in_order(lanes: Lanes) -> None:
    lanes.begin("a", INIT)
    lanes.begin("b", OTHER)
    lanes.publish("a", KEY)
    lanes.publish("b", KEY)
    lanes.publish("a", DELTA)
    lanes.end("a", "over")
    lanes.say_status(Status(({"camera": "a"},)))
    lanes.say_status(Status(({"camera": "b"},)))
    lanes.say_config(Config(("a", "b")))
    assert taken(lanes) == [
        Config(("a", "b")),
        *(Begin("a", INIT), Piece("a", KEY), Piece("a", DELTA), End("a", "over")),
        *(Begin("b", OTHER), Piece("b", KEY)),
        Status(({"camera": "b"},)),
    ]
    assert taken(lanes) == []
    lanes.publish("b", DELTA)
    assert taken(lanes) == [Piece("b", DELTA)]


def test_a_full_lane_goes_on_at_the_next_keyframe(lanes: Lanes) -> None:
    lanes.begin("a", INIT)
    lanes.begin("b", INIT)
    assert lanes.publish("b", KEY) == 0
    lost = [lanes.publish("a", KEY if n % 20 == 0 else DELTA) for n in range(LANE_FRAGMENTS + 15)]
    # the one that finds it full takes all that wait along, and then each up to a keyframe
    assert lost == [0] * LANE_FRAGMENTS + [LANE_FRAGMENTS + 1] + [1] * 9 + [0] * 5
    found = taken(lanes)
    assert found == [
        *(Begin("a", INIT), Piece("a", KEY), *[Piece("a", DELTA)] * 4),
        *(Begin("b", INIT), Piece("b", KEY)),  # the other camera has lost nothing
    ]


def test_bytes_are_bounded_too(lanes: Lanes) -> None:
    lanes.begin("a", INIT)
    large = fragment("K", LANE_BYTES // 2)
    assert [lanes.publish("a", large) for _ in range(5)] == [0, 0, 2, 0, 2]
    assert taken(lanes) == [Begin("a", INIT), Piece("a", large)]


def test_a_frame_that_no_message_holds_is_dropped_with_its_group(lanes: Lanes) -> None:
    lanes.begin("a", INIT)
    lanes.publish("a", KEY)
    assert lanes.publish("a", fragment("p", LARGEST_BYTES)) == 2
    assert lanes.publish("a", DELTA) == 1
    assert lanes.publish("a", KEY) == 0
    assert taken(lanes) == [Begin("a", INIT), Piece("a", KEY)]


def test_a_new_stream_replaces_what_waits(lanes: Lanes) -> None:
    for _ in range(1000):  # a camera that flaps while the console hangs
        lanes.begin("a", INIT)
        lanes.publish("a", KEY)
        lanes.end("a", "over")
    lanes.begin("a", OTHER)
    lanes.publish("a", DELTA)  # of no group
    lanes.publish("a", KEY)
    assert taken(lanes) == [Begin("a", OTHER), Piece("a", KEY)]
    lanes.publish("a", KEY)
    lanes.refuse("a", "H.265")
    assert taken(lanes) == [Refusal("a", "H.265")]


def test_a_console_that_comes_later_is_told_what_is_so() -> None:
    lanes = Lanes()
    for camera in "abcd":
        lanes.begin(camera, INIT)
        lanes.publish(camera, KEY)
    lanes.end("b", "over")
    lanes.refuse("c", "H.265")
    lanes.keep_only(("a", "b", "c"))
    lanes.say_status(Status(()))
    lanes.connect()
    so = [Begin("a", INIT), End("b", "over"), Refusal("c", "H.265")]
    assert taken(lanes) == so
    assert lanes.publish("a", DELTA) == 0  # it was not there yet: nothing is lost
    assert lanes.publish("a", KEY) == 0
    lanes.disconnect()
    assert lanes.publish("a", KEY) == 0
    lanes.connect()
    assert taken(lanes) == so
    lanes.count()
    assert lanes.publish("a", DELTA) == 1
    assert lanes.publish("a", KEY) == 0
    assert taken(lanes) == [Piece("a", KEY)]


def test_the_sender_is_woken_and_sent_away(lanes: Lanes) -> None:
    found: list[list[bytes] | None] = []

    def send() -> None:
        while (batch := lanes.take(30)) is not None:
            found.append(batch)

    thread = threading.Thread(target=send)
    thread.start()
    lanes.begin("a", INIT)
    deadline = time.monotonic() + 10
    while not found and time.monotonic() < deadline:
        time.sleep(0.005)
    assert len(found) == 1
    lanes.interrupt()
    thread.join(10)
    assert not thread.is_alive()
    assert lanes.take(0) is None  # until somebody connects
