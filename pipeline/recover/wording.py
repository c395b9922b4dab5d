"""How clips, their times and their frames are told to people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..runtime.printable import printable

__all__ = ["clock", "counted", "frames_at", "printable", "runs"]

MOST_RANGES = 6  # of frames in one line; a person asks for more with --json


def clock(seconds: float) -> str:
    """m:ss.s, or h:mm:ss.s from an hour on; cut off, not rounded: 59.97 s are 0:59.9."""
    tenths = max(int(seconds * 10 + 1e-6), 0)
    minutes, tenths = divmod(tenths, 600)
    hours, minutes = divmod(minutes, 60)
    tail = f"{tenths // 10:02}.{tenths % 10}"
    return f"{hours}:{minutes:02}:{tail}" if hours else f"{minutes}:{tail}"


def counted(count: int, noun: str) -> str:
    """1 frame, 2 frames."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def runs(positions: Iterable[int]) -> list[tuple[int, int]]:
    """(first, last) of each run of positions that follow each other. They are in order."""
    found: list[tuple[int, int]] = []
    for position in positions:
        if found and position == found[-1][1] + 1:
            found[-1] = found[-1][0], position
        else:
            found.append((position, position))
    return found


def frames_at(positions: Sequence[int], seconds: Sequence[float]) -> str:
    """Which frames and when; `seconds` of every frame of the clip."""
    found = runs(positions)
    told = [
        f"{first} ({clock(seconds[first])})"
        if first == last
        else f"{first}–{last} ({clock(seconds[first])}–{clock(seconds[last])})"
        for first, last in found[:MOST_RANGES]
    ]
    if len(found) > MOST_RANGES:
        left = sum(last - first + 1 for first, last in found[MOST_RANGES:])
        told.append(f"and {left} more")
    return f"{'frame' if len(positions) == 1 else 'frames'} {', '.join(told)}"
