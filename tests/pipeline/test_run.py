"""The cameras of `bauta run` and their console, without a detector: states, pauses, plans."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from pipeline import run as run_module
from pipeline.config import settings_from
from pipeline.counts import SessionCounts
from pipeline.errors import EncodeError, SettingsError
from pipeline.review.plan import ConsolePlan
from pipeline.run import STEADY_SECONDS, CameraSet, RunConsole, plan_of
from pipeline.session import CameraSession
from pipeline.settings import DETECTOR_PRESETS, DetectorSettings, Settings


@dataclass
class FakeSession:
    """Fails when told to."""

    counts: SessionCounts = field(default_factory=SessionCounts)
    live: bool = True
    failure: str | None = None
    stopped: bool = False
    evidence: None = None

    def start(self) -> None:
        self.counts.to_state("up")

    def wait(self, timeout_seconds: float) -> bool:
        if self.failure is not None:
            raise EncodeError(self.failure)
        return False

    def request_stop(self) -> None:
        self.stopped = True

    def stop(self) -> None:
        self.stopped = True


class FakeService:
    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def no_detector(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(run_module, "build_service", lambda _: FakeService())
    monkeypatch.setenv("BAUTA_STATE", str(tmp_path / "state"))


def settings(*cameras: str, **more: object) -> Settings:
    tree = [
        {
            "id": name,
            "source": "rtsp://h/c",
            "reconnect": {"first_pause": "1ms", "longest_pause": "20s"},
            "record": {"dir": f"rec/{name}"},
        }
        for name in cameras
    ]
    return settings_from({"cameras": tree, **more})


class Sessions:
    """Opens fakes, and remembers them."""

    def __init__(self) -> None:
        self.made: list[FakeSession] = []
        self.refusal: str | None = None

    def open(self, *_: object) -> CameraSession:
        if self.refusal is not None:
            raise EncodeError(self.refusal)
        self.made.append(FakeSession())
        return cast(CameraSession, self.made[-1])


def test_down_since_the_first_failure_and_not_since_the_newest_attempt(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    statuses: list[tuple[str, int | None]] = []

    def status(camera: str, session: Any, error: str | None, *, since_ms: int | None) -> None:
        statuses.append((camera, since_ms))

    monkeypatch.setattr(run_module, "camera_status", status)
    sessions = Sessions()
    sessions.refusal = "no encoder"
    before_ms = time.time_ns() // 1_000_000
    cameras = CameraSet(settings("a"), sessions.open)
    cameras.status()
    for _ in range(3):
        time.sleep(0.02)
        cameras.tend()
        cameras.status()
    assert len(set(statuses)) == 1
    since_ms = statuses[0][1]
    assert since_ms is not None and before_ms <= since_ms <= before_ms + 5000

    sessions.refusal = None
    deadline = time.monotonic() + 10
    while not sessions.made and time.monotonic() < deadline:
        cameras.tend()
    cameras.tend()  # it is up
    statuses.clear()
    cameras.status()
    assert statuses == [("a", None)]
    cameras.close()
    assert sessions.made[0].stopped


def test_a_failure_after_a_long_time_up_starts_small_again() -> None:
    sessions = Sessions()
    cameras = CameraSet(settings("a"), sessions.open)
    running = cameras._running["a"]
    running.backoff.failures = 10
    (session,) = sessions.made
    session.counts.since = time.monotonic() - STEADY_SECONDS + 5
    cameras.tend()
    assert running.backoff.failures == 10
    session.counts.since = time.monotonic() - STEADY_SECONDS
    cameras.tend()
    assert running.backoff.failures == 0
    session.counts.to_state("down", "no route")  # it reconnects by itself: not ours to count
    running.backoff.failures = 3
    session.counts.since = time.monotonic() - 2 * STEADY_SECONDS
    cameras.tend()
    assert running.backoff.failures == 3


def test_the_console_is_told_names_and_folders_alone(tmp_path: Path) -> None:
    two = settings("b", "a", site="here")
    plan = plan_of(two)
    assert plan is not None
    assert (plan.site, plan.cameras) == ("here", ("b", "a"))
    assert plan.folders == (Path("rec/a").absolute(), Path("rec/b").absolute())
    assert plan.state_dir == tmp_path / "state"
    assert "rtsp" not in repr(plan)
    assert plan_of(settings("a", console=None)) is None


class FakeFeed:
    def __init__(self, plan: ConsolePlan) -> None:
        self.plans, self.heard, self.is_open = [plan], 0, False

    def start(self) -> None:
        self.is_open = True

    def set_plan(self, plan: ConsolePlan) -> None:
        self.plans.append(plan)

    def status(self, cameras: object) -> None:
        self.heard += 1

    def close(self) -> None:
        self.is_open = False


def test_the_console_follows_the_configuration(monkeypatch: pytest.MonkeyPatch) -> None:
    feeds: list[FakeFeed] = []

    def make(plan: ConsolePlan) -> FakeFeed:
        feeds.append(FakeFeed(plan))
        return feeds[-1]

    monkeypatch.setattr(run_module, "ConsoleFeed", make)
    monkeypatch.setattr(run_module, "camera_status", lambda *_, **__: None)
    first, none = settings("a"), settings("a", console=None)
    console = RunConsole(first)
    assert [feed.is_open for feed in feeds] == [True]

    cameras = CameraSet(first, Sessions().open)
    for _ in range(5):
        console.show(cameras)
    assert feeds[0].heard == 1  # once a second

    assert console.apply(settings("a", "b")) is False
    assert feeds[0].plans == [plan_of(first), plan_of(settings("a", "b"))]
    assert console.apply(none) is True  # sessions lose a sink
    assert [feed.is_open for feed in feeds] == [False]
    console.show(cameras)
    assert console.apply(none) is False
    assert console.apply(first) is True
    assert [feed.is_open for feed in feeds] == [False, True]
    console.close()
    console.close()
    assert [feed.is_open for feed in feeds] == [False, False]


def test_a_restart_stops_and_opens_every_camera() -> None:
    sessions = Sessions()
    cameras = CameraSet(settings("a", "b"), sessions.open)
    cameras.restart()
    assert [session.stopped for session in sessions.made] == [True, True, False, False]
    cameras.close()


def test_another_preset_opens_another_detector_and_every_camera_anew(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    opened: list[tuple[str, ...]] = []

    def build_service(detector: DetectorSettings) -> FakeService:
        if detector.model == "nope":
            raise SettingsError("detector.model: unknown model 'nope'")
        opened.append(detector.models)
        return FakeService()

    monkeypatch.setattr(run_module, "build_service", build_service)
    sessions = Sessions()
    cameras = CameraSet(settings("a"), sessions.open)
    cameras.apply(settings("a"))
    assert len(opened) == len(sessions.made) == 1
    cameras.apply(settings("a", detector={"preset": "thorough"}))
    cameras.apply(settings("a", detector={"preset": "thorough"}))
    assert opened == [DETECTOR_PRESETS["default"], DETECTOR_PRESETS["thorough"]]
    assert [session.stopped for session in sessions.made] == [True, False]
    with pytest.raises(SettingsError):
        cameras.apply(settings("a", detector={"model": "nope"}))
    assert not sessions.made[-1].stopped  # it goes on as it was
    cameras.close()
