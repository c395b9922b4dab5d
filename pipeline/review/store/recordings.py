"""Recorded files in the index: what is known of each, and what was read from beside it.

Everything here can be made again from the recordings. Times are Unix milliseconds UTC.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, Select, and_, case, delete, func, select, true, update
from sqlalchemy.sql.elements import ColumnElement

from ...errors import RecordingError
from ...presence import Interval
from .database import Database, insert
from .merge import add_obscured, add_sightings, merge_people, people_of_segment, remove_contents
from .tables import PEOPLE, SEGMENTS

DAY_MS = 86_400_000
MOST_MS = 253_000_000_000_000  # in the year 9987: what a calendar surely holds
_NOTHING_READ = -1.0  # seconds: before any interval


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentFacts:
    """What a look at a file says of it, without who is in it."""

    camera: str
    path: str  # absolute
    start_ms: int
    seconds: float
    bytes: int
    mtime_ns: int
    width: int
    height: int
    fps: float
    codec: str  # "h264", "h265"; "" where it could not be told
    session: str
    evidence: bool  # sealed faces lie in or beside it
    growing: bool  # still being written
    problem: str | None = None  # why it cannot be played; one line


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment(SegmentFacts):
    """A file of the index."""

    id: int
    end_ms: int
    read_bytes: int  # of the file beside it; 0: nothing yet


@dataclass(frozen=True, slots=True)
class DayOfCamera:
    """What one camera recorded on one day."""

    camera: str
    seconds: float
    people: int  # who came that day; who stays over midnight counts for the day they came


@dataclass(frozen=True, slots=True)
class Day:
    """A day of the viewer's clock."""

    start_ms: int
    cameras: tuple[DayOfCamera, ...]  # by name; those alone that recorded


# --- writing: for the indexer ---


def put_segment(database: Database, facts: SegmentFacts) -> Segment:
    """Add the file of this path, or take up what has changed of it.

    Another camera, session or start means another recording under the same name: what was read of
    the old one is dropped, and read_bytes is 0 again. Raises StoreError, RecordingError for a time
    that no calendar holds.
    """
    if not (facts.start_ms >= 0 and _end_ms(facts) <= MOST_MS):
        raise RecordingError(f"{facts.path}: its time is beyond what the index holds")
    values = {name: getattr(facts, name) for name in SegmentFacts.__dataclass_fields__}
    values["end_ms"] = _end_ms(facts)
    with database.write() as connection:
        row = connection.execute(_by_path(facts.path).with_for_update(key_share=True)).one_or_none()
        if row is None:
            fresh = {"read_bytes": 0, "read_seconds": _NOTHING_READ}
            connection.execute(insert(connection, SEGMENTS).values(**values, **fresh))
        else:
            if (row.camera, row.session, row.start_ms) != (
                *(facts.camera, facts.session, facts.start_ms),
            ):
                remove_contents(connection, row.id)
                values |= {"read_bytes": 0, "read_seconds": _NOTHING_READ}
            connection.execute(update(SEGMENTS).where(SEGMENTS.c.id == row.id).values(values))
            if row.evidence != facts.evidence:
                merge_people(connection, people_of_segment(connection, row.id))
        return segment_of(connection.execute(_by_path(facts.path)).one())


def drop_segment(database: Database, segment_id: int) -> None:
    """The file is gone: who was in no other leaves with it. None of that number is no error.

    Raises StoreError.
    """
    with database.write() as connection:
        remove_contents(connection, segment_id)
        connection.execute(delete(SEGMENTS).where(SEGMENTS.c.id == segment_id))


def put_intervals(
    database: Database, segment_id: int, intervals: Sequence[Interval], read_bytes: int
) -> None:
    """Add what was read beside a file, all of it in one transaction or nothing.

    `intervals` in the order of their times; `read_bytes` is how far the file beside it was read
    with them. What lies at or before the newest interval known is left out, so that reading the
    same lines twice changes nothing. A segment that was dropped is no error. Raises StoreError.
    """
    with database.write() as connection:
        row = connection.execute(
            select(SEGMENTS).where(SEGMENTS.c.id == segment_id).with_for_update(key_share=True)
        ).one_or_none()
        if row is None:
            return
        fresh = [each for each in intervals if each.at_seconds > row.read_seconds]
        if fresh:
            merge_people(connection, add_sightings(connection, row, fresh))
            add_obscured(connection, row, fresh)
        connection.execute(
            update(SEGMENTS)
            .where(SEGMENTS.c.id == segment_id)
            .values(
                read_bytes=max(read_bytes, row.read_bytes),
                read_seconds=max([row.read_seconds, *(each.at_seconds for each in fresh)]),
            )
        )


# --- reading ---


def known_segments(database: Database) -> Mapping[str, Segment]:
    """Every file by its path: what the indexer compares the folders with. Raises StoreError."""
    with database.read() as connection:
        return {row.path: segment_of(row) for row in connection.execute(select(SEGMENTS))}


