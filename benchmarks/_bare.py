"""Decode and encode alone: the best that anything with this codec and preset can reach.

It is built from the product's own ends (AvSource, Encoder, Channel), so that opening options,
decoder threads and encoder settings cannot drift apart; only what lies between them is missing.
Frames reach the encoder through an empty gate: no detector, no window, no copy.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from pipeline.compose.gate import Gate, ProtectedFrame, Zones
from pipeline.encode.encoder import Encoder
from pipeline.encode.probe import choose_encoder
from pipeline.errors import SourceError
from pipeline.frames import EncodedPacket, RawFrame
from pipeline.publish.sink import Writer
from pipeline.runtime.channel import Channel, ChannelClosed, Overflow
from pipeline.session import RAW_DEPTH
from pipeline.settings import CameraSettings
from pipeline.source.av_input import AvSource, is_live
from pipeline.source.base import DecodedFrame
from pipeline.source.clock import OutputClock
from pipeline.source.normalize import Normalizer
from pipeline.streams import StreamTemplates

OpenWriter = Callable[[StreamTemplates], Writer]


class BareRelay:
    """One source decoded on one thread, encoded and written on another."""

    def __init__(self, camera: CameraSettings, open_writer: OpenWriter, *, preset: str) -> None:
        self._camera = camera
        self._open_writer = open_writer
        self._preset = preset
        self._live = is_live(camera.source)
        overflow = Overflow.DROP_OLDEST if self._live else Overflow.BLOCK
        self.channel: Channel[RawFrame] = Channel(RAW_DEPTH, overflow)
        self.frames_in = 0
        self.frames_out = 0
        self._source: AvSource | None = None
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._threads = [
            threading.Thread(target=self._guard, args=(work,), name=name, daemon=True)
            for name, work in (("bare decode", self._decode), ("bare encode", self._encode))
        ]

    def start(self) -> None:
        """Begin. Returns at once."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """End a live relay."""
        self._stop.set()
        self.channel.close()

    def wait(self) -> None:
        """Until the file has ended or `stop`. Raises what ended a thread."""
        for thread in self._threads:
            thread.join()
        if self._error is not None:
            raise self._error

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except ChannelClosed:
            return
        except BaseException as error:
            if not (self._stop.is_set() and isinstance(error, SourceError)):
                self._error = error
            self.channel.abort()

    def _decode(self) -> None:
        normalize = Normalizer(self._camera.id)
        with AvSource(self._camera) as source:
            self._source = source
            info = source.info
            clock = OutputClock(live=self._live, time_base=info.time_base, fps=info.fps)
            for item in source.read():
                if self._stop.is_set():
                    return
                if not isinstance(item, DecodedFrame):
                    continue
                pts = clock.frame(item.pts, item.image.time_base or info.time_base)
                image = normalize(item.image)
                self.channel.send(
                    RawFrame(image, self.frames_in, pts, clock.time_base, item.captured_ns)
                )
                self.frames_in += 1
        self.channel.close()

    def _encode(self) -> None:
        gate = Gate(self._camera.id, lambda _planes, _faces: [])
        encoder: Encoder | None = None
        writer: Writer | None = None
        while True:
            try:
                frame = gate.protect(self.channel.receive(), (), Zones())
            except ChannelClosed:
                break
            if encoder is None or writer is None:
                encoder = self._open_encoder(frame)
                writer = self._open_writer(encoder.templates)
            self._write(writer, encoder.encode(frame))
        if encoder is not None and writer is not None:
            self._write(writer, encoder.finish())
            writer.close()

    def _open_encoder(self, first: ProtectedFrame) -> Encoder:
        assert self._source is not None
        settings = self._camera.encode
        return Encoder(
            settings,
            encoder=choose_encoder(settings.codec, settings.encoder),
            preset=self._preset,
            first=first,
            fps=self._source.info.fps,
            live=self._live,
        )

    def _write(self, writer: Writer, packets: list[EncodedPacket]) -> None:
        for packet in packets:
            writer.write(packet)
            self.frames_out += 1


def run_bare_file(camera: CameraSettings, open_writer: OpenWriter, *, preset: str) -> float:
    """A whole file; the seconds it took."""
    relay = BareRelay(camera, open_writer, preset=preset)
    started = time.monotonic()
    relay.start()
    relay.wait()
    return time.monotonic() - started
