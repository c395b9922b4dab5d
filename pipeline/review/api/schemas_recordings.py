"""What the API takes and gives about recordings: files, people in them, recovery requests.

Times are Unix milliseconds, UTC.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from .schemas import CameraId, In, Ms, Out, Query

LARGEST_RELEASE_BASE64 = 28 * 2**20  # 21 MiB of release; the body may have 32 MiB
LARGEST_ID = 2**63 - 1

_PRINTABLE = r"^[^\u0000-\u001f\u007f]*$"
_TEXT = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]*$"  # with line ends
Id = Annotated[int, Field(ge=1, le=LARGEST_ID)]
RequestId = Annotated[str, StringConstraints(pattern=r"^R-[A-Za-z0-9-]{1,60}$")]
CaseId = Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=_PRINTABLE)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=_TEXT)]
Note = Annotated[str, StringConstraints(max_length=1000, pattern=_TEXT)]
Step = Literal["approve", "refuse", "withdraw", "file", "clip"]
CameraList = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+(,[A-Za-z0-9_.-]+)*$", max_length=20_000)
]
"""Ids with commas between them."""


# --- recordings ---


class DaysQuery(Query):
    """`offset_minutes`: how far the browser's clock is ahead of UTC; 60 in Rome in winter."""

    offset_minutes: Annotated[int, Field(ge=-900, le=900)] = 0


class DayCamera(Out):
    """One camera on one day."""

    id: str
    seconds: float
    people: int


class Day(Out):
    """A day as the browser's clock has it."""

    day: str
    start_ms: int
    cameras: list[DayCamera]


class DaysOut(Out):
    """Newest first."""

    days: list[Day]


class TimelineQuery(Query):
    """A span, and into how many parts it is divided."""

    from_ms: Ms
    to_ms: Ms
    cameras: CameraList | None = None
    buckets: Annotated[int, Field(ge=1, le=2000)] = 288


class TimelineCamera(Out):
    """Where there are recordings, and how many people each part has."""

    id: str
    segments: list[tuple[int, int]]  # start_ms, end_ms; touching ones are one
    people: list[int]
    obscured: list[int]


class TimelineOut(Out):
    """Of the cameras that were asked for."""

    from_ms: int
    to_ms: int
    bucket_ms: int
    cameras: list[TimelineCamera]


class SpanQuery(Query):
    """A camera and a span; `limit`: the first so many, and no more."""

    camera: CameraId
    from_ms: Ms
    to_ms: Ms
    limit: Annotated[int, Field(ge=1, le=1_000_000)] | None = None


class SegmentOut(Out):
    """One recorded file."""

    id: int
    camera: str
    start_ms: int
    end_ms: int
    bytes: int
    width: int | None
    height: int | None
    fps: float | None
    codec: str | None
    mime: str | None
    playable: bool
    refusal: str | None
    growing: bool
    evidence: bool
    problem: str | None


class RecordingsOut(Out):
    """By time."""

    segments: list[SegmentOut]


class FragmentsOut(Out):
    """Where in a file its parts lie, so that a player can seek."""

    mime: str
    init: tuple[int, int]  # offset, size
    fps: float
    growing: bool
    fragments: list[tuple[float, float, int, int]]  # start and length in seconds, offset, size


class Span(In):
    """A camera and a span."""

    camera: CameraId
    from_ms: Ms
    to_ms: Ms


class ExportOut(Out):
    """Cut at the nearest keyframes around the span."""

    id: str
    name: str
    bytes: int
    start_ms: int
    end_ms: int
    url: str
    stopped: str | None  # why it ends before what was asked for


# --- people ---


class PeopleQuery(Query):
    """Filters; `after` is `next` of the page before. `begins_…`: then or later, and before then."""

    cameras: CameraList | None = None
    from_ms: Ms | None = None
    to_ms: Ms | None = None
    begins_after_ms: Ms | None = None
    begins_before_ms: Ms | None = None
    min_px: Annotated[int, Field(ge=0, le=100_000)] | None = None
    min_seconds: Annotated[float, Field(ge=0, le=10_000_000)] | None = None
    recoverable: bool | None = None
    sort: Literal["time", "-time", "-seconds", "-size"] = "-time"
    limit: Annotated[int, Field(ge=1, le=500)] = 60
    after: Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,200}$")] | None = None


class PersonOut(Out):
    """One track: somebody between entering and leaving. Who it is nobody has looked for."""

    id: int
    camera: str
    track: int
    start_ms: int
    end_ms: int
    seconds: float
    frames: int
    largest_px: int
    best_ms: int
    recoverable: bool
    box_xywh_px: tuple[int, int, int, int]


class PeopleOut(Out):
    """One page; `next` null is the last."""

    people: list[PersonOut]
    next: str | None
    total: int


# --- recovery requests ---


class RequestsQuery(Query):
    """By state."""

    state: Literal["pending", "approved", "refused", "withdrawn", "expired"] | None = None


class NewRequestIn(In):
    """Whose faces, for what case, and why."""

    camera: CameraId
    from_ms: Ms
    to_ms: Ms
    people: Annotated[list[Id], Field(min_length=1, max_length=32)]
    case: CaseId
    reason: Line


class Approval(In):
    """`release`: what `bauta keys release` made, in base64."""

    note: Note = ""
    release: Annotated[str, Field(max_length=LARGEST_RELEASE_BASE64)] | None = None


class Refusal(In):
    """Why not."""

    note: Note = ""


class RequestPersonOut(Out):
    """A track that is asked for; `person_id` null where its recording is gone."""

    person_id: int | None
    track: int
    start_ms: int
    end_ms: int


class RequestOut(Out):
    """A recovery request. `is_lock`: the approval carries a key release, unchecked until the
    officer opens it; without one it is advice.
    """

    id: str
    state: Literal["pending", "approved", "refused", "withdrawn", "expired"]
    camera: str
    from_ms: int
    to_ms: int
    case: str
    reason: str
    requester: str
    created_ms: int
    expires_ms: int
    decider: str | None
    decided_ms: int | None
    note: str | None
    is_lock: bool
    people: list[RequestPersonOut]
    may: list[Step]  # what the asker can do


class RequestsOut(Out):
    """Newest first."""

    requests: list[RequestOut]
