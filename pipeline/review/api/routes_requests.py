"""Recovery requests: asked for by one person, decided by a second. The rules are RequestFlow's."""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, cast

from fastapi import APIRouter, Path, Query, Request, Response

from ..requests import AFTER_MS, NewRequest, owner_of
from ..store import recordings
from ..store import requests as store
from .access import OFFICERS
from .audit import logged
from .context import Context, Ctx
from .errors import DOCUMENTED, ApiError, no_such
from .file_answer import FileAnswer, open_inside
from .routes_recordings import BINARY, MEDIA
from .schemas_recordings import (
    Approval,
    NewRequestIn,
    Refusal,
    RequestId,
    RequestOut,
    RequestPersonOut,
    RequestsOut,
    RequestsQuery,
    Step,
)
from .security import BODY_BYTES, RELEASE_BODY_BYTES, Caller, GuardedRoute, SignedIn, still
from .seen import file_of
from .workers import exporting, slowly

IdInPath = Annotated[RequestId, Path()]
FILE_SUFFIX = ".bautareq"
router = APIRouter(
    route_class=GuardedRoute, tags=["requests"], responses=DOCUMENTED, max_body_size=BODY_BYTES
)


@router.get("/api/requests", operation_id="listRequests")
def requests(
    query: Annotated[RequestsQuery, Query()], context: Ctx, caller: SignedIn
) -> RequestsOut:
    """One's own; approvers and admins see all of their cameras. Newest first."""
    found = context.requests.listed(caller.account, query.state)
    return RequestsOut(requests=[_shown(context, caller, one) for one in found])


@router.post("/api/requests", operation_id="makeRequest", status_code=201)
def create(body: NewRequestIn, context: Ctx, caller: SignedIn) -> RequestOut:
    """In the audit log before it is made."""
    caller.must_see(body.camera)
    new = NewRequest(
        camera=body.camera,
        from_ms=body.from_ms,
        to_ms=body.to_ms,
        people=tuple(body.people),
        case=body.case,
        reason=body.reason,
    )
    return _shown(context, caller, context.requests.create(caller.account, new))


@router.get("/api/requests/{id}", operation_id="getRequest")
def request(id: IdInPath, context: Ctx, caller: SignedIn) -> RequestOut:
    """One of those that one may see."""
    return _shown(context, caller, _seen(context, caller, id))


@router.post(
    "/api/requests/{id}/approve",
    operation_id="approveRequest",
    max_body_size=RELEASE_BODY_BYTES,
)
async def approve(
    id: IdInPath, body: Approval, request: Request, context: Ctx, caller: SignedIn
) -> RequestOut:
    """By a second person. Without a key release of theirs it is advice; what one opens is not
    checked here, but when the officer opens it.
    """
    return await slowly(request, _approve, context, caller, id, body)


def _approve(context: Context, caller: Caller, request_id: str, body: Approval) -> RequestOut:
    seen = _seen(context, caller, request_id)
    for segment in recordings.segments(context.database, seen.camera, seen.from_ms, seen.to_ms + 1):
        file_of(context, segment)
    release = None if body.release is None else _bytes_of(body.release)
    done = context.requests.approve(caller.account, seen.id, note=body.note, release=release)
    return _shown(context, caller, done)


@router.post("/api/requests/{id}/refuse", operation_id="refuseRequest")
def refuse(id: IdInPath, body: Refusal, context: Ctx, caller: SignedIn) -> RequestOut:
    """By a second person."""
    _seen(context, caller, id)
    done = context.requests.refuse(caller.account, id, note=body.note)
    return _shown(context, caller, done)


@router.post("/api/requests/{id}/withdraw", operation_id="withdrawRequest")
def withdraw(id: IdInPath, context: Ctx, caller: SignedIn) -> RequestOut:
    """By who asked."""
    _seen(context, caller, id)
    return _shown(context, caller, context.requests.withdraw(caller.account, id))


@router.get(
    "/api/requests/{id}/file",
    operation_id="requestFile",
    response_class=Response,
    responses={200: {"content": {"application/json": {}}, "description": "the signed request"}},
)
def file(id: IdInPath, context: Ctx, caller: SignedIn) -> Response:
    """What `bauta recover --request` takes. Each time is in the audit log."""
    found = _seen(context, caller, id)
    data = context.requests.file(caller.account, found.id)
    headers = {"Content-Disposition": f'attachment; filename="{found.id}{FILE_SUFFIX}"'}
    return Response(data, media_type="application/json", headers=headers)


@router.get(
    "/api/requests/{id}/clip",
    operation_id="requestClip",
    response_class=Response,
    responses={
        **MEDIA,
        200: {
            "content": {"video/mp4": BINARY, "application/zip": BINARY},
            "description": "the protected clip",
        },
    },
)
async def clip(id: IdInPath, request: Request, context: Ctx, caller: SignedIn) -> Response:
    """The protected clip around the span, also while the request waits."""
    return await exporting(request, owner_of(caller.account), _clip, context, caller, id)


def _clip(context: Context, caller: Caller, request_id: str) -> Response:
    caller = still(context, caller, OFFICERS)
    found = _seen(context, caller, request_id)
    may = context.requests.may(caller.account, found)
    if "clip" not in may:
        raise ApiError(409, f"{found.id} is {found.state}: its clip is no longer for you")
    for segment in recordings.segments(
        context.database, found.camera, found.from_ms, found.to_ms + AFTER_MS
    ):
        file_of(context, segment)
    context.requests.count_fetch(caller.account)
    span = {"camera": found.camera, "from_ms": found.from_ms, "to_ms": found.to_ms}
    with logged(context, "export", caller.account.name, **span, request=found.id):
        made = context.requests.clip(caller.account, found.id, context.exports)
    kind = "application/zip" if made.path.suffix == ".zip" else "video/mp4"
    return FileAnswer(
        open_inside(str(made.path), [context.plan.own_dir / "exports"], "clip"),
        kind,
        {"Content-Disposition": f'attachment; filename="{made.name}"'},
    )


# --- inside ---


def _seen(context: Context, caller: Caller, request_id: str) -> store.Request:
    found = context.requests.get(caller.account, request_id)
    if found is None:
        raise no_such("request")
    return found


def _bytes_of(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ApiError(422, "release: is no base64") from None


def _shown(context: Context, caller: Caller, request: store.Request) -> RequestOut:
    return RequestOut(
        id=request.id,
        state=request.state,
        camera=request.camera,
        from_ms=request.from_ms,
        to_ms=request.to_ms,
        case=request.case_id,
        reason=request.reason,
        requester=request.requester,
        created_ms=request.created_ms,
        expires_ms=request.expires_ms,
        decider=request.decider,
        decided_ms=request.decided_ms,
        note=request.note,
        is_lock=request.release is not None,
        people=[
            RequestPersonOut(
                person_id=one.person_id,
                track=one.track,
                start_ms=one.start_ms,
                end_ms=one.end_ms,
            )
            for one in request.people
        ],
        may=cast(list[Step], list(context.requests.may(caller.account, request))),
    )
