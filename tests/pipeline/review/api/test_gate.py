"""What strangers can try, byte by byte: hosts, origins, paths, headers, sizes. Raw sockets."""

from __future__ import annotations

import contextlib
import json
import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pipeline.review.api.hosts import host_name, is_ours, is_same_origin, known_hosts
from support.console import PEOPLE, Client, Console, running_console


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    folder = tmp_path_factory.mktemp("console")
    with running_console(folder, recorded=False, names=["console.example.com"]) as running:
        yield running


@pytest.fixture(scope="module")
def root(console: Console) -> Iterator[Client]:
    with console.signed_in("root") as client:
        yield client


@dataclass(frozen=True, slots=True)
class Raw:
    """An answer, as it came."""

    status: int
    headers: dict[str, str]
    body: bytes


def send(console: Console, *lines: str, body: bytes = b"") -> Raw:
    """Exactly these lines; the connection is closed by the server."""
    with socket.create_connection(("127.0.0.1", console.port), 20) as connection:
        text = "\r\n".join([*lines, "Connection: close", "", ""]).encode("latin-1")
        with contextlib.suppress(ConnectionError):  # it may answer before all is sent
            connection.sendall(text + body)
        data = b""
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(1 << 16):
                data += piece
    head, _, rest = data.partition(b"\r\n\r\n")
    first, *others = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in others)}
    return Raw(int(first.split()[1]), headers, rest)


def get(console: Console, path: str, *more: str, host: str | None = None) -> Raw:
    name = f"127.0.0.1:{console.port}" if host is None else host
    return send(console, f"GET {path} HTTP/1.1", f"Host: {name}", *more)


@pytest.mark.parametrize(
    "path",
    [
        "/static/../server.py",
        "/static/%2e%2e/server.py",
        "/static/..%2fserver.py",
        "/static/%2e%2e%2fserver.py",
        "/static/..\\server.py",
        "/static//etc/passwd",
        "/static/%00",
        "/static/",
        "/static",
        "//etc/passwd",
        "/../../etc/passwd",
        "/api/../static/theme.css",
        "/api/exports/../../etc/passwd",
        "/api/users/..%2f..%2fetc",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/static/fonts/../../plan.py",
        "/api/people/1/../../users",
    ],
)
def test_no_path_leads_out(console: Console, root: Client, path: str) -> None:
    """With an admin's session: what is refused is not refused for want of one."""
    cookie = f"Cookie: bauta_session={root.cookies['bauta_session']}"
    answer = get(console, path, cookie)
    assert answer.status in (404, 422), answer
    assert list(json.loads(answer.body)) == ["error"]
    assert b"root:" not in answer.body


@pytest.mark.parametrize(
    "path",
    [
        "/api/cameras/..%2f..%2fetc/snapshot.png",
        "/api/cameras/lobby/live/..%2f..%2fstate",
        "/api/exports/00000000000000000000000000000000/..%2f..%2fconsole.sqlite",
        "/api/exports/%2e%2e/console.key",
        "/api/recordings/..%2f1/media",
        "/api/recordings/1%00/media",
        "/api/recordings/-1/media",
        "/api/recordings/99999999999999999999/media",
        "/api/people/1e3/thumbnail.jpg",
        "/api/requests/R-../file",
    ],
)
def test_no_name_in_a_path_leads_out(console: Console, root: Client, path: str) -> None:
    cookie = f"Cookie: bauta_session={root.cookies['bauta_session']}"
    answer = get(console, path, cookie)
    assert answer.status in (404, 422), answer
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "evil.example:8080",
        "127.0.0.1.evil.example",
        "localhost.evil.example",
        "console.example.com.evil.example",
        "127.0.0.2",
        "[::2]",
        "localhost:80:80",
        "127.0.0.1:x",
        "@localhost",
        "",
    ],
)
def test_another_name_is_misdirected(console: Console, host: str) -> None:
    """What a page of theirs would send after its DNS led to us."""
    answer = get(console, "/api/site", host=host)
    assert answer.status == 421
    assert b"North" not in answer.body
    assert "set-cookie" not in answer.headers


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:1",
        "127.0.0.1",
        "[::1]:9",
        "console.example.com",
        "Console.Example.com:443",
    ],
)
def test_our_names_are_known_at_any_port(console: Console, host: str) -> None:
    assert get(console, "/api/site", host=host).status == 200


