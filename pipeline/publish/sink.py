"""A destination on a thread of its own: bounded queue, counted losses, rebuilt after a failure.

A live sink that cannot keep up drops whole groups: after the first lost packet it waits for the
next keyframe, so that what it writes can always be decoded. A file sink never drops; the encoder
waits for it, and its first error is final.
"""

from __future__ import annotations

import enum
import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Protocol

from ..errors import SinkError
from ..frames import EncodedPacket
from ..streams import StreamTemplates

DEPTH_PACKETS = 500  # 10 s of two streams at 25 packets a second
DEPTH_BYTES = 32_000_000
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 15.0
_log = logging.getLogger(__name__)


class Writer(Protocol):
    """An open destination, used by one thread."""

    def write(self, packet: EncodedPacket) -> None:
        """Raises SinkError: the writer is of no more use then."""
        ...

    def close(self) -> None:
        """Finish what was written. Idempotent. Raises SinkError."""
        ...


OpenWriter = Callable[[StreamTemplates], Writer]


class SinkState(enum.Enum):
    """What a status line shows."""

    WAITING = "waiting"  # for the first packet
    UP = "up"
    DOWN = "down"
    CLOSED = "closed"


class Sink:
    """Feeds one writer."""

    def __init__(
        self, name: str, open_writer: OpenWriter, *, live: bool, keeps_records: bool = False
    ) -> None:
        """`name` is shown to people: no credentials in it. `keeps_records`: in a sidecar."""
        self.name = name
        self._keeps_records = keeps_records
        self.state = SinkState.WAITING
        self.error: str | None = None
        self.written = 0
        self.dropped = 0
        self.last_latency_ns = 0
        self._open_writer = open_writer
        self._live = live
        self._templates: StreamTemplates | None = None
        self._queue: deque[EncodedPacket] = deque()
        self._bytes = 0
        self._needs_keyframe = False
        self._condition = threading.Condition()
        self._closing = False
        self._thread = threading.Thread(target=self._run, name=f"sink {name}", daemon=True)

    @property
    def loses_records(self) -> bool:
        """A sidecar should be written, and cannot."""
        return self._keeps_records and self.state is SinkState.DOWN

    def start(self, templates: StreamTemplates) -> None:
        """The stream's parameters are known: packets may come."""
        self._templates = templates
        self._thread.start()

    def offer(self, packet: EncodedPacket) -> None:
        """Queue a packet. Waits (files) or drops (live) where the queue is full.

        Raises SinkError where a file sink has failed.
        """
        with self._condition:
            while not self._live and self._full() and not self._closing and self.error is None:
                self._condition.wait()
            if not self._live and self.error is not None:
                raise SinkError(self.error)
            if self._closing:
                return
            if self._full() or (self._needs_keyframe and not _starts_group(packet)):
                self.dropped += 1
                self._needs_keyframe = True
                return
            self._needs_keyframe = False
            self._queue.append(packet)
            self._bytes += len(packet.data)
            self._condition.notify_all()

    def close(self, timeout_seconds: float = 10.0) -> None:
        """Write what is queued, close the writer. Idempotent; gives up after the timeout."""
        with self._condition:
            self._closing = True
            self._condition.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout_seconds)
            if self._thread.is_alive():
                _log.error("%s: did not close within %g s", self.name, timeout_seconds)
        self.state = SinkState.CLOSED

    def _full(self) -> bool:
        return len(self._queue) >= DEPTH_PACKETS or self._bytes >= DEPTH_BYTES

    def _take(self) -> EncodedPacket | None:
        """The next packet; None at the end."""
        with self._condition:
            while not self._queue and not self._closing:
                self._condition.wait()
            if not self._queue:
                return None
            packet = self._queue.popleft()
            self._bytes -= len(packet.data)
            self._condition.notify_all()
            return packet

    def _run(self) -> None:
        pause_seconds = FIRST_PAUSE_SECONDS
        while True:
            written_before = self.written
            try:
                self._write_all()
                return
            except SinkError as error:
                self._fail(str(error))
            except Exception as error:  # a defect in one sink must not end the others
                _log.exception("%s: unexpected", self.name)
                self._fail(f"{self.name}: {type(error).__name__}")
            if not self._live:
                return
            if self.written > written_before:
                pause_seconds = FIRST_PAUSE_SECONDS
            if self._wait_and_drain(pause_seconds):
                return
            pause_seconds = min(pause_seconds * 2, LONGEST_PAUSE_SECONDS)

    def _write_all(self) -> None:
        assert self._templates is not None
        first = self._first_of_group()
        if not first:
            return
        writer = self._open_writer(self._templates)
        try:
            packet: EncodedPacket | None
            for packet in first[:-1]:
                writer.write(packet)
            packet = first[-1]
            while packet is not None:
                writer.write(packet)
                self.written += 1
                if packet.captured_ns:
                    self.last_latency_ns = time.monotonic_ns() - packet.captured_ns
                if self.state is not SinkState.UP:
                    if self.error is not None:
                        _log.info("%s: up again", self.name)
                    self.state, self.error = SinkState.UP, None
                packet = self._take()
        except SinkError:
            _close_quietly(writer)
            raise
        writer.close()

    def _first_of_group(self) -> list[EncodedPacket]:
        """Audio from the first keyframe's time on, then that keyframe; empty at the end."""
        early: list[EncodedPacket] = []
        while (packet := self._take()) is not None:
            if _starts_group(packet):
                start = packet.pts * packet.time_base
                kept = [audio for audio in early if audio.pts * audio.time_base >= start]
                self.dropped += len(early) - len(kept)
                return [*kept, packet]
            if packet.kind == "audio":
                early.append(packet)
            else:
                self.dropped += 1
        return []

    def _fail(self, reason: str) -> None:
        with self._condition:
            if self._live and self.error != reason:  # a file's session ends with this very line
                _log.warning("%s", reason)
            self.state, self.error = SinkState.DOWN, reason
            self._condition.notify_all()

    def _wait_and_drain(self, seconds: float) -> bool:
        """Drop what comes for a while; True where the sink is closing meanwhile."""
        deadline = time.monotonic() + seconds
        with self._condition:
            while not self._closing and (left := deadline - time.monotonic()) > 0:
                self.dropped += len(self._queue)
                self._queue.clear()
                self._bytes = 0
                self._condition.wait(left)
            return self._closing


def _starts_group(packet: EncodedPacket) -> bool:
    return packet.kind == "video" and packet.is_keyframe


def _close_quietly(writer: Writer) -> None:
    try:
        writer.close()
    except SinkError as error:
        _log.debug("while closing after a failure: %s", error)
