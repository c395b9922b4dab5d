"""Where the epochs of a clip are: its records laid against its frames.

Nothing that a record says is believed: what a frame is, its slice digest tells, and all work here
is bounded by the size of the clip and its records. Signatures are looked at only where two records
claim the same frames; whose they are is for `origin.py`.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from ..evidence.group_record import GroupRecord
from ..evidence.key_record import KeyRecord
from ..vault.signing import is_signed
from .frame_match import Expected, Known, match

MOST_COUNTER = 2**32  # frame counters are below


@dataclass(frozen=True, slots=True)
class Epoch:
    """The frames from one IDR picture on, with what is sealed of them."""

    record: KeyRecord
    groups: tuple[GroupRecord, ...]  # by head.first; no two speak of the same frame
    positions: Mapping[int, int] = field(repr=False)
    """Frame counter to clip position, only where the slice digest is as recorded."""
    start: int  # clip positions [start, end)
    end: int


@dataclass(frozen=True, slots=True)
class CarriedKey:
    """A key record, and the position of the packet it came in; in a sidecar its place there."""

    at: int
    record: KeyRecord


@dataclass(frozen=True, slots=True)
class CarriedGroup:
    """The same of a group record."""

    at: int
    record: GroupRecord


class Problems:
    """What is wrong with a clip's records, counted by kind."""

    DAMAGED = "damaged record"
    REPEATED = "key record that repeats another epoch's or fits no frame"
    UNPLACED = "group record that fits no epoch here"
    ELSEWHERE = "epoch of the sidecar that is not in the clip"
    BROKEN = "packet that is damaged"
    PARAMETERS = "epoch whose pictures are shown with other parameter sets (cropped or scaled)"

    SIZE = "epoch that was sealed of pictures of another size (the clip is scaled or cropped)"

    def __init__(self) -> None:
        self._counts: Counter[str] = Counter()

    def add(self, kind: str, count: int = 1) -> None:
        """`count` more of them."""
        if count:
            self._counts[kind] += count

    def merge(self, other: Problems) -> None:
        """Those of `other` as well."""
        self._counts.update(other._counts)

    def line(self, kind: str) -> str:
        """Empty where there is none."""
        count = self._counts[kind]
        return f"{count} × {kind}" if count else ""

    @property
    def lines(self) -> tuple[str, ...]:
        """One for each kind."""
        return tuple(self.line(kind) for kind in self._counts)


# --- records in the stream: a key record says where its epoch begins ---


@dataclass(frozen=True, slots=True)
class _Start:
    at: int
    record: KeyRecord
    is_sure: bool  # the frame is the one that the record speaks of


def place_in_stream(
    digests: Sequence[bytes],
    keys: Sequence[CarriedKey],
    groups: Sequence[CarriedGroup],
    problems: Problems,
) -> tuple[Epoch, ...]:
    """`at` of the records: clip positions. Epochs in order; they do not overlap."""
    by_epoch: dict[bytes, list[CarriedGroup]] = defaultdict(list)
    for group in groups:
        by_epoch[group.record.head.epoch_id].append(group)
    starts = _starts(digests, keys, by_epoch)
    walked = [_walk(digests, start, end, by_epoch) for start, end in _stretches(starts, digests)]
    # a key record whose frame is another one, and of whose groups nothing is there, was put here:
    # it must not end the epoch that it stands in
    real = [
        start
        for start, epoch in zip(starts, walked, strict=True)
        if start.is_sure or epoch.positions
    ]
    if len(real) < len(starts):
        walked = [_walk(digests, start, end, by_epoch) for start, end in _stretches(real, digests)]
    epochs = _best_of_each(walked)
    problems.add(Problems.REPEATED, len(keys) - len(epochs))
    problems.add(Problems.UNPLACED, _unplaced(epochs, keys, groups))
    return epochs


def _starts(
    digests: Sequence[bytes],
    keys: Sequence[CarriedKey],
    by_epoch: Mapping[bytes, Sequence[CarriedGroup]],
) -> list[_Start]:
    """At most one in a packet: the one that fits its frame, of several that with most groups."""
    sure_ids = {key.record.epoch_id for key in keys if key.record.digest == digests[key.at]}
    best: dict[int, tuple[tuple[bool, int], KeyRecord]] = {}
    for key in keys:
        is_sure = key.record.digest == digests[key.at]
        if not is_sure and key.record.epoch_id in sure_ids:
            continue
        rank = is_sure, len(by_epoch.get(key.record.epoch_id, ()))
        if key.at not in best or rank > best[key.at][0]:
            best[key.at] = rank, key.record
    return [_Start(at, record, rank[0]) for at, (rank, record) in sorted(best.items())]


def _stretches(starts: Sequence[_Start], digests: Sequence[bytes]) -> Iterable[tuple[_Start, int]]:
    ends = [*(start.at for start in starts[1:]), len(digests)]
    return zip(starts, ends, strict=bool(starts))


