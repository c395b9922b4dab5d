"""A real Chromium without a window, driven over its DevTools protocol; standard library only."""

from __future__ import annotations

import base64
import json
import os
import secrets
import shutil
import socket
import struct
import subprocess
import time
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
START_SECONDS = 40.0
ANSWER_SECONDS = 30.0
REACH_SECONDS = 10.0
_PLACE = """(() => {
    const element = %s;
    if (!element || element.disabled) return null;
    element.scrollIntoView({block: "nearest", inline: "nearest"});
    const {left, top, width, height} = element.getBoundingClientRect();
    const [x, y] = [left + width / 2, top + height / 2];
    const hit = document.elementFromPoint(x, y);
    return hit && (element.contains(hit) || hit.contains(element) && hit.closest("label"))
        ? [x, y] : null;
})()"""  # where the mouse must go; null: something else lies there, or nothing yet
_FLAGS = (
    "--headless",
    "--no-sandbox",  # tests run as root in containers
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--remote-debugging-port=0",
)


def chromium() -> str | None:
    """The browser's command; None where none is installed."""
    return next((found for name in NAMES if (found := shutil.which(name))), None)


class Browser:
    """One page of one fresh profile. Use it with `with`."""

    def __init__(
        self, url: str, profile: Path, *, size_px: tuple[int, int] = (1280, 720), dark: bool = True
    ) -> None:
        command = chromium()
        assert command is not None, f"none of {', '.join(NAMES)} is installed"
        self._process = subprocess.Popen(
            [
                command,
                *_FLAGS,
                f"--user-data-dir={profile}",
                f"--window-size={size_px[0]},{size_px[1]}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            self._socket = _open_websocket(_page_address(profile))
            self._received = bytearray()
            self._calls = 0
            width, height = size_px
            self.call(
                "Emulation.setDeviceMetricsOverride",
                width=width,
                height=height,
                deviceScaleFactor=1,
                mobile=False,
            )
            scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
            self.call("Emulation.setEmulatedMedia", features=[scheme])
            self.call("Page.navigate", url=url)
        except BaseException:
            self._kill()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()
        self._kill()

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One DevTools command, and its result. Events are passed over."""
        self._calls += 1
        message = {"id": self._calls, "method": method, "params": parameters}
        self._send(json.dumps(message).encode())
        while True:
            answer: dict[str, Any] = json.loads(self._receive())
            if answer.get("id") == self._calls:
                assert "error" not in answer, answer["error"]
                result: dict[str, Any] = answer["result"]
                return result

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression; promises are waited for."""
        result = self.call(
            "Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in result, result["exceptionDetails"]
        return result["result"].get("value")

    # --- what a person does ---

    def click(self, element: str) -> None:
        """With the mouse, on what a JavaScript expression gives, once it lies there to be hit."""
        deadline = time.monotonic() + REACH_SECONDS
        while (place := self.evaluate(_PLACE % element)) is None:
            assert time.monotonic() < deadline, f"cannot be clicked: {element}"
            time.sleep(0.05)
        at: dict[str, Any] = {"x": place[0], "y": place[1]}
        self.call("Input.dispatchMouseEvent", type="mouseMoved", **at)
        for kind in ("mousePressed", "mouseReleased"):
            self.call("Input.dispatchMouseEvent", type=kind, button="left", clickCount=1, **at)

    def type_text(self, text: str) -> None:
        """Key by key, to whatever has the focus. Tab and line feed are the keys of those names."""
        for letter in text:
            name, code = {"\t": ("Tab", 9), "\n": ("Enter", 13)}.get(letter, (letter, 0))
            self.call(
                "Input.dispatchKeyEvent",
                **{"type": "keyDown", "key": name, "text": "\r" if letter == "\n" else letter},
                windowsVirtualKeyCode=code,
            )
            self.call("Input.dispatchKeyEvent", type="keyUp", key=name)

    def choose_file(self, element: str, path: Path) -> None:
        """In the file dialog of an input, which has no window to click in."""
        found = self.call("Runtime.evaluate", expression=element)["result"]
        self.call("DOM.setFileInputFiles", files=[str(path)], objectId=found["objectId"])

    def downloads_to(self, folder: Path) -> None:
        """Where links that download put their files; they have their names once they are whole."""
        folder.mkdir(exist_ok=True)
        self.call("Browser.setDownloadBehavior", behavior="allow", downloadPath=str(folder))

    def screenshot(self, path: Path) -> None:
        """What a person would see, as PNG."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot")["data"]))

    def _kill(self) -> None:
        # its own process group: the browser starts many helpers
        if self._process.poll() is None:
            os.killpg(self._process.pid, 9)
        self._process.wait(10)

    def _send(self, payload: bytes) -> None:
        """One masked text frame (RFC 6455), as clients must send it."""
        length = len(payload)
        size = bytes([0x80 | length]) if length < 126 else struct.pack(">BH", 0x80 | 126, length)
        assert length < 1 << 16
        mask = secrets.token_bytes(4)
        masked = bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
        self._socket.sendall(b"\x81" + size + mask + masked)

    def _receive(self) -> bytes:
        """One message, put together from its frames."""
        message = b""
        while True:
            first, second = self._read(2)
            length = second & 0x7F
            if length == 126:
                (length,) = struct.unpack(">H", self._read(2))
            elif length == 127:
                (length,) = struct.unpack(">Q", self._read(8))
            payload = self._read(length)
            assert first & 0x0F != 8, "the browser has closed the connection"
            if first & 0x0F in (0, 1):
                message += payload
                if first & 0x80:
                    return message

    def _read(self, count: int) -> bytes:
        while len(self._received) < count:
            data = self._socket.recv(1 << 16)
            assert data, "the browser has gone"
            self._received += data
        taken = bytes(self._received[:count])
        del self._received[:count]
        return taken


def _page_address(profile: Path) -> str:
    """The WebSocket of the first page."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            port = (profile / "DevToolsActivePort").read_text().split()[0]
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=5) as answer:
                pages = [page for page in json.load(answer) if page["type"] == "page"]
            return str(pages[0]["webSocketDebuggerUrl"])
        except (OSError, IndexError):
            time.sleep(0.1)
    raise AssertionError(f"the browser did not start within {START_SECONDS:g} s")


def _open_websocket(address: str) -> socket.socket:
    parts = urlsplit(address)
    assert parts.hostname is not None
    connection = socket.create_connection((parts.hostname, parts.port or 80), ANSWER_SECONDS)
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    lines = [
        f"GET {parts.path} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Upgrade: websocket",
        "Connection: Upgrade",
        f"Sec-WebSocket-Key: {key}",
        "Sec-WebSocket-Version: 13",
    ]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    reply = b""
    while not reply.endswith(b"\r\n\r\n"):  # byte by byte: frames may follow at once
        byte = connection.recv(1)
        assert byte, "the browser refused the connection"
        reply += byte
    assert reply.startswith(b"HTTP/1.1 101 "), reply
    return connection
