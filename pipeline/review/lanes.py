"""What waits to be sent to the console: a bounded lane for each camera, and the newest facts."""

from __future__ import annotations

import threading
from collections.abc import Collection
from dataclasses import dataclass, field

from .live.pieces import Fragment, InitSegment
from .wire import LARGEST_BYTES, Begin, Config, End, Piece, Refusal, Status, pack

LANE_FRAGMENTS = 50  # 2 s at 25 frames a second: the console takes them at once, or it hangs
LANE_BYTES = 8_000_000
_ENVELOPE_BYTES = 300  # of a message, beside its fragment


@dataclass(slots=True)
class _Lane:
    """One camera's."""

    # what is so now, for a console that comes later
    stream: bytes | None = None  # how the stream began; None: there is none
    word: bytes | None = None  # then: why not
    needs_keyframe: bool = True
    # what is still to be sent, in this order
    begin: bytes | None = None
    fragments: list[bytes] = field(default_factory=list)
    last_word: bytes | None = None
    waiting_bytes: int = 0  # of the fragments

    def drop(self) -> int:
        """Everything up to the next keyframe; how many fragments."""
        lost = len(self.fragments)
        self.fragments, self.waiting_bytes, self.needs_keyframe = [], 0, True
        return lost

    def take(self) -> list[bytes]:
        """What is to be sent."""
        taken = [] if self.begin is None else [self.begin]
        taken += self.fragments
        taken += [] if self.last_word is None else [self.last_word]
        self.begin = self.last_word = None
        self.fragments, self.waiting_bytes = [], 0
        return taken


class Lanes:
    """Any thread puts in, and never waits; one thread takes out."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._lanes: dict[str, _Lane] = {}
        self._config: bytes | None = None
        self._status: bytes | None = None
        self._is_connected = False
        self._is_counting = False
        self._is_interrupted = False

    # --- the cameras' side ---

    def begin(self, camera: str, init: InitSegment) -> None:
        """A new stream: what waits of the one before is of no use."""
        packed = pack(Begin(camera, init))
        with self._changed:
            lane = self._lanes.setdefault(camera, _Lane())
            lane.drop()
            lane.stream, lane.word = packed, None
            lane.begin, lane.last_word = packed, None
            self._changed.notify()

    def publish(self, camera: str, fragment: Fragment) -> int:
        """A frame. How many were lost for want of room, this one or those before it.

        While the console is starting, or gone, nothing is lost: nobody could have seen it.
        """
        if not self._is_connected:
            return 0
        is_too_large = len(fragment.data) + _ENVELOPE_BYTES > LARGEST_BYTES
        packed = b"" if is_too_large else pack(Piece(camera, fragment))
        with self._changed:
            lane = self._lanes.setdefault(camera, _Lane())
            lost = 0
            full = len(lane.fragments) >= LANE_FRAGMENTS or lane.waiting_bytes >= LANE_BYTES
            if full or is_too_large:
                lost = lane.drop()
            if is_too_large or (lane.needs_keyframe and not fragment.is_keyframe):
                return lost + 1 if self._is_counting else 0
            lane.needs_keyframe = False
            lane.fragments.append(packed)
            lane.waiting_bytes += len(packed)
            self._changed.notify()
            return lost if self._is_counting else 0

    def end(self, camera: str, reason: str) -> None:
        """It is over; what waits of it still goes out."""
        packed = pack(End(camera, reason))
        with self._changed:
            lane = self._lanes.setdefault(camera, _Lane())
            lane.stream, lane.word, lane.last_word = None, packed, packed
            lane.needs_keyframe = True
            self._changed.notify()

    def refuse(self, camera: str, reason: str) -> None:
        """It cannot be shown at all."""
        packed = pack(Refusal(camera, reason))
        with self._changed:
            lane = self._lanes.setdefault(camera, _Lane())
            lane.drop()
            lane.stream, lane.word = None, packed
            lane.begin, lane.last_word = None, packed
            self._changed.notify()

    def say_status(self, status: Status) -> None:
        """Facts of all cameras; older ones that still wait are forgotten."""
        if not self._is_connected:
            return
        packed = pack(status)
        with self._changed:
            self._status = packed
            self._changed.notify()

    def say_config(self, config: Config) -> None:
        """Cameras have changed."""
        packed = pack(config)
        with self._changed:
            self._config = packed
            self._changed.notify()

    def keep_only(self, cameras: Collection[str]) -> None:
        """The others are gone from the configuration."""
        with self._changed:
            for camera in [name for name in self._lanes if name not in cameras]:
                del self._lanes[camera]

    # --- the sender's side ---

    def connect(self) -> None:
        """A console is there, and knows nothing: streams begin, at their next keyframes."""
        with self._changed:
            for lane in self._lanes.values():
                lane.drop()
                lane.begin, lane.last_word = lane.stream, lane.word
            self._config = self._status = None
            self._is_connected, self._is_interrupted = True, False

    def count(self) -> None:
        """It can be reached: from now on losses are losses."""
        self._is_counting = True

    def disconnect(self) -> None:
        """It is gone: nothing is kept for it."""
        with self._changed:
            self._is_connected = self._is_counting = False
            for lane in self._lanes.values():
                lane.drop()

    def take(self, timeout_seconds: float) -> list[bytes] | None:
        """All that is to be sent now, maybe nothing; None where `interrupt` was called."""
        with self._changed:
            taken = self._take()
            if not taken and not self._is_interrupted:
                self._changed.wait(timeout_seconds)
                taken = self._take()
            return None if self._is_interrupted else taken

    def interrupt(self) -> None:
        """Whoever waits in `take` is sent away, until the next `connect`."""
        with self._changed:
            self._is_interrupted = True
            self._changed.notify_all()

    def _take(self) -> list[bytes]:
        taken = [] if self._config is None else [self._config]
        for lane in self._lanes.values():
            taken += lane.take()
        taken += [] if self._status is None else [self._status]
        self._config = self._status = None
        return taken
