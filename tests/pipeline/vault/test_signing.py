"""Signing keys: the service's file, an officer's derived key, public keys as ssh writes them."""

from __future__ import annotations

import logging
import os
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)

from pipeline.errors import UsageError, VaultError
from pipeline.vault.identity import create_identity, load_identity, load_recipient
from pipeline.vault.key_files import key_bytes
from pipeline.vault.signing import (
    fingerprint,
    is_signed,
    load_public,
    officer_key,
    parse_public,
    public_line,
    service_key,
)
from support.people import people


def pem(key: object, password: bytes | None = None) -> bytes:
    how = BestAvailableEncryption(password) if password else NoEncryption()
    made: bytes = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)  # type: ignore[attr-defined]
    return made


def test_a_service_makes_its_key_once(tmp_path: Path) -> None:
    path = tmp_path / "state" / "service.key"
    before = os.umask(0)
    try:
        key = service_key(path)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700
    assert sorted(item.name for item in path.parent.iterdir()) == ["service.key", "service.pub"]
    assert load_public(path.with_suffix(".pub")) == key.public and len(key.public) == 32
    content = path.read_bytes()
    assert service_key(path).public == key.public
    assert path.read_bytes() == content
    signature = service_key(path).sign(b"record")
    assert is_signed(key.public, signature, b"record")
    assert not is_signed(key.public, signature, b"recorD")
    assert not is_signed(key.public, signature[:-1], b"record")
    assert not is_signed(bytes(32), signature, b"record")
    assert not is_signed(b"short", signature, b"record")


def test_several_that_begin_at_once_get_the_same(tmp_path: Path) -> None:
    path = tmp_path / "service.key"
    with ThreadPoolExecutor(8) as pool:
        keys = {key.public for key in pool.map(service_key, [path] * 8)}
    assert len(keys) == 1 and load_public(tmp_path / "service.pub") in keys
    assert len(list(tmp_path.iterdir())) == 2


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "service.key"
    wrong = {
        "empty": b"",
        "damaged": pem(Ed25519PrivateKey.generate())[:60],
        "another kind": pem(generate_private_key(SECP256R1())),
        "a passphrase": pem(Ed25519PrivateKey.generate(), b"open sesame"),
    }
    for content in wrong.values():
        path.write_bytes(content)
        with pytest.raises(VaultError, match="it is never replaced") as caught:
            service_key(path)
        assert "\n" not in str(caught.value)
        assert path.read_bytes() == content
    path.unlink()
    (tmp_path / "service.pub").write_text("pinned by somebody")
    with pytest.raises(VaultError, match="without its key"):
        service_key(path)
    assert [item.name for item in tmp_path.iterdir()] == ["service.pub"]
    assert (tmp_path / "service.pub").read_text() == "pinned by somebody"


def test_places_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VaultError, match=r"service's key .*: File exists"):
        service_key(tmp_path / "file" / "service.key")
    with pytest.raises(VaultError, match="Is a directory"):
        service_key(tmp_path)
    with pytest.raises(VaultError, match=r"must not end in \.pub"):
        service_key(tmp_path / "service.pub")


def test_a_key_that_others_can_read_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "service.key"
    with caplog.at_level(logging.WARNING):
        service_key(path)
        assert not caplog.records
        path.chmod(0o640)
        service_key(path)
    assert "can be read by others" in caplog.text


def test_a_secret_is_never_shown(tmp_path: Path) -> None:
    key = service_key(tmp_path / "service.key")
    assert repr(key) == f"SigningKey({fingerprint(key.public)})"


def test_an_officer_has_one_secret(tmp_path: Path) -> None:
    identity = create_identity(tmp_path / "dpo.key", None)
    again = load_identity(tmp_path / "dpo.key", lambda: "")
    assert officer_key(identity).public == officer_key(again).public
    assert load_public(tmp_path / "dpo.pub") == officer_key(identity).public
    assert load_recipient(tmp_path / "dpo.pub") == identity.recipient
    age, ssh = (tmp_path / "dpo.pub").read_text().splitlines()
    assert age == identity.recipient.public and ssh.startswith("ssh-ed25519 AAAA")
    others = {officer_key(one).public for one in people(20)}
    assert len(others) == 20 and officer_key(identity).public not in others
    signature = officer_key(identity).sign(b"x")
    assert is_signed(officer_key(again).public, signature, b"x")


def test_what_an_age_key_stands_for() -> None:
    """Against the curve itself: the public half of the secret's bytes is the recipient's."""
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    for identity in people(10):
        secret = X25519PrivateKey.from_private_bytes(key_bytes(identity.secret))
        assert secret.public_key().public_bytes_raw() == key_bytes(identity.recipient.public)


def test_public_keys_as_ssh_writes_them(tmp_path: Path) -> None:
    public = bytes(range(32))
    line = public_line(public, "gate 3")
    assert line.startswith("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI") and line.endswith(" gate 3")
    assert parse_public(line) == parse_public(public_line(public)) == public
    path = tmp_path / "a.pub"
    path.write_text(f"# a comment\nage1abc\n{line}\n")
    assert load_public(path) == public


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="needs ssh-keygen")
def test_ssh_keygen_agrees(tmp_path: Path) -> None:
    key = service_key(tmp_path / "service.key")
    done = subprocess.run(
        ["ssh-keygen", "-l", "-f", tmp_path / "service.pub"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.split()[:2] == ["256", fingerprint(key.public)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no line ssh-ed25519"),
        (b"age1abc\n", "holds no line ssh-ed25519"),
        (b"ssh-rsa AAAA\n", "holds no line ssh-ed25519"),
        (b"ssh-ed25519\n", "holds no line ssh-ed25519"),
        (b"\xff\xfe", "holds no line ssh-ed25519"),
        (b"ssh-ed25519 AAAA\n", "is damaged"),
        (b"ssh-ed25519 !\n", "is damaged"),
        ("ssh-ed25519 Ü\n".encode(), "is damaged"),
        (b"AGE-SECRET-KEY-1ABC\n", "holds a secret key"),
        (b"-----BEGIN PRIVATE KEY-----\n", "holds a secret key"),
        (b"x" * 100_000, "too large"),
    ],
)
def test_what_is_no_public_key(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "a.pub"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message):
        load_public(path)


def test_a_key_of_the_wrong_length_is_none(tmp_path: Path) -> None:
    for public in (bytes(31), bytes(33), b""):
        with pytest.raises(ValueError, match="no ssh-ed25519 key"):
            parse_public(public_line(public))
    with pytest.raises(UsageError, match="No such file"):
        load_public(tmp_path / "none.pub")
