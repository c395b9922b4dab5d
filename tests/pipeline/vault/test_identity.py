from __future__ import annotations

import os
from pathlib import Path

import pyrage
import pytest

from pipeline.errors import KeyRefused, UsageError, VaultError
from pipeline.vault.identity import (
    Identity,
    Recipient,
    create_identity,
    is_encrypted,
    load_identity,
    load_recipient,
    wrap_for,
)


def nobody() -> str:
    raise AssertionError("nobody should be asked")


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "dpo.key"
    create_identity(path, None)
    return path


def test_a_key_pair_on_the_disk(key_file: Path) -> None:
    identity = load_identity(key_file, nobody)
    recipient = load_recipient(key_file.with_suffix(".pub"))
    assert identity.recipient == recipient
    assert key_file.stat().st_mode & 0o777 == 0o600
    assert not is_encrypted(key_file)
    assert "AGE-SECRET" not in key_file.with_suffix(".pub").read_text()
    assert identity.open(wrap_for(b"secret", [recipient])) == b"secret"


def test_the_mode_does_not_depend_on_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        create_identity(tmp_path / "a.key", None)
    finally:
        os.umask(before)
    assert (tmp_path / "a.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.slow
def test_a_passphrase_that_is_too_slow_here_is_not_called_wrong(tmp_path: Path) -> None:
    """As of a file that was made on a machine thousands of times as fast."""
    sealed = pyrage.passphrase.encrypt(b"AGE-SECRET-KEY-1", "open sesame")
    _, stanza, *_ = sealed.split(b"\n")
    slower = stanza.rsplit(b" ", 1)[0] + b" 30"
    path = tmp_path / "fast.key"
    path.write_bytes(sealed.replace(stanza, slower))
    path.chmod(0o600)
    with pytest.raises(VaultError, match="too slow or too busy") as raised:
        load_identity(path, lambda: "open sesame")
    assert not isinstance(raised.value, KeyRefused)


def test_a_passphrase_encrypts_the_file(tmp_path: Path) -> None:
    path = tmp_path / "dpo.key"
    identity = create_identity(path, "open sesame")
    assert is_encrypted(path)
    assert b"AGE-SECRET" not in path.read_bytes()
    assert load_identity(path, lambda: "open sesame") == identity
    with pytest.raises(KeyRefused, match="wrong passphrase"):
        load_identity(path, lambda: "open says me")


def test_nothing_is_replaced(key_file: Path) -> None:
    before = key_file.read_bytes()
    with pytest.raises(UsageError, match="never replaced"):
        create_identity(key_file, None)
    key_file.with_suffix(".pub").unlink()
    with pytest.raises(UsageError, match="never replaced"):
        create_identity(key_file, None)
    assert key_file.read_bytes() == before


def test_a_secret_is_never_shown(key_file: Path) -> None:
    identity = load_identity(key_file, nobody)
    for shown in (repr(identity), str(identity), f"{identity}", repr([identity])):
        assert "AGE-SECRET" not in shown


def test_several_recipients_each_open(tmp_path: Path) -> None:
    keys = [create_identity(tmp_path / f"{n}.key", None) for n in range(3)]
    sealed = wrap_for(b"secret", [key.recipient for key in keys[:2]])
    assert [key.open(sealed) for key in keys[:2]] == [b"secret"] * 2
    with pytest.raises(KeyRefused, match="sealed for others"):
        keys[2].open(sealed)


@pytest.mark.parametrize("sealed", [b"", b"age-encryption.org/v1\n", b"\x00" * 500])
def test_damaged_bytes_open_nothing(key_file: Path, sealed: bytes) -> None:
    with pytest.raises(KeyRefused):
        load_identity(key_file, nobody).open(sealed)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no age public key"),
        (b"ssh-ed25519 AAAA", "holds no age public key"),
        (b"age1nonsense\n", "is not an age public key"),
        (b"\xff\xfe\x00", "holds no age public key"),
        (b"x" * 100_000, "too large"),
    ],
)
def test_what_is_no_public_key(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.pub"
    path.write_bytes(content)
    with pytest.raises((UsageError, VaultError), match=message):
        load_recipient(path)


def test_a_secret_key_given_to_the_service_is_refused(key_file: Path) -> None:
    with pytest.raises(UsageError, match=r"holds a secret key; give the \.pub") as caught:
        load_recipient(key_file)
    assert "AGE-SECRET" not in str(caught.value)


def test_what_is_no_secret_key(tmp_path: Path) -> None:
    path = tmp_path / "a.key"
    for content in (b"", b"age1abc\n", b"AGE-SECRET-KEY-1NONSENSE\n"):
        path.write_bytes(content)
        with pytest.raises(UsageError, match="holds no age secret key") as caught:
            load_identity(path, nobody)
        assert "NONSENSE" not in str(caught.value)
    with pytest.raises(UsageError, match="No such file"):
        load_identity(tmp_path / "none.key", nobody)


def test_a_comment_and_an_empty_line_do_no_harm(tmp_path: Path) -> None:
    identity = Identity(str(pyrage.x25519.Identity.generate()))
    path = tmp_path / "a.pub"
    path.write_text(f"# police, unit 4\n\n{identity.recipient.public}\n")
    assert load_recipient(path) == Recipient(identity.recipient.public)
