"""Who was recorded: found by camera, time, size and length, a page at a time."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, Literal, get_args

from sqlalchemy import Row, and_, func, or_, select
from sqlalchemy.sql.elements import ColumnElement

from ...errors import UsageError
from .database import Database
from .recordings import Segment, of_cameras, segment_of
from .tables import PEOPLE, SEGMENTS, SIGHTINGS

Sort = Literal["time", "-time", "-seconds", "-size"]
MOST_ON_A_PAGE = 500
_COLUMN = {
    "time": PEOPLE.c.start_ms,
    "-time": PEOPLE.c.start_ms,
    "-seconds": PEOPLE.c.length_ms,
    "-size": PEOPLE.c.largest_px,
}
_LARGEST_INTEGER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Person:
    """One track of one session: somebody, for as long as they were followed."""

    id: int
    camera: str
    session: str
    track: int
    start_ms: int
    end_ms: int
    frames: int
    largest_px: int  # the longer side of the largest box
    box_xywh_px: tuple[int, int, int, int]  # that box
    best_segment: int  # where it is
    best_seconds: float  # from that segment's first frame
    best_ms: int
    recoverable: bool  # evidence lies in or beside a recording of them


@dataclass(frozen=True, slots=True, kw_only=True)
class PeopleQuery:
    """What to look for; None: no matter."""

    cameras: Collection[str] | None = None
    from_ms: int | None = None  # who left before is left out
    to_ms: int | None = None  # who came at or after it is left out
    begins_after_ms: int | None = None  # who came before is left out
    begins_before_ms: int | None = None  # who came at or after it is left out, as by `to_ms`
    min_px: int | None = None
    min_seconds: float | None = None
    recoverable: bool | None = None
    sort: Sort = "-time"
    limit: int = 60
    after: str | None = None  # the page before's `next`


@dataclass(frozen=True, slots=True)
class Page:
    """Some of those found."""

    people: tuple[Person, ...]
    next: str | None  # what to ask for the following ones with; None: these are the last
    total: int  # on all pages


@dataclass(frozen=True, slots=True)
class Sighting:
    """A person in one segment; seconds from its first frame."""

    segment: Segment
    first_seconds: float
    last_seconds: float
    frames: int


def find(database: Database, query: PeopleQuery) -> Page:
    """A page of people. Raises UsageError for a sort, limit or cursor that is none, StoreError."""
    if query.sort not in get_args(Sort):
        raise UsageError(f"people are sorted by one of {', '.join(get_args(Sort))}")
    if not 1 <= query.limit <= MOST_ON_A_PAGE:
        raise UsageError(f"limit is between 1 and {MOST_ON_A_PAGE}")
    column, falling = _COLUMN[query.sort], query.sort.startswith("-")
    wanted = and_(of_cameras(PEOPLE.c.camera, query.cameras), *_conditions(query))
    # + 0: an index by length or size would be walked through row by row, past all other windows
    key = column if column is PEOPLE.c.start_ms else column + 0
    order = (key.desc(), PEOPLE.c.id.desc()) if falling else (key, PEOPLE.c.id)
    chosen = select(PEOPLE.c.id).where(wanted).order_by(*order).limit(query.limit + 1)
    if query.after is not None:
        value, person_id = _read_cursor(query.after, query.sort)
        if falling:
            beyond, behind = column < value, PEOPLE.c.id < person_id
        else:
            beyond, behind = column > value, PEOPLE.c.id > person_id
        chosen = chosen.where(or_(beyond, and_(column == value, behind)))
    with database.read() as connection:
        # the numbers come from an index alone, then the rows of this page
        rows = connection.execute(
            select(PEOPLE).where(PEOPLE.c.id.in_(chosen)).order_by(*order)
        ).all()
        total = connection.execute(select(func.count()).select_from(PEOPLE).where(wanted)).scalar()
    people = tuple(map(_person, rows[: query.limit]))
    following = None
    if len(rows) > query.limit:
        last = rows[query.limit - 1]
        following = _cursor(query.sort, getattr(last, column.name), last.id)
    return Page(people, following, total or 0)


def get(database: Database, person_id: int) -> Person | None:
    """One of them. Raises StoreError."""
    with database.read() as connection:
        row = connection.execute(select(PEOPLE).where(PEOPLE.c.id == person_id)).one_or_none()
    return None if row is None else _person(row)


def sightings(database: Database, person_id: int) -> tuple[Sighting, ...]:
    """The segments they are in, oldest first. Raises StoreError."""
    with database.read() as connection:
        rows = connection.execute(
            select(SEGMENTS, SIGHTINGS.c.first_seconds, SIGHTINGS.c.last_seconds)
            .add_columns(SIGHTINGS.c.frames)
            .join(SIGHTINGS)
            .where(SIGHTINGS.c.person_id == person_id)
            .order_by(SEGMENTS.c.start_ms, SEGMENTS.c.id)
        ).all()
    return tuple(
        Sighting(segment_of(row), row.first_seconds, row.last_seconds, row.frames) for row in rows
    )


def _conditions(query: PeopleQuery) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if query.from_ms is not None:
        # who stayed longest bounds how far back to look
        longest = select(func.max(PEOPLE.c.length_ms)).scalar_subquery()
        found.append(PEOPLE.c.end_ms >= query.from_ms)
        found.append(PEOPLE.c.start_ms >= query.from_ms - func.coalesce(longest, 0))
    if query.to_ms is not None:
        found.append(PEOPLE.c.start_ms < query.to_ms)
    if query.begins_after_ms is not None:
        found.append(PEOPLE.c.start_ms >= query.begins_after_ms)
    if query.begins_before_ms is not None:
        found.append(PEOPLE.c.start_ms < query.begins_before_ms)
    if query.min_px is not None:
        found.append(PEOPLE.c.largest_px >= query.min_px)
    if query.min_seconds is not None:
        found.append(PEOPLE.c.length_ms >= round(query.min_seconds * 1000))
    if query.recoverable is not None:
        found.append(PEOPLE.c.recoverable.is_(query.recoverable))
    return found


def _cursor(sort: str, value: int, person_id: int) -> str:
    text = json.dumps([sort, value, person_id], separators=(",", ":"))
    return base64.urlsafe_b64encode(text.encode("ascii")).decode("ascii").rstrip("=")


def _read_cursor(cursor: str, sort: str) -> tuple[int, int]:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        of_sort, value, person_id = json.loads(
            base64.b64decode(padded, altchars=b"-_", validate=True)
        )
        numbers = type(value) is int and type(person_id) is int
        if not numbers or of_sort != sort or max(abs(value), abs(person_id)) > _LARGEST_INTEGER:
            raise ValueError
    except (ValueError, TypeError, binascii.Error, RecursionError):
        raise UsageError("after is not the next of a page that was sorted so") from None
    return value, person_id


def _person(row: Row[Any]) -> Person:
    return Person(
        id=row.id,
        camera=row.camera,
        session=row.session,
        track=row.track,
        start_ms=row.start_ms,
        end_ms=row.end_ms,
        frames=row.frames,
        largest_px=row.largest_px,
        box_xywh_px=(row.best_x, row.best_y, row.best_w, row.best_h),
        best_segment=row.best_segment,
        best_seconds=row.best_seconds,
        best_ms=row.best_ms,
        recoverable=row.recoverable,
    )
