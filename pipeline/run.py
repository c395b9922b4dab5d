"""`bauta run`: all cameras of a configuration; a changed configuration is taken up while running.

Each camera is a session of its own, restarted after a pause when it fails; they share one detector.
A configuration that does not load changes nothing: the cameras go on as they are. The console is a
process beside them; without it, and whatever happens to it, they go on.
"""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .build import build_evidence, build_service
from .config import load_settings
from .detect.service import DetectionService
from .errors import BautaError, SettingsError
from .publish.sink import Sink
from .review.feed import ConsoleFeed
from .review.plan import ConsolePlan
from .sealing import Site
from .session import CameraSession
from .settings import CameraSettings, Settings
from .source.backoff import Backoff
from .status import CameraStatus, camera_status
from .vault.audit import state_dir

CHECK_SECONDS = 1.0  # between two looks at the configuration file
STEADY_SECONDS = 60.0  # a camera that was up for so long has not failed to start
_log = logging.getLogger(__name__)

OpenSession = Callable[[CameraSettings, Settings, DetectionService], CameraSession]


def open_session(
    camera: CameraSettings,
    settings: Settings,
    service: DetectionService,
    *,
    extra_sinks: list[Sink] | None = None,
) -> CameraSession:
    """A camera's session, not started. Raises SinkError, VaultError, SettingsError."""
    return CameraSession(
        camera,
        detector=settings.detector,
        service=service,
        cameras=len(settings.cameras),
        extra_sinks=extra_sinks,
        evidence=build_evidence(camera, site_of(settings)),
    )


def site_of(settings: Settings) -> Site:
    """What all cameras have in common for evidence."""
    return Site(settings.site, settings.recipients, settings.service_key)


def plan_of(settings: Settings) -> ConsolePlan | None:
    """What the console is told; None where the configuration wants none."""
    if settings.console is None:
        return None
    folders = {camera.record.dir.absolute() for camera in settings.cameras if camera.record}
    return ConsolePlan(
        site=settings.site,
        settings=settings.console,
        state_dir=state_dir().absolute(),
        cameras=tuple(camera.id for camera in settings.cameras),
        folders=tuple(sorted(folders)),
    )


@dataclass(slots=True)
class _Running:
    """One configured camera: its session, or the pause before the next attempt."""

    settings: CameraSettings
    session: CameraSession | None
    backoff: Backoff
    retry_at: float = 0.0
    error: str | None = None
    down_since_ms: int | None = None  # Unix time; None: it is up, or has never failed

    def take_recipients(self, settings: Settings) -> None:
        """From the next epoch on, without a restart."""
        if self.session is not None and self.session.evidence is not None:
            self.session.evidence.set_recipients(settings.recipients)


class CameraSet:
    """The cameras that run now; `apply` moves them to a new configuration."""

    def __init__(self, settings: Settings, open_one: OpenSession = open_session) -> None:
        """Opens the detector. Raises SettingsError."""
        self.settings = settings
        self._open_one = open_one
        self._service = build_service(settings.detector)
        self._running: dict[str, _Running] = {}
        self.apply(settings)

    def apply(self, settings: Settings) -> None:
        """Stop what is gone or changed, start what is new. Untouched cameras do not notice."""
        if settings.detector != self.settings.detector:
            service = build_service(settings.detector)  # raises before anything is stopped
            for camera_id in list(self._running):
                self._stop(camera_id)
            self._service.close()
            self._service = service
        if (settings.site, settings.service_key) != (self.settings.site, self.settings.service_key):
            for camera_id, running in list(self._running.items()):
                if running.settings.evidence is not None:  # it signs in that name
                    self._stop(camera_id)
        self.settings = settings
        wanted = {camera.id: camera for camera in settings.cameras}
        for camera_id in list(self._running):
            if wanted.get(camera_id) != self._running[camera_id].settings:
                self._stop(camera_id)
        for camera_id, camera in wanted.items():
            if camera_id in self._running:
                self._running[camera_id].take_recipients(settings)
            else:
                _log.info("%s: starts", camera_id)
                self._running[camera_id] = _Running(camera, None, Backoff(camera.reconnect))
        self.tend()

    def tend(self) -> None:
        """Start what is due, notice what has failed. Call it often; never raises."""
        now = time.monotonic()
        for camera_id, running in self._running.items():
            if running.session is None:
                if now >= running.retry_at:
                    self._start(camera_id, running)
                continue
            try:
                if not running.session.wait(0):
                    _note_up(running, now)
                    continue
                running.error = None  # a file that has been read to its end
                if running.session.live:
                    self._rest(running, "ended")
            except BautaError as error:
                _log.warning("%s: %s; starting again", camera_id, error)
                self._rest(running, str(error))

    @property
    def finished(self) -> bool:
        """True once every camera is a file that has come to its end."""
        return all(
            running.session is not None and running.session.counts.state == "ended"
            for running in self._running.values()
        )

    def status(self) -> list[CameraStatus]:
        """One line of facts per camera."""
        return [
            camera_status(camera_id, running.session, running.error, since_ms=running.down_since_ms)
            for camera_id, running in self._running.items()
        ]

    def restart(self) -> None:
        """All cameras anew: something that each session got at its beginning has changed."""
        for camera_id in list(self._running):
            self._stop(camera_id)
        self.apply(self.settings)

    def close(self) -> None:
        """Stop all cameras at once, then the detector."""
        sessions = [running.session for running in self._running.values() if running.session]
        for session in sessions:
            session.request_stop()
        for session in sessions:
            session.stop()
        self._running.clear()
        self._service.close()

    def _start(self, camera_id: str, running: _Running) -> None:
        try:
            running.session = self._open_one(running.settings, self.settings, self._service)
        except BautaError as error:
            _log.warning("%s: %s", camera_id, error)
            self._rest(running, str(error))
            return
        running.session.start()

    def _rest(self, running: _Running, error: str) -> None:
        running.session, running.error = None, error
        if running.down_since_ms is None:
            running.down_since_ms = time.time_ns() // 1_000_000
        running.retry_at = time.monotonic() + running.backoff.next_pause_seconds()

    def _stop(self, camera_id: str) -> None:
        _log.info("%s: stops", camera_id)
        running = self._running.pop(camera_id)
        if running.session is not None:
            running.session.stop()


