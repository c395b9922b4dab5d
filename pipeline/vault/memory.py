"""Secrets that must not outlive their use: made in memory that can be overwritten, and overwritten.

Python's `bytes` cannot be changed and its integers leave copies behind, so what must go is kept in
bytearrays. Where a library hands out `bytes`, `wipe` overwrites those too.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager

_BYTES_START = bytes.__basicsize__ - 1  # where CPython keeps the content; the size counts the \0
_LEAST_BYTES = 2  # of one byte each there is only one object in the process


def random_secret(count: int) -> bytearray:
    """`count` bytes of the system's randomness; there is no other copy of them."""
    secret = bytearray(count)
    with open("/dev/urandom", "rb", buffering=0) as file:  # noqa: PTH123
        at = 0
        while at < count:
            at += file.readinto(memoryview(secret)[at:]) or 0
    return secret


def wipe(secret: bytearray | bytes) -> None:
    """Overwrites it with zeros, in place.

    Of `bytes` only those that a library has just made for the caller: a constant, or what somebody
    else holds as well, would change under their hands.
    """
    if isinstance(secret, bytearray):
        if secret:
            ctypes.memset(ctypes.addressof(ctypes.c_char.from_buffer(secret)), 0, len(secret))
    elif len(secret) >= _LEAST_BYTES:
        ctypes.memset(id(secret) + _BYTES_START, 0, len(secret))


@contextmanager
def wiped(*secrets: bytearray | bytes) -> Iterator[None]:
    """Wipes them at the end, whatever happens."""
    try:
        yield
    finally:
        for secret in secrets:
            wipe(secret)
