"""Events per second over the last few seconds."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable


class Rate:
    """One thread ticks, any thread reads."""

    def __init__(
        self, *, window_seconds: float = 3.0, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._window_seconds = window_seconds
        self._monotonic = monotonic
        self._ticks: deque[float] = deque(maxlen=2000)

    def tick(self) -> None:
        """One event, now."""
        self._ticks.append(self._monotonic())

    def per_second(self) -> float:
        """0 where nothing came within the window."""
        now = self._monotonic()
        recent = [tick for tick in list(self._ticks) if now - tick <= self._window_seconds]
        if len(recent) < 2:
            return 0.0
        return (len(recent) - 1) / max(now - recent[0], 1e-6)
