"""What was covered, against where the faces are: leaks, visits, false cover. No network, no video.

* covered: a pixel that was written with a weight of at least 250 of 255, or any pixel of the
  curtain; of deface: any pixel inside its mask
* leaked: less than COVERED of a face's pixels inside the frame are covered; bare: less than BARE
* visit: one person's frames without a pause of more than VISIT_PAUSE_SECONDS
* found: a box of a face that is really seen (neither held nor led in) overlaps the person's true
  box by FOUND, both cut at the frame's edge
* early leak: a leaked face-frame of a visit before the first frame in which the person is found;
  visits in which nobody is ever found are counted apart
* longest leak: most consecutive leaked frames of one person
* false cover: covered pixels outside of all true boxes enlarged twice about their centres (there a
  cover belongs to somebody's head), as a share of all pixels outside of them; strict: outside of
  the faces' own pixels. Around doubtful faces nothing is counted on either side
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from pipeline.detect.suppress import iou
from pipeline.frames import FloatArray

from ._leak_truth import LEAST_VISIBLE, Family, LeakClip, Mask, TrueFace

COVERED = 0.95
BARE = 0.5
FOUND = 0.3  # intersection over union
VISIT_PAUSE_SECONDS = 1.0
HEAD_GROW = 2.0  # of a true box: inside of it nothing is false cover
THRESHOLDS_PX = (12, 20, 32)
HEADLINE_PX = 20
BANDS: tuple[tuple[str, float, float], ...] = (
    ("12-20", 12, 20),
    ("20-32", 20, 32),
    ("32-64", 32, 64),
    ("64+", 64, math.inf),
)


@dataclass(frozen=True, slots=True)
class FaceFrame:
    """One face that is no doubtful one in one frame."""

    index: int
    person: int
    size_px: float
    covered: float  # share of its pixels inside the frame
    counts: bool  # enough of it is to be seen
    is_found: bool

    @property
    def is_leaked(self) -> bool:
        """Somebody may be known by it."""
        return self.counts and self.covered < COVERED

    @property
    def is_bare(self) -> bool:
        """Most of it is to be seen."""
        return self.counts and self.covered < BARE


@dataclass(frozen=True, slots=True)
class Cover:
    """One frame's pixels where no face is, and how many of them are covered."""

    outside_px: int
    false_px: int
    strict_outside_px: int
    strict_false_px: int


@dataclass(slots=True)
class Outcome:
    """One contestant on one clip."""

    clip: str
    family: Family
    condition: str
    fps: Fraction
    faces: list[FaceFrame] = field(default_factory=list, repr=False)
    covers: dict[int, Cover] = field(default_factory=dict, repr=False)  # by frame
    curtains: set[int] = field(default_factory=set, repr=False)  # frames

    @classmethod
    def of(cls, clip: LeakClip) -> Outcome:
        """Nothing judged yet."""
        return cls(clip.name, clip.family, clip.condition, clip.fps)

    def add(
        self,
        index: int,
        truths: Sequence[TrueFace],
        covered: Mask,
        found_xyxy_px: FloatArray,
        *,
        is_curtain: bool = False,
    ) -> list[FaceFrame]:
        """Judge a frame. `found_xyxy_px`: (N, 4) boxes of faces that are really seen."""
        faces = judge_faces(index, truths, covered, found_xyxy_px)
        self.faces += faces
        self.covers[index] = judge_cover(truths, covered)
        if is_curtain:
            self.curtains.add(index)
        return faces

    def only(self, indices: Collection[int]) -> Outcome:
        """These frames of it."""
        return Outcome(
            self.clip,
            self.family,
            self.condition,
            self.fps,
            [face for face in self.faces if face.index in indices],
            {index: cover for index, cover in self.covers.items() if index in indices},
            self.curtains.intersection(indices),
        )


def judge_faces(
    index: int, truths: Sequence[TrueFace], covered: Mask, found_xyxy_px: FloatArray
) -> list[FaceFrame]:
    """Every true face of a frame; `covered` is (H, W)."""
    height, width = covered.shape
    size = np.array([width, height, width, height], np.float32)
    found = np.clip(found_xyxy_px.reshape(-1, 4), 0, size)
    judged = []
    for face in truths:
        if face.is_doubtful:
            continue
        rows, columns = face.mask.shape
        place = covered[face.y_px : face.y_px + rows, face.x_px : face.x_px + columns]
        visible_px = int(np.count_nonzero(face.mask))
        covered_px = int(np.count_nonzero(place & face.mask))
        box = np.clip(face.box_xyxy_px, 0, size)[None]
        judged.append(
            FaceFrame(
                index,
                face.person,
                face.size_px,
                covered_px / visible_px if visible_px else 1.0,
                visible_px > 0 and face.visible >= LEAST_VISIBLE,
                bool(len(found)) and float(iou(found, box).max()) >= FOUND,
            )
        )
    return judged


