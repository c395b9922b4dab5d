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


def test_a_network_waits_for_every_name(limiter: LoginLimiter) -> None:
    for number in range(5):
        fail(limiter, f"user{number}", "10.0.1.1")
    assert limiter.check("somebody", "10.0.1.1") == 2
    assert limiter.check("somebody", "10.0.1.2") == 0


def test_nobody_locks_a_name_for_its_owner(limiter: LoginLimiter, clock: Clock) -> None:
    """Four guesses a second for an hour, from one address; the owner comes twice a minute."""
    guesses, refused = 0, 0
    for quarter in range(4 * 3600):
        clock.now += 0.25
        if limiter.check("root", "6.6.6.6") == 0:
            limiter.failed("root", "6.6.6.6")
            guesses += 1
        if quarter % 120 == 3:
            wait = limiter.check("root", f"10.0.{quarter // 120}.7")
            refused += wait > 0
            if wait == 0:
                limiter.succeeded("root", f"10.0.{quarter // 120}.7")
    assert guesses < 30
    assert refused == 0


def test_guessing_from_everywhere_is_slowed_by_some_seconds(
    limiter: LoginLimiter, clock: Clock
) -> None:
    assert limiter.check("bob", "10.0.0.7") == 0
    limiter.succeeded("bob", "10.0.0.7")
    for number in range(10):
        fail(limiter, "bob", f"10.1.{number}.1")
    for number, wait in enumerate((2, 4, 4, 4, 4, 4)):
        assert limiter.check("bob", f"10.2.{number}.1") == wait, "seconds, and never more"
        assert limiter.check("ann", f"10.2.{number}.1") == 0
        limiter.succeeded("ann", f"10.2.{number}.1")
        clock.now += wait
        fail(limiter, "BOB", f"10.2.{number}.1")
    assert limiter.check("bob", "10.0.0.7") == 0, "where bob has signed in, bob does not wait"
    limiter.succeeded("bob", "10.0.0.7")
    clock.now += limits.SOFT.forgotten_seconds
    for number in range(10):
        fail(limiter, "bob", f"10.3.{number}.1")


def test_success_forgets_the_name_but_not_the_network(limiter: LoginLimiter) -> None:
    for _ in range(4):
        fail(limiter, "ann", "10.0.0.1")
    assert limiter.check("ann", "10.0.0.1") == 0
    limiter.succeeded("ann", "10.0.0.1")
    fail(limiter, "ann", "10.0.0.1")  # the network's fifth
    assert limiter.check("ann", "10.0.0.1") == 2
    assert limiter.check("ann", "10.0.0.2") == 0


def test_failures_are_forgotten_one_by_one(limiter: LoginLimiter, clock: Clock) -> None:
    for _ in range(5):
        fail(limiter)
        clock.now += 10
    clock.now += limits.HARD.forgotten_seconds - 50  # the first one has just gone
    assert limiter.check("bob", "10.0.0.1") == 0
    limiter.failed("bob", "10.0.0.1")
    assert limiter.check("bob", "10.0.0.1") == 2
    clock.now += limits.HARD.forgotten_seconds
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
    for number in range(500):
        limiter.succeeded(f"user{number}", "10.2.0.1")
    for table in (limiter._networks, limiter._pairs, limiter._names):
        assert len(table.tries) <= 100
        assert sum(len(part) for key in table.tries for part in key) <= 200 * 128
        assert all(len(each.failures) <= 24 for each in table.tries.values())
    assert len(limiter._known) <= 100
    assert limiter.check("bob", "10.0.0.1") == 300  # in use all the time: not forgotten


def test_who_must_wait_pushes_nobody_out(
    limiter: LoginLimiter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(limits, "MOST_KEYS", 100)
    for _ in range(5):
        fail(limiter, "root", "10.0.0.1")
    for _ in range(5):
        fail(limiter, "eve", "6.6.6.6")
    assert all(limiter.check(f"name{number}", "6.6.6.6") == 2 for number in range(300))
    assert len(limiter._names.tries) == len(limiter._networks.tries) == 2
    for number in range(300):  # one failure each goes before five, however old those are
        fail(limiter, f"other{number}", f"10.9.{number // 250}.{number % 250}")
    assert limiter.check("root", "10.0.0.1") == 2
