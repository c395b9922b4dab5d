"""The demo's page on 127.0.0.1: protected pictures and facts for this machine's browser only.

GET /              the page; /static/NAME its parts
GET /live.mp4      endless fragmented MP4, for fetch and Media Source Extensions
GET /status.json   what the camera does now
GET /snapshot.png  a protected frame
GET /healthz       200 while the server runs

Nothing here can change anything, and nothing unprotected can be reached: the server is given
protected bytes and knows no camera.
"""

from __future__ import annotations

import contextlib
import errno
import json
import logging
import socket
import socketserver
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ..errors import UsageError
from .live_mp4 import LiveMp4

ADDRESS = "127.0.0.1"
HOSTS = ("127.0.0.1", "localhost", "[::1]")
MAX_CONNECTIONS = 32  # a browser keeps up to six
MAX_VIEWERS = 8
SOCKET_TIMEOUT_SECONDS = 10.0  # for a request to come, and for a viewer to take something
JOIN_TIMEOUT_SECONDS = 5.0  # a viewer waits so long for the first picture
SEND_BUFFER_BYTES = 256 * 1024  # small, so that a lagging viewer shows in our queue, which drops
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'self'; media-src 'self' blob:; object-src 'none'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    # a page of somebody else may not show our pictures either
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_STATIC = Path(__file__).resolve().parent / "static"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_log = logging.getLogger(__name__)


class PageServer:
    """Serves until closed."""

    def __init__(
        self,
        *,
        port: int,
        live: LiveMp4,
        status: Callable[[], Mapping[str, object]],
        snapshot: Callable[[], bytes | None],
    ) -> None:
        """Port 0 picks a free one. `snapshot` gives a PNG, None before the first frame.

        Binds at once and answers after `start()`. Raises UsageError where the port cannot be had.
        """
        self._live = live
        pages = _static_files()
        routes: dict[str, Callable[[], tuple[str, bytes] | None]] = {
            "/status.json": lambda: ("application/json", json.dumps(status()).encode()),
            "/snapshot.png": lambda: None if (png := snapshot()) is None else ("image/png", png),
            "/healthz": lambda: ("text/plain; charset=utf-8", b"ok\n"),
        }
        try:
            self._server = _Server(port, live, pages, routes)
        except OverflowError:
            raise UsageError(f"--port must be between 0 and 65535, got {port}") from None
        except OSError as error:
            why = "is taken" if error.errno == errno.EADDRINUSE else f"fails: {error.strerror}"
            raise UsageError(
                f"port {port} on {ADDRESS} {why}; choose another with --port, "
                "or any free one with --port 0"
            ) from None
        self._thread = threading.Thread(
            target=self._server.serve_forever,
            kwargs={"poll_interval": 0.1},
            name="page",
            daemon=True,
        )

    @property
    def url(self) -> str:
        """Of the page."""
        return f"http://{ADDRESS}:{self._server.server_port}/"

    def start(self) -> None:
        """Begin to answer. Returns at once."""
        self._thread.start()

    def close(self) -> None:
        """Disconnect everybody and stop. Idempotent."""
        self._live.close()
        if self._thread.is_alive():
            self._server.shutdown()
            self._thread.join()
        self._server.server_close()
        self._server.disconnect_all()


