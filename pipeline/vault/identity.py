"""Who may open: age key pairs (X25519). The service holds public keys only.

A key file is what the `age` tool writes as well: comments and one AGE-SECRET-KEY line, as it is or
encrypted with a passphrase. A .pub file has the age key first, and a second line: the Ed25519 key
with which the same secret signs (`signing.officer_key`), as ssh writes it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import pyrage

from ..errors import KeyRefused, UsageError, VaultError
from .key_files import read_key_file, write_key_file
from .signing import officer_key, public_line

_SECRET, _PUBLIC = "AGE-SECRET-KEY-1", "age1"
_ENCRYPTED = (b"age-encryption.org/v1", b"-----BEGIN AGE ENCRYPTED FILE-----")
# age makes a passphrase as slow to try as the machine that sets it is fast, and refuses what would
# take sixteen times as long here. Each attempt measures anew: a busy moment may pass.
_TOO_MUCH_WORK = "Excessive work"
ATTEMPTS = 3

AskPassphrase = Callable[[], str]


@dataclass(frozen=True, slots=True)
class Recipient:
    """A public key: what is sealed for it, its identity opens."""

    public: str  # age1…

    def __post_init__(self) -> None:
        try:
            pyrage.x25519.Recipient.from_str(self.public)
        except (pyrage.RecipientError, ValueError) as error:
            raise VaultError(f"{self.public[:16]}… is not an age public key") from error


@dataclass(frozen=True, slots=True)
class Identity:
    """A secret key. Held by people, never by the service."""

    secret: str = field(repr=False)

    @property
    def recipient(self) -> Recipient:
        """Its public half."""
        return Recipient(str(pyrage.x25519.Identity.from_str(self.secret).to_public()))

    def open(self, sealed: bytes) -> bytes:
        """What was sealed for this key. Raises KeyRefused; why is not told apart."""
        try:
            opened: bytes = pyrage.decrypt(sealed, [pyrage.x25519.Identity.from_str(self.secret)])
        except pyrage.DecryptError:
            raise KeyRefused("this key does not open the clip; it was sealed for others") from None
        return opened


def wrap_for(secret: bytes, recipients: list[Recipient]) -> bytes:
    """An age file that each of the recipients' identities opens."""
    keys = [pyrage.x25519.Recipient.from_str(recipient.public) for recipient in recipients]
    sealed: bytes = pyrage.encrypt(secret, keys)
    return sealed


def load_recipient(path: Path) -> Recipient:
    """A .pub file: the first line that is no comment. Raises UsageError, VaultError."""
    text = read_key_file(path).decode("utf-8", "replace")
    lines = [line.strip() for line in text.splitlines()]
    if any(line.startswith(_SECRET) for line in lines):
        raise UsageError(f"{path} holds a secret key; give the .pub file beside it")
    lines = [line for line in lines if line and not line.startswith("#")]
    if not lines or not lines[0].startswith(_PUBLIC):
        raise UsageError(f"{path}: holds no age public key (age1…); make one with: bauta keys new")
    try:
        return Recipient(lines[0])
    except VaultError as error:
        raise VaultError(f"{path}: {error}") from None


def load_identity(path: Path, ask: AskPassphrase) -> Identity:
    """A key file; `ask` is called where it is encrypted.

    Raises UsageError where there is no key in it, KeyRefused for a wrong passphrase, VaultError
    where this machine takes too long for it.
    """
    data = read_key_file(path)
    if data.startswith(_ENCRYPTED):
        data = _decrypted(data, ask(), path)
    for line in data.decode("utf-8", "replace").splitlines():
        if line.strip().startswith(_SECRET):
            try:
                return Identity(str(pyrage.x25519.Identity.from_str(line.strip())))
            except pyrage.IdentityError:
                break
    raise UsageError(f"{path}: holds no age secret key; it is made by: bauta keys new NAME.key")


def _decrypted(data: bytes, passphrase: str, path: Path) -> bytes:
    """Of an age file with a passphrase."""
    for _ in range(ATTEMPTS):
        try:
            return bytes(pyrage.passphrase.decrypt(data, passphrase))
        except pyrage.DecryptError as error:
            if not str(error).startswith(_TOO_MUCH_WORK):
                raise KeyRefused(f"{path}: wrong passphrase, or the file is damaged") from None
    raise VaultError(
        f"{path}: this machine is too slow or too busy to open it: its passphrase was set on one "
        "more than ten times as fast; try again when nothing else runs here"
    )


def is_encrypted(path: Path) -> bool:
    """Whether a passphrase is needed. Raises UsageError."""
    return read_key_file(path).startswith(_ENCRYPTED)


def create_identity(path: Path, passphrase: str | None, *, now: datetime | None = None) -> Identity:
    """A new key pair: `path` (0600, encrypted where there is a passphrase) and its .pub beside.

    Nothing is ever replaced. Raises UsageError.
    """
    public_path = public_path_of(path)
    if public_path.exists():
        raise UsageError(f"{public_path} exists; keys are never replaced, choose another name")
    identity = Identity(str(pyrage.x25519.Identity.generate()))
    created = (now or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    public = identity.recipient.public
    signs = public_line(officer_key(identity).public)
    text = f"# created: {created}\n# public key: {public}\n{identity.secret}\n".encode()
    if passphrase:
        text = pyrage.passphrase.encrypt(text, passphrase, armored=True)
    write_key_file(path, text, 0o600)
    write_key_file(public_path, f"{public}\n{signs}\n".encode(), 0o644)
    return identity


def public_path_of(path: Path) -> Path:
    """NAME.key to NAME.pub."""
    return path.with_suffix(".pub")
