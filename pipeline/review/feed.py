"""The cameras' end of the console: starts its process, feeds it, starts it again when it dies.

    session -> Sink "console" -> lane of the camera -> feed thread == socket pair == the console

Nothing here ever waits for the console. Where it is slow or gone, frames are dropped up to the
camera's next keyframe, and counted.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ..errors import BautaError, UsageError
from ..frames import EncodedPacket
from ..publish.sink import Sink, Writer
from ..runtime.confine import possible
from ..runtime.credentials import without_addresses
from ..settings import ReconnectSettings
from ..source.backoff import Backoff
from ..status import CameraStatus
from ..streams import StreamTemplates
from .answers import Answers
from .lanes import Lanes
from .live.pieces import Fragment, InitSegment
from .live_mp4 import LiveMp4Writer
from .plan import ConsolePlan
from .wire import (
    LARGEST_WORD_BYTES,
    Bye,
    Config,
    Failed,
    Plan,
    Ready,
    Status,
    WireError,
    pack,
    read_messages,
)

COMMAND = (sys.executable, "-P", "-m", "pipeline.review.process")
STARTING_SECONDS = 90.0  # for its first word: a busy machine takes long to import all it needs
HUNG_SECONDS = 15.0  # a console that takes nothing for so long is started anew
STEADY_SECONDS = 60.0  # one that was there for so long has not failed to start
CLOSE_SECONDS = 8.0  # to end by itself
SEND_SECONDS = 2.0  # for what is being sent when it is to end
PAUSES = ReconnectSettings(first_pause=1.0, longest_pause=60.0)
ENVIRONMENT = {
    *("HOME", "LANG", "LANGUAGE", "PATH", "SSL_CERT_DIR", "SSL_CERT_FILE", "SYSTEMROOT", "TMPDIR"),
    *("TZ", "USER", "VIRTUAL_ENV", "LD_LIBRARY_PATH"),
}
ENVIRONMENT_STARTS = ("LC_", "PG", "PYTHON", "XDG_", "COVERAGE_")
PLAYABLE = "h264"
NAMES = {"hevc": "H.265"}
_log = logging.getLogger(__name__)


class ConsoleFeed:
    """One console. Any thread may call."""

    def __init__(
        self, plan: ConsolePlan, *, is_awaited: bool = False, command: Sequence[str] = COMMAND
    ) -> None:
        """`is_awaited`: the caller asks `wait_ready` and says itself how the first start went.

        `command`: the console's process; the number of its socket is added.
        """
        self._plan = plan
        self._is_awaited = is_awaited
        self._command = tuple(command)
        self._lanes = Lanes()
        self._answers = Answers()
        self._news = threading.Condition()
        self._url: str | None = None  # while it can be reached
        self._failure: Failed | None = None  # of the newest attempt
        self._ready_at: float | None = None
        self._is_closing = False
        self._is_replanned = False
        self._child: subprocess.Popen[bytes] | None = None
        self._pipe: socket.socket | None = None
        self._backoff = Backoff(PAUSES)
        self._told: str | None = None  # so that a failure is not said again and again
        self._thread = threading.Thread(target=self._run, name="console feed", daemon=True)

    # --- for whoever runs the cameras ---

    def start(self) -> None:
        """Start the console. Returns at once."""
        confinement = possible(is_to_connect=self._plan.settings.database is not None)
        if not confinement.is_whole:
            _log.warning("the console is not confined: %s", "; ".join(confinement.missing))
        self._thread.start()

    @property
    def url(self) -> str | None:
        """Where it can be reached now."""
        return self._url

    @property
    def pid(self) -> int | None:
        """Of the process there is now."""
        child = self._child
        return None if child is None else child.pid

    def wait_ready(self, timeout_seconds: float) -> str:
        """The URL. Raises UsageError (such as a taken port) and BautaError: it cannot start."""
        with self._news:
            self._news.wait_for(
                lambda: self._url is not None or self._failure is not None, timeout_seconds
            )
            if self._url is not None:
                return self._url
            if self._failure is None:
                raise BautaError(f"the console has not started within {timeout_seconds:g} s")
            kind = UsageError if self._failure.wrong_use else BautaError
            raise kind(self._failure.line)

    def sink(self, camera: str) -> Sink:
        """A live destination for a session, not started."""
        outlet = _Outlet(self._lanes, camera)
        outlet.sink = Sink("console", outlet.open, live=True)
        return outlet.sink

    def status(self, cameras: Sequence[CameraStatus]) -> None:
        """Facts of all cameras; call it once a second, or the console says that we are silent."""
        self._lanes.say_status(Status(tuple(_told(camera) for camera in cameras)))

    def set_plan(self, plan: ConsolePlan) -> None:
        """Take up a new configuration. The console is started anew where more than cameras changed:
        what a process was given to read cannot be added to.
        """
        before, self._plan = self._plan, plan
        if plan == before:
            return
        self._lanes.keep_only(plan.cameras)
        if plan == replace(before, cameras=plan.cameras):
            self._answers.expect()
            self._lanes.say_config(Config(plan.cameras))
            return
        with self._news:
            self._is_replanned = True
            self._news.notify_all()
        self._lanes.interrupt()

    def close(self) -> None:
        """Stop the console and wait for it. Idempotent."""
        with self._news:
            self._is_closing = True
            self._news.notify_all()
        self._lanes.interrupt()
        if self._thread.is_alive():
            self._thread.join(SEND_SECONDS)
            if (pipe := self._pipe) is not None and self._thread.is_alive():
                # a console that hangs holds the thread in its sending
                with contextlib.suppress(OSError):
                    pipe.shutdown(socket.SHUT_RDWR)
            self._thread.join()

    # --- the feed thread ---

    def _run(self) -> None:
        while not self._is_closing:
            with self._news:
                self._url, self._failure, self._ready_at = None, None, None
                self._is_replanned = False
            try:
                problem = self._run_once()
            except OSError as error:
                problem = f"cannot be started: {error.strerror}"
            with self._news:
                self._url = None
                if self._is_closing or self._is_replanned:
                    continue
                self._failure = self._failure or Failed(problem, wrong_use=False)
                self._news.notify_all()
            self._rest(self._failure.line)

    def _run_once(self) -> str:
        """One process from start to end; why it ended."""
        ours, theirs = socket.socketpair()
        with ours:
            with theirs:
                self._child = child = self._spawn(theirs)
            ours.settimeout(STARTING_SECONDS)
            self._pipe = ours
            self._answers = Answers()
            self._answers.expect()
            self._lanes.connect()
            listener = threading.Thread(
                target=self._listen, args=(ours, child), name="console answers", daemon=True
            )
            listener.start()
            problem = None
            try:
                ours.sendall(pack(Plan(self._plan)))
                while not self._is_closing and (taken := self._lanes.take(1.0)) is not None:
                    if not self._answers.is_awaited:
                        ours.settimeout(HUNG_SECONDS)
                    if taken:
                        ours.sendall(b"".join(taken))
                if self._is_closing or self._is_replanned:
                    ours.sendall(pack(Bye()))
            except TimeoutError:
                problem = f"it took nothing for {ours.gettimeout():g} s"
                child.kill()
            except OSError:
                pass  # it has gone: what it said, or how it ended, says why
            finally:
                self._lanes.disconnect()
                self._pipe = None
            with contextlib.suppress(OSError):
                ours.shutdown(socket.SHUT_WR)
            code = _ended(child)
            listener.join(1.0)
            self._child = None
        return problem or f"it ended unexpectedly ({_how(code)})"

    def _spawn(self, theirs: socket.socket) -> subprocess.Popen[bytes]:
        root = str(Path(__file__).resolve().parents[2])
        environment = {
            name: value
            for name, value in os.environ.items()
            if name in ENVIRONMENT or name.startswith(ENVIRONMENT_STARTS)
        }
        # the child must find the same `pipeline`, whatever folder the operator stands in
        environment["PYTHONPATH"] = os.pathsep.join(
            part for part in (root, environment.get("PYTHONPATH")) if part
        )
        environment["BAUTA_STATE"] = str(self._plan.state_dir)
        return subprocess.Popen(
            [*self._command, str(theirs.fileno())],
            pass_fds=(theirs.fileno(),),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,  # ours may be read by a program
            env=environment,
            start_new_session=True,  # Ctrl-C in a terminal is for the cameras' process
        )

    def _listen(self, pipe: socket.socket, child: subprocess.Popen[bytes]) -> None:
        """What the console says of itself, and that it ends. Whoever speaks for it is not trusted:
        what it may not say ends it, as does its own end, and the next one begins after a pause.
        """
        answers, settings = self._answers, self._plan.settings
        try:
            for message in read_messages(_Patient(pipe), largest=LARGEST_WORD_BYTES):
                match answers.accept(message, settings):
                    case Ready(url):
                        self._is_ready(url)
                    case Failed() as failure:
                        self._has_failed(failure)
                        break
        except WireError as error:
            self._has_failed(Failed(f"it said what it may not: {error}", wrong_use=False))
            child.kill()
        except OSError as error:
            _log.debug("console: %s", error)
        if self._pipe is pipe:  # else the next one is there already
            self._lanes.interrupt()

    def _has_failed(self, failure: Failed) -> None:
        with self._news:
            self._failure, self._url = failure, None
            self._news.notify_all()

    def _is_ready(self, url: str) -> None:
        with self._news:
            is_new = self._url is None
            self._url, self._ready_at, self._told = url, time.monotonic(), None
            self._news.notify_all()
        self._lanes.count()
        if is_new and not self._is_awaited:
            _log.warning("console: %s", url)
        self._is_awaited = False

    def _rest(self, line: str) -> None:
        """Before the next attempt."""
        ready_at = self._ready_at
        if ready_at is not None and time.monotonic() - ready_at > STEADY_SECONDS:
            self._backoff.succeeded()
        pause_seconds = self._backoff.next_pause_seconds()
        if line != self._told and not self._is_awaited:
            self._told = line
            _log.error("console: %s; the cameras go on, and it is tried again", line)
        with self._news:
            self._news.wait_for(lambda: self._is_closing or self._is_replanned, pause_seconds)


class _Outlet:
    """One camera's way to the console."""

    sink: Sink

    def __init__(self, lanes: Lanes, camera: str) -> None:
        self._lanes, self._camera = lanes, camera
        self._told = False

    def open(self, templates: StreamTemplates) -> Writer:
        """For the sink. Raises SinkError."""
        codec = templates.video.codec.canonical_name
        if codec == PLAYABLE:
            return LiveMp4Writer(self, templates)
        name = NAMES.get(codec, codec)
        reason = f"{name} does not play in browsers; set encode.codec to h264"
        self._lanes.refuse(self._camera, reason)
        if not self._told:
            self._told = True
            _log.warning("%s: no live picture in the console: %s", self._camera, reason)
        return _Nowhere()

    def begin(self, init: InitSegment) -> None:
        """See LiveOutlet."""
        self._lanes.begin(self._camera, init)

    def publish(self, fragment: Fragment) -> None:
        """See LiveOutlet."""
        self.sink.dropped += self._lanes.publish(self._camera, fragment)

    def end(self, reason: str) -> None:
        """See LiveOutlet."""
        self._lanes.end(self._camera, reason)


class _Nowhere:
    """For a stream that browsers could not play: nothing is muxed."""

    def write(self, packet: EncodedPacket) -> None:
        """See Writer."""

    def close(self) -> None:
        """See Writer."""


class _Patient:
    """Reads a socket whose timeout is meant for sending."""

    def __init__(self, pipe: socket.socket) -> None:
        self._pipe = pipe

    def read(self, size: int) -> bytes:
        """So many bytes, fewer at the end. Raises OSError."""
        data = b""
        while len(data) < size:
            try:
                more = self._pipe.recv(size - len(data))
            except TimeoutError:
                continue
            if not more:
                break
            data += more
        return data


def _ended(child: subprocess.Popen[bytes]) -> int:
    """Its exit code; killed where it does not end by itself."""
    try:
        return child.wait(CLOSE_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()


def _how(code: int) -> str:
    return f"exit code {code}" if code >= 0 else f"signal {-code}"


def _told(camera: CameraStatus) -> dict[str, object]:
    """Its facts, without its address: whoever breaks into the console shall not learn it."""
    fields = camera.as_dict()
    if camera.error is not None:
        fields["error"] = without_addresses(camera.error)
    return fields
