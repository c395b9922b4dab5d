from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.vault.signing import fingerprint, load_public, public_line, service_key
from support.flow import bauta


@pytest.fixture(autouse=True)
def no_passphrase(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("BAUTA_PASSPHRASE", raising=False)


def test_a_new_key_says_where_it_is_and_shows_the_public_half(tmp_path: Path) -> None:
    done = bauta("keys", "new", tmp_path / "a.key", "--no-passphrase")
    assert done.code == 0 and not done.err
    first, public = done.out.splitlines()
    assert str(tmp_path / "a.key") in first and "secret" in first
    age, ssh = (tmp_path / "a.pub").read_text().splitlines()
    assert age == public and ssh.startswith("ssh-ed25519 AAAA")
    shown = bauta("keys", "show", tmp_path / "a.key")
    assert shown.out.strip() == public and "NOT encrypted" in shown.err
    known = fingerprint(load_public(tmp_path / "a.pub"))
    assert f"signs as {known}" in shown.err
    of_public = bauta("keys", "show", tmp_path / "a.pub")
    assert of_public.out.strip() == public and f"signs as {known}" in of_public.err


def test_the_key_of_a_service_is_shown_as_what_it_is(tmp_path: Path) -> None:
    key = service_key(tmp_path / "service.key")
    shown = bauta("keys", "show", tmp_path / "service.pub")
    assert shown.code == 0 and shown.out.split()[:2] == public_line(key.public).split()[:2]
    assert fingerprint(key.public) in shown.err


def test_where_nobody_can_be_asked(tmp_path: Path) -> None:
    done = bauta("keys", "new", tmp_path / "a.key")
    assert done.code == 2
    assert "set BAUTA_PASSPHRASE" in done.error_line and "--no-passphrase" in done.error_line
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_passphrase_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAUTA_PASSPHRASE", "open sesame")
    assert bauta("keys", "new", tmp_path / "a.key").code == 0
    shown = bauta("keys", "show", tmp_path / "a.key")
    assert shown.code == 0 and "encrypted with a passphrase" in shown.err
    monkeypatch.setenv("BAUTA_PASSPHRASE", "open says me")
    done = bauta("keys", "show", tmp_path / "a.key")
    assert done.code == 1 and "wrong passphrase" in done.error_line
    monkeypatch.delenv("BAUTA_PASSPHRASE")
    done = bauta("keys", "show", tmp_path / "a.key")
    assert done.code == 2 and "no terminal" in done.error_line


WRONG = {
    "no action": (("keys",), "required"),
    "another ending": (("keys", "new", "{}/a.pem"), "must end in .key"),
    "no folder": (("keys", "new", "{}/none/a.key", "--no-passphrase"), "No such file"),
    "exists": (("keys", "new", "{}/b.key", "--no-passphrase"), "never replaced"),
    "public exists": (("keys", "new", "{}/c.key", "--no-passphrase"), "never replaced"),
    "not there": (("keys", "show", "{}/d.key"), "No such file"),
    "no key": (("keys", "show", "{}/b.key"), "holds no age secret key"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_is_one_line(case: str, tmp_path: Path) -> None:
    arguments, message = WRONG[case]
    (tmp_path / "b.key").write_text("mine")
    (tmp_path / "c.pub").write_text("mine")
    done = bauta(*(argument.format(tmp_path) for argument in arguments))
    assert done.code == 2 and message in done.error_line
    assert {path.name for path in tmp_path.iterdir()} == {"b.key", "c.pub"}