def _walk(
    digests: Sequence[bytes],
    start: _Start,
    end: int,
    by_epoch: Mapping[bytes, Sequence[CarriedGroup]],
) -> Epoch:
    carried = by_epoch.get(start.record.epoch_id, ())
    # the last one may be in the first packet after
    first = bisect_left(carried, start.at, key=lambda group: group.at)
    past = bisect_right(carried, end, key=lambda group: group.at)
    groups = _in_order(start.record, [group.record for group in carried[first:past]])
    expected = [item for item in _expected(groups) if item.number > 0]
    pairs = match(expected, digests[start.at + 1 : end], Known(0, -1))
    positions = {0: start.at} if start.is_sure else {}
    positions |= {expected[i].number: start.at + 1 + j for i, j in sorted(pairs.items())}
    return Epoch(start.record, groups, positions, start.at, end)


def _best_of_each(walked: Sequence[Epoch]) -> tuple[Epoch, ...]:
    """Of an epoch that is there several times that of which most is there, of equals the first.

    The frames of the others stay without an epoch.
    """
    best: dict[bytes, Epoch] = {}
    for epoch in walked:
        known = best.get(epoch.record.epoch_id)
        if known is None or len(epoch.positions) > len(known.positions):
            best[epoch.record.epoch_id] = epoch
    return tuple(sorted(best.values(), key=lambda epoch: epoch.start))


def _unplaced(
    epochs: Sequence[Epoch], keys: Sequence[CarriedKey], groups: Sequence[CarriedGroup]
) -> int:
    """A clip that was cut may begin with the last group of the epoch before: that is none."""
    placed = sum(len(epoch.groups) for epoch in epochs)
    known = {epoch.record.epoch_id for epoch in epochs}
    of_epochs_before = {(key.at, key.record.previous_id) for key in keys}
    cut_off = sum(
        group.record.head.epoch_id not in known
        and (group.at, group.record.head.epoch_id) in of_epochs_before
        for group in groups
    )
    return len(groups) - placed - cut_off


# --- records in a sidecar: only digests say where they belong ---


def place_by_digests(
    digests: Sequence[bytes],
    keys: Sequence[CarriedKey],
    groups: Sequence[CarriedGroup],
    problems: Problems,
) -> tuple[Epoch, ...]:
    """`at` of the records: their place in the sidecar. As `place_in_stream`."""
    records: dict[bytes, KeyRecord] = {}
    for key in keys:
        if records.setdefault(key.record.epoch_id, key.record) is not key.record:
            problems.add(Problems.REPEATED)
    by_epoch: dict[bytes, list[GroupRecord]] = defaultdict(list)
    for group in groups:
        by_epoch[group.record.head.epoch_id].append(group.record)
    ordered = [
        (record, _in_order(record, by_epoch.get(epoch_id, [])))
        for epoch_id, record in records.items()
    ]
    problems.add(Problems.UNPLACED, len(groups) - sum(len(taken) for _, taken in ordered))
    places = _places(ordered, digests)
    problems.add(Problems.ELSEWHERE, sum(not positions for positions in places))
    here = [
        (record, taken, positions)
        for (record, taken), positions in zip(ordered, places, strict=True)
        if positions
    ]
    starts: list[int] = []
    last = -1
    for _, _, positions in here:
        counter = min(positions)
        starts.append(max(positions[counter] - counter, last + 1))
        last = max(positions.values())
    ends = [*starts[1:], len(digests)]
    return tuple(
        Epoch(record, taken, positions, start, end)
        for (record, taken, positions), start, end in zip(here, starts, ends, strict=bool(here))
    )


def _places(
    ordered: Sequence[tuple[KeyRecord, tuple[GroupRecord, ...]]], digests: Sequence[bytes]
) -> list[dict[int, int]]:
    """For each epoch, frame counter to clip position."""
    expected: list[Expected] = []
    owners: list[tuple[int, int]] = []  # epoch and frame counter
    base, frames, before = 0, 0, None
    for index, (record, groups) in enumerate(ordered):
        base += record.previous_frames if record.previous_id == before else frames
        own = [Expected(0, record.digest)]
        own += [item for item in _expected(groups) if item.number > 0]
        owners += [(index, item.number) for item in own]
        expected += [Expected(base + item.number, item.digest) for item in own]
        frames, before = own[-1].number + 1, record.epoch_id
    places: list[dict[int, int]] = [{} for _ in ordered]
    for i, j in sorted(match(expected, digests).items()):
        index, counter = owners[i]
        places[index][counter] = j
    return places


# --- groups of one epoch ---


def _expected(groups: Iterable[GroupRecord]) -> Iterable[Expected]:
    for group in groups:
        for counter, digest in enumerate(group.head.digests, start=group.head.first):
            yield Expected(counter, digest)


def _in_order(record: KeyRecord, groups: Sequence[GroupRecord]) -> tuple[GroupRecord, ...]:
    """Those that can stand beside each other. Of two for the same frames the signed one."""
    chosen: list[GroupRecord] = []
    for group in sorted(groups, key=lambda item: item.head.first):
        first = group.head.first
        if end_of(group) > MOST_COUNTER or (first == 0 and group.head.digests[0] != record.digest):
            continue
        if not chosen or first >= end_of(chosen[-1]):
            chosen.append(group)
        elif group != chosen[-1] and _holds(record, group) and not _holds(record, chosen[-1]):
            chosen[-1] = group
    return tuple(chosen)


def end_of(group: GroupRecord) -> int:
    """The frame counter after its last."""
    return group.head.first + len(group.head.digests)


def _holds(record: KeyRecord, group: GroupRecord) -> bool:
    return is_signed(record.service_key, group.signature, group.to_sign(record.context))
