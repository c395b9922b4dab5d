"""One camera: source, window, encoder and sinks on their threads; start, supervise, stop.

source thread -> raw channel -> protect thread -> protected channel -> encode thread -> sinks
"""

from __future__ import annotations

import logging
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable

from .build import InBand, build_gate, build_in_band, build_sinks, build_source, build_zones
from .compose.gate import ProtectedFrame, Zones
from .counts import SessionCounts
from .detect.service import DetectionService
from .encode.encoder import Encoder
from .encode.probe import SOFTWARE, choose_encoder, live_preset, preset_costs
from .errors import BautaError, SinkError
from .frames import EncodedPacket, RawFrame
from .intake import Intake, OpenSource, RawItem, SourceGap
from .presence import RecordingSession
from .protect.keyed import KeyedCounts
from .protect.weak import weakness
from .publish.push import is_network
from .publish.sink import Sink
from .runtime.channel import Channel, ChannelClosed, Overflow
from .sealing import Evidence, StreamFacts
from .settings import CameraSettings, DetectorSettings
from .source.av_input import is_live
from .source.base import SourceInfo
from .source.pace import Pace
from .window import LookaheadWindow

RAW_DEPTH = 12  # frames: half a second at 25; originals wait nowhere longer
PROTECTED_DEPTH = 8
STILL_ALIVE_SECONDS = 1.0  # without a frame for this long, the window is emptied
FILE_PRESET = "veryfast"
_log = logging.getLogger(__name__)


class Pause:
    """Nothing comes for a while: no secret of what was sealed stays in memory until it does."""


ProtectedItem = ProtectedFrame | EncodedPacket | Pause


