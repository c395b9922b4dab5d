"""`bauta users`, as it is typed: accounts at the console's own database."""

from __future__ import annotations

import json
import os
import pty
import select
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import argon2
import pytest

from pipeline import cli_users
from pipeline.cli import main
from pipeline.review import assembly, passwords
from pipeline.review.store import accounts, sessions
from pipeline.review.store.database import Database
from pipeline.users_command import CONSOLE_KEY
from pipeline.vault import audit
from pipeline.vault.signing import load_public

GOOD = "correct horse battery"


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    quick = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(passwords, "_HASHER", quick)
    monkeypatch.setenv("BAUTA_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BAUTA_PASSWORD", GOOD)
    return tmp_path / "state"


def users(*arguments: str) -> int:
    return main(["users", *arguments])


def test_the_roles_of_the_command_are_the_stores() -> None:
    assert cli_users.ROLES == accounts.ROLES


def test_every_change_is_in_the_log_before_it_is_made(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert CONSOLE_KEY == assembly.KEY_NAME
    assert users("add", "ann", "--role", "admin") == 0
    assert users("add", "bo", "--camera", "lobby") == 0
    assert users("roles", "bo", "approver") == 0
    assert users("cameras", "bo", "--all") == 0
    assert users("password", "bo") == 0
    assert users("disable", "bo") == 0
    assert users("enable", "bo") == 0
    assert users("remove", "bo") == 0
    assert users("remove", "nobody") == 1
    signer = load_public(state / "console" / "console.pub")
    report = audit.check(state / "audit.jsonl", signers=[signer])
    assert not report.faults
    said = [line.fields for line in report.lines if line is not None]
    assert [(one["action"], one["account"]) for one in said] == [
        *(("user-create", "ann"), ("user-create", "bo")),
        *[("user-change", "bo")] * 5,
        ("user-remove", "bo"),
    ]
    assert said[2]["roles"] == ["approver", "viewer"] and said[3]["cameras"] is None
    assert all(one["from"] == "terminal" for one in said)
    assert GOOD not in (state / "audit.jsonl").read_text()

    (state / "audit.jsonl").unlink()
    (state / "audit.jsonl").mkdir()  # it cannot be written
    assert users("roles", "ann", "admin", "approver") == 1
    database = Database(None, state / "console")
    try:
        (left,) = accounts.list(database)
    finally:
        database.close()
    assert left.roles == {"viewer", "admin"}


def test_a_first_run(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert users("list") == 0
    assert "bauta users add NAME --role admin" in capsys.readouterr().out
    assert users("add", "Guard", "--role", "requester", "--camera", "lobby") == 0
    said = capsys.readouterr()
    assert said.out == "guard: viewer, requester; sees lobby\n"
    assert "nobody can manage accounts" in said.err
    assert users("add", "Ann", "--role", "admin", "--role", "approver") == 0
    said = capsys.readouterr()
    assert (said.out, said.err) == ("ann: viewer, approver, admin; sees all cameras\n", "")
    assert users("list", "--json") == 0
    ann, guard = json.loads(capsys.readouterr().out)
    assert ann.pop("created_ms") > 1_700_000_000_000 < guard.pop("created_ms")
    assert ann == {
        "name": "ann",
        "roles": ["admin", "approver", "viewer"],
        "cameras": None,
        "disabled": False,
    }
    assert guard == {
        "name": "guard",
        "roles": ["requester", "viewer"],
        "cameras": ["lobby"],
        "disabled": False,
    }
    database = Database(None, state / "console")
    assert accounts.verify(database, "ann", GOOD) is not None
    database.close()


def test_changes(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    users("add", "ann", "--role", "admin")
    users("add", "bob")
    database = Database(None, state / "console")
    bob = accounts.get(database, "bob")
    assert bob is not None
    token, _ = sessions.open(database, bob, 0, longest_ms=1000)
    capsys.readouterr()
    assert users("roles", "BOB", "approver", "viewer") == 0
    assert capsys.readouterr().out == "bob: viewer, approver; signed out everywhere\n"
    assert sessions.find(database, token, 1, 1000) is None
    assert users("cameras", "bob", "--camera", "b", "--camera", "a") == 0
    assert capsys.readouterr().out == "bob: sees a, b; signed out everywhere\n"
    assert users("disable", "bob") == 0
    assert users("list") == 0
    assert "disabled" in capsys.readouterr().out
    assert accounts.verify(database, "bob", GOOD) is None
    assert users("enable", "bob") == 0 and users("cameras", "bob", "--all") == 0
    again = accounts.verify(database, "bob", GOOD)
    assert again is not None and again.cameras is None and again.roles == {"viewer", "approver"}
    assert users("remove", "bob") == 0
    assert accounts.get(database, "bob") is None
    database.close()


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["add", "ann"], 1, "there is an account ann already"),
        (["add", " x"], 2, "neither begins nor ends with a space"),
        (["add", "x", "--camera", "a\nb"], 2, "cameras are named by their ids"),
        (["roles", "nobody", "admin"], 1, "there is no account nobody"),
        (["password", "nobody"], 1, "there is no account nobody"),
        (["remove", "ann"], 1, "ann is the last administrator"),
        (["disable", "ann"], 1, "ann is the last administrator"),
        (["roles", "ann", "viewer"], 1, "ann is the last administrator"),
        (["list", "--database", "mysql://a:hunter2@b/c"], 2, "postgresql://"),
        (
            ["list", "--database", "postgresql://${NOT_SET_HERE}@b/c"],
            2,
            "${NOT_SET_HERE} is not set",
        ),
        (["list", "--database", "postgresql://a:hunter2@127.0.0.1:1/c"], 1, "127.0.0.1:1/c"),
        (["list", "--config", "nowhere.yaml"], 2, "no such configuration"),
    ],
)
def test_what_is_refused_is_one_line(
    arguments: list[str], code: int, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    users("add", "ann", "--role", "admin")
    capsys.readouterr()
    assert users(*arguments) == code
    said = capsys.readouterr()
    assert said.out == "" and said.err.count("\n") == 1 and line in said.err
    assert "hunter2" not in said.err


def test_the_password_of_the_environment_obeys_the_rule(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BAUTA_PASSWORD", "short")
    assert users("add", "ann") == 2
    assert "at least 12 characters" in capsys.readouterr().err
    monkeypatch.delenv("BAUTA_PASSWORD")
    monkeypatch.setattr("sys.stdin.isatty", lambda: False, raising=False)
    assert users("add", "ann") == 2
    assert "set BAUTA_PASSWORD" in capsys.readouterr().err


def test_the_configurations_database(
    tmp_path: Path, state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("console: {database: 'postgresql://a:hunter2@127.0.0.1:1/x'}\n")
    assert users("list", "--config", str(config)) == 1
    said = capsys.readouterr().err
    assert "postgresql://127.0.0.1:1/x" in said and "hunter2" not in said
    for text in ("cameras: []\n", "console: null\n"):
        config.write_text(text)
        assert users("list", "--config", str(config)) == 0
    assert (state / "console" / "console.sqlite").exists()


def test_a_damaged_or_newer_database(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    users("add", "ann", "--role", "admin")
    file = sqlite3.connect(state / "console" / "console.sqlite")
    file.execute("UPDATE alembic_version SET version_num = 'zzzz'")
    file.commit()
    file.close()
    capsys.readouterr()
    assert users("list") == 1
    assert "written by a newer version" in capsys.readouterr().err
    (state / "console" / "console.sqlite").write_bytes(b"garbage" * 1000)
    assert users("list") == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "is damaged" in said


def type_in(arguments: list[str], lines: list[str], state: Path) -> tuple[int, str]:
    """Run the command at a terminal of its own, and answer each of its questions."""
    environment = {**os.environ, "BAUTA_STATE": str(state)}
    del environment["BAUTA_PASSWORD"]
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "pipeline", "users", *arguments],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
        start_new_session=True,
        close_fds=True,
    )
    os.close(theirs)
    said, answered = "", 0
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if not select.select([ours], [], [], 0.2)[0]:
            continue
        try:
            data = os.read(ours, 4096)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        said += data.decode()
        if answered < len(lines) and said.count(": ") > answered:
            os.write(ours, lines[answered].encode() + b"\n")
            answered += 1
    os.close(ours)
    return process.wait(30), said


def test_at_a_terminal_it_is_asked_twice_and_never_shown(state: Path) -> None:
    code, said = type_in(["add", "ann", "--role", "admin"], [GOOD, GOOD], state)
    assert code == 0, said
    assert "New password of ann: " in said and "The same again: " in said and GOOD not in said
    database = Database(None, state / "console")
    assert accounts.verify(database, "ann", GOOD) is not None
    code, said = type_in(["password", "ann"], ["another good one", "another bad one"], state)
    assert code == 2 and "the two are not the same" in said and "another" not in said
    assert accounts.verify(database, "ann", GOOD) is not None
    database.close()
