"""What is left to be seen of faces in which protection was carried along, judged twice.

Exactly: pixels of the true face for which no patch with a full weight was written. And without
believing any weight: every scene runs twice, with twins whose faces differ in nothing but their
pores. All that both runs have in common falls out of the difference of their outputs; pores that
are left in it, wherever in the neighbourhood they have been moved to, are the original's. This
would also find an original that a patch itself carries.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.frames import FaceBox, FloatArray, YuvPlanes

from ._flow_runs import Shown, uncovered
from ._flow_scenes import Scene, Truth

OPAQUE = 250  # of 255: what counts as replaced, as in the gate
MOST_VISIBLE = 0.01  # of the face's area
# The pixel check. Windows as small as they may be for chance to stay away from the threshold: what
# the obfuscated faces reach is printed beside it.
DETAIL_SIGMA_PX = 1.5
WINDOW_PX = 21
STRIDE_PX = 4
SHIFT_PX = 2  # either way: what was carried may be off a little
SAME_PORES = 0.5  # correlation
LEAST_LEVELS = 0.7  # rms of an original's pores: weaker ones cannot be told from rounding
FLOOR_LEVELS = 0.5  # rms of what is shown: rounding is no pore
LEAST_WINDOW = 0.4  # of it must lie in the face
SENSITIVITY_EVERY = 5  # frames
_RIM_PX = 3  # inside the face's edge: a Gaussian there sees what lies outside
LEAST_OVERLAP = 0.1  # of a tracked box with a true one (intersection over union)
MOST_GHOST = 0.5  # of a face's box lies in the patch: less of it, and it shows another place

TWIN = "bare in the twin"  # its detector saw less: what shows are its pores, and no patch's

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Judgement:
    """One face in one frame."""

    index: int
    actor: int
    state: str  # carried, fused, plain, curtain; none: no box is near
    uncovered: float  # share of the visible face
    alone: float | None  # the same by the carried patch alone; None where there is none
    detail: float  # share that shows the original's pores
    peak: float  # the highest correlation
    cause: str | None  # where something is to be seen: why


@dataclass(slots=True)
class Tally:
    """One scene."""

    found: list[Judgement] = field(default_factory=list)
    let_go: Counter[str] = field(default_factory=Counter)
    let_go_at: list[tuple[int, str]] = field(default_factory=list)
    keyframes: Counter[str] = field(default_factory=Counter)
    sensitivity: list[float] = field(default_factory=list)  # `detail` if nothing were hidden
    ghosts: int = 0  # carried patches where their face is no more
    frames: int = 0

    def bad(self) -> list[Judgement]:
        """Faces of which more than allowed is bare."""
        return [each for each in self.found if each.uncovered > MOST_VISIBLE]

    def shown(self) -> list[Judgement]:
        """Faces whose pores are to be seen."""
        return [each for each in self.found if each.detail > MOST_VISIBLE and each.cause != TWIN]


def judge_scene(scene: Scene, run: Iterable[Shown], twin: Iterable[Shown]) -> Tally:
    """Every true face of every frame of a run. `twin`: the same scene with the other pores."""
    tally = Tally()
    seen_before: set[int] = set()
    had_face: set[tuple[int, int]] = set()
    for shown, other in zip(run, twin, strict=True):
        truths = scene.truths(shown.index)
        tally.frames += 1
        pores = difference(shown.original, other.original)
        left = difference(shown.protected, other.protected)
        for truth in truths:
            tally.found.append(judge(truth, shown, other, pores, left, seen_before))
            if shown.index % SENSITIVITY_EVERY == 0:
                tally.sensitivity.append(same_pores(*of_face(truth, pores, pores))[0])
        for reason, count in shown.seen.let_go.items():
            tally.let_go[reason] += count
            tally.let_go_at += [(shown.index, reason)] * count
        tally.ghosts += ghosts(shown, truths, had_face)
    return tally


def judge(
    truth: Truth,
    shown: Shown,
    twin: Shown,
    pores: FloatArray,
    left: FloatArray,
    seen_before: set[int],
) -> Judgement:
    """One face of one frame. `pores`, `left`: what the twins' originals and outputs differ in.

    `seen_before`: actors that have had a box; it is added to.
    """
    seen = shown.seen
    face = nearest(truth.box_xyxy_px, seen.faces)
    if face is not None:
        seen_before.add(truth.actor)
    whole = int(truth.mask.sum())
    place = truth.mask, truth.x_px, truth.y_px
    bare = plain_bare = 0.0
    alone = None
    if seen.is_curtain:
        state = "curtain"
    else:
        state = "none" if face is None else shown.state_of(face.track_id)
        bare = uncovered(*place, seen.written, OPAQUE) / whole
        plain = [each for each in seen.written if each.is_plain]
        plain_bare = uncovered(*place, plain, OPAQUE) / whole
        carried = [
            each
            for each in seen.written
            if face is not None
            and each.patch.motion is not None
            and each.patch.track_id == face.track_id
        ]
        if carried:
            alone = uncovered(*place, carried, OPAQUE) / whole
    detail, peak = same_pores(*of_face(truth, pores, left))
    cause = None
    if bare > MOST_VISIBLE:
        if plain_bare <= MOST_VISIBLE:
            cause = "propagation"
        elif face is not None:
            cause = "box off"
        else:
            cause = "missed" if truth.actor in seen_before else "not found yet"
    elif detail > MOST_VISIBLE:
        other = twin.seen
        twin_bare = 0.0 if other.is_curtain else uncovered(*place, other.written, OPAQUE) / whole
        cause = TWIN if twin_bare > MOST_VISIBLE else f"shown by {state}"
    return Judgement(shown.index, truth.actor, state, bare, alone, detail, peak, cause)


def difference(one: YuvPlanes, other: YuvPlanes) -> FloatArray:
    """(H, W) of the luma."""
    return one.y.astype(np.float32) - other.y.astype(np.float32)


def of_face(
    truth: Truth, pores: FloatArray, left: FloatArray
) -> tuple[FloatArray, FloatArray, Mask]:
    """The face's part of two whole pictures, with a margin, and which of its pixels are its own."""
    height, width = truth.mask.shape
    margin = SHIFT_PX + 4
    frame_h, frame_w = pores.shape
    x1, y1 = max(truth.x_px - margin, 0), max(truth.y_px - margin, 0)
    x2, y2 = min(truth.x_px + width + margin, frame_w), min(truth.y_px + height + margin, frame_h)
    mask = np.zeros((y2 - y1, x2 - x1), bool)
    dx, dy = truth.x_px - x1, truth.y_px - y1
    mask[dy : dy + height, dx : dx + width] = truth.mask
    return pores[y1:y2, x1:x2], left[y1:y2, x1:x2], mask


