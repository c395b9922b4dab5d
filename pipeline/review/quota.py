"""How much one account may do in a day, where each time leaves an entry in the audit log.

In memory: a restart forgets.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable

DAY_SECONDS = 86_400.0


class DailyQuota:
    """So many times in any 24 hours, for each account. Any thread."""

    def __init__(self, most: int, now: Callable[[], float]) -> None:
        """`now` is in seconds."""
        self._most, self._now = most, now
        self._lock = threading.Lock()
        self._times: dict[int, deque[float]] = {}  # account's id to when, oldest first

    def take(self, account_id: int) -> bool:
        """Count one time; False: there is none left, and nothing is counted."""
        oldest = self._now() - DAY_SECONDS
        with self._lock:
            for known in [key for key, times in self._times.items() if times[-1] <= oldest]:
                del self._times[known]
            times = self._times.setdefault(account_id, deque())
            while times and times[0] <= oldest:
                times.popleft()
            if len(times) >= self._most:
                return False
            times.append(self._now())
            return True
