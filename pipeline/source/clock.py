"""Timestamps that only go forward, whatever the camera says.

Files keep their own clock exactly; only missing, repeated and backward stamps are mended, and a
clock that starts again in the middle (files put one behind the other) goes on where it was. Live
sources are put on a 90 kHz clock that starts at 0; a jump or a reconnect continues where the wall
clock says, so that players and recorders never see time run back or leap by hours.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction

LIVE_TIME_BASE = Fraction(1, 90_000)
JUMP_SECONDS = 5.0  # a gap or a step back beyond this is another clock, not another frame
FILE_STEP_BACK_SECONDS = 0.5  # a file's clock that goes back further than this has started again
LEAST_STEP_SECONDS = 0.001  # between two frames: Matroska knows nothing finer


class OutputClock:
    """Maps one session's source timestamps to strictly increasing output ticks."""

    def __init__(
        self,
        *,
        live: bool,
        time_base: Fraction,
        fps: Fraction,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.time_base = LIVE_TIME_BASE if live else time_base
        self.mended = 0  # stamps that were missing, repeated or backward
        self._live = live
        self._monotonic = monotonic
        self._last_ticks: int | None = None
        self._last_wall = 0.0
        self._offset: int | None = None if live else 0  # output ticks minus source ticks
        self._last_source: int | None = None
        self._least_step = max(1, round(LEAST_STEP_SECONDS / self.time_base))
        self.set_rate(fps)

    def set_rate(self, fps: Fraction) -> None:
        """The nominal rate of the source now connected."""
        self._interval = max(1, round(1 / (fps * self.time_base)))

    def reconnected(self) -> None:
        """The source starts a clock of its own; audio waits for the first frame on it."""
        if self._live:
            self._offset = None
            self._last_source = None

    def frame(self, pts: int | None, time_base: Fraction) -> int:
        """Output ticks of the next frame."""
        now = self._monotonic()
        source = None if pts is None else round(pts * time_base / self.time_base)
        ticks = self._place(source, now)
        if self._last_ticks is not None and ticks <= self._last_ticks:
            self.mended += 1
            # Squeezed in just behind: a frame repeated by the camera must not push later ones on.
            ticks = self._last_ticks + (self._interval if self._live else self._least_step)
        if source is not None and self._live and self._offset is None:
            self._offset = ticks - source
        self._last_ticks, self._last_wall = ticks, now
        return ticks

    def audio(self, pts: int, time_base: Fraction) -> int | None:
        """Output ticks of an audio packet, by the last frame's offset; None before any frame."""
        if self._offset is None:
            return None
        return round(pts * time_base / self.time_base) + self._offset

    def _place(self, source: int | None, now: float) -> int:
        if source is None:
            self.mended += 1
            return 0 if self._last_ticks is None else self._last_ticks + self._interval
        if not self._live:
            return self._place_in_file(source)
        previous, self._last_source = self._last_source, source
        if self._last_ticks is None:
            return 0
        jump = JUMP_SECONDS / float(self.time_base)
        if self._offset is not None and (previous is None or abs(source - previous) < jump):
            return source + self._offset
        # another clock: go on where the wall clock is
        self._offset = None
        elapsed = round((now - self._last_wall) / float(self.time_base))
        return self._last_ticks + max(elapsed, self._interval)

    def _place_in_file(self, source: int) -> int:
        assert self._offset is not None
        back = FILE_STEP_BACK_SECONDS / float(self.time_base)
        if self._last_ticks is not None and source + self._offset < self._last_ticks - back:
            self.mended += 1
            self._offset = self._last_ticks + self._interval - source
        return source + self._offset
