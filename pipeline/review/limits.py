"""How often somebody may try to sign in: longer and longer waits for who guesses.

A network (what one household or office has) waits for all that it gets wrong, and once more for
each name. A name waits over all networks too, but some seconds only: guessing from everywhere at
once is slowed by that, and nobody can lock the name's owner out. Where the owner has signed in
before, that wait does not hold.

In memory: a restart forgets, and several consoles do not share it.
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeAlias

Key: TypeAlias = tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """How failures become waits."""

    free: int  # failures; the next one is answered only after a wait of 2, 4, 8 … seconds
    longest_seconds: float  # a wait
    forgotten_seconds: float  # a failure


HARD = Rule(free=5, longest_seconds=300.0, forgotten_seconds=15 * 300.0)  # waits stay at longest
SOFT = Rule(free=10, longest_seconds=4.0, forgotten_seconds=300.0)
UNANSWERED_SECONDS = 60.0  # an attempt that neither failed nor succeeded counts as failed so long
KNOWN_SECONDS = 30 * 86_400.0  # where somebody signed in is known so long
MOST_KEYS = 10_000  # of networks, of names, and of both together
_MOST_FAILURES = 24  # kept per key; no wait grows any more there
_MOST_KEY_CHARACTERS = 128
_LOOKED_AT = 64  # the longest unused, to choose the one to forget from


@dataclass(slots=True)
class _Tries:
    rule: Rule
    failures: list[float] = field(default_factory=list)  # when, oldest first
    open: list[float] = field(default_factory=list)  # attempts that are still being checked

    def count(self, now: float) -> int:
        """What is held against it."""
        forgotten = self.rule.forgotten_seconds
        self.failures = [each for each in self.failures if now - each < forgotten]
        self.open = [each for each in self.open if now - each < UNANSWERED_SECONDS]
        # attempts side by side count as failed, else a hundred at once would all be free
        return len(self.failures) + len(self.open)

    def wait(self, now: float) -> float:
        """Seconds until the next attempt may be made."""
        count = self.count(now)
        if count < self.rule.free:
            return 0.0
        last = max([*self.failures[-1:], *self.open[-1:]])
        pause = min(2.0 ** (count - self.rule.free + 1), self.rule.longest_seconds)
        return max(0.0, last + pause - now)


class _Table:
    """Tries by key; where there are too many, one with few failures is forgotten."""

    def __init__(self, rule: Rule) -> None:
        self._rule = rule
        self.tries: OrderedDict[Key, _Tries] = OrderedDict()  # the longest unused first

    def wait(self, key: Key, now: float) -> float:
        """Makes nothing: who must wait could else push others out."""
        tries = self.tries.get(key)
        return 0.0 if tries is None else tries.wait(now)

    def of(self, key: Key, now: float) -> _Tries:
        tries = self.tries.get(key)
        if tries is None:
            while len(self.tries) >= MOST_KEYS:
                oldest = islice(self.tries.items(), _LOOKED_AT)
                del self.tries[min(oldest, key=lambda each: each[1].count(now))[0]]
            tries = self.tries[key] = _Tries(self._rule)
        self.tries.move_to_end(key)
        return tries

    def drop(self, key: Key) -> None:
        self.tries.pop(key, None)


class LoginLimiter:
    """Asked before a password is looked at, and told what came of it; any thread may."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._networks, self._pairs, self._names = _Table(HARD), _Table(HARD), _Table(SOFT)
        self._known: OrderedDict[Key, float] = OrderedDict()  # name and network, when

    def check(self, name: str, address: str) -> int:
        """Whole seconds to wait; 0: go on, and say `failed` or `succeeded` afterwards."""
        keys = _keys(name, address)
        with self._lock:
            now = self._clock()
            wait = math.ceil(max(table.wait(key, now) for table, key in self._asked(keys, now)))
            if wait == 0:
                for tries in self._all(keys, now):
                    tries.open.append(now)
            return wait

    def failed(self, name: str, address: str) -> None:
        """The password was wrong, or there is no such account."""
        keys = _keys(name, address)
        with self._lock:
            now = self._clock()
            for tries in self._all(keys, now):
                del tries.open[:1]
                tries.failures = [*tries.failures, now][-_MOST_FAILURES:]

    def succeeded(self, name: str, address: str) -> None:
        """The name's failures in this network are forgotten, and the network is known as its.

        The network's own failures are not: whoever has an account could else guess others'
        passwords between signing in to their own.
        """
        keys = _, pair, one = _keys(name, address)
        with self._lock:
            now = self._clock()
            for tries in self._all(keys, now):
                del tries.open[:1]
            self._pairs.drop(pair)
            if not self._names.of(one, now).count(now):
                self._names.drop(one)
            self._known[pair] = now
            self._known.move_to_end(pair)
            while len(self._known) > MOST_KEYS:
                self._known.popitem(last=False)

    def _asked(self, keys: tuple[Key, Key, Key], now: float) -> Iterator[tuple[_Table, Key]]:
        network, pair, name = keys
        yield self._networks, network
        yield self._pairs, pair
        if now - self._known.get(pair, -math.inf) >= KNOWN_SECONDS:
            yield self._names, name

    def _all(self, keys: tuple[Key, Key, Key], now: float) -> list[_Tries]:
        tables = (self._networks, self._pairs, self._names)
        return [table.of(key, now) for table, key in zip(tables, keys, strict=True)]


def network_of(address: str) -> str:
    """What one household or office has: an IPv4 address, or 64 bits of an IPv6 one."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return str(parsed.ipv4_mapped)
        return str(ipaddress.ip_network((parsed, 64), strict=False))
    return str(parsed)


def _keys(name: str, address: str) -> tuple[Key, Key, Key]:
    """Network, both, name."""
    network = network_of(address)[:_MOST_KEY_CHARACTERS]
    short = name.casefold()[:_MOST_KEY_CHARACTERS]
    return (network,), (short, network), (short,)
