"""A clip as its packets: read as they are, nothing is decoded. libav's errors end here."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import av.error
from av.container import InputContainer
from av.stream import Disposition

from ..errors import NotAVideo, SourceError, UsageError
from ..evidence.nal import Codec

CODECS: dict[str, Codec] = {"h264": "h264", "hevc": "h265"}
MOST_DAMAGED = 1000  # packets one after the other that cannot be read: then the file ends there
_DEFAULT_FPS = Fraction(25)
# What recordings are. libav knows also lists of other files, and would open those.
_CONTAINERS = "mov,matroska,mpegts,h264,hevc"


class ClipFile:
    """An open clip and its picture stream."""

    def __init__(self, path: Path, container: InputContainer, video: av.VideoStream) -> None:
        self._path = path
        self._container = container
        self.video = video

    @property
    def codec(self) -> Codec:
        """Raises SourceError where it is one that carries no records."""
        name = self.video.codec_context.name
        if name not in CODECS:
            raise SourceError(
                f"{self._path}: its picture is {name}; records are in H.264 and H.265 only"
            )
        return CODECS[name]

    @property
    def fps(self) -> Fraction:
        """Frames a second, about."""
        rate = self.video.average_rate or self.video.guessed_rate or _DEFAULT_FPS
        return Fraction(rate) if 1 <= rate <= 240 else _DEFAULT_FPS

    @property
    def video_streams(self) -> int:
        """How many there are, without cover images: players choose one, and records are of one."""
        return len(_moving(self._container))

    @property
    def has_audio(self) -> bool:
        """Which no record speaks of."""
        return bool(self._container.streams.audio)

    def packets(self) -> Iterator[av.Packet[Any]]:
        """The picture stream's, in file order, without what libav adds. Raises SourceError."""
        with _translated(self._path):
            packets = self._container.demux(self.video)
        damaged = 0
        while damaged < MOST_DAMAGED:
            with _translated(self._path):
                try:
                    packet = next(packets)
                except (StopIteration, av.error.EOFError):
                    return
                except av.error.InvalidDataError:
                    damaged += 1
                    packets = self._container.demux(self.video)  # what has raised has ended
                    continue
            damaged = 0
            if packet.size:
                yield packet


@contextmanager
def open_clip(clip: Path) -> Iterator[ClipFile]:
    """Raises UsageError where there is no such file, NotAVideo, SourceError."""
    if not clip.exists():
        raise UsageError(f"{clip}: no such file")
    if not clip.is_file():
        raise UsageError(f"{clip}: is not a file")
    with _translated(clip):
        # as a local file whatever its name: `rtsp:x` is one as well
        try:
            container = av.open(
                f"file:{clip}",
                container_options={"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"},
            )
        except av.error.ArgumentError:
            raise NotAVideo(
                f"{clip}: is no MP4, Matroska, MPEG-TS or bare H.264 or H.265; records are in those"
            ) from None
    with container:
        yield ClipFile(clip, container, video_stream(container, clip))


def video_stream(container: InputContainer, clip: Path) -> av.VideoStream:
    """The picture: not a cover image, the largest of several. Raises NotAVideo."""
    streams = _moving(container)
    if not streams:
        raise NotAVideo(f"{clip}: holds no video stream")
    chosen = max(streams, key=lambda stream: stream.width * stream.height)
    if not chosen.width or not chosen.height:
        raise NotAVideo(f"{clip}: the video stream has no picture size")
    return chosen


def _moving(container: InputContainer) -> list[av.VideoStream]:
    return [
        stream
        for stream in container.streams.video
        if not stream.disposition & Disposition.attached_pic
    ]


@contextmanager
def _translated(clip: Path) -> Iterator[None]:
    try:
        yield
    except av.error.InvalidDataError:
        raise NotAVideo(f"{clip}: is not a video, or is damaged at its start") from None
    except av.error.FFmpegError as error:
        raise SourceError(f"{clip}: {error.strerror or type(error).__name__}") from None
    except (ValueError, OSError, RuntimeError) as error:
        raise SourceError(f"{clip}: {error}") from None
