"""A whole console on a free port: real sockets, a temporary database, made recordings, accounts.

with running_console(tmp_path) as console, console.signed_in("guard") as client:
    client.get("/api/cameras")
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

import httpx

from pipeline.frames import TrackBox
from pipeline.presence import RecordingSession
from pipeline.publish.segments import SegmentWriter
from pipeline.review.index.indexer import Indexer
from pipeline.review.live.facts import CameraFact, CameraFacts
from pipeline.review.live.hub import LiveHub
from pipeline.review.passwords import hash_password
from pipeline.review.plan import ConsolePlan, DemoAccount
from pipeline.review.server import serve
from pipeline.review.store import accounts, sessions
from pipeline.review.store.database import Database, insert
from pipeline.review.store.tables import USERS
from pipeline.settings import ConsoleSettings, RecordSettings
from pipeline.status import SinkStatus, camera_status

from .live import FPS, encoded, live_stream

SITE = "North"
CAMERAS = ("lobby", "yard", "vault")
SEGMENT_SECONDS = 1.2
RECORDED_FRAMES = 75  # 3 s: three files of each camera
START_MS = 1_795_000_000_000  # 2026-11-18T09:06:40Z: where the recordings begin
WAIT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Somebody:
    """An account of every test console; all of them are viewers."""

    roles: tuple[str, ...]
    cameras: tuple[str, ...] | None
    password: str = field(repr=False)


PEOPLE: Mapping[str, Somebody] = {
    "guard": Somebody(("requester",), ("lobby", "yard"), "guard password 1"),
    "chief": Somebody(("approver",), ("lobby", "yard"), "chief password 1"),
    "root": Somebody(("admin",), None, "root password 12"),
    "looker": Somebody((), ("lobby",), "looker password"),
}
TRACKS: Mapping[str, tuple[int, ...]] = {"lobby": (1, 2), "yard": (1,), "vault": (7,)}
"""Who is in each camera's recordings, all of the time; track 2 from the second file on."""


class Client(httpx.Client):
    """May be used before its `with`, which httpx would refuse."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True)
class Console:
    """One that runs. Stop it with `stop`, or by leaving `running_console`."""

    url: str  # ends with a slash
    plan: ConsolePlan
    hub: LiveHub
    facts: CameraFacts
    stop: threading.Event
    thread: threading.Thread

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    @property
    def origin(self) -> str:
        return self.url.rstrip("/")

    @property
    def recordings(self) -> Path:
        return self.plan.folders[0]

    def anonymous(self, *, address: str | None = None, **more: Any) -> Client:
        """`address`: which one of this machine's it comes from; failures are counted by them."""
        # loading the world's certificates for http takes longer than the requests
        more.setdefault("verify", False)
        if address is not None:
            more["transport"] = httpx.HTTPTransport(local_address=address)
        return Client(base_url=self.url, timeout=30, trust_env=False, **more)

    def signed_in(self, name: str, **more: Any) -> Client:
        """A client with that person's session and CSRF header.

        The session is opened in the database: hashing a password takes 0.2 s of a core.
        """
        client = self.anonymous(**more)
        with self.database() as database:
            account = accounts.get(database, name)
            assert account is not None, name
            token, session = sessions.open(
                database, account, time.time_ns() // 1_000_000, longest_ms=12 * 3_600_000
            )
        secure = self.plan.settings.tls is not None
        client.cookies.set("__Host-bauta_session" if secure else "bauta_session", token)
        client.headers["X-CSRF-Token"] = session.csrf
        return client

    @contextmanager
    def database(self) -> Iterator[Database]:
        """A second look into the same one."""
        database = Database(self.plan.settings.database, self.plan.own_dir)
        try:
            yield database
        finally:
            database.close()

    def begin_live(self, camera: str, frames: int = 30) -> None:
        """A stream of `frames` frames, all of them at once; it does not end."""
        init, fragments = live_stream(frames)
        self.hub.begin(camera, init)
        for fragment in fragments:
            self.hub.publish(camera, fragment)


@contextmanager
def running_console(
    folder: Path,
    *,
    recorded: bool = True,
    demo: tuple[DemoAccount, ...] = (),
    cameras: tuple[str, ...] = CAMERAS,
    state_dir: Path | None = None,
    **settings: Any,
) -> Iterator[Console]:
    """Serves below `folder`; `settings` are of ConsoleSettings. Sets BAUTA_STATE meanwhile."""
    state = state_dir or folder / "state"
    recordings = folder / "recordings"
    recordings.mkdir(parents=True, exist_ok=True)
    state.mkdir(mode=0o700, parents=True, exist_ok=True)
    plan = ConsolePlan(
        site=SITE,
        settings=ConsoleSettings.model_validate({"port": 0, **settings}),
        state_dir=state,
        cameras=cameras,
        folders=(recordings,),
        demo=demo,
    )
    if recorded:
        make_recordings(recordings)
    prepare(plan)
    before = os.environ.get("BAUTA_STATE")
    os.environ["BAUTA_STATE"] = str(state)
    try:
        with _served(plan) as console:
            yield console
    finally:
        if before is None:
            del os.environ["BAUTA_STATE"]
        else:
            os.environ["BAUTA_STATE"] = before


