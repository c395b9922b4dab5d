"""Live pictures over a real WebSocket."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any

import psutil
import pytest
from sqlalchemy import select
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect
from websockets.typing import Origin

from pipeline.review.api import live_socket, security
from pipeline.review.live.pieces import Fragment
from pipeline.review.store import accounts, sessions
from pipeline.review.store.tables import SESSIONS
from support.console import Client, Console, running_console
from support.live import levels, live_stream


@pytest.fixture(scope="module")
def console(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Console]:
    with running_console(tmp_path_factory.mktemp("console"), recorded=False) as running:
        yield running


@pytest.fixture(scope="module")
def guard(console: Console) -> Iterator[Client]:
    with console.signed_in("guard") as client:
        yield client


@pytest.fixture(autouse=True)
def quiet(console: Console) -> Iterator[None]:
    yield
    for camera in console.plan.cameras:
        console.hub.end(camera, "the test is over")


def watching(
    console: Console, client: Client | None, camera: str = "lobby", **more: Any
) -> ClientConnection:
    token = "" if client is None else client.cookies["bauta_session"]
    connection: ClientConnection = connect(
        f"ws://127.0.0.1:{console.port}/api/cameras/{camera}/live",
        origin=Origin(console.origin),
        additional_headers={"Cookie": f"bauta_session={token}"},
        proxy=None,
        max_size=None,
        **more,
    )
    return connection


def text(connection: ClientConnection) -> dict[str, Any]:
    data = connection.recv(10)
    assert isinstance(data, str)
    found: dict[str, Any] = json.loads(data)
    return found


def binary(connection: ClientConnection) -> bytes:
    data = connection.recv(10)
    assert isinstance(data, bytes)
    return data


def frames(connection: ClientConnection, count: int) -> list[int]:
    """Brightness of so many: how many of them come in one message is not said."""
    data = binary(connection) + binary(connection)
    while len(levels(data)) < count:
        data += binary(connection)
    return levels(data)


def shown(first: int, end: int) -> list[int]:
    """Brightness of those frames of `live_stream`, as `levels` measures it: 16 is black."""
    return [round((40 + frame - 16) * 255 / 219) for frame in range(first, end)]


def closing(connection: ClientConnection, seconds: float = 10) -> int:
    """The code, after whatever comes before it."""
    deadline = time.monotonic() + seconds
    with pytest.raises(ConnectionClosed) as caught:
        while True:
            connection.recv(max(deadline - time.monotonic(), 0.01))
    assert caught.value.rcvd is not None, "it was cut off"
    return caught.value.rcvd.code


def test_a_viewer_gets_a_playable_stream_at_once(console: Console, guard: Client) -> None:
    init, fragments = live_stream(25)
    console.hub.begin("lobby", init)
    for fragment in fragments[:15]:
        console.hub.publish("lobby", fragment)
    with watching(console, guard) as connection:
        assert connection.response is not None
        assert "Sec-WebSocket-Extensions" not in connection.response.headers, "no compression"
        assert text(connection) == {"mime": init.mime, "width": 256, "height": 192}
        data = binary(connection)
        assert data == init.data
        group = binary(connection)
        assert levels(data + group) == shown(10, 15), "since the last keyframe"
        assert console.hub.viewers("lobby") == 1
        for fragment in fragments[15:]:
            console.hub.publish("lobby", fragment)
        later = b""
        while len(levels(data + group + later)) < 15:
            later += binary(connection)
        assert levels(data + group + later) == shown(10, 25)
        assert [one["viewers"] for one in guard.get("/api/cameras").json()] == [1, 0]
    _until(lambda: console.hub.viewers("lobby") == 0)


def test_a_viewer_waits_and_takes_up_the_next_stream(console: Console, guard: Client) -> None:
    with watching(console, guard, "yard") as connection:
        assert text(connection)["state"] == "waiting"
        console.begin_live("yard", 10)
        assert "mime" in text(connection)
        assert frames(connection, 10) == shown(0, 10)
        console.hub.end("yard", "the camera was unplugged")
        assert text(connection) == {"state": "waiting", "reason": "the camera was unplugged"}
        console.begin_live("yard", 10)
        assert "mime" in text(connection)
        assert frames(connection, 10) == shown(0, 10)


def test_what_browsers_cannot_play_is_said(console: Console, guard: Client) -> None:
    console.hub.refuse("lobby", "H.265 does not play in browsers")
    with watching(console, guard) as connection:
        assert text(connection) == {"state": "refused", "reason": "H.265 does not play in browsers"}
        assert closing(connection) == 4406
    console.begin_live("lobby")
    with watching(console, guard) as connection:
        assert "mime" in text(connection)
        console.hub.refuse("lobby", "now it is H.265")
        assert closing(connection) == 4406


def test_who_may_not_see_it(console: Console, guard: Client) -> None:
    with watching(console, None) as connection:
        assert closing(connection) == 4401
    for camera in ("vault", "attic"):
        with watching(console, guard, camera) as connection:
            assert closing(connection) == 4404


@pytest.mark.parametrize("origin", [None, "http://evil.example", "null"])
def test_pages_of_others_get_no_pictures(
    console: Console, guard: Client, origin: str | None
) -> None:
    """Not even a handshake: the cookie alone says nothing about who asks."""
    headers = {"Cookie": f"bauta_session={guard.cookies['bauta_session']}"}
    url = f"ws://127.0.0.1:{console.port}/api/cameras/lobby/live"
    with (
        pytest.raises(InvalidStatus) as refused,
        connect(
            url,
            origin=None if origin is None else Origin(origin),
            additional_headers=headers,
            proxy=None,
        ),
    ):
        pass
    assert refused.value.response.status_code == 403
    assert list(json.loads(refused.value.response.body or b"")) == ["error"]


def test_the_picture_ends_with_the_session(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_socket, "SESSION_SECONDS", 0.1)
    console.begin_live("lobby")
    with console.signed_in("guard") as client, watching(console, client) as connection:
        text(connection)
        assert client.delete("/api/session").status_code == 204
        assert closing(connection) == 4401


def test_the_picture_ends_with_the_permission(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_socket, "SESSION_SECONDS", 0.1)
    console.begin_live("lobby")
    with console.database() as database:
        accounts.create(database, "temp", "temp password", cameras=["lobby"], now_ms=1)
        with console.anonymous() as client:
            client.post("/api/session", json={"name": "temp", "password": "temp password"})
            with watching(console, client) as connection:
                text(connection)
                accounts.change(database, "temp", disabled=True)
                assert closing(connection) == 4401


def test_watching_counts_as_activity(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_socket, "SESSION_SECONDS", 0.05)
    later = [0]  # ms; a session ends after an hour without a word
    monkeypatch.setattr(security, "now_ms", lambda: time.time_ns() // 1_000_000 + later[0])
    console.begin_live("lobby")
    with console.signed_in("guard") as client, console.database() as database:
        token = client.cookies["bauta_session"]

        def seen_ms() -> int:
            with database.read() as connection:
                hashed = sessions.token_hash(token)
                statement = select(SESSIONS.c.seen_ms).where(SESSIONS.c.token_sha256 == hashed)
                return int(connection.scalar(statement) or 0)

        with watching(console, client) as connection:
            text(connection)
            for _ in range(3):
                before = seen_ms()
                later[0] += 50 * 60_000
                _until(lambda before=before: seen_ms() >= before + 49 * 60_000)  # type: ignore[misc]
            assert client.get("/api/session").status_code == 200
        _until(lambda: console.hub.viewers("lobby") == 0)
        later[0] += 61 * 60_000
        assert client.get("/api/session").status_code == 401


def test_only_so_many_watch(
    console: Console, guard: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_socket, "MOST_VIEWERS_OF_USER", 2)
    monkeypatch.setattr(live_socket, "MOST_VIEWERS", 3)
    console.begin_live("lobby")
    with contextlib.ExitStack() as stack:
        for _ in range(2):
            assert "mime" in text(stack.enter_context(watching(console, guard)))
        with watching(console, guard) as third:
            assert text(third)["state"] == "waiting"
            assert closing(third) == 1013
        root = stack.enter_context(console.signed_in("root"))
        assert "mime" in text(stack.enter_context(watching(console, root)))
        with watching(console, root) as fourth:
            assert closing(fourth) == 1013
    _until(lambda: console.hub.viewers("lobby") == 0)
    with watching(console, guard) as again:
        assert "mime" in text(again)


def test_a_client_that_talks_too_much_is_closed(console: Console, guard: Client) -> None:
    console.begin_live("lobby")
    with watching(console, guard) as connection:
        text(connection)
        connection.send("what is said here is passed over")
        connection.send(b"x" * 10_000)
        assert closing(connection) == 1009


def test_a_client_that_takes_nothing_is_cut_off_and_nobody_waits_for_it(
    console: Console, guard: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_socket, "SEND_SECONDS", 0.5)
    init, fragments = live_stream(10)
    console.hub.begin("lobby", init)
    large = Fragment(fragments[0].data + b"\x00\x00\x00\x08free" * 60_000, is_keyframe=True)
    with socket.create_connection(("127.0.0.1", console.port), 20) as stuck:
        stuck.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        lines = [
            "GET /api/cameras/lobby/live HTTP/1.1",
            f"Host: 127.0.0.1:{console.port}",
            f"Origin: {console.origin}",
            f"Cookie: bauta_session={guard.cookies['bauta_session']}",
            "Connection: Upgrade",
            "Upgrade: websocket",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
        ]
        stuck.sendall("\r\n".join([*lines, "", ""]).encode())
        _until(lambda: console.hub.viewers("lobby") == 1)
        with watching(console, guard) as other:
            text(other)
            binary(other)
            deadline = time.monotonic() + 15
            while console.hub.viewers("lobby") == 2:
                assert time.monotonic() < deadline, "it is still there"
                console.hub.publish("lobby", large)
                assert len(binary(other)) >= len(large.data), "others go on"
        ours = stuck.getsockname()[1]
        _until(lambda: ours not in {one.raddr.port for one in _connections(console)})


def _connections(console: Console) -> list[Any]:
    """The server's ends of those that it holds."""
    held = psutil.Process().net_connections("tcp")
    return [one for one in held if one.laddr.port == console.port and one.raddr]


def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.01)
