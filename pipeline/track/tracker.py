"""Birth, hold and death of tracks, and where each face is in any frame of the window.

Two thresholds (after ByteTrack, Zhang et al., arXiv 2110.06864): sure detections claim tracks
first and start new ones that are held after loss; weak ones keep a track alive or cover their
own neighbourhood and are forgotten. Every detection is covered in its frame, track or not.

Frames are asked for after the next answer has come (look-ahead), so most boxes lie between two
observations and are interpolated; only the first and the last frames of a track are guessed, and
those carry slack that grows with the distance from what was seen.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ..frames import Detections, FaceBox, FloatArray
from .assign import FIRST_REACH, REACH, assign, is_doubtful, pair_costs

SLACK_PER_FRAME = 0.03  # of the face's size, for each frame away from an observation
MOST_SLACK = 0.25
VELOCITY_DECAY = 0.85  # per frame: a lost face is expected to slow down, not to fly away


@dataclass(frozen=True, slots=True)
class Observation:
    """One box that the network saw."""

    index: int  # frame
    box_xyxy_px: FloatArray = field(repr=False)
    score: float


@dataclass(slots=True)
class Track:
    """One face through time. `seen` is in frame order and never empty."""

    track_id: int
    seen: list[Observation]
    sure: bool  # has been seen at or above `sure_score`: held after loss

    @property
    def last(self) -> Observation:
        """The newest observation."""
        return self.seen[-1]

    def velocity_px(self) -> FloatArray:
        """(4,) change of each side per frame, from the last two observations."""
        if len(self.seen) < 2:
            return np.zeros(4, np.float32)
        before, last = self.seen[-2], self.seen[-1]
        moved = last.box_xyxy_px - before.box_xyxy_px
        rate: FloatArray = (moved / (last.index - before.index)).astype(np.float32)
        return rate

    def predict(self, index: int) -> FloatArray:
        """(4,) where the box is expected after the last observation."""
        frames = index - self.last.index
        # geometric sum of a decaying velocity
        travelled = (1 - VELOCITY_DECAY**frames) / (1 - VELOCITY_DECAY)
        velocity = self.velocity_px()
        # only the motion is carried on; a shrinking box would uncover what it hides
        shift = (velocity[:2] + velocity[2:]) / 2 * travelled
        moved: FloatArray = self.last.box_xyxy_px + np.concatenate([shift, shift])
        return moved.astype(np.float32, copy=False)


class Tracker:
    """Fed with every answer of the detector, asked for every frame."""

    def __init__(
        self, *, sure_score: float, hold_frames: int, back_frames: int, first_id: int = 1
    ) -> None:
        """`back_frames`: how far before its first observation a face is covered."""
        self._sure_score = sure_score
        self._hold_frames = hold_frames
        self._back_frames = back_frames
        self._tracks: list[Track] = []
        self._next_id = first_id
        self._answers: list[int] = []  # frames with an answer, oldest first

    @property
    def live_count(self) -> int:
        """Faces seen by the last answer."""
        if not self._answers:
            return 0
        return sum(track.last.index == self._answers[-1] for track in self._tracks)

    @property
    def next_id(self) -> int:
        """Where a tracker that takes over must begin: an id is never given to two people."""
        return self._next_id

    def update(self, found: Detections, index: int) -> list[Track]:
        """The detector's answer for frame `index`, in frame order; returns the new tracks."""
        self._answers.append(index)
        known = self._next_id
        sure = found.score >= self._sure_score
        free = list(self._tracks)
        free = self._match(free, found.take(sure), index, start_sure=True)
        self._match(free, found.take(~sure), index, start_sure=False)
        return [track for track in self._tracks if track.track_id >= known]

    def trace(self, track: Track, earlier: list[FloatArray]) -> None:
        """Where a new track's face was in the frames just before, newest first."""
        first = track.seen[0]
        for step, box in enumerate(earlier, start=1):
            track.seen.insert(0, Observation(first.index - step, box, first.score))

    def repeat(self, index: int) -> None:
        """Nothing moved since the last answer: what it saw is still there."""
        if not self._answers:
            raise ValueError("there is no answer to repeat")
        last = self._answers[-1]
        self._answers.append(index)
        for track in self._tracks:
            if track.last.index == last:
                _append(track, Observation(index, track.last.box_xyxy_px, track.last.score))

    def boxes_at(self, index: int) -> list[FaceBox]:
        """Where faces are in a frame that lies before or at the newest answer."""
        boxes = (self._box_at(track, index) for track in self._tracks)
        return [box for box in boxes if box is not None]

    def forget_before(self, index: int) -> None:
        """Frames before `index` have gone out: drop what only they needed."""
        self._tracks = [
            track for track in self._tracks if index - track.last.index <= self._reach(track)
        ]
        for track in self._tracks:
            # two observations at or before `index` stay: interpolation needs one, velocity two
            while len(track.seen) > 2 and track.seen[2].index <= index:
                del track.seen[0]
        while len(self._answers) > 1 and self._answers[1] <= index:
            del self._answers[0]

    def _match(
        self, free: list[Track], found: Detections, index: int, *, start_sure: bool
    ) -> list[Track]:
        """Give boxes to tracks or new tracks; returns the tracks that are still without."""
        predicted = np.array([track.predict(index) for track in free], np.float32).reshape(-1, 4)
        reach = np.array(
            [REACH if len(track.seen) > 1 else FIRST_REACH for track in free], np.float32
        )
        costs = pair_costs(predicted, reach, found.box_xyxy_px)
        taken_tracks: set[int] = set()
        taken_boxes: set[int] = set()
        for row, column in assign(costs):
            if is_doubtful(costs, row, column):
                continue  # the box starts a new id; the old tracks are held where they were
            seen = Observation(index, found.box_xyxy_px[column], float(found.score[column]))
            _append(free[row], seen)
            free[row].sure |= start_sure
            taken_tracks.add(row)
            taken_boxes.add(column)
        for column in range(len(found)):
            if column not in taken_boxes:
                seen = Observation(index, found.box_xyxy_px[column], float(found.score[column]))
                self._tracks.append(Track(self._next_id, [seen], start_sure))
                self._next_id += 1
        return [track for row, track in enumerate(free) if row not in taken_tracks]

    def _reach(self, track: Track) -> int:
        """Frames after its last observation for which a track covers."""
        # A weak detection covers to the next answer and a little on: the looks are that far apart.
        return self._hold_frames if track.sure else self._back_frames + 1

    def _box_at(self, track: Track, index: int) -> FaceBox | None:
        first, last = track.seen[0], track.last
        if index < first.index:
            away = first.index - index
            if away > self._back_frames:
                return None
            box = first.box_xyxy_px
            if len(track.seen) > 1:
                second = track.seen[1]
                rate = (second.box_xyxy_px - box) / (second.index - first.index)
                shift = -(rate[:2] + rate[2:]) / 2 * away
                box = box + np.concatenate([shift, shift])
            return _face_box(track.track_id, box, away)
        if index >= last.index:
            away = index - last.index
            if away > self._reach(track):
                return None
            return _face_box(track.track_id, track.predict(index), away)
        for before, after in zip(track.seen, track.seen[1:], strict=False):
            if before.index <= index <= after.index:
                share = (index - before.index) / (after.index - before.index)
                box = before.box_xyxy_px * (1 - share) + after.box_xyxy_px * share
                away = min(index - before.index, after.index - index)
                return _face_box(track.track_id, box, away / 2)  # known on both sides
        raise AssertionError("observations are in order and surround the frame")


def _append(track: Track, seen: Observation) -> None:
    track.seen.append(seen)


def _face_box(track_id: int, box_xyxy_px: FloatArray, frames_away: float) -> FaceBox:
    sides = box_xyxy_px[2:] - box_xyxy_px[:2]
    size = float(max(sides.max(), 2.0))
    slack = min(frames_away * SLACK_PER_FRAME, MOST_SLACK) * size
    return FaceBox(track_id, box_xyxy_px.astype(np.float32), slack)
