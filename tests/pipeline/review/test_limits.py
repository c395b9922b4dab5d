"""Waits between attempts to sign in, by a clock of ours."""

from __future__ import annotations

import threading

import pytest

from pipeline.review import limits
from pipeline.review.limits import LoginLimiter


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def limiter(clock: Clock) -> LoginLimiter:
    return LoginLimiter(clock)


def fail(limiter: LoginLimiter, name: str = "bob", address: str = "10.0.0.1") -> None:
    assert limiter.check(name, address) == 0
    limiter.failed(name, address)


def test_five_are_free_then_waits_double(limiter: LoginLimiter, clock: Clock) -> None:
    for _ in range(5):
        fail(limiter)
    for wait in (2, 4, 8, 16, 32, 64, 128, 256, *[300] * 20):
        assert limiter.check("bob", "10.0.0.1") == wait
        clock.now += wait - 0.5
        assert limiter.check("BOB", "10.0.0.1") == 1  # whole seconds, never too few
        clock.now += 0.5
        fail(limiter)


def test_asking_does_not_make_it_longer(limiter: LoginLimiter) -> None:
    for _ in range(5):
        fail(limiter)
    assert [limiter.check("bob", "10.0.0.1") for _ in range(20)] == [2] * 20


def test_a_name_is_held_back_everywhere_and_an_address_for_every_name(
    limiter: LoginLimiter,
) -> None:
    for number in range(5):
        fail(limiter, "bob", f"10.0.0.{number}")
    assert limiter.check("bob", "10.0.9.9") == 2
    assert limiter.check("ann", "10.0.0.1") == 0
    limiter.succeeded("ann", "10.0.0.1")
    for number in range(5):
        fail(limiter, f"user{number}", "10.0.1.1")
    assert limiter.check("somebody", "10.0.1.1") == 2


def test_success_forgets_the_name_but_not_the_address(limiter: LoginLimiter) -> None:
    for _ in range(4):
        fail(limiter, "ann", "10.0.0.1")
    assert limiter.check("ann", "10.0.0.1") == 0
    limiter.succeeded("ann", "10.0.0.1")
    fail(limiter, "ann", "10.0.0.1")  # the address's fifth
    assert limiter.check("ann", "10.0.0.1") == 2
    assert limiter.check("ann", "10.0.0.2") == 0


def test_failures_are_forgotten_one_by_one(limiter: LoginLimiter, clock: Clock) -> None:
    for _ in range(5):
        fail(limiter)
        clock.now += 10
    clock.now += limits.FORGOTTEN_SECONDS - 50  # the first one has just gone
    assert limiter.check("bob", "10.0.0.1") == 0
    limiter.failed("bob", "10.0.0.1")
    assert limiter.check("bob", "10.0.0.1") == 2
    clock.now += limits.FORGOTTEN_SECONDS
    assert limiter.check("bob", "10.0.0.1") == 0


def test_attempts_side_by_side_are_not_all_free(limiter: LoginLimiter, clock: Clock) -> None:
    answers: list[int] = []
    threads = [
        threading.Thread(target=lambda: answers.append(limiter.check("bob", "10.0.0.1")))
        for _ in range(30)
    ]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert sorted(answers) == [0] * 5 + [2] * 25
    clock.now += limits.UNANSWERED_SECONDS  # who went away without an answer counts no longer
    assert limiter.check("bob", "10.0.0.1") == 0


def test_a_network_counts_as_one(limiter: LoginLimiter) -> None:
    for number in range(5):
        fail(limiter, f"user{number}", f"2001:db8::{number}:1%eth0")
    assert limiter.check("bob", "2001:db8::ffff") == 2
    assert limiter.check("bob", "2001:db8:1::1") == 0
    for number in range(5):
        fail(limiter, f"other{number}", "::ffff:10.0.0.7")
    assert limiter.check("eve", "10.0.0.7") == 2
    assert limiter.check("eve", "testclient") == 0  # whatever a proxy or a test calls it


def test_memory_is_bounded(limiter: LoginLimiter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_KEYS", 100)
    for number in range(500):
        fail(limiter, f"{number}{'x' * 10_000}", f"10.1.{number // 250}.{number % 250}")
        limiter.failed("bob", "10.0.0.1")
    for kind in ("name", "address"):
        kept = limiter._tries[kind]
        assert len(kept) <= 100
        assert sum(len(key) for key in kept) <= 100 * 128
        assert all(len(each.failures) <= 21 for each in kept.values())
    assert limiter.check("bob", "10.9.9.9") == 300  # in use all the time: not forgotten
