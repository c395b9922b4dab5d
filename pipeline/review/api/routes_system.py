"""For machines and for those who look after them: health, readiness, metrics, the audit log."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from ...errors import StoreError, VaultError
from ...vault.audit import audit_path, check
from ...vault.audit_line import RESERVED, Line
from ..live.facts import SILENT
from .context import Context, Ctx
from .errors import DOCUMENTED, ApiError
from .metrics import CONTENT_TYPE, metrics_text
from .schemas import AuditEntry, AuditOut, AuditQuery, ReadyOut
from .security import BODY_BYTES, Caller, GuardedRoute, SignedIn, caller_of, is_local

router = APIRouter(
    route_class=GuardedRoute, tags=["system"], responses=DOCUMENTED, max_body_size=BODY_BYTES
)
_log = logging.getLogger(__name__)


@router.get(
    "/healthz",
    operation_id="health",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "the server runs"}},
)
async def health() -> Response:
    """200 while the server runs."""
    return Response("ok\n", media_type="text/plain")


@router.get(
    "/readyz",
    operation_id="ready",
    responses={503: {"model": ReadyOut, "description": "something does not work"}},
)
async def ready(request: Request, response: Response, context: Ctx) -> ReadyOut:
    """200 where the database answers, the index is kept, and nobody's feed is silent."""
    silent = [fact.camera for fact in context.facts.all() if fact.state == SILENT]
    database = await run_in_threadpool(_database_answers, context)
    caller = await caller_of(request) if database else None
    seen: list[str] | None = None
    if caller is not None:
        seen = [camera for camera in silent if caller.account.may(camera)]
    elif is_local(request):
        seen = silent
    index = context.index_is_alive()
    if not (database and index) or silent:
        response.status_code = 503
    return ReadyOut(database=database, index=index, silent=len(silent), cameras=seen)


@router.get(
    "/metrics",
    operation_id="metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus's text format"}},
)
async def metrics(request: Request, context: Ctx) -> Response:
    """To this machine; from elsewhere to an admin's session."""
    if not is_local(request):
        caller = await caller_of(request)
        if caller is None:
            raise ApiError(401, "metrics are for this machine, or for an admin who is signed in")
        if not caller.has("admin"):
            raise ApiError(403, "this needs the role admin")
    text = await run_in_threadpool(metrics_text, context)
    return Response(text, media_type=CONTENT_TYPE)


@router.get("/api/audit", operation_id="readAudit")
def audit(query: Annotated[AuditQuery, Query()], context: Ctx, caller: SignedIn) -> AuditOut:
    """The log of recoveries and of what was done here, newest first, and what is wrong with it."""
    try:
        report = check(audit_path())
    except VaultError as error:
        _log.error("console: %s", error)
        raise ApiError(503, "the audit log cannot be read; ask who runs this service") from None
    before = len(report.lines) + 1 if query.before is None else query.before
    last = min(before - 1, len(report.lines))
    entries: list[AuditEntry] = []
    for place in range(last, 0, -1):
        if len(entries) == query.limit:
            break
        entry = _entry(caller, place, report.lines[place - 1])
        if entry is not None:
            entries.append(entry)
    return AuditOut(entries=entries, count=len(report.lines), faults=list(report.faults))


def _entry(caller: Caller, place: int, line: Line | None) -> AuditEntry | None:
    """None where it is of a camera that the caller may not see."""
    if line is None:
        return AuditEntry(n=place, time="", action="damaged", user=None)
    said = {key: value for key, value in line.fields.items() if key not in RESERVED}
    if (camera := said.get("camera")) is not None and not caller.account.may(str(camera)):
        return None
    if isinstance(named := said.get("cameras"), list):  # of an account
        said["cameras"] = [one for one in named if caller.account.may(str(one))]
    action, user = said.pop("action", None), said.pop("user", None)
    return AuditEntry(
        **said,
        n=place,
        time=line.time,
        action=action if isinstance(action, str) else "",
        user=user if isinstance(user, str) else None,
    )


def _database_answers(context: Context) -> bool:
    try:
        context.database.check()
    except StoreError as error:
        _log.error("console: %s", error)
        return False
    return True
