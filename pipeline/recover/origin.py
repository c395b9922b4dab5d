"""Whose a clip is, whether all of it is there, and whether it is as it was: by signatures alone.

What was signed speaks, and nothing else: a group record whose signature does not hold covers no
frame. Nothing is decoded and no secret is needed.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from ..evidence.group_record import GroupRecord
from ..evidence.key_record import NO_EPOCH, KeyRecord
from ..vault.signing import fingerprint, is_signed
from .clip_records import ClipRecords, Epoch
from .epoch_match import end_of
from .wording import clock, counted, frames_at, printable

NOT_PINNED = "no key is pinned"
MOST_TAIL = 7  # frames at the end of a live session may wait for a record that never came


@dataclass(frozen=True, slots=True)
class EpochOrigin:
    """What holds of one epoch."""

    epoch: Epoch
    doubts: tuple[str, ...]  # why its origin is not verified; none: it is
    lost_frames: int  # signed or counted, and not in the clip
    missing_groups: int  # gaps between the groups that are there, whoever signed them
    altered: tuple[int, ...]  # clip positions: another picture than was signed, or one put in
    uncovered: tuple[int, ...]  # clip positions of which nothing speaks that is signed
    tail: int  # frames at the clip's end that no record speaks of yet: normal

    @property
    def is_verified(self) -> bool:
        """Its key record and all its groups are signed by the key that was pinned."""
        return not self.doubts


@dataclass(frozen=True, slots=True)
class Origin:
    """What holds of a clip; every line is for people."""

    epochs: tuple[EpochOrigin, ...]
    fingerprints: tuple[str, ...]  # SHA256:… of the keys that the records name
    unverified: tuple[str, ...]  # why; none: verified
    incomplete: tuple[str, ...]  # why; none: complete
    altered: tuple[int, ...] = field(repr=False)  # clip positions
    tail: int = 0

    @property
    def is_verified(self) -> bool:
        """The pinned key made all records that are here."""
        return not self.unverified

    @property
    def is_complete(self) -> bool:
        """Nothing between the clip's first and last frame is missing or unspoken for."""
        return not self.incomplete

    @property
    def is_unaltered(self) -> bool:
        """No frame differs from what the records say of it."""
        return not self.altered

    @property
    def is_whole(self) -> bool:
        """All three."""
        return self.is_verified and self.is_complete and self.is_unaltered


def check_origin(clip: ClipRecords, pinned: bytes | None) -> Origin:
    """`pinned`: (32,) the service's public key, had from its operator; None: nothing is verified.

    Without a key the rest is checked against the keys that the records themselves name: then
    "unaltered" says only that frames and records belong together.
    """
    signed = [
        is_signed(epoch.record.service_key, epoch.record.signature, epoch.record.to_sign)
        for epoch in clip.epochs
    ]
    epochs = tuple(_check_epoch(clip, index, pinned, signed) for index in range(len(clip.epochs)))
    seconds = clip.seconds
    keys = sorted({item.epoch.record.service_key for item in epochs})
    return Origin(
        epochs=epochs,
        fingerprints=tuple(fingerprint(key) for key in keys),
        unverified=tuple(_unverified(epochs, seconds)),
        incomplete=tuple(_incomplete(clip, epochs, seconds)),
        altered=tuple(position for item in epochs for position in item.altered),
        tail=epochs[-1].tail if epochs else 0,
    )


# --- one epoch ---


