"""One camera's counters and state."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import deque
from dataclasses import dataclass, field

from .runtime.rate import Rate

LATENCY_BUCKETS_MS = (25, 50, 75, 100, 150, 200, 300, 400, 500, 700, 1000, 2000, 5000)
"""Upper bounds; what is above the last is in a bucket of its own."""


@dataclass(slots=True)
class LatencyHistogram:
    """How long frames took, over a whole session; one thread adds."""

    counts: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BUCKETS_MS) + 1))
    sum_ns: int = 0

    def add(self, nanoseconds: int) -> None:
        """One frame."""
        self.counts[bisect_left(LATENCY_BUCKETS_MS, nanoseconds / 1e6)] += 1
        self.sum_ns += nanoseconds


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass(slots=True)
class SessionCounts:
    """One camera's counters; written by its threads, read by status lines."""

    state: str = "connecting"
    error: str | None = None
    since: float = field(default_factory=time.monotonic)
    since_ms: int = field(default_factory=_now_ms)  # the same in Unix time
    frames_in: int = 0
    frames_out: int = 0
    faces: int = 0  # in the newest frame
    face_frames: int = 0  # summed over frames
    reconnects: int = 0
    damaged_packets: int = 0
    latencies_ns: deque[int] = field(default_factory=lambda: deque(maxlen=250))
    latency: LatencyHistogram = field(default_factory=LatencyHistogram)
    rate: Rate = field(default_factory=Rate)  # of frames out
    width_px: int = 0  # of the protected stream; 0 before it
    height_px: int = 0

    def note_latency(self, nanoseconds: int) -> None:
        """From decoded to encoded, of one frame."""
        self.latencies_ns.append(nanoseconds)
        self.latency.add(nanoseconds)

    def to_state(self, state: str, error: str | None = None) -> None:
        """A new state since now."""
        if state != self.state:
            self.since, self.since_ms = time.monotonic(), _now_ms()
        self.state, self.error = state, error