def _static_files() -> dict[str, tuple[str, bytes]]:
    """Path to (type, bytes), read once: no request ever reaches the file system."""
    files = {
        f"/static/{path.name}": (_TYPES[path.suffix], path.read_bytes())
        for path in sorted(_STATIC.iterdir())
        if path.suffix in _TYPES
    }
    files["/"] = files.pop("/static/index.html")
    return files


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = MAX_CONNECTIONS

    def __init__(
        self,
        port: int,
        live: LiveMp4,
        pages: Mapping[str, tuple[str, bytes]],
        routes: Mapping[str, Callable[[], tuple[str, bytes] | None]],
    ) -> None:
        self.live, self.pages, self.routes = live, pages, routes
        self.viewer_slots = threading.BoundedSemaphore(MAX_VIEWERS)
        self._connections: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__((ADDRESS, port), _Handler)

    def server_bind(self) -> None:
        # HTTPServer would ask the resolver for our own name, which may take seconds
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = ADDRESS, int(self.server_address[1])

    def verify_request(self, request: Any, client_address: Any) -> bool:
        with self._lock:
            if len(self._connections) >= MAX_CONNECTIONS:
                return False
            self._connections.add(request)
            return True

    def shutdown_request(self, request: Any) -> None:
        with self._lock:
            self._connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request: Any, client_address: Any) -> None:
        # browsers hang up at will; a defect of ours must not print a stack trace over the status
        _log.debug("page: a request failed", exc_info=True)

    def disconnect_all(self) -> None:
        with self._lock:
            connections = list(self._connections)
        for connection in connections:
            with contextlib.suppress(OSError):  # the client was faster
                connection.shutdown(socket.SHUT_RDWR)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    server_version = "bauta"
    sys_version = ""
    timeout = SOCKET_TIMEOUT_SECONDS

    def setup(self) -> None:
        super().setup()
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)

    def do_GET(self) -> None:
        """Answer."""
        if not self._host_is_local():
            # a name that somebody else's DNS points here (DNS rebinding) is not ours
            self.send_error(HTTPStatus.MISDIRECTED_REQUEST, "open this page as 127.0.0.1")
            return
        path = urlsplit(self.path).path
        if path == "/live.mp4":
            self._send_live()
        elif path in self.server.pages:
            self._send(*self.server.pages[path])
        elif path in self.server.routes:
            answer = self.server.routes[path]()
            if answer is None:
                self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, "no picture yet")
            else:
                self._send(*answer)
        else:
            self.send_error(HTTPStatus.NOT_FOUND)

    def do_HEAD(self) -> None:
        """The same without a body."""
        self.do_GET()

    def _host_is_local(self) -> bool:
        """Any port: it may have been forwarded, as `ssh -L` does."""
        hosts = self.headers.get_all("Host") or []
        if len(hosts) != 1:
            return False
        name, colon, port = hosts[0].strip().lower().rpartition(":")
        if not colon or not port.isdecimal():
            name = hosts[0].strip().lower()
        return name in HOSTS

    def _send(self, kind: str, body: bytes) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _send_live(self) -> None:
        if not self.server.viewer_slots.acquire(blocking=False):
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, f"{MAX_VIEWERS} viewers are watching")
            return
        try:
            viewer = self.server.live.join(JOIN_TIMEOUT_SECONDS)
        except TimeoutError:
            self.server.viewer_slots.release()
            self.send_error(HTTPStatus.SERVICE_UNAVAILABLE, "no picture yet")
            return
        try:
            self.send_response(HTTPStatus.OK)
            self.send_header("Content-Type", viewer.init.mime)
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            if self.command == "HEAD":
                return
            self._send_chunk(viewer.init.data)
            while fragments := viewer.take(SOCKET_TIMEOUT_SECONDS):
                self._send_chunk(b"".join(fragment.data for fragment in fragments))
            self.wfile.write(b"0\r\n\r\n")
        except (OSError, TimeoutError):
            self.close_connection = True  # gone, or takes nothing: half a chunk may be out
        finally:
            self.server.live.leave(viewer)
            self.server.viewer_slots.release()

    def _send_chunk(self, data: bytes) -> None:
        self.wfile.write(b"%X\r\n%b\r\n" % (len(data), data))

    def end_headers(self) -> None:
        for name, value in HEADERS.items():
            self.send_header(name, value)
        super().end_headers()

    def send_error(self, code: int, message: str | None = None, explain: str | None = None) -> None:
        """One plain line."""
        status = HTTPStatus(code)
        body = f"{message or status.phrase}\n".encode("utf-8", "replace")
        self.send_response(status)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Requests are not news."""