def test_no_host_or_two_of_them(console: Console) -> None:
    assert send(console, "GET /api/site HTTP/1.0").status == 421
    two = send(console, "GET /api/site HTTP/1.1", "Host: localhost", "Host: evil.example")
    assert two.status in (400, 421)


def test_every_answer_has_the_headers_that_protect(console: Console, root: Client) -> None:
    cookie = f"Cookie: bauta_session={root.cookies['bauta_session']}"
    for path in ("/", "/static/theme.css", "/api/site", "/api/users", "/nothing", "/metrics"):
        headers = get(console, path, cookie).headers
        policy = headers["content-security-policy"]
        assert policy.startswith("default-src 'self'; ")
        assert f"connect-src 'self' ws://127.0.0.1:{console.port};" in policy
        assert "unsafe" not in policy and "*" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["x-frame-options"] == "DENY"
        assert headers["referrer-policy"] == "no-referrer"
        assert headers["cross-origin-resource-policy"] == "same-origin"
        kept = path == "/" or path.startswith("/static")
        assert headers["cache-control"] == ("no-cache" if kept else "no-store")
        assert "server" not in headers and "access-control-allow-origin" not in headers
        assert "strict-transport-security" not in headers, "there is no TLS here"
    assert get(console, "/api/site", host="evil.example").headers["x-frame-options"] == "DENY"


@pytest.mark.parametrize(
    "origin",
    [
        "http://evil.example",
        "null",
        "http://127.0.0.1:1",
        "http://localhost:PORT",
        "http://127.0.0.1:PORT.evil.example",
        "http://x@127.0.0.1:PORT",
        "http://127.0.0.1:PORT/",
        "ftp://127.0.0.1:PORT",
        "//127.0.0.1:PORT",
    ],
)
def test_pages_of_others_change_nothing(console: Console, origin: str) -> None:
    body = json.dumps({"name": "guard", "password": PEOPLE["guard"].password}).encode()
    lines = (
        "POST /api/session HTTP/1.1",
        f"Host: 127.0.0.1:{console.port}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
    )
    other = send(console, *lines, f"Origin: {origin.replace('PORT', str(console.port))}", body=body)
    assert other.status == 403 and "set-cookie" not in other.headers
    own = f"Origin: http://127.0.0.1:{console.port}"
    assert send(console, *lines, own, own, body=body).status == 403, "two of them"


def test_our_own_page_may(console: Console) -> None:
    body = json.dumps({"name": "guard", "password": PEOPLE["guard"].password}).encode()
    answer = send(
        console,
        "POST /api/session HTTP/1.1",
        f"Host: 127.0.0.1:{console.port}",
        f"Origin: http://127.0.0.1:{console.port}",
        "Content-Type: application/json",
        f"Content-Length: {len(body)}",
        body=body,
    )
    assert answer.status == 200
    flags = answer.headers["set-cookie"].split("; ")[1:]
    assert sorted(flag.lower() for flag in flags) == ["httponly", "path=/", "samesite=strict"]


@pytest.mark.parametrize("method", ["PUT", "PATCH", "TRACE", "OPTIONS", "PROPFIND", "CONNECT"])
def test_other_methods_are_not_known(console: Console, method: str) -> None:
    answer = send(console, f"{method} /api/site HTTP/1.1", f"Host: 127.0.0.1:{console.port}")
    assert answer.status in (400, 405), answer


def test_head_is_get_without_a_body(console: Console) -> None:
    for path in ("/", "/api/site", "/healthz"):
        host = f"Host: 127.0.0.1:{console.port}"
        head = send(console, f"HEAD {path} HTTP/1.1", host)
        full = send(console, f"GET {path} HTTP/1.1", host)
        assert (head.status, head.body) == (200, b"")
        assert head.headers["content-length"] == full.headers["content-length"] != "0"


