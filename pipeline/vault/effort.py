"""How much is tried to open the records of one clip.

Whoever has the recipients' public keys, which are public, can make records that cost: thousands of
age files that open, shares that give nothing together. What a service makes costs little and opens.
"""

from __future__ import annotations

from collections.abc import Sequence

# Measured with pyrage: an age file costs by its length and, being read line by line, by the square
# of it: 0.2 ms with one key, 70 ms with 64. In these steps (about a nanosecond each):
_LINE_BYTES = 1024
_STEPS_OF_A_SHARE = 1_500_000  # of putting shares together, for each of them

MOST_STEPS_FOR_ONE = 240_000_000
"""For one identity in one record, 0.3 s: five groups of 64 keys, four times what there may be."""

MOST_FAILED_STEPS = 20_000_000_000
"""For what opened nothing, in one clip, half a minute: 300 files of 64 keys, 70,000 of one key."""


class Effort:
    """What may still be tried; for all records of a clip that one run opens.

    Where a key was found once is where it is looked for first. When too much has failed, that is
    the only place: a clip of a day costs no more than it must, and none that opens is given up.
    """

    def __init__(self) -> None:
        self._failed_left = MOST_FAILED_STEPS
        self._record_left = 0
        self._places: dict[tuple[str, str], int] = {}

    def begin_record(self, identities: int) -> None:
        """The next record, tried with so many keys."""
        self._record_left = MOST_STEPS_FOR_ONE * identities

    def order(self, by: str, group: str, files: int) -> Sequence[int]:
        """In which of a group's age files the key `by` is looked for, the likeliest first."""
        known = self._places.get((by, group))
        if known is None or known >= files:
            return range(files) if self._failed_left > 0 else ()
        rest = [at for at in range(files) if at != known] if self._failed_left > 0 else []
        return [known, *rest]

    def may_open(self, file: bytes) -> bool:
        """Whether one more age file may be tried in this record."""
        return self._spend(_steps_of(file))

    def may_combine(self, shares: int, *, is_first: bool) -> bool:
        """Whether one more choice of shares may."""
        return (is_first or self._failed_left > 0) and self._spend(_STEPS_OF_A_SHARE * shares)

    def opened(self, by: str, group: str, at: int) -> None:
        """This key opens this file of the group."""
        self._places[by, group] = at

    def file_failed(self, file: bytes) -> None:
        """It was not for this key, or what was in it was worth nothing."""
        self._failed_left -= _steps_of(file)

    def choice_failed(self, shares: int) -> None:
        """They gave nothing."""
        self._failed_left -= _STEPS_OF_A_SHARE * shares

    def _spend(self, steps: int) -> bool:
        if steps > self._record_left:
            return False
        self._record_left -= steps
        return True


def _steps_of(file: bytes) -> int:
    return len(file) * (_LINE_BYTES + len(file))
