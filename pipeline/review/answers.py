"""What the console's process may say, whoever speaks for it: one word for each plan it was sent."""

from __future__ import annotations

import threading
from urllib.parse import urlsplit

from ..runtime.printable import printable
from ..settings import ConsoleSettings
from .wire import Failed, Message, Ready, WireError

_ANYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # as browsers on this machine reach it
_MOST_CHARACTERS = 1000


class Answers:
    """Of one process. Any thread may call."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._owed = 0

    def expect(self) -> None:
        """It is sent a plan, or new cameras: it may say once more that it is ready."""
        with self._lock:
            self._owed += 1

    @property
    def is_awaited(self) -> bool:
        """It has not said yet that it is ready with what it was sent last."""
        return self._owed > 0

    def accept(self, message: Message, settings: ConsoleSettings) -> Ready | Failed:
        """As it may be shown and opened; `Failed` is its last. Raises WireError: it is not ours."""
        if isinstance(message, Failed):
            return Failed(printable(message.line)[:_MOST_CHARACTERS], message.wrong_use)
        if not isinstance(message, Ready):
            raise WireError(f"{type(message).__name__} is not for it to say")
        with self._lock:
            if self._owed == 0:
                raise WireError("it says again that it is ready")
            self._owed -= 1
        if not is_own_url(message.url, settings):
            raise WireError("it names an address that is not its own")
        return message


def is_own_url(url: str, settings: ConsoleSettings) -> bool:
    """Whether it is of a page that a console with these settings serves: it is shown and opened."""
    if not (url.isascii() and url.isprintable()):
        return False
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
    except ValueError:
        return False
    own = {"localhost", settings.address, _ANYWHERE.get(settings.address, ""), *settings.names}
    hosts = {name.lower() for name in own} - {""}
    scheme = "http" if settings.tls is None else "https"
    shown = f"[{host}]" if ":" in host else host
    return (
        port is not None
        and settings.port in (0, port)
        and host in hosts
        and url.lower() == f"{scheme}://{shown}:{port}/"
    )
