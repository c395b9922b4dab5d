"""Who is signed in. A session's token goes to the browser alone: kept is only its SHA-256."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field

from sqlalchemy import delete, insert, select, update

from ...errors import AccountRefused
from .accounts import Account, account_of, fold
from .database import Database
from .tables import SESSIONS, USERS

TOKEN_BYTES = 32
MOST_PER_ACCOUNT = 50  # a new one beyond ends the one that was longest unused
SEEN_EVERY_MS = 30_000  # "last seen" is no finer: not every picture is a write to the disk


@dataclass(frozen=True, slots=True)
class Session:
    """One browser that is signed in."""

    account: Account
    csrf: str = field(repr=False)  # what unsafe requests must carry besides the cookie
    created_ms: int
    seen_ms: int
    expires_ms: int


def open(
    database: Database, account: Account, now_ms: int, *, longest_ms: int
) -> tuple[str, Session]:
    """Sign in for at most `longest_ms`: the token for the cookie, and the session.

    Raises AccountRefused where the account is gone or disabled, StoreError.
    """
    token, csrf = secrets.token_urlsafe(TOKEN_BYTES), secrets.token_urlsafe(TOKEN_BYTES)
    expires_ms = now_ms + longest_ms
    with database.write() as connection:
        row = connection.execute(
            select(USERS).where(USERS.c.id == account.id).with_for_update(key_share=True)
        ).one_or_none()
        if row is None or row.disabled:
            raise AccountRefused(f"there is no account {account.name} to sign in to")
        connection.execute(delete(SESSIONS).where(SESSIONS.c.expires_ms <= now_ms))
        kept = (
            select(SESSIONS.c.token_sha256)
            .where(SESSIONS.c.user_id == row.id)
            .order_by(SESSIONS.c.seen_ms.desc(), SESSIONS.c.created_ms.desc())
            .limit(MOST_PER_ACCOUNT - 1)
        )
        connection.execute(
            delete(SESSIONS).where(
                SESSIONS.c.user_id == row.id, SESSIONS.c.token_sha256.not_in(kept)
            )
        )
        connection.execute(
            insert(SESSIONS).values(
                token_sha256=token_hash(token),
                user_id=row.id,
                csrf=csrf,
                created_ms=now_ms,
                seen_ms=now_ms,
                expires_ms=expires_ms,
            )
        )
    return token, Session(account_of(row), csrf, now_ms, now_ms, expires_ms)


def find(database: Database, token: str, now_ms: int, idle_ms: int) -> Session | None:
    """The session of a cookie, with the account as it is now; it counts as used.

    None where there is none, it ran out, it was unused for `idle_ms`, or its account is disabled.
    Raises StoreError.
    """
    hashed = token_hash(token)
    with database.read() as connection:
        row = connection.execute(
            select(USERS, SESSIONS.c.csrf, SESSIONS.c.seen_ms, SESSIONS.c.expires_ms)
            .add_columns(SESSIONS.c.created_ms.label("opened_ms"))
            .join(SESSIONS)
            .where(SESSIONS.c.token_sha256 == hashed)
        ).one_or_none()
    if row is None or row.disabled:
        return None
    if now_ms >= row.expires_ms or now_ms - row.seen_ms >= idle_ms:
        close(database, token)
        return None
    if now_ms - row.seen_ms >= min(SEEN_EVERY_MS, idle_ms // 4):
        with database.write() as connection:
            connection.execute(
                update(SESSIONS).where(SESSIONS.c.token_sha256 == hashed).values(seen_ms=now_ms)
            )
    return Session(account_of(row), row.csrf, row.opened_ms, now_ms, row.expires_ms)


def close(database: Database, token: str) -> None:
    """Sign out; a token of no session is no error. Raises StoreError."""
    with database.write() as connection:
        connection.execute(delete(SESSIONS).where(SESSIONS.c.token_sha256 == token_hash(token)))


def close_all(database: Database, name: str) -> None:
    """Sign an account out everywhere. Raises StoreError."""
    with database.write() as connection:
        whose = select(USERS.c.id).where(USERS.c.name == fold(name)).scalar_subquery()
        connection.execute(delete(SESSIONS).where(SESSIONS.c.user_id == whose))


def prune(database: Database, now_ms: int, idle_ms: int) -> int:
    """Remove those that ran out or were unused for `idle_ms`: how many. Raises StoreError."""
    with database.write() as connection:
        done = connection.execute(
            delete(SESSIONS).where(
                (SESSIONS.c.expires_ms <= now_ms) | (SESSIONS.c.seen_ms <= now_ms - idle_ms)
            )
        )
    return done.rowcount


def token_hash(token: str) -> bytes:
    """What is kept of a session's token (32,)."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).digest()
