"""Which frame of a clip is which of those that records speak of.

Both sides are sequences of slice digests in order. Frames may be lost, altered, doubled or put in,
and a picture that stands still may give the same digest many times: order decides, never a digest
alone. First the digests that occur once on both sides are taken, as many as keep their order; from
these it goes on frame by frame, and what is left is searched a few frames ahead. The work grows
with the number of frames, whatever they hold.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

AHEAD = 32  # frames, on both sides, where digests do not tell by themselves


@dataclass(frozen=True, slots=True)
class Expected:
    """A frame that a record speaks of."""

    number: int  # counts frames: the distance of two is that of their frames in the clip
    digest: bytes


@dataclass(frozen=True, slots=True)
class Known:
    """Where a frame would be, were nothing lost: what a stretch of the clip begins with."""

    number: int
    at: int


def match(
    expected: Sequence[Expected], found: Sequence[bytes], before: Known | None = None
) -> dict[int, int]:
    """Index in `expected` to index in `found`: digests are equal, and both only grow."""
    matcher = _Matcher(expected, found)
    anchors = [(-1, -1), *_anchors(expected, found), (len(expected), len(found))]
    for (from_i, from_j), (to_i, to_j) in pairwise(anchors):
        known = before if from_i < 0 else Known(expected[from_i].number, from_j)
        if from_i >= 0:
            matcher.pairs[from_i] = from_j
        after = None if to_i == len(expected) else Known(expected[to_i].number, to_j)
        matcher.fill(_Stretch(from_i + 1, from_j + 1, to_i, to_j), known, after)
    return matcher.pairs


@dataclass(slots=True)
class _Stretch:
    """What is open between two anchors; the ends are not in it."""

    i: int
    j: int
    end_i: int
    end_j: int


class _Matcher:
    def __init__(self, expected: Sequence[Expected], found: Sequence[bytes]) -> None:
        self._expected, self._found = expected, found
        self.pairs: dict[int, int] = {}

    def fill(self, open_: _Stretch, known: Known | None, after: Known | None) -> None:
        known = self._forward(open_, known)
        if after is not None:
            self._backward(open_, after)
        self._search(open_, known)

    def _fits(self, i: int, reference: Known, open_: _Stretch) -> int | None:
        """Where frame i is to be expected, if it is there."""
        j = reference.at + self._expected[i].number - reference.number
        if open_.j <= j < open_.end_j and self._found[j] == self._expected[i].digest:
            return j
        return None

    def _take(self, i: int, j: int) -> Known:
        self.pairs[i] = j
        return Known(self._expected[i].number, j)

    def _forward(self, open_: _Stretch, known: Known | None) -> Known | None:
        while known is not None and open_.i < open_.end_i:
            j = self._fits(open_.i, known, open_)
            if j is None:
                break
            known = self._take(open_.i, j)
            open_.i, open_.j = open_.i + 1, j + 1
        return known

    def _backward(self, open_: _Stretch, after: Known) -> None:
        while open_.i < open_.end_i:
            j = self._fits(open_.end_i - 1, after, open_)
            if j is None:
                break
            after = self._take(open_.end_i - 1, j)
            open_.end_i, open_.end_j = open_.end_i - 1, j

    def _search(self, open_: _Stretch, known: Known | None) -> None:
        while open_.i < open_.end_i and open_.j < open_.end_j:
            if known is not None and (j := self._fits(open_.i, known, open_)) is not None:
                known = self._take(open_.i, j)
                open_.i, open_.j = open_.i + 1, j + 1
            elif (nearest := self._nearest(open_)) is not None:
                i, j = nearest
                known = self._take(i, j)
                open_.i, open_.j = i + 1, j + 1
            else:
                # neither side goes on here: as if one frame were altered
                open_.i, open_.j = open_.i + 1, open_.j + 1

    def _nearest(self, open_: _Stretch) -> tuple[int, int] | None:
        """The pair for which the fewest frames are passed over."""
        window: dict[bytes, int] = {}
        for j in range(min(open_.j + AHEAD, open_.end_j) - 1, open_.j - 1, -1):
            window[self._found[j]] = j
        pairs = (
            (i, window[self._expected[i].digest])
            for i in range(open_.i, min(open_.i + AHEAD, open_.end_i))
            if self._expected[i].digest in window
        )
        return min(pairs, key=sum, default=None)


def _anchors(expected: Sequence[Expected], found: Sequence[bytes]) -> list[tuple[int, int]]:
    """The most pairs of digests that occur once on both sides and keep their order."""
    times = Counter(item.digest for item in expected)
    times_found = Counter(found)
    where = {digest: j for j, digest in enumerate(found) if times_found[digest] == 1}
    pairs = [
        (i, where[item.digest])
        for i, item in enumerate(expected)
        if times[item.digest] == 1 and item.digest in where
    ]
    return _longest_growing(pairs)


def _longest_growing(pairs: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The first items grow; the longest part in which the second grow as well (patience sort)."""
    ends: list[int] = []  # the smallest j in which a part of each length ends
    end_of: list[int] = []  # its index in pairs
    before: list[int] = []
    for index, (_, j) in enumerate(pairs):
        length = bisect_left(ends, j)
        before.append(end_of[length - 1] if length else -1)
        if length == len(ends):
            ends.append(j)
            end_of.append(index)
        else:
            ends[length], end_of[length] = j, index
    chosen = []
    index = end_of[-1] if end_of else -1
    while index >= 0:
        chosen.append(pairs[index])
        index = before[index]
    return chosen[::-1]
