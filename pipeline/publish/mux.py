"""One open output container: the only code that writes packets with libav."""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

import av
import av.error

from ..errors import SinkError
from ..frames import EncodedPacket
from ..runtime.credentials import without_credentials
from ..streams import StreamTemplates

FRAGMENTED_MP4 = {
    # a fragment a second: a killed process loses at most that
    "movflags": "frag_keyframe+empty_moov+default_base_moof",
    "frag_duration": "1000000",
    "flush_packets": "1",
}


class Muxer:
    """Writes `EncodedPacket`s into a file, URL or file-like object."""

    def __init__(
        self,
        target: str | IO[bytes] | Any,
        templates: StreamTemplates,
        *,
        format: str | None = None,
        options: Mapping[str, str] | None = None,
        name: str = "output",
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        """Raises SinkError."""
        self._name = without_credentials(name)
        self._closed = False
        with self._translated():
            self._container = av.open(target, "w", format=format, options=dict(options or {}))
            self._container.metadata.update(metadata or {})
            self._video = self._container.add_stream_from_template(templates.video)
            self._audio = None
            if templates.audio is not None:
                self._audio = self._container.add_stream_from_template(templates.audio)

    def write(self, packet: EncodedPacket) -> None:
        """Raises SinkError: the container is of no more use then."""
        if self._closed:  # libav would crash the process
            raise SinkError(f"{self._name}: is closed")
        stream = self._video if packet.kind == "video" else self._audio
        if stream is None:
            return
        with self._translated():
            out = av.Packet(packet.data)
            out.pts, out.dts, out.time_base = packet.pts, packet.dts, packet.time_base
            out.duration = packet.duration
            out.is_keyframe = packet.is_keyframe
            out.stream = stream
            self._container.mux(out)

    def close(self) -> None:
        """Writes what the container still owes. Idempotent. Raises SinkError."""
        if self._closed:
            return
        self._closed = True
        with self._translated():
            self._container.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except av.error.FFmpegError as error:
            raise SinkError(f"{self._name}: {_reason(error)}") from None
        except (OSError, ValueError, RuntimeError) as error:
            raise SinkError(f"{self._name}: {without_credentials(str(error))}") from None


def _reason(error: av.error.FFmpegError) -> str:
    if error.errno == errno.ENOSPC:
        return "the disk is full"
    if error.errno == errno.EACCES:
        return "may not be written; check the folder's permissions"
    return without_credentials(error.strerror or type(error).__name__)
