"""`bauta console`: over recordings alone, until stopped."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import httpx
import pytest

from pipeline.review.store import accounts
from pipeline.review.store.database import Database
from support.flow import bauta, running_bauta, wait_for


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    monkeypatch.setenv("BAUTA_STATE", str(folder))
    return folder


@pytest.fixture
def recordings(tmp_path: Path) -> Path:
    folder = tmp_path / "recordings"
    folder.mkdir()
    return folder


def make_admin(state: Path) -> None:
    database = Database(None, state / "console")
    database.migrate()
    accounts.create(database, "root", "a long password 1", roles=["admin"], now_ms=0)
    database.close()


def test_without_an_account_nobody_could_sign_in(recordings: Path) -> None:
    done = bauta("console", recordings, "--port", "0")
    assert (done.code, done.out) == (2, "")
    assert done.error_line.endswith("Make the first one with: bauta users add NAME --role admin")


@pytest.mark.parametrize(
    ("arguments", "config", "told"),
    [
        ((), None, "which recordings?"),
        (("nowhere",), None, "nowhere: no such folder"),
        (("recordings", "--address", "0.0.0.0"), None, "give tls:"),
        (("recordings", "--port", "70000"), None, "--port: "),
        (("recordings",), "console: null", "says console: null"),
        (("recordings",), "consul: null", "did you mean console?"),
        ((), "cameras: []", "which recordings?"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: tuple[str, ...],
    config: str | None,
    told: str,
    recordings: Path,
    state: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    make_admin(state)
    monkeypatch.chdir(tmp_path)
    if config is not None:
        (tmp_path / "config.yaml").write_text(config + "\n")
        arguments = (*arguments, "--config", "config.yaml")
    done = bauta("console", *arguments)
    assert done.code == 2 and told in done.error_line


@pytest.mark.slow
@pytest.mark.untimed
@pytest.mark.parametrize("end", [signal.SIGTERM, signal.SIGINT])
def test_it_serves_until_it_is_stopped(
    end: signal.Signals, recordings: Path, state: Path, tmp_path: Path
) -> None:
    make_admin(state)
    config = tmp_path / "config.yaml"
    config.write_text("site: North\ncameras: []\n")
    with running_bauta("console", recordings, "--port", "0", "--config", config) as run:
        found = wait_for("its address", lambda: re.search(r"http://127\.0\.0\.1:\d+/", run.out))
        assert found is not None
        with httpx.Client(base_url=found[0], trust_env=False) as client:
            assert client.get("/healthz").status_code == 200
            assert client.get("/api/site").json()["site"] == "North"
            assert client.get("/api/cameras").status_code == 401
        run.signal(end)
        assert run.ended() == 0 and "Traceback" not in run.err
