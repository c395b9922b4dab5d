"""Live HLS of one camera, for browsers without Media Source Extensions.

The last groups are the segments. Nothing is kept until somebody asks for the playlist, nor from
30 s after the last who did.
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from .boxes import timescale_of, timing_of
from .pieces import Fragment, InitSegment

ASKED_SECONDS = 30.0  # segments are made for so long after somebody asked
LISTED = 6  # segments in the playlist
KEPT = 8  # a player may still be fetching what has just left the playlist
SEGMENT_BYTES = 24_000_000  # a group without end is cut off here
PLAYLIST_TYPE, SEGMENT_TYPE = "application/vnd.apple.mpegurl", "video/mp4"


@dataclass(frozen=True, slots=True)
class _Segment:
    number: int
    seconds: float
    data: bytes = field(repr=False)
    map_name: str
    is_discontinuous: bool  # its clock or its stream does not continue the one before


class LiveHls:
    """Fed by the hub, read by the server's threads."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._asked_at: float | None = None
        self._init: InitSegment | None = None
        self._timescale = 0
        self._streams = 0  # begun so far
        self._maps: dict[str, bytes] = {}
        self._open: list[Fragment] = []
        self._open_bytes = 0
        self._open_start = 0  # ticks
        self._next_start: int | None = None  # ticks; where the newest segment ends
        self._segments: deque[_Segment] = deque()
        # seconds, so that the numbers go on growing when the console is started anew
        self._number = int(time.time())
        self._discontinuities = 0  # that have left the playlist
        self._longest_seconds = 1.0

    # --- the writer's side ---

    def begin(self, init: InitSegment) -> None:
        """A new stream."""
        with self._lock:
            self._finish()
            self._init, self._next_start = init, None
            self._streams += 1
            try:
                self._timescale = timescale_of(init.data)
            except ValueError:
                self._timescale = 0  # not of our muxer: there is no HLS of it
            if self._asked_at is not None:
                self._maps[self._map_name] = init.data

    def add(self, fragment: Fragment) -> None:
        """One frame; costs nothing while nobody asks."""
        if self._asked_at is None:
            return
        with self._lock:
            self._add(fragment)

    def tidy(self) -> None:
        """Forget everything where nobody has asked for a while. To be called now and then."""
        with self._lock:
            asked_at = self._asked_at
            if asked_at is not None and self._monotonic() - asked_at > ASKED_SECONDS:
                self._forget()

    def end(self) -> None:
        """The stream is over: what came of it can still be fetched."""
        with self._lock:
            self._finish()
            self._init, self._next_start = None, None

    # --- the readers' side ---

    def playlist(self, group: Sequence[Fragment] = ()) -> str | None:
        """The playlist; None while no segment is whole: ask again in a moment.

        `group`: what the hub keeps since the last keyframe, for a beginning.
        """
        with self._lock:
            if self._asked_at is None and self._init is not None:
                self._maps[self._map_name] = self._init.data
                for fragment in group:
                    self._add(fragment)
            self._asked_at = self._monotonic()
            listed = list(self._segments)[-LISTED:]
            if not listed:
                return None
            hidden = list(self._segments)[:-LISTED]
            gone = self._discontinuities + sum(one.is_discontinuous for one in hidden)
            return self._text(listed, gone)

    def file(self, name: str) -> bytes | None:
        """An init segment or a segment by the name in the playlist; None: it is gone."""
        with self._lock:
            if (data := self._maps.get(name)) is not None:
                return data
            for segment in self._segments:
                if name == f"{segment.number}.m4s":
                    return segment.data
            return None

    # --- inside, with the lock held ---

    @property
    def _map_name(self) -> str:
        return f"init{self._streams}.mp4"

    def _add(self, fragment: Fragment) -> None:
        if self._init is None or not self._timescale:
            return
        if fragment.is_keyframe:
            self._finish()
        elif not self._open:
            return  # the middle of a group
        if not self._open:
            try:
                self._open_start = timing_of(fragment.data).start
            except ValueError:
                return
        self._open.append(fragment)
        self._open_bytes += len(fragment.data)
        if self._open_bytes > SEGMENT_BYTES:
            self._finish()

    def _finish(self) -> None:
        """The open group becomes a segment."""
        group, self._open, self._open_bytes = self._open, [], 0
        if not group:
            return
        try:
            last = timing_of(group[-1].data)
        except ValueError:
            return
        end = last.start + last.length
        if end <= self._open_start:
            return
        segment = _Segment(
            self._number,
            (end - self._open_start) / self._timescale,
            b"".join(fragment.data for fragment in group),
            self._map_name,
            bool(self._segments) and self._next_start != self._open_start,
        )
        self._number += 1
        self._next_start = end
        self._longest_seconds = max(self._longest_seconds, segment.seconds)
        self._segments.append(segment)
        while len(self._segments) > KEPT:
            self._discontinuities += self._segments.popleft().is_discontinuous
        used = {one.map_name for one in self._segments} | {self._map_name}
        self._maps = {name: data for name, data in self._maps.items() if name in used}

    def _forget(self) -> None:
        self._asked_at = None
        self._discontinuities += sum(one.is_discontinuous for one in self._segments) + 1
        self._segments.clear()
        self._maps.clear()
        self._open, self._open_bytes, self._next_start = [], 0, None

    def _text(self, listed: Sequence[_Segment], gone: int) -> str:
        lines = [
            "#EXTM3U",
            "#EXT-X-VERSION:7",
            f"#EXT-X-TARGETDURATION:{math.ceil(self._longest_seconds)}",
            f"#EXT-X-MEDIA-SEQUENCE:{listed[0].number}",
            f"#EXT-X-DISCONTINUITY-SEQUENCE:{gone}",
            "#EXT-X-INDEPENDENT-SEGMENTS",
        ]
        map_name = None
        for segment in listed:
            if segment.is_discontinuous:
                lines.append("#EXT-X-DISCONTINUITY")
            if segment.map_name != map_name:
                map_name = segment.map_name
                lines.append(f'#EXT-X-MAP:URI="live/{map_name}"')
            lines += [f"#EXTINF:{segment.seconds:.3f},", f"live/{segment.number}.m4s"]
        return "\n".join(lines) + "\n"
