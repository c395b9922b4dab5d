"""Who may hold connections, and how many, from the moment the kernel hands them over.

A connection that has said nothing of a session is a stranger's. Each network may hold few of
those, and where there is no more room the oldest of them gives way: silence costs others nothing.
Connections of sessions are counted by user; live pictures have limits of their own.

For the event loop's thread alone.
"""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
from collections.abc import Callable
from typing import Any

from .limits import network_of

MOST_CONNECTIONS = 512  # of all; 64 of them are live pictures at most
MOST_OF_NETWORK = 32  # that carry no session: a browser opens 6
MOST_OF_USER = 64  # besides live pictures
CONNECTION = "bauta.connection"  # in a scope's state: the Connection that a request came over


class Connection:
    """One that was accepted. TLS may not have begun yet."""

    def __init__(self, door: Door, end: socket.socket, network: str) -> None:
        self.network = network
        self.user: str | None = None  # whose session it carries
        self.is_viewer = False  # a live picture of that user
        self.whose: Callable[[], str | None] = lambda: None  # of the request under way
        self._door, self._end = door, end
        self._transport: asyncio.Transport | None = None

    def opened(self, transport: asyncio.Transport, whose: Callable[[], str | None]) -> None:
        """TLS is through, where there is any."""
        self._transport, self.whose = transport, whose

    def look(self) -> None:
        """Note whose request it carries, if anybody's."""
        user = self.whose()
        if user is not None:
            self._door.carries(self, user)

    def watch(self, user: str) -> None:
        """It shows a live picture from now on; those are counted elsewhere."""
        self.user, self.is_viewer = user, True

    def watched(self) -> None:
        """It does no longer, and is about to be closed: a client may take its time with that."""
        self.is_viewer = False
        if self.user is not None:
            self._door.carries(self, self.user)

    def abort(self) -> None:
        """End it now, whatever is still to be sent."""
        if self._transport is not None:
            self._transport.abort()
        else:
            with contextlib.suppress(OSError):  # it has gone
                self._end.shutdown(socket.SHUT_RDWR)


class Door:
    """All connections of one server."""

    def __init__(self) -> None:
        self._held: dict[int, Connection] = {}  # by file descriptor, the oldest first
        self._most = _most_connections()

    def admit(self, end: socket.socket, address: str) -> bool:
        """Count a new one from `address`, or tell that there is no room for it."""
        for one in list(self._held.values()):
            if one.user is None:
                one.look()  # an answer may take minutes
        strangers = [one for one in self._held.values() if one.user is None]
        network = network_of(address)
        own = [one for one in strangers if one.network == network]
        if len(own) >= MOST_OF_NETWORK:
            self._cut(own[0])
        elif len(self._held) >= self._most:
            if not strangers:
                return False
            self._cut(strangers[0])
        self._held[end.fileno()] = Connection(self, end, network)
        return True

    def connection(self, descriptor: int) -> Connection | None:
        """None where it was cut off meanwhile."""
        return self._held.get(descriptor)

    def carries(self, connection: Connection, user: str) -> None:
        """A request of `user`'s session came over it."""
        connection.user = user
        descriptor = connection._end.fileno()
        if self._held.pop(descriptor, None) is None:  # it had to give way
            return
        self._held[descriptor] = connection  # the latest used
        own = [one for one in self._held.values() if one.user == user and not one.is_viewer]
        if len(own) > MOST_OF_USER:
            self._cut(own[0])

    def left(self, descriptor: int, end: socket.socket) -> None:
        """Just before its descriptor is given back."""
        one = self._held.get(descriptor)
        if one is not None and one._end is end:
            del self._held[descriptor]

    def _cut(self, connection: Connection) -> None:
        del self._held[connection._end.fileno()]
        connection.abort()


class Listener(socket.socket):
    """One whose connections pass a door."""

    door: Door | None = None

    def accept(self) -> tuple[socket.socket, Any]:
        """See socket. Raises ConnectionAbortedError where there is no room: asyncio goes on."""
        accepted, address = super().accept()
        if self.door is None:
            return accepted, address
        end = _End(self.family, self.type, self.proto, fileno=accepted.detach())
        if not self.door.admit(end, address[0]):
            end.close()
            raise ConnectionAbortedError
        end.door = self.door
        return end, address


class _End(socket.socket):
    """Our end of a connection."""

    door: Door | None = None

    def close(self) -> None:
        """See socket."""
        if self.door is not None and self.fileno() >= 0:
            self.door.left(self.fileno(), self)
        super().close()


def raise_descriptor_limit() -> None:
    """To what the system allows this process: 1024 are usual, and recordings need some too."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # some systems promise more than they allow
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _most_connections() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_CONNECTIONS if soft < 0 else min(MOST_CONNECTIONS, soft // 2)
