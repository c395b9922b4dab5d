"""Once imported, what the vault puts secrets into is never freed.

Freed memory is soon used for something else, which hides that nobody had wiped it.
"""

from __future__ import annotations

from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from pipeline.vault import age_file, epoch, threshold
from pipeline.vault.memory import random_secret

_held: list[object] = []


class _Held(bytearray):
    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        _held.append(self)


class _Spy:
    """Passes everything on, and holds the bytes that come back."""

    def __init__(self, real: Any) -> None:
        self._real = real

    def __getattr__(self, name: str) -> Any:
        return _spied(getattr(self._real, name))

    def __call__(self, *given: Any, **named: Any) -> Any:
        return _spied(self._real(*given, **named))


def _spied(value: Any) -> Any:
    if isinstance(value, bytes | bytearray | int | None):
        _held.append(value)
        return value
    return _Spy(value)


def _random_secret(count: int) -> bytearray:
    secret = random_secret(count)
    _held.append(secret)
    return secret


for module in (age_file, epoch, threshold):
    vars(module).update(bytearray=_Held, random_secret=_random_secret)
for module in (age_file, epoch):
    vars(module).update(HKDF=_Spy(HKDF))
vars(age_file).update(X25519PrivateKey=_Spy(X25519PrivateKey))