def test_bodies_are_bounded_and_nobodys_are_not_read(console: Console, root: Client) -> None:
    too_long = b" " * (2**20 + 1)
    json_type = {"Content-Type": "application/json"}
    assert root.post("/api/users", content=too_long, headers=json_type).status_code == 413
    with console.anonymous(cookies=root.cookies) as client:
        chunks = iter([b" " * 2**18] * 5)  # without a Content-Length
        headers = {"X-CSRF-Token": root.headers["X-CSRF-Token"], **json_type}
        assert client.post("/api/users", content=chunks, headers=headers).status_code == 413
    # 20 MB are promised and not sent: who is not signed in need not send them to be told so
    answer = send(
        console,
        "POST /api/requests/R-AAAAAAAA/approve HTTP/1.1",
        f"Host: 127.0.0.1:{console.port}",
        "Content-Type: application/json",
        "Content-Length: 20000000",
    )
    assert answer.status == 401


def test_release_bodies_may_be_longer(console: Console) -> None:
    with console.signed_in("chief") as chief:
        body = json.dumps({"note": "", "release": "A" * (4 * 2**20)}).encode()
        headers = {"Content-Type": "application/json"}
        path = "/api/requests/R-AAAAAAAA/approve"
        assert chief.post(path, content=body, headers=headers).status_code == 404
        too_long = b" " * (32 * 2**20 + 1)
        assert chief.post(path, content=too_long, headers=headers).status_code == 413


def test_unknown_and_doubled_parameters_are_refused(console: Console, root: Client) -> None:
    for path in (
        "/api/session?x=1",
        "/api/cameras?camera=lobby",
        "/api/days?offset=1",
        "/api/people?sort=name",
        "/api/people?limit=0",
        "/api/days?offset_minutes=1&offset_minutes=2",
        "/api/timeline?from_ms=0",
        "/api/timeline?from_ms=5&to_ms=5",
        "/api/people?after=W10",
        "/healthz?x",
    ):
        answer = root.get(path)
        assert answer.status_code == 422, path
        assert list(answer.json()) == ["error"] and len(answer.json()["error"]) > 8
    assert root.get("/static/theme.css?v=1").status_code == 422


def test_garbage_ends_the_connection(console: Console) -> None:
    for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc", b"GET / HTTP/1.1\r\nHost: a\nb\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", console.port), 20) as connection:
            connection.sendall(data + b"\r\n\r\n")
            answer = b""
            while piece := connection.recv(1 << 16):
                answer += piece
            assert answer.startswith(b"HTTP/1.1 400 ")
    with socket.create_connection(("127.0.0.1", console.port), 20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nX: ")
        with contextlib.suppress(ConnectionError):
            connection.sendall(b"x" * 200_000)
            assert connection.recv(1 << 16).startswith(b"HTTP/1.1 400 ")


def test_names_and_origins() -> None:
    known = known_hosts("10.0.0.5", ["Console.Example.com"])
    assert known >= {"10.0.0.5", "localhost", "127.0.0.1", "[::1]", "console.example.com"}
    assert known_hosts("::1", []) == known_hosts("127.0.0.1", [])
    assert known_hosts("0.0.0.0", []) == {"localhost", "127.0.0.1", "[::1]"}
    assert host_name("[fe80::1]:8080") == "[fe80::1]"
    assert is_ours("192.168.1.5:8443", known, "192.168.1.5"), "asked for by number"
    assert is_ours("[fd00::5]", known, "fd00::5")
    assert not is_ours("192.168.1.6", known, "192.168.1.5")
    assert is_same_origin("https://a:8443", "A:8443", secure=True)
    assert is_same_origin("https://a", "a", secure=False), "a proxy put TLS before us"
    assert not is_same_origin("http://a:8443", "a:8443", secure=True)


@given(st.text() | st.from_regex(r"https?://[\[\]:@/%.0-9a-fv]*", fullmatch=True), st.text())
@example("http://[::1", "[::1")
@example("http://[v1.a]", "[v1.a]")
@example("http://a\u2100b", "a")
def test_no_text_is_a_defect(origin: str, host: str) -> None:
    for secure in (True, False):
        if is_same_origin(origin, host, secure=secure):
            assert origin.lower().endswith(f"://{host.strip().lower()}")
    assert not is_ours(host, frozenset({"a" * 99}), None)
    assert host_name(host) in host.lower()


def test_an_origin_that_is_none_is_not_ours(console: Console) -> None:
    for origin in ("http://[::1", "http://[v1.a]", "http://a]b", "\xff"):
        first = ("POST /api/session HTTP/1.1", f"Host: 127.0.0.1:{console.port}")
        answer = send(console, *first, f"Origin: {origin}", "Content-Length: 0")
        assert answer.status == 403, origin
