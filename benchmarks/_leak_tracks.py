"""Boxes of several detectors, frame by frame, to tracks of one face each.

A track on which the detectors agree shows a face. What only one of them saw, or saw just once, is
doubtful until somebody has looked at it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from pipeline.detect.suppress import iou
from pipeline.frames import FloatArray

SAME_FACE = 0.4  # intersection over union of two detectors' boxes in one frame
LEAST_SIZE_PX = 8.0  # sqrt(w * h); smaller ones are no truth and no doubt
MOST_GAP_FRAMES = 15  # drawn out between; a longer absence ends the track
MOST_STEP_SIZES = 0.6  # from one look to the next, beside the way it went before
MOST_GROWTH = 1.5
FAST_STEP_SIZES = 1.5  # of a face that all saw, alone in reach: somebody walks past
OFF_THE_WAY = 0.3  # intersection over union with what the looks before and after say
AGREED_SCORES = {"centerface": 0.5, "yunet": 0.6}  # the best of a track, each
AGREED_LOOKS = 2  # in which both saw it


@dataclass(frozen=True, slots=True)
class Sighting:
    """One face in one frame, as all detectors together see it."""

    box_xyxy_px: FloatArray  # (4,)
    scores: Mapping[str, float]

    @property
    def is_by_all(self) -> bool:
        """Whether every detector saw it here."""
        return len(self.scores) == len(AGREED_SCORES)


@dataclass(slots=True)
class Track:
    """One face through the frames that were looked at."""

    frames: list[int] = field(default_factory=list)
    sightings: list[Sighting] = field(default_factory=list)

    @property
    def sure_frames(self) -> tuple[int, int] | None:
        """From the first to the last in which all saw it; None if it is not agreed.

        What one detector alone saw of it before and after is often hair, or the next person.
        """
        if not self.is_agreed:
            return None
        together = [f for f, s in zip(self.frames, self.sightings, strict=True) if s.is_by_all]
        return together[0], together[-1]

    def best(self, detector: str) -> float:
        """Its highest score; 0 if it never saw the face."""
        return max((s.scores.get(detector, 0.0) for s in self.sightings), default=0.0)

    @property
    def is_agreed(self) -> bool:
        """Whether every detector was sure of it, and more than once at the same time."""
        together = sum(sighting.is_by_all for sighting in self.sightings)
        return together >= AGREED_LOOKS and all(
            self.best(name) >= least for name, least in AGREED_SCORES.items()
        )

    def add(self, frame: int, sighting: Sighting) -> None:
        """A later look."""
        self.frames.append(frame)
        self.sightings.append(sighting)

    def without_strays(self) -> Track:
        """Between looks in which all saw it, boxes of one detector must lie on the way."""
        sure = [n for n, s in enumerate(self.sightings) if s.is_by_all]
        if len(sure) < 2:
            return self
        frames = [self.frames[n] for n in sure]
        boxes = np.stack([self.sightings[n].box_xyxy_px for n in sure])
        kept = Track()
        for frame, sighting in zip(self.frames, self.sightings, strict=True):
            way = np.array([np.interp(frame, frames, side) for side in boxes.T], np.float32)
            inside = frames[0] < frame < frames[-1]
            if not inside or iou(way[None], sighting.box_xyxy_px[None])[0, 0] >= OFF_THE_WAY:
                kept.add(frame, sighting)
        return kept

    def expected_xyxy_px(self, frame: int) -> FloatArray:
        """Where it would be if it went on as before."""
        last = self.sightings[-1].box_xyxy_px
        if len(self.frames) < 2:
            return last
        step = _centre(last) - _centre(self.sightings[-2].box_xyxy_px)
        steps = (frame - self.frames[-1]) / (self.frames[-1] - self.frames[-2])
        moved: FloatArray = (last + np.tile(step * steps, 2)).astype(np.float32)
        return moved


def sightings_of(found: Sequence[tuple[str, FloatArray]]) -> list[Sighting]:
    """The faces of one frame: boxes on the same place are one, by their scores' mean."""
    names = [name for name, table in found for _ in table]
    table = np.concatenate([table for _, table in found]).reshape(-1, 5)
    sighted = []
    free = np.ones(len(table), bool)
    overlaps = iou(table[:, :4], table[:, :4])
    for index in np.argsort(-table[:, 4], kind="stable"):
        if not free[index]:
            continue
        mine = np.flatnonzero(free & (overlaps[index] > SAME_FACE))
        free[mine] = False
        weight = table[mine, 4:]
        box = (table[mine, :4] * weight).sum(axis=0) / weight.sum()
        if _size_px(box) < LEAST_SIZE_PX:
            continue
        scores: dict[str, float] = {}
        for each in mine:
            scores[names[each]] = max(scores.get(names[each], 0.0), float(table[each, 4]))
        sighted.append(Sighting(box.astype(np.float32), scores))
    return sighted


