"""Files of keys, and what an age key's text stands for."""

from __future__ import annotations

import os
from pathlib import Path

from ..errors import UsageError

MOST_BYTES = 64 * 1024  # of a key file; bytes from outside are read no further
_BECH32 = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_CHECKSUM_CHARACTERS, _CHARACTER_BITS, _KEY_BYTES = 6, 5, 32


def read_key_file(path: Path) -> bytes:
    """Raises UsageError."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    if len(data) > MOST_BYTES:
        raise UsageError(f"{path}: too large for a key file")
    return data


def write_key_file(path: Path, data: bytes, mode: int) -> None:
    """The mode is there from the first byte on: no moment in which others can read it.

    Raises UsageError, also where there is such a file already.
    """
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        raise UsageError(f"{path} exists; keys are never replaced, choose another name") from None
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None
    with os.fdopen(handle, "wb") as file:
        file.write(data)


def key_bytes(text: str) -> bytes:
    """(32,) Of age1… or AGE-SECRET-KEY-1…: bech32, whose checksum pyrage has looked at."""
    characters = text.lower().rpartition("1")[2][:-_CHECKSUM_CHARACTERS]
    value = 0
    for character in characters:
        value = value << _CHARACTER_BITS | _BECH32.index(character)
    return (value >> (_CHARACTER_BITS * len(characters) - 8 * _KEY_BYTES)).to_bytes(
        _KEY_BYTES, "big"
    )
