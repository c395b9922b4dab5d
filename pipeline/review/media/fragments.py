"""Where the fragments of a recording lie: for players that fetch by byte range, and for seeking.

Only headers are read. A file that grows is read on from where it was complete.
"""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from ...errors import RecordingError
from .boxes import Header, Run, box_header, damaged, parse_fragment, parse_header
from .plain_file import open_plain

MOST_HEADER_BYTES = 16 << 20  # of moov
MOST_FRAGMENT_HEADER_BYTES = 4 << 20  # of moof
MOST_FRAGMENTS = 1 << 18  # three days of one second each
_MOST_BOXES = 4 * MOST_FRAGMENTS
_MOST_CPU_SECONDS = 30.0  # of one look: what is allowed above takes a third of it
_AHEAD_BYTES = 4096  # a second's moof is about 200 bytes
_FIRST_SECONDS = 30.0  # of the fragments that tell the frame rate
H265 = (
    "this recording is H.265, which browsers do not play: export it for a player, or set "
    "encode.codec to h264"
)


@dataclass(frozen=True, slots=True)
class Fragment:
    """One `moof` and what belongs to it."""

    seconds: float  # from the file's first frame
    length_seconds: float
    offset: int
    size: int
    is_key: bool  # begins with an IDR frame
    frames: int

    @property
    def end_seconds(self) -> float:
        """Where the next one begins."""
        return self.seconds + self.length_seconds


@dataclass(frozen=True, slots=True)
class Fragments:
    """What is complete of one file."""

    mime: str  # with codecs, as MediaSource takes it
    init_span: tuple[int, int]  # offset and size
    fps: float
    timescale: int  # ticks a second of the picture
    width: int
    height: int
    fragments: tuple[Fragment, ...] = field(repr=False)
    end: int  # where to read on
    is_fragmented: bool = True  # False: it must be remuxed before it can be played from anywhere
    is_finished: bool = False  # nothing will be added
    refusal: str | None = None  # why browsers cannot play it
    problem: str | None = None  # what is wrong behind the last fragment
    header: Header = field(default=Header((), True), repr=False)

    @property
    def seconds(self) -> float:
        """The length of what is complete."""
        return self.fragments[-1].end_seconds if self.fragments else 0.0

    def key_before(self, seconds: float) -> int:
        """Index of the last fragment with a keyframe that begins then or earlier; else the first.

        Raises RecordingError where there is none.
        """
        keys = [index for index, item in enumerate(self.fragments) if item.is_key]
        if not keys:
            raise RecordingError("the recording has no picture yet")
        earlier = [index for index in keys if self.fragments[index].seconds <= seconds + 1e-6]
        return earlier[-1] if earlier else keys[0]

    def key_after(self, seconds: float) -> int:
        """Index of the first fragment with a keyframe that begins then or later; else the end."""
        for index, item in enumerate(self.fragments):
            if item.is_key and item.seconds >= seconds - 1e-6:
                return index
        return len(self.fragments)


def read_fragments(path: Path, before: Fragments | None = None) -> Fragments:
    """Of a fragmented MP4; `before`: what was read of the same file earlier.

    A last fragment that is not complete is left out. Raises RecordingError where the file cannot
    be read or is no MP4.
    """
    try:
        with open_plain(path) as file:
            return _read(file.fileno(), before)
    except OSError as error:
        raise RecordingError(f"{path.name}: {error.strerror}") from None
    except RecordingError as error:
        raise RecordingError(f"{path.name}: {error}") from None


def read_header(path: Path) -> Fragments:
    """Without its fragments: a read of a few kilobytes. Raises RecordingError as read_fragments."""
    try:
        with open_plain(path) as file:
            return _read_header(file.fileno(), os.fstat(file.fileno()).st_size)
    except OSError as error:
        raise RecordingError(f"{path.name}: {error.strerror}") from None
    except RecordingError as error:
        raise RecordingError(f"{path.name}: {error}") from None


def _read(fd: int, before: Fragments | None) -> Fragments:
    size = os.fstat(fd).st_size
    if before is None or before.end > size:
        before = _read_header(fd, size)
    if not before.is_fragmented or before.is_finished or before.problem is not None:
        return before
    return _read_on(fd, size, before)


def _read_header(fd: int, size: int) -> Fragments:
    at = 0
    for _ in range(64):
        ahead = os.pread(fd, _AHEAD_BYTES, at)
        kind, _, length = box_header(ahead, size - at)
        if at == 0 and kind not in (b"ftyp", b"styp", b"moov", b"free", b"skip", b"wide"):
            raise RecordingError("is no MP4")
        if kind == b"moov":
            if length > min(MOST_HEADER_BYTES, size - at):
                raise damaged("its header is not complete")
            moov = os.pread(fd, length, at)
            return _with_header(parse_header(moov[box_header(moov, length)[1] :]), at + length)
        at += length
        if at >= size:
            break
    raise damaged("it has no header")


