"""One camera's counters and state."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, field

from .runtime.rate import Rate


@dataclass(slots=True)
class SessionCounts:
    """One camera's counters; written by its threads, read by status lines."""

    state: str = "connecting"
    error: str | None = None
    since: float = field(default_factory=time.monotonic)
    frames_in: int = 0
    frames_out: int = 0
    faces: int = 0  # in the newest frame
    face_frames: int = 0  # summed over frames
    reconnects: int = 0
    damaged_packets: int = 0
    latencies_ns: deque[int] = field(default_factory=lambda: deque(maxlen=250))
    rate: Rate = field(default_factory=Rate)  # of frames out

    def to_state(self, state: str, error: str | None = None) -> None:
        """A new state since now."""
        if state != self.state:
            self.since = time.monotonic()
        self.state, self.error = state, error