def segment(database: Database, segment_id: int) -> Segment | None:
    """One file. Raises StoreError."""
    with database.read() as connection:
        row = connection.execute(select(SEGMENTS).where(SEGMENTS.c.id == segment_id)).one_or_none()
    return None if row is None else segment_of(row)


def segments(
    database: Database, camera: str, from_ms: int, to_ms: int, *, limit: int | None = None
) -> tuple[Segment, ...]:
    """The files with a part in the window, oldest first; the first `limit`. Raises StoreError."""
    with database.read() as connection:
        rows = connection.execute(
            select(SEGMENTS)
            .where(SEGMENTS.c.camera == camera, in_window(from_ms, to_ms))
            .order_by(SEGMENTS.c.start_ms, SEGMENTS.c.id)
            .limit(limit)
        ).all()
    return tuple(map(segment_of, rows))


def cameras(database: Database) -> tuple[str, ...]:
    """Who recorded anything, by name. Raises StoreError."""
    with database.read() as connection:
        return tuple(
            connection.scalars(select(SEGMENTS.c.camera).distinct().order_by(SEGMENTS.c.camera))
        )


def days(
    database: Database, cameras: Collection[str] | None, offset_minutes: int
) -> tuple[Day, ...]:
    """The days with recordings, newest first, by a clock `offset_minutes` ahead of UTC.

    `cameras` None: all. Raises StoreError.
    """
    shift_ms = offset_minutes * 60_000
    seconds: dict[tuple[int, str], float] = {}
    with database.read() as connection:
        for camera, first, last, recorded, start_ms, end_ms in connection.execute(
            _seconds_by_day(cameras, shift_ms)
        ):
            if first == last:
                seconds[first, camera] = seconds.get((first, camera), 0.0) + recorded
                continue
            for day in range(first, last + 1):  # over midnight: one file in each of these rows
                begin = max(start_ms, day * DAY_MS - shift_ms)
                end = min(end_ms, (day + 1) * DAY_MS - shift_ms)
                seconds[day, camera] = seconds.get((day, camera), 0.0) + (end - begin) / 1000
        people = {
            (day, camera): count
            for camera, day, count in connection.execute(_people_by_day(cameras, shift_ms))
        }
    by_day: dict[int, list[DayOfCamera]] = {}
    for (day, camera), recorded in sorted(seconds.items()):
        found = DayOfCamera(camera, recorded, people.get((day, camera), 0))
        by_day.setdefault(day, []).append(found)
    return tuple(
        Day(day * DAY_MS - shift_ms, tuple(found)) for day, found in sorted(by_day.items())[::-1]
    )


def in_window(from_ms: int, to_ms: int) -> ColumnElement[bool]:
    """Segments with a part in the window. The longest one bounds how far back to look."""
    longest = select(func.max(SEGMENTS.c.seconds)).scalar_subquery()
    return and_(
        SEGMENTS.c.start_ms < to_ms,
        SEGMENTS.c.end_ms > from_ms,
        SEGMENTS.c.start_ms > from_ms - 1000 - 1000 * func.coalesce(longest, 0),
    )


def _seconds_by_day(
    cameras: Collection[str] | None, shift_ms: int
) -> Select[str, int, int, float, int, int]:
    """Camera, first and last day, seconds, start and end; one row a file over midnight."""
    first = (SEGMENTS.c.start_ms + shift_ms) // DAY_MS
    last = (SEGMENTS.c.end_ms - 1 + shift_ms) // DAY_MS
    alone = case((first == last, 0), else_=SEGMENTS.c.id)
    return (
        select(
            SEGMENTS.c.camera,
            first.label("first"),
            last.label("last"),
            func.sum(SEGMENTS.c.seconds),
            func.min(SEGMENTS.c.start_ms),
            func.max(SEGMENTS.c.end_ms),
        )
        .where(of_cameras(SEGMENTS.c.camera, cameras))
        .group_by(SEGMENTS.c.camera, "first", "last", alone)
    )


def _people_by_day(cameras: Collection[str] | None, shift_ms: int) -> Select[str, int, int]:
    day = ((PEOPLE.c.start_ms + shift_ms) // DAY_MS).label("day")
    return (
        select(PEOPLE.c.camera, day, func.count())
        .where(of_cameras(PEOPLE.c.camera, cameras))
        .group_by(PEOPLE.c.camera, "day")
    )


def of_cameras(column: ColumnElement[str], cameras: Collection[str] | None) -> ColumnElement[bool]:
    """Those alone; None: all."""
    return true() if cameras is None else column.in_(sorted(cameras))


def _by_path(path: str) -> Select[Any]:
    return select(SEGMENTS).where(SEGMENTS.c.path == path)


def _end_ms(facts: SegmentFacts) -> int:
    return facts.start_ms + max(1, round(facts.seconds * 1000))


def segment_of(row: Row[Any]) -> Segment:
    """From a row that holds the columns of `segments`."""
    return Segment(**{name: getattr(row, name) for name in Segment.__dataclass_fields__})
