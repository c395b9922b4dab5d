"""Recordings with sealed faces, indexed, and accounts: what requests are about."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from sqlalchemy import insert

from pipeline.presence import PresenceHeader, presence_path, write_header, write_interval
from pipeline.recover.clip_records import read_clip
from pipeline.review.store.accounts import Account
from pipeline.review.store.database import Database
from pipeline.review.store.people import PeopleQuery, Person, find
from pipeline.review.store.recordings import Segment
from pipeline.review.store.tables import USERS

from .evidence import FPS
from .index import START_MS, facts, interval, put, span
from .recovered import Sealed, new_identity, seal_clip

CAMERA = "lobby"
FRAMES = 8  # of an epoch, of which a recording has two
LENGTH_MS = 2 * FRAMES * 1000 // FPS
SESSIONS = ("ab" * 16, "cd" * 16)
LATER_MS = START_MS + 10_000  # another session: its track 1 is another person


def an_account(
    name: str, *roles: str, cameras: Sequence[str] | None = None, id: int = 99
) -> Account:
    allowed = None if cameras is None else frozenset(cameras)
    return Account(name, frozenset({"viewer", *roles}), allowed, id=id)  # type: ignore[arg-type]


GUARD = an_account("guard", "requester", id=1)
OTHER = an_account("other", "requester", id=2)
APPROVER = an_account("milo", "approver", id=3)
BOTH = an_account("both", "requester", "approver", id=4)
ADMIN = an_account("root", "admin", id=5)
ELSEWHERE = an_account("far", "approver", "requester", cameras=["yard"], id=6)
EVERYBODY = (GUARD, OTHER, APPROVER, BOTH, ADMIN, ELSEWHERE)


@dataclass(frozen=True)
class Recorded:
    """Two files of one camera in two sessions, two people in the first and one in the second."""

    folder: Path
    first: Path
    second: Path
    sealed: tuple[Sealed, Sealed] = field(repr=False)
    key: Path  # an officer's; of each of the two groups one is needed
    approver_key: Path
    epochs: tuple[bytes, ...]  # ids, two of each file


def record(folder: Path) -> Recorded:
    """Files as the service leaves them, with who is in them beside."""
    folder.mkdir(parents=True, exist_ok=True)
    (officer, key), (approver, approver_key) = (
        new_identity(folder.parent, name) for name in ("officer", "approver")
    )
    groups = {"dpo": [approver], "police": [officer]}
    made = (
        seal_clip(groups, epochs=2, frames=FRAMES, faces=2, camera=CAMERA),
        seal_clip(groups, epochs=2, frames=FRAMES, seed=5, camera=CAMERA),
    )
    paths = []
    for sealed, start_ms, session in zip(made, (START_MS, LATER_MS), SESSIONS, strict=True):
        path = sealed.clip.write(folder / f"{CAMERA}_{stamp(start_ms)}.mp4", fragmented=True)
        header = PresenceHeader(
            camera=CAMERA,
            session=session,
            start_ms=start_ms,
            fps=float(FPS),
            width=320,
            height=240,
            evidence=True,
            codec="h264",
        )
        lines = [write_header(header)]
        tracks = (1, 2) if session == SESSIONS[0] else (1,)
        for number in range(2):
            at = number * FRAMES / FPS
            spans = [span(track, at, at + (FRAMES - 1) / FPS, frames=FRAMES) for track in tracks]
            lines.append(write_interval(interval(at, *spans, seconds=FRAMES / FPS, frames=FRAMES)))
        presence_path(path).write_bytes(b"".join(lines))
        for file in (path, presence_path(path)):  # nobody writes them any more
            os.utime(file, (start_ms / 1000, start_ms / 1000))
        paths.append(path)
    first, second = paths
    epochs = [each.record.epoch_id for path in paths for each in read_clip(path).epochs]
    return Recorded(folder, first, second, made, key, approver_key, tuple(epochs))


def stamp(start_ms: int) -> str:
    """As in the name of a recording."""
    moment = datetime.fromtimestamp(start_ms / 1000, UTC)
    return f"{moment:%Y-%m-%dT%H-%M-%S}.{start_ms % 1000:03d}Z"


def index(database: Database, recorded: Recorded, *, evidence: bool = True) -> list[Segment]:
    """Without a look at the files: by what is known of them."""
    known = [
        replace(
            facts(
                str(path),
                camera=CAMERA,
                start_ms=start_ms,
                seconds=LENGTH_MS / 1000,
                session=session,
                evidence=evidence,
            ),
            bytes=path.stat().st_size,
        )
        for path, start_ms, session in (
            (recorded.first, START_MS, SESSIONS[0]),
            (recorded.second, LATER_MS, SESSIONS[1]),
        )
    ]
    length = LENGTH_MS / 1000
    return [
        put(database, known[0], interval(0.0, span(1, 0.0, length), span(2, 0.0, length))),
        put(database, known[1], interval(0.0, span(1, 0.0, length))),
    ]


def employ(database: Database) -> None:
    """EVERYBODY has an account; none of them can sign in."""
    rows = [
        {
            "id": one.id,
            "name": one.name,
            "roles": " ".join(sorted(one.roles - {"viewer"})),
            "cameras": None if one.cameras is None else sorted(one.cameras),
            "password_hash": "",
            "disabled": False,
            "created_ms": 1,
        }
        for one in EVERYBODY
    ]
    with database.write() as connection:
        connection.execute(insert(USERS), rows)


def the_people(database: Database) -> list[Person]:
    """By time and track: the first two are of the first session."""
    found = find(database, PeopleQuery(sort="time")).people
    return sorted(found, key=lambda person: (person.start_ms, person.track))
