"""The page's server over real sockets: who may ask, what they get, and how it ends."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest

from pipeline.errors import UsageError
from pipeline.review.live_mp4 import Fragment, InitSegment, LiveMp4
from pipeline.review.server import MAX_CONNECTIONS, MAX_VIEWERS, PageServer

INIT = InitSegment(b"init", "avc1.42C01F")
PNG = b"\x89PNG made up"


class Page:
    """A running server and what it shows."""

    def __init__(self) -> None:
        self.live = LiveMp4()
        self.png: bytes | None = None
        self.server = PageServer(
            port=0,
            live=self.live,
            status=lambda: {"camera": "demo", "faces": 3},
            snapshot=lambda: self.png,
        )
        self.port = int(self.server.url.rstrip("/").rpartition(":")[2])
        self.server.start()

    def ask(
        self, path: str, *, method: str = "GET", host: str | None = None
    ) -> tuple[http.client.HTTPResponse, bytes]:
        """One request on a connection of its own."""
        with closing(http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)) as client:
            client.putrequest(method, path, skip_host=host is not None)
            if host is not None:
                client.putheader("Host", host)
            client.endheaders()
            answer = client.getresponse()
            return answer, answer.read()

    def raw(self, request: bytes) -> bytes:
        """The status line that answers these bytes."""
        with socket.create_connection(("127.0.0.1", self.port), 20) as client:
            client.sendall(request)
            return client.makefile("rb").readline()

    def watch(self) -> socket.socket:
        """A viewer that has asked for the stream."""
        client = socket.create_connection(("127.0.0.1", self.port), 20)
        client.sendall(b"GET /live.mp4 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return client


@pytest.fixture
def page() -> Iterator[Page]:
    page = Page()
    yield page
    page.server.close()


def wait_until(page: Page, viewers: int) -> None:
    deadline = time.monotonic() + 20
    while page.live.viewers != viewers:
        assert time.monotonic() < deadline, f"{page.live.viewers} viewers, not {viewers}"
        page.live.publish(Fragment(b"x" * 1000, is_keyframe=True))
        time.sleep(0.01)


def test_the_page_and_its_parts(page: Page) -> None:
    for path, kind, part in (
        ("/", "text/html; charset=utf-8", b'<video id="video"'),
        ("/?again", "text/html; charset=utf-8", b'<video id="video"'),
        ("/static/live.js", "text/javascript; charset=utf-8", b"appendBuffer"),
        ("/static/live.css", "text/css; charset=utf-8", b"prefers-color-scheme"),
        ("/static/icon.svg", "image/svg+xml", b"<svg"),
        ("/healthz", "text/plain; charset=utf-8", b"ok\n"),
    ):
        answer, body = page.ask(path)
        assert (answer.status, answer.headers["Content-Type"]) == (200, kind)
        assert part in body


def test_the_page_needs_nothing_from_outside(page: Page) -> None:
    for path in ("/", "/static/live.js", "/static/live.css", "/static/icon.svg"):
        body = page.ask(path)[1].replace(b"http://www.w3.org/2000/svg", b"")  # a name, not a link
        assert b"http:" not in body and b"https:" not in body
        assert b"style=" not in body and b"onclick=" not in body  # the policy would refuse them


def test_facts(page: Page) -> None:
    answer, body = page.ask("/status.json")
    assert answer.headers["Content-Type"] == "application/json"
    assert json.loads(body) == {"camera": "demo", "faces": 3}


def test_the_snapshot(page: Page) -> None:
    assert page.ask("/snapshot.png")[0].status == 503
    page.png = PNG
    answer, body = page.ask("/snapshot.png")
    assert (answer.status, answer.headers["Content-Type"], body) == (200, "image/png", PNG)


@pytest.mark.parametrize("path", ["/", "/status.json", "/missing", "/snapshot.png"])
def test_every_answer_carries_the_security_headers(page: Page, path: str) -> None:
    headers = page.ask(path)[0].headers
    policy = headers["Content-Security-Policy"]
    assert policy.startswith("default-src 'self'; media-src 'self' blob:;")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers
    assert "Python" not in headers["Server"]


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:8080", "127.0.0.1", "127.0.0.1:9", "[::1]", "[::1]:8080"]
)
def test_local_names_are_answered(page: Page, host: str) -> None:
    assert page.ask("/status.json", host=host)[0].status == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "localhost.evil.example:80",
        "evil.example@localhost",
        "localhost:80:80",
        "127.0.0.2",
        "0.0.0.0",
        "",
    ],
)
def test_other_names_are_not(page: Page, host: str) -> None:
    for path in ("/", "/status.json", "/live.mp4", "/snapshot.png"):
        answer, body = page.ask(path, host=host)
        assert answer.status == 421
        assert b"demo" not in body


def test_no_name_and_two_names_are_refused(page: Page) -> None:
    assert b" 421 " in page.raw(b"GET / HTTP/1.0\r\n\r\n")
    two = b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n"
    assert b" 421 " in page.raw(two)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/..%2fserver.py",
        "/static/",
        "/static/index.html/",
        "//etc/passwd",
        "/../../etc/passwd",
        "/etc/passwd",
        "/index.html",
        "*",
    ],
)
def test_only_what_is_listed_exists(page: Page, path: str) -> None:
    assert page.ask(path)[0].status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
def test_nothing_can_be_changed(page: Page, method: str) -> None:
    assert page.ask("/status.json", method=method)[0].status == 501


def test_head_has_no_body(page: Page) -> None:
    answer, body = page.ask("/", method="HEAD")
    assert (answer.status, body) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 1000


def test_nonsense_is_refused(page: Page) -> None:
    # before a version is understood, HTTP/0.9 is spoken: the bare line
    assert page.raw(b"nonsense\x00 / / /\r\n\r\n").startswith(b"Bad request")
    assert b" 414 " in page.raw(b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n")
    assert page.ask("/healthz")[0].status == 200


def test_only_this_machine_can_connect(page: Page) -> None:
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.2", page.port), 5)


def test_the_stream_begins_with_init_and_keyframe_and_goes_on(page: Page) -> None:
    page.live.begin(INIT)
    page.live.publish(Fragment(b"KEY", is_keyframe=True))
    with closing(http.client.HTTPConnection("127.0.0.1", page.port, timeout=20)) as client:
        client.request("GET", "/live.mp4")
        answer = client.getresponse()
        assert answer.headers["Content-Type"] == 'video/mp4; codecs="avc1.42C01F"'
        assert answer.headers["Transfer-Encoding"] == "chunked"
        assert answer.read(7) == b"initKEY"
        page.live.publish(Fragment(b"more", is_keyframe=False))
        assert answer.read(4) == b"more"
        page.live.end()
        assert answer.read() == b""  # a proper end, not a cut


def test_a_stream_that_is_not_there_yet(page: Page, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.review.server.JOIN_TIMEOUT_SECONDS", 0.1)
    assert page.ask("/live.mp4")[0].status == 503


def test_viewers_are_limited_and_a_place_becomes_free(page: Page) -> None:
    page.live.begin(INIT)
    watching = [page.watch() for _ in range(MAX_VIEWERS)]
    wait_until(page, MAX_VIEWERS)
    answer, body = page.ask("/live.mp4")
    assert (answer.status, body) == (503, b"8 viewers are watching\n")
    watching.pop().close()
    wait_until(page, MAX_VIEWERS - 1)
    with page.watch() as another:
        assert another.makefile("rb").readline() == b"HTTP/1.1 200 OK\r\n"
    for client in watching:
        client.close()


def test_a_viewer_that_takes_nothing_is_cut_off(
    page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.review.server._Handler.timeout", 0.3)
    page.live.begin(INIT)
    with page.watch():
        wait_until(page, 1)
        deadline = time.monotonic() + 30
        while page.live.viewers:
            assert time.monotonic() < deadline
            page.live.publish(Fragment(b"x" * 500_000, is_keyframe=True))
            time.sleep(0.005)


def test_connections_are_limited(page: Page) -> None:
    idle = [socket.create_connection(("127.0.0.1", page.port), 20) for _ in range(MAX_CONNECTIONS)]
    with (
        socket.create_connection(("127.0.0.1", page.port), 20) as one_more,
        contextlib.suppress(ConnectionResetError),  # the same, said less politely
    ):
        assert one_more.recv(1) == b""
    for client in idle:
        client.close()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            assert page.ask("/healthz")[0].status == 200
            return
        except (http.client.HTTPException, OSError):
            time.sleep(0.05)  # the server has not yet noticed all of them leave
    raise AssertionError("no place became free")


def test_a_taken_port_says_what_to_do(page: Page) -> None:
    with pytest.raises(UsageError, match=rf"port {page.port} on 127.0.0.1 is taken.*--port"):
        PageServer(port=page.port, live=LiveMp4(), status=dict, snapshot=lambda: None)


def test_a_port_that_cannot_be() -> None:
    with pytest.raises(UsageError, match="--port must be between 0 and 65535, got 70000"):
        PageServer(port=70_000, live=LiveMp4(), status=dict, snapshot=lambda: None)


def test_close_lets_everybody_go_and_is_idempotent() -> None:
    before = set(threading.enumerate())
    page = Page()
    page.live.begin(INIT)
    with page.watch() as viewer, socket.create_connection(("127.0.0.1", page.port), 20):
        wait_until(page, 1)
        started = time.monotonic()
        page.server.close()
        page.server.close()
        assert time.monotonic() - started < 5
        assert viewer.makefile("rb").read().startswith(b"HTTP/1.1 200 OK")  # and it ends
    deadline = time.monotonic() + 10
    while not set(threading.enumerate()) <= before:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(("127.0.0.1", page.port), 5)


def test_close_without_start() -> None:
    PageServer(port=0, live=LiveMp4(), status=dict, snapshot=lambda: None).close()
