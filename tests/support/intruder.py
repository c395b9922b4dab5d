"""A console's process that somebody has broken into: it does whatever it is asked to over HTTP.

Run by `ConsoleFeed` in place of the real one. GET /?do=NAME&…: what came of it as JSON, `[true,
result]` or `[false, errno]`.
"""

from __future__ import annotations

import json
import os
import resource
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

from pipeline.review.plan import ConsolePlan
from pipeline.review.process import main

if TYPE_CHECKING:
    from pipeline.review.live.facts import CameraFacts
    from pipeline.review.live.hub import LiveHub

MPTCP = 262
FAST_OPEN = 0x20000000


def read(path: str) -> str:
    with Path(path).open("rb") as file:
        return file.read(20).decode(errors="replace")


def connect(port: int, protocol: int = 0) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, protocol) as one:
        one.connect(("127.0.0.1", port))


def fast_open(port: int) -> None:
    with socket.socket() as one:
        one.sendto(b"OPTIONS", FAST_OPEN, ("127.0.0.1", port))


def datagram(port: int) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.sendto(b"x", ("127.0.0.1", port))


def named(address: str) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.connect(address)


def listen(port: int) -> None:
    with socket.socket() as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("127.0.0.1", port))


def limit(pid: int) -> None:
    resource.prlimit(pid, resource.RLIMIT_CPU, (1, 1))


def run(path: str) -> int:
    """The exit code of `cat`."""
    pid = os.posix_spawn("/bin/cat", ["cat", path], {})
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


DEEDS: Mapping[str, Callable[[dict[str, str]], object]] = {
    "read": lambda said: read(said["path"]),
    "write": lambda said: Path(said["path"]).write_bytes(b"x"),
    "append": lambda said: Path(said["path"]).open("a").close(),
    "remove": lambda said: Path(said["path"]).unlink(),
    "move": lambda said: Path(said["path"]).rename(said["to"]),
    "link": lambda said: os.link(said["path"], said["to"]),
    "list": lambda said: sorted(os.listdir(said["path"])),  # noqa: PTH208
    "run": lambda said: run(said["path"]),
    "connect": lambda said: connect(int(said["port"])),
    "mptcp": lambda said: connect(int(said["port"]), MPTCP),
    "fast_open": lambda said: fast_open(int(said["port"])),
    "datagram": lambda said: datagram(int(said["port"])),
    "named": lambda said: named(said["path"]),
    "abstract": lambda said: named("\0" + said["path"]),
    "listen": lambda said: listen(int(said["port"])),
    "signal": lambda said: os.kill(int(said["pid"]), 0),
    "limit": lambda said: limit(int(said["pid"])),
    "slow": lambda said: os.sched_setaffinity(int(said["pid"]), {0}),
    "threads": lambda said: len(list(Path("/proc/self/task").iterdir())),
}


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        said = dict(parse_qsl(urlsplit(self.path).query))
        try:
            result: object = [True, DEEDS[said.pop("do")](said)]
        except OSError as error:
            result = [False, error.errno]
        body = json.dumps(result, default=str).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def serve(
    plan: ConsolePlan,
    *,
    hub: LiveHub,
    facts: CameraFacts,
    stop: threading.Event,
    ready: Callable[[str], None],
) -> None:
    """See review.server.serve."""
    server = HTTPServer((plan.settings.address, plan.settings.port), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    ready(f"http://127.0.0.1:{server.server_port}/")
    stop.wait()
    server.shutdown()
    server.server_close()
    thread.join()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], serve))
