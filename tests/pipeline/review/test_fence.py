"""Whoever breaks into the console's process: what is in reach, tried from inside a real one."""

from __future__ import annotations

import errno
import logging
import os
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from pipeline.review import feed as feed_module
from pipeline.review.feed import ConsoleFeed
from pipeline.review.fence import _server
from pipeline.review.plan import ConsolePlan
from pipeline.review.store.database import Database
from pipeline.review.store.recordings import known_segments
from pipeline.runtime.landlock import SCOPE_ABI, landlock_abi
from pipeline.settings import ConsoleSettings, TlsSettings
from pipeline.vault.audit import audit_path, verify
from pipeline.vault.signing import load_public, service_key
from support.certificate import write_certificate
from support.clips import make_clip
from support.console import CAMERAS, PEOPLE, START_MS, make_recordings, prepare
from support.flow import wait_for

INTRUDER = (sys.executable, "-P", str(Path(__file__).parents[2] / "support" / "intruder.py"))
DENIED = (errno.EACCES, errno.EPERM)
pytestmark = pytest.mark.skipif(landlock_abi() < SCOPE_ABI, reason="needs Landlock of Linux 6.12")


@dataclass(frozen=True)
class BrokenInto:
    """A console that does what it is told to."""

    client: httpx.Client
    plan: ConsolePlan
    folder: Path

    def do(self, deed: str, **said: object) -> Any:
        """What came of it; raises OSError with the number that it had there."""
        done, result = self.client.get("/", params={"do": deed, **map_text(said)}).json()
        if not done:
            raise OSError(result, deed)
        return result

    def is_denied(self, deed: str, **said: object) -> bool:
        try:
            self.do(deed, **said)
        except OSError as error:
            return error.errno in DENIED
        return False


def map_text(values: dict[str, object]) -> dict[str, str]:
    return {name: str(value) for name, value in values.items()}


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@contextmanager
def fed(plan: ConsolePlan, command: tuple[str, ...] = feed_module.COMMAND) -> Iterator[ConsoleFeed]:
    feed = ConsoleFeed(plan, command=command)
    feed.start()
    try:
        yield feed
    finally:
        feed.close()


@pytest.fixture(scope="module")
def intruder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokenInto]:
    folder = tmp_path_factory.mktemp("site")
    state, recordings = folder / "state", folder / "recordings"
    recordings.mkdir()
    service_key(state / "service.key")
    for name in ("bauta.yaml", "lobby.password", "officer.key", "recordings/lobby_1.mp4"):
        (folder / name).write_text(f"this is {name}")
    plan = ConsolePlan(
        site="here",
        settings=ConsoleSettings(port=free_port()),
        state_dir=state,
        cameras=(),
        folders=(recordings,),
    )
    with fed(plan, INTRUDER) as feed, httpx.Client(base_url=feed.wait_ready(60)) as client:
        yield BrokenInto(client, plan, folder)


@pytest.fixture
def camera() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(0.2)
        yield listener


def test_what_it_needs_is_there(intruder: BrokenInto) -> None:
    own = intruder.plan.own_dir
    intruder.do("write", path=own / "made")
    intruder.do("move", path=own / "made", to=own / "moved")
    intruder.do("remove", path=own / "moved")
    intruder.do("write", path=own / "readable")
    assert intruder.do("read", path=intruder.folder / "recordings" / "lobby_1.mp4") == (
        "this is recordings/l"
    )
    assert intruder.do("list", path=intruder.folder / "recordings") == ["lobby_1.mp4"]
    intruder.do("append", path=intruder.plan.state_dir / "audit.jsonl")
    assert intruder.do("threads") >= 3
    assert intruder.do("run", path=own / "readable") == 0
    with pytest.raises(OSError, match="listen") as caught:
        intruder.do("listen", port=intruder.plan.settings.port)
    assert caught.value.errno == errno.EADDRINUSE  # by itself
    for path in ("/proc/self/status", "/etc/hosts", "/dev/urandom", os.__file__):
        assert intruder.do("read", path=path)


@pytest.mark.parametrize(
    "path", ["state/service.key", "bauta.yaml", "lobby.password", "officer.key"]
)
def test_no_secret_can_be_read(intruder: BrokenInto, path: str) -> None:
    whole = intruder.folder / path
    assert whole.exists()
    own = intruder.plan.own_dir / "stolen"
    for deed in ("read", "append", "remove", "write"):
        assert intruder.is_denied(deed, path=whole), deed
    for deed in ("move", "link"):
        with pytest.raises(OSError, match=deed):  # across file systems it is another error
            intruder.do(deed, path=whole, to=own)
    assert intruder.do("run", path=whole) == 1, "a program of its own could read it"
    assert whole.exists() and not own.exists()


