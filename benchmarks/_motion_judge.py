"""How far a method is off, frame by frame and added up, where the true motion is known."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np

from pipeline.frames import MOTION_CELLS, FloatArray, U8Array
from pipeline.motion import STEPS_PER_PX

from ._motion_grid import affine, cells_of, composed, face_weights, packed_bytes, places_px, sample
from ._motion_methods import Method, sight_of
from ._motion_scenes import FRAMES, Scene, fetch

_FARTHEST = FRAMES - 1
SELF_REGULARISED = ("product", "Lucas-Kanade on the face")
"""Methods that give what the product would carry, by the beginning of their names."""


@dataclass(slots=True)
class Errors:
    """Of one method, over all pixels of all faces; shares are of the face's width, in percent."""

    one_px: list[FloatArray] = field(default_factory=list, repr=False)
    one: list[FloatArray] = field(default_factory=list, repr=False)
    far_px: list[FloatArray] = field(default_factory=list, repr=False)
    far: dict[str, list[FloatArray]] = field(default_factory=dict, repr=False)  # by kind of motion
    cpu_ms: list[float] = field(default_factory=list, repr=False)
    frames: int = 0
    lost: int = 0  # frames without an answer: taken for no motion


def regularised(grid: FloatArray, weights: FloatArray) -> FloatArray:
    """As `flow_between` does it: what is beside the face goes by the face's affine motion."""
    rigid = affine(grid, weights)
    return np.asarray(rigid + weights[..., None] * (grid - rigid), np.float32)


def judge(method: Method, scenes: Sequence[Scene]) -> Errors:
    """One method on all scenes."""
    errors = Errors()
    own = method.name.startswith(SELF_REGULARISED)
    for scene in scenes:
        sights = [sight_of(scene, frame) for frame in range(FRAMES)]
        if method.view_px:
            sights[0].view(method.view_px)  # the product has it from the frame before
        off_px = np.zeros((MOTION_CELLS, MOTION_CELLS, 2), np.float32)
        for frame in range(1, FRAMES):
            before, now = sights[frame - 1], sights[frame]
            started = time.process_time()
            grid = method.grid(before, now)
            if grid is not None and not own:
                grid = regularised(grid, face_weights(now.box_in_view(), MOTION_CELLS))
            errors.cpu_ms.append((time.process_time() - started) * 1e3)
            errors.frames += 1
            if grid is None or not np.isfinite(grid).all():
                errors.lost += 1
                grid = np.zeros_like(off_px)
            off = error_px(scene, frame, frame - 1, grid * np.float32(before.xys_px[2]))
            errors.one_px.append(off)
            errors.one.append(off * np.float32(100 / scene.width_px(frame)))
            off_px = composed(off_px, grid, sights[0].xys_px[2])
        off = error_px(scene, _FARTHEST, 0, off_px)
        errors.far_px.append(off)
        share = off * np.float32(100 / scene.width_px(0))
        errors.far.setdefault(scene.kind, []).append(share)
    return errors


def error_px(scene: Scene, frame: int, then: int, off_px: FloatArray) -> FloatArray:
    """(N,) of each pixel inside the face: how far off a motion puts it in frame `then`."""
    points = scene.points(frame)
    found = places_px(off_px, scene.square(then), scene.square(frame), points)
    miss = found - scene.true_places(points, frame, then)
    return np.asarray(np.linalg.norm(miss, axis=1), np.float32)


def true_grid(scene: Scene, frame: int, then: int, count: int = MOTION_CELLS) -> FloatArray:
    """What a method should answer, at the centres of `count` cells a side."""
    (x, y, side), (bx, by, before_side) = scene.square(frame), scene.square(then)
    cells = cells_of(count)
    points = cells * np.float32(side) + np.array((x, y), np.float32) - np.float32(0.5)
    places = scene.true_places(points, frame, then) + np.float32(0.5)
    share = (places - np.array((bx, by), np.float32)) / np.float32(before_side)
    return np.asarray(share - cells, np.float32)


# --- how many cells ---


@dataclass(slots=True)
class Cells:
    """What a grid of so many cells does to a motion; lists hold one figure a scene."""

    one: list[FloatArray] = field(default_factory=list, repr=False)  # % of the face's width
    far: list[FloatArray] = field(default_factory=list, repr=False)
    psnr_one: list[float] = field(default_factory=list, repr=False)
    psnr_far: list[float] = field(default_factory=list, repr=False)
    packed: list[int] = field(default_factory=list, repr=False)


Finder = Callable[[Scene, int, int], FloatArray]
"""Scene, frame, cells a side: the motion to the frame before, as a grid."""


