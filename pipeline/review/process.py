"""The console's process: a reader of the pipe, the live streams and facts it feeds, the server.

Run by `feed.py` as `python -m pipeline.review.process FD`, where FD is its end of a socket pair.
What it may do is told over that socket, never in arguments. It ends when the socket does: whoever
breaks into the server finds protected pictures here, no key, and no way back.
"""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Protocol
from urllib.parse import urlsplit

import av
import setproctitle

from ..errors import BautaError, UsageError
from ..runtime.credentials import CredentialFilter, without_credentials
from ..runtime.printable import LineFormatter
from ..runtime.process import end_process, forbid_core_dumps
from .live.facts import CameraFact, CameraFacts
from .live.hub import LiveHub
from .plan import ConsolePlan
from .wire import (
    Begin,
    Bye,
    Config,
    End,
    Failed,
    Message,
    Piece,
    Plan,
    Ready,
    Refusal,
    Status,
    WireError,
    pack,
    read_messages,
)

NICE = 5  # pages never take the processor from cameras
END_SECONDS = 5.0  # for the server to end once the cameras' process has gone
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


class Inbox:
    """What the pipe brings, applied as it comes; by one thread."""

    def __init__(self, plan: ConsolePlan, hub: LiveHub, facts: CameraFacts) -> None:
        self.plan, self.hub, self.facts = plan, hub, facts
        self.stop = threading.Event()  # of the server that runs now
        self._over = False  # the cameras' process has gone, or said so
        self.problem: str | None = None  # of what came

    def take(self, message: Message) -> None:
        """Apply one. Raises WireError for what does not belong here."""
        match message:
            case Piece(camera, fragment):
                self.hub.publish(camera, fragment)
            case Status(cameras):
                try:
                    facts = [CameraFact.from_json(one) for one in cameras]
                except ValueError as error:
                    raise WireError(str(error)) from None
                self.facts.update({fact.camera: fact for fact in facts})
                self.hub.tidy()
            case Begin(camera, init):
                self.hub.begin(camera, init)
            case End(camera, reason):
                self.hub.end(camera, reason)
            case Refusal(camera, reason):
                self.hub.refuse(camera, reason)
            case Config(cameras, folders):
                self.plan = replace(self.plan, cameras=cameras, folders=folders)
                self.hub.keep_only(cameras)
                self.stop.set()  # the server begins anew with it; browsers come back by themselves
            case Bye():
                self.close()
            case _:
                raise WireError(f"{type(message).__name__} does not belong here")

    def take_all(self, messages: Iterator[Message]) -> None:
        """Until the pipe ends; the server does not outlive it."""
        try:
            for message in messages:
                self.take(message)
                if self._over:
                    break
        except WireError as error:
            self.problem = f"what came over the pipe is not ours: {error}"
        except OSError as error:
            self.problem = f"the pipe cannot be read: {error.strerror}"
        self.close()
        time.sleep(END_SECONDS)
        # a page that is still being served must not hold the port of the next console
        os._exit(1)

    def is_over(self) -> bool:
        """Whether nothing more is to be served."""
        return self._over

    def close(self) -> None:
        """The end: the server stops. Idempotent."""
        self._over = True
        self.stop.set()


def run(pipe: socket.socket, serve: Serve) -> int:
    """Serve until the pipe ends or SIGTERM comes; the exit code. For the main thread."""
    messages = read_messages(pipe.makefile("rb", buffering=1 << 16))
    try:
        first = next(messages, None)
    except WireError as error:
        return _fail(pipe, str(error), wrong_use=False)
    if not isinstance(first, Plan):
        return 1 if first is None else _fail(pipe, "the first message was no plan", wrong_use=False)
    inbox = Inbox(first.plan, LiveHub(), CameraFacts())
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: inbox.close())
    threading.Thread(
        target=inbox.take_all, args=(messages,), name="console pipe", daemon=True
    ).start()
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


def _serve_all(pipe: socket.socket, inbox: Inbox, serve: Serve) -> None:
    """One server after the other: a new one for each new set of cameras and folders."""
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
    av.logging.set_level(None)
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
        if serve is None:
            # heavy: only once the process is what it should be
            from .server import serve as serve_pages

            serve = serve_pages
        return run(pipe, serve)


if __name__ == "__main__":
    end_process(main(sys.argv[1:]))
