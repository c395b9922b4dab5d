"""Signing in and out, one's own password, and what anybody may know of this site."""

from __future__ import annotations

import logging
from typing import cast

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool

from ...version import __version__
from ..passwords import check_rule
from ..store import accounts, sessions
from ..store.accounts import Account, Role
from .audit import logged, try_log
from .context import Context, Ctx
from .errors import DOCUMENTED, ApiError, one_line
from .schemas import (
    DemoAccountOut,
    NewPassword,
    SessionOut,
    SignedInUser,
    SignIn,
    SiteOut,
)
from .security import (
    BODY_BYTES,
    SIGNED_OUT_COOKIE,
    Caller,
    GuardedRoute,
    SignedIn,
    caller_of,
    clear_cookie,
    cookie_name,
    hashing,
    is_local,
    now_ms,
    set_cookie,
)

LONGEST_NAME = 200  # characters of what somebody signs in as
_log = logging.getLogger(__name__)

router = APIRouter(
    route_class=GuardedRoute, tags=["session"], responses=DOCUMENTED, max_body_size=BODY_BYTES
)


@router.get("/api/site", operation_id="getSite")
async def site(context: Ctx) -> SiteOut:
    """What the sign-in page shows."""
    plan = context.plan
    shown = [
        DemoAccountOut(
            name=one.name, password=one.password, roles=cast(list[Role], list(one.roles))
        )
        for one in plan.demo
    ]
    return SiteOut(site=plan.site, version=__version__, demo=bool(plan.demo), accounts=shown)


@router.post("/api/session", operation_id="signIn")
async def sign_in(body: SignIn, request: Request, response: Response, context: Ctx) -> SessionOut:
    """Sets the session's cookie. 401 for a wrong name or password, 429 after too many."""
    address = _address(request)
    name = accounts.fold(body.name)[:LONGEST_NAME]  # all its spellings are counted together
    wait = context.limiter.check(name, address)
    if wait > 0:
        raise await _too_many(context, name, address, wait)
    async with hashing(request):
        account = await run_in_threadpool(
            context.authenticator.authenticate, body.name, body.password
        )
    if account is None:
        _failed(context, name, address)
        raise ApiError(401, "the name or the password is wrong")
    context.limiter.succeeded(name, address)
    old = request.cookies.get(cookie_name(context))
    return await run_in_threadpool(_open, context, response, account, old)


@router.get("/api/session", operation_id="getSession")
async def session(request: Request, response: Response, context: Ctx) -> SessionOut:
    """Who is signed in. A browser that nobody has signed in at the demo is, as its first user."""
    caller = await caller_of(request)
    if caller is not None:
        return _shown(caller)
    if not _is_greeted(request, context):
        raise ApiError(401, "nobody is signed in; sign in first")
    first = context.plan.demo[0].name
    account = await run_in_threadpool(accounts.get, context.database, first)
    if account is None or account.disabled:
        raise ApiError(401, "nobody is signed in; sign in first")
    return await run_in_threadpool(_open, context, response, account, None)


@router.delete("/api/session", operation_id="signOut", status_code=204)
async def sign_out(response: Response, context: Ctx, caller: SignedIn) -> None:
    """The session is over, and its live pictures end."""
    await run_in_threadpool(sessions.close, context.database, caller.token)
    clear_cookie(context, response)
    if context.plan.demo:
        response.set_cookie(SIGNED_OUT_COOKIE, "1", httponly=True, samesite="strict")
    await run_in_threadpool(try_log, context, "sign-out", caller.account.name)


@router.post("/api/session/password", operation_id="changePassword", status_code=204)
async def password(body: NewPassword, request: Request, context: Ctx, caller: SignedIn) -> None:
    """One's own. All other sessions of the user are closed."""
    name, address = caller.account.name, _address(request)
    wait = context.limiter.check(name, address)
    if wait > 0:
        raise await _too_many(context, name, address, wait)
    async with hashing(request):
        known = await run_in_threadpool(context.authenticator.authenticate, name, body.old)
        if known is None:
            _failed(context, name, address)
            raise ApiError(403, "old: this is not the password")
        context.limiter.succeeded(name, address)
        check_rule(body.new, name)
        await run_in_threadpool(_change_password, context, caller, body.new)


def _change_password(context: Context, caller: Caller, new: str) -> None:
    name = caller.account.name
    kept = sessions.token_hash(caller.token)
    with logged(context, "password-change", name):
        accounts.change(context.database, name, password=new, but_for=kept)


# --- inside ---


def _open(context: Context, response: Response, account: Account, old: str | None) -> SessionOut:
    """A new session, and its cookie. Blocks."""
    if old:
        sessions.close(context.database, old)
    longest_ms = int(context.plan.settings.session_longest * 1000)
    token, opened = sessions.open(context.database, account, now_ms(), longest_ms=longest_ms)
    set_cookie(context, response, token)
    if context.plan.demo:
        response.delete_cookie(SIGNED_OUT_COOKIE, httponly=True, samesite="strict")
    try_log(context, "sign-in", account.name)
    return _shown(Caller(opened, token))


def _shown(caller: Caller) -> SessionOut:
    account = caller.account
    user = SignedInUser(
        name=account.name,
        roles=sorted(account.roles),
        cameras=None if account.cameras is None else sorted(account.cameras),
    )
    return SessionOut(user=user, csrf=caller.session.csrf, expires_ms=caller.session.expires_ms)


def _failed(context: Context, name: str, address: str) -> None:
    """Counted and said; in the audit log a lock-out alone, or strangers could fill it."""
    context.limiter.failed(name, address)
    context.counts.sign_in_failures += 1
    _log.warning("console: sign-in as %r from %s failed", _shown_name(name), address)


async def _too_many(context: Context, name: str, address: str, seconds: int) -> ApiError:
    context.counts.lock_outs += 1
    shown = _shown_name(name)
    if context.lock_outs.is_new(shown.casefold(), address):
        await run_in_threadpool(try_log, context, "lock-out", shown, address=address)
    return ApiError(
        429, f"too many wrong passwords; wait {seconds} s", {"Retry-After": str(seconds)}
    )


def _shown_name(name: str) -> str:
    """As somebody typed it who may be anybody."""
    return one_line(name)[:64]


def _is_greeted(request: Request, context: Context) -> bool:
    """The demo's own browser on this machine, which has not signed out."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    return (
        bool(context.plan.demo)
        and SIGNED_OUT_COOKIE not in request.cookies
        and site in ("same-origin", "none")
        and is_local(request)
    )


def _address(request: Request) -> str:
    return request.client.host if request.client else "unknown"