def judge_cover(truths: Sequence[TrueFace], covered: Mask) -> Cover:
    """What is covered where nobody is."""
    outside = np.ones(covered.shape, bool)
    strict = np.ones(covered.shape, bool)
    for face in truths:
        x1, y1, x2, y2 = _head(face, covered.shape)
        outside[y1:y2, x1:x2] = False
        if face.is_doubtful:
            strict[y1:y2, x1:x2] = False
        else:
            rows, columns = face.mask.shape
            strict[face.y_px : face.y_px + rows, face.x_px : face.x_px + columns] &= ~face.mask
    return Cover(
        int(np.count_nonzero(outside)),
        int(np.count_nonzero(covered & outside)),
        int(np.count_nonzero(strict)),
        int(np.count_nonzero(covered & strict)),
    )


def _head(face: TrueFace, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """The enlarged box, inside the frame."""
    x1, y1, x2, y2 = map(float, face.box_xyxy_px)
    more_x, more_y = ((HEAD_GROW - 1) / 2 * side for side in (x2 - x1, y2 - y1))
    height, width = shape
    return (
        min(max(math.floor(x1 - more_x), 0), width),
        min(max(math.floor(y1 - more_y), 0), height),
        min(max(math.ceil(x2 + more_x), 0), width),
        min(max(math.ceil(y2 + more_y), 0), height),
    )


@dataclass(frozen=True, slots=True)
class Tally:
    """Face-frames of one kind."""

    faces: int
    leaked: int
    bare: int

    @property
    def leaked_percent(self) -> float | None:
        """None: there are no faces."""
        return 100 * self.leaked / self.faces if self.faces else None

    @property
    def bare_percent(self) -> float | None:
        """None: there are no faces."""
        return 100 * self.bare / self.faces if self.faces else None


def tally(
    outcomes: Iterable[Outcome], least_px: float = HEADLINE_PX, below_px: float = math.inf
) -> Tally:
    """Of faces of a size, over several clips."""
    chosen = [
        face
        for outcome in outcomes
        for face in outcome.faces
        if face.counts and least_px <= face.size_px < below_px
    ]
    return Tally(
        len(chosen),
        sum(face.is_leaked for face in chosen),
        sum(face.is_bare for face in chosen),
    )


def visits(outcome: Outcome) -> Iterator[list[FaceFrame]]:
    """One person's frames without a long pause, in order."""
    longest = max(1, math.floor(VISIT_PAUSE_SECONDS * outcome.fps))
    for faces in by_person(outcome).values():
        visit: list[FaceFrame] = []
        for face in faces:
            if visit and face.index - visit[-1].index > longest:
                yield visit
                visit = []
            visit.append(face)
        if visit:
            yield visit


def by_person(outcome: Outcome) -> dict[int, list[FaceFrame]]:
    """In the order of frames."""
    people: dict[int, list[FaceFrame]] = {}
    for face in sorted(outcome.faces, key=lambda face: face.index):
        people.setdefault(face.person, []).append(face)
    return people


def early_leaks(outcomes: Iterable[Outcome], least_px: float = HEADLINE_PX) -> int:
    """Leaked face-frames before somebody was first found, who was found later in the visit."""
    count = 0
    for outcome in outcomes:
        for visit in visits(outcome):
            first = next((face.index for face in visit if face.is_found), None)
            if first is not None:
                count += sum(
                    face.is_leaked and face.size_px >= least_px
                    for face in visit
                    if face.index < first
                )
    return count


def never_found(outcomes: Iterable[Outcome], least_px: float = HEADLINE_PX) -> tuple[int, int]:
    """(visits in which nobody was found, all visits), of those with a face-frame so large."""
    missed = total = 0
    for outcome in outcomes:
        for visit in visits(outcome):
            if any(face.counts and face.size_px >= least_px for face in visit):
                total += 1
                missed += not any(face.is_found for face in visit)
    return missed, total


def longest_leak(outcomes: Iterable[Outcome], least_px: float = HEADLINE_PX) -> int:
    """Most consecutive leaked frames of one person."""
    longest = 0
    for outcome in outcomes:
        for faces in by_person(outcome).values():
            run, last = 0, None
            for face in faces:
                if not (face.is_leaked and face.size_px >= least_px):
                    continue
                run = run + 1 if last is not None and face.index == last + 1 else 1
                last = face.index
                longest = max(longest, run)
    return longest


def false_percent(outcomes: Iterable[Outcome], *, strict: bool = False) -> float | None:
    """Of all pixels where no face is; None where there are none."""
    covers = [cover for outcome in outcomes for cover in outcome.covers.values()]
    if strict:
        outside = sum(cover.strict_outside_px for cover in covers)
        false = sum(cover.strict_false_px for cover in covers)
    else:
        outside = sum(cover.outside_px for cover in covers)
        false = sum(cover.false_px for cover in covers)
    return 100 * false / outside if outside else None