def judge_cells(
    find: Finder,
    count: int,
    scenes: Sequence[Scene],
    *,
    rigid: bool = False,
    own: bool = False,
    apart: bool = False,
) -> Cells:
    """`rigid`: nothing but the affine motion is kept. `own`: it is regularised already."""
    result = Cells()
    for scene in scenes:
        key_side = scene.square(0)[2]
        off_px = np.zeros((count, count, 2), np.float32)
        for frame in range(1, FRAMES):
            grid = find(scene, frame, count)
            weights = face_weights(sight_of(scene, frame).box_in_view(), count)
            before_side = np.float32(scene.square(frame - 1)[2])
            if rigid:
                grid = affine(grid, weights)
            elif not own:
                grid = regularised(grid, weights)
            off = error_px(scene, frame, frame - 1, grid * before_side)
            result.one.append(off * np.float32(100 / scene.width_px(frame)))
            off_px = composed(off_px, grid, key_side, apart=apart)
            if rigid:  # a grid's edge bends when it is continued
                off_px = affine(off_px, weights)
            if frame in (1, _FARTHEST):
                steps = np.rint(off_px * STEPS_PER_PX) / np.float32(STEPS_PER_PX)
                figure = _psnr_moved(scene, frame, steps.astype(np.float32))
                (result.psnr_one if frame == 1 else result.psnr_far).append(figure)
        off = error_px(scene, _FARTHEST, 0, off_px)
        result.far.append(off * np.float32(100 / scene.width_px(0)))
        result.packed.append(12 if rigid else packed_bytes(off_px))
    return result


def _psnr_moved(scene: Scene, frame: int, off_px: FloatArray) -> float:
    """Of the keyframe's face, as drawn, moved to a frame, to the face as drawn there."""
    points = scene.points(frame, step_px=1)
    places = places_px(off_px, scene.square(0), scene.square(frame), points)
    moved = fetch(scene.clean[0].astype(np.float32), places[None].astype(np.float32))[0]
    x, y = points.astype(np.int64).T
    return psnr(moved, scene.clean[frame][y, x].astype(np.float32))


def psnr(one: FloatArray, other: FloatArray) -> float:
    """Of levels of 255; at most 99."""
    error = float(np.mean((one - other) ** 2))
    return float(min(10 * np.log10(255**2 / max(error, 1e-9)), 99.0))


# --- once or again and again ---

HOW = {"bilinear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC}
DRIFT_FRAMES = (1, 5, 12, 24)


@dataclass(slots=True)
class Kept:
    """After so many frames, a figure a scene."""

    sharp: dict[int, list[float]] = field(default_factory=dict, repr=False)
    psnr: dict[int, list[float]] = field(default_factory=dict, repr=False)


def judge_drift(scenes: Sequence[Scene], how: int, *, again: bool) -> Kept:
    """The face of the keyframe carried by its true motion: only the fetching makes a difference."""
    result = Kept()
    for scene in scenes:
        key_xys = scene.square(0)
        off_px = np.zeros((MOTION_CELLS, MOTION_CELLS, 2), np.float32)
        first = _part(scene.clean[0], key_xys).astype(np.float32)
        picture, last_xys = first, key_xys
        for frame in range(1, FRAMES):
            xys = scene.square(frame)
            grid = true_grid(scene, frame, frame - 1)
            off_px = composed(off_px, grid, key_xys[2])
            if again:
                step_px = grid * np.float32(last_xys[2])
                picture = _fetched(picture, last_xys, xys, step_px, how)
                last_xys = xys
            if frame in DRIFT_FRAMES:
                shown = picture if again else _fetched(first, key_xys, xys, off_px, how)
                shown = np.rint(np.clip(shown, 0, 255)).astype(np.float32)
                truth = _part(scene.clean[frame], xys).astype(np.float32)
                inside = _inside(scene, frame, xys)
                sharp = sharpness(shown, inside) / sharpness(truth, inside)
                result.sharp.setdefault(frame, []).append(100 * sharp)
                result.psnr.setdefault(frame, []).append(psnr(shown[inside], truth[inside]))
    return result


def sharpness(
    picture: FloatArray, inside: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
) -> float:
    """Variance of the Laplacian."""
    edges = cv2.Laplacian(picture, cv2.CV_32F)
    return float(np.var(edges[inside]))


def _part(luma: U8Array, xys_px: tuple[int, int, int]) -> U8Array:
    x, y, side = xys_px
    wide = cv2.copyMakeBorder(luma, side, side, side, side, cv2.BORDER_REPLICATE)
    return np.asarray(wide[y + side : y + 2 * side, x + side : x + 2 * side], np.uint8)


def _fetched(
    picture: FloatArray,
    from_xys: tuple[int, int, int],
    xys: tuple[int, int, int],
    off_px: FloatArray,
    how: int,
) -> FloatArray:
    """A square of the picture, which shows `from_xys` of its frame, moved."""
    cells = cells_of(xys[2])
    places = cells * np.float32(from_xys[2]) + sample(off_px, cells) - np.float32(0.5)
    return fetch(picture, places, how)


def _inside(
    scene: Scene, frame: int, xys_px: tuple[int, int, int]
) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
    x, y, side = xys_px
    points = (scene.points(frame, step_px=1) - np.array((x, y), np.float32)).astype(np.int64)
    points = points[((points >= 0) & (points < side)).all(axis=1)]
    mask = np.zeros((side, side), np.bool_)
    mask[points[:, 1], points[:, 0]] = True
    return mask
