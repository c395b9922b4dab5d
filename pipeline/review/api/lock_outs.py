"""Which lock-outs go into the audit log: strangers cause them, and must not be able to fill it."""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Callable

SAME_SECONDS = 900.0  # one entry for the same name and address in so long
MOST_AN_HOUR = 60
_HOUR = 3600.0
_MOST_KEPT = 1024


class LockOuts:
    """In memory. Any thread."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._said: OrderedDict[tuple[str, str], float] = OrderedDict()
        self._lock = threading.Lock()

    def is_new(self, name: str, address: str) -> bool:
        """Whether it is to be logged; True is said once, and counts."""
        now = self._clock()
        with self._lock:
            last = self._said.get((name, address))
            if last is not None and now - last < SAME_SECONDS:
                return False
            if sum(now - at < _HOUR for at in self._said.values()) >= MOST_AN_HOUR:
                return False
            self._said[name, address] = now
            self._said.move_to_end((name, address))
            while len(self._said) > _MOST_KEPT:
                self._said.popitem(last=False)
            return True
