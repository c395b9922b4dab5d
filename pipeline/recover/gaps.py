"""What of a clip could not be recovered, and why, in plain words."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ..evidence.group_record import MOST_FRAMES
from .wording import clock, runs

NO_RECORD = "no record fits: it is missing or damaged, or the frame is not as it was"
AT_END = "no record of these last frames: a stream that is stopped or cut ends so"
NOT_SIGNED = "the record is not as the service signed it"
NOT_OPENED = "sealed for other keys, or not as it was sealed"
NOT_DECODED = "an earlier part of this face is missing, or it is damaged"
TOO_MUCH = "more is laid over this frame than people can cover of a picture: no service made that"
OTHER_SIZE = "sealed of pictures of another size: the clip was scaled, cropped or joined since"
NO_PICTURE = "the clip's own picture cannot be decoded"


@dataclass(frozen=True, slots=True)
class Gap:
    """Frames that follow each other and stay protected for one reason."""

    why: str
    track: int | None  # None: everybody in these frames
    first_frame: int  # positions in the clip, from 0
    last_frame: int
    from_seconds: float
    to_seconds: float  # of the last frame

    def __str__(self) -> str:
        frames = (
            f"frame {self.first_frame}"
            if self.first_frame == self.last_frame
            else f"frames {self.first_frame}–{self.last_frame}"
        )
        who = "" if self.track is None else f", track {self.track}"
        return f"{frames} ({clock(self.from_seconds)}–{clock(self.to_seconds)}){who}: {self.why}"


class Gaps:
    """Collected frame by frame, in any order."""

    def __init__(self) -> None:
        self._found: dict[tuple[int | None, str], set[int]] = defaultdict(set)

    def add(self, positions: Iterable[int], why: str, track: int | None = None) -> None:
        """The same said twice counts once."""
        if found := set(positions):
            self._found[track, why] |= found

    def listed(self, seconds: Sequence[float]) -> tuple[Gap, ...]:
        """By frame; `seconds` of every frame of the clip."""
        end = len(seconds) - 1
        gaps = [
            Gap(_told(why, first, last, end), track, first, last, seconds[first], seconds[last])
            for (track, why), positions in self._found.items()
            for first, last in runs(sorted(positions))
        ]
        return tuple(
            sorted(gaps, key=lambda g: (g.first_frame, -1 if g.track is None else g.track, g.why))
        )


def _told(why: str, first: int, last: int, end: int) -> str:
    """A record comes behind its frames: the last few of a cut clip miss theirs, and nobody lied."""
    is_cut = why == NO_RECORD and last == end and last - first + 1 < MOST_FRAMES
    return AT_END if is_cut else why
