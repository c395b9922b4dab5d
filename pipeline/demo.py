"""`bauta demo`: a simulated camera, the real live path, and the review console over it.

Nothing from outside is needed: camera, service, console and browser talk over 127.0.0.1 alone. What
it makes (keys, recordings, accounts) lies in a folder of its own, which goes with it.
"""

from __future__ import annotations

import logging
import os
import secrets
import sys
import tempfile
import threading
import time
import webbrowser
from contextlib import ExitStack
from pathlib import Path

import cv2
from rich.console import Console
from rich.live import Live
from rich.text import Text

from .build import build_evidence, build_service
from .compose.gate import ProtectedFrame
from .errors import SourceError, UsageError
from .review.feed import ConsoleFeed
from .review.plan import ConsolePlan, DemoAccount
from .runtime.signals import stop_signals
from .sealing import Site
from .session import CameraSession
from .settings import (
    CameraSettings,
    ConsoleSettings,
    DetectorSettings,
    EncodeSettings,
    EvidenceSettings,
    GroupSettings,
    RecordSettings,
)
from .source.scene import Scene
from .source.simulated_camera import SimulatedCamera
from .status import camera_status
from .vault.identity import create_identity, public_path_of
from .vault.signing import service_key

CAMERA = "demo"
WIDTH_PX, HEIGHT_PX, FPS, FACES = 1280, 720, 25, 3
SEGMENT_SECONDS = 20.0  # soon there is something to review
RECORDINGS_BYTES = 2_000_000_000  # a demo that is forgotten must not fill the disk
GROUPS = ("officer", "approver")  # one key of each is needed: an approval is a lock
ROLES = {
    "guard": ("viewer", "requester"),
    "approver": ("viewer", "approver"),
    "admin": ("viewer", "admin"),
}
CONSOLE_START_SECONDS = 60.0  # a busy machine
SNAPSHOT_AFTER_SECONDS = 4.0  # everybody is in the picture, and a visitor has just looked up
POLL_SECONDS = 0.25
STATUS_SECONDS = 1.0  # between two words to the console
PLAIN_STATUS_SECONDS = 10.0  # between two lines where the output is no terminal
_log = logging.getLogger(__name__)


def run_demo(
    *,
    port: int,
    open_browser: bool,
    seconds: float | None,
    snapshot: Path,
    keep: Path | None = None,
) -> int:
    """Until SIGINT or SIGTERM, or for `seconds`. `keep`: the folder for what it makes, which then
    stays. Raises BautaError.
    """
    _check_snapshot(snapshot)
    latest = LatestFrame()
    console = Console(highlight=False)
    with ExitStack() as stack:
        stop = threading.Event()
        stack.enter_context(stop_signals(stop.set))
        folder = _folder(stack, keep)
        plan = plan_of(folder, port)
        feed = ConsoleFeed(plan, is_awaited=True)
        stack.callback(feed.close)
        feed.start()  # takes a while, beside all of this
        detector = DetectorSettings()
        service = build_service(detector)
        stack.callback(service.close)
        scene = Scene(width_px=WIDTH_PX, height_px=HEIGHT_PX, fps=FPS, faces=FACES, seed=1)
        try:
            camera = stack.enter_context(SimulatedCamera(scene))
        except OSError as error:
            raise SourceError(f"the simulated camera cannot start: {error.strerror}") from error
        settings = camera_settings(camera.url, folder)
        session = CameraSession(
            settings,
            detector=detector,
            service=service,
            extra_sinks=[feed.sink(CAMERA)],
            on_frame=latest.keep,
            evidence=build_evidence(settings, site_of(folder)),
        )
        stack.callback(session.stop)
        session.start()
        url = feed.wait_ready(CONSOLE_START_SECONDS)
        _introduce(console, camera.url, url, plan, folder, snapshot, is_kept=keep is not None)
        if open_browser:
            _open_browser(url)
        _watch(console, session, feed, latest, stop, seconds, snapshot)
    _say_goodbye(console, session, latest, snapshot)
    return 0


