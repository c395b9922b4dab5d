"""`bauta demo` as a visitor meets it: the command, its page in a real browser, its snapshot."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from pipeline import demo
from pipeline.errors import SettingsError, UsageError
from support.browser import Browser, chromium

ROOT = Path(__file__).resolve().parents[2]


@contextmanager
def running(folder: Path, seconds: float) -> Iterator[tuple[subprocess.Popen[str], str, list[str]]]:
    """The command, its page's URL and its first lines."""
    command = [sys.executable, "-m", "pipeline", "demo", "--no-browser", "--port", "0"]
    with subprocess.Popen(
        [*command, "--seconds", str(seconds), "--snapshot", str(folder / "snapshot.png")],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:
        try:
            assert process.stdout is not None
            lines: list[str] = []
            while not lines or "Ctrl-C" not in lines[-1]:
                line = process.stdout.readline()
                assert line, process.communicate()[1]
                lines.append(line.rstrip())
            match = re.search(r"http://127\.0\.0\.1:\d+/", "\n".join(lines))
            assert match is not None, lines
            yield process, match[0], lines
        finally:
            process.kill()


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=20) as answer:
        body: bytes = answer.read()
        return body


def until(what: str, seconds: float, ask: Callable[[], Any]) -> Any:
    """The first true answer."""
    deadline = time.monotonic() + seconds
    while not (answer := ask()):
        assert time.monotonic() < deadline, f"not within {seconds:g} s: {what}"
        time.sleep(0.2)
    return answer


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
    with (
        running(tmp_path, 60) as (process, url, lines),
        Browser(url, tmp_path / "profile", size_px=(1280, 720)) as browser,
    ):
        assert len(lines) <= 8
        assert any("rtsp://127.0.0.1:" in line for line in lines)
        assert any("snapshot.png" in line for line in lines)

        def now() -> float:
            return float(browser.evaluate("document.getElementById('video')?.currentTime ?? 0"))

        def shown(element: str) -> str:
            return str(browser.evaluate(f"document.getElementById('{element}')?.textContent"))

        until("the picture moves", 40, lambda: now() > 0.5)
        first = now()
        until("it goes on moving", 20, lambda: now() > first + 2)
        until("faces are counted", 20, lambda: re.fullmatch(r"[1-9]\d*", shown("faces")))
        until("latency is shown", 20, lambda: shown("latency").isdecimal())
        assert shown("state-text") == "protected and live"
        assert shown("picture") == "1280 × 720"
        assert "libx264" in shown("encoder")
        assert browser.evaluate("document.getElementById('veil').hidden") is True
        # what the browser itself decoded, not what we believe we sent
        levels = browser.evaluate(
            """(() => {
                const canvas = Object.assign(document.createElement('canvas'),
                    {width: 128, height: 72});
                const context = canvas.getContext('2d');
                context.drawImage(document.getElementById('video'), 0, 0, 128, 72);
                return Array.from(context.getImageData(0, 0, 128, 72).data);
            })()"""
        )
        pixels = np.array(levels, np.float64).reshape(72, 128, 4)[..., :3]
        assert pixels.mean() > 40
        assert pixels.std() > 10
        browser.screenshot(tmp_path / "page.png")
        check_picture(get(url + "snapshot.png"))

        process.send_signal(signal.SIGTERM)
        out, err = process.communicate(timeout=30)
        until("the page says so", 20, lambda: shown("state-text") == "Bauta has stopped")
    assert process.returncode == 0, err
    assert "Stopped: " in out
    assert err == ""
    check_picture((tmp_path / "snapshot.png").read_bytes())
    assert (tmp_path / "page.png").stat().st_size > 20_000
    assert not list(tmp_path.glob("*.part"))


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_it_ends_by_itself_and_leaves_a_snapshot(tmp_path: Path) -> None:
    with running(tmp_path, 20) as (process, url, _):
        status = until(
            "frames go out",
            15,
            lambda: (found := json.loads(get(url + "status.json")))["frames_out"] and found,
        )
        assert (status["camera"], status["state"]) == ("demo", "up")
        assert [sink["name"] for sink in status["sinks"]] == ["browser"]
        until("the snapshot is there", 15, (tmp_path / "snapshot.png").exists)
        check_picture((tmp_path / "snapshot.png").read_bytes())
        assert process.poll() is None
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert re.search(r"Stopped: [1-9]\d+ frames, \d\.\d faces hidden in each", out)
    check_picture((tmp_path / "snapshot.png").read_bytes())


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
