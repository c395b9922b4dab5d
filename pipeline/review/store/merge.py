"""What segments say of people, put together: one person per camera, session and track number.

A person's row is always made anew from its sightings, one for each segment, so that the order in
which segments come and go does not matter. Everything runs in the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, select, update

from ...presence import Interval, TrackSpan
from .database import insert
from .tables import OBSCURATIONS, PEOPLE, SEGMENTS, SIGHTINGS

_CHUNK = 400  # values in one IN (…)
_ADJACENT_MS = 200  # between two hidden stretches that are one: rounding, and a late frame


@dataclass(frozen=True, slots=True)
class _Sighting:
    """One track in one segment; seconds from its first frame."""

    first_seconds: float
    last_seconds: float
    frames: int
    best_seconds: float
    best_x: int
    best_y: int
    best_w: int
    best_h: int

    @classmethod
    def of(cls, span: TrackSpan) -> _Sighting:
        times = (span.first_seconds, span.last_seconds)
        return cls(*times, span.frames, span.best_seconds, *span.box_xywh_px)

    @classmethod
    def of_row(cls, row: Row[Any]) -> _Sighting:
        return cls(*(getattr(row, name) for name in cls.__dataclass_fields__))

    def with_later(self, other: _Sighting) -> _Sighting:
        best = _larger(self, other)
        return _Sighting(
            min(self.first_seconds, other.first_seconds),
            max(self.last_seconds, other.last_seconds),
            self.frames + other.frames,
            *(best.best_seconds, best.best_x, best.best_y, best.best_w, best.best_h),
        )


def _larger(first: _Sighting, second: _Sighting) -> _Sighting:
    """By area; of equal ones the first."""
    larger = second.best_w * second.best_h > first.best_w * first.best_h
    return second if larger else first


def add_sightings(
    connection: Connection, segment: Row[Any], intervals: Sequence[Interval]
) -> list[int]:
    """Take up who is in `intervals`, none of which may be known yet: the people to be merged."""
    found: dict[int, _Sighting] = {}
    for interval in intervals:
        for span in interval.tracks:
            new, old = _Sighting.of(span), found.get(span.track)
            found[span.track] = new if old is None else old.with_later(new)
    ids = _people(connection, segment, found)
    known: dict[int, _Sighting] = {}
    for chunk in _chunks(ids.values()):
        for row in connection.execute(
            select(SIGHTINGS).where(
                SIGHTINGS.c.segment_id == segment.id, SIGHTINGS.c.person_id.in_(chunk)
            )
        ):
            known[row.person_id] = _Sighting.of_row(row)
    rows = []
    for track, new in found.items():
        old = known.get(ids[track])
        merged = new if old is None else old.with_later(new)
        rows.append({"person_id": ids[track], "segment_id": segment.id, **asdict(merged)})
    if rows:
        statement = insert(connection, SIGHTINGS)
        changed = {name: statement.excluded[name] for name in _Sighting.__dataclass_fields__}
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["person_id", "segment_id"], set_=changed
            ),
            rows,
        )
    return sorted(ids.values())


def _people(
    connection: Connection, segment: Row[Any], found: dict[int, _Sighting]
) -> dict[int, int]:
    """Their numbers by track; who is new gets a row, which merging fills."""
    whose = {"camera": segment.camera, "session": segment.session}
    if found:
        connection.execute(
            insert(connection, PEOPLE).on_conflict_do_nothing(),
            [
                {**whose, "track": track, **_merged([(found[track], segment)])}
                for track in sorted(found)  # one order for everybody: no deadlocks
            ],
        )
    ids: dict[int, int] = {}
    for chunk in _chunks(found):
        for row in connection.execute(
            select(PEOPLE.c.track, PEOPLE.c.id).where(
                PEOPLE.c.camera == segment.camera,
                PEOPLE.c.session == segment.session,
                PEOPLE.c.track.in_(chunk),
            )
        ):
            ids[row.track] = row.id
    return ids


def people_of_segment(connection: Connection, segment_id: int) -> list[int]:
    """Who is in it."""
    return list(
        connection.scalars(
            select(SIGHTINGS.c.person_id)
            .where(SIGHTINGS.c.segment_id == segment_id)
            .order_by(SIGHTINGS.c.person_id)
        )
    )


def merge_people(connection: Connection, people: Sequence[int]) -> None:
    """Make their rows anew from their sightings; who has none is removed. `people` ascending."""
    for chunk in _chunks(people):
        # PostgreSQL: who merges the same person waits here, and then sees all sightings
        connection.execute(
            select(PEOPLE.c.id)
            .where(PEOPLE.c.id.in_(chunk))
            .order_by(PEOPLE.c.id)
            .with_for_update(key_share=True)
        ).all()
        seen: dict[int, list[tuple[_Sighting, Row[Any]]]] = {}
        for row in connection.execute(
            select(SIGHTINGS, SEGMENTS.c.id, SEGMENTS.c.start_ms, SEGMENTS.c.evidence)
            .join(SEGMENTS)
            .where(SIGHTINGS.c.person_id.in_(chunk))
            .order_by(SEGMENTS.c.start_ms, SEGMENTS.c.id)
        ):
            seen.setdefault(row.person_id, []).append((_Sighting.of_row(row), row))
        if seen:
            changed = [{"key": person, **_merged(parts)} for person, parts in seen.items()]
            connection.execute(update(PEOPLE).where(PEOPLE.c.id == bindparam("key")), changed)
        if gone := [person for person in chunk if person not in seen]:
            connection.execute(delete(PEOPLE).where(PEOPLE.c.id.in_(gone)))


def _merged(parts: Sequence[tuple[_Sighting, Row[Any]]]) -> dict[str, object]:
    """A person's columns; each sighting comes with its segment, in the order of time."""
    starts, ends = [], []
    best, where = parts[0]
    for sighting, segment in parts:
        starts.append(segment.start_ms + round(sighting.first_seconds * 1000))
        ends.append(segment.start_ms + round(sighting.last_seconds * 1000))
        if _larger(best, sighting) is sighting:
            best, where = sighting, segment
    return {
        "start_ms": min(starts),
        "end_ms": max(ends),
        "length_ms": max(ends) - min(starts),
        "frames": sum(sighting.frames for sighting, _ in parts),
        "largest_px": max(best.best_w, best.best_h),
        "best_segment": where.id,
        "best_seconds": best.best_seconds,
        "best_ms": where.start_ms + round(best.best_seconds * 1000),
        "best_x": best.best_x,
        "best_y": best.best_y,
        "best_w": best.best_w,
        "best_h": best.best_h,
        "recoverable": any(segment.evidence for _, segment in parts),
    }


