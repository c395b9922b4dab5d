"""What the cameras' process says of its cameras, once a second, and that it has gone silent."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from ...status import CameraStatus, SinkStatus

SILENT_SECONDS = 5.0
SILENT, SILENT_WHY = "silent", "the camera process does not answer"


@dataclass(frozen=True, slots=True)
class CameraFact(CameraStatus):
    """A camera's status, and when it came."""

    received_ms: int = 0  # Unix time, this process's clock

    @classmethod
    def from_json(cls, tree: Mapping[str, Any]) -> Self:
        """What `CameraStatus.as_dict` gave. Raises ValueError for anything else."""
        try:
            sinks = [SinkStatus(**sink) for sink in tree["sinks"]]
            fact = cls(**{**tree, "sinks": sinks})
        except (KeyError, TypeError) as error:
            raise ValueError(f"not a camera's status: {error}") from None
        if not isinstance(fact.camera, str) or not isinstance(fact.state, str):
            raise ValueError("not a camera's status: camera and state must be texts")
        return fact

    @property
    def dropped(self) -> int:
        """Frames that were lost before they were encoded."""
        return self.dropped_raw + self.dropped_protected

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)


class CameraFacts:
    """The newest of every camera. Any thread."""

    def __init__(self, *, now_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._now_ms = now_ms
        self._lock = threading.Lock()
        self._facts: dict[str, CameraFact] = {}

    def update(self, status: Mapping[str, CameraFact]) -> None:
        """All cameras at once: who is not in it is gone from the configuration."""
        now_ms = self._now_ms()
        facts = {camera: replace(fact, received_ms=now_ms) for camera, fact in status.items()}
        with self._lock:
            self._facts = facts

    def all(self) -> list[CameraFact]:
        """In the configuration's order; `silent` where nothing was heard for 5 s."""
        with self._lock:
            facts = list(self._facts.values())
        return [self._as_of_now(fact) for fact in facts]

    def get(self, camera: str) -> CameraFact | None:
        """One camera's; None where nothing is known of it."""
        with self._lock:
            fact = self._facts.get(camera)
        return None if fact is None else self._as_of_now(fact)

    def _as_of_now(self, fact: CameraFact) -> CameraFact:
        silent_ms = self._now_ms() - fact.received_ms
        if silent_ms <= SILENT_SECONDS * 1000:
            return fact
        return replace(
            fact,
            state=SILENT,
            error=SILENT_WHY,
            since_ms=fact.received_ms,
            seconds_in_state=round(silent_ms / 1000, 1),
            frames_per_second=0.0,
            faces=0,
        )
