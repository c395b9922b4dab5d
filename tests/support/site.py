"""A whole site: cameras, `bauta run` on them, its console, accounts, officers with keys."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
import psutil

from pipeline.source.simulated_camera import SimulatedCamera

from .evidence_flow import Officer, new_officer
from .flow import ROOT, Running, bauta, running_bauta, wait_for
from .pendulum import FPS, Film, pendulum

CAMERA_LOGIN = ("viewer", "secret-of-the-lobby-4711")
OTHER_SECRET = "a-token-for-something-else"  # in the environment of `bauta run`, not for it
PASSWORDS = {"guard": "guard password 1", "chief": "chief password 1"}
ROLES = {"guard": "requester", "chief": "approver"}
SEGMENT = "3s"
START_SECONDS = 90.0  # the console waits for the cameras where there is little to share


@dataclass(frozen=True)
class Site:
    """It runs. Camera lobby is the pendulum, sealed and recorded; yard is only looked at."""

    run: Running
    url: str  # of the console, ends with a slash
    folder: Path
    state: Path
    recordings: Path
    film: Film
    lobby_url: str  # with its password
    yard: YardCamera
    officer: Officer
    approver: Officer

    def status(self, camera: str = "lobby") -> dict[str, Any]:
        """The newest facts that it prints."""
        return self.run.status(camera) or {}

    def console_dropped(self, camera: str) -> int:
        """Frames that did not go to the console."""
        (sink,) = (sink for sink in self.status(camera)["sinks"] if sink["name"] == "console")
        return int(sink["dropped"])

    @property
    def console_pub(self) -> Path:
        """Who signs its requests."""
        (path,) = self.state.rglob("console.pub")
        return path

    @property
    def console(self) -> psutil.Process:
        """The console's process."""
        (found,) = wait_for("the console's process", lambda: consoles_of(self.run))
        return found

    @contextmanager
    def client(self, name: str) -> Iterator[httpx.Client]:
        """Signed in as one of the accounts."""
        with httpx.Client(base_url=self.url, timeout=30, trust_env=False, verify=False) as client:
            given = client.post("/api/session", json={"name": name, "password": PASSWORDS[name]})
            given.raise_for_status()
            client.headers["X-CSRF-Token"] = given.json()["csrf"]
            yield client


class YardCamera:
    """In a process of its own, so that it can die; comes back at the same port."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self.port = 0
        self.url = ""

    def start(self) -> None:
        """Returns once it listens."""
        command = [sys.executable, "-m", "pipeline.source.simulated_camera"]
        size = ["--size", "640x360", "--fps", "10", "--faces", "0"]
        self._process = subprocess.Popen(
            [*command, *size, "--port", str(self.port)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        match = re.fullmatch(r"rtsp://127\.0\.0\.1:(\d+)/\w+", self.url)
        assert match is not None, self.url
        self.port = int(match[1])

    def kill(self) -> None:
        """Without a word. Idempotent."""
        if self._process is not None:
            self._process.kill()
            self._process.communicate()
            self._process = None


def consoles_of(run: Running) -> list[psutil.Process]:
    """The processes below that call themselves so."""
    found = []
    for child in psutil.Process(run.process.pid).children(recursive=True):
        try:
            if child.cmdline()[:1] == ["bauta console"]:
                found.append(child)
        except psutil.Error:
            continue
    return found


@contextmanager
def running_site(folder: Path) -> Iterator[Site]:
    """Until the end of the block; sets BAUTA_STATE meanwhile."""
    state, recordings = folder / "state", folder / "recordings"
    user, password = CAMERA_LOGIN
    environment = {
        "BAUTA_STATE": str(state),
        "LOBBY_PASSWORD": password,
        "DEPLOY_TOKEN": OTHER_SECRET,
    }
    with ExitStack() as stack:
        stack.enter_context(patch.dict(os.environ, environment))
        officer, approver = (new_officer(folder, group) for group in ("officer", "approver"))
        for name, secret in PASSWORDS.items():
            with patch.dict(os.environ, {"BAUTA_PASSWORD": secret}):
                made = bauta("users", "add", name, "--role", ROLES[name])
            assert made.code == 0, made.err
        scene = pendulum()
        camera = stack.enter_context(SimulatedCamera(scene, user=user, password=password))
        yard = YardCamera()
        stack.callback(yard.kill)
        yard.start()
        port = _free_port()
        tree = {
            "site": "head-office",
            "console": {"port": port},
            "detector": {"timeout": "20s"},  # only a network that really hangs is to be given up
            "recipients": {one.group: [str(one.pub)] for one in (officer, approver)},
            "cameras": [
                {
                    "id": "lobby",
                    "source": camera.url.replace("//", f"//{user}:${{LOBBY_PASSWORD}}@"),
                    "record": {"dir": str(recordings), "segment": SEGMENT},
                    "encode": {"gop": "1s"},
                    "evidence": {},
                },
                {
                    "id": "yard",
                    "source": yard.url,
                    # many bytes: so that a viewer who takes nothing is soon found out
                    "encode": {"gop": "300ms", "crf": 0, "preset": "ultrafast"},
                    "reconnect": {"longest_pause": "2s", "read_timeout": "3s"},
                },
            ],
        }
        config = folder / "bauta.yaml"
        config.write_text(json.dumps(tree))
        run = stack.enter_context(running_bauta("run", config, "--json", "--status-every", "0.3"))
        url = f"http://127.0.0.1:{port}/"
        try:
            wait_for("the console", lambda: f"console: {url}" in run.err, START_SECONDS)
            wait_for("frames", lambda: all(out(run, name) > FPS for name in ("lobby", "yard")))
        except AssertionError as error:
            error.add_note(run.err)
            raise
        yield Site(
            run=run,
            url=url,
            folder=folder,
            state=state,
            recordings=recordings,
            film=Film(scene),
            lobby_url=camera.url_as(user, password),
            yard=yard,
            officer=officer,
            approver=approver,
        )


def out(run: Running, camera: str) -> int:
    """Frames so far."""
    return int((run.status(camera) or {}).get("frames_out", 0))


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
