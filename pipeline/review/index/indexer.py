"""The thread that keeps the index: it looks at the folders, and reads on what grows.

It knows what it knows from the database and the disk alone: where the database was lost, the same
steps make it again, the newest recordings first.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import BautaError, RecordingError
from ...presence import Interval
from ...runtime.ratelimit import RateLimitedLog
from ..store.database import Database
from ..store.recordings import (
    Segment,
    drop_segment,
    known_segments,
    put_intervals,
    put_segment,
)
from .read import Read, lines_bytes, most_lines_bytes, read_intervals, read_recording
from .scan import Found, Listing, has_changed, list_folder, look_again, named

PASS_SECONDS = 2.0
GROWING_SECONDS = 4.0  # between two looks into a file that grows: each is two transactions
WHOLE_SECONDS = 300.0  # between two looks at all there is: what was written over is seen so
STILL_SECONDS = 60.0  # a file that was not written for so long is complete
WORK_SECONDS = 1.0  # of one pass; then it looks again at what grows
_BREATH_SECONDS = 0.02  # between two files, for the threads that serve
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IndexState:
    """For health and metrics."""

    files: int = 0  # recordings on the disk
    waiting: int = 0  # of them, not in the index as they are now
    last_ms: int = 0  # Unix time of the last step that succeeded; 0: none yet
    error: str | None = None  # why the last one did not


class Indexer:
    """One index of some folders."""

    def __init__(
        self,
        database: Database,
        folders: Sequence[Path],
        cameras: Sequence[str] = (),
        *,
        dropped: Callable[[Path], None] = lambda _path: None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`cameras`: those whose recordings come first. `dropped`: called for each that is gone.

        `now`: seconds since 1970.
        """
        self._database = database
        self._folders = tuple(folders)
        self._cameras = frozenset(cameras)
        self._dropped, self._now = dropped, now
        self._listings: dict[Path, Listing] = {}  # of the folders, and those in them
        self._known: dict[Path, Segment] | None = None  # None: the database is asked
        self._waiting: deque[Path] = deque()  # to be taken up, the most important first
        self._growing: dict[Path, Read | None] = {}  # with the last look into each
        self._looked: dict[Path, float] = {}  # when that was
        self._begun: dict[Path, tuple[Found, Read]] = {}  # complete, and not read to the end
        self._given_up: dict[Path, Found] = {}  # what the index cannot hold, as it was then
        self._next_whole = 0.0
        self._quiet = RateLimitedLog(_log, every_seconds=60.0)
        self._quiet_file = RateLimitedLog(_log)
        self._state = IndexState()

    @property
    def state(self) -> IndexState:
        """As of the last step. Any thread."""
        return self._state

    def run(self, stop: threading.Event) -> None:
        """Until `stop`. Never raises."""
        while not stop.is_set():
            is_done = self.step(stop)
            stop.wait(PASS_SECONDS if is_done else _BREATH_SECONDS)

    def step(self, stop: threading.Event | None = None) -> bool:
        """One pass; whether nothing is left to be done. Never raises."""
        try:
            self._pass(stop or threading.Event())
        except BautaError as error:
            self._failed(str(error))
            return True
        except Exception as error:  # a defect must not end the index for good
            _log.debug("indexing", exc_info=True)
            self._failed(f"indexing failed: {type(error).__name__}: {error}")
            return True
        unread = [str(folder) for folder in self._folders if folder not in self._listings]
        self._state = IndexState(
            files=sum(len(listing.files) for listing in self._listings.values()),
            waiting=len(self._waiting),
            last_ms=round(self._now() * 1000),
            error=f"cannot be read: {', '.join(unread)}" if unread else None,
        )
        return not self._waiting

    def _failed(self, reason: str) -> None:
        self._quiet.warning("index: %s", reason)
        self._known = None  # the database may be another one when it answers again
        self._growing.clear()
        self._begun.clear()
        self._state = replace(self._state, error=reason)

    def _pass(self, stop: threading.Event) -> None:
        known, now = self._known, time.monotonic()
        is_first = known is None
        is_whole = is_first or now >= self._next_whole
        if known is None or is_whole:  # another console may have written into it
            known = {Path(path): one for path, one in known_segments(self._database).items()}
            self._next_whole = now + WHOLE_SECONDS
        changed = self._list(is_whole)
        files = [found for listing in changed for found in listing.files.values()]
        self._see_what_grows(files)
        if changed:
            due = [found.path for found in files if self._is_due(found, known, is_first)]
            due += [path for path in self._waiting if path not in set(due)]
            self._waiting = deque(sorted(due, key=self._rank))
        if changed or is_whole:
            self._drop_gone(known, is_first=is_first)
        self._known = known
        self._read_on(known, now)
        until = time.monotonic() + WORK_SECONDS
        while self._waiting and time.monotonic() < until and not stop.is_set():
            is_done = self._take_up(self._waiting[0], known)
            path = self._waiting.popleft()
            if not is_done:
                self._waiting.append(path)  # the others come first
            stop.wait(_BREATH_SECONDS)

    # --- what there is ---

    def _list(self, is_whole: bool) -> list[Listing]:
        """Folders in which something came or went; all of them where it is time to."""
        changed: list[Listing] = []
        present: set[Path] = set()
        for folder in self._folders:
            present.add(folder)
            changed += self._list_one(folder, is_whole)
            listing = self._listings.get(folder)
            for inner in listing.folders if listing is not None else ():
                present.add(inner)
                changed += self._list_one(inner, is_whole)
        for folder in self._listings.keys() - present:
            changed.append(replace(self._listings.pop(folder), files={}))
        return changed

    def _list_one(self, folder: Path, is_whole: bool) -> Iterator[Listing]:
        before = self._listings.get(folder)
        if not is_whole and before is not None and not has_changed(folder, before):
            return
        try:
            listing = list_folder(folder, round(self._now() * 1e9), before)
        except OSError:
            # not mounted, perhaps: what is known of it stays as it is
            self._listings.pop(folder, None)
            return
        self._listings[folder] = listing
        yield listing

    def _see_what_grows(self, files: Iterable[Found]) -> None:
        """The newest of each camera, while it is written; others as long as they are written."""
        now_ns = round(self._now() * 1e9)
        still_ns = round(STILL_SECONDS * 1e9)
        for found in files:
            if abs(now_ns - found.mtime_ns) < still_ns:
                self._growing.setdefault(found.path, None)
        newest: dict[str, int] = {}
        names = {path: named(path) for path in self._growing}
        for name in names.values():
            if name is not None:
                newest[name[0]] = max(newest.get(name[0], 0), name[1])
        for path, name in names.items():
            found_now = look_again(path)
            is_older = name is not None and name[1] < newest[name[0]]
            if found_now is None or is_older or now_ns - found_now.mtime_ns >= still_ns:
                del self._growing[path]
                if found_now is not None and path not in self._waiting:
                    self._waiting.appendleft(path)  # it is complete

    def _is_due(self, found: Found, known: dict[Path, Segment], is_first: bool) -> bool:
        """Whether the index does not know it as it is. What grows is looked at anyway."""
        path = found.path
        if path in self._growing or self._given_up.get(path) == found:
            return False
        segment = known.get(path)
        if segment is None or segment.growing:
            return True
        if (segment.bytes, segment.mtime_ns) != (found.bytes, found.mtime_ns):
            return True
        # an earlier process may have been stopped between its file and its lines
        return is_first and segment.problem is None and segment.read_bytes < lines_bytes(path)

    def _rank(self, path: Path) -> tuple[bool, float]:
        """Cameras with live pictures first, then the newest."""
        name = named(path)
        if name is None:
            return True, 0.0
        return name[0] not in self._cameras, -float(name[1])

    def _drop_gone(self, known: dict[Path, Segment], *, is_first: bool) -> None:
        present = {
            found.path for listing in self._listings.values() for found in listing.files.values()
        }
        for path in [path for path in known if path not in present]:
            if self._is_gone(path) or (is_first and self._is_elsewhere(path)):
                drop_segment(self._database, known[path].id)
                del known[path]
                self._given_up.pop(path, None)
                self._dropped(path)

    def _is_gone(self, path: Path) -> bool:
        """A folder that cannot be read says nothing."""
        for folder in self._folders:
            if path.is_relative_to(folder) and folder not in self._listings:
                return False
        return look_again(path) is None

    def _is_elsewhere(self, path: Path) -> bool:
        """The console had other folders before. Asked at the start alone: another may run now."""
        return not any(path.is_relative_to(folder) for folder in self._folders)

    # --- what is in it ---

    def _read_on(self, known: dict[Path, Segment], now: float) -> None:
        """What grows, as far as it has grown."""
        self._looked = {path: at for path, at in self._looked.items() if now - at < GROWING_SECONDS}
        for path, before in list(self._growing.items()):
            if path in self._looked:
                continue
            self._looked[path] = now
            found, segment = look_again(path), known.get(path)
            if found is None or self._given_up.get(path) == found:
                continue
            is_same = segment is not None and segment.mtime_ns == found.mtime_ns
            if not is_same or before is None:
                read = self._read(found, before, growing=True)
                segment = self._put(found, read, known) if read is not None else None
                if read is not None and segment is not None:
                    self._put_people(segment, read, known)
                    self._growing[path] = read

    def _take_up(self, path: Path, known: dict[Path, Segment]) -> bool:
        """A file that is complete. False where there is more beside it than one step takes."""
        found, begun = look_again(path), self._begun.pop(path, None)
        if found is None or path in self._growing:
            return True
        before = begun[1] if begun is not None and begun[0] == found else None
        read = self._read(found, before, growing=False)
        segment = self._put(found, read, known) if read is not None else None
        if read is None or segment is None or self._put_people(segment, read, known):
            return True
        self._begun[path] = found, read
        return False

    def _read(self, found: Found, before: Read | None, *, growing: bool) -> Read | None:
        """None where it is nothing that we can make sense of: the others are not to wait for it."""
        try:
            return read_recording(found, growing=growing, before=before)
        except Exception as error:  # a defect of ours that some file brings out
            _log.debug("indexing", exc_info=True)
            self._quiet_file.warning("%s: not indexed: %s", found.path.name, type(error).__name__)
            self._given_up[found.path] = found
            return None

    def _put(self, found: Found, read: Read, known: dict[Path, Segment]) -> Segment | None:
        """Into the index; None where it cannot hold it. Raises StoreError."""
        try:
            segment = put_segment(self._database, read.facts)
        except (RecordingError, ValueError, OverflowError) as error:
            self._quiet_file.warning("%s", error)
            self._given_up[found.path] = found
            return None
        known[found.path] = segment
        return segment

    def _put_people(self, segment: Segment, read: Read, known: dict[Path, Segment]) -> bool:
        """Who is in it. False where that takes long: then there is more. Raises StoreError."""
        path, until = Path(segment.path), time.monotonic() + WORK_SECONDS
        parts: Iterator[tuple[list[Interval], int]]
        parts = iter([(list(read.people), segment.read_bytes)])
        if read.header is not None:
            most = most_lines_bytes(read.facts.seconds)
            parts = read_intervals(path, segment.read_bytes, most)
        for intervals, read_bytes in parts:
            if intervals or read_bytes != known[path].read_bytes:
                put_intervals(self._database, segment.id, intervals, read_bytes)
                known[path] = replace(segment, read_bytes=read_bytes)
                if time.monotonic() > until:
                    return next(parts, None) is None
        return True
