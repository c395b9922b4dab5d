"""The console's server as a whole: where it listens, TLS, who is cut off, how it stops."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import socket
import ssl
import stat
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Origin

from pipeline.errors import UsageError
from pipeline.review import protocols
from pipeline.review import server as server_module
from pipeline.review.live.facts import CameraFacts
from pipeline.review.live.hub import LiveHub
from pipeline.review.plan import ConsolePlan, DemoAccount
from pipeline.review.server import serve
from pipeline.settings import ConsoleSettings
from support.certificate import write_certificate
from support.console import PEOPLE, running_console


def run(plan: ConsolePlan) -> None:
    """Until it raises; a second at most."""
    stop = threading.Event()
    serve(plan, hub=LiveHub(), facts=CameraFacts(), stop=stop, ready=lambda _url: stop.set())


def plan_of(folder: Path, demo: tuple[DemoAccount, ...] = (), **settings: Any) -> ConsolePlan:
    return ConsolePlan(
        site="North",
        settings=ConsoleSettings.model_validate({"port": 0, **settings}),
        state_dir=folder / "state",
        cameras=(),
        folders=(),
        demo=demo,
    )


def test_it_makes_what_it_needs_and_nobody_else_can_read_it(tmp_path: Path) -> None:
    with running_console(tmp_path, recorded=False) as console:
        state = console.plan.own_dir
        for name in ("console.key", "console.sqlite"):
            assert stat.S_IMODE((state / name).stat().st_mode) == 0o600
        assert (state / "console.pub").read_text().startswith("ssh-ed25519 ")
        key = (state / "console.key").read_bytes()
        assert console.url == f"http://127.0.0.1:{console.port}/"
        with console.anonymous() as client:
            assert client.get("/healthz").text == "ok\n"
    with running_console(tmp_path, recorded=False) as again:
        assert (again.plan.own_dir / "console.key").read_bytes() == key
        with again.signed_in("guard") as client:
            assert client.get("/readyz").json()["database"] is True


def test_a_session_outlives_a_new_start(tmp_path: Path) -> None:
    """A changed configuration starts the server anew; nobody is signed out for that."""
    with running_console(tmp_path, recorded=False) as first, first.signed_in("guard") as client:
        cookies, port = client.cookies, first.port
    with running_console(tmp_path, recorded=False, port=port) as second:
        assert second.port == port
        with second.anonymous(cookies=cookies) as client:
            assert client.get("/api/session").json()["user"]["name"] == "guard"


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UsageError, match=f"port {port} on 127.0.0.1 is taken.*--port"):
            run(plan_of(tmp_path, port=port))


def test_an_address_of_others_is_one_line(tmp_path: Path) -> None:
    cert, key = write_certificate(tmp_path)
    tls = {"cert": cert, "key": key}
    with pytest.raises(UsageError, match=r"192\.0\.2\.1 fails: Cannot assign"):
        run(plan_of(tmp_path, address="192.0.2.1", tls=tls))


def test_tls(tmp_path: Path) -> None:
    cert, key = write_certificate(tmp_path)
    settings: dict[str, Any] = {
        "tls": {"cert": cert, "key": key},
        "names": ["console.example.com"],
    }
    with running_console(tmp_path, recorded=False, **settings) as console:
        assert console.url == f"https://console.example.com:{console.port}/"
        trusted = ssl.create_default_context(cafile=str(cert))
        with httpx.Client(verify=trusted, trust_env=False) as client:
            base = f"https://localhost:{console.port}"
            sign_in = {"name": "guard", "password": PEOPLE["guard"].password}
            answer = client.post(f"{base}/api/session", json=sign_in)
            assert answer.status_code == 200
            cookie = answer.headers["set-cookie"]
            assert cookie.startswith("__Host-bauta_session=")
            flags = {flag.strip().lower() for flag in cookie.split(";")[1:]}
            assert flags == {"httponly", "path=/", "samesite=strict", "secure"}
            assert client.get(f"{base}/api/session").status_code == 200
            named = {"Host": f"console.example.com:{console.port}"}
            headers = client.get(f"{base}/api/site", headers=named).headers
            assert headers["strict-transport-security"] == "max-age=31536000"
            assert (
                f"wss://console.example.com:{console.port};" in headers["content-security-policy"]
            )
            local = client.get(f"{base}/api/site").headers
            assert "strict-transport-security" not in local, "other servers are at localhost too"
            plain = {"Origin": f"http://localhost:{console.port}"}
            assert (
                client.post(f"{base}/api/session", json=sign_in, headers=plain).status_code == 403
            )
            own = {"Origin": f"https://localhost:{console.port}"}
            assert client.post(f"{base}/api/session", json=sign_in, headers=own).status_code == 200
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://localhost:{console.port}/", trust_env=False)
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        with pytest.warns(DeprecationWarning):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with (
            socket.create_connection(("127.0.0.1", console.port), 10) as raw,
            pytest.raises((ssl.SSLError, ConnectionError)),
        ):
            old.wrap_socket(raw)


@pytest.mark.parametrize(
    ("what", "says"),
    [
        ("no cert", "console.tls.cert: .*gone.pem cannot be read: No such file"),
        ("no key", "console.tls.key: .*gone.pem cannot be read: No such file"),
        ("swapped", "no certificate and its key"),
        ("other key", "no certificate and its key"),
        ("locked key", "no certificate and its key .*without a passphrase"),
        ("garbage", "no certificate and its key"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_one_line(
    tmp_path: Path, what: str, says: str
) -> None:
    other = tmp_path / "other"
    other.mkdir()
    cert, key = write_certificate(tmp_path)
    gone = tmp_path / "gone.pem"
    match what:
        case "no cert":
            cert = gone
        case "no key":
            key = gone
        case "swapped":
            cert, key = key, cert
        case "other key":
            key = write_certificate(other)[1]
        case "locked key":
            cert, key = write_certificate(other, b"a passphrase")
        case "garbage":
            cert.write_text("no PEM")
    with pytest.raises(UsageError, match=says) as caught:
        run(plan_of(tmp_path, tls={"cert": cert, "key": key}))
    assert "\n" not in str(caught.value)


def test_stopping_closes_everything_at_once(tmp_path: Path) -> None:
    """A viewer, an idle connection, a request that never ends."""
    with running_console(tmp_path, recorded=False) as console, console.signed_in("guard") as client:
        console.begin_live("lobby")
        cookie = f"bauta_session={client.cookies['bauta_session']}"
        with contextlib.ExitStack() as stack:
            viewer = stack.enter_context(
                connect(
                    f"ws://127.0.0.1:{console.port}/api/cameras/lobby/live",
                    origin=Origin(console.origin),
                    additional_headers={"Cookie": cookie},
                    proxy=None,
                )
            )
            viewer.recv(10)
            idle = stack.enter_context(socket.create_connection(("127.0.0.1", console.port), 10))
            half = stack.enter_context(socket.create_connection(("127.0.0.1", console.port), 10))
            half.sendall(b"GET / HTTP/1.1\r\nHost: local")
            began = time.monotonic()
            console.stop.set()
            console.thread.join(10)
            assert not console.thread.is_alive()
            assert time.monotonic() - began < 5  # 2 s are promised; this machine may be busy
            with pytest.raises(ConnectionClosed):
                while True:
                    viewer.recv(5)
            for connection in (idle, half):
                with contextlib.suppress(ConnectionError):
                    assert connection.recv(100) == b""


def test_who_does_not_ask_in_time_is_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(protocols, "REQUEST_SECONDS", 0.5)
    with running_console(tmp_path, recorded=False) as console, console.signed_in("guard") as client:
        console.begin_live("lobby")
        with (
            connect(
                f"ws://127.0.0.1:{console.port}/api/cameras/lobby/live",
                origin=Origin(console.origin),
                additional_headers={"Cookie": f"bauta_session={client.cookies['bauta_session']}"},
                proxy=None,
            ) as viewer,
            socket.create_connection(("127.0.0.1", console.port), 10) as silent,
            socket.create_connection(("127.0.0.1", console.port), 10) as slow,
        ):
            viewer.recv(10)
            began = time.monotonic()
            with contextlib.suppress(OSError):
                while time.monotonic() < began + 8:  # a header, letter by letter
                    slow.sendall(b"G" if time.monotonic() < began + 0.05 else b"x")
                    time.sleep(0.05)
            assert time.monotonic() - began < 7, "it could go on for ever"
            with contextlib.suppress(ConnectionError):
                assert silent.recv(100) == b""
            console.hub.end("lobby", "still here")
            while "still here" not in str(viewer.recv(10)):
                pass


def held(port: int) -> int:
    """Connections that a server has."""
    found = psutil.Process().net_connections("tcp")
    return sum(one.laddr.port == port and one.status == "ESTABLISHED" for one in found)


def test_silent_connections_keep_nobody_out(tmp_path: Path) -> None:
    with contextlib.ExitStack() as stack:
        console = stack.enter_context(running_console(tmp_path, recorded=False))
        console.begin_live("lobby")
        guard = stack.enter_context(console.signed_in("guard"))
        assert guard.get("/api/cameras").status_code == 200
        cookie = f"bauta_session={guard.cookies['bauta_session']}"
        url = f"ws://127.0.0.1:{console.port}/api/cameras/lobby/live"
        wall = []
        for _ in range(24):
            socket_ = connect(
                url,
                origin=Origin(console.origin),
                additional_headers={"Cookie": cookie},
                proxy=None,
            )
            wall.append(stack.enter_context(socket_))
            wall[-1].recv(10)
        for _ in range(300):
            stack.enter_context(socket.create_connection(("127.0.0.1", console.port), 10))
        with console.anonymous() as client:
            assert client.get("/healthz").status_code == 200
        assert held(console.port) <= 24 + 1 + 32
        assert guard.get("/api/cameras").json()[0]["viewers"] == 24
        console.hub.end("lobby", "still here")
        for viewer in wall:
            while "still here" not in str(viewer.recv(10)):
                pass


def test_silence_before_tls_keeps_nobody_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cert, key = write_certificate(tmp_path)
    monkeypatch.setattr(server_module, "TLS_SECONDS", 2.0)
    trusted = ssl.create_default_context(cafile=str(cert))
    with contextlib.ExitStack() as stack:
        console = stack.enter_context(
            running_console(tmp_path, recorded=False, tls={"cert": cert, "key": key})
        )
        silent = [
            stack.enter_context(socket.create_connection(("127.0.0.1", console.port), 10))
            for _ in range(300)
        ]
        url = f"https://localhost:{console.port}/healthz"
        assert httpx.get(url, verify=trusted, trust_env=False).status_code == 200
        assert held(console.port) <= 32
        with contextlib.suppress(ConnectionError):
            assert silent[-1].recv(1) == b"", "the handshake does not come"


def test_as_many_files_may_be_open_as_the_system_allows(tmp_path: Path) -> None:
    before, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(900, hard), hard))
    try:
        run(plan_of(tmp_path))
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] == hard
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (before, hard))


def test_signals_stay_whose_they_were(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """uvicorn would take them, and end the process when it is done."""
    stop, seen = threading.Event(), []

    def handle(number: int, _frame: object) -> None:
        seen.append(number)
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setenv("BAUTA_STATE", str(tmp_path))
    try:
        # here in the main thread, as in the console's own process
        serve(
            plan_of(tmp_path),
            hub=LiveHub(),
            facts=CameraFacts(),
            stop=stop,
            ready=lambda _url: os.kill(os.getpid(), signal.SIGTERM),
        )
        assert [signal.getsignal(number) for number in before] == [handle, handle]
    finally:
        for number, old in before.items():
            signal.signal(number, old)
    assert seen == [signal.SIGTERM]


def test_demo_accounts_have_the_passwords_of_this_time(tmp_path: Path) -> None:
    for password in ("the first password", "the second password"):
        one = DemoAccount("visitor", password, ("requester",))
        with (
            running_console(tmp_path, recorded=False, demo=(one,)) as console,
            console.anonymous() as client,
        ):
            body = {"name": "visitor", "password": password}
            assert client.post("/api/session", json=body).status_code == 200
