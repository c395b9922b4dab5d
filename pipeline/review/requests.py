"""Recovery requests: one person asks, a second decides, and a signed file comes out.

Each step is in the audit log before it takes effect; where the log cannot be written nothing
happens. The console holds no key: what it signs says that somebody approved, and opens nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

from ..errors import RecordError, RequestRefused
from ..vault import audit
from ..vault.request_file import (
    RecoveryRequest,
    check_releases,
    utc_text,
    write_request,
)
from ..vault.signing import SigningKey
from .media.export import Export, Exports
from .plan import ConsolePlan
from .quota import DAY_SECONDS, DailyQuota
from .request_texts import check_texts, checked_note, one_line
from .selection import select_epochs
from .store import people, recordings
from .store import requests as store
from .store.accounts import Account
from .store.database import Database
from .store.people import Person
from .store.requests import Request, State
from .told import told

MOST_PEOPLE = 32
MOST_SPAN_MS = 3_600_000
AFTER_MS = 10_000
MOST_WAITING = 100  # of one requester: nobody fills the log by asking
MOST_A_DAY = 200  # of one requester, whatever becomes of them
MOST_FETCHES_A_DAY = 200  # of files and clips, by one account: each is an entry of the log
Act = Literal["approve", "refuse", "withdraw", "file", "clip"]
_SIGHT_ROLES = frozenset({"approver", "admin"})  # they see others' requests


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRequest:
    """What somebody asks for. Times are Unix milliseconds UTC."""

    camera: str
    from_ms: int
    to_ms: int
    people: tuple[int, ...]  # ids
    case: str
    reason: str


def owner_of(account: Account) -> str:
    """Of an export, for good: the name alone may be given to somebody else."""
    return f"{account.id}:{account.name}"


class RequestFlow:
    """The rules of requests; any thread may use it."""

    def __init__(
        self,
        database: Database,
        plan: ConsolePlan,
        signer: SigningKey,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`signer`: the console's key. `now` is Unix seconds."""
        self._database = database
        self._plan = plan
        self._signer = signer
        self._now = now
        self._asking = threading.Lock()  # from counting what somebody asked for to one more
        self._fetches = DailyQuota(MOST_FETCHES_A_DAY, now)

    # --- looking ---

    def get(self, account: Account, request_id: str) -> Request | None:
        """None: there is none, or it is not for this account to see. Raises StoreError."""
        found = store.get(self._database, request_id)
        return found if found is not None and _may_see(account, found) else None

    def listed(self, account: Account, state: State | None = None) -> tuple[Request, ...]:
        """One's own; approvers and admins see all of their cameras. Newest first."""
        mine = None if account.roles & _SIGHT_ROLES else account.id
        return store.list(self._database, cameras=account.cameras, requester=mine, state=state)

    def may(self, account: Account, request: Request) -> tuple[Act, ...]:
        """What this account can do with it now."""
        found: list[Act] = []
        is_own = request.requester_id == account.id
        is_open = request.expires_ms > self._now_ms()
        if not _may_see(account, request):
            return ()
        if request.state == "pending" and is_open:
            if "approver" in account.roles and not _is_namesake(account, request):
                found += ["approve", "refuse"]
            if is_own:
                found.append("withdraw")
        is_for_them = is_own or bool(account.roles & _SIGHT_ROLES)
        if is_for_them and request.state == "approved" and is_open:
            found.append("file")
        if is_for_them and request.state in ("pending", "approved") and is_open:
            found.append("clip")
        return tuple(found)

    # --- steps ---

    def create(self, account: Account, new: NewRequest) -> Request:
        """Raises RequestRefused with the rule, VaultError where the log cannot be written."""
        if "requester" not in account.roles:
            raise RequestRefused("only an account with the role requester asks for a recovery")
        case, reason = one_line(new.case), one_line(new.reason)
        check_texts(case, reason)
        found = self._asked_for(account, new)
        request_id, now_ms = store.new_id(), self._now_ms()
        facts = {
            "request": request_id,
            "camera": new.camera,
            "from": utc_text(new.from_ms),
            "to": utc_text(new.to_ms),
            "tracks": sorted({person.track for person in found}),
            "case": case,
        }
        with self._asking:
            self._check_quota(account, now_ms)
            with self._told("request", account, facts, reason=reason):
                return store.add(
                    self._database,
                    camera=new.camera,
                    from_ms=new.from_ms,
                    to_ms=new.to_ms,
                    case_id=case,
                    reason=reason,
                    requester=account,
                    person_ids=[person.id for person in found],
                    created_ms=now_ms,
                    expires_ms=now_ms + self._expiry_ms,
                    request_id=request_id,
                )

    def approve(
        self, account: Account, request_id: str, *, note: str = "", release: bytes | None = None
    ) -> Request:
        """Select what may be opened, sign it, log it, and only then say yes.

        `release`: an approver's, for the officer who will carry it out. That it is an age file is
        all that can be checked here. Raises RequestRefused, ActorRefused, VaultError.
        """
        request = self._to_decide(account, request_id, "approve")
        note = checked_note(note)
        releases = () if release is None else (release,)
        try:
            check_releases(releases)
        except ValueError as error:
            raise RequestRefused(str(error)) from None
        segments = recordings.segments(
            self._database, request.camera, request.from_ms, request.to_ms + 1
        )
        selection = select_epochs(segments, request.people, request.from_ms, request.to_ms)
        now_ms = self._now_ms()
        expires_ms = now_ms + self._expiry_ms
        try:
            file = write_request(
                RecoveryRequest(
                    id=request.id,
                    site=self._plan.site,
                    camera=request.camera,
                    case=request.case_id,
                    reason=request.reason,
                    requested_by=request.requester,
                    requested_utc=utc_text(request.created_ms),
                    approved_by=account.name,
                    approved_utc=utc_text(now_ms),
                    expires_utc=utc_text(expires_ms),
                    from_utc=utc_text(request.from_ms),
                    to_utc=utc_text(request.to_ms),
                    selection=selection,
                    releases=releases,
                ),
                self._signer,
            )
        except RecordError:
            raise RequestRefused(
                "this is too much for one request file: ask for less time or fewer people"
            ) from None
        approval = "with a key release" if releases else "advice"
        said = {"note": note, "epochs": len(selection), "approval": approval}
        with self._told("approve", account, _facts(request), **said):
            return store.decide(
                self._database,
                request.id,
                "approved",
                decider=account,
                now_ms=now_ms,
                note=note or None,
                expires_ms=expires_ms,
                release=release,
                file=file,
            )

    def refuse(self, account: Account, request_id: str, *, note: str = "") -> Request:
        """Raises RequestRefused, ActorRefused, VaultError."""
        request = self._to_decide(account, request_id, "refuse")
        note = checked_note(note)
        with self._told("refuse", account, _facts(request), note=note):
            return store.decide(
                self._database,
                request.id,
                "refused",
                decider=account,
                now_ms=self._now_ms(),
                note=note or None,
            )

    def withdraw(self, account: Account, request_id: str) -> Request:
        """By who asked. Raises RequestRefused, ActorRefused, VaultError."""
        request = self._seen(account, request_id)
        if request.requester_id != account.id:
            raise RequestRefused(f"{request.id} is {request.requester}'s: only they withdraw it")
        self._check_pending(request, "withdrawn")
        with self._told("withdraw", account, _facts(request)):
            return store.decide(
                self._database,
                request.id,
                "withdrawn",
                decider=account,
                now_ms=self._now_ms(),
            )

    def expire_due(self) -> tuple[str, ...]:
        """Those that have run out, pending and approved ones; call it now and then."""
        now_ms = self._now_ms()
        found = store.due(self._database, now_ms)
        for request_id in found:
            request = store.get(self._database, request_id)
            if request is not None:
                self._log("expire", None, _facts(request))
        return store.expire(self._database, now_ms, found) if found else ()

    # --- what comes out ---

    def file(self, account: Account, request_id: str) -> bytes:
        """The signed file of an approved one; each time is in the log. Raises RequestRefused."""
        request = self._for_officer(account, request_id)
        if request.state != "approved" or request.file is None:
            raise RequestRefused(
                f"{request.id} is {request.state}: only an approved one has a file"
            )
        self._check_time(request)
        self.count_fetch(account)
        self._log("request-file", account.name, _facts(request))
        return request.file

    def clip(self, account: Account, request_id: str, exports: Exports) -> Export:
        """The protected clip around the span, also while it waits. Raises RequestRefused."""
        request = self._for_officer(account, request_id)
        if request.state not in ("pending", "approved"):
            raise RequestRefused(f"{request.id} is {request.state}: its clip is no longer for you")
        self._check_time(request)
        # the records of the last pictures may lie beside the recording after them
        segments = recordings.segments(
            self._database, request.camera, request.from_ms, request.to_ms + AFTER_MS
        )
        # a keyframe interval that begins in the last millisecond is selected: it must be in it
        end_ms = request.to_ms + 1
        return exports.make(
            segments, request.from_ms, end_ms, request.camera, owner=owner_of(account)
        )

    def count_fetch(self, account: Account) -> None:
        """Before the entry of a file or clip that goes out. Raises RequestRefused."""
        if not self._fetches.take(account.id):
            raise RequestRefused(
                f"{MOST_FETCHES_A_DAY} files, clips and exports went to you within 24 hours: try "
                "again tomorrow"
            )

    # --- below ---

    def _now_ms(self) -> int:
        return int(self._now() * 1000)

    @property
    def _expiry_ms(self) -> int:
        return round(self._plan.settings.request_expiry * 1000)

    def _check_quota(self, account: Account, now_ms: int) -> None:
        waiting = store.list(
            self._database, requester=account.id, state="pending", limit=MOST_WAITING
        )
        if len(waiting) >= MOST_WAITING:
            raise RequestRefused(
                f"{MOST_WAITING} requests of yours wait already: withdraw some of them"
            )
        since_ms = now_ms - round(DAY_SECONDS * 1000)
        if store.count_since(self._database, account.id, since_ms) >= MOST_A_DAY:
            raise RequestRefused(
                f"you have made {MOST_A_DAY} requests within 24 hours: try again tomorrow"
            )

    def _asked_for(self, account: Account, new: NewRequest) -> list[Person]:
        """Raises RequestRefused."""
        if not account.may(new.camera):
            raise RequestRefused(f"there is no camera {new.camera} for this account")
        if new.from_ms < 0 or not 0 < new.to_ms - new.from_ms <= MOST_SPAN_MS:
            raise RequestRefused("the time must end after it begins, and be an hour at most")
        if not 1 <= len(set(new.people)) <= MOST_PEOPLE:
            raise RequestRefused(f"a request is for 1 to {MOST_PEOPLE} people of one camera")
        found = []
        for person_id in sorted(set(new.people)):
            person = people.get(self._database, person_id)
            if person is None or person.camera != new.camera:
                raise RequestRefused(
                    f"there is no person {person_id} in the recordings of {new.camera}"
                )
            if person.end_ms < new.from_ms or person.start_ms > new.to_ms:
                raise RequestRefused(f"person {person_id} is not there in the time asked for")
            if not person.recoverable:
                raise RequestRefused(
                    f"nothing was sealed of person {person_id}, who was recorded without evidence: "
                    "what is hidden is hidden for good"
                )
            found.append(person)
        return found

    def _seen(self, account: Account, request_id: str) -> Request:
        request = self.get(account, request_id)
        if request is None:
            raise RequestRefused(f"there is no request {request_id} for this account")
        return request

    def _to_decide(self, account: Account, request_id: str, what: str) -> Request:
        request = self._seen(account, request_id)
        if "approver" not in account.roles:
            raise RequestRefused(f"only an account with the role approver may {what} a request")
        if _is_namesake(account, request):
            raise RequestRefused(f"{request.id} is your own: a second person decides")
        self._check_pending(request, f"{what}d")
        return request

    def _check_pending(self, request: Request, done: str) -> None:
        if request.state != "pending":
            raise RequestRefused(
                f"{request.id} is {request.state}: only a pending request can be {done}"
            )
        self._check_time(request)

    def _check_time(self, request: Request) -> None:
        if request.expires_ms <= self._now_ms():
            raise RequestRefused(
                f"{request.id} expired at {utc_text(request.expires_ms)}: it must be made again"
            )

    def _for_officer(self, account: Account, request_id: str) -> Request:
        request = self._seen(account, request_id)
        if request.requester_id != account.id and not account.roles & _SIGHT_ROLES:
            raise RequestRefused(f"{request.id} is for its requester and for approvers")
        return request

    def _told(
        self, action: str, account: Account, facts: Mapping[str, object], **more: object
    ) -> AbstractContextManager[None]:
        """The block is the step. Raises VaultError: then it may not happen."""

        def write(action: str, /, **said: object) -> None:
            self._log(action, account.name, said)

        return told(write, action, **facts, **more)

    def _log(self, action: str, user: str | None, facts: Mapping[str, object]) -> None:
        """`user` None: the console itself. Raises VaultError: then the step may not happen."""
        entry = {"action": action, "site": self._plan.site, "user": user, **facts}
        audit.append(audit.audit_path(), entry, self._signer)


def _may_see(account: Account, request: Request) -> bool:
    if not account.may(request.camera):
        return False
    return request.requester_id == account.id or bool(account.roles & _SIGHT_ROLES)


def _is_namesake(account: Account, request: Request) -> bool:
    """Their own, or one of an account that had this name before: no second person."""
    return account.id == request.requester_id or account.name == request.requester


def _facts(request: Request) -> dict[str, object]:
    """What each entry says of it."""
    return {
        "request": request.id,
        "camera": request.camera,
        "from": utc_text(request.from_ms),
        "to": utc_text(request.to_ms),
        "tracks": sorted({person.track for person in request.people}),
        "case": request.case_id,
    }
