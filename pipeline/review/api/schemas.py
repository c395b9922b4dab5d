"""What the API takes and gives, field by field: the source of /openapi.json.

Times are Unix milliseconds, UTC. Input is strict: unknown fields and "12" for 12 are refused.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ..store.accounts import Role

LATEST_MS = 253_402_300_799_999  # the end of the year 9999
LARGEST_ID = 2**63 - 1
LARGEST_RELEASE_BASE64 = 28 * 2**20  # 21 MiB of release; the body may have 32 MiB

Ms = Annotated[int, Field(ge=0, le=LATEST_MS)]
Id = Annotated[int, Field(ge=1, le=LARGEST_ID)]
CameraId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
UserName = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\u0000-\u001f\u007f/]*$")
]
"""Without slashes: it stands in a path."""

RequestId = Annotated[str, StringConstraints(pattern=r"^R-[A-Za-z0-9-]{1,60}$")]
Password = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
_PRINTABLE = r"^[^\u0000-\u001f\u007f]*$"
_TEXT = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f]*$"  # with line ends
CaseId = Annotated[str, StringConstraints(min_length=1, max_length=60, pattern=_PRINTABLE)]
Line = Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=_TEXT)]
Note = Annotated[str, StringConstraints(max_length=1000, pattern=_TEXT)]
Step = Literal["approve", "refuse", "withdraw", "file", "clip"]
CameraIds = Annotated[list[CameraId], Field(max_length=1000)]
CameraList = Annotated[
    str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]+(,[A-Za-z0-9_.-]+)*$", max_length=20_000)
]
"""Ids with commas between them."""


class In(BaseModel):
    """A request's body."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class Query(BaseModel):
    """A request's query string: text, so numbers are read from it."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Out(BaseModel):
    """An answer."""

    model_config = ConfigDict(frozen=True)


class ErrorOut(Out):
    """What is wrong, on one line for people."""

    error: str


# --- site and session ---


class DemoAccountOut(Out):
    """A made-up account of `bauta demo`."""

    name: str
    password: str
    roles: list[Role]


class SiteOut(Out):
    """What anybody may know."""

    site: str
    version: str
    demo: bool
    accounts: list[DemoAccountOut]  # of the demo, else none


class SignIn(In):
    """A name and its password."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    password: Password


class NewPassword(In):
    """One's own."""

    old: Password
    new: Password


class SignedInUser(Out):
    """Who is signed in; `cameras` null means all."""

    name: str
    roles: list[Role]
    cameras: list[str] | None


class SessionOut(Out):
    """`csrf` goes into the header X-CSRF-Token of everything that changes something."""

    user: SignedInUser
    csrf: str
    expires_ms: int


# --- cameras ---


class SinkOut(Out):
    """One destination of a camera's protected stream. Its name holds no credentials."""

    name: str
    state: str
    written: int
    dropped: int
    error: str | None


class CameraOut(Out):
    """What a camera does now."""

    id: str
    state: str  # connecting up reconnecting failed ended silent recorded
    since_ms: int | None
    error: str | None
    live: bool
    refusal: str | None  # why browsers cannot show it
    width: int | None
    height: int | None
    frames_per_second: float
    faces: int
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    frames_in: int
    frames_out: int
    dropped: int
    obscured: dict[str, int]  # reason to frames
    viewers: int
    codec: str | None
    encoder: str | None
    evidence: bool
    alarm: str | None  # why nothing is sealed now
    recording: bool
    sinks: list[SinkOut]


# --- recordings ---


class DaysQuery(Query):
    """`offset_minutes`: of the browser's clock before UTC, 60 in Rome in winter."""

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
    """A camera and a span."""

    camera: CameraId
    from_ms: Ms
    to_ms: Ms


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
    """Filters; `after` is `next` of the page before."""

    cameras: CameraList | None = None
    from_ms: Ms | None = None
    to_ms: Ms | None = None
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
    """A recovery request. `is_lock`: the approver's key is needed; else approval is advice."""

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


# --- users ---


class UserOut(Out):
    """An account; `cameras` null means all."""

    name: str
    roles: list[Role]
    cameras: list[str] | None
    disabled: bool
    created_ms: int


class UsersOut(Out):
    """By name."""

    users: list[UserOut]


class NewUser(In):
    """Everybody is a viewer; `cameras` null means all."""

    name: UserName
    password: Password
    roles: Annotated[list[Role], Field(max_length=4)] = []
    cameras: CameraIds | None = None


class UserChange(In):
    """What is left out stays; `cameras` null means all."""

    roles: Annotated[list[Role], Field(max_length=4)] = []
    cameras: CameraIds | None = None
    disabled: bool = False
    password: Password | None = None


# --- system ---


class AuditQuery(Query):
    """The last `limit` entries before number `before`."""

    limit: Annotated[int, Field(ge=1, le=1000)] = 100
    before: Annotated[int, Field(ge=1, le=10**9)] | None = None


class AuditEntry(BaseModel):
    """One entry; what else it says depends on the action."""

    model_config = ConfigDict(frozen=True, extra="allow")

    n: int
    time: str
    action: str
    user: str | None


class AuditOut(Out):
    """Newest first. `faults`: what is wrong with the whole log, if anything."""

    entries: list[AuditEntry]
    count: int
    faults: list[str]


class ReadyOut(Out):
    """What works: `cameras` are the names of those that are silent or down."""

    database: bool
    index: bool
    cameras: list[str]
