"""Sessions and permissions: who calls, and whether they may. Enforced from `access.ACCESS`.

The order: session (401), role (403), CSRF token (403), unknown parameters (422), then the body.
A body takes its time to come: session and role are looked at once more when it is there. A camera
that a user may not see is not there (404).
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.routing import APIRoute
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, HTTPConnection
from starlette.responses import Response

from ..store import sessions
from ..store.accounts import Account, Role
from ..store.sessions import Session
from .access import ACCESS, ANYBODY
from .context import Context, context_of
from .errors import ApiError, no_such
from .hosts import LOOPBACK, host_name, is_loopback

BODY_BYTES = 2**20
RELEASE_BODY_BYTES = 32 * 2**20
BODY_SECONDS = 60.0  # for a body to come
CSRF_HEADER = "X-CSRF-Token"
SIGNED_OUT_COOKIE = "bauta_demo_out"
LONGEST_TOKEN = 200
PROXY_HEADERS = (
    *("forwarded", "via", "x-real-ip"),
    *("x-forwarded-for", "x-forwarded-host", "x-forwarded-proto"),
)
HASHES_AT_ONCE = 2  # argon2id takes 64 MiB and a core for each; others wait off the threads


@dataclass(frozen=True, slots=True)
class Caller:
    """Who is signed in."""

    session: Session
    token: str = field(repr=False)

    @property
    def account(self) -> Account:
        """As it is now."""
        return self.session.account

    def must_see(self, camera: str, what: str = "camera") -> None:
        """Raises ApiError 404, as if it were not there."""
        if not self.account.may(camera):
            raise no_such(what)

    def has(self, role: Role) -> bool:
        """Whether the account has `role`."""
        return role in self.account.roles


def now_ms() -> int:
    """Unix milliseconds."""
    return time.time_ns() // 1_000_000


def cookie_name(context: Context) -> str:
    """`__Host-`: no other host of the domain can set it, and no page without TLS."""
    return "__Host-bauta_session" if context.is_secure else "bauta_session"


def set_cookie(context: Context, response: Response, token: str) -> None:
    """Sign a browser in."""
    response.set_cookie(
        cookie_name(context),
        token,
        path="/",
        secure=context.is_secure,
        httponly=True,
        samesite="strict",
    )


def clear_cookie(context: Context, response: Response) -> None:
    """The browser forgets its session."""
    response.delete_cookie(
        cookie_name(context), path="/", secure=context.is_secure, httponly=True, samesite="strict"
    )


def find_caller(context: Context, token: str | None) -> Caller | None:
    """Whose session `token` is, if it is one still. Counts as activity. Asks the database."""
    if not token or len(token) > LONGEST_TOKEN:
        return None
    idle_ms = int(context.plan.settings.session_idle * 1000)
    session = sessions.find(context.database, token, now_ms(), idle_ms)
    return None if session is None else Caller(session, token)


def still(context: Context, caller: Caller, allowed: frozenset[Role] = ANYBODY) -> Caller:
    """The same one as they are now, after a wait. Asks the database. Raises ApiError 401, 403."""
    return _allowed(find_caller(context, caller.token), allowed)


def is_local(connection: HTTPConnection) -> bool:
    """Whether somebody on this machine asks for themselves.

    A proxy on this machine is local too, and asks for strangers: it says so in a header, or by
    handing on the name that they asked for.
    """
    headers = connection.headers
    if connection.client is None or any(name in headers for name in PROXY_HEADERS):
        return False
    asked_for = host_name(headers.get("host", ""))
    return asked_for in LOOPBACK and is_loopback(connection.client.host)


async def caller_of(connection: HTTPConnection) -> Caller | None:
    """Of a request's or a WebSocket's cookie."""
    context = context_of(connection)
    token = connection.cookies.get(cookie_name(context))
    return await run_in_threadpool(find_caller, context, token) if token else None


def hashing(request: Request) -> asyncio.Semaphore:
    """Held while a password is hashed."""
    semaphore = request.app.state.hashing
    assert isinstance(semaphore, asyncio.Semaphore)
    return semaphore


class GuardedRoute(APIRoute):
    """A route that asks `ACCESS` before anything else: one that is not in there cannot be made."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """See APIRoute."""
        handle = super().get_route_handler()
        (method,) = self.methods or ("GET",)
        allowed = ACCESS[method, self.path]
        takes_query = bool(self.dependant.query_params)
        takes_body = self.body_field is not None

        async def guarded(request: Request) -> Response:
            if allowed is not None:
                request.state.caller = await _admit(request, allowed)
            _check_query(request, takes_query)
            if takes_body:
                await _read_body(request)
                if allowed is not None:
                    request.state.caller = await _admit(request, allowed)
            return await handle(request)

        return guarded


async def _admit(request: Request, allowed: frozenset[Role]) -> Caller:
    caller = _allowed(await caller_of(request), allowed)
    if request.method != "GET":
        tokens = request.headers.getlist(CSRF_HEADER)
        given = tokens[0].encode() if len(tokens) == 1 else b""
        if not hmac.compare_digest(given, caller.session.csrf.encode()):
            raise ApiError(403, f"the header {CSRF_HEADER} does not hold this session's token")
    return caller


def _allowed(caller: Caller | None, allowed: frozenset[Role]) -> Caller:
    if caller is None:
        raise ApiError(401, "nobody is signed in; sign in first")
    if allowed and not allowed & caller.account.roles:
        names = " or ".join(sorted(allowed))
        raise ApiError(403, f"this needs the role {names}")
    return caller


def _check_query(request: Request, takes_query: bool) -> None:
    names = [name for name, _ in request.query_params.multi_items()]
    if names and not takes_query:
        raise ApiError(422, f"{names[0]}: no parameter is known here")
    if len(names) != len(set(names)):
        raise ApiError(422, "a parameter is given twice")


async def _read_body(request: Request) -> None:
    """All of it, for FastAPI to find. How long it may be, the route's `max_body_size` says."""
    try:
        async with asyncio.timeout(BODY_SECONDS):
            await request.body()
    except TimeoutError:
        raise ApiError(400, f"the body did not come within {BODY_SECONDS:g} s") from None
    except ClientDisconnect:
        raise ApiError(400, "the body did not come") from None
    except asyncio.CancelledError:  # the server stops, and waits for nobody's body
        raise ApiError(503, "the console stops") from None


async def _dependency(request: Request) -> Caller:  # async: sync ones cost a thread
    caller = request.state.caller
    assert isinstance(caller, Caller)
    return caller


SignedIn = Annotated[Caller, Depends(_dependency)]
