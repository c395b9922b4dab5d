"""Something that is due every so many seconds of stream time."""

from __future__ import annotations

_EDGE_SECONDS = 1e-6  # time stamps are fractions: what falls on the edge is due


class Cadence:
    """Due at once, then `every_seconds` after the last time. It follows the stream's clock.

    The gate and the encoder ask the same rule for IDR frames: so that the one knows beforehand
    what the other will do.
    """

    def __init__(self, every_seconds: float) -> None:
        self._every_seconds = every_seconds
        self._next_seconds: float | None = None

    def due(self, seconds: float) -> bool:
        """Whether the frame at `seconds` is due; if so, the next one is counted from here."""
        if self._next_seconds is not None and seconds < self._next_seconds - _EDGE_SECONDS:
            return False
        self.restart(seconds)
        return True

    def restart(self, seconds: float) -> None:
        """It has happened at `seconds`, for whatever reason."""
        self._next_seconds = seconds + self._every_seconds
