"""A part of a recording, opened as if it were a file of its own: nothing else of it is read."""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import accumulate
from pathlib import Path
from typing import BinaryIO

import av
import av.error
from av.codec.context import ThreadType
from av.container import InputContainer

from ...errors import RecordingError
from .fragments import Fragments
from .plain_file import open_plain

MOST_PIXELS = 8192 * 4608  # of a picture that is decoded here: what 8K cameras make
DECODERS = ("h264", "hevc")
_OPTIONS = {"max_pixels": str(MOST_PIXELS)}  # libav looks into pictures when it opens a file


class Spliced:
    """Byte ranges of a file, one after the other; libav reads it."""

    def __init__(self, file: BinaryIO, spans: list[tuple[int, int]]) -> None:
        """`spans`: offset and size of each. The file stays the caller's to close."""
        self._fd = file.fileno()
        self._spans = spans
        self._starts = [0, *accumulate(size for _, size in spans)]
        self._at = 0

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, of one span at most; none at the end."""
        index = bisect_right(self._starts, self._at) - 1
        if index >= len(self._spans):
            return b""
        offset, length = self._spans[index]
        inside = self._at - self._starts[index]
        wanted = length - inside if size < 0 else min(size, length - inside)
        data = os.pread(self._fd, wanted, offset + inside)
        self._at += len(data)
        return data

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As files do."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._starts[-1]}[whence]
        self._at = min(max(base + offset, 0), self._starts[-1])
        return self._at

    def tell(self) -> int:
        """Where the next read begins."""
        return self._at


@contextmanager
def open_span(path: Path, known: Fragments, first: int, end: int) -> Iterator[InputContainer]:
    """Its fragments from `first` to before `end`, demuxed by libav. Raises RecordingError."""
    chosen = known.fragments[first:end]
    if not chosen:
        raise RecordingError(f"{path.name}: holds no picture there")
    whole = (chosen[0].offset, chosen[-1].offset + chosen[-1].size - chosen[0].offset)
    with av_errors(path), open_plain(path) as file:
        source = Spliced(file, [known.init_span, whole])
        with av.open(source, "r", format="mp4", options=dict(_OPTIONS)) as container:
            if not container.streams.video:
                raise RecordingError(f"{path.name}: holds no picture")
            yield container


def prepare_decoder(video: av.VideoStream) -> None:
    """Before its first packet is decoded. Raises RecordingError where it is not to be decoded.

    A file of a few kilobytes can say that its pictures need gigabytes.
    """
    context = video.codec_context
    if context.name not in DECODERS:
        raise RecordingError(f"its picture is {context.name}, not H.264 or H.265")
    if context.width * context.height > MOST_PIXELS:
        raise RecordingError(
            f"its picture has {context.width} x {context.height} pixels: too many to be shown"
        )
    context.options = dict(_OPTIONS)  # for what the pictures say themselves
    video.thread_type = ThreadType.AUTO


@contextmanager
def av_errors(path: Path) -> Iterator[None]:
    """libav's errors, and the system's, as RecordingError."""
    try:
        yield
    except (av.error.FFmpegError, OSError) as error:
        raise RecordingError(f"{path.name}: {error.strerror or type(error).__name__}") from None
    except (ValueError, RuntimeError) as error:
        raise RecordingError(f"{path.name}: {error}") from None
