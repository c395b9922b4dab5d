"""For machines and for those who look after them: health, readiness, metrics, the audit log."""

from __future__ import annotations

import logging
from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from starlette.concurrency import run_in_threadpool

from ...errors import StoreError, VaultError
from ...vault.audit import audit_path, check
from ...vault.audit_line import RESERVED
from ..live.facts import SILENT
from .context import Context, Ctx
from .errors import DOCUMENTED, ApiError
from .hosts import is_loopback
from .metrics import CONTENT_TYPE, metrics_text
from .schemas import AuditEntry, AuditOut, AuditQuery, ReadyOut
from .security import BODY_BYTES, GuardedRoute, SignedIn, caller_of

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
async def ready(response: Response, context: Ctx) -> ReadyOut:
    """200 where the database answers, the index is kept, and nobody's feed is silent."""
    found = ReadyOut(
        database=await run_in_threadpool(_database_answers, context),
        index=context.index_is_alive(),
        cameras=[fact.camera for fact in context.facts.all() if fact.state == SILENT],
    )
    if not (found.database and found.index) or found.cameras:
        response.status_code = 503
    return found


@router.get(
    "/metrics",
    operation_id="metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {}}, "description": "Prometheus's text format"}},
)
async def metrics(request: Request, context: Ctx) -> Response:
    """To this machine; from elsewhere to an admin's session."""
    if not _is_local(request):
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
    shown = range(last, max(last - query.limit, 0), -1)
    entries = []
    for place in shown:
        line = report.lines[place - 1]
        said = {} if line is None else dict(line.fields)
        action, user = said.pop("action", None), said.pop("user", None)
        more = {key: value for key, value in said.items() if key not in RESERVED}
        entries.append(
            AuditEntry(
                **more,
                n=place,
                time="" if line is None else line.time,
                action=action if isinstance(action, str) else "damaged" if line is None else "",
                user=user if isinstance(user, str) else None,
            )
        )
    return AuditOut(entries=entries, count=len(report.lines), faults=list(report.faults))


def _database_answers(context: Context) -> bool:
    try:
        context.database.check()
    except StoreError as error:
        _log.error("console: %s", error)
        return False
    return True


def _is_local(request: Request) -> bool:
    """A proxy on this machine would be local too: it says so in a header, and gets nothing."""
    if request.client is None or "forwarded" in request.headers:
        return False
    return "x-forwarded-for" not in request.headers and is_loopback(request.client.host)
