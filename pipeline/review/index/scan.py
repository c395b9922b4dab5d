"""Which recordings lie in a folder, and whose they are by their names."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from stat import S_ISREG

ENDINGS = (".mp4", ".mkv")
SETTLED_NS = 2_000_000_000  # a folder that changed later than this may change again unseen
_NAME = re.compile(
    r"(?P<camera>[A-Za-z0-9][A-Za-z0-9_.-]{0,63})_"
    r"(?P<stamp>\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d)\.(?P<ms>\d{3})Z\.mp4",
    re.ASCII,
)
_STAMP = "%Y-%m-%dT%H-%M-%S"
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_MOST_NS = 2**63 - 1  # what a database holds; file systems know later times


@dataclass(frozen=True, slots=True)
class Found:
    """A file that may be a recording."""

    path: Path
    bytes: int
    mtime_ns: int


@dataclass(frozen=True, slots=True)
class Listing:
    """One folder at one time."""

    files: dict[str, Found]  # by name
    folders: tuple[Path, ...]
    mark_ns: int  # when it changed; where that differs now, something came or went


def list_folder(folder: Path, now_ns: int, before: Listing | None = None) -> Listing:
    """Recordings and folders in it, but no links: those may lead anywhere. Raises OSError.

    `before`: an earlier look at it, of which what did not change is kept: it is quicker so.
    """
    known = before.files if before is not None else {}
    files: dict[str, Found] = {}
    folders: list[Path] = []
    changed_ns = folder.stat().st_mtime_ns
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name.startswith(".") or _CONTROLS.search(name):
                continue  # a name that is no line of text would break lines, or the database
            if name.endswith(ENDINGS) and entry.is_file(follow_symlinks=False):
                with suppress(OSError):  # deleted just now
                    stat = entry.stat(follow_symlinks=False)
                    seen, now = known.get(name), _found(folder / name, stat)
                    files[name] = seen if seen == now and seen is not None else now
            elif entry.is_dir(follow_symlinks=False):
                folders.append(folder / name)
    # what changes within one tick of the clock leaves no trace: then look again
    is_settled = changed_ns < now_ns - SETTLED_NS
    return Listing(files, tuple(folders), changed_ns if is_settled else -1)


def has_changed(folder: Path, listing: Listing) -> bool:
    """Whether anything came or went. What only grew is not seen."""
    try:
        return folder.stat().st_mtime_ns != listing.mark_ns
    except OSError:
        return True


def look_again(path: Path) -> Found | None:
    """None where it is gone, or is no file."""
    try:
        stat = path.lstat()
    except OSError:
        return None
    return _found(path, stat) if S_ISREG(stat.st_mode) else None


def _found(path: Path, stat: os.stat_result) -> Found:
    return Found(path, stat.st_size, min(max(stat.st_mtime_ns, -_MOST_NS), _MOST_NS))


def named(path: Path) -> tuple[str, int] | None:
    """Camera and start in Unix ms, where the name is one that the service gives."""
    match = _NAME.fullmatch(path.name)
    if match is None:
        return None
    try:
        start = datetime.strptime(match["stamp"], _STAMP).replace(tzinfo=UTC)
    except ValueError:
        return None
    start_ms = round(start.timestamp() * 1000) + int(match["ms"])
    return (match["camera"], start_ms) if start_ms >= 0 else None
