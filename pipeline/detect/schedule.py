"""Which frames the network looks at.

Rules, first that fits:
 1. the first frame, and the first after a cut or a failed detection;
 2. `detect_every` frames since the last answer, or `longest_gap` of stream time if that is sooner;
 3. motion after stillness, at once.
A frame due by rule 2 in a motionless scene is STILL: what the last look found is still true,
until `gate_refresh` has passed.
"""

from __future__ import annotations

import enum

from ..frames import U8Array
from ..settings import ProtectSettings
from .activity import ActivityGate


class Look(enum.Enum):
    """What is done with a frame."""

    DETECT = "detect"  # the network looks
    STILL = "still"  # nothing moved since it last looked: its answer holds
    BETWEEN = "between"  # covered by the answers before and after


class DetectionSchedule:
    """Asked once per frame, in order."""

    def __init__(self, settings: ProtectSettings) -> None:
        self._settings = settings
        self._gate = ActivityGate()
        self._frames_since_answer = 0
        self._answered_seconds = 0.0
        self._looked_seconds = 0.0
        self._still = False
        self._must_look = True

    def decide(self, thumb: U8Array, pts_seconds: float) -> Look:
        """`thumb` is activity.thumbnail of the frame."""
        active, cut = self._gate.observe(thumb)
        self._frames_since_answer += 1
        due = (
            self._frames_since_answer >= self._settings.detect_every
            or pts_seconds - self._answered_seconds >= self._settings.longest_gap
        )
        woke = active and self._still
        stale = pts_seconds - self._looked_seconds >= self._settings.gate_refresh
        if self._must_look or cut or woke or (due and (active or stale or not self._settings.gate)):
            return self._look(thumb, pts_seconds)
        if due:
            self._still = True
            self._answered(pts_seconds)
            return Look.STILL
        return Look.BETWEEN

    def look_now(self, thumb: U8Array, pts_seconds: float) -> None:
        """The caller has a reason of its own to look at the last decided frame."""
        self._look(thumb, pts_seconds)

    def distrust(self) -> None:
        """A detection failed or frames are missing: look at the next frame whatever it shows."""
        self._must_look = True
        self._gate.forget()

    def _look(self, thumb: U8Array, pts_seconds: float) -> Look:
        self._must_look = self._still = False
        self._looked_seconds = pts_seconds
        self._gate.looked(thumb)
        self._answered(pts_seconds)
        return Look.DETECT

    def _answered(self, pts_seconds: float) -> None:
        self._answered_seconds = pts_seconds
        self._frames_since_answer = 0