def prepare(plan: ConsolePlan) -> None:
    """The accounts, and the index of what is recorded already."""
    database = Database(plan.settings.database, plan.own_dir)
    try:
        database.migrate()
        with database.write() as connection:
            for name, one in PEOPLE.items():
                values = {
                    "name": name,
                    "password_hash": _hashed(one.password),
                    "roles": " ".join(sorted(one.roles)),
                    "cameras": None if one.cameras is None else sorted(one.cameras),
                    "disabled": False,
                    "created_ms": START_MS,
                }
                statement = insert(connection, USERS).values(values)
                connection.execute(statement.on_conflict_do_nothing())
        indexer = Indexer(database, plan.folders, plan.cameras)
        deadline = time.monotonic() + WAIT_SECONDS
        while not indexer.step():
            assert time.monotonic() < deadline, indexer.state
    finally:
        database.close()


@cache
def _hashed(password: str) -> str:
    return hash_password(password)


def make_recordings(folder: Path) -> None:
    """Three files of each camera, as `bauta run` writes them, with who is in them beside."""
    templates, packets = encoded(RECORDED_FRAMES)
    for number, camera in enumerate(CAMERAS):
        if list(folder.glob(f"{camera}_*")):
            continue
        clock: list[float] = []
        settings = RecordSettings(dir=folder, segment=SEGMENT_SECONDS)
        session = RecordingSession(f"{number + 1:032x}", camera == "lobby", "h264")
        writer = SegmentWriter(camera, settings, templates, session=session, now=clock.pop)
        for packet in packets:
            seconds = float((packet.pts - packets[0].pts) * packet.time_base)
            clock[:] = [START_MS / 1000 + seconds] * 4  # more than it asks for
            boxes = tuple(
                TrackBox(track, (20 + 60 * index, 30, 40 + 10 * index, 50))
                for index, track in enumerate(TRACKS[camera])
                if index == 0 or seconds >= SEGMENT_SECONDS
            )
            writer.write(replace(packet, tracks=boxes, redacted=packet.frame < 5))
        writer.close()
    for path in folder.iterdir():  # nobody writes them any more
        os.utime(path, (START_MS / 1000, START_MS / 1000))


def a_fact(camera: str, **changes: Any) -> CameraFact:
    """A camera that is up."""
    status = camera_status(camera, None).as_dict() | {
        "state": "up",
        "since_ms": START_MS,
        "frames_in": 1000,
        "frames_out": 990,
        "frames_per_second": float(FPS),
        "faces": 2,
        "obscured": {"overload": 3},
        "dropped_raw": 6,
        "dropped_protected": 4,
        "looks": 250,
        "latency_p50_ms": 60.0,
        "latency_p95_ms": 90.0,
        "encoder": "libx264",
        "codec": "h264",
        "width": 256,
        "height": 192,
        "latency_buckets": {"50": 300, "100": 900, "+Inf": 990},
        "latency_sum_ms": 60_000.0,
    }
    fact = CameraFact.from_json({**status, "sinks": []})
    changes.setdefault("sinks", [SinkStatus("rtsp://***@nvr/one", "up", 990, 2, None)])
    return replace(fact, **changes)


@contextmanager
def _served(plan: ConsolePlan) -> Iterator[Console]:
    hub, facts, stop = LiveHub(), CameraFacts(), threading.Event()
    listens = threading.Event()
    urls: list[str] = []
    errors: list[BaseException] = []

    def ready(url: str) -> None:
        urls.append(url)
        listens.set()

    def run() -> None:
        try:
            serve(plan, hub=hub, facts=facts, stop=stop, ready=ready)
        except BaseException as error:
            errors.append(error)
        finally:
            listens.set()

    thread = threading.Thread(target=run, name="test console", daemon=True)
    thread.start()
    assert listens.wait(WAIT_SECONDS), "the console did not start"
    if errors:
        raise errors[0]
    try:
        yield Console(urls[0], plan, hub, facts, stop, thread)
    finally:
        stop.set()
        thread.join(WAIT_SECONDS)
        hub.close()
        assert not thread.is_alive(), "the console did not stop"
        if errors:
            raise errors[0]
