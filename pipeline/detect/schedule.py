"""Which frames the network looks at.

Rules, first that fits:
 1. the first frame, the first after a failed detection, and two at a cut or a change of light: the
    frame that changed and the one after it, which is the first in good light after a flash;
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
from .scene_change import SceneChange


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

    def decide(
        self, thumb: U8Array, pts_seconds: float, change: SceneChange = SceneChange.LITTLE
    ) -> Look:
        """`thumb` is activity.thumbnail of the frame, `change` what became of the one before."""
        active = self._gate.observe(thumb)
        self._frames_since_answer += 1
        due = (
            self._frames_since_answer >= self._settings.detect_every
            or pts_seconds - self._answered_seconds >= self._settings.longest_gap
        )
        woke = active and self._still
        stale = pts_seconds - self._looked_seconds >= self._settings.gate_refresh
        abrupt = change in (SceneChange.CUT, SceneChange.LIGHT)
        if (
            self._must_look
            or abrupt
            or woke
            or (due and (active or stale or not self._settings.gate))
        ):
            look = self._look(thumb, pts_seconds)
            self._must_look = abrupt
            return look
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
