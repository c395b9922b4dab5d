"""Who is where in a recording: lines of JSON beside it, `FILE.tracks`, one for each IDR interval.

The first line says whose recording it is. It names tracks by the numbers of the evidence records,
and shows nothing that the protected picture does not show. The bytes come from a disk: reading
them is strict, and bounded.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from .errors import RecordingError

SUFFIX = ".tracks"
FORMAT = "tracks/1"
MOST_LINE_BYTES = 1 << 20
MOST_TRACKS = 4096  # in one interval; at most 100 bytes each
_MOST_SECONDS = 1e7  # of one file: four months
_MOST_PX = 1 << 16
_MOST_FRAMES = 1 << 31
_TRACK_NUMBERS = 1 << 32
_MOST_MS = 1 << 53  # what a JSON reader surely holds
_CAMERA = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_SESSION = re.compile(r"[0-9a-f]{32}", re.ASCII)
_HEADER_KEYS = {
    *("bauta", "camera", "session", "start_ms", "fps", "width", "height", "evidence", "codec")
}
_INTERVAL_KEYS = {"t", "seconds", "frames", "obscured", "tracks"}

Codec = Literal["h264", "h265"]


@dataclass(frozen=True, slots=True)
class RecordingSession:
    """What the recordings of one run of a camera have in common."""

    id: str  # 32 hex digits: the same track number in another session is another person
    has_evidence: bool
    codec: Codec


@dataclass(frozen=True, slots=True, kw_only=True)
class PresenceHeader:
    """The first line: whose recording it is."""

    camera: str
    session: str  # 32 hex digits
    start_ms: int  # Unix time of the first frame
    fps: float
    width: int
    height: int
    evidence: bool
    codec: Codec


@dataclass(frozen=True, slots=True)
class TrackSpan:
    """One track in one interval. Times are seconds from the recording's first frame."""

    track: int
    first_seconds: float
    last_seconds: float
    frames: int
    box_xywh_px: tuple[int, int, int, int]  # the largest
    best_seconds: float  # when it is that large


@dataclass(frozen=True, slots=True)
class Interval:
    """From one IDR frame to the next."""

    at_seconds: float  # from the recording's first frame
    seconds: float  # with its last frame
    frames: int
    obscured: int  # of the frames
    tracks: tuple[TrackSpan, ...]


def presence_path(recording: Path) -> Path:
    """Where it lies."""
    return recording.with_name(recording.name + SUFFIX)


def write_header(header: PresenceHeader) -> bytes:
    """A line, with its end."""
    return _line(
        {
            "bauta": FORMAT,
            "camera": header.camera,
            "session": header.session,
            "start_ms": header.start_ms,
            "fps": round(header.fps, 4),
            "width": header.width,
            "height": header.height,
            "evidence": header.evidence,
            "codec": header.codec,
        }
    )


def write_interval(interval: Interval) -> bytes:
    """A line, with its end. Of more than MOST_TRACKS tracks the last ones are left out."""
    tracks = [
        [
            *(span.track, _ms(span.first_seconds), _ms(span.last_seconds), span.frames),
            *(*span.box_xywh_px, _ms(span.best_seconds)),
        ]
        for span in interval.tracks[:MOST_TRACKS]
    ]
    return _line(
        {
            "t": _ms(interval.at_seconds),
            "seconds": _ms(interval.seconds),
            "frames": interval.frames,
            "obscured": interval.obscured,
            "tracks": tracks,
        }
    )


def parse_line(line: bytes) -> PresenceHeader | Interval:
    """The inverse, for a whole line with or without its end. Raises RecordingError."""
    if len(line) > MOST_LINE_BYTES:
        raise _broken(f"a line has at most {MOST_LINE_BYTES} bytes")
    try:
        value = json.loads(line, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise _broken("a line is not JSON") from None
    if not isinstance(value, dict):
        raise _broken("a line is not an object")
    keys = cast(dict[str, Any], value)
    if keys.keys() == _HEADER_KEYS:
        return _header(keys)
    if keys.keys() == _INTERVAL_KEYS:
        return _interval(keys)
    raise _broken("a line has other keys than it should")


def whole_lines(data: bytes) -> tuple[list[bytes], int]:
    """The lines that have ended, and how many bytes they are: the rest is still being written.

    Raises RecordingError where a line is longer than any may be.
    """
    end = data.rfind(b"\n") + 1
    if len(data) - end > MOST_LINE_BYTES:
        raise _broken(f"a line has at most {MOST_LINE_BYTES} bytes")
    return data[:end].split(b"\n")[:-1], end


def _header(keys: dict[str, Any]) -> PresenceHeader:
    if keys["bauta"] != FORMAT:
        raise _broken(f"its format is not {FORMAT}")
    camera, session, codec = keys["camera"], keys["session"], keys["codec"]
    if not isinstance(camera, str) or not _CAMERA.fullmatch(camera):
        raise _broken("its camera has no proper name")
    if not isinstance(session, str) or not _SESSION.fullmatch(session):
        raise _broken("its session is not 32 hex digits")
    if codec not in ("h264", "h265") or not isinstance(keys["evidence"], bool):
        raise _broken("codec or evidence is not what it may be")
    return PresenceHeader(
        camera=camera,
        session=session,
        start_ms=_whole(keys["start_ms"], 0, _MOST_MS),
        fps=_number(keys["fps"], 0.01, 1000.0),
        width=_whole(keys["width"], 1, _MOST_PX),
        height=_whole(keys["height"], 1, _MOST_PX),
        evidence=keys["evidence"],
        codec=cast(Codec, codec),
    )


def _interval(keys: dict[str, Any]) -> Interval:
    rows = keys["tracks"]
    if not isinstance(rows, list) or len(rows) > MOST_TRACKS:
        raise _broken(f"tracks is not a list of at most {MOST_TRACKS}")
    frames = _whole(keys["frames"], 1, _MOST_FRAMES)
    spans = tuple(_span(row, frames) for row in rows)
    if len({span.track for span in spans}) < len(spans):
        raise _broken("a track comes twice in a line")
    return Interval(
        _number(keys["t"], 0.0, _MOST_SECONDS),
        _number(keys["seconds"], 0.0, _MOST_SECONDS),
        frames,
        _whole(keys["obscured"], 0, frames),
        spans,
    )


def _span(row: Any, frames: int) -> TrackSpan:
    if not isinstance(row, list) or len(row) != 9:
        raise _broken("a track is not nine numbers")
    first = _number(row[1], 0.0, _MOST_SECONDS)
    last = _number(row[2], first, _MOST_SECONDS)
    return TrackSpan(
        _whole(row[0], 0, _TRACK_NUMBERS - 1),
        first,
        last,
        _whole(row[3], 1, frames),
        (
            *(_whole(row[4], 0, _MOST_PX), _whole(row[5], 0, _MOST_PX)),
            *(_whole(row[6], 1, _MOST_PX), _whole(row[7], 1, _MOST_PX)),
        ),
        _number(row[8], first, last),
    )


def _whole(value: Any, least: int, most: int) -> int:
    # true is an int for Python
    if type(value) is not int or not least <= value <= most:
        raise _broken("a whole number is not what it may be")
    return value


def _number(value: Any, least: float, most: float) -> float:
    if type(value) not in (int, float) or not least <= value <= most or not math.isfinite(value):
        raise _broken("a number is not what it may be")
    return float(value)


def _ms(seconds: float) -> float:
    return round(seconds, 3)


def _line(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _no_constant(name: str) -> float:
    raise ValueError(name)


def _broken(what: str) -> RecordingError:
    return RecordingError(f"who is in a recording cannot be read: {what}")
