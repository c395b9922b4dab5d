"""Boxes against the truth: recall by the faces' size, and boxes that show nobody."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.detect.suppress import iou
from pipeline.frames import Detections, FloatArray

from ._leak_judge import BANDS, HEADLINE_PX
from ._pictures import Picture

MATCH = 0.3  # intersection over union from which a box has found a face
IS_HEADLINE = np.array([least >= HEADLINE_PX for _, least, _ in BANDS])
SMALLEST = BANDS[0][0]


@dataclass(frozen=True, slots=True)
class Tally:
    """One look on one set at one threshold."""

    faces: NDArray[np.int64]  # (bands,)
    found: NDArray[np.int64]  # (bands,)
    false_boxes: int
    pictures: int

    def recall(self, is_wanted: NDArray[np.bool_]) -> float | None:
        """Of the faces in those bands; None where there are none."""
        faces = int(self.faces[is_wanted].sum())
        return int(self.found[is_wanted].sum()) / faces if faces else None

    def recalls(self) -> dict[str, float | None]:
        """By the name of the band, and of all faces from HEADLINE_PX on."""
        by_band = {
            name: self.recall(np.arange(len(BANDS)) == place)
            for place, (name, _, _) in enumerate(BANDS)
        }
        return {**by_band, f"{HEADLINE_PX}+": self.recall(IS_HEADLINE)}


def tally(found: Sequence[Detections], pictures: Sequence[Picture], min_score: float) -> Tally:
    """What is left of `found` above that score."""
    faces, hits = np.zeros(len(BANDS), np.int64), np.zeros(len(BANDS), np.int64)
    false_boxes = 0
    for each, picture in zip(found, pictures, strict=True):
        # greedy suppression only ever loses to surer boxes: filtering later changes nothing
        is_found, wrong = matched(each.take(each.score > min_score), picture)
        false_boxes += wrong
        for place, (_, least, most) in enumerate(BANDS):
            counts = (picture.size_px >= least) & (picture.size_px < most) & ~picture.is_doubtful
            faces[place] += np.count_nonzero(counts)
            hits[place] += np.count_nonzero(counts & is_found)
    return Tally(faces, hits, false_boxes, len(pictures))


def matched(found: Detections, picture: Picture) -> tuple[NDArray[np.bool_], int]:
    """(N,) which faces are found, each by a box of its own, and how many boxes show nobody.

    Boxes are compared as far as they lie in the picture. One that overlaps a face, or whose
    centre lies in one, is no false one, be the face a doubtful one or another box's.
    """
    frame_px = (picture.image.width, picture.image.height)
    boxes = _cut(found.box_xyxy_px, frame_px)
    truth = _cut(picture.box_xyxy_px, frame_px)
    overlaps = iou(boxes, truth)  # (found, truth)
    is_found = np.zeros(overlaps.shape[1], bool)
    is_used = np.zeros(overlaps.shape[0], bool)
    wanted = np.where(picture.is_doubtful, 0, overlaps)
    for flat in np.argsort(-wanted, axis=None, kind="stable"):
        row, column = divmod(int(flat), overlaps.shape[1])
        if wanted[row, column] < MATCH:
            break
        if not is_found[column] and not is_used[row]:
            is_found[column] = is_used[row] = True
    centre = (boxes[:, None, :2] + boxes[:, None, 2:]) / 2
    is_inside = ((centre >= truth[:, :2]) & (centre <= truth[:, 2:])).all(axis=2)
    shows_one = ((overlaps >= MATCH) | is_inside).any(axis=1)
    return is_found, int(np.count_nonzero(~shows_one))


def _cut(box_xyxy_px: FloatArray, frame_px: tuple[int, int]) -> FloatArray:
    cut: FloatArray = np.clip(box_xyxy_px, 0, np.array(frame_px * 2, np.float32))
    return cut
