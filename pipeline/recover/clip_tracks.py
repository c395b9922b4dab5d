"""Who is in a clip, by number: told from the public part of its records, without any key."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from ..evidence.group_record import EntryKind, GroupRecord
from ..evidence.key_record import KeyGroup, KeyRecord
from .clip_records import ClipRecords, Epoch
from .origin import begins_session

MOST_SIGHTINGS = 3

Box = tuple[int, int, int, int]  # x, y, w, h, pixels


@dataclass(frozen=True, slots=True)
class Sighting:
    """Where a face is in one frame of the clip."""

    position: int
    box_xywh_px: Box


@dataclass(frozen=True, slots=True)
class ClipTrack:
    """One person, as long as the tracker did not lose them."""

    session: int  # from 1; the same number in another session is another person
    track: int
    first: int  # clip positions
    last: int
    frames: int  # in which something of it is sealed
    largest_px: tuple[int, int]  # width, height
    needs: tuple[str, ...]  # the groups of recipients, all of them needed, as a text each
    sightings: tuple[Sighting, ...]  # up to three, in order: first, last and the largest


@dataclass(slots=True)
class _Seen:
    first: int
    last: int
    frames: int = 0
    needs: dict[str, None] = field(default_factory=dict)
    sightings: list[Sighting] = field(default_factory=list)


def tracks_of(clip: ClipRecords) -> tuple[ClipTrack, ...]:
    """In the order in which they come."""
    seen: dict[tuple[int, int], _Seen] = {}
    session, before = 0, None
    for epoch in clip.epochs:
        session += begins_session(before, epoch.record)
        before = epoch.record
        needs = group_needs(epoch.record)
        for group in epoch.groups:
            for track, positions in _presence(epoch, group):
                one = seen.setdefault((session, track), _Seen(positions[0], positions[0]))
                one.last = positions[-1]
                one.frames += len(positions)
                one.needs[needs] = None
            for track, sighting in _sightings(epoch, group):
                if (session, track) in seen:
                    seen[session, track].sightings.append(sighting)
    made = [_track(session, track, one) for (session, track), one in seen.items()]
    return tuple(sorted(made, key=lambda item: (item.first, item.session, item.track)))


def group_needs(record: KeyRecord) -> str:
    """Whose keys open an epoch: `dpo + police (2 of 3 keys)`."""
    return " + ".join(needed_of(group) for group in record.groups)


def needed_of(group: KeyGroup) -> str:
    """One group, and how many of its keys are needed where it is more than one."""
    if group.threshold == 1:
        return group.name
    return f"{group.name} ({group.threshold} of {len(group.age_files)} keys)"


def _presence(epoch: Epoch, group: GroupRecord) -> Iterator[tuple[int, list[int]]]:
    """Each track's positions in a group, those that are in the clip; whatever is sealed of it."""
    presence: dict[int, int] = defaultdict(int)
    for entry in group.entries:
        presence[entry.place.track] |= entry.place.presence
    for track, bits in presence.items():
        counters = (group.head.first + i for i in range(len(group.head.digests)) if bits >> i & 1)
        positions = [epoch.positions[c] for c in counters if c in epoch.positions]
        if positions:
            yield track, positions


def _sightings(epoch: Epoch, group: GroupRecord) -> Iterator[tuple[int, Sighting]]:
    for entry in group.entries:
        place = entry.place
        position = epoch.positions.get(group.head.first + place.offsets[0])
        if position is not None and place.kind is not EntryKind.SCENE:
            yield place.track, Sighting(position, place.box_xywh_px)


def _track(session: int, track: int, one: _Seen) -> ClipTrack:
    largest = max(one.sightings, key=_area, default=None)
    return ClipTrack(
        session=session,
        track=track,
        first=one.first,
        last=one.last,
        frames=one.frames,
        largest_px=(0, 0) if largest is None else largest.box_xywh_px[2:],
        needs=tuple(one.needs),
        sightings=_chosen(one.sightings, largest),
    )


def _chosen(sightings: Sequence[Sighting], largest: Sighting | None) -> tuple[Sighting, ...]:
    if largest is None:
        return ()
    chosen = {item.position: item for item in (sightings[0], largest, sightings[-1])}
    if len(chosen) < MOST_SIGHTINGS:  # the largest is the first or the last
        middle = sightings[len(sightings) // 2]
        chosen[middle.position] = middle
    return tuple(sorted(chosen.values(), key=lambda item: item.position))


def _area(sighting: Sighting) -> int:
    return sighting.box_xywh_px[2] * sighting.box_xywh_px[3]
