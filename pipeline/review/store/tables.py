"""The console's tables. Times are Unix milliseconds UTC; a change here needs a migration beside it.

What is indexed (segments, people, sightings, obscurations) can be read again from the recordings.
Accounts, sessions and requests are nowhere else.
"""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
)

METADATA = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

ID = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers INTEGER keys alone by itself

USERS = Table(
    "users",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("name", Text, nullable=False, unique=True),  # casefolded
    Column("password_hash", Text, nullable=False),
    Column("roles", Text, nullable=False),  # "approver requester": sorted, without viewer
    Column("cameras", JSON(none_as_null=True)),  # sorted names; NULL: all
    Column("disabled", Boolean, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    sqlite_autoincrement=True,  # requests are of an account's number: nobody may inherit them
)

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("token_sha256", LargeBinary, primary_key=True),
    Column("user_id", ID, ForeignKey("users.id", ondelete="CASCADE"), nullable=False, index=True),
    Column("csrf", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("seen_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False, index=True),
)

SEGMENTS = Table(
    "segments",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("camera", Text, nullable=False),
    Column("path", Text, nullable=False, unique=True),
    Column("start_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    Column("seconds", Double, nullable=False, index=True),  # the index answers "the longest"
    Column("bytes", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("width", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("fps", Double, nullable=False),
    Column("codec", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("evidence", Boolean, nullable=False),
    Column("growing", Boolean, nullable=False),
    Column("read_bytes", BigInteger, nullable=False),  # of its .tracks file
    Column("read_seconds", Double, nullable=False),  # where the newest interval begins; -1: none
    Column("problem", Text),
    Index(None, "camera", "start_ms"),
    sqlite_autoincrement=True,  # what is kept by this number must not become another file's
)

PEOPLE = Table(
    "people",
    METADATA,
    Column("id", ID, primary_key=True),
    Column("camera", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("track", BigInteger, nullable=False),
    Column("start_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
    Column("length_ms", BigInteger, nullable=False, index=True),  # end_ms - start_ms
    Column("frames", BigInteger, nullable=False),
    Column("largest_px", Integer, nullable=False),  # the longer side of the largest box
    Column("best_segment", ID, ForeignKey("segments.id"), nullable=False, index=True),
    Column("best_seconds", Double, nullable=False),
    Column("best_ms", BigInteger, nullable=False),
    Column("best_x", Integer, nullable=False),
    Column("best_y", Integer, nullable=False),
    Column("best_w", Integer, nullable=False),
    Column("best_h", Integer, nullable=False),
    Column("recoverable", Boolean, nullable=False),
    UniqueConstraint("camera", "session", "track"),
    # two hold all that people are sought by: a window is counted and sorted without the rows
    Index(
        "ix_people_camera",
        *("camera", "start_ms", "end_ms", "largest_px", "length_ms", "recoverable"),
    ),
    Index(None, "camera", "end_ms"),
    Index(
        "ix_people_time",
        *("start_ms", "id", "end_ms", "camera", "largest_px", "length_ms", "recoverable"),
    ),
    sqlite_autoincrement=True,
)

SIGHTINGS = Table(
    "sightings",
    METADATA,
    Column("person_id", ID, ForeignKey("people.id", ondelete="CASCADE"), primary_key=True),
    Column(
        "segment_id",
        ID,
        ForeignKey("segments.id", ondelete="CASCADE"),
        primary_key=True,
        index=True,
    ),
    Column("first_seconds", Double, nullable=False),  # from the segment's first frame
    Column("last_seconds", Double, nullable=False),
    Column("frames", BigInteger, nullable=False),
    Column("best_seconds", Double, nullable=False),
    Column("best_x", Integer, nullable=False),
    Column("best_y", Integer, nullable=False),
    Column("best_w", Integer, nullable=False),
    Column("best_h", Integer, nullable=False),
)

OBSCURATIONS = Table(
    "obscurations",  # stretches with frames that were hidden whole
    METADATA,
    Column("segment_id", ID, ForeignKey("segments.id", ondelete="CASCADE"), primary_key=True),
    Column("start_ms", BigInteger, primary_key=True),
    Column("end_ms", BigInteger, nullable=False),
    Column("camera", Text, nullable=False),
    Column("frames", BigInteger, nullable=False),
    Column("whole", Boolean, nullable=False),  # every frame of it: it may be joined to the next
    Index(None, "camera", "start_ms", "end_ms", "frames"),
)

REQUESTS = Table(
    "requests",
    METADATA,
    Column("id", Text, primary_key=True),  # "R-" and 8 characters of base32
    Column("state", Text, nullable=False),
    Column("camera", Text, nullable=False),
    Column("from_ms", BigInteger, nullable=False),
    Column("to_ms", BigInteger, nullable=False),
    Column("case_id", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("requester", Text, nullable=False),  # a name, not a key: it outlives the account
    Column("requester_id", ID, nullable=False),  # whose it is: names may be given anew
    Column("created_ms", BigInteger, nullable=False, index=True),
    Column("expires_ms", BigInteger, nullable=False),
    Column("decider", Text),
    Column("decided_ms", BigInteger),
    Column("note", Text),
    Column("release", LargeBinary),
    Column("file", LargeBinary),
    Index(None, "state", "expires_ms"),
    Index(None, "requester_id", "created_ms"),
)

REQUEST_PEOPLE = Table(
    "request_people",  # copies: a recording may be deleted before the request is decided
    METADATA,
    Column("id", ID, primary_key=True),
    Column(
        "request_id",
        Text,
        ForeignKey("requests.id", ondelete="CASCADE"),
        nullable=False,
        index=True,
    ),
    Column("person_id", ID, ForeignKey("people.id", ondelete="SET NULL"), index=True),
    Column("camera", Text, nullable=False),
    Column("session", Text, nullable=False),
    Column("track", BigInteger, nullable=False),
    Column("start_ms", BigInteger, nullable=False),
    Column("end_ms", BigInteger, nullable=False),
)
