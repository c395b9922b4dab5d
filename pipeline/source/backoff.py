"""Pauses between attempts: doubling, bounded, and never in step with other cameras."""

from __future__ import annotations

import random

from ..settings import ReconnectSettings


class Backoff:
    """Full pause = first * 2^failures up to `longest_pause`; a random half of it is waited."""

    def __init__(self, settings: ReconnectSettings, *, rng: random.Random | None = None) -> None:
        self._settings = settings
        # spreads load after a power cut; secrets are drawn elsewhere
        self._rng = rng or random.Random()
        self.failures = 0

    def next_pause_seconds(self) -> float:
        """The pause before the next attempt, between half and all of the full pause."""
        full = self._settings.first_pause * 2.0 ** min(self.failures, 30)
        self.failures += 1
        return min(full, self._settings.longest_pause) * self._rng.uniform(0.5, 1.0)

    def succeeded(self) -> None:
        """A frame has arrived: the next failure starts small again."""
        self.failures = 0
