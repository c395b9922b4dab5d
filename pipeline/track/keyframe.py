"""Which faces need the network in a frame, and why; the longest waiting first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ..frames import Doubt, FaceBox, FrameMoment
from ..runtime.cadence import Cadence

FORGET_SECONDS = 30.0  # of stream time: tracks are held for a second or so, ids never come back
# After a fusion, doubt alone does not ask for another one sooner: in a scene that never becomes
# certain a face would be fused in every frame. It is plainly obfuscated meanwhile.
DOUBT_PAUSE_SECONDS = 0.4
_EDGE_SECONDS = 1e-6  # time stamps are fractions: what falls on the edge is due

Reason = Literal["first frame", "IDR", "time"] | Doubt


@dataclass(slots=True)
class _Wait:
    cadence: Cadence
    reason: Reason | None = None  # why it is due; None: it is not
    fused_seconds: float = float("-inf")  # when it was fused last
    seen_seconds: float = 0.0


class KeyframePolicy:
    """Per track: its first frame, every IDR frame, every `every_seconds`, and doubt."""

    def __init__(self, every_seconds: float) -> None:
        self._every_seconds = every_seconds
        self._tracks: dict[int, _Wait] = {}
        self.reasons: Counter[str] = Counter()  # how often a face became due, by reason

    def due(
        self, faces: Sequence[FaceBox], moment: FrameMoment, doubts: Mapping[int, Doubt]
    ) -> list[FaceBox]:
        """Those that should be fused now. A face stays due until `settle` is told of it.

        `doubts`: why a track's protection could not be carried into this frame. Of two that cannot
        both be fused, the one that has waited longer comes first.
        """
        now = moment.pts_seconds
        for face in faces:
            track = self._tracks.get(face.track_id)
            is_new = track is None
            if track is None:
                track = self._tracks[face.track_id] = _Wait(Cadence(self._every_seconds))
            track.seen_seconds = now
            due_by_time = track.cadence.due(now)
            if moment.is_idr:
                track.cadence.restart(now)
            if track.reason is not None and not (due_by_time or moment.is_idr):
                continue  # it waits already
            reason: Reason | None = None
            if is_new:
                reason = "first frame"
            elif moment.is_idr:
                reason = "IDR"
            elif due_by_time:
                reason = "time"
            elif face.track_id in doubts:
                reason = doubts[face.track_id]
            if reason is not None and track.reason is None:
                self.reasons[reason] += 1
            track.reason = reason
        self._forget(now)
        waiting = [face for face in faces if self._is_due(self._tracks[face.track_id], now)]
        return sorted(waiting, key=lambda face: self._tracks[face.track_id].fused_seconds)

    def settle(self, track_id: int, *, fused_seconds: float | None = None) -> None:
        """Nothing more for this face until it is due again; `fused_seconds` where it was fused."""
        track = self._tracks[track_id]
        track.reason = None
        if fused_seconds is not None:
            track.fused_seconds = fused_seconds
            track.cadence.restart(fused_seconds)

    def _is_due(self, track: _Wait, now: float) -> bool:
        if track.reason in (None, "first frame", "IDR", "time"):
            return track.reason is not None
        return now - track.fused_seconds >= DOUBT_PAUSE_SECONDS - _EDGE_SECONDS

    def _forget(self, now: float) -> None:
        old = [n for n, track in self._tracks.items() if now - track.seen_seconds > FORGET_SECONDS]
        for track_id in old:
            del self._tracks[track_id]
