"""Who may sign in to the console, as what, and to see which cameras."""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from typing import Any, Final, Literal, cast, get_args

from sqlalchemy import Connection, Row, delete, select, update

from ...errors import AccountRefused, ActorRefused, UsageError
from ..passwords import check_rule, fits, hash_password, is_outdated
from .database import Database, insert
from .tables import SESSIONS, USERS

Role = Literal["viewer", "requester", "approver", "admin"]
ROLES: tuple[Role, ...] = get_args(Role)
MOST_NAME_CHARACTERS = 64
MOST_CAMERAS = 10_000  # that one account may be given by name
_LETTERS = frozenset({"Lu", "Ll", "Lt", "Lm", "Lo", "Mn", "Mc", "Nd"})  # with marks and digits
_MARKS = frozenset("._- ")


class _Kept:
    """The type of KEEP."""


KEEP: Final = _Kept()
"""Of `change`: cameras stay as they are; None would mean all."""


@dataclass(frozen=True, slots=True)
class Account:
    """A user. Everybody is a viewer."""

    name: str  # as `fold` writes it
    roles: frozenset[Role]
    cameras: frozenset[str] | None  # None: all, also those to come
    disabled: bool = False
    created_ms: int = field(default=0, compare=False)
    id: int = field(default=0, compare=False)  # never given again, while a name may be

    def may(self, camera: str) -> bool:
        """Whether they see it."""
        return self.cameras is None or camera in self.cameras


