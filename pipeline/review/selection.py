"""Which keyframe intervals of the recordings hold whom: what an approval is about.

Told from the public part of the records, without any key; nothing is decoded.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from ..errors import BautaError, RequestRefused
from ..recover.clip_records import ClipRecords, read_clip
from ..recover.origin import begins_session
from ..recover.signed import tracks_in
from .store.recordings import Segment
from .store.requests import RequestedPerson

BY_RECORDS = "clip:"  # begins the session of a file that says none: then its first epoch's id


def select_epochs(
    segments: Iterable[Segment], people: Sequence[RequestedPerson], from_ms: int, to_ms: int
) -> dict[bytes, frozenset[int]]:
    """Each epoch (16 bytes) that overlaps the span and holds one of the people: their tracks there.

    A file that is still being written counts as far as it is written. Raises RequestRefused where a
    recording of the span cannot be read, or has nothing sealed of one of the people.
    """
    found: dict[bytes, set[int]] = defaultdict(set)
    missing = {(person.session, person.track) for person in people}
    wanted: dict[str, set[int]] = defaultdict(set)
    for person in people:
        wanted[person.session].add(person.track)
    for segment in segments:
        if not segment.evidence or not _may_hold(segment, wanted):
            continue
        clip = _read(segment)
        if clip is None:
            continue
        for session, epoch_id, tracks in _epochs(segment, clip, from_ms, to_ms):
            if chosen := tracks & wanted.get(session, set()):
                found[epoch_id] |= chosen
                missing -= {(session, track) for track in chosen}
    if missing:
        told = ", ".join(map(str, sorted({track for _, track in missing})))
        raise RequestRefused(
            f"nothing is sealed of track {told} in that time, or its recording is gone: there is "
            "nothing that could be recovered"
        )
    return {epoch_id: frozenset(tracks) for epoch_id, tracks in found.items()}


def _may_hold(segment: Segment, sessions: Iterable[str]) -> bool:
    """Which sessions are in a file that says none, only its records tell."""
    is_by_records = segment.session.startswith(BY_RECORDS)
    return any(
        each.startswith(BY_RECORDS) if is_by_records else each == segment.session
        for each in sessions
    )


def _read(segment: Segment) -> ClipRecords | None:
    """None: it has only begun to be written. Raises RequestRefused."""
    path = Path(segment.path)
    try:
        return read_clip(path)
    except BautaError as error:
        if segment.growing:
            return None
        raise RequestRefused(
            f"a recording of that time cannot be read ({error}): ask for a time without it"
        ) from None


def _epochs(
    segment: Segment, clip: ClipRecords, from_ms: int, to_ms: int
) -> Iterator[tuple[str, bytes, frozenset[int]]]:
    """(session, id, tracks) of the epochs that overlap the span, by the recording's own clock."""
    seconds = (*clip.seconds, clip.length_seconds)
    session, before = segment.session, None
    for epoch in clip.epochs:
        record = epoch.record
        if segment.session.startswith(BY_RECORDS) and begins_session(before, record):
            session = BY_RECORDS + record.epoch_id.hex()
        before = record
        start_ms = segment.start_ms + 1000 * seconds[epoch.start]
        end_ms = segment.start_ms + 1000 * seconds[min(epoch.end, len(seconds) - 1)]
        if start_ms <= to_ms and end_ms > from_ms:
            yield session, record.epoch_id, tracks_in(epoch.groups)
