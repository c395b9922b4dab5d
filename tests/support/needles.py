"""Many byte strings looked for at once: in a process's memory, in every file below a folder."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

LEAST_BYTES = 16  # shorter ones would be found by chance
_CHUNK_BYTES = 256 * 1024
_ZEROS = bytes(_CHUNK_BYTES)
_TABLE_BITS = 18
_FACTOR = np.uint32(2654435761)  # spreads what is alike


class Needles:
    """Byte strings, and what each of them is."""

    def __init__(self, named: Iterable[tuple[str, bytes]]) -> None:
        self._names: dict[bytes, set[str]] = defaultdict(set)
        self._by_start: dict[bytes, list[bytes]] = defaultdict(list)
        self._table: NDArray[np.bool_] = np.zeros(1 << _TABLE_BITS, np.bool_)
        self._longest = 0
        for name, needle in named:
            assert len(needle) >= LEAST_BYTES, name
            if needle not in self._names:
                self._by_start[needle[:4]].append(needle)
            self._names[needle].add(name)
            self._longest = max(self._longest, len(needle))
            self._table[_slots(np.frombuffer(needle[:4], "<u4"))] = True

    def __len__(self) -> int:
        return len(self._names)

    def found_in(self, data: bytes) -> set[str]:
        """The names of those that are somewhere in it."""
        names: set[str] = set()
        for begin in range(0, len(data), _CHUNK_BYTES):
            part = data[begin : begin + _CHUNK_BYTES + self._longest]
            if part.startswith(_ZEROS[: len(part)]) and len(part) <= _CHUNK_BYTES:
                continue
            for at in self._candidates(part):
                for needle in self._by_start.get(part[at : at + 4], ()):
                    if part.startswith(needle, at):
                        names |= self._names[needle]
        return names

    def found_below(self, folder: Path) -> Mapping[str, set[str]]:
        """By the files in which there is one."""
        found = {}
        for path in sorted(folder.rglob("*")):
            if path.is_file() and (names := self.found_in(path.read_bytes())):
                found[str(path)] = names
        return found

    def _candidates(self, data: bytes) -> Iterator[int]:
        for offset in range(4):
            count = (len(data) - offset) // 4
            if count > 0:
                words = np.frombuffer(data, "<u4", count, offset)
                for at in np.flatnonzero(self._table[_slots(words)]):
                    yield int(at) * 4 + offset


def _slots(words: NDArray[np.uint32]) -> NDArray[np.uint32]:
    slots: NDArray[np.uint32] = (words * _FACTOR) >> np.uint32(32 - _TABLE_BITS)
    return slots


def memory_of(pid: int) -> list[bytes]:
    """Whatever the process can write: heap, stacks, libraries' data. For who may (root)."""
    regions = []
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            match = re.match(r"([0-9a-f]+)-([0-9a-f]+) rw", line)
            if match is None:
                continue
            begin, end = (int(part, 16) for part in match.groups())
            memory.seek(begin)
            region = memory.read(end - begin)
            assert len(region) == end - begin, line
            regions.append(region)
    return regions


def written_files(pid: int) -> set[Path]:
    """The regular files that a process has open for writing, deleted ones too."""
    found = set()
    for handle in Path(f"/proc/{pid}/fd").iterdir():
        flags = re.search(
            r"flags:\s*([0-7]+)", Path(f"/proc/{pid}/fdinfo/{handle.name}").read_text()
        )
        assert flags is not None
        if int(flags[1], 8) & 3 and handle.is_file():
            found.add(handle.readlink())
    return found
