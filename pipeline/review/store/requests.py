"""Requests to lift somebody's mask: who asked for whom, and what was decided.

States: pending, then approved, refused, withdrawn or expired; an approved one expires as well.
"""

from __future__ import annotations

import base64
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from sqlalchemy import Connection, Row, and_, func, insert, or_, select, update

from ...errors import RequestRefused, UsageError
from . import accounts
from .accounts import Account, Role
from .database import Database
from .recordings import of_cameras
from .tables import PEOPLE, REQUEST_PEOPLE, REQUESTS

State = Literal["pending", "approved", "refused", "withdrawn", "expired"]
Decision = Literal["approved", "refused", "withdrawn"]
MOST_PEOPLE = 200  # in one request
_WAITING = ("pending", "approved")  # what time ends


@dataclass(frozen=True, slots=True)
class RequestedPerson:
    """Whom a request is about: copied, as recordings may be deleted."""

    person_id: int | None  # None: no longer in the index
    camera: str
    session: str
    track: int
    start_ms: int
    end_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request as it stands. Times are Unix milliseconds UTC."""

    id: str  # "R-" and 8 characters
    state: State
    camera: str
    from_ms: int
    to_ms: int
    case_id: str
    reason: str
    requester: str  # an account's name, then
    requester_id: int  # whose it is: a name may be given anew
    created_ms: int
    expires_ms: int  # of a pending one: when it lapses; of an approved one: when approval does
    decider: str | None
    decided_ms: int | None
    note: str | None
    release: bytes | None = field(repr=False)  # an approver's key release
    file: bytes | None = field(repr=False)  # the signed request
    people: tuple[RequestedPerson, ...]


def add(
    database: Database,
    *,
    camera: str,
    from_ms: int,
    to_ms: int,
    case_id: str,
    reason: str,
    requester: Account,
    person_ids: Collection[int],
    created_ms: int,
    expires_ms: int,
    request_id: str | None = None,
) -> Request:
    """A pending one. `request_id` is one of `new_id`, where it was needed before; None: made here.

    Raises UsageError where a person is not in the index or was seen by another camera, ActorRefused
    where `requester` may not ask any more, StoreError.
    """
    wanted = sorted(set(person_ids))
    if not 1 <= len(wanted) <= MOST_PEOPLE:
        raise UsageError(f"a request is for 1 to {MOST_PEOPLE} people")
    request_id = new_id() if request_id is None else request_id
    with database.write() as connection:
        accounts.must_still(connection, requester, "requester", camera)
        people = connection.execute(
            select(PEOPLE)
            .where(PEOPLE.c.id.in_(wanted), PEOPLE.c.camera == camera)
            .order_by(PEOPLE.c.id)
            .with_for_update(read=True, key_share=True)
        ).all()
        if missing := set(wanted) - {person.id for person in people}:
            raise UsageError(
                f"person {min(missing)} is not, or no longer, in the recordings of {camera}"
            )
        connection.execute(
            insert(REQUESTS).values(
                id=request_id,
                state="pending",
                camera=camera,
                from_ms=from_ms,
                to_ms=to_ms,
                case_id=case_id,
                reason=reason,
                requester=requester.name,
                requester_id=requester.id,
                created_ms=created_ms,
                expires_ms=expires_ms,
            )
        )
        connection.execute(
            insert(REQUEST_PEOPLE),
            [
                {
                    "request_id": request_id,
                    "person_id": person.id,
                    "camera": person.camera,
                    "session": person.session,
                    "track": person.track,
                    "start_ms": person.start_ms,
                    "end_ms": person.end_ms,
                }
                for person in people
            ],
        )
        return _one(connection, request_id)


def get(database: Database, request_id: str) -> Request | None:
    """One of them. Raises StoreError."""
    with database.read() as connection:
        row = connection.execute(_by_id(request_id)).one_or_none()
        return None if row is None else _with_people(connection, [row])[0]


def list(
    database: Database,
    *,
    cameras: Collection[str] | None = None,
    requester: int | None = None,
    state: State | None = None,
    limit: int = 500,
) -> tuple[Request, ...]:
    """The newest first, at most `limit`. `cameras` None: all; `requester`: an account's id;
    None: of anybody.

    Raises UsageError for a state that is none, StoreError.
    """
    statement = select(REQUESTS).where(of_cameras(REQUESTS.c.camera, cameras))
    if requester is not None:
        statement = statement.where(REQUESTS.c.requester_id == requester)
    if state is not None:
        if state not in get_args(State):
            raise UsageError(f"a request's state is one of {', '.join(get_args(State))}")
        statement = statement.where(REQUESTS.c.state == state)
    ordered = statement.order_by(REQUESTS.c.created_ms.desc(), REQUESTS.c.id).limit(limit)
    with database.read() as connection:
        return _with_people(connection, connection.execute(ordered).all())


def decide(
    database: Database,
    request_id: str,
    decision: Decision,
    *,
    decider: Account,
    now_ms: int,
    note: str | None = None,
    expires_ms: int | None = None,
    release: bytes | None = None,
    file: bytes | None = None,
) -> Request:
    """Approve, refuse or withdraw one that is pending: of several who try, one succeeds.

    An approval holds until `expires_ms`. Nobody decides on their own request, nor on one of an
    account that had their name, and only its requester withdraws it. Raises RequestRefused with
    the rule, ActorRefused where `decider` may not do it any more, StoreError.
    """
    is_theirs = REQUESTS.c.requester_id == decider.id
    role: Role | None = None if decision == "withdrawn" else "approver"
    whose = is_theirs if role is None else ~or_(is_theirs, REQUESTS.c.requester == decider.name)
    values: dict[str, Any] = {"note": note, "release": release, "file": file}
    if expires_ms is not None:
        values["expires_ms"] = expires_ms
    with database.write() as connection:
        row = connection.execute(_by_id(request_id)).one_or_none()
        if row is None:
            raise RequestRefused(f"there is no request {request_id}")
        accounts.must_still(connection, decider, role, row.camera)
        done = connection.execute(
            update(REQUESTS)
            .where(
                REQUESTS.c.id == request_id,
                REQUESTS.c.state == "pending",
                REQUESTS.c.expires_ms > now_ms,
                whose,
            )
            .values(state=decision, decider=decider.name, decided_ms=now_ms, **values)
        )
        if done.rowcount != 1:
            raise RequestRefused(_why_not(connection, request_id, decision, decider))
        return _one(connection, request_id)


def count_since(database: Database, requester: int, since_ms: int) -> int:
    """How many that account has made from then on, whatever became of them. Raises StoreError."""
    with database.read() as connection:
        return int(
            connection.scalar(
                select(func.count())
                .select_from(REQUESTS)
                .where(REQUESTS.c.requester_id == requester, REQUESTS.c.created_ms >= since_ms)
            )
            or 0
        )


def due(database: Database, now_ms: int) -> tuple[str, ...]:
    """Which ones have run out and are not marked yet. Raises StoreError."""
    with database.read() as connection:
        return tuple(
            connection.scalars(
                select(REQUESTS.c.id).where(_has_run_out(now_ms)).order_by(REQUESTS.c.id)
            )
        )


def expire(database: Database, now_ms: int, only: Collection[str] | None = None) -> tuple[str, ...]:
    """Mark those that have run out: their ids. `only`: of these. Raises StoreError."""
    chosen = _has_run_out(now_ms)
    if only is not None:
        chosen = and_(chosen, REQUESTS.c.id.in_(sorted(only)))
    with database.write() as connection:
        done = connection.execute(
            update(REQUESTS).where(chosen).values(state="expired").returning(REQUESTS.c.id)
        )
        return tuple(sorted(done.scalars()))


def new_id() -> str:
    """Not to be guessed, and short enough to be read out."""
    return "R-" + base64.b32encode(secrets.token_bytes(5)).decode("ascii")


def _has_run_out(now_ms: int) -> Any:
    return and_(REQUESTS.c.state.in_(_WAITING), REQUESTS.c.expires_ms <= now_ms)


def _why_not(connection: Connection, request_id: str, decision: str, decider: Account) -> str:
    row = connection.execute(_by_id(request_id)).one()
    if row.state != "pending":
        return f"{request_id} is {row.state}: only a pending request can be {decision}"
    if decision == "withdrawn" and row.requester_id != decider.id:
        return f"{request_id} is {row.requester}'s: only they can withdraw it"
    if decision != "withdrawn" and (
        row.requester_id == decider.id or row.requester == decider.name
    ):
        return f"{request_id} is {decider.name}'s own: a second person decides"
    return f"{request_id} has expired: it must be made again"


def _by_id(request_id: str) -> Any:
    return select(REQUESTS).where(REQUESTS.c.id == request_id)


def _one(connection: Connection, request_id: str) -> Request:
    return _with_people(connection, [connection.execute(_by_id(request_id)).one()])[0]


def _with_people(connection: Connection, rows: Sequence[Row[Any]]) -> tuple[Request, ...]:
    people: dict[str, Any] = {row.id: [] for row in rows}
    for found in connection.execute(
        select(REQUEST_PEOPLE)
        .where(REQUEST_PEOPLE.c.request_id.in_(people))
        .order_by(REQUEST_PEOPLE.c.start_ms, REQUEST_PEOPLE.c.track)
    ):
        person = {name: getattr(found, name) for name in RequestedPerson.__dataclass_fields__}
        people[found.request_id].append(RequestedPerson(**person))
    names = Request.__dataclass_fields__.keys() - {"people"}
    return tuple(
        Request(people=tuple(people[row.id]), **{name: getattr(row, name) for name in names})
        for row in rows
    )
