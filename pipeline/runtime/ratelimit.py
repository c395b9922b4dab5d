"""A log that speaks at most once a second and says how much it kept to itself."""

from __future__ import annotations

import logging
import time


class RateLimitedLog:
    """Wraps a logger; one instance per message kind and camera."""

    def __init__(self, log: logging.Logger, *, every_seconds: float = 1.0) -> None:
        self._log = log
        self._every_seconds = every_seconds
        self._next = 0.0
        self._kept_back = 0

    def warning(self, message: str, *args: object) -> None:
        """Log now, or count it for the next time."""
        now = time.monotonic()
        if now < self._next:
            self._kept_back += 1
            return
        self._next = now + self._every_seconds
        if self._kept_back:
            message += f" (and {self._kept_back} like it)"
            self._kept_back = 0
        self._log.warning(message, *args)
