"""The console's server: uvicorn around `review/api`, bound to this machine or behind TLS.

Makes all that the API works with (database, index, exports, requests) and serves until stopped.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType

import uvicorn
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from ..errors import UsageError
from ..settings import ConsoleSettings, TlsSettings
from .api.app import make_app
from .assembly import assembled
from .door import MOST_CONNECTIONS, Door, Listener, raise_descriptor_limit
from .live.facts import CameraFacts
from .live.hub import LiveHub
from .plan import ConsolePlan
from .protocols import HttpProtocol

SEND_BUFFER_BYTES = 256 * 1024  # small, so that a lagging viewer shows in our queue, which drops
STUCK_MS = 30_000  # a client that takes nothing for so long is cut off by the kernel
KEEP_ALIVE_SECONDS = 20
TLS_SECONDS = 5.0  # for a client to make its handshake; and to say goodbye
BACKLOG = 128  # connections that wait in the kernel, and that are taken up at once
STOP_SECONDS = 1  # for answers under way; then they are cut off
MOST_HEADER_BYTES = 32 * 1024
MOST_WEBSOCKET_BYTES = 4096  # viewers say nothing
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


def serve(
    plan: ConsolePlan,
    *,
    hub: LiveHub,
    facts: CameraFacts,
    stop: threading.Event,
    ready: Callable[[str], None],
) -> None:
    """Migrates the database, starts the indexer thread, serves until `stop`.

    `ready(url)` once it listens. Raises UsageError where the port cannot be had or the certificate
    cannot be used, StoreError for the database, VaultError for console.key.
    """
    raise_descriptor_limit()
    settings = plan.settings
    context_of_tls = None if settings.tls is None else _tls(settings.tls)
    with _listening(settings) as listener, assembled(plan, hub=hub, facts=facts) as context:
        config = uvicorn.Config(
            make_app(context),
            http=HttpProtocol,
            ws=WebSocketsSansIOProtocol,
            ws_max_size=MOST_WEBSOCKET_BYTES,
            ws_per_message_deflate=False,
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="error",  # warnings are about what strangers send
            access_log=False,
            server_header=False,
            proxy_headers=False,
            interface="asgi3",
            limit_concurrency=2 * MOST_CONNECTIONS,  # the door counts; cut ones may linger here
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=STOP_SECONDS,
            h11_max_incomplete_event_size=MOST_HEADER_BYTES,
            ssl_context_factory=context_of_tls,
        )
        url = _url(settings, listener.getsockname()[1])
        _Server(config, stop, lambda: ready(url)).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Stops by an event; signals are left to whoever runs it."""

    def __init__(
        self, config: uvicorn.Config, stop: threading.Event, ready: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._stop, self._ready = stop, ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn, which has no say on handshakes, and sees connections after them only."""
        door, loop = Door(), asyncio.get_running_loop()
        seconds = TLS_SECONDS if self.config.ssl else None
        self.servers = []
        for listener in sockets or []:
            assert isinstance(listener, Listener)
            listener.door = door
            server = await loop.create_server(
                lambda: HttpProtocol(self.config, self.server_state, door),
                sock=listener,
                backlog=BACKLOG,
                ssl=self.config.ssl,
                ssl_handshake_timeout=seconds,
                ssl_shutdown_timeout=seconds,
            )
            self.servers.append(server)
        self.started = True
        self._ready()

    async def on_tick(self, counter: int) -> bool:
        """Ten times a second."""
        return self._stop.is_set() or await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn: then whatever is still open is cut off."""
        # it would tell of each answer that is cut off, at length; the next start sets it anew
        logging.getLogger("uvicorn.error").setLevel(logging.CRITICAL)
        await super().shutdown(sockets)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """None."""
        yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Never called: no signal is taken."""
        self.should_exit = True


# --- where it listens ---


@contextlib.contextmanager
def _listening(settings: ConsoleSettings) -> Iterator[Listener]:
    """Raises UsageError."""
    address, port = settings.address, settings.port
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    listener = Listener(family, socket.SOCK_STREAM)
    with contextlib.closing(listener):
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # connections inherit both
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, STUCK_MS)
        try:
            listener.bind((address, port))
            listener.listen(BACKLOG)
        except OSError as error:
            why = "is taken" if error.errno == errno.EADDRINUSE else f"fails: {error.strerror}"
            raise UsageError(
                f"the console's port {port} on {address} {why}; choose another as console.port or "
                "with --port, or any free one with 0"
            ) from None
        yield listener


def _url(settings: ConsoleSettings, port: int) -> str:
    """Of the page, as a browser on this machine reaches it."""
    scheme = "http" if settings.tls is None else "https"
    host = _ANY.get(settings.address, settings.address)
    if settings.tls is not None and settings.names:
        host = settings.names[0]  # the name that the certificate is for
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"


def _tls(settings: TlsSettings) -> Callable[..., ssl.SSLContext]:
    """What uvicorn wants: a function. Raises UsageError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols(["http/1.1"])
    for name, path in (("cert", settings.cert), ("key", settings.key)):
        _readable(name, path)
    try:
        context.load_cert_chain(settings.cert, settings.key, password="")  # nobody is asked
    except (ssl.SSLError, OSError, ValueError) as error:
        said = error.reason if isinstance(error, ssl.SSLError) and error.reason else "not usable"
        raise UsageError(
            f"console.tls: {settings.cert} and {settings.key} are no certificate and its key "
            f"({said.lower().replace('_', ' ')}); both must be PEM, the key without a passphrase"
        ) from None
    return lambda *_: context


def _readable(name: str, path: Path) -> None:
    try:
        path.read_bytes()
    except OSError as error:
        raise UsageError(f"console.tls.{name}: {path} cannot be read: {error.strerror}") from None
