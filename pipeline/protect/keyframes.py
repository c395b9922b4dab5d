"""Which faces are due for fusion in a frame, the longest waiting first."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..frames import FaceBox, FrameMoment
from ..runtime.cadence import Cadence

FORGET_SECONDS = 30.0  # of stream time: tracks are held for a second or so, ids never come back


@dataclass(slots=True)
class _Wait:
    cadence: Cadence
    is_due: bool = False
    fused_seconds: float = float("-inf")  # when it was fused last
    seen_seconds: float = 0.0


class Keyframes:
    """Per track: its first frame, every IDR frame, and every `every_seconds`."""

    def __init__(self, every_seconds: float) -> None:
        self._every_seconds = every_seconds
        self._tracks: dict[int, _Wait] = {}

    def due(self, faces: Sequence[FaceBox], moment: FrameMoment) -> list[FaceBox]:
        """Those that should be fused now. A face stays due until `settle` is told of it.

        Of two that cannot both be fused, the one that has waited longer comes first.
        """
        now = moment.pts_seconds
        for face in faces:
            track = self._tracks.get(face.track_id)
            if track is None:
                track = self._tracks[face.track_id] = _Wait(Cadence(self._every_seconds))
            if moment.is_idr:
                track.cadence.restart(now)
                track.is_due = True
            elif track.cadence.due(now):
                track.is_due = True
            track.seen_seconds = now
        self._forget(now)
        waiting = [face for face in faces if self._tracks[face.track_id].is_due]
        return sorted(waiting, key=lambda face: self._tracks[face.track_id].fused_seconds)

    def settle(self, track_id: int, *, fused_seconds: float | None = None) -> None:
        """Nothing more for this face until it is due again; `fused_seconds` where it was fused."""
        track = self._tracks[track_id]
        track.is_due = False
        if fused_seconds is not None:
            track.fused_seconds = fused_seconds

    def _forget(self, now: float) -> None:
        old = [n for n, track in self._tracks.items() if now - track.seen_seconds > FORGET_SECONDS]
        for track_id in old:
            del self._tracks[track_id]