def _with_header(header: Header, end: int) -> Fragments:
    video = header.video
    if video is None:
        raise RecordingError("holds no picture")
    codecs = [track.codec for track in header.tracks if track.handler in (b"vide", b"soun")]
    refusal = None
    if video.codec is None:
        refusal = f"browsers do not play its picture ({_name(video.format)})"
        if video.format in (b"hvc1", b"hev1"):
            refusal = H265
    elif None in codecs:
        other = next(track for track in header.tracks if track.codec is None)
        refusal = f"browsers do not play its sound ({_name(other.format)})"
    known = ", ".join(codec for codec in codecs if codec is not None)
    return Fragments(
        mime=f'video/mp4; codecs="{known}"' if known else "video/mp4",
        init_span=(0, end),
        fps=0.0,
        timescale=video.timescale,
        width=video.width,
        height=video.height,
        fragments=(),
        end=end,
        is_fragmented=header.is_fragmented,
        refusal=refusal,
        header=header,
    )


def _name(kind: bytes) -> str:
    """A code of four letters, fit for people."""
    text = kind.decode("ascii", "replace")
    return text if text.isascii() and text.isprintable() else "unknown"


def _read_on(fd: int, size: int, known: Fragments) -> Fragments:
    """With the fragments behind those that are known."""
    found = list(known.fragments)
    at, is_finished, problem = known.end, False, None
    begins_at = round(known.seconds * known.timescale)
    until = time.thread_time() + _MOST_CPU_SECONDS  # not a clock: a slow disk is no defect
    try:
        for _ in range(_MOST_BOXES):
            if size - at < 8:
                break
            ahead = os.pread(fd, _AHEAD_BYTES, at)
            kind, header_bytes, length = box_header(ahead, size - at)
            if length > size - at:
                break  # it is being written
            if kind == b"mfra":  # the writer's last word
                is_finished, at = True, at + length
                break
            if kind != b"moof":
                at += length
                continue
            if length > MOST_FRAGMENT_HEADER_BYTES or len(found) >= MOST_FRAGMENTS:
                raise damaged("it has more fragments than a recording can have")
            if time.thread_time() > until:
                raise damaged("to find its fragments takes too long")
            moof = ahead[:length] if length <= len(ahead) else os.pread(fd, length, at)
            end = _end_of_data(fd, at + length, size)
            if end is None:
                break
            runs = list(parse_fragment(moof[header_bytes:], known.header))
            if not all(run.is_movable for run in runs):
                return replace(known, is_fragmented=False, fragments=())
            begins_at = _add(found, runs, known, (at, end - at), begins_at)
            at = end
    except RecordingError as error:
        problem = str(error)
    return replace(
        known,
        fragments=tuple(found),
        end=at,
        fps=known.fps or _fps(found),
        is_finished=is_finished,
        problem=problem,
    )


def _end_of_data(fd: int, at: int, size: int) -> int | None:
    """Behind the `mdat` that begins there; None where it is not complete."""
    if size - at < 8:
        return None
    kind, _, length = box_header(os.pread(fd, 16, at), size - at)
    if kind != b"mdat":
        raise damaged("a fragment has no content")
    return at + length if length <= size - at else None


def _add(
    found: list[Fragment], runs: list[Run], known: Fragments, span: tuple[int, int], begins_at: int
) -> int:
    """Appends it; where the next one begins, in ticks."""
    video = known.header.video
    assert video is not None
    runs = [run for run in runs if run.track == video.number]
    if not sum(run.samples for run in runs):
        if found:  # sound alone: it goes with the one before
            last = found[-1]
            found[-1] = replace(last, size=span[0] + span[1] - last.offset)
        return begins_at
    first = runs[0]
    start = begins_at if first.begins_at is None else first.begins_at
    ticks = sum(run.ticks for run in runs)
    if start < begins_at - video.timescale:
        raise damaged("a fragment is earlier than the one before")
    found.append(
        Fragment(
            *(start / video.timescale, ticks / video.timescale, *span, first.is_key),
            frames=sum(run.samples for run in runs),
        )
    )
    return start + ticks


def _fps(found: list[Fragment]) -> float:
    """Of the first ones, as gaps may come later; 0 where nothing is known yet."""
    some = [item for item in found if item.seconds <= _FIRST_SECONDS]
    length = sum(item.length_seconds for item in some)
    return round(sum(item.frames for item in some) / length, 3) if length > 0 else 0.0
