"""The app: every route, its guard, its errors, and an exact /openapi.json."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.openapi.utils import get_openapi
from starlette.responses import JSONResponse
from starlette.routing import WebSocketRoute

from ...errors import UsageError
from ...version import __version__
from .access import ACCESS
from .context import Context
from .errors import install
from .gate import Gate
from .hosts import is_loopback
from .live_socket import live_socket
from .routes_cameras import router as cameras
from .routes_people import router as people
from .routes_recordings import router as recordings
from .routes_requests import router as requests
from .routes_session import router as session
from .routes_system import router as system
from .routes_users import router as users
from .security import CSRF_HEADER, HASHES_AT_ONCE, GuardedRoute, cookie_name
from .static_files import read_static_files, static_router
from .workers import make_workers

LIVE_PATH = "/api/cameras/{camera}/live"
_ABOUT = """\
Everything the page does can be done from here: sign in with `POST /api/session`, keep the cookie, \
and send the `csrf` of the answer as `X-CSRF-Token` with everything that changes something.

Times are Unix milliseconds, UTC. Errors are `{"error": "one line for people"}`. A camera that a \
user may not see is not there (404). Live pictures: WebSocket `/api/cameras/{id}/live`.
"""


def make_app(context: Context) -> FastAPI:
    """For one console. Raises UsageError for a demo that others could reach."""
    if context.plan.demo and not is_loopback(context.plan.settings.address):
        raise UsageError("the demo signs everybody in, so it listens on this machine alone")
    app = FastAPI(
        title="Bauta console",
        version=__version__,
        description=_ABOUT,
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        separate_input_output_schemas=False,
    )
    app.state.context = context
    app.state.hashing = asyncio.Semaphore(HASHES_AT_ONCE)
    make_workers(app)
    install(app)
    for router in (session, cameras, recordings, people, requests, users, system, openapi_router()):
        app.include_router(router)
    app.include_router(static_router(read_static_files()))
    assert ("WEBSOCKET", LIVE_PATH) in ACCESS
    app.router.routes.append(WebSocketRoute(LIVE_PATH, live_socket))
    app.add_middleware(Gate, context=context)
    schema: dict[str, Any] | None = None

    def openapi() -> dict[str, Any]:
        nonlocal schema
        if schema is None:
            schema = _with_security(
                get_openapi(
                    title=app.title,
                    version=app.version,
                    description=app.description,
                    routes=app.routes,
                ),
                cookie_name(context),
            )
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
    return app


def openapi_router() -> APIRouter:
    """/openapi.json."""
    router = APIRouter(route_class=GuardedRoute, include_in_schema=False)

    @router.get("/openapi.json")
    async def openapi(request: Request) -> JSONResponse:
        """What is here, for programs."""
        return JSONResponse(request.app.openapi())

    return router


def _with_security(schema: dict[str, Any], cookie: str) -> dict[str, Any]:
    """Who may call what, from the same table that the routes are guarded by."""
    schema["components"]["securitySchemes"] = {
        "session": {"type": "apiKey", "in": "cookie", "name": cookie},
        "csrf": {"type": "apiKey", "in": "header", "name": CSRF_HEADER},
    }
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            allowed = ACCESS[method.upper(), path]
            if allowed is None:
                operation["security"] = []
                continue
            operation["security"] = [
                {"session": []} if method == "get" else {"session": [], "csrf": []}
            ]
            operation["x-roles"] = sorted(allowed) or ["viewer"]
    return schema
