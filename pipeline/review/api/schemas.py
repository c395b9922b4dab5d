"""What the API takes and gives, field by field: the source of /openapi.json.

Times are Unix milliseconds, UTC. Input is strict: unknown fields and "12" for 12 are refused.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from ..store.accounts import Role

LATEST_MS = 253_402_300_799_999  # the end of the year 9999

Ms = Annotated[int, Field(ge=0, le=LATEST_MS)]
CameraId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$")]
UserName = Annotated[
    str, StringConstraints(min_length=1, max_length=64, pattern=r"^[^\u0000-\u001f\u007f/]*$")
]
"""Without slashes: it stands in a path."""

Password = Annotated[str, StringConstraints(min_length=1, max_length=1024)]
CameraIds = Annotated[list[CameraId], Field(max_length=1000)]


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
    state: str  # connecting up down failed ended silent recorded
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
    """The last `limit` entries to be seen before number `before`."""

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
    """Newest first, without those of cameras that the asker may not see. `count` and `faults`,
    what is wrong if anything, are of the whole log.
    """

    entries: list[AuditEntry]
    count: int
    faults: list[str]


class ReadyOut(Out):
    """What works. `silent` counts the cameras whose feed is silent; `cameras` names those that the
    asker may see, and is null for strangers.
    """

    database: bool
    index: bool
    silent: int
    cameras: list[str] | None