def _check_epoch(
    clip: ClipRecords, index: int, pinned: bytes | None, signed: Sequence[bool]
) -> EpochOrigin:
    """`signed`: of each epoch, whether its key record's signature holds."""
    epoch = clip.epochs[index]
    record, context = epoch.record, epoch.record.context
    good = [
        group
        for group in epoch.groups
        if is_signed(record.service_key, group.signature, group.to_sign(context))
    ]
    bad = len(epoch.groups) - len(good)
    is_clips_end = index == len(clip.epochs) - 1
    total = end_of(good[-1]) if good and good[-1].head.is_last else None
    if not is_clips_end and signed[index + 1]:
        following = clip.epochs[index + 1].record
        if following.previous_id == record.epoch_id:
            total = following.previous_frames
    account = _Account(epoch, good, total, is_clips_end=is_clips_end)
    account.settle(has_key_signature=signed[index])
    uncovered, tail = account.uncovered, 0
    if is_clips_end and not bad and total is None:
        after = account.tail_length()
        uncovered = uncovered[: len(uncovered) - after]
        tail = after + account.frames_of_key_alone if after else 0
    return EpochOrigin(
        epoch=epoch,
        doubts=tuple(_doubts(record, pinned, signed[index], bad)),
        lost_frames=account.lost,
        missing_groups=_gaps(epoch.groups, total, is_clips_end=is_clips_end),
        altered=tuple(account.altered),
        uncovered=tuple(uncovered),
        tail=tail,
    )


def _doubts(
    record: KeyRecord, pinned: bytes | None, has_key_signature: bool, bad_groups: int
) -> Iterator[str]:
    if pinned is not None and record.service_key != pinned:
        yield f"signed by another key, {fingerprint(record.service_key)}"
    if not has_key_signature:
        yield "the key record's signature does not hold"
    if bad_groups:
        yield "a group record's signature does not hold"
    if pinned is None:
        yield NOT_PINNED


def _gaps(groups: Sequence[GroupRecord], total: int | None, *, is_clips_end: bool) -> int:
    """How many times counters are passed over between the groups, and at the end."""
    gaps, end = 0, 0
    for group in groups:
        gaps += group.head.first > end
        end = end_of(group)
    return gaps + (not is_clips_end and total is not None and total > end)


class _Account:
    """Lays the counters that are spoken of against the frames that are there."""

    def __init__(
        self, epoch: Epoch, good: Sequence[GroupRecord], total: int | None, *, is_clips_end: bool
    ) -> None:
        self._epoch, self._total, self._is_clips_end = epoch, total, is_clips_end
        self._spoken = [
            counter for group in good for counter in range(group.head.first, end_of(group))
        ]
        self._last_spoken = -1  # clip position
        self.frames_of_key_alone = 0  # 1: the epoch has no group, its first frame waits as well
        self.lost = 0
        self.altered: list[int] = []
        self.uncovered: list[int] = []

    def settle(self, *, has_key_signature: bool) -> None:
        """Every frame of the epoch is matched, altered, uncovered or lost after this."""
        spoken = set(self._spoken)
        if has_key_signature and 0 not in spoken:
            # the key record speaks of its own frame; its group is missed as a gap
            spoken.add(0)
            self.frames_of_key_alone = int(not self._spoken)
            self._spoken.insert(0, 0)
        matched = sorted(
            (position, counter)
            for counter, position in self._epoch.positions.items()
            if counter in spoken
        )
        counter, position = -1, self._epoch.start - 1
        if matched and matched[0][0] == 0:
            position, counter = matched.pop(0)  # cut so: what was before is not lost
        for to_position, to_counter in matched:
            self._stretch(counter, position, to_counter, to_position)
            counter, position = to_counter, to_position
        self._last_spoken = position
        self._end(counter, position)

    def tail_length(self) -> int:
        """Frames after the last one that is spoken of, if they are few enough to be a tail."""
        last = max([self._last_spoken, *self.altered[-1:]])
        tail = len(self.uncovered) - bisect_right(self.uncovered, last)
        return tail if tail + self.frames_of_key_alone <= MOST_TAIL else 0

    def _stretch(self, counter: int, position: int, to_counter: int, to_position: int) -> None:
        """What lies between two frames that are as recorded."""
        here = range(position + 1, to_position)
        counters = to_counter - counter - 1
        self._assign(here[:counters], counter)
        self.altered.extend(here[counters:])  # more frames than counters: put in or doubled
        self.lost += max(counters - len(here), 0)

    def _end(self, counter: int, position: int) -> None:
        here = range(position + 1, self._epoch.end)
        if self._is_clips_end and not here:
            return  # whatever came after was cut off, which is nobody's loss
        known = self._spoken[-1] if self._spoken else -1
        last = max(known, -1 if self._total is None else self._total - 1)
        counters = max(last - counter, 0)
        self._assign(here[:counters], counter)
        self.uncovered.extend(here[counters:])
        if not self._is_clips_end:
            self.lost += max(counters - len(here), 0)

    def _assign(self, here: Iterable[int], counter: int) -> None:
        """Frames that fit nothing: altered where a record speaks of that counter."""
        for ahead, position in enumerate(here, start=1):
            at = bisect_left(self._spoken, counter + ahead)
            is_spoken = at < len(self._spoken) and self._spoken[at] == counter + ahead
            (self.altered if is_spoken else self.uncovered).append(position)


