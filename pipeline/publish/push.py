"""A network destination in a child process, watched: silent for too long, it is killed."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from ..errors import SinkError
from ..frames import EncodedPacket
from ..runtime.credentials import without_credentials
from ..streams import StreamTemplates
from .mux import Muxer

SILENCE_SECONDS = 6.0  # without a sign of progress while packets wait
CLOSE_SECONDS = 2.0
FORMATS = {"rtsp": "rtsp", "rtsps": "rtsp", "rtmp": "flv", "rtmps": "flv", "srt": "mpegts"}


def is_network(target: str) -> bool:
    """True for a URL that this module pushes to."""
    return target.partition("://")[0].lower() in FORMATS and "://" in target


class PushWriter:
    """Pushes to RTSP (over TCP), RTMP or SRT through `push_child`."""

    def __init__(
        self,
        url: str,
        templates: StreamTemplates,
        *,
        silence_seconds: float = SILENCE_SECONDS,
    ) -> None:
        """Starts the child. Raises SinkError."""
        self._name = without_credentials(url)
        self._silence_seconds = silence_seconds
        self._child_error: str | None = None
        self._last_beat = time.monotonic()
        self._last_write = 0.0
        self._behind = False  # packets were sent since the last beat
        scheme = url.partition("://")[0].lower()
        order = {
            "url": url,
            "format": FORMATS[scheme],
            "options": {"rtsp_transport": "tcp"} if scheme.startswith("rtsp") else {},
        }
        root = Path(__file__).resolve().parents[2]
        environment = dict(os.environ)
        # the child must find the same `pipeline`, whatever folder the operator stands in
        environment["PYTHONPATH"] = os.pathsep.join(
            part for part in (str(root), environment.get("PYTHONPATH")) if part
        )
        self._child = subprocess.Popen(
            [sys.executable, "-m", "pipeline.publish.push_child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
        )
        assert self._child.stdin is not None and self._child.stdout is not None
        os.set_blocking(self._child.stdin.fileno(), False)
        self._listener = threading.Thread(
            target=self._listen, args=(self._child.stdout,), name="push-listen", daemon=True
        )
        self._listener.start()
        pipe = _TimedPipe(self._child.stdin.fileno(), self._check)
        try:
            pipe.write(json.dumps(order).encode() + b"\n")
            self._muxer = Muxer(
                pipe, templates, format="nut", options={"flush_packets": "1"}, name=self._name
            )
        except SinkError:
            self._kill()
            raise

    def write(self, packet: EncodedPacket) -> None:
        """See Writer."""
        now = time.monotonic()
        if not self._behind or now - self._last_write > 1.0:
            # silence counts from the first packet that nobody confirmed, not from a pause of ours
            self._behind, self._last_beat = True, now
        self._last_write = now
        self._check()
        try:
            self._muxer.write(packet)
        except SinkError:
            self._check()  # the child's own reason says more than a broken pipe
            raise

    def close(self) -> None:
        """See Writer. The child gets a moment to say goodbye to the server."""
        try:
            if self._child.poll() is None:
                self._muxer.close()
                assert self._child.stdin is not None
                self._child.stdin.close()
                self._child.wait(CLOSE_SECONDS)
        except (SinkError, subprocess.TimeoutExpired, OSError):
            return
        finally:
            self._kill()

    def _check(self) -> None:
        if self._child_error is not None:
            raise SinkError(f"{self._name}: {self._child_error}")
        if self._child.poll() is not None:
            # the reason may still be on its way through the other pipe
            self._listener.join(0.5)
            raise SinkError(f"{self._name}: {self._last_words()}")
        if self._behind and time.monotonic() - self._last_beat > self._silence_seconds:
            raise SinkError(
                f"{self._name}: the server took nothing for {self._silence_seconds:g} s"
            )

    def _last_words(self) -> str:
        return self._child_error or "the connection ended"

    def _listen(self, stdout: IO[bytes]) -> None:
        for line in stdout:
            word, _, rest = line.decode(errors="replace").strip().partition(" ")
            if word == "ok":
                self._last_beat, self._behind = time.monotonic(), False
            elif word == "error":
                self._child_error = rest or "failed"

    def _kill(self) -> None:
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGKILL)
        self._child.wait()
        for pipe in (self._child.stdin, self._child.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except OSError:
                    continue  # unflushed bytes for a dead child


class _TimedPipe:
    """A file for libav to write into that never blocks for ever."""

    def __init__(self, descriptor: int, check: Callable[[], None]) -> None:
        self._descriptor = descriptor
        self._check = check

    def write(self, data: bytes) -> int:
        """All of it, or SinkError from the check."""
        view = memoryview(data)
        while view:
            _, ready, _ = select.select([], [self._descriptor], [], 0.25)
            self._check()
            if ready:
                try:
                    view = view[os.write(self._descriptor, view) :]
                except BlockingIOError:
                    continue
                except BrokenPipeError as error:
                    raise SinkError("the connection ended") from error
        return len(data)
