"""The console's process: a reader of the pipe, the live streams and facts it feeds, the server.

Run by `feed.py` as `python -m pipeline.review.process FD`, where FD is its end of a socket pair.
What it may do is told over that socket, never in arguments; with that told it gives up everything
else (`fence.py`), before the libraries that could be broken into are loaded. It ends when the
socket does: whoever breaks into the server finds protected pictures here, and no way back.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

import setproctitle

from ..errors import BautaError, UsageError
from ..runtime.credentials import CredentialFilter, without_credentials
from ..runtime.printable import LineFormatter
from ..runtime.process import end_process, forbid_core_dumps
from .plan import ConsolePlan
from .wire import Failed, Plan, Ready, WireError, pack, read_messages

if TYPE_CHECKING:  # numpy, below them, starts threads when it is loaded: see `run`
    from .inbox import Inbox
    from .live.facts import CameraFacts
    from .live.hub import LiveHub

NICE = 5  # pages never take the processor from cameras
_log = logging.getLogger(__name__)


class Serve(Protocol):
    """`review.server.serve`."""

    def __call__(
        self,
        plan: ConsolePlan,
        *,
        hub: LiveHub,
        facts: CameraFacts,
        stop: threading.Event,
        ready: Callable[[str], None],
    ) -> None:
        """Until `stop`. Raises BautaError."""
        ...


def run(pipe: socket.socket, serve: Serve | None = None) -> int:
    """Serve until the pipe ends or SIGTERM comes; the exit code. For the main thread."""
    messages = read_messages(pipe.makefile("rb", buffering=1 << 16))
    try:
        first = next(messages, None)
    except WireError as error:
        return _fail(pipe, str(error), wrong_use=False)
    if not isinstance(first, Plan):
        return 1 if first is None else _fail(pipe, "the first message was no plan", wrong_use=False)
    # threads stay as free as they were before: nothing that starts one is loaded until then
    from .fence import confine_console

    try:
        fence = confine_console(first.plan)
    except BautaError as error:
        return _fail(pipe, str(error), wrong_use=False)
    import av

    from .inbox import Inbox
    from .live.facts import CameraFacts
    from .live.hub import LiveHub

    if serve is None:
        from .server import serve as serve_pages

        serve = serve_pages
    av.logging.set_level(None)
    inbox = Inbox(first.plan, LiveHub(), CameraFacts())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: inbox.close())
    for name, work in (
        ("console pipe", lambda: inbox.take_all(messages)),
        ("console fence", lambda: fence.watch(threading.Event(), _end_of(inbox))),
    ):
        threading.Thread(target=work, name=name, daemon=True).start()
    try:
        _serve_all(pipe, inbox, serve)
    except BautaError as error:
        return _fail(pipe, str(error), wrong_use=isinstance(error, UsageError))
    except Exception as error:  # a defect: the cameras' process says so and tries again
        _log.exception("unexpected")
        return _fail(pipe, f"{type(error).__name__}: {error}", wrong_use=False)
    finally:
        inbox.hub.close()
    return 0 if inbox.problem is None else _fail(pipe, inbox.problem, wrong_use=False)


def _end_of(inbox: Inbox) -> Callable[[Path], None]:
    """A new process may have what is there now; this one never can."""
    return lambda path: inbox.close(f"{path} is another one now; the console begins anew")


def _serve_all(pipe: socket.socket, inbox: Inbox, serve: Serve) -> None:
    """One server after the other: a new one for each new set of cameras."""
    port: int | None = None

    def ready(url: str) -> None:
        nonlocal port
        port = urlsplit(url).port
        _say(pipe, Ready(url))

    while not inbox.is_over():
        stop = inbox.stop = threading.Event()
        plan = inbox.plan
        if inbox.is_over():  # since the line before the last
            return
        if port is not None:  # "any free one" has been chosen once
            plan = replace(plan, settings=plan.settings.model_copy(update={"port": port}))
        serve(plan, hub=inbox.hub, facts=inbox.facts, stop=stop, ready=ready)
        if not stop.is_set():
            return  # it has ended by itself


def _fail(pipe: socket.socket, line: str, *, wrong_use: bool) -> int:
    _say(pipe, Failed(without_credentials(line)[:1000], wrong_use))
    return 2 if wrong_use else 1


def _say(pipe: socket.socket, message: Ready | Failed) -> None:
    with contextlib.suppress(OSError):  # nobody listens any more
        pipe.sendall(pack(message))


def prepare() -> None:
    """What the process may do, before anything else happens in it."""
    setproctitle.setproctitle("bauta console")
    forbid_core_dumps()
    os.nice(NICE)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        LineFormatter("%(asctime)s %(levelname)s console: %(message)s", "%H:%M:%S")
    )
    handler.addFilter(CredentialFilter())
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(logging.WARNING)


def main(arguments: Sequence[str], serve: Serve | None = None) -> int:
    """`arguments`: the number of the socket's descriptor. The process's exit code."""
    prepare()
    with socket.socket(fileno=int(arguments[0])) as pipe:
        return run(pipe, serve)


if __name__ == "__main__":
    end_process(main(sys.argv[1:]))
