"""`bauta run` with its console: it is there, may die, and never costs a camera."""

from __future__ import annotations

import json
import re
import signal
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from support.clips import Clip
from support.flow import Running, running_bauta, wait_for
from support.rtsp_server import Camera, rtsp_camera

OPTIONS = ("--json", "--status-every", "0.3")


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BAUTA_STATE", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def camera(looped_clip: Clip) -> Iterator[Camera]:
    with rtsp_camera(looped_clip.path) as camera:
        yield camera


def write_config(path: Path, camera: Camera, console: object, *names: str) -> Path:
    tree = {
        "detector": {"timeout": "20s"},
        "console": console,
        "cameras": [{"id": name, "source": camera.url} for name in names],
    }
    new = path.with_suffix(".new")
    new.write_text(json.dumps(tree))
    new.replace(path)
    return path


def consoles_of(run: Running) -> list[psutil.Process]:
    children = psutil.Process(run.process.pid).children(recursive=True)
    return [child for child in children if "review.process" in " ".join(cmdline_of(child))] + [
        child for child in children if cmdline_of(child)[:1] == ["bauta console"]
    ]


def cmdline_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


def urls_of(run: Running) -> list[str]:
    return re.findall(r"console: (http://127\.0\.0\.1:\d+/)", run.err)


def is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}healthz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def facts(run: Running) -> dict[str, Any]:
    status = run.status("lobby")
    assert status is not None
    return status


@pytest.mark.slow
def test_the_console_comes_goes_and_costs_no_camera(camera: Camera, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        config = write_config(tmp_path / "bauta.yaml", camera, {"port": port}, "lobby")
        with running_bauta("run", config, *OPTIONS) as run:
            wait_for("the complaint", lambda: f"port {port}" in run.err)
            listener.close()
            wait_for("frames", lambda: (run.status("lobby") or {}).get("frames_out", 0) > 25)
            wait_for("the console", lambda: urls_of(run))
            lines = [line for line in run.err.splitlines() if "console" in line]
            assert ["tried again" in line for line in lines] == [True, False]
            url = f"http://127.0.0.1:{port}/"
            assert urls_of(run) == [url] and is_healthy(url)
            assert [sink["name"] for sink in facts(run)["sinks"]] == ["console"]
            (console,) = consoles_of(run)
            assert "rtsp" not in " ".join(cmdline_of(console))

            console.kill()
            wait_for("another console", lambda: urls_of(run) == [url, url])
            assert is_healthy(url)
            frames = facts(run)["frames_out"]
            wait_for("more frames", lambda: facts(run)["frames_out"] > frames + 10)

            write_config(config, camera, {"port": port}, "lobby", "gate")
            wait_for("the second camera", lambda: (run.status("gate") or {}).get("frames_out"))
            wait_for("its health", lambda: is_healthy(url))
            counters = [status["frames_out"] for status in run.all_status("lobby")]
            assert counters == sorted(counters), "a camera started anew"
            assert len(urls_of(run)) == 2 and len(consoles_of(run)) == 1

            write_config(config, camera, None, "lobby")
            wait_for("no console", lambda: not consoles_of(run))
            wait_for("no sink", lambda: facts(run)["sinks"] == [])
            assert not is_healthy(url)
            run.signal(signal.SIGTERM)
            assert run.ended(20) == 0
            assert "Traceback" not in run.err


@pytest.mark.slow
def test_the_console_ends_with_the_cameras(camera: Camera, tmp_path: Path) -> None:
    config = write_config(tmp_path / "bauta.yaml", camera, {"port": 0}, "lobby")
    with running_bauta("run", config, *OPTIONS) as run:
        wait_for("the console", lambda: urls_of(run))
        processes = consoles_of(run)
        assert len(processes) == 1
        run.signal(signal.SIGKILL)
        run.ended()
        gone, _ = psutil.wait_procs(processes, timeout=20)
        assert gone == processes
        assert not is_healthy(urls_of(run)[0])