def same_pores(pores: FloatArray, left: FloatArray, mask: Mask) -> tuple[float, float]:
    """Share of the face whose pores are left, and the best correlation of any window."""
    core = cv2.erode(mask.astype(np.uint8), np.ones((2 * _RIM_PX + 1,) * 2, np.uint8))
    inside = core.astype(np.float32)
    then, now = _detail(pores), _detail(left)
    weight = _window_mean(inside)
    energy = _window_mean(inside * then * then)
    usable = (weight >= LEAST_WINDOW) & (energy >= LEAST_LEVELS**2 * weight)
    if not usable.any():
        return 0.0, 0.0
    best = np.full(usable.shape, -1, np.float32)
    size = (now.shape[1], now.shape[0])
    for dy in range(-SHIFT_PX, SHIFT_PX + 1):
        for dx in range(-SHIFT_PX, SHIFT_PX + 1):
            move = np.array([[1, 0, dx], [0, 1, dy]], np.float32)
            moved = cv2.warpAffine(now, move, size, flags=cv2.INTER_NEAREST)
            product = _window_mean(inside * then * moved)
            other = _window_mean(inside * moved * moved) + FLOOR_LEVELS**2 * weight
            best = np.maximum(best, product / np.sqrt(np.maximum(energy * other, 1e-6)))
    best[~usable] = -1
    found = np.kron(best > SAME_PORES, np.ones((STRIDE_PX, STRIDE_PX), bool))
    hits = found[: mask.shape[0], : mask.shape[1]].astype(np.uint8)
    spread = cv2.dilate(hits, np.ones((WINDOW_PX // 2,) * 2, np.uint8)) > 0
    share = float((spread & mask).sum()) / max(int(mask.sum()), 1)
    return share, float(best.max())


def _detail(values: FloatArray) -> FloatArray:
    """What is finer than any obfuscation leaves."""
    blurred = cv2.GaussianBlur(values, (0, 0), DETAIL_SIGMA_PX)
    return np.asarray(values - blurred, np.float32)


def _window_mean(values: FloatArray) -> FloatArray:
    """Means over windows, one every STRIDE_PX."""
    means = cv2.boxFilter(values, -1, (WINDOW_PX,) * 2, borderType=cv2.BORDER_CONSTANT)
    return np.asarray(means, np.float32)[::STRIDE_PX, ::STRIDE_PX]


def nearest(box_xyxy_px: FloatArray, faces: Sequence[FaceBox]) -> FaceBox | None:
    """The tracked face that lies over a true one best; None where none does."""
    best, found = LEAST_OVERLAP, None
    for face in faces:
        share = overlap(box_xyxy_px, face.box_xyxy_px)
        if share > best:
            best, found = share, face
    return found


def overlap(first: FloatArray, second: FloatArray) -> float:
    """Intersection over union."""
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    common = float(np.prod(np.maximum(high - low, 0)))
    areas = float(np.prod(first[2:] - first[:2]) + np.prod(second[2:] - second[:2]))
    return common / max(areas - common, 1e-6)


def ghosts(shown: Shown, truths: Sequence[Truth], had_face: set[tuple[int, int]]) -> int:
    """Carried patches that lie where no face is any more: wrong, though no leak.

    `had_face`: track and number of keyframes that showed a face; it is added to.
    """
    count = 0
    for each in shown.seen.written:
        patch = each.patch
        if patch.motion is None and not patch.is_fused:
            continue
        height, width = patch.alpha.shape
        box = np.array(
            [patch.x_px, patch.y_px, patch.x_px + width, patch.y_px + height], np.float32
        )
        on_face = max((_share_inside(truth.box_xyxy_px, box) for truth in truths), default=0.0)
        if patch.motion is None:
            if on_face >= MOST_GHOST:
                had_face.add((patch.track_id, shown.frame.number))
        elif on_face < MOST_GHOST:
            count += (patch.track_id, patch.motion.key_number) in had_face
    return count


def _share_inside(face: FloatArray, patch: FloatArray) -> float:
    """How much of a true face's box lies in a patch."""
    low, high = np.maximum(face[:2], patch[:2]), np.minimum(face[2:], patch[2:])
    common = float(np.prod(np.maximum(high - low, 0)))
    return common / max(float(np.prod(face[2:] - face[:2])), 1e-6)
