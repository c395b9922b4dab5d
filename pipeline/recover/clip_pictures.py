"""A protected clip once through: its pictures, each with its place in the file, and its audio."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import av.error
from av.codec.context import Flags, ThreadType
from av.container import InputContainer

from ..errors import NotAVideo, SourceError
from .clip_file import MOST_DAMAGED, open_clip

UNKNOWN = -1


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded frame of the clip."""

    position: int  # of its packet among the file's video packets, from 0; or UNKNOWN
    image: av.VideoFrame = field(repr=False)


class ClipPictures:
    """An open file; use it with `with`."""

    def __init__(self, clip: Path, *, audio: bool = True) -> None:
        """Raises SourceError."""
        self._clip = clip
        self._open = ExitStack()
        file = self._open.enter_context(open_clip(clip))
        self.fps = file.fps
        self._video = file.video
        self._video.thread_type = ThreadType.AUTO
        # the decoder gives each frame what its packet had, whatever their order
        self._video.codec_context.flags |= Flags.copy_opaque
        container = self._video.container
        assert isinstance(container, InputContainer)
        self._container = container
        self.audio = tuple(container.streams.audio) if audio else ()

    def __enter__(self) -> ClipPictures:
        return self

    def __exit__(self, *_: object) -> None:
        self._open.close()

    def read(self) -> Iterator[Picture | av.Packet[av.AudioStream]]:
        """Everything in the file's order. Damaged pictures are left out. Raises SourceError."""
        position = frames = 0
        for packet in self._packets():
            if packet.stream.index != self._video.index:
                yield packet
                continue
            if packet.size:
                packet.opaque = position
                position += 1
            for image in _decoded(packet):
                frames += 1
                place = image.opaque
                yield Picture(place if isinstance(place, int) else UNKNOWN, image)
        if not frames:
            raise NotAVideo(f"{self._clip}: holds no picture that can be decoded")

    def _packets(self) -> Iterator[av.Packet[Any]]:
        """With those at the end that make the decoder give what it still has."""
        streams = (self._video, *self.audio)
        packets = self._container.demux(*streams)
        damaged = 0
        while damaged < MOST_DAMAGED:
            with self._translated():
                try:
                    packet = next(packets)
                except (StopIteration, av.error.EOFError):
                    return
                except av.error.InvalidDataError:
                    damaged += 1
                    packets = self._container.demux(*streams)  # what has raised has ended
                    continue
            damaged = 0
            yield packet

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise SourceError(
                f"{self._clip}: {getattr(error, 'strerror', None) or error}"
            ) from None


def _decoded(packet: av.Packet[av.VideoStream]) -> list[av.VideoFrame]:
    try:
        frames: list[av.VideoFrame] = packet.decode()
    except (av.error.FFmpegError, ValueError):
        return []
    return frames