def _note_up(running: _Running, now: float) -> None:
    """A camera that is there again is no longer down; its next failure starts small again."""
    assert running.session is not None
    counts = running.session.counts
    if counts.state == "up":
        running.down_since_ms = None
        if now - counts.since >= STEADY_SECONDS:
            running.backoff.succeeded()


class RunConsole:
    """The console of `bauta run`, where its configuration wants one."""

    def __init__(self, settings: Settings) -> None:
        """Starts it."""
        self._feed: ConsoleFeed | None = None
        self._status_due = 0.0
        self.apply(settings)

    def open_session(
        self, camera: CameraSettings, settings: Settings, service: DetectionService
    ) -> CameraSession:
        """See the function of that name; the session's pictures go to the console too."""
        sinks = [self._feed.sink(camera.id)] if self._feed else None
        return open_session(camera, settings, service, extra_sinks=sinks)

    def apply(self, settings: Settings) -> bool:
        """Take up a configuration; True where sessions must begin anew: there is a console now,
        or none any more.
        """
        plan = plan_of(settings)
        if self._feed is not None and plan is not None:
            self._feed.set_plan(plan)
            return False
        had_one = self._feed is not None
        self.close()
        if plan is not None:
            self._feed = ConsoleFeed(plan)
            self._feed.start()
        return had_one != (plan is not None)

    def show(self, cameras: CameraSet) -> None:
        """Once a second at most: what the cameras do."""
        if self._feed is not None and time.monotonic() >= self._status_due:
            self._status_due = time.monotonic() + CHECK_SECONDS * 0.9
            self._feed.status(cameras.status())

    def close(self) -> None:
        """Stop it. Idempotent."""
        if self._feed is not None:
            self._feed.close()
            self._feed = None


def run_config(config: Path, *, as_json: bool, status_every_seconds: float) -> int:
    """Until SIGINT or SIGTERM, or until all sources are files that have ended."""
    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    settings = load_settings(config)
    if not settings.cameras:
        raise SettingsError(f"{config}: cameras is empty; add at least one with id and source")
    if any(camera.evidence is not None for camera in settings.cameras):
        site_of(settings).signing_key()  # without it no camera can start, now or later
    watch = ConfigWatch(config)
    next_status = time.monotonic() + status_every_seconds
    console = RunConsole(settings)
    try:
        cameras = CameraSet(settings, console.open_session)
    except BautaError:
        console.close()
        raise
    try:
        while not stop.wait(min(CHECK_SECONDS, status_every_seconds)):
            if (changed := watch.changed()) is not None:
                _take_up(cameras, console, changed)
            cameras.tend()
            console.show(cameras)
            if time.monotonic() >= next_status:
                next_status = time.monotonic() + status_every_seconds
                show_status(cameras.status(), as_json=as_json)
            if cameras.finished:
                break
        show_status(cameras.status(), as_json=as_json)
    finally:
        cameras.close()
        console.close()
    return 0


class ConfigWatch:
    """Notices that a file has changed and now loads."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._seen = self._stamp()

    def changed(self) -> Settings | None:
        """The new settings, once per change; a file that does not load is said and left alone."""
        stamp = self._stamp()
        if stamp == self._seen:
            return None
        self._seen = stamp
        try:
            return load_settings(self._path)
        except SettingsError as error:
            _log.error("configuration not taken up: %s", error)
            return None

    def _stamp(self) -> tuple[int, int, int] | None:
        try:
            stat = self._path.stat()
        except OSError:
            return None
        return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _take_up(cameras: CameraSet, console: RunConsole, settings: Settings) -> None:
    if not settings.cameras:
        _log.error("configuration not taken up: cameras is empty")
        return
    try:
        cameras.apply(settings)
        if console.apply(settings):
            cameras.restart()
        _log.warning("configuration taken up: %d cameras", len(settings.cameras))
    except BautaError as error:
        _log.error("configuration not taken up: %s", error)


def show_status(status: list[CameraStatus], *, as_json: bool) -> None:
    """One line per camera on standard output. A reader that went away ends no camera."""
    try:
        for camera in status:
            print(json.dumps(camera.as_dict()) if as_json else camera.as_line())
        sys.stdout.flush()
    except BrokenPipeError:
        _log.warning("nobody reads the status lines any more; the cameras go on")
        with open(os.devnull, "w", encoding="utf-8") as nowhere:  # noqa: PTH123 -- a device
            os.dup2(nowhere.fileno(), sys.stdout.fileno())
