"""Passwords of the console's accounts: argon2id. Those of keys and clips are in the vault."""

from __future__ import annotations

import threading
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from ..errors import UsageError

LEAST_CHARACTERS = 12
MOST_BYTES = 1024
AT_A_TIME = 2  # each takes 64 MiB and a few cores: whoever guesses must not fill the memory

_HASHER = PasswordHasher()
_HASHING = threading.BoundedSemaphore(AT_A_TIME)


def check_rule(password: str, name: str) -> None:
    """Raises UsageError where it is too short, too long, or the account's name."""
    if len(password) < LEAST_CHARACTERS:
        raise UsageError(f"a password has at least {LEAST_CHARACTERS} characters")
    if len(_bytes(password)) > MOST_BYTES:
        raise UsageError(f"a password has at most {MOST_BYTES} bytes")
    if password.strip().casefold() == name.casefold():
        raise UsageError("a password must not be the account's name")


def hash_password(password: str) -> str:
    """With its parameters and a fresh salt. Takes tens of milliseconds, on purpose."""
    with _HASHING:
        return _HASHER.hash(_bytes(password))


def fits(password: str, hashed: str | None) -> bool:
    """Whether it is the one that was hashed.

    `hashed` None (no such account) takes as long and is False: the time says nothing about names.
    """
    password_bytes = _bytes(password)[: MOST_BYTES + 1]  # what is longer fits nothing
    stored = _dummy() if hashed is None else hashed
    with _HASHING:
        try:
            _HASHER.verify(stored, password_bytes)
        except (VerificationError, InvalidHashError):
            return False
    return hashed is not None


def is_outdated(hashed: str) -> bool:
    """Whether it was made with other parameters than today's."""
    try:
        return _HASHER.check_needs_rehash(hashed)
    except InvalidHashError:
        return False


def _bytes(password: str) -> bytes:
    # JSON can bring half a surrogate pair, which UTF-8 refuses
    return password.encode("utf-8", "surrogatepass")


@cache
def _dummy() -> str:
    return hash_password("whoever asks for an account that is none")