def fold(name: str) -> str:
    """As names are compared: NFKC and casefolded, so that what looks alike is one name."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    return unicodedata.normalize("NFKC", folded)


def clean_name(name: str) -> str:
    """As it is kept: folded. Raises UsageError where it is none."""
    folded = fold(name)
    if not 1 <= len(folded) <= MOST_NAME_CHARACTERS:
        raise UsageError(f"an account's name has 1 to {MOST_NAME_CHARACTERS} characters")
    if folded != folded.strip():
        raise UsageError("an account's name neither begins nor ends with a space")
    if not all(one in _MARKS or unicodedata.category(one) in _LETTERS for one in folded):
        raise UsageError("an account's name has letters, digits, . _ - and spaces inside alone")
    if not any(unicodedata.category(one)[0] in "LN" for one in folded):
        raise UsageError("an account's name has a letter or a digit")
    return folded


def create(
    database: Database,
    name: str,
    password: str,
    *,
    roles: Collection[str] = (),
    cameras: Collection[str] | None = None,
    now_ms: int,
    actor: Account | None = None,
) -> Account:
    """Add one. `actor`: the administrator who does it; None: the terminal.

    Raises UsageError for a name, password, role or camera that cannot be one, AccountRefused where
    the name is taken, ActorRefused where `actor` is no administrator any more, StoreError.
    """
    name = clean_name(name)
    check_rule(password, name)
    values = {
        "name": name,
        "roles": _roles_text(roles),
        "cameras": _cameras_list(cameras),
        "disabled": False,
        "created_ms": now_ms,
        "password_hash": hash_password(password),
    }
    with database.write() as connection:
        if actor is not None:
            must_still(connection, actor, "admin")
        row = connection.execute(
            insert(connection, USERS).values(values).on_conflict_do_nothing().returning(USERS)
        ).one_or_none()
        if row is None:
            raise AccountRefused(f"there is an account {name} already")
        return _account(row)


def get(database: Database, name: str) -> Account | None:
    """By its name, in any case of letters. Raises StoreError."""
    with database.read() as connection:
        row = connection.execute(_by_name(fold(name))).one_or_none()
    return None if row is None else _account(row)


def list(database: Database) -> tuple[Account, ...]:
    """All, by name. Raises StoreError."""
    with database.read() as connection:
        return tuple(map(_account, connection.execute(select(USERS).order_by(USERS.c.name))))


def change(
    database: Database,
    name: str,
    *,
    roles: Collection[str] | None = None,
    cameras: Collection[str] | _Kept | None = KEEP,
    disabled: bool | None = None,
    password: str | None = None,
    but_for: bytes = b"",
    actor: Account | None = None,
) -> Account:
    """Change what is given, all or nothing; the account is signed out everywhere.

    `but_for`: `sessions.token_hash` of the one session that stays, of the account itself.
    Raises AccountRefused where there is no such account, or none would be left that is an
    administrator; ActorRefused as `create`, or where that session is over; UsageError; StoreError.
    """
    name = fold(name)
    values: dict[str, Any] = {}
    if roles is not None:
        values["roles"] = _roles_text(roles)
    if not isinstance(cameras, _Kept):
        values["cameras"] = _cameras_list(cameras)
    if disabled is not None:
        values["disabled"] = disabled
    if password is not None:
        check_rule(password, name)
        values["password_hash"] = hash_password(password)
    with database.write() as connection:
        row = _locked(connection, name)
        if actor is not None:
            must_still(connection, actor, "admin")
        if but_for:
            _must_be_open(connection, row.id, but_for)
        was_admin = _is_active_admin(row)
        if values:
            connection.execute(update(USERS).where(USERS.c.id == row.id).values(values))
            others = (SESSIONS.c.user_id == row.id, SESSIONS.c.token_sha256 != but_for)
            connection.execute(delete(SESSIONS).where(*others))
        row = connection.execute(_by_name(name)).one()
        if was_admin and not _is_active_admin(row):
            _someone_is_admin(connection, name)
        return _account(row)


def remove(database: Database, name: str, *, actor: Account | None = None) -> None:
    """For good, with its sessions; its requests stay, and nobody inherits them.

    Raises AccountRefused where there is no such account, or it is the last administrator;
    ActorRefused as `create`; StoreError.
    """
    name = fold(name)
    with database.write() as connection:
        row = _locked(connection, name)
        if actor is not None:
            must_still(connection, actor, "admin")
        connection.execute(delete(USERS).where(USERS.c.id == row.id))
        if _is_active_admin(row):
            _someone_is_admin(connection, name)


def verify(database: Database, name: str, password: str) -> Account | None:
    """The account, where the password is its own and it is not disabled; else None.

    An unknown or disabled account takes as long as a wrong password. Raises StoreError.
    """
    with database.read() as connection:
        row = connection.execute(_by_name(fold(name))).one_or_none()
    if row is not None and row.disabled:
        row = None
    if not fits(password, None if row is None else row.password_hash) or row is None:
        return None
    if is_outdated(row.password_hash):
        better = hash_password(password)
        with database.write() as connection:
            # only over the hash that was checked: the password may have been changed meanwhile
            connection.execute(
                update(USERS)
                .where(USERS.c.id == row.id, USERS.c.password_hash == row.password_hash)
                .values(password_hash=better)
            )
    return _account(row)


def must_still(
    connection: Connection, actor: Account, role: Role | None = None, camera: str | None = None
) -> None:
    """Whoever acts may do so now, until the transaction ends: they stay as they are for so long.

    Raises ActorRefused: removed, disabled, without the role, or not to see the camera any more.
    """
    row = connection.execute(
        select(USERS).where(USERS.c.id == actor.id).with_for_update(read=True)
    ).one_or_none()
    if row is None or row.disabled:
        raise ActorRefused(f"the account {actor.name} was removed or disabled meanwhile")
    now = _account(row)
    if role is not None and role not in now.roles:
        raise ActorRefused(f"{actor.name} has lost the role {role} meanwhile")
    if camera is not None and not now.may(camera):
        raise ActorRefused(f"{actor.name} may not see that camera any more")


# --- inside ---


def account_of(row: Row[Any]) -> Account:
    """From a row that holds the columns of `users`."""
    return Account(
        name=row.name,
        roles=frozenset(cast(Iterable[Role], ["viewer", *row.roles.split()])),
        cameras=None if row.cameras is None else frozenset(row.cameras),
        disabled=row.disabled,
        created_ms=row.created_ms,
        id=row.id,
    )


_account = account_of


def _by_name(name: str) -> Any:
    return select(USERS).where(USERS.c.name == name)


def _locked(connection: Connection, name: str) -> Row[Any]:
    """Its row, and all administrators' rows locked: two of them cannot demote each other."""
    row = None
    for each in connection.execute(select(USERS).order_by(USERS.c.id).with_for_update()):
        if each.name == name:
            row = each
    if row is None:
        raise AccountRefused(f"there is no account {name}")
    return row


def _must_be_open(connection: Connection, user_id: int, token_sha256: bytes) -> None:
    whose = select(SESSIONS.c.user_id).where(SESSIONS.c.token_sha256 == token_sha256)
    if connection.execute(whose).scalar_one_or_none() != user_id:
        raise ActorRefused("the session was ended meanwhile; sign in again")


def _is_active_admin(row: Row[Any]) -> bool:
    return "admin" in row.roles.split() and not row.disabled


def _someone_is_admin(connection: Connection, name: str) -> None:
    rows = connection.execute(select(USERS).where(USERS.c.disabled.is_(False)))
    if not any(map(_is_active_admin, rows)):
        raise AccountRefused(
            f"{name} is the last administrator: make another one first, else nobody could manage "
            "accounts"
        )


def _roles_text(roles: Collection[str]) -> str:
    if unknown := set(roles) - set(ROLES):
        raise UsageError(f"no role {sorted(unknown)[0]!r}; there are: {', '.join(ROLES)}")
    return " ".join(sorted(set(roles) - {"viewer"}))


def _cameras_list(cameras: Collection[str] | None) -> Any:
    if cameras is None:
        return None
    if len(cameras) > MOST_CAMERAS or not all(
        camera and camera.isprintable() and len(camera) <= MOST_NAME_CHARACTERS
        for camera in cameras
    ):
        raise UsageError("cameras are named by their ids, as in the configuration")
    return sorted(set(cameras))
