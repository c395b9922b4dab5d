"""The client of the console's API: where a password goes, and what is told when it fails."""

from __future__ import annotations

import datetime
import http.server
import ipaddress
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from pipeline.errors import BautaError, ConsoleError, SinkError, UsageError
from pipeline.review.api.schemas import SiteOut
from pipeline.review.api.schemas_recordings import RequestOut, RequestsOut
from pipeline.review.client import ConsoleClient

PASSWORD = "correct horse battery"
SESSION = {
    "user": {"name": "guard", "roles": ["viewer"], "cameras": None},
    "csrf": "the token",
    "expires_ms": 1,
}
SITE = {"site": "North", "version": "0", "demo": False, "accounts": []}
LOCAL = "http://127.0.0.1:8080"


def client(answer: Callable[[httpx.Request], httpx.Response], server: str = LOCAL) -> ConsoleClient:
    return ConsoleClient(server, transport=httpx.MockTransport(answer))


# --- where it goes ---


@pytest.mark.parametrize(
    ("server", "told"),
    [
        ("http://console.example:8080", "would carry the password in clear"),
        ("http://192.168.1.4", "would carry the password in clear"),
        ("http://127.0.0.1.evil.example", "would carry the password in clear"),
        ("http://localhost.evil.example", "would carry the password in clear"),
        ("https://guard:hunter2@console.example", "must hold no name and password"),
        ("http://guard@127.0.0.1", "must hold no name and password"),
        ("https://console.example/path", "without a path"),
        ("https://console.example?x=1", "without a path"),
        ("ftp://console.example", "must be a URL"),
        ("console.example:8080", "must be a URL"),
        ("https://", "must be a URL"),
        ("", "must be a URL"),
    ],
)
def test_where_a_password_does_not_go(server: str, told: str) -> None:
    with pytest.raises(UsageError, match=told) as refused:
        client(lambda _: pytest.fail("was sent"), server)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "[::1]", "127.8.9.1"])
def test_this_machine_needs_no_tls(host: str) -> None:
    with client(lambda _: httpx.Response(200, json=SITE), f"http://{host}:8080/") as console:
        assert console.get(SiteOut, "/api/site").site == "North"


def test_no_proxy_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """It would read along."""
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with (
        http_server(lambda _: (200, json.dumps(SITE).encode())) as port,
        ConsoleClient(f"http://127.0.0.1:{port}") as console,
    ):
        assert console.get(SiteOut, "/api/site").site == "North"


# --- a session ---


def test_signing_in_and_out() -> None:
    seen: list[tuple[str, str, str | None, str | None]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        token, cookie = request.headers.get("X-CSRF-Token"), request.headers.get("Cookie")
        seen.append((request.method, request.url.path, token, cookie))
        if request.method == "DELETE":
            return httpx.Response(204)
        if request.url.path == "/api/session":
            assert json.loads(request.content) == {"name": "guard", "password": PASSWORD}
            cookies = {"Set-Cookie": "bauta_session=abc; HttpOnly; SameSite=Strict; Path=/"}
            return httpx.Response(200, json=SESSION, headers=cookies)
        return httpx.Response(200, json={"requests": []})

    with client(answer) as console:
        console.sign_in("guard", PASSWORD)
        assert console.get(RequestsOut, "/api/requests").requests == []
        console.post(RequestsOut, "/api/requests", {"a": 1})
    cookie = "bauta_session=abc"
    assert seen == [
        ("POST", "/api/session", None, None),
        ("GET", "/api/requests", None, cookie),
        ("POST", "/api/requests", "the token", cookie),
        ("DELETE", "/api/session", "the token", cookie),
    ]


def test_queries_leave_out_what_was_not_asked() -> None:
    asked: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.query.decode())
        return httpx.Response(200, json={"requests": []})

    with client(answer) as console:
        console.get(RequestsOut, "/api/requests", state=None, recoverable=True, camera="a b&c")
    assert asked == ["recoverable=true&camera=a+b%26c"]


# --- what is told ---


