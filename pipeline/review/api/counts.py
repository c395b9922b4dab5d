"""What the console itself counts, for /metrics. All of it is touched by the event loop alone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass(slots=True)
class ConsoleCounts:
    """Since the start."""

    requests: Counter[tuple[str, int]] = field(default_factory=Counter)  # (method, status)
    sign_in_failures: int = 0
    lock_outs: int = 0
    audit_failures: int = 0  # entries that could not be written
    viewers: Counter[str] = field(default_factory=Counter)  # user to live pictures now

    def count_request(self, method: str, status: int) -> None:
        """`method` comes from the request: only known ones become a label."""
        known = method in ("GET", "HEAD", "POST", "PATCH", "DELETE", "WEBSOCKET")
        self.requests[method if known else "other", status] += 1