class CameraSession:
    """Runs one camera until it ends or is stopped."""

    def __init__(
        self,
        camera: CameraSettings,
        *,
        detector: DetectorSettings,
        service: DetectionService,
        cameras: int = 1,
        extra_sinks: list[Sink] | None = None,
        on_frame: Callable[[ProtectedFrame], None] | None = None,
        open_source: OpenSource = build_source,
        retry: bool = True,
        in_band: InBand | None = None,
        evidence: Evidence | None = None,
    ) -> None:
        """`retry`: a live source that fails is opened again; without, its error ends the session.

        `in_band`: instead of one built from the settings. Raises SinkError for a destination that
        cannot exist, SettingsError and VaultError for a protector that cannot be had.
        """
        self.camera = camera
        self.live = is_live(camera.source)
        self.counts = SessionCounts()
        if in_band is None:
            in_band = build_in_band(camera, live=self.live, threads=detector.threads)
        self.in_band = in_band
        self.evidence = evidence
        self.gate = build_gate(camera, in_band.overlay if in_band else None, evidence)
        session = RecordingSession(secrets.token_hex(16), evidence is not None, camera.encode.codec)
        self.sinks = build_sinks(camera, live=self.live, session=session) + (extra_sinks or [])
        if evidence is not None:
            evidence.watch(lambda: any(sink.loses_records for sink in self.sinks))
        self.encoder_name: str | None = None
        self.window: LookaheadWindow | None = None
        self._detector = detector
        self._service = service
        self._cameras = cameras
        self._on_frame = on_frame
        self._everything = camera.privacy == "everything"  # nothing has to be found then
        overflow = Overflow.DROP_OLDEST if self.live else Overflow.BLOCK
        self.raw: Channel[RawItem] = Channel(RAW_DEPTH, overflow)
        self.protected: Channel[ProtectedItem] = Channel(PROTECTED_DEPTH, overflow)
        self._stop = threading.Event()
        self._failure: BautaError | None = None
        # A file published to a network plays at its own speed, as a camera would.
        pace = Pace() if not self.live and any(map(is_network, camera.publish)) else None
        self._intake = Intake(
            camera,
            open_source,
            self.raw,
            self.counts,
            self._stop,
            retry=retry and self.live,
            pace=pace,
        )
        self._threads = [
            threading.Thread(
                target=self._guard, args=(work,), name=f"{camera.id} {name}", daemon=True
            )
            for name, work in (
                ("source", self._run_source),
                ("protect", self._run_protect),
                ("encode", self._run_encode),
            )
        ]
        if not self._everything and (weak := weakness(camera.protect)) is not None:
            _log.warning("%s: %s", camera.id, weak)
        for zone in camera.zones.never:
            _log.warning(
                "%s: faces inside the never zone %s are published CLEAR, as configured",
                camera.id,
                zone,
            )

    @property
    def info(self) -> SourceInfo | None:
        """The source as last connected; None before."""
        return self._intake.info

    def start(self) -> None:
        """Begin. Returns at once."""
        for thread in self._threads:
            thread.start()

    def request_stop(self) -> None:
        """Stop reading; what is under way is finished and the files are closed."""
        self._stop.set()
        if self.live:
            # a silent camera may hold its thread until the read timeout: do not wait for it
            self.raw.close()

    def wait(self, timeout_seconds: float | None = None) -> bool:
        """True once everything has ended. Raises the BautaError that ended it."""
        deadline = None if timeout_seconds is None else time.monotonic() + timeout_seconds
        for thread in self._threads[1:]:
            left = None if deadline is None else max(deadline - time.monotonic(), 0.0)
            thread.join(left)
            if thread.is_alive():
                return False
        if self._failure is not None:
            raise self._failure
        return True

    def stop(self, timeout_seconds: float = 10.0) -> None:
        """Stop, wait, give up after the timeout. Never raises for the camera's own failure."""
        self.request_stop()
        try:
            if not self.wait(timeout_seconds):
                _log.error("%s: did not stop within %g s", self.camera.id, timeout_seconds)
        except BautaError as error:
            _log.debug("%s: %s", self.camera.id, error)

    def _guard(self, work: Callable[[], None]) -> None:
        """A stage that fails ends the whole session, in flow order, and leaves its reason."""
        try:
            work()
        except ChannelClosed:
            return
        except BautaError as error:
            self._fail(error)
        except Exception as error:  # a defect: nothing more goes out of this camera
            _log.exception("%s: unexpected", self.camera.id)
            self._fail(BautaError(f"{self.camera.id}: {type(error).__name__}: {error}"))

    def _fail(self, error: BautaError) -> None:
        if self._failure is None:
            self._failure = error
        self.counts.to_state("failed", str(error))
        self._stop.set()
        self.raw.abort()
        self.protected.abort()
        for sink in self.sinks:
            sink.close(timeout_seconds=3.0)

    # --- source thread ---

    def _run_source(self) -> None:
        if self.live and self.camera.encode.preset == "auto":
            # now, while no frame waits for it
            name = choose_encoder(self.camera.encode.codec, self.camera.encode.encoder)
            if name in SOFTWARE.values():
                preset_costs(name)
        try:
            self._intake.run()
        except BautaError as error:
            # what has been read so far still goes out, and then the session ends with this
            self._failure = error
            self.counts.to_state("failed", str(error))
        self.raw.close()

    # --- protect thread ---

    def _run_protect(self) -> None:
        try:
            while True:
                try:
                    item = self.raw.receive(STILL_ALIVE_SECONDS if self.live else None)
                except TimeoutError:
                    # no original stays in memory longer than it must
                    self._flush()
                    continue
                except ChannelClosed:
                    break
                if isinstance(item, RawFrame) and self._everything:
                    self.protected.send(self.gate.protect(item, (), Zones()))
                elif isinstance(item, RawFrame):
                    if self.window is None:
                        self.window = self._open_window(item)
                    self._send_all(self.window.add(item))
                elif isinstance(item, SourceGap):
                    self._flush()
                else:
                    self.protected.send(item)
            self._flush()
        finally:
            self.protected.close()

    def _open_window(self, first: RawFrame) -> LookaheadWindow:
        assert self.info is not None
        size_px = (first.image.width, first.image.height)
        return LookaheadWindow(
            self.camera.id,
            protect=self.camera.protect,
            detector=self._detector,
            service=self._service,
            gate=self.gate,
            zones=build_zones(self.camera.zones, size_px),
            fps=self.info.fps,
            slack_frames=0 if self.live else self.camera.protect.detect_every,
        )

    def _flush(self) -> None:
        """The stream pauses or ends: what waits goes out, what was kept of originals is dropped."""
        flushed = self.window.flush() if self.window else []
        self._send_all(flushed)
        if self.in_band is not None:
            self.in_band.overlay.forget()
        if flushed and self.live and self.evidence is not None:
            self.protected.send(Pause())

    def _send_all(self, frames: list[ProtectedFrame]) -> None:
        for frame in frames:
            self.protected.send(frame)

    # --- encode thread ---

    def _run_encode(self) -> None:
        encoder: Encoder | None = None
        early_audio: list[EncodedPacket] = []
        try:
            while True:
                try:
                    item = self.protected.receive()
                except ChannelClosed:
                    break
                if isinstance(item, Pause):
                    if encoder is not None and self.evidence is not None:
                        self.evidence.pause()
                        encoder.restart()
                    continue
                if isinstance(item, EncodedPacket):
                    early_audio.append(item)
                    if encoder is not None:
                        self._offer(early_audio)
                        early_audio = []
                    continue
                if encoder is None:
                    encoder = self._open_encoder(item)
                    for sink in self.sinks:
                        sink.start(encoder.templates)
                    self._offer(early_audio)
                    early_audio = []
                is_idr = encoder.idr_due(item)
                if not self._begins(encoder, item, is_idr=is_idr):
                    encoder.restart()  # what comes instead belongs to no epoch before it
                    continue
                self.counts.faces = item.faces
                self.counts.face_frames += item.faces
                if self._on_frame is not None:
                    self._on_frame(item)
                self._note_fused(item)
                self._offer(self._with_evidence(encoder.encode(item, is_idr=is_idr)))
            if encoder is not None:
                self._offer(self._with_evidence(encoder.finish()))
                self._offer(self.evidence.finish() if self.evidence else [])
        finally:
            if self.evidence is not None:
                self.evidence.finish()
            for sink in self.sinks:
                sink.close()
            if self.in_band is not None and self.in_band.sidecars is not None:
                self.in_band.sidecars.close()
        if not self.live:
            self._raise_sink_errors()
        if self._failure is None:
            self.counts.to_state("ended")

    def _begins(self, encoder: Encoder, frame: ProtectedFrame, *, is_idr: bool) -> bool:
        """False: the frame must not go out."""
        if self.evidence is None:
            return True
        return self.evidence.begin(
            encoder.frames,
            number=frame.number,
            is_idr=is_idr,
            seconds=float(frame.pts * frame.time_base),
            carried=frame.carried,
            fused=frame.fused,
            is_dark=frame.redacted is not None,
        )

    def _with_evidence(self, packets: list[EncodedPacket]) -> list[EncodedPacket]:
        if self.evidence is None:
            return packets
        return [ready for packet in packets for ready in self.evidence.take(packet)]

    def _note_fused(self, frame: ProtectedFrame) -> None:
        """Before the frame is encoded: a frame without its line could never be opened."""
        if self.in_band is not None and self.in_band.sidecars is not None:
            self.in_band.sidecars.note(
                number=frame.number,
                pts_seconds=float(frame.pts * frame.time_base),
                size_px=(frame.image.width, frame.image.height),
                fused=frame.fused,
                carried=frame.carried,
            )

    def _open_encoder(self, first: ProtectedFrame) -> Encoder:
        assert self.info is not None
        settings = self.camera.encode
        name = choose_encoder(settings.codec, settings.encoder)
        preset: str = settings.preset
        if preset == "auto":
            image = first.image
            preset = (
                live_preset(name, image.width, image.height, self.info.fps, self._cameras)
                if self.live and name in SOFTWARE.values()
                else FILE_PRESET
            )
        encoder = Encoder(
            settings,
            encoder=name,
            preset=preset,
            first=first,
            fps=self.info.fps,
            live=self.live,
            audio=self.info.audio,
            for_recovery=self.in_band is not None,
        )
        self.encoder_name = encoder.name
        self.counts.width_px, self.counts.height_px = first.image.width, first.image.height
        if self.evidence is not None:
            size_px = (first.image.width, first.image.height)
            self.evidence.open(
                StreamFacts(size_px=size_px, fps=float(self.info.fps), live=self.live)
            )
        return encoder

    def _offer(self, packets: list[EncodedPacket]) -> None:
        for packet in packets:
            for sink in self.sinks:
                sink.offer(packet)
            if packet.kind == "video":
                self.counts.frames_out += 1
                self.counts.rate.tick()
                if packet.captured_ns:
                    self.counts.note_latency(time.monotonic_ns() - packet.captured_ns)

    def _raise_sink_errors(self) -> None:
        for sink in self.sinks:
            if sink.error is not None:
                raise SinkError(sink.error)

    @property
    def keyed_counts(self) -> KeyedCounts:
        """Faces fused and carried, and not; all zero with another protector."""
        return self.in_band.overlay.counts if self.in_band is not None else KeyedCounts()

    def redactions(self) -> Counter[str]:
        """Why whole frames were obscured, and how often."""
        return Counter(self.gate.redactions)
