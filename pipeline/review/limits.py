"""How often somebody may try to sign in: longer and longer waits, for a name and for an address.

In memory: a restart forgets, and several consoles do not share it.
"""

from __future__ import annotations

import ipaddress
import math
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field

FREE_FAILURES = 5  # the next one is answered only after a wait
LONGEST_WAIT_SECONDS = 300.0
FORGOTTEN_SECONDS = 15 * LONGEST_WAIT_SECONDS  # a failure; so long, waits stay at their longest
UNANSWERED_SECONDS = 60.0  # an attempt that neither failed nor succeeded counts as failed so long
MOST_KEYS = 10_000  # of names, and of addresses: the one longest unused is forgotten
_MOST_FAILURES = FREE_FAILURES + 16  # kept per key; the wait no longer grows there
_MOST_KEY_CHARACTERS = 128


@dataclass(slots=True)
class _Tries:
    failures: list[float] = field(default_factory=list)  # when, oldest first
    open: list[float] = field(default_factory=list)  # attempts that are still being checked

    def forget(self, now: float) -> None:
        self.failures = [each for each in self.failures if now - each < FORGOTTEN_SECONDS]
        self.open = [each for each in self.open if now - each < UNANSWERED_SECONDS]

    def wait(self, now: float) -> float:
        """Seconds until the next attempt may be made."""
        # attempts side by side count as failed, else a hundred at once would all be free
        count = len(self.failures) + len(self.open)
        if count < FREE_FAILURES:
            return 0.0
        last = max([*self.failures[-1:], *self.open[-1:]])
        pause = min(2.0 ** (count - FREE_FAILURES + 1), LONGEST_WAIT_SECONDS)
        return max(0.0, last + pause - now)


class LoginLimiter:
    """Asked before a password is looked at, and told what came of it; any thread may."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._tries: dict[str, OrderedDict[str, _Tries]] = {
            "name": OrderedDict(),
            "address": OrderedDict(),
        }

    def check(self, name: str, address: str) -> int:
        """Whole seconds to wait; 0: go on, and say `failed` or `succeeded` afterwards."""
        with self._lock:
            now = self._clock()
            both = self._both(name, address, now)
            wait = math.ceil(max(each.wait(now) for each in both))
            if wait == 0:
                for each in both:
                    each.open.append(now)
            return wait

    def failed(self, name: str, address: str) -> None:
        """The password was wrong, or there is no such account."""
        with self._lock:
            now = self._clock()
            for each in self._both(name, address, now):
                del each.open[:1]
                each.failures = [*each.failures, now][-_MOST_FAILURES:]

    def succeeded(self, name: str, address: str) -> None:
        """The name's failures are forgotten; the address's are not.

        Whoever has an account could else guess others' passwords between signing in to their own.
        """
        with self._lock:
            of_name, of_address = self._both(name, address, self._clock())
            of_name.failures.clear()
            del of_name.open[:1]
            del of_address.open[:1]

    def _both(self, name: str, address: str, now: float) -> tuple[_Tries, _Tries]:
        return self._of("name", name.casefold(), now), self._of("address", _network(address), now)

    def _of(self, kind: str, key: str, now: float) -> _Tries:
        known = self._tries[kind]
        key = key[:_MOST_KEY_CHARACTERS]
        tries = known.get(key)
        if tries is None:
            while len(known) >= MOST_KEYS:
                known.popitem(last=False)
            tries = known[key] = _Tries()
        known.move_to_end(key)
        tries.forget(now)
        return tries


def _network(address: str) -> str:
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
