"""A window of time in equal buckets: what was recorded, how many people, what was hidden whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Connection,
    ScalarSelect,
    and_,
    case,
    func,
    literal,
    select,
)

from ...errors import UsageError
from . import recordings
from .database import Database
from .recordings import in_window, of_cameras
from .tables import OBSCURATIONS, PEOPLE, SEGMENTS

MOST_BUCKETS = 2000
MOST_WINDOW_MS = 400 * recordings.DAY_MS
CLOSED_GAP_MS = 2000  # between two files of one recording


@dataclass(frozen=True, slots=True)
class CameraTimeline:
    """One camera in the window."""

    camera: str
    spans: tuple[tuple[int, int], ...]  # recorded: start and end in ms, within the window
    people: tuple[int, ...]  # per bucket: who was there in any part of it
    obscured: tuple[int, ...]  # per bucket: frames that were hidden whole


@dataclass(frozen=True, slots=True)
class Timeline:
    """A window, cut into buckets of `bucket_ms`; the last one may end after the window."""

    from_ms: int
    to_ms: int
    bucket_ms: int
    cameras: tuple[CameraTimeline, ...]  # by name; those alone that recorded in the window


def timeline(
    database: Database,
    cameras: Collection[str] | None,
    from_ms: int,
    to_ms: int,
    buckets: int,
) -> Timeline:
    """The window for these cameras; None: all. There are as many buckets as asked for, or fewer
    where they would be shorter than a millisecond.

    Raises UsageError for a window or a number of buckets that is too large or none, StoreError.
    """
    if not 1 <= buckets <= MOST_BUCKETS:
        raise UsageError(f"buckets is between 1 and {MOST_BUCKETS}")
    if not 0 < to_ms - from_ms <= MOST_WINDOW_MS:
        raise UsageError("the window ends after it begins, and is at most 400 days long")
    window = _Window(from_ms, to_ms, -(-(to_ms - from_ms) // buckets))
    with database.read() as connection:
        spans = _spans(connection, cameras, window)
        people = {camera: _people(connection, camera, window) for camera in spans}
        obscured = _obscured(connection, cameras, window)
    none = (0,) * window.buckets
    return Timeline(
        from_ms,
        to_ms,
        window.bucket_ms,
        tuple(
            CameraTimeline(camera, spans[camera], people[camera], obscured.get(camera, none))
            for camera in sorted(spans)
        ),
    )


@dataclass(frozen=True, slots=True)
class _Window:
    from_ms: int
    to_ms: int
    bucket_ms: int

    @property
    def buckets(self) -> int:
        return -(-(self.to_ms - self.from_ms) // self.bucket_ms)


def _spans(
    connection: Connection, cameras: Collection[str] | None, window: _Window
) -> dict[str, tuple[tuple[int, int], ...]]:
    found: dict[str, list[tuple[int, int]]] = {}
    for camera, start_ms, end_ms in connection.execute(
        select(SEGMENTS.c.camera, SEGMENTS.c.start_ms, SEGMENTS.c.end_ms)
        .where(of_cameras(SEGMENTS.c.camera, cameras), in_window(window.from_ms, window.to_ms))
        .order_by(SEGMENTS.c.camera, SEGMENTS.c.start_ms)
    ):
        start, end = max(start_ms, window.from_ms), min(end_ms, window.to_ms)
        spans = found.setdefault(camera, [])
        if spans and start - spans[-1][1] < CLOSED_GAP_MS:
            spans[-1] = (spans[-1][0], max(spans[-1][1], end))
        else:
            spans.append((start, end))
    return {camera: tuple(spans) for camera, spans in found.items()}


def _people(connection: Connection, camera: str, window: _Window) -> tuple[int, ...]:
    """Who is there at the start, and who comes; who has left before a bucket no longer counts."""
    longest = select(func.max(PEOPLE.c.length_ms)).scalar_subquery()
    there = connection.execute(
        select(func.count()).where(
            PEOPLE.c.camera == camera,
            PEOPLE.c.start_ms < window.from_ms,
            PEOPLE.c.end_ms >= window.from_ms,
            PEOPLE.c.start_ms >= window.from_ms - func.coalesce(longest, 0),
        )
    ).scalar_one()
    # Counting each bucket's stretch of an index takes a fifth of what grouping by bucket takes.
    first = select(literal(0, BigInteger).label("n")).cte("buckets", recursive=True)
    buckets = first.union_all(select(first.c.n + 1).where(first.c.n < window.buckets - 1))
    begin = window.from_ms + buckets.c.n * window.bucket_ms
    # one bound, not two: SQLite may walk to the other
    is_last = buckets.c.n == window.buckets - 1
    end = case((is_last, window.to_ms), else_=begin + window.bucket_ms)

    def inside(column: ColumnElement[int]) -> ScalarSelect[int]:
        return (
            select(func.count())
            .where(
                PEOPLE.c.camera == camera,
                column >= begin,
                column < end,
            )
            .scalar_subquery()
        )

    found = []
    for came, left in connection.execute(
        select(inside(PEOPLE.c.start_ms), inside(PEOPLE.c.end_ms))
        .select_from(buckets)
        .order_by(buckets.c.n)
    ):
        there += came
        found.append(there)
        there -= left
    return tuple(found)


def _obscured(
    connection: Connection, cameras: Collection[str] | None, window: _Window
) -> dict[str, tuple[int, ...]]:
    """Frames of a stretch over several buckets are shared out by time."""
    shares: dict[str, list[float]] = defaultdict(lambda: [0.0] * window.buckets)
    longest = select(func.max(SEGMENTS.c.seconds)).scalar_subquery()
    first = ((OBSCURATIONS.c.start_ms - window.from_ms) // window.bucket_ms).label("first")
    last = ((OBSCURATIONS.c.end_ms - 1 - window.from_ms) // window.bucket_ms).label("last")
    # those within one bucket are added up there; the others come one by one
    inside = and_(OBSCURATIONS.c.start_ms >= window.from_ms, first == last)
    alone = case((inside, -1), else_=OBSCURATIONS.c.start_ms).label("alone")
    for camera, begin, _, by_itself, end_ms, frames in connection.execute(
        select(OBSCURATIONS.c.camera, first, last, alone)
        .add_columns(func.max(OBSCURATIONS.c.end_ms), func.sum(OBSCURATIONS.c.frames))
        .where(
            of_cameras(OBSCURATIONS.c.camera, cameras),
            OBSCURATIONS.c.start_ms < window.to_ms,
            OBSCURATIONS.c.end_ms > window.from_ms,
            # a stretch is no longer than the longest file; one that grows may be ahead of its facts
            OBSCURATIONS.c.start_ms > window.from_ms - 60_000 - 1000 * func.coalesce(longest, 0),
        )
        .group_by(OBSCURATIONS.c.camera, "first", "last", "alone")
    ):
        if by_itself == -1:
            shares[camera][begin] += int(frames)
        else:
            _share(shares[camera], window, by_itself, end_ms, int(frames))
    return {camera: tuple(map(round, each)) for camera, each in shares.items()}


def _share(shares: list[float], window: _Window, start_ms: int, end_ms: int, frames: int) -> None:
    start, end = max(start_ms, window.from_ms), min(end_ms, window.to_ms)
    per_ms = frames / (end_ms - start_ms)
    while start < end:
        bucket = (start - window.from_ms) // window.bucket_ms
        until = min(end, window.from_ms + (bucket + 1) * window.bucket_ms)
        shares[bucket] += per_ms * (until - start)
        start = until
