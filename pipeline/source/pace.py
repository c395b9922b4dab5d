"""A file played at its own speed."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """Says how long a frame has to wait so that stream time runs as fast as the wall clock."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._zero: float | None = None

    def seconds_until(self, pts_seconds: float) -> float:
        """0 or less where the frame is due; the first frame always is."""
        now = self._monotonic()
        if self._zero is None:
            self._zero = now - pts_seconds
        return max(self._zero + pts_seconds - now, 0.0)
