"""uvicorn's protocols with the limits it lacks: a request must come in time, a dead end is cut off.

Without them whoever opens connections and says nothing could hold all of them for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.config import Config
from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.server import ServerState

from .api.security import Caller
from .door import CONNECTION, Connection, Door

REQUEST_SECONDS = 15.0  # from the first byte of a request, or the connection, to its headers' end


class HttpProtocol(H11Protocol):
    """Closes a connection whose request does not come; tells the door whose the requests are."""

    _late: asyncio.TimerHandle | None = None
    _connection: Connection | None = None

    def __init__(self, config: Config, server_state: ServerState, door: Door) -> None:
        super().__init__(config, server_state, {})
        self._door = door

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio."""
        super().connection_made(transport)
        connection = self._door.connection(transport.get_extra_info("socket").fileno())
        if connection is None:  # it had to give way before this
            transport.abort()
            return
        connection.opened(transport, self._whose)
        self._connection = connection
        self.app_state = {CONNECTION: connection}
        self._expect()

    def data_received(self, data: bytes) -> None:
        """See asyncio."""
        super().data_received(data)
        self._expect()

    def on_response_complete(self) -> None:
        """See uvicorn."""
        if self._connection is not None:
            self._connection.look()
        super().on_response_complete()
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio."""
        self._cancel()
        super().connection_lost(exc)

    def _whose(self) -> str | None:
        """The user of the request that is, or was last, answered."""
        state: dict[str, Any] = {} if self.scope is None else self.scope.get("state", {})
        caller = state.get("caller")
        return caller.account.name if isinstance(caller, Caller) else None

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
