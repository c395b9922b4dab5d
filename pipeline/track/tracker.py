"""Birth, hold and death of tracks, and where each face is in any frame of the window.

Two thresholds (after ByteTrack, Zhang et al., arXiv 2110.06864): sure detections claim tracks
first and start new ones that are held after loss; weak ones keep a track alive or cover their
own neighbourhood and are forgotten. Every detection is covered in its frame, track or not.

Ids never go from one person to another: where a match is a guess, all ids that it may have meant
are closed and a new one begins. Closed tracks go on covering. A cut closes every track.

Frames are asked for after the next answer has come (look-ahead), so most boxes lie between two
observations and are interpolated; only the first and the last frames of a track are guessed, and
those carry slack that grows with the distance from what was seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from ..frames import Detections, FaceBox, FloatArray
from .assign import (
    AWAY,
    FIRST_REACH,
    LEAST_REACH,
    NEAR,
    REACH,
    TURN,
    WEAK_REACH,
    assign,
    distances,
    doubtful,
    pair_costs,
)

SLACK_PER_FRAME = 0.03  # of the face's size, for each frame away from an observation
MOST_SLACK = 0.25
COVER_DECAY = 0.92  # of the speed, per frame: a lost face is covered where it slows down ...
EXPECT_DECAY = 0.98  # ... and looked for where it goes on walking
STRIDE = 0.03  # face sizes a frame that a newcomer moves, as far as anybody knows


@dataclass(frozen=True, slots=True)
class Observation:
    """One box that the network saw."""

    index: int  # frame
    box_xyxy_px: FloatArray = field(repr=False)
    score: float


@dataclass(slots=True)
class Track:
    """One face through time. `seen` is in frame order and never empty.

    An open track may be given further boxes. A closed one only covers, for as long as it would
    have: its face may be one of several. It is lurking until somebody is found who it may be.
    """

    track_id: int
    seen: list[Observation]
    sure: bool  # has been seen at or above `sure_score`: held after loss
    begins: int = 0  # frame of the cut that it came after; no box before
    ends: int | None = None  # frame of the cut that it came before; no box from there on
    is_open: bool = True
    is_lurking: bool = False
    was_missed: bool = False  # not found since it was last seen
    stride: float = STRIDE  # face sizes a frame, while it has been seen only once
    drift_px: FloatArray = field(default_factory=lambda: np.zeros(4, np.float32), repr=False)
    """Motion of the one that it may be the same as; used only after it is closed."""

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

    def lead_in(self, earlier_xyxy_px: Sequence[FloatArray]) -> None:
        """Where a new track's face was in the frames just before, newest first."""
        first = self.seen[0]
        for step, box in enumerate(earlier_xyxy_px, start=1):
            self.seen.insert(0, Observation(first.index - step, box, first.score))

    def predict(self, index: int) -> FloatArray:
        """(4,) the box to cover after the last observation."""
        return self._moved(index, self.velocity_px(), COVER_DECAY)

    def expect(self, index: int) -> FloatArray:
        """(4,) where to look for the face after the last observation."""
        guessed = len(self.seen) == 1 and not self.is_open
        return self._moved(index, self.drift_px if guessed else self.velocity_px(), EXPECT_DECAY)

    def reach(self, index: int) -> float:
        """Face sizes from `expect` beyond which a box is somebody else."""
        if len(self.seen) == 1:
            return LEAST_REACH if self.was_missed else FIRST_REACH
        return min(REACH, LEAST_REACH + TURN * (index - self.last.index) ** 2)

    def unsure(self, index: int) -> float:
        """Face sizes by which `expect` is usually off."""
        frames = index - self.last.index
        if len(self.seen) == 1:
            return self.stride * frames
        return min(TURN / 2 * frames**2, self.speed() * frames + 0.05)

    def roam(self, index: int) -> float:
        """Face sizes by which an unseen face may be away from `expect`."""
        frames = index - self.last.index
        if len(self.seen) == 1:
            return NEAR + self.stride * frames
        return AWAY + min(TURN * frames**2, self.speed() * frames)

    def speed(self) -> float:
        """Face sizes a frame."""
        if len(self.seen) == 1:
            return self.stride
        x1, y1, x2, y2 = self.last.box_xyxy_px
        rate = self.velocity_px()
        moved = float(np.hypot(rate[0] + rate[2], rate[1] + rate[3])) / 2
        return moved / max(float(x2 - x1 + y2 - y1) / 2, 1.0)

    def _moved(self, index: int, rate_px: FloatArray, decay: float) -> FloatArray:
        # geometric sum of a decaying velocity
        travelled = (1 - decay ** (index - self.last.index)) / (1 - decay)
        # only the motion is carried on; a shrinking box would uncover what it hides
        shift = (rate_px[:2] + rate_px[2:]) / 2 * travelled
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
        self._scene_start = 0  # frame of the last cut
        self._answers: list[int] = []  # frames with an answer, oldest first

    @property
    def live_count(self) -> int:
        """Faces seen by the last answer."""
        if not self._answers:
            return 0
        return sum(
            track.is_open and track.last.index == self._answers[-1] for track in self._tracks
        )

    @property
    def next_id(self) -> int:
        """Where a tracker that takes over must begin: an id is never given to two people."""
        return self._next_id

    @property
    def scene_start(self) -> int:
        """The frame of the last cut: nobody may be traced back beyond it."""
        return self._scene_start

    def update(self, found: Detections, index: int) -> list[Track]:
        """The detector's answer for frame `index`, in frame order; returns the new tracks."""
        self._answers.append(index)
        opened = [track for track in self._tracks if track.is_open]
        lurking = [track for track in self._tracks if track.is_lurking]
        sure = found.score >= self._sure_score
        apart = _apart([*opened, *lurking], found.box_xyxy_px, index)
        pairs = _pairs(opened, apart[: len(opened)], sure, index)
        unsure = np.array([track.unsure(index) for track in opened], np.float32)
        matched = {row for row, _ in pairs}
        roams = [
            # seen once it may have gone to any box near by, whichever was the nearest
            0.0 if row in matched and len(track.seen) > 1 else track.roam(index)
            for row, track in enumerate([*opened, *lurking])
        ]
        guesses = doubtful(apart, pairs, unsure, np.array(roams, np.float32))
        for row, column in guesses:
            # Not only the one that fits best: whoever was near and not found is as much in doubt.
            for other in range(len(opened)):
                lost = other not in matched and apart[other, column] < roams[other]
                if other == row or lost:
                    opened[other].is_open, opened[other].is_lurking = False, True
        for row, track in enumerate(opened):
            track.was_missed = row not in matched
        taken = dict((column, row) for row, column in pairs if (row, column) not in guesses)
        new: list[Track] = []
        for column in range(len(found)):
            seen = Observation(index, found.box_xyxy_px[column], float(found.score[column]))
            if column in taken:
                opened[taken[column]].seen.append(seen)
                opened[taken[column]].sure |= bool(sure[column])
            else:
                new.append(self._begin([seen], sure=bool(sure[column])))
        self._account_for(new, index)
        return new

    def cut(self, index: int) -> None:
        """Frame `index` shows another scene than the one before it; told before its answer.

        No id goes on over a cut. In case it was none (a flash), what was covered stays covered
        for a while where it was expected, under new ids: nobody's, for whoever is there now.
        """
        for track in list(self._tracks):
            end = track.last.index + self._reach(track) + 1
            if track.ends is not None:
                end = min(end, track.ends)
            track.is_open = track.is_lurking = False
            if end > index:
                track.ends = index
                ghost = self._begin(list(track.seen), sure=track.sure)
                ghost.begins, ghost.ends = index, min(end, index + self._back_frames + 1)
                ghost.is_open = False
        self._scene_start = index

    def repeat(self, index: int) -> None:
        """Nothing moved since the last answer: what it saw is still there."""
        if not self._answers:
            raise ValueError("there is no answer to repeat")
        last = self._answers[-1]
        self._answers.append(index)
        for track in self._tracks:
            if track.is_open and track.last.index == last:
                seen = Observation(index, track.last.box_xyxy_px, track.last.score)
                track.seen.append(seen)

    def boxes_at(self, index: int, *, below: float = np.inf) -> list[FaceBox]:
        """Where faces are in a frame that lies before or at the newest answer.

        `below`: only where an observation that the place was drawn from has a lower score.
        """
        boxes = (self._box_at(track, index, below) for track in self._tracks)
        return [box for box in boxes if box is not None]

    def forget_before(self, index: int) -> None:
        """Frames before `index` have gone out: drop what only they needed."""
        self._tracks = [
            track
            for track in self._tracks
            if index - track.last.index <= self._reach(track)
            and (track.ends is None or track.ends > index)
        ]
        for track in self._tracks:
            # two observations at or before `index` stay: interpolation needs one, velocity two
            while len(track.seen) > 2 and track.seen[2].index <= index:
                del track.seen[0]
        while len(self._answers) > 1 and self._answers[1] <= index:
            del self._answers[0]

    def _begin(self, seen: list[Observation], *, sure: bool) -> Track:
        track = Track(self._next_id, seen, sure, begins=self._scene_start)
        self._next_id += 1
        self._tracks.append(track)
        return track

    def _account_for(self, new: list[Track], index: int) -> None:
        """Each newcomer may be one of the lurking; the nearest is no longer missed."""
        lurking = [track for track in self._tracks if track.is_lurking]
        places = np.array([track.last.box_xyxy_px for track in new], np.float32).reshape(-1, 4)
        apart = _apart(lurking, places, index)
        for column, track in enumerate(new):
            speeds = [
                each.speed() for row, each in enumerate(lurking) if apart[row, column] < FIRST_REACH
            ]
            track.stride = max([STRIDE, *speeds])
        for row, column in assign(pair_costs(apart, REACH)):
            lurking[row].is_lurking = False
            new[column].drift_px = lurking[row].velocity_px()

    def _reach(self, track: Track) -> int:
        """Frames after its last observation for which a track covers."""
        # A weak detection covers to the next answer and a little on: the looks are that far apart.
        return self._hold_frames if track.sure else self._back_frames + 1

    def _box_at(self, track: Track, index: int, below: float) -> FaceBox | None:
        first, last = track.seen[0], track.last
        if index < track.begins or (track.ends is not None and index >= track.ends):
            return None
        if index < first.index:
            away = first.index - index
            if away > self._back_frames or first.score >= below:
                return None
            box = first.box_xyxy_px
            if len(track.seen) > 1:
                second = track.seen[1]
                rate = (second.box_xyxy_px - box) / (second.index - first.index)
                shift = -(rate[:2] + rate[2:]) / 2 * away
                box = box + np.concatenate([shift, shift])
            return replace(_face_box(track.track_id, box, away), is_led_in=True)
        if index >= last.index:
            away = index - last.index
            if away > self._reach(track) or last.score >= below:
                return None
            held = _face_box(track.track_id, track.predict(index), away)
            return replace(held, is_seen=away == 0)
        for before, after in zip(track.seen, track.seen[1:], strict=False):
            if before.index <= index <= after.index:
                if min(before.score, after.score) >= below:
                    return None
                share = (index - before.index) / (after.index - before.index)
                box = before.box_xyxy_px * (1 - share) + after.box_xyxy_px * share
                away = min(index - before.index, after.index - index)
                return _face_box(track.track_id, box, away / 2)  # known on both sides
        raise AssertionError("observations are in order and surround the frame")


