"""Everything that is covered in a frame: people, by their numbers, and weak boxes, who are nobody.

A box below `person_score` may be half a face or a wheel. Its neighbourhood is covered like any
other's, but no number, card or keyframe comes of it, and its pixels are sealed as the scene's.
Numbers are given by stronger boxes alone: a phantom beside a face puts nobody's in doubt.
"""

from __future__ import annotations

import numpy as np

from ..frames import NOBODY, Detections, FaceBox, FloatArray
from .tracker import Track, Tracker

INSIDE = 0.95  # of a weak box within somebody's box, an eye or an ear: what the gate calls covered


class Coverage:
    """Fed with every answer of the detector, asked for every frame; like `Tracker`."""

    def __init__(
        self,
        *,
        person_score: float,
        sure_score: float,
        hold_frames: int,
        back_frames: int,
        first_id: int = 1,
    ) -> None:
        """`back_frames`: how far before its first observation a face is covered."""
        self._person_score = person_score
        self._people = Tracker(
            sure_score=sure_score,
            hold_frames=hold_frames,
            back_frames=back_frames,
            first_id=first_id,
        )
        # It is given all boxes, so that a weak one is followed to the stronger one that it turns
        # into, and asked for those stretches alone that the people's tracker knows nothing of.
        self._anything = Tracker(
            sure_score=sure_score,
            hold_frames=back_frames + 1,
            back_frames=back_frames,
            first_id=NOBODY,
        )

    @property
    def live_count(self) -> int:
        """People seen by the last answer."""
        return self._people.live_count

    @property
    def next_id(self) -> int:
        """Where the people of a session that goes on must begin."""
        return self._people.next_id

    @property
    def scene_start(self) -> int:
        """The frame of the last cut: nobody may be traced back beyond it."""
        return self._people.scene_start

    def update(self, found: Detections, index: int) -> list[Track]:
        """The detector's answer for frame `index`, in frame order; returns what is new in it."""
        is_person = found.score >= self._person_score
        people = found.take(is_person)
        new = self._people.update(people, index)
        weak = found.take(~is_person)
        weak = weak.take(_shares_inside(weak.box_xyxy_px, people.box_xyxy_px) < INSIDE)
        anything = self._anything.update(Detections.joined((people, weak)), index)
        return [*new, *(track for track in anything if track.last.score < self._person_score)]

    def cut(self, index: int) -> None:
        """Frame `index` shows another scene than the one before it; told before its answer."""
        self._people.cut(index)
        self._anything.cut(index)

    def repeat(self, index: int) -> None:
        """Nothing moved since the last answer: what it saw is still there."""
        self._people.repeat(index)
        self._anything.repeat(index)

    def boxes_at(self, index: int) -> list[FaceBox]:
        """What is covered in a frame that lies before or at the newest answer."""
        return [
            *self._people.boxes_at(index),
            *self._anything.boxes_at(index, below=self._person_score),
        ]

    def forget_before(self, index: int) -> None:
        """Frames before `index` have gone out: drop what only they needed."""
        self._people.forget_before(index)
        self._anything.forget_before(index)


def _shares_inside(weak_xyxy: FloatArray, people_xyxy: FloatArray) -> FloatArray:
    """(N,) of each weak box, the largest share of its area that lies in one person's box."""
    if not len(weak_xyxy) or not len(people_xyxy):
        return np.zeros(len(weak_xyxy), np.float32)
    top_left = np.maximum(weak_xyxy[:, None, :2], people_xyxy[None, :, :2])
    bottom_right = np.minimum(weak_xyxy[:, None, 2:], people_xyxy[None, :, 2:])
    common = np.prod(np.clip(bottom_right - top_left, 0, None), axis=2)
    area = np.prod(np.maximum(weak_xyxy[:, 2:] - weak_xyxy[:, :2], 1e-3), axis=1)
    shares: FloatArray = (common.max(axis=1) / area).astype(np.float32)
    return shares
