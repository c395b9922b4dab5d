"""Who is in a recording, written beside it while it grows: `FILE.tracks`."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from ..frames import EncodedPacket, TrackBox
from ..presence import Interval, PresenceHeader, TrackSpan, write_header, write_interval
from ..runtime.ratelimit import RateLimitedLog

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Seen:
    """A track in the interval that is being written."""

    first_seconds: float
    last_seconds: float
    frames: int
    box_xywh_px: tuple[int, int, int, int]
    best_seconds: float


@dataclass(slots=True)
class _Open:
    """An interval that has not ended."""

    at_seconds: float
    last_seconds: float
    frames: int = 0
    obscured: int = 0
    tracks: dict[int, _Seen] = field(default_factory=dict)


class PresenceWriter:
    """A file that cannot be written is given up; the recording goes on."""

    def __init__(
        self, path: Path, facts: PresenceHeader, *, quiet: RateLimitedLog | None = None
    ) -> None:
        """`path` is the file's own. `quiet`: where the next writer is to keep its silence."""
        self._path = path
        self._frame_seconds = 1 / facts.fps
        self._quiet = quiet or RateLimitedLog(_log)
        self._began_seconds: float | None = None  # the first frame, on the stream's clock
        self._open: _Open | None = None
        self._file: BinaryIO | None = None
        try:
            self._file = path.open("wb")
        except OSError as error:
            self._give_up(error)
        self._append(write_header(facts))

    def write(self, packet: EncodedPacket) -> None:
        """Of each frame. With an IDR frame the interval before it is written, and flushed."""
        if packet.kind != "video" or self._file is None:
            return
        seconds = float(packet.pts * packet.time_base)
        if self._began_seconds is None:
            self._began_seconds = seconds
        seconds -= self._began_seconds
        if packet.is_keyframe:
            self._end_interval()
        if self._open is None:
            self._open = _Open(seconds, seconds)
        self._open.last_seconds = seconds
        self._open.frames += 1
        self._open.obscured += packet.redacted
        for box in packet.tracks:
            _note(self._open.tracks, box, seconds)

    def close(self) -> None:
        """With the interval that has begun. Idempotent."""
        self._end_interval()
        file, self._file = self._file, None
        try:
            if file is not None:
                file.close()
        except OSError as error:
            self._give_up(error)

    def _end_interval(self) -> None:
        ended, self._open = self._open, None
        if ended is None:
            return
        spans = tuple(
            TrackSpan(
                *(track, seen.first_seconds, seen.last_seconds, seen.frames),
                *(seen.box_xywh_px, seen.best_seconds),
            )
            for track, seen in sorted(ended.tracks.items())
        )
        length = ended.last_seconds - ended.at_seconds + self._frame_seconds
        self._append(
            write_interval(Interval(ended.at_seconds, length, ended.frames, ended.obscured, spans))
        )

    def _append(self, line: bytes) -> None:
        """Through to the system at once: a killed process loses one interval."""
        if self._file is None:
            return
        try:
            self._file.write(line)
            self._file.flush()
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        file, self._file = self._file, None
        self._quiet.warning("%s: who is in it is not noted: %s", self._path.name, error.strerror)
        if file is not None:
            try:
                file.close()
            except OSError:
                return  # what could not be written cannot be flushed either


def _note(tracks: dict[int, _Seen], box: TrackBox, seconds: float) -> None:
    seen = tracks.get(box.track_id)
    if seen is None:
        tracks[box.track_id] = _Seen(seconds, seconds, 1, box.box_xywh_px, seconds)
        return
    seen.last_seconds = seconds
    seen.frames += 1
    if _area(box.box_xywh_px) > _area(seen.box_xywh_px):
        seen.box_xywh_px, seen.best_seconds = box.box_xywh_px, seconds


def _area(box_xywh_px: tuple[int, int, int, int]) -> int:
    return box_xywh_px[2] * box_xywh_px[3]
