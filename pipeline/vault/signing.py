"""Signatures (Ed25519): the service's over its records, an officer's over packages and the log.

Public keys are written as ssh writes them: `ssh-ed25519 AAAA…`, fingerprints as `ssh-keygen -l`.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import logging
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from ..errors import UsageError, VaultError
from ..evidence.wire import number
from .epoch_keys import hkdf
from .key_files import key_bytes, read_key_file

if TYPE_CHECKING:
    from .identity import Identity

_TYPE = b"ssh-ed25519"
_PUBLIC_BYTES = 32
_OFFICER_LABEL = b"bauta/1 officer signing key"
_OTHERS = 0o077
_log = logging.getLogger(__name__)


class SigningKey:
    """A secret key that signs, and nothing else."""

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key
        self.public: bytes = key.public_key().public_bytes_raw()  # (32,)

    def __repr__(self) -> str:
        return f"SigningKey({fingerprint(self.public)})"

    def sign(self, data: bytes) -> bytes:
        """(64,)"""
        return self._key.sign(data)


def officer_key(identity: Identity) -> SigningKey:
    """Derived from the age secret: whoever may open has one secret to guard, not two."""
    seed = hkdf(key_bytes(identity.secret), b"", _OFFICER_LABEL)
    return SigningKey(Ed25519PrivateKey.from_private_bytes(seed))


def service_key(path: Path) -> SigningKey:
    """The key in `path` (PKCS8, PEM); made where there is none, 0600, with its .pub beside.

    Several processes may begin at once: they get the same. Raises VaultError.
    """
    if not path.exists():
        _create(path)
    try:
        data = path.read_bytes()
        open_to_others = path.stat().st_mode & _OTHERS
    except OSError as error:
        raise VaultError(f"the service's key {path}: {error.strerror}") from None
    if open_to_others:
        _log.warning("%s can be read by others: chmod 600", path)
    try:
        key = load_pem_private_key(data, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise VaultError(
            f"{path} holds no Ed25519 key (PEM, PKCS8, no passphrase); it is never replaced: move "
            "it away to have a new one made, and hand out the new .pub"
        )
    return SigningKey(key)


def load_public(path: Path) -> bytes:
    """(32,) Of a file with a line `ssh-ed25519 AAAA…`. Raises UsageError."""
    text = read_key_file(path).decode("utf-8", "replace")
    if "AGE-SECRET-KEY-" in text or "PRIVATE KEY" in text:
        raise UsageError(f"{path} holds a secret key; give the .pub file beside it")
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0].encode() == _TYPE:
            try:
                return parse_public(line)
            except ValueError:
                raise UsageError(f"{path}: its ssh-ed25519 line is damaged") from None
    raise UsageError(f"{path}: holds no line ssh-ed25519 AAAA…; give the signer's .pub file")


def parse_public(line: str) -> bytes:
    """(32,) The inverse of `public_line`. Raises ValueError."""
    words = line.split()
    if len(words) < 2 or words[0].encode() != _TYPE:
        raise ValueError("no ssh-ed25519 line")
    try:
        blob = base64.b64decode(words[1].encode(), validate=True)
    except binascii.Error:
        raise ValueError("no base64") from None
    public = blob[-_PUBLIC_BYTES:]
    if blob != _blob(public):
        raise ValueError("no ssh-ed25519 key")
    return public


def is_signed(public: bytes, signature: bytes, data: bytes) -> bool:
    """Whether the holder of `public` (32,) signed `data`."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def fingerprint(public: bytes) -> str:
    """`SHA256:…` as ssh-keygen -l prints it."""
    digest = hashlib.sha256(_blob(public)).digest()
    return "SHA256:" + base64.b64encode(digest).decode("ascii").rstrip("=")


def public_line(public: bytes, comment: str = "") -> str:
    """`ssh-ed25519 AAAA… comment`"""
    key = base64.b64encode(_blob(public)).decode("ascii")
    return f"{_TYPE.decode()} {key} {comment}".rstrip()


def _blob(public: bytes) -> bytes:
    return number(len(_TYPE), 4) + _TYPE + number(len(public), 4) + public


def _create(path: Path) -> None:
    public_path = path.with_suffix(".pub")
    if public_path == path:
        raise VaultError(f"{path}: the name must not end in .pub; the public key gets that")
    key = Ed25519PrivateKey.generate()
    line = public_line(key.public_key().public_bytes_raw(), path.stem)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        if public_path.exists() and not path.exists():
            raise VaultError(
                f"{public_path} is there without its key {path}: keys are never replaced; put the "
                "key back, or move the .pub away to have a new pair made"
            )
        if _appears(path, text, 0o600):
            _appears(public_path, f"{line}\n".encode(), 0o644)
    except OSError as error:
        raise VaultError(f"the service's key {path}: {error.strerror}") from None


def _appears(path: Path, data: bytes, mode: int) -> bool:
    """At once and whole. False: there is such a file already, and it is left alone."""
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(beside, path)
            return True
    finally:
        beside.unlink()
    return False
