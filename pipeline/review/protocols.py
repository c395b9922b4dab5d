"""uvicorn's protocols with the limits it lacks: a request must come in time, a dead end is cut off.

Without them whoever opens connections and says nothing could hold all of them for ever.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from .api.live_socket import ABORT

REQUEST_SECONDS = 15.0  # from the first byte of a request, or the connection, to its headers' end


class HttpProtocol(H11Protocol):
    """Closes a connection whose request does not come."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio."""
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        super().data_received(data)
        self._expect()

    def on_response_complete(self) -> None:
        """See uvicorn."""
        super().on_response_complete()
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._cancel()
        super().connection_lost(exc)

    def _expect(self) -> None:
        """The clock runs while no request is being answered."""
        is_busy = self.cycle is not None and not self.cycle.response_complete
        upgraded = self.transport.get_protocol() is not self
        if is_busy or upgraded or self.transport.is_closing():
            self._cancel()
        elif self._late is None:
            self._late = self.loop.call_later(REQUEST_SECONDS, self.transport.abort)

    def _cancel(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class WebSocketProtocol(WebSocketsSansIOProtocol):
    """Lets the app end a connection whose client takes nothing."""

    def handle_connect(self, event: Request) -> None:
        """See uvicorn: the app's task begins after this returns."""
        super().handle_connect(event)
        if self.handshake_initiated:
            self.scope["state"][ABORT] = self.transport.abort
