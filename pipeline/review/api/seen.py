"""What of the index a user may see: cameras that were asked for, and those they may."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ..store import people, recordings
from ..store.people import Person
from ..store.recordings import Segment
from .context import Context
from .errors import no_such
from .file_answer import close, open_inside
from .security import Caller


def cameras_of(caller: Caller, asked: str | None) -> Collection[str] | None:
    """Of a list with commas; None: all there are. Raises ApiError 404 where one is not theirs."""
    if asked is None:
        return caller.account.cameras
    chosen = frozenset(asked.split(","))
    for camera in chosen:
        caller.must_see(camera)
    return chosen


def segment_of(context: Context, caller: Caller, segment_id: int) -> Segment:
    """Asks the database. Raises ApiError 404."""
    found = recordings.segment(context.database, segment_id)
    if found is None or not caller.account.may(found.camera):
        raise no_such("recording")
    return found


def person_of(context: Context, caller: Caller, person_id: int) -> Person:
    """Asks the database. Raises ApiError 404."""
    found = people.get(context.database, person_id)
    if found is None or not caller.account.may(found.camera):
        raise no_such("person")
    return found


def file_of(context: Context, segment: Segment) -> Path:
    """Where its file lies, which is in a folder of recordings now. Raises ApiError 404."""
    close(open_inside(segment.path, context.plan.folders))
    return Path(segment.path)
