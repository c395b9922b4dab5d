"""RTSP cameras and files through PyAV, behind the `Source` protocol.

The one place that knows libav's errors: they are translated here, credentials removed. Damaged
packets are counted and skipped; a source ends or fails, it never hangs longer than its timeouts.
"""

from __future__ import annotations

import io
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.codec.context import ThreadType
from av.container import InputContainer
from av.stream import Disposition

from ..errors import NotAVideo, SourceError, SourceRefused, SourceTimeout
from ..frames import EncodedPacket
from ..runtime.credentials import without_credentials
from ..runtime.ratelimit import RateLimitedLog
from ..settings import CameraSettings
from .base import DecodedFrame, SourceInfo

LIVE_SCHEMES = ("rtsp://", "rtsps://", "rtmp://", "srt://", "udp://", "http://", "https://")
_log = logging.getLogger(__name__)


def is_live(source: str) -> bool:
    """True for a network stream: it cannot wait for us."""
    return source.lower().startswith(LIVE_SCHEMES)


class AvSource:
    """One connection to a camera, or one open file."""

    def __init__(self, camera: CameraSettings) -> None:
        """Connects. Raises SourceError and its kinds."""
        self._camera = camera
        self._name = without_credentials(camera.source)
        self._live = is_live(camera.source)
        self._quiet = RateLimitedLog(_log)
        self._audio: av.AudioStream | None = None
        self._damaged = 0
        if not self._live and not Path(camera.source).exists():
            raise SourceError(f"{self._name}: no such file")
        if not self._live and not Path(camera.source).is_file():
            raise SourceError(f"{self._name}: is not a file")
        if not self._live and Path(camera.source).stat().st_size == 0:
            raise NotAVideo(f"{self._name}: the file is empty")
        self._container = self._open(analyse=False)
        if self._live and not all(stream.width for stream in self._container.streams.video):
            # MJPEG, and cameras that keep their parameter sets out of the SDP
            self._container.close()
            self._container = self._open(analyse=True)
        try:
            self._video = self._choose_video()
            self.info = self._describe()
        except BaseException:
            self._container.close()
            raise

    def __enter__(self) -> AvSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """See Source."""
        self._container.close()

    def take_damaged(self) -> int:
        """See Source."""
        damaged, self._damaged = self._damaged, 0
        return damaged

    def read(self) -> Iterator[DecodedFrame | EncodedPacket]:
        """See Source. For files the iterator ends; a live source that ends has failed."""
        wanted: list[av.VideoStream | av.AudioStream] = [self._video]
        if self._audio is not None:
            wanted.append(self._audio)
        frames = 0
        with self._translated(self._camera.reconnect.read_timeout):
            packets = self._container.demux(*wanted)
        while True:
            with self._translated(self._camera.reconnect.read_timeout):
                try:
                    packet = next(packets)
                except (StopIteration, av.error.EOFError):
                    break
                except av.error.InvalidDataError:
                    self._count_damaged()
                    continue
                except IndexError:
                    # PyAV knows the streams of the start alone; a packet of one that appears
                    # later, as in a damaged file, ends its generator. A new one leaves it out.
                    self._count_damaged()
                    packets = self._container.demux(*wanted)
                    continue
            if packet.stream.type == "audio":
                if (audio := _audio_packet(packet)) is not None:
                    yield audio
                continue
            for image in self._decode(packet):
                frames += 1
                yield DecodedFrame(image, image.pts, time.monotonic_ns())
        if self._live:
            raise SourceError(f"{self._name}: the camera ended the stream")
        if not frames:
            raise NotAVideo(f"{self._name}: holds no picture that can be decoded")

    def _decode(self, packet: av.Packet[Any]) -> list[av.VideoFrame]:
        try:
            frames: list[av.VideoFrame] = packet.decode()
            return frames
        except av.error.EOFError:
            return []
        except av.error.FFmpegError:  # one bad packet is the camera's everyday, not an end
            self._count_damaged()
            return []

    def _count_damaged(self) -> None:
        self._damaged += 1
        self._quiet.warning("%s: damaged packet skipped", self._name)

    def _open(self, *, analyse: bool) -> InputContainer:
        options: dict[str, str] = {}
        if self._camera.source.lower().startswith("rtsp"):
            options["rtsp_transport"] = self._camera.transport
            if not analyse:
                # The SDP says it all for most cameras: first picture after 0.2 s instead of 1 s.
                # (fflags=nobuffer would throw the first group away: 4 to 8 s without a picture.)
                options |= {"analyzeduration": "0", "probesize": "32"}
        with self._translated(self._camera.reconnect.open_timeout):
            return av.open(self._camera.source, options=options, timeout=self._timeouts())

    def _timeouts(self) -> tuple[float, float] | None:
        if not self._live:
            return None
        reconnect = self._camera.reconnect
        return (reconnect.open_timeout, reconnect.read_timeout)

    def _choose_video(self) -> av.VideoStream:
        """The real picture stream: not a cover image, the largest of several."""
        streams = [
            stream
            for stream in self._container.streams.video
            if not stream.disposition & Disposition.attached_pic
        ]
        # libav can draw a text file as if it were a terminal
        if not streams or self._container.format.name == "tty":
            raise NotAVideo(f"{self._name}: holds no video stream")
        chosen = max(streams, key=lambda stream: stream.width * stream.height)
        # Frame threads hold back as many frames as there are threads: latency a camera cannot pay.
        chosen.thread_type = ThreadType.SLICE if self._live else ThreadType.AUTO
        return chosen

    def _describe(self) -> SourceInfo:
        video = self._video
        if not video.width or not video.height:
            if self._live:
                raise self._silent(self._camera.reconnect.open_timeout)
            raise NotAVideo(f"{self._name}: the video stream has no picture size")
        rate = video.average_rate or video.guessed_rate or Fraction(25)
        fps = Fraction(rate) if 1 <= rate <= 240 else Fraction(25)
        duration = None
        if not self._live and self._container.duration:
            duration = self._container.duration / av.time_base
        frames = video.frames or (round(duration * fps) if duration else None)
        audio = None
        if self._camera.audio == "keep" and self._container.streams.audio:
            self._audio = self._container.streams.audio[0]
            # A copy of the parameters that outlives this connection: sinks open later than this.
            self._keep = av.open(io.BytesIO(), "w", format="nut")
            audio = self._keep.add_stream_from_template(self._audio)
        return SourceInfo(
            width_px=video.width,
            height_px=video.height,
            fps=fps,
            time_base=video.time_base or Fraction(1, 90_000),
            live=self._live,
            frames_total=frames,
            duration_seconds=duration,
            codec=video.codec_context.name,
            audio=audio,
        )

    @contextmanager
    def _translated(self, timeout_seconds: float) -> Iterator[None]:
        """libav's errors as ours, the URL's credentials removed, the cause kept out of sight."""
        started = time.monotonic()
        try:
            yield
        except av.error.ExitError:
            raise self._silent(timeout_seconds) from None
        except (
            av.error.HTTPUnauthorizedError,
            av.error.HTTPForbiddenError,
            av.error.PermissionError,
        ):
            raise SourceRefused(
                f"{self._name}: access denied; check user name and password"
            ) from None
        except av.error.HTTPNotFoundError:
            raise SourceRefused(f"{self._name}: the server has no stream of that name") from None
        except av.error.InvalidDataError:
            if self._live and time.monotonic() - started > 0.9 * timeout_seconds:
                raise self._silent(timeout_seconds) from None
            if self._live:
                raise SourceError(f"{self._name}: the answer is not a video stream") from None
            raise NotAVideo(f"{self._name}: is not a video, or is damaged at its start") from None
        except av.error.FFmpegError as error:
            what = error.strerror or type(error).__name__
            raise SourceError(f"{self._name}: {without_credentials(what)}") from None
        except (ValueError, OSError, RuntimeError) as error:
            # PyAV's own complaints carry the URL
            what = without_credentials(str(error))
            raise SourceError(f"{self._name}: {what}") from None

    def _silent(self, timeout_seconds: float) -> SourceTimeout:
        return SourceTimeout(f"{self._name}: connected, but sent nothing for {timeout_seconds:g} s")


def _audio_packet(packet: av.Packet[Any]) -> EncodedPacket | None:
    if packet.pts is None or packet.dts is None or not packet.size:
        return None
    return EncodedPacket(
        kind="audio",
        data=bytes(packet),
        pts=packet.pts,
        dts=packet.dts,
        duration=packet.duration or 0,
        time_base=packet.time_base,
        is_keyframe=True,
    )
