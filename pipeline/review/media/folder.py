"""Folders of the console that may be emptied at any time: bounded, and readable by it alone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

PRIVATE_DIR = 0o700
PRIVATE_FILE = 0o600


@dataclass(frozen=True, slots=True)
class Entry:
    """A file or a folder with files."""

    path: Path
    bytes: int
    mtime: float  # of the newest


def entries_of(folder: Path) -> list[Entry]:
    """What lies in it, oldest first; nothing where there is no such folder."""
    found = []
    with suppress(OSError):
        for path in folder.iterdir():
            with suppress(OSError):  # another thread may have deleted it
                inside = [path, *path.iterdir()] if path.is_dir() else [path]
                stats = [each.stat() for each in inside]
                size = sum(
                    stat.st_size for each, stat in zip(inside, stats, strict=True) if each.is_file()
                )
                found.append(Entry(path, size, max(stat.st_mtime for stat in stats)))
    return sorted(found, key=lambda entry: entry.mtime)


def make_room(entries: Iterable[Entry], most_bytes: int) -> list[Entry]:
    """Delete the oldest until the rest has at most `most_bytes`; what was deleted."""
    entries = list(entries)
    total = sum(entry.bytes for entry in entries)
    deleted = []
    for entry in entries:
        if total <= most_bytes:
            break
        remove(entry.path)
        total -= entry.bytes
        deleted.append(entry)
    return deleted


def remove(path: Path) -> None:
    """A file or a folder. Never raises: another thread may have been quicker."""
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def private_file(path: Path) -> Path:
    """Made empty, or emptied; readable by its owner alone. Raises OSError."""
    handle = os.open(path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, PRIVATE_FILE)
    try:
        os.fchmod(handle, PRIVATE_FILE)
    finally:
        os.close(handle)
    return path
