"""`bauta demo`: a simulated camera, the real live path, and a page that shows what comes out.

Nothing from outside is needed: camera, service and browser talk over 127.0.0.1 alone.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
import time
import webbrowser
from contextlib import ExitStack
from pathlib import Path

import cv2
from rich.console import Console
from rich.live import Live
from rich.text import Text

from .build import build_service
from .compose.gate import ProtectedFrame
from .errors import SourceError, UsageError
from .publish.sink import Sink
from .review.live_mp4 import LiveMp4
from .review.server import PageServer
from .runtime.signals import stop_signals
from .session import CameraSession
from .settings import CameraSettings, DetectorSettings, EncodeSettings
from .source.scene import Scene
from .source.simulated_camera import SimulatedCamera
from .status import camera_status

WIDTH_PX, HEIGHT_PX, FPS, FACES = 1280, 720, 25, 3
SNAPSHOT_AFTER_SECONDS = 4.0  # everybody is in the picture, and a visitor has just looked up
POLL_SECONDS = 0.25
PLAIN_STATUS_SECONDS = 10.0  # between two lines where the output is no terminal
_log = logging.getLogger(__name__)


def run_demo(*, port: int, open_browser: bool, seconds: float | None, snapshot: Path) -> int:
    """Until SIGINT or SIGTERM, or for `seconds`. Raises BautaError."""
    _check_snapshot(snapshot)
    latest, live = LatestFrame(), LiveMp4()
    console = Console(highlight=False)
    with ExitStack() as stack:
        stop = threading.Event()
        stack.enter_context(stop_signals(stop.set))
        # bound before the slow parts: a taken port is said at once
        session: CameraSession | None = None
        page = PageServer(
            port=port,
            live=live,
            status=lambda: camera_status("demo", session).as_dict(),
            snapshot=latest.png,
        )
        stack.callback(page.close)
        detector = DetectorSettings()
        service = build_service(detector)
        stack.callback(service.close)
        scene = Scene(width_px=WIDTH_PX, height_px=HEIGHT_PX, fps=FPS, faces=FACES, seed=1)
        try:
            camera = stack.enter_context(SimulatedCamera(scene))
        except OSError as error:
            raise SourceError(f"the simulated camera cannot start: {error.strerror}") from error
        session = CameraSession(
            CameraSettings(id="demo", source=camera.url, encode=EncodeSettings(gop=1.0)),
            detector=detector,
            service=service,
            extra_sinks=[Sink("browser", live.open_writer, live=True)],
            on_frame=latest.keep,
        )
        stack.callback(session.stop)
        session.start()
        page.start()
        _introduce(console, camera.url, page.url, snapshot)
        if open_browser:
            _open_browser(page.url)
        _watch(console, session, latest, stop, seconds, snapshot)
    _say_goodbye(console, session, latest, snapshot)
    return 0


class LatestFrame:
    """The newest protected picture worth showing; as PNG only when somebody asks."""

    def __init__(self) -> None:
        self._frame: ProtectedFrame | None = None

    def keep(self, frame: ProtectedFrame) -> None:
        """Called for every frame. One with hidden faces is not replaced by one without."""
        best = self._frame
        if best is None or best.faces == 0 or (frame.faces > 0 and frame.redacted is None):
            self._frame = frame

    def png(self) -> bytes | None:
        """None before the first frame."""
        if (frame := self._frame) is None:
            return None
        done, encoded = cv2.imencode(".png", frame.image.to_ndarray(format="bgr24"))
        return encoded.tobytes() if done else None

    def write(self, path: Path) -> bool:
        """Whole or not at all; False before the first frame, or where the disk refused."""
        if (png := self.png()) is None:
            return False
        part = path.with_name(path.name + ".part")
        try:
            part.write_bytes(png)
            part.replace(path)
        except OSError as error:
            _log.warning("%s: %s", path, error.strerror)
            part.unlink(missing_ok=True)
            return False
        return True


def _check_snapshot(path: Path) -> None:
    if path.suffix.lower() != ".png":
        raise UsageError(f"--snapshot must end in .png, got {path.name}")
    if not path.parent.is_dir():
        raise UsageError(f"--snapshot: {path.parent} is no folder")
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise UsageError(f"--snapshot: {path} cannot be written; name another file")


def _introduce(console: Console, camera_url: str, page_url: str, snapshot: Path) -> None:
    picture = f"{WIDTH_PX}x{HEIGHT_PX}, {FPS} frames/s, {FACES} faces"
    for line in (
        f"Simulated camera  {camera_url}  ({picture})",
        f"Protected, live   {page_url}",
        f"Snapshot          {snapshot}  (soon, and again at the end)",
        "Ctrl-C stops.",
    ):
        _print(console, line)
    sys.stdout.flush()


def _print(console: Console, line: str) -> None:
    """As it is: a URL must not be broken into two lines."""
    console.print(line, markup=False, soft_wrap=True)


def _open_browser(url: str) -> None:
    """On a desktop only: browsers refuse root, and a text browser would take the terminal."""
    desktop = sys.platform == "darwin" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))
    if not desktop or os.geteuid() == 0:
        return

    def show() -> None:
        try:
            webbrowser.open(url)
        except (webbrowser.Error, OSError) as error:
            _log.info("no browser could be opened: %s", error)

    threading.Thread(target=show, name="open browser", daemon=True).start()


def _watch(
    console: Console,
    session: CameraSession,
    latest: LatestFrame,
    stop: threading.Event,
    seconds: float | None,
    snapshot: Path,
) -> None:
    """Show the status until it is time to end. Raises the BautaError that ended the session."""
    started = time.monotonic()
    snapshot_due = started + SNAPSHOT_AFTER_SECONDS
    line_due = started + PLAIN_STATUS_SECONDS
    with Live(console=console, auto_refresh=False, transient=True) as shown:
        while not stop.wait(POLL_SECONDS):
            now = time.monotonic()
            if seconds is not None and now - started >= seconds:
                return
            if session.wait(0):
                raise SourceError("the simulated camera has ended by itself")
            if now >= snapshot_due:
                # one is enough: on a busy machine the first frame may come late
                snapshot_due = float("inf") if latest.write(snapshot) else now + 1.0
            if console.is_terminal:
                shown.update(
                    Text(_status_line(session), overflow="ellipsis", no_wrap=True), refresh=True
                )
            elif now >= line_due:
                line_due = now + PLAIN_STATUS_SECONDS
                _print(console, _status_line(session))


def _status_line(session: CameraSession) -> str:
    return camera_status("demo", session).as_line()


def _say_goodbye(
    console: Console, session: CameraSession, latest: LatestFrame, snapshot: Path
) -> None:
    counts = session.counts
    obscured = sum(session.redactions().values())
    faces = counts.face_frames / max(counts.frames_out, 1)
    line = f"Stopped: {counts.frames_out} frames, {faces:.1f} faces hidden in each"
    line += f", {obscured} frames obscured whole" if obscured else ""
    line += f"; {snapshot} shows how it looks" if latest.write(snapshot) else ""
    _print(console, f"{line}.")