def linked(
    found: Mapping[int, list[tuple[str, FloatArray]]], cuts: Sequence[int], every: int
) -> list[Track]:
    """All tracks, in the order of their beginnings."""
    most_gap = max(MOST_GAP_FRAMES, every)
    tracks: list[Track] = []
    live: list[Track] = []
    before = -1
    for frame in sorted(found):
        sighted = sightings_of(found[frame])
        live = [
            track
            for track in live
            if frame - track.frames[-1] <= most_gap
            and not any(track.frames[-1] < cut <= frame for cut in cuts)
        ]
        for track, sighting in _pairs(live, sighted, frame, MOST_STEP_SIZES):
            track.add(frame, sighting)
        new = [
            t
            for t in live
            if len(t.frames) == 1 and t.frames[0] == before and t.sightings[0].is_by_all
        ]
        taken = {id(track.sightings[-1]) for track in live}
        fast = [s for s in sighted if id(s) not in taken and s.is_by_all]
        for track, sighting in _pairs(new, fast, frame, FAST_STEP_SIZES):
            track.add(frame, sighting)
        taken = {id(track.sightings[-1]) for track in live}
        for sighting in sighted:
            if id(sighting) not in taken:
                live.append(Track([frame], [sighting]))
                tracks.append(live[-1])
        before = frame
    return [track.without_strays() for track in tracks]


def _pairs(
    live: Sequence[Track], sighted: Sequence[Sighting], frame: int, most_step: float
) -> list[tuple[Track, Sighting]]:
    """The nearest first; none that is further than so many sizes, or has too different a size."""
    offers = []
    for t, track in enumerate(live):
        expected = track.expected_xyxy_px(frame)
        for s, sighting in enumerate(sighted):
            sizes = _size_px(expected), _size_px(sighting.box_xyxy_px)
            away = float(np.linalg.norm(_centre(expected) - _centre(sighting.box_xyxy_px)))
            if away <= most_step * max(sizes) and max(sizes) <= MOST_GROWTH * min(sizes):
                offers.append((away / max(sizes), t, s))
    pairs: list[tuple[Track, Sighting]] = []
    tracks_left, sightings_left = set(range(len(live))), set(range(len(sighted)))
    for _, t, s in sorted(offers):
        if t in tracks_left and s in sightings_left:
            tracks_left.remove(t)
            sightings_left.remove(s)
            pairs.append((live[t], sighted[s]))
    return pairs


def _centre(box_xyxy_px: FloatArray) -> FloatArray:
    centre: FloatArray = ((box_xyxy_px[:2] + box_xyxy_px[2:]) / 2).astype(np.float32)
    return centre


def _size_px(box_xyxy_px: FloatArray) -> float:
    width, height = (box_xyxy_px[2:] - box_xyxy_px[:2]).tolist()
    return math.sqrt(max(width, 0.0) * max(height, 0.0))
