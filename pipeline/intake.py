"""The source thread: connect, read, mend; connect again when a live source fails."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from fractions import Fraction

from .counts import SessionCounts
from .errors import SourceError
from .frames import EncodedPacket, RawFrame
from .runtime.channel import Channel
from .settings import CameraSettings
from .source.backoff import Backoff
from .source.base import DecodedFrame, Source, SourceInfo
from .source.clock import OutputClock
from .source.normalize import Normalizer
from .source.pace import Pace

_log = logging.getLogger(__name__)


class SourceGap:
    """Between two connections: what was in the window goes out, and nothing is known after it."""


RawItem = RawFrame | EncodedPacket | SourceGap
OpenSource = Callable[[CameraSettings], Source]


class Intake:
    """Fills the raw channel until the source ends or `stop` is set."""

    def __init__(
        self,
        camera: CameraSettings,
        open_source: OpenSource,
        raw: Channel[RawItem],
        counts: SessionCounts,
        stop: threading.Event,
        *,
        retry: bool,
        pace: Pace | None,
    ) -> None:
        """`retry`: a source that fails is opened again; `pace`: a file plays at its own speed."""
        self.info: SourceInfo | None = None
        self._camera = camera
        self._open_source = open_source
        self._raw = raw
        self._counts = counts
        self._stop = stop
        self._retry = retry
        self._pace = pace
        self._normalize = Normalizer(camera.id)
        self._backoff = Backoff(camera.reconnect)
        self._clock: OutputClock | None = None  # one for all connections: time never runs back

    def run(self) -> None:
        """Returns at the end of a file or on stop. Raises SourceError where nothing is retried."""
        while not self._stop.is_set():
            try:
                self._pump()
                return
            except SourceError as error:
                if not self._retry:
                    raise
                if self._stop.is_set():
                    return
                self._lost(error)
            if self._clock is not None:
                self._clock.reconnected()
            if self._stop.wait(self._backoff.next_pause_seconds()):
                return
            self._counts.reconnects += 1

    def _lost(self, error: SourceError) -> None:
        if self._counts.error != str(error):
            _log.warning("%s: %s; trying again", self._camera.id, error)
        self._counts.to_state("down", str(error))
        self._raw.send(SourceGap())

    def _pump(self) -> None:
        source = self._open_source(self._camera)
        try:
            self.info = info = source.info
            clock = self._clock_for(info)
            for item in source.read():
                if self._stop.is_set():
                    return
                self._counts.damaged_packets += source.take_damaged()
                if isinstance(item, DecodedFrame):
                    self._up(info)
                    frame = self._raw_frame(item, clock, info.time_base)
                    if self._pace is not None:
                        self._stop.wait(self._pace.seconds_until(frame.pts_seconds))
                    self._raw.send(frame)
                elif (ticks := clock.audio(item.pts, item.time_base)) is not None:
                    self._raw.send(_restamped(item, ticks, clock.time_base))
        finally:
            self._counts.damaged_packets += source.take_damaged()
            source.close()

    def _clock_for(self, info: SourceInfo) -> OutputClock:
        if self._clock is None:
            self._clock = OutputClock(live=info.live, time_base=info.time_base, fps=info.fps)
        self._clock.set_rate(info.fps)
        return self._clock

    def _up(self, info: SourceInfo) -> None:
        self._backoff.succeeded()
        if self._counts.state != "up":
            size = f"{info.width_px}x{info.height_px}"
            _log.info("%s: up, %s %s", self._camera.id, info.codec, size)
            self._counts.to_state("up")

    def _raw_frame(self, item: DecodedFrame, clock: OutputClock, time_base: Fraction) -> RawFrame:
        image = self._normalize(item.image)
        pts = clock.frame(item.pts, item.image.time_base or time_base)
        index = self._counts.frames_in
        self._counts.frames_in += 1
        return RawFrame(image, index, pts, clock.time_base, item.captured_ns)


def _restamped(packet: EncodedPacket, ticks: int, time_base: Fraction) -> EncodedPacket:
    """The packet on the output clock."""
    duration = round(packet.duration * packet.time_base / time_base)
    return EncodedPacket("audio", packet.data, ticks, ticks, duration, time_base, True)