def add_obscured(connection: Connection, segment: Row[Any], intervals: Sequence[Interval]) -> None:
    """Take up which stretches hold frames that were hidden whole; neighbours become one."""
    row = connection.execute(
        select(OBSCURATIONS)
        .where(OBSCURATIONS.c.segment_id == segment.id)
        .order_by(OBSCURATIONS.c.start_ms.desc())
        .limit(1)
    ).one_or_none()
    stretches: list[dict[str, Any]] = [] if row is None else [dict(row._mapping)]
    for interval in intervals:
        if not interval.obscured:
            continue
        start_ms = segment.start_ms + round(interval.at_seconds * 1000)
        end_ms = start_ms + max(1, round(interval.seconds * 1000))
        whole = interval.obscured == interval.frames
        last = stretches[-1] if stretches else None
        if last is not None and (
            start_ms <= last["start_ms"]
            or (whole and last["whole"] and start_ms - last["end_ms"] <= _ADJACENT_MS)
        ):
            last["end_ms"] = max(last["end_ms"], end_ms)
            last["frames"] += interval.obscured
            continue
        stretches.append(
            {
                "segment_id": segment.id,
                "start_ms": start_ms,
                "end_ms": end_ms,
                "camera": segment.camera,
                "frames": interval.obscured,
                "whole": whole,
            }
        )
    if stretches:
        statement = insert(connection, OBSCURATIONS)
        changed = {name: statement.excluded[name] for name in ("end_ms", "frames")}
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["segment_id", "start_ms"], set_=changed
            ),
            stretches,
        )


def remove_contents(connection: Connection, segment_id: int) -> None:
    """Forget what was read of a segment: its people stay as far as others show them."""
    connection.execute(
        select(SEGMENTS.c.id).where(SEGMENTS.c.id == segment_id).with_for_update(key_share=True)
    ).all()
    people = people_of_segment(connection, segment_id)
    connection.execute(delete(SIGHTINGS).where(SIGHTINGS.c.segment_id == segment_id))
    connection.execute(delete(OBSCURATIONS).where(OBSCURATIONS.c.segment_id == segment_id))
    merge_people(connection, people)


def _chunks(values: Collection[int]) -> Iterator[list[int]]:
    ordered = sorted(values)
    for start in range(0, len(ordered), _CHUNK):
        yield ordered[start : start + _CHUNK]