def _apart(tracks: list[Track], box_xyxy_px: FloatArray, index: int) -> FloatArray:
    """(T, N) face sizes between where the faces are expected and the boxes."""
    expected = np.array([track.expect(index) for track in tracks], np.float32).reshape(-1, 4)
    return distances(expected, box_xyxy_px)


def _pairs(
    tracks: list[Track], apart: FloatArray, sure: npt.NDArray[np.bool_], index: int
) -> list[tuple[int, int]]:
    """(track, found): sure boxes choose first, weak ones among the tracks that are left."""
    reach = np.array([[track.reach(index)] for track in tracks], np.float32).reshape(-1, 1)
    costs = pair_costs(apart, np.where(sure, reach, np.minimum(reach, WEAK_REACH)))
    pairs: list[tuple[int, int]] = []
    rows = np.arange(len(tracks))
    for columns in (np.flatnonzero(sure), np.flatnonzero(~sure)):
        pairs += [
            (int(rows[row]), int(columns[column]))
            for row, column in assign(costs[np.ix_(rows, columns)])
        ]
        rows = np.setdiff1d(rows, [row for row, _ in pairs])
    return pairs


def _face_box(track_id: int, box_xyxy_px: FloatArray, frames_away: float) -> FaceBox:
    sides = box_xyxy_px[2:] - box_xyxy_px[:2]
    size = float(max(sides.max(), 2.0))
    slack = min(frames_away * SLACK_PER_FRAME, MOST_SLACK) * size
    return FaceBox(track_id, box_xyxy_px.astype(np.float32), slack)
