"""Once imported, what the vault puts secrets into is never freed.

Freed memory is soon used for something else, which hides that nobody had wiped it.
"""

from __future__ import annotations

from typing import Any

from pipeline.vault import age_file, epoch, threshold

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
    secret = _random(count)
    _held.append(secret)
    return secret


_random = epoch.random_secret
for module in (age_file, epoch, threshold):
    module.bytearray = _Held
    module.random_secret = _random_secret
for module in (age_file, epoch):
    module.HKDF = _Spy(module.HKDF)
age_file.X25519PrivateKey = _Spy(age_file.X25519PrivateKey)
