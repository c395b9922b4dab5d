"""The first tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """From an empty database."""
    op.create_table(
        "requests",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("camera", sa.Text(), nullable=False),
        sa.Column("from_ms", sa.BigInteger(), nullable=False),
        sa.Column("to_ms", sa.BigInteger(), nullable=False),
        sa.Column("case_id", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("requester", sa.Text(), nullable=False),
        sa.Column("requester_id", ID, nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.Column("decider", sa.Text(), nullable=True),
        sa.Column("decided_ms", sa.BigInteger(), nullable=True),
        sa.Column("note", sa.Text(), nullable=True),
        sa.Column("release", sa.LargeBinary(), nullable=True),
        sa.Column("file", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_requests")),
    )
    op.create_index(op.f("ix_requests_created_ms"), "requests", ["created_ms"], unique=False)
    op.create_index(
        op.f("ix_requests_requester_id_created_ms"),
        "requests",
        ["requester_id", "created_ms"],
        unique=False,
    )
    op.create_index(
        op.f("ix_requests_state_expires_ms"), "requests", ["state", "expires_ms"], unique=False
    )
    op.create_table(
        "segments",
        sa.Column("id", ID, nullable=False),
        sa.Column("camera", sa.Text(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("end_ms", sa.BigInteger(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("fps", sa.Double(), nullable=False),
        sa.Column("codec", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("evidence", sa.Boolean(), nullable=False),
        sa.Column("growing", sa.Boolean(), nullable=False),
        sa.Column("read_bytes", sa.BigInteger(), nullable=False),
        sa.Column("read_seconds", sa.Double(), nullable=False),
        sa.Column("problem", sa.Text(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_segments")),
        sa.UniqueConstraint("path", name=op.f("uq_segments_path")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_segments_camera_start_ms"), "segments", ["camera", "start_ms"], unique=False
    )
    op.create_index(op.f("ix_segments_seconds"), "segments", ["seconds"], unique=False)
    op.create_table(
        "users",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=False),
        sa.Column("roles", sa.Text(), nullable=False),
        sa.Column("cameras", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("disabled", sa.Boolean(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("name", name=op.f("uq_users_name")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "obscurations",
        sa.Column("segment_id", ID, nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("end_ms", sa.BigInteger(), nullable=False),
        sa.Column("camera", sa.Text(), nullable=False),
        sa.Column("frames", sa.BigInteger(), nullable=False),
        sa.Column("whole", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["segment_id"],
            ["segments.id"],
            name=op.f("fk_obscurations_segment_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("segment_id", "start_ms", name=op.f("pk_obscurations")),
    )
    op.create_index(
        op.f("ix_obscurations_camera_start_ms_end_ms_frames"),
        "obscurations",
        ["camera", "start_ms", "end_ms", "frames"],
        unique=False,
    )
    op.create_table(
        "people",
        sa.Column("id", ID, nullable=False),
        sa.Column("camera", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("track", sa.BigInteger(), nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("end_ms", sa.BigInteger(), nullable=False),
        sa.Column("length_ms", sa.BigInteger(), nullable=False),
        sa.Column("frames", sa.BigInteger(), nullable=False),
        sa.Column("largest_px", sa.Integer(), nullable=False),
        sa.Column("best_segment", ID, nullable=False),
        sa.Column("best_seconds", sa.Double(), nullable=False),
        sa.Column("best_ms", sa.BigInteger(), nullable=False),
        sa.Column("best_x", sa.Integer(), nullable=False),
        sa.Column("best_y", sa.Integer(), nullable=False),
        sa.Column("best_w", sa.Integer(), nullable=False),
        sa.Column("best_h", sa.Integer(), nullable=False),
        sa.Column("recoverable", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(
            ["best_segment"], ["segments.id"], name=op.f("fk_people_best_segment")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_people")),
        sa.UniqueConstraint(
            "camera", "session", "track", name=op.f("uq_people_camera_session_track")
        ),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_people_best_segment"), "people", ["best_segment"], unique=False)
    op.create_index(
        "ix_people_camera",
        "people",
        ["camera", "start_ms", "end_ms", "largest_px", "length_ms", "recoverable"],
        unique=False,
    )
    op.create_index(op.f("ix_people_camera_end_ms"), "people", ["camera", "end_ms"], unique=False)
    op.create_index(op.f("ix_people_length_ms"), "people", ["length_ms"], unique=False)
    op.create_index(
        "ix_people_time",
        "people",
        ["start_ms", "id", "end_ms", "camera", "largest_px", "length_ms", "recoverable"],
        unique=False,
    )
    op.create_table(
        "sessions",
        sa.Column("token_sha256", sa.LargeBinary(), nullable=False),
        sa.Column("user_id", ID, nullable=False),
        sa.Column("csrf", sa.Text(), nullable=False),
        sa.Column("created_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["user_id"], ["users.id"], name=op.f("fk_sessions_user_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("token_sha256", name=op.f("pk_sessions")),
    )
    op.create_index(op.f("ix_sessions_expires_ms"), "sessions", ["expires_ms"], unique=False)
    op.create_index(op.f("ix_sessions_user_id"), "sessions", ["user_id"], unique=False)
    op.create_table(
        "request_people",
        sa.Column("id", ID, nullable=False),
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("person_id", ID, nullable=True),
        sa.Column("camera", sa.Text(), nullable=False),
        sa.Column("session", sa.Text(), nullable=False),
        sa.Column("track", sa.BigInteger(), nullable=False),
        sa.Column("start_ms", sa.BigInteger(), nullable=False),
        sa.Column("end_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"],
            ["people.id"],
            name=op.f("fk_request_people_person_id"),
            ondelete="SET NULL",
        ),
        sa.ForeignKeyConstraint(
            ["request_id"],
            ["requests.id"],
            name=op.f("fk_request_people_request_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_request_people")),
    )
    op.create_index(
        op.f("ix_request_people_person_id"), "request_people", ["person_id"], unique=False
    )
    op.create_index(
        op.f("ix_request_people_request_id"), "request_people", ["request_id"], unique=False
    )
    op.create_table(
        "sightings",
        sa.Column("person_id", ID, nullable=False),
        sa.Column("segment_id", ID, nullable=False),
        sa.Column("first_seconds", sa.Double(), nullable=False),
        sa.Column("last_seconds", sa.Double(), nullable=False),
        sa.Column("frames", sa.BigInteger(), nullable=False),
        sa.Column("best_seconds", sa.Double(), nullable=False),
        sa.Column("best_x", sa.Integer(), nullable=False),
        sa.Column("best_y", sa.Integer(), nullable=False),
        sa.Column("best_w", sa.Integer(), nullable=False),
        sa.Column("best_h", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["person_id"], ["people.id"], name=op.f("fk_sightings_person_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["segment_id"],
            ["segments.id"],
            name=op.f("fk_sightings_segment_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("person_id", "segment_id", name=op.f("pk_sightings")),
    )
    op.create_index(op.f("ix_sightings_segment_id"), "sightings", ["segment_id"], unique=False)