def test_recordings_stay_as_they_are(intruder: BrokenInto) -> None:
    path = intruder.folder / "recordings" / "lobby_1.mp4"
    for deed in ("write", "append", "remove"):
        assert intruder.is_denied(deed, path=path), deed
    assert intruder.is_denied("write", path=path.with_name("new.mp4"))
    assert intruder.is_denied("list", path=intruder.folder)
    assert intruder.is_denied("write", path=intruder.folder / "new")
    assert intruder.is_denied("read", path="/etc/shadow")
    assert path.read_text() == "this is recordings/lobby_1.mp4"


@pytest.mark.parametrize("way", ["connect", "mptcp", "fast_open", "datagram"])
def test_no_camera_can_be_reached(intruder: BrokenInto, camera: socket.socket, way: str) -> None:
    port = camera.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)):  # it is there
        camera.accept()[0].close()
    assert intruder.is_denied(way, port=port)
    with pytest.raises(TimeoutError):
        camera.accept()


def test_no_other_program_can_be_reached(intruder: BrokenInto, tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as named, socket.socket(socket.AF_UNIX) as abstract:
        named.bind(str(tmp_path / "s"))
        abstract.bind(f"\0{tmp_path.name}")
        named.listen()
        abstract.listen()
        assert intruder.is_denied("named", path=tmp_path / "s")
        assert intruder.is_denied("abstract", path=tmp_path.name)
    assert intruder.is_denied("listen", port=free_port())


def test_the_cameras_process_is_left_alone(intruder: BrokenInto) -> None:
    us = os.getpid()
    for deed in ("signal", "limit", "slow"):
        assert intruder.is_denied(deed, pid=us), deed
    for name in ("environ", "maps", "mem", "fd/0", "root/etc/hosts"):
        assert intruder.is_denied("read", path=f"/proc/{us}/{name}"), name


# --- what the real one still does ---


@contextmanager
def real_console(folder: Path) -> Iterator[tuple[ConsoleFeed, ConsolePlan, Callable[..., Any]]]:
    """With TLS, recordings and accounts; the function signs in."""
    cert, key = write_certificate(folder)
    recordings = folder / "recordings"
    recordings.mkdir()
    make_recordings(recordings)
    # one that no browser plays as it is: a copy is made
    make_clip(recordings / "a.mkv", frames=30, size=(320, 240), face_px=40)
    plan = ConsolePlan(
        site="North",
        settings=ConsoleSettings(port=free_port(), tls=TlsSettings(cert=cert, key=key)),
        state_dir=folder / "state",
        cameras=CAMERAS,
        folders=(recordings,),
    )
    prepare(plan)
    with fed(plan) as feed, ExitStack() as stack:
        url = feed.wait_ready(60)
        assert url.startswith("https://127.0.0.1:")

        def sign_in(name: str) -> httpx.Client:
            client = stack.enter_context(httpx.Client(base_url=url, verify=False, timeout=60))
            password = PEOPLE[name].password
            given = client.post("/api/session", json={"name": name, "password": password})
            assert given.status_code == 200, given.text
            client.headers["X-CSRF-Token"] = given.json()["csrf"]
            return client

        yield feed, plan, sign_in


def id_of(plan: ConsolePlan, name: str) -> int:
    database = Database(None, plan.own_dir)
    try:
        known = {Path(path).name: one for path, one in known_segments(database).items()}
        return known[name].id
    finally:
        database.close()


@pytest.mark.slow
@pytest.mark.untimed
@pytest.mark.timeout(180)
def test_the_real_console_does_all_that_it_should(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("BAUTA_STATE", str(tmp_path / "state"))
    with real_console(tmp_path) as (feed, plan, sign_in):
        guard, chief = sign_in("guard"), sign_in("chief")
        span = {"camera": "lobby", "from_ms": START_MS, "to_ms": START_MS + 3000}
        people = guard.get("/api/people?cameras=lobby&sort=time").json()["people"]
        picture = guard.get(f"/api/people/{people[0]['id']}/thumbnail.jpg")
        assert picture.status_code == 200 and picture.content.startswith(b"\xff\xd8")
        made = guard.post("/api/exports", json=span)
        assert made.status_code == 201, made.text
        assert len(guard.get(made.json()["url"]).content) == made.json()["bytes"]
        query = {name: str(value) for name, value in span.items()}
        (first, *_) = guard.get("/api/recordings", params=query).json()["segments"]
        media = guard.get(f"/api/recordings/{first['id']}/media")
        assert media.status_code == 200 and len(media.content) == first["bytes"]
        copied = sign_in("root").get(f"/api/recordings/{id_of(plan, 'a.mkv')}/media")
        assert copied.status_code == 200 and copied.content[4:8] == b"ftyp"
        assert list((plan.own_dir / "playable").glob("*/*.mp4"))
        body = {**span, "people": [people[0]["id"]], "case": "17/26", "reason": "theft"}
        asked = guard.post("/api/requests", json=body)
        assert asked.status_code == 201, asked.text
        number = asked.json()["id"]
        clip = guard.get(f"/api/requests/{number}/clip")
        assert clip.status_code == 200 and clip.content[4:8] == b"ftyp"
        refused = chief.post(f"/api/requests/{number}/refuse", json={"note": "no"})
        assert refused.status_code == 200, refused.text
        assert guard.get("/readyz").json()["database"]

        # a log that was moved aside is made anew by a new process
        pid = feed.pid
        audit_path().rename(tmp_path / "aside.jsonl")
        wait_for("its successor", lambda: feed.url is not None and feed.pid not in (None, pid))
        sign_in("guard")
        public = load_public(plan.own_dir / "console.pub")
        assert verify(tmp_path / "aside.jsonl", signers=[public]) >= 5
        assert verify(audit_path(), signers=[public]) == 1
    warnings = [line for line in caplog.messages if "not confined" in line or "can read" in line]
    assert warnings == []


def test_recordings_around_the_keys_are_warned_of(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    service_key(tmp_path / "state" / "service.key")
    plan = ConsolePlan(
        site="here",
        settings=ConsoleSettings(port=0),
        state_dir=tmp_path / "state",
        cameras=(),
        folders=(tmp_path,),
    )
    with fed(plan, INTRUDER) as feed:
        feed.wait_ready(60)
    said = capfd.readouterr().err
    assert said.count("the console can read") == 1 and "service.key" in said


def test_without_landlock_it_is_said_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("pipeline.runtime.confine.landlock_abi", lambda: 0)
    monkeypatch.setattr(feed_module, "PAUSES", feed_module.PAUSES.model_copy(
        update={"first_pause": 0.1, "longest_pause": 0.2}
    ))  # fmt: skip
    plan = ConsolePlan(
        site="here",
        settings=ConsoleSettings(port=0),
        state_dir=tmp_path,
        cameras=(),
        folders=(),
    )
    with caplog.at_level(logging.WARNING), fed(plan, INTRUDER) as feed:
        feed.wait_ready(60)
        pid = feed.pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        wait_for("its successor", lambda: feed.url is not None and feed.pid not in (None, pid))
    (line,) = (line for line in caplog.messages if "not confined" in line)
    assert line.startswith("the console is not confined: it can read what this user can: ")


# --- where PostgreSQL is ---


@pytest.mark.parametrize(
    ("url", "ports", "is_local"),
    [
        (None, (), False),
        ("postgresql://u:p@db/x", (5432,), False),
        ("postgresql://u:p@db:6000/x", (6000,), False),
        ("postgresql://u@[::1]:6000/x", (6000,), False),
        ("postgresql:///x", (), True),
        ("postgresql:///x?host=/run/postgresql", (), True),
        ("postgresql://u@/x?host=a:6001&host=b:6002", (6001, 6002), False),
        ("postgresql://u@/x?host=a,/run/pg&port=6001,6002", (6001, 6002), True),
        ("no url", (), False),
    ],
)
def test_where_postgresql_is(
    url: str | None, ports: tuple[int, ...], is_local: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PGHOST", "PGPORT"):
        monkeypatch.delenv(name, raising=False)
    server = _server(url)
    assert (server.ports, server.is_local) == (ports, is_local)


def test_files_of_postgresql(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("PGPASSFILE", "/run/pass")
    files = _server("postgresql://u@db/x?sslrootcert=/run/ca.pem").files
    assert {Path("/run/pass"), Path("/run/ca.pem"), tmp_path / ".pgpass"} <= set(files)
