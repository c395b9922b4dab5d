"""`bauta demo` as a visitor meets it: the command, its page in a real browser, its snapshot."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import httpx
import numpy as np
import psutil
import pytest

from pipeline import demo
from pipeline.errors import SettingsError, UsageError
from support.browser import chromium
from support.flow import ROOT, wait_for
from support.person import TILE, Person

DEMO = TILE % "demo"
VIDEO = f"{DEMO}.querySelector('video')"
LINES = (
    r"Simulated camera  rtsp://127\.0\.0\.1:\d+/live  \(1280x720, 25 frames/s, 3 faces\)",
    r"Console           http://127\.0\.0\.1:\d+/  \(you are signed in as guard\)",
    r"Accounts          guard \S+, approver \S+, admin \S+",
    r"Made for this     /\S+  \((stays|goes at the end, unless started with --keep DIR)\)",
    r"Snapshot          /\S+/snapshot\.png  \(soon, and again at the end\)",
    r"An approver's release, .*:",
    r"  BAUTA_STATE=\S+ bauta keys release CLIP\.mp4 RELEASE\.age --key \S+ --for \S+ --case .*",
    r"  BAUTA_STATE=\S+ bauta recover CLIP\.mp4 FACES\.mp4 --request REQUEST\.bautareq --key .*",
    r"Ctrl-C stops\.",
)


@dataclass(frozen=True)
class Shown:
    """A demo that runs, and what it has printed."""

    process: subprocess.Popen[str]
    lines: list[str]

    @property
    def url(self) -> str:
        return self.lines[1].split()[1]

    @property
    def made(self) -> Path:
        return Path(self.lines[3].split()[3])


@contextmanager
def running(folder: Path, *options: str | Path) -> Iterator[Shown]:
    """The command; whatever it makes for itself goes below `folder`."""
    command = [sys.executable, "-m", "pipeline", "demo", "--no-browser", "--port", "0"]
    (folder / "tmp").mkdir()
    with subprocess.Popen(
        [*command, "--snapshot", str(folder / "snapshot.png"), *map(str, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT), "TMPDIR": str(folder / "tmp")},
    ) as process:
        try:
            assert process.stdout is not None
            lines: list[str] = []
            while not lines or "Ctrl-C" not in lines[-1]:
                line = process.stdout.readline()
                assert line, process.communicate()[1]
                lines.append(line.rstrip("\n"))
            yield Shown(process, lines)
        finally:
            process.kill()


def check_picture(png: bytes) -> None:
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (720, 1280, 3)
    assert picture.mean() > 40
    assert picture.std() > 10


@pytest.mark.slow
@pytest.mark.timeout(180)
@pytest.mark.skipif(chromium() is None, reason="no Chromium is installed")
def test_the_page_shows_protected_pictures(tmp_path: Path) -> None:
    with running(tmp_path) as shown, Person(shown.url, tmp_path, "guard") as guard:
        for line, pattern in zip(shown.lines, LINES, strict=True):
            assert re.fullmatch(pattern, line), line
        assert shown.made.parent == tmp_path / "tmp"

        # nobody signs in: the page is there, as the first account
        guard.until_it_plays("demo")
        person = "document.querySelector('.person').innerText"
        assert guard.evaluate(person).split() == ["guard", "requester"]
        guard.until("it is near the edge", f"{DEMO}.tile.stats.behindMs < 1500")
        stats = guard.stats("demo")
        assert set(stats) == {"behindMs", "frames", "reconnects"} and stats["reconnects"] == 0
        guard.until("faces are counted", f"/[1-3] faces?/.test({DEMO}.innerText)")
        assert guard.evaluate(f"{DEMO}.querySelector('.veil').hidden") is True
        # what the browser itself has decoded, not what we believe we sent
        picture = guard.picture(VIDEO)
        assert picture.shape == (720, 1280)
        assert picture.mean() > 40 and picture.std() > 10
        guard.shoot("1 wall")

        # there is soon something to review
        guard.click(guard.button("People"))
        again = "document.querySelector('[aria-label=\"Look again\"]')"
        card = "document.querySelector('.people-page article')"
        while not guard.evaluate(f"{card} !== null"):
            guard.click(again)
            time.sleep(0.5)
        guard.until("a picture", f"{card}.querySelector('img[data-shown]') !== null")
        guard.shoot("2 people")

        guard.click(guard.button("Live"))
        guard.until_it_plays("demo")
        children = psutil.Process(shown.process.pid).children(recursive=True)
        assert [child.cmdline()[0] for child in children] == ["bauta console"]
        shown.process.send_signal(signal.SIGTERM)
        out, err = shown.process.communicate(timeout=60)
        gone = "The console cannot be reached"
        guard.until("the page says so", f"document.body.innerText.includes({gone!r})")
        guard.shoot("3 stopped")
        assert guard.errors == []
    assert (shown.process.returncode, err) == (0, "")
    assert re.search(r"Stopped: [1-9]\d+ frames, \d+\.\d faces hidden in each.* shows how", out)
    check_picture((tmp_path / "snapshot.png").read_bytes())
    assert not list(tmp_path.glob("*.part"))
    assert list((tmp_path / "tmp").iterdir()) == []
    assert psutil.wait_procs(children, timeout=5)[1] == []


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_it_ends_by_itself_and_keeps_what_it_made(tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    with running(tmp_path, "--seconds", "12", "--keep", kept) as shown:
        assert shown.made == kept and "(stays)" in shown.lines[3]
        with httpx.Client(base_url=shown.url, trust_env=False, verify=False) as client:
            assert client.get("/api/cameras").status_code == httpx.codes.UNAUTHORIZED
            session = client.get("/api/session").json()
            assert session["user"]["name"] == "guard"

            def camera() -> dict[str, object]:
                (found,) = client.get("/api/cameras").json()
                return dict(found)

            wait_for("frames go out", lambda: camera()["frames_out"])
            facts = camera()
            sinks = facts["sinks"]
            assert isinstance(sinks, list)
            assert (facts["id"], facts["state"], facts["evidence"]) == ("demo", "up", True)
            assert [sink["name"] for sink in sinks] == ["record", "console"]
            passwords = dict(re.findall(r"(\w+) (\S+?)(?:,|$)", shown.lines[2].split("  ")[-1]))
            accounts = client.get("/api/site").json()["accounts"]
            assert {one["name"]: one["password"] for one in accounts} == passwords
        wait_for("the snapshot is there", (tmp_path / "snapshot.png").exists)
        check_picture((tmp_path / "snapshot.png").read_bytes())
        assert shown.process.poll() is None
        out, err = shown.process.communicate(timeout=60)
    assert (shown.process.returncode, err) == (0, "")
    assert re.search(r"Stopped: [1-9]\d+ frames, \d+\.\d faces hidden in each", out)
    check_picture((tmp_path / "snapshot.png").read_bytes())
    names = {path.name for path in kept.iterdir()}
    assert names == {"recordings", "state"} | {
        f"{group}{suffix}" for group in ("officer", "approver") for suffix in (".key", ".pub")
    }
    assert list((kept / "recordings").glob("demo_*.mp4"))


def run(tmp_path: Path, *, port: int = 0, snapshot: str = "snapshot.png") -> int:
    return demo.run_demo(port=port, open_browser=False, seconds=1, snapshot=tmp_path / snapshot)


def test_a_taken_port_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(UsageError, match=rf"port {port} .* is taken.*--port"):
            run(tmp_path, port=port)


@pytest.mark.parametrize("name", ["picture.jpg", "missing/snapshot.png", "folder.png"])
def test_a_snapshot_that_cannot_be(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.png").mkdir()
    with pytest.raises(UsageError, match="--snapshot"):
        run(tmp_path, snapshot=name)


def test_without_a_detector_nothing_starts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(_: object) -> None:
        raise SettingsError("detector.model: it is not installed")

    monkeypatch.setattr(demo, "build_service", missing)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SettingsError, match="not installed"):
        run(tmp_path)
    assert signal.getsignal(signal.SIGTERM) == before


def test_no_browser_is_opened_without_a_desktop(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    monkeypatch.setattr("sys.platform", "linux")
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    demo._open_browser("http://127.0.0.1:1/")
    monkeypatch.setenv("DISPLAY", ":0")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    demo._open_browser("http://127.0.0.1:1/")
    assert opened == []
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    demo._open_browser("http://127.0.0.1:1/")
    deadline = time.monotonic() + 10
    while not opened and time.monotonic() < deadline:
        time.sleep(0.01)
    assert opened == ["http://127.0.0.1:1/"]