@pytest.mark.parametrize(
    ("response", "told"),
    [
        (httpx.Response(409, json={"error": "is your own"}), "is your own"),
        (
            httpx.Response(429, json={"error": "too often"}, headers={"Retry-After": "30"}),
            "too often; again in 30 s",
        ),
        (httpx.Response(502, text="<html>Bad gateway"), "as a console of bauta does (status 502)"),
        (httpx.Response(302, headers={"Location": "https://x"}), "(status 302)"),
        (httpx.Response(200, text="<html>"), "does not answer as a console of bauta does"),
        (httpx.Response(200, json=[1]), "does not answer as a console of bauta does"),
        (httpx.Response(200, json={"id": 7}), "does not answer as a console of bauta does"),
    ],
)
def test_answers_that_help_nobody(response: httpx.Response, told: str) -> None:
    with client(lambda _: response) as console, pytest.raises(ConsoleError) as failed:
        console.get(RequestOut, "/api/requests/R-A")
    assert str(failed.value).endswith(told) and PASSWORD not in str(failed.value)


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (httpx.ConnectTimeout("late"), "does not answer in time"),
        (httpx.ReadTimeout("late"), "does not answer in time"),
        (httpx.RemoteProtocolError("Server disconnected"), "Server disconnected"),
    ],
)
def test_networks_that_fail(error: Exception, told: str) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    with client(fail) as console, pytest.raises(ConsoleError, match=told) as failed:
        console.get(SiteOut, "/api/site")
    assert str(failed.value).startswith(LOCAL)


def test_nobody_listens() -> None:
    with ConsoleClient("http://127.0.0.1:1") as console, pytest.raises(ConsoleError) as failed:
        console.sign_in("guard", PASSWORD)
    assert str(failed.value) == (
        "http://127.0.0.1:1 cannot be reached: Connection refused; is the console running there?"
    )


def test_answers_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.review.client.MOST_ANSWER_BYTES", 1000)
    with (
        client(lambda _: httpx.Response(200, content=b" " * 1001)) as console,
        pytest.raises(ConsoleError, match="too long"),
    ):
        console.get(SiteOut, "/api/site")


# --- files ---


def a_file(name: str, data: bytes = b"clip") -> httpx.Response:
    return httpx.Response(
        200, content=data, headers={"Content-Disposition": f'attachment; filename="{name}"'}
    )


def test_a_download_is_its_owners_alone(tmp_path: Path) -> None:
    with client(lambda _: a_file("a.mp4")) as console:
        path = console.download("/x", lambda name: tmp_path / name, overwrite=False)
        assert path == tmp_path / "a.mp4" and path.read_bytes() == b"clip"
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(SinkError, match="File exists"):
            console.download("/x", lambda name: tmp_path / name, overwrite=False)
        console.download("/x", lambda name: tmp_path / name, overwrite=True)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["../a.mp4", "/etc/passwd", ".hidden", "a\\b", "a b", ""])
def test_a_console_names_no_other_place(name: str, tmp_path: Path) -> None:
    chosen: list[str] = []

    def choose(found: str) -> Path:
        chosen.append(found)
        return tmp_path / "mine"

    with client(lambda _: a_file(name)) as console:
        console.download("/x", choose, overwrite=False)
    assert chosen == [""]


def test_half_a_download_leaves_nothing(tmp_path: Path) -> None:
    def chunks() -> Iterator[bytes]:
        yield b"half"
        raise httpx.ReadError("gone")

    with (
        client(lambda _: httpx.Response(200, content=chunks())) as console,
        pytest.raises(ConsoleError),
    ):
        console.download("/x", lambda _: tmp_path / "a", overwrite=False)
    assert list(tmp_path.iterdir()) == []


def test_what_was_refused_is_no_file(tmp_path: Path) -> None:
    refused = httpx.Response(404, json={"error": "there is no such request"})
    with (
        client(lambda _: refused) as console,
        pytest.raises(ConsoleError, match="there is no such request"),
    ):
        console.download("/x", lambda _: tmp_path / "a", overwrite=False)
    assert list(tmp_path.iterdir()) == []


# --- TLS ---


def test_a_certificate_is_checked(tmp_path: Path) -> None:
    cert = certificate(tmp_path)
    with http_server(lambda _: (200, json.dumps(SITE).encode()), cert) as port:
        server = f"https://127.0.0.1:{port}"
        with ConsoleClient(server, ca=cert) as console:
            assert console.get(SiteOut, "/api/site").site == "North"
        with ConsoleClient(server) as console, pytest.raises(ConsoleError) as failed:
            console.sign_in("guard", PASSWORD)
        assert "certificate verify failed" in str(failed.value).lower()
        assert "\n" not in str(failed.value)


@pytest.mark.parametrize("content", [None, b"", b"no PEM"])
def test_a_file_without_authorities(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BautaError, match="--ca"):
        ConsoleClient("https://127.0.0.1:1", ca=path)


def certificate(folder: Path) -> Path:
    """Of 127.0.0.1, signed by itself; the key is in the file too."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.datetime.now(datetime.UTC)
    address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([address]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    path = folder / "console.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(made.public_bytes(Encoding.PEM) + secret)
    return path


@contextmanager
def http_server(
    answer: Callable[[str], tuple[int, bytes]], tls: Path | None = None
) -> Iterator[int]:
    """Its port."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = answer(self.path)
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    if tls is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tls)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