# --- the clip ---


def _unverified(epochs: Sequence[EpochOrigin], seconds: Sequence[float]) -> Iterator[str]:
    if not epochs:
        yield "there are no records"
    where: dict[str, list[EpochOrigin]] = {}
    for item in epochs:
        for doubt in item.doubts:
            where.setdefault(doubt, []).append(item)
    for doubt, items in where.items():
        if len(items) == len(epochs):
            yield doubt
        else:
            at = clock(seconds[items[0].epoch.start])
            yield f"{doubt} (in {counted(len(items), 'epoch')}, the first at {at})"


def _incomplete(
    clip: ClipRecords, epochs: Sequence[EpochOrigin], seconds: Sequence[float]
) -> Iterator[str]:
    if lost := sum(item.lost_frames for item in epochs):
        at = next(item.epoch.start for item in epochs if item.lost_frames)
        yield (
            f"{counted(lost, 'frame')} {_was(lost)} taken out or lost, the first in the epoch at "
            f"{clock(seconds[at])}"
        )
    if missing := sum(item.missing_groups for item in epochs):
        at = next(item.epoch.start for item in epochs if item.missing_groups)
        yield (
            f"records of groups are missing in {counted(missing, 'place')}, the first in the "
            f"epoch at {clock(seconds[at])}"
        )
    if uncovered := [position for item in epochs for position in item.uncovered]:
        yield f"no signed record speaks of {frames_at(uncovered, seconds)}"
    if outside := _outside(clip):
        yield f"no epoch is known for {frames_at(outside, seconds)}"
    for before, after in pairwise(clip.epochs):
        if said := _break(before.record, after.record):
            yield f"{said} before {clock(seconds[after.start])}"
    for problem in clip.problems:
        if problem != clip.elsewhere:  # a sidecar may hold more than was cut out
            yield problem


def _outside(clip: ClipRecords) -> list[int]:
    found: list[int] = []
    end = 0
    for epoch in clip.epochs:
        found.extend(range(end, epoch.start))
        end = epoch.end
    return [*found, *range(end, len(clip.frames))]


def _break(before: KeyRecord, after: KeyRecord) -> str:
    """What is between two epochs that do not follow each other; empty where they do."""
    steps = after.sequence - before.sequence
    if after.previous_id == before.epoch_id:
        return "" if steps == 1 else "epochs are counted wrongly"
    if (after.site, after.camera) != (before.site, before.camera):
        return f"the camera is another one ({printable(after.camera)})"
    if after.previous_id == NO_EPOCH:
        return "a new session begins, and nothing tells what was"
    if steps > 1:
        return f"{counted(steps - 1, 'epoch')} {_was(steps - 1)} taken out or lost"
    return "epochs are out of order, or of another session,"


def begins_session(before: KeyRecord | None, after: KeyRecord) -> bool:
    """Whether tracks may be counted anew: the same number is another person from here on.

    Only what names the epoch before is of its session for sure: recordings can be joined that were
    cut out of two sessions of one camera.
    """
    if before is None or after.previous_id != before.epoch_id:
        return True
    is_other = (after.site, after.camera) != (before.site, before.camera)
    return is_other or after.sequence <= before.sequence


def _was(count: int) -> str:
    return "was" if count == 1 else "were"
