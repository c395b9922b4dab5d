"""What is an age file, told without keys, and what only looks like one."""

from __future__ import annotations

import base64
import contextlib

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.vault.age_file import age_file
from pipeline.vault.age_header import MAGIC, MOST_STANZAS, check_age_header
from pipeline.vault.identity import Identity


def b64(size: int) -> bytes:
    return base64.b64encode(bytes(size)).rstrip(b"=")


X25519 = b"-> X25519 " + b64(32) + b"\n" + b64(32) + b"\n"
SCRYPT = b"-> scrypt " + b64(16) + b" 18\n" + b64(32) + b"\n"
GREASE = b"-> x-grease a b\n" + b64(48) + b"\n" + b64(10) + b"\n"  # a full line, and its end
EMPTY = b"-> other\n\n"
END = b"--- " + b64(32) + b"\n" + bytes(32)


def of(*stanzas: bytes, end: bytes = END) -> bytes:
    return MAGIC + b"".join(stanzas) + end


@pytest.mark.parametrize(
    "data",
    [of(X25519), of(SCRYPT), of(X25519, X25519), of(GREASE, X25519), of(X25519, EMPTY, GREASE)],
)
def test_what_is_one(data: bytes) -> None:
    check_age_header(data)


def test_what_others_write() -> None:
    keys = [pyrage.x25519.Identity.generate().to_public() for _ in range(3)]
    for size in (0, 1, 100_000):
        check_age_header(pyrage.encrypt(bytes(size), keys))
    check_age_header(pyrage.passphrase.encrypt(b"x", "a phrase"))
    identity = Identity(str(pyrage.x25519.Identity.generate()))
    check_age_header(age_file(bytearray(b"x"), [identity.recipient]))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        MAGIC,
        MAGIC + b"-> X25519 x\nsealed",
        of(X25519)[1:],
        of(X25519).replace(b"v1", b"v2"),
        of(X25519).replace(b"\n", b"\r\n"),
        of(),
        of(GREASE),  # for nobody
        of(SCRYPT, X25519),
        of(SCRYPT, SCRYPT),
        of(*[X25519] * (MOST_STANZAS + 1)),
        of(X25519.replace(b"X25519 ", b"X25519  ")),
        of(X25519.replace(b"X25519 ", b"X25519 y ")),
        of(X25519.replace(b"->", b">>")),
        of(b"-> X25519 " + b64(31) + b"\n" + b64(32) + b"\n"),
        of(b"-> X25519 " + b64(32) + b"\n" + b64(31) + b"\n"),
        of(b"-> X25519 " + b64(32) + b"\n" + b64(32) + b"=\n"),
        of(b"-> X25519 " + b64(32)[:-1] + b"B\n" + b64(32) + b"\n"),  # another spelling
        of(b"-> X25519 " + b64(32) + b"\n" + b64(48) + b"\n"),  # a body without its end
        of(b"-> X25519 \xe9" + b64(32)[1:] + b"\n" + b64(32) + b"\n"),
        of(SCRYPT.replace(b" 18", b" 018")),
        of(SCRYPT.replace(b" 18", b"")),
        of(X25519, b"noise\n"),
        of(X25519, end=b"--- " + b64(31) + b"\n" + bytes(32)),
        of(X25519, end=b"---" + b64(32) + b"\n" + bytes(32)),
        of(X25519, end=b"--- " + b64(32) + b"\n" + bytes(31)),
        of(X25519, end=b"--- " + b64(32)),
        of(b"-> x " + b"a" * 70_000 + b"\n\n", X25519),
    ],
)
def test_what_is_none(data: bytes) -> None:
    with pytest.raises(ValueError):
        check_age_header(data)


@given(st.binary(max_size=300), st.integers(0, len(of(X25519)) - 1))
def test_anything_is_answered(noise: bytes, at: int) -> None:
    for data in (MAGIC + noise + END, of(X25519)[:at] + noise + of(X25519)[at:]):
        with contextlib.suppress(ValueError):
            check_age_header(data)
