"""How passwords are kept: argon2id, never two alike, never many at once."""

from __future__ import annotations

import re
import threading
import time
from typing import Literal

import argon2
import pytest

from pipeline.errors import UsageError
from pipeline.review import passwords

GOOD = "correct horse battery"


def test_a_hash_is_argon2id_with_the_librarys_parameters() -> None:
    first, second = passwords.hash_password(GOOD), passwords.hash_password(GOOD)
    expected = argon2.profiles.RFC_9106_LOW_MEMORY
    cost = f"m={expected.memory_cost},t={expected.time_cost},p={expected.parallelism}"
    assert re.fullmatch(
        rf"\$argon2id\$v=19\${cost}\$[A-Za-z0-9+/]{{22}}\$[A-Za-z0-9+/]{{43}}", first
    )
    assert first != second
    assert passwords.fits(GOOD, first) and passwords.fits(GOOD, second)
    assert not passwords.fits(GOOD + " ", first) and not passwords.fits("", first)
    assert not passwords.is_outdated(first)
    assert argon2.PasswordHasher().verify(first, GOOD)


def test_an_unknown_account_takes_a_real_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    checked: list[str] = []

    class Hasher(argon2.PasswordHasher):
        def verify(self, hash: str | bytes, password: str | bytes) -> Literal[True]:
            checked.append(str(hash))
            return super().verify(hash, password)

    monkeypatch.setattr(passwords, "_HASHER", Hasher(time_cost=1, memory_cost=8, parallelism=1))
    passwords._dummy.cache_clear()
    assert not passwords.fits(GOOD, None)
    assert not passwords.fits("whoever asks for an account that is none", None)
    passwords._dummy.cache_clear()
    assert len(checked) == 2 and checked[0] == checked[1] and checked[0].startswith("$argon2id$")


def test_older_parameters_and_no_hash_at_all() -> None:
    old = argon2.PasswordHasher(time_cost=1, memory_cost=8, parallelism=1).hash(GOOD)
    assert passwords.is_outdated(old) and passwords.fits(GOOD, old)
    for broken in ("", "x", "$argon2id$", old[:-1], "$2b$12$abcdefghijklmnopqrstuv"):
        assert not passwords.fits(GOOD, broken)
    assert not passwords.is_outdated("x")


def test_the_rule() -> None:
    passwords.check_rule("x" * 12, "bob")
    passwords.check_rule("x" * 1024, "bob")
    passwords.check_rule("\ud800" * 12, "bob")  # what JSON can bring
    for password, name, why in (
        ("x" * 11, "bob", "at least 12 characters"),
        ("x" * 1025, "bob", "at most 1024 bytes"),
        ("ü" * 513, "bob", "at most 1024 bytes"),
        (" Administrator1 ", "administrator1", "must not be the account's name"),
    ):
        with pytest.raises(UsageError, match=why) as caught:
            passwords.check_rule(password, name)
        assert password not in str(caught.value)


def test_only_two_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes 64 MiB."""
    lock, running, most = threading.Lock(), 0, 0

    class Hasher:
        def hash(self, password: bytes) -> str:
            nonlocal running, most
            with lock:
                running += 1
                most = max(most, running)
            time.sleep(0.02)
            with lock:
                running -= 1
            return "x"

    monkeypatch.setattr(passwords, "_HASHER", Hasher())
    threads = [threading.Thread(target=passwords.hash_password, args=(GOOD,)) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert (most, running) == (2, 0)
