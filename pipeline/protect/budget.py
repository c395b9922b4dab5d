"""How much may be spent per second of stream time: the stream must not fall behind."""

from __future__ import annotations

FACE_PX = 112  # the side of the face that counts as one


class Budget:
    """Fills with `per_second`, holds one second's worth, and may go into debt once.

    Debt, so that what costs more than the whole budget happens now and then instead of never.
    """

    def __init__(self, per_second: float, *, most: float | None = None) -> None:
        """`most`: what can be saved up; default: a second's worth."""
        self._per_second = per_second
        self._most = per_second if most is None else most
        self._left = self._most
        self._seconds: float | None = None

    def has_any(self, seconds: float) -> bool:
        """Whether something is left at `seconds` of the stream's clock."""
        if self._seconds is not None and seconds > self._seconds:
            gained = (seconds - self._seconds) * self._per_second
            self._left = min(self._left + gained, self._most)
        self._seconds = seconds
        return self._left > 0

    def spend(self, cost: float) -> None:
        """Take it; negative gives back."""
        self._left -= cost


def cost_of(side_px: int) -> float:
    """A square's work in faces of 112 x 112: it goes with the area."""
    return max((side_px / FACE_PX) ** 2, 0.25)  # a small one costs its overhead