def _folder(stack: ExitStack, keep: Path | None) -> Path:
    """With the key pairs of both groups. Raises UsageError."""
    if keep is None:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bauta-demo-")))
    else:
        folder = keep.absolute()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"--keep {keep}: {error.strerror}; name another folder") from None
    for group in GROUPS:
        key = folder / f"{group}.key"
        if not (keep is not None and key.exists() and public_path_of(key).exists()):
            create_identity(key, None)
    service_key(folder / "state" / "service.key")  # now, or it would be said where it is made
    return folder


def plan_of(folder: Path, port: int) -> ConsolePlan:
    """The demo's console. Raises UsageError."""
    if not 0 <= port <= 65535:
        raise UsageError(f"--port must be between 0 and 65535, got {port}")
    return ConsolePlan(
        site="Bauta demo",
        settings=ConsoleSettings(port=port),
        state_dir=folder / "state",
        cameras=(CAMERA,),
        folders=(folder / "recordings",),
        demo=tuple(DemoAccount(name, _made_up_password(), roles) for name, roles in ROLES.items()),
    )


def _made_up_password() -> str:
    """60 bits, in letters that are easily told apart."""
    letters = "abcdefghjkmnpqrstuvwxyz23456789"
    return "-".join("".join(secrets.choice(letters) for _ in range(4)) for _ in range(3))


def site_of(folder: Path) -> Site:
    """For evidence: nothing of the demo touches the user's own state."""
    groups = {name: GroupSettings(keys=[folder / f"{name}.pub"]) for name in GROUPS}
    return Site("Bauta demo", groups, folder / "state" / "service.key")


def camera_settings(url: str, folder: Path) -> CameraSettings:
    """The simulated camera with recordings and evidence."""
    return CameraSettings(
        id=CAMERA,
        source=url,
        encode=EncodeSettings(gop=1.0),
        record=RecordSettings(
            dir=folder / "recordings", segment=SEGMENT_SECONDS, max_size=RECORDINGS_BYTES
        ),
        evidence=EvidenceSettings(),
    )


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


def _introduce(
    console: Console,
    camera_url: str,
    url: str,
    plan: ConsolePlan,
    folder: Path,
    snapshot: Path,
    *,
    is_kept: bool,
) -> None:
    picture = f"{WIDTH_PX}x{HEIGHT_PX}, {FPS} frames/s, {FACES} faces"
    accounts = ", ".join(f"{one.name} {one.password}" for one in plan.demo)
    stays = "stays" if is_kept else "goes at the end, unless started with --keep DIR"
    state = f"BAUTA_STATE={folder / 'state'}"
    for line in (
        f"Simulated camera  {camera_url}  ({picture})",
        f"Console           {url}  (you are signed in as {plan.demo[0].name})",
        f"Accounts          {accounts}",
        f"Made for this     {folder}  ({stays})",
        f"Snapshot          {snapshot}  (soon, and again at the end)",
        "An approver's release, and what the guard does with an approved request and its clip:",
        f"  {state} bauta keys release CLIP.mp4 RELEASE.age --key {folder / 'approver.key'} "
        f"--for {folder / 'officer.pub'} --case CASE --reason REASON --track N",
        f"  {state} bauta recover CLIP.mp4 FACES.mp4 --request REQUEST.bautareq "
        f"--key {folder / 'officer.key'} --service {folder / 'state' / 'service.pub'} "
        f"--console {plan.own_dir / 'console.pub'}",
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
    feed: ConsoleFeed,
    latest: LatestFrame,
    stop: threading.Event,
    seconds: float | None,
    snapshot: Path,
) -> None:
    """Show the status until it is time to end. Raises the BautaError that ended the session."""
    started = time.monotonic()
    snapshot_due = started + SNAPSHOT_AFTER_SECONDS
    line_due = started + PLAIN_STATUS_SECONDS
    status_due = started
    with Live(console=console, auto_refresh=False, transient=True) as shown:
        while not stop.wait(POLL_SECONDS):
            now = time.monotonic()
            if seconds is not None and now - started >= seconds:
                return
            if session.wait(0):
                raise SourceError("the simulated camera has ended by itself")
            if now >= status_due:
                status_due = now + STATUS_SECONDS
                feed.status([camera_status(CAMERA, session)])
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
    return camera_status(CAMERA, session).as_line()


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
