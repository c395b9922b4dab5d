"""The first thing that a request meets: Host, Origin, security headers. Pure ASGI.

HEAD is answered as GET; the server leaves the body out.
"""

from __future__ import annotations

import logging

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from .context import Context
from .errors import answer
from .hosts import LOOPBACK, host_name, is_ours, is_same_origin, known_hosts

SAFE_METHODS = ("GET", "HEAD")
HEADERS = {
    # a page of somebody else may not show our pictures either
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
HSTS = "max-age=31536000"
_log = logging.getLogger(__name__)


class Gate:
    """Wraps the app."""

    def __init__(self, app: ASGIApp, context: Context) -> None:
        self._app = app
        settings = context.plan.settings
        self._known = known_hosts(settings.address, settings.names)
        self._secure = context.is_secure
        self._counts = context.counts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        method = scope.get("method", "WEBSOCKET")
        hosts = headers.getlist("host")
        host = hosts[0] if len(hosts) == 1 else ""

        async def send_with_headers(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                self._add_headers(MutableHeaders(scope=message), host)
                self._counts.count_request(method, message["status"])
            elif message["type"] == "websocket.accept":
                self._counts.count_request(method, 101)
            await send(message)

        refusal: JSONResponse | None
        connected_to = scope["server"][0] if scope.get("server") else None
        if not is_ours(host, self._known, connected_to):
            host = ""
            refusal = answer(421, "this console is not known by that name; see console.names")
        elif not self._origin_fits(headers, method, host):
            refusal = answer(403, "this request came from another page than the console's own")
        else:
            if method == "HEAD":
                scope = {**scope, "method": "GET", "bauta.head": True}
            refusal = await self._run(scope, receive, send_with_headers)
        if refusal is not None:
            await refusal(scope, receive, send_with_headers)

    async def _run(self, scope: Scope, receive: Receive, send: Send) -> JSONResponse | None:
        """The app; a defect of ours is an answer too, where none has begun."""
        has_begun = False

        async def send_and_note(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, send_and_note)
        except Exception:
            _log.exception("console: a defect in %s", scope.get("method", "WEBSOCKET"))
            if has_begun:
                raise
            return answer(500, "this request has met a defect of the program; its log has more")
        return None

    def _origin_fits(self, headers: Headers, method: str, host: str) -> bool:
        if method in SAFE_METHODS:
            return True
        origins = headers.getlist("origin")
        if not origins:  # no browser: those send it with everything that changes something
            return method != "WEBSOCKET"
        return len(origins) == 1 and is_same_origin(origins[0], host, secure=self._secure)

    def _add_headers(self, headers: MutableHeaders, host: str) -> None:
        for name, value in HEADERS.items():
            headers.setdefault(name, value)
        headers.setdefault("Cache-Control", "no-store")
        headers.setdefault("Content-Security-Policy", self._policy(host))
        if self._secure and host_name(host) not in LOOPBACK:
            headers.setdefault("Strict-Transport-Security", HSTS)

    def _policy(self, host: str) -> str:
        # not every browser counts ws: to 'self'
        socket = f" {'wss' if self._secure else 'ws'}://{host}" if host else ""
        return (
            f"default-src 'self'; connect-src 'self'{socket}; media-src 'self' blob:; "
            "img-src 'self' blob: data:; style-src 'self'; object-src 'none'; base-uri 'none'; "
            "form-action 'none'; frame-ancestors 'none'"
        )
