"""Recordings that only an index knows: facts, intervals, and whole days of made-up people."""

from __future__ import annotations

from sqlalchemy import insert

from pipeline.presence import Interval, TrackSpan
from pipeline.review.store import accounts, recordings
from pipeline.review.store.accounts import Account
from pipeline.review.store.database import Database
from pipeline.review.store.recordings import Segment, SegmentFacts
from pipeline.review.store.tables import USERS

START_MS = 1_795_000_000_000


def facts(
    path: str = "/r/a.mp4",
    *,
    camera: str = "lobby",
    start_ms: int = START_MS,
    seconds: float = 60.0,
    session: str = "s1",
    evidence: bool = True,
    growing: bool = False,
) -> SegmentFacts:
    """Of a file that need not exist."""
    return SegmentFacts(
        camera=camera,
        path=path,
        start_ms=start_ms,
        seconds=seconds,
        bytes=1000,
        mtime_ns=1,
        width=1280,
        height=720,
        fps=25.0,
        codec="h264",
        session=session,
        evidence=evidence,
        growing=growing,
    )


def somebody(database: Database, name: str, *roles: str) -> Account:
    """An account that sees everything, and cannot sign in; made where it is not there yet."""
    found = accounts.get(database, name)
    if found is None:
        values = {"name": name, "roles": " ".join(sorted(roles)), "password_hash": ""}
        with database.write() as connection:
            connection.execute(insert(USERS).values(**values, disabled=False, created_ms=1))
        found = accounts.get(database, name)
        assert found is not None
    return found


def span(track: int, first: float, last: float, *, side: int = 40, frames: int = 10) -> TrackSpan:
    """A track; its box is a square that tells where it came from."""
    return TrackSpan(track, first, last, frames, (track, side, side, side), (first + last) / 2)


def interval(
    at: float, *spans: TrackSpan, seconds: float = 1.0, obscured: int = 0, frames: int = 25
) -> Interval:
    """One line beside a recording."""
    return Interval(at, seconds, frames, obscured, spans)


def put(
    database: Database, known: SegmentFacts, *intervals: Interval, read_bytes: int = 100
) -> Segment:
    """A file with what was read beside it."""
    segment = recordings.put_segment(database, known)
    recordings.put_intervals(database, segment.id, intervals, read_bytes)
    found = recordings.segment(database, segment.id)
    assert found is not None
    return found
