"""Viewers of a camera at a real console, over WebSockets: of those that take nothing as well."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import httpx
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin

from pipeline.review.live_mp4 import BoxReader

STOP_SECONDS = 10.0
COOKIE = "bauta_session"


@dataclass
class Taken:
    """What one viewer has got: fragments by their number in the stream, in order."""

    mime: str = ""
    init: bytes = b""
    numbers: list[int] = field(default_factory=list)
    fragments: dict[int, bytes] = field(default_factory=dict)
    streams: int = 0  # init segments


class Viewer(threading.Thread):
    """Takes whatever comes, until the block ends."""

    def __init__(self, client: httpx.Client, camera: str) -> None:
        super().__init__(daemon=True, name=f"viewer of {camera}")
        self.taken = Taken()
        self._ending = threading.Event()
        self._boxes = BoxReader()
        self._moof: bytes | None = None
        self._client, self._camera = client, camera

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ending.set()
        self.join(STOP_SECONDS)

    def run(self) -> None:
        """The thread."""
        client = self._client
        with connect(
            f"ws://{client.base_url.netloc.decode()}/api/cameras/{self._camera}/live",
            origin=Origin(str(client.base_url).rstrip("/")),
            additional_headers={"Cookie": f"{COOKIE}={client.cookies[COOKIE]}"},
            proxy=None,
            max_size=None,
        ) as connection:
            while not self._ending.is_set():
                try:
                    self._take(connection.recv(timeout=0.2))
                except TimeoutError:
                    continue
                except ConnectionClosed:
                    return

    def _take(self, message: str | bytes) -> None:
        taken = self.taken
        if isinstance(message, str):
            said: dict[str, Any] = json.loads(message)
            assert "mime" in said, said
            taken.mime = said["mime"]
            taken.streams += 1
            return
        self._boxes.write(message)
        for kind, box in self._boxes.take():
            if kind in (b"ftyp", b"moov"):
                taken.init += box
            elif kind == b"moof":
                self._moof = box
            elif kind == b"mdat":
                assert self._moof is not None
                number = number_of(self._moof)
                taken.fragments[number] = self._moof + box
                taken.numbers.append(number)


def number_of(moof: bytes) -> int:
    """The sequence number of its first box, mfhd."""
    assert moof[12:16] == b"mfhd", moof[:24]
    (number,) = struct.unpack(">I", moof[20:24])
    return int(number)


class StuckViewer:
    """Says that it wants to see, and then takes nothing."""

    def __init__(self, client: httpx.Client, camera: str) -> None:
        self._socket = socket.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        parts = urlsplit(str(client.base_url))
        assert parts.hostname is not None and parts.port is not None
        self._socket.connect((parts.hostname, parts.port))
        lines = [
            f"GET /api/cameras/{camera}/live HTTP/1.1",
            f"Host: {parts.netloc}",
            f"Origin: {parts.scheme}://{parts.netloc}",
            f"Cookie: {COOKIE}={client.cookies[COOKIE]}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        ]
        self._socket.sendall("\r\n".join([*lines, "", ""]).encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    def is_cut_off(self, seconds: float) -> bool:
        """Whether, once what is on the way has been taken, the connection ends."""
        self._socket.settimeout(1.0)
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            try:
                if not self._socket.recv(1 << 20):
                    return True
            except TimeoutError:
                continue
            except ConnectionError:
                return True
        return False
