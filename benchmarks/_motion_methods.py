"""Ways of finding how a face moved between two frames, all asked alike: the view around the face
in each frame, and a grid of motions as the answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.frames import MOTION_CELLS, FloatArray, U8Array
from pipeline.protect.flow import (
    VIEW_PX,
    View,
    _residual,
    evened,
    face_weights,
    flow_between,
)

from ._motion_grid import affine, cells_of, pooled, sample
from ._motion_scenes import Scene

PRESETS = {
    "ultrafast": cv2.DISOPTICAL_FLOW_PRESET_ULTRAFAST,
    "fast": cv2.DISOPTICAL_FLOW_PRESET_FAST,
    "medium": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM,
}
VIEW_SIZES_PX = (64, 96, 128)
_NO_GUESS: FloatArray = np.zeros(0, np.float32)
_LOST = 0.25  # of a cell: with fewer vectors than that, the others say how it moved
_QUARTER = 4.0


@dataclass(slots=True)
class Sight:
    """A frame as a method gets it, and the views it made of it."""

    luma: U8Array = field(repr=False)
    vectors: FloatArray | None = field(repr=False)
    box: FloatArray
    xys_px: tuple[int, int, int]
    views: dict[int, U8Array] = field(default_factory=dict, repr=False)

    def view(self, side_px: int) -> U8Array:
        """Made once, as the product makes it."""
        if side_px not in self.views:
            self.views[side_px] = view(self.luma, self.xys_px, side_px)
        return self.views[side_px]

    def box_in_view(self) -> FloatArray:
        """(4,) shares of the view's side."""
        x, y, side = self.xys_px
        return ((self.box - np.array((x, y, x, y), np.float32)) / side).astype(np.float32)


def sight_of(scene: Scene, frame: int) -> Sight:
    """Of a scene's decoded frame."""
    return Sight(
        scene.luma[frame], scene.vectors[frame], scene.boxes[frame], scene.square(frame), {}
    )


def view(luma: U8Array, xys_px: tuple[int, int, int], side_px: int) -> U8Array:
    """`pipeline.protect.flow.view_of` at any size, in the light as it is."""
    x, y, side = xys_px
    height, width = luma.shape
    left, top, right, bottom = max(x, 0), max(y, 0), min(x + side, width), min(y + side, height)
    part = luma[top:bottom, left:right]
    if (right - left, bottom - top) != (side, side):
        beyond = (top - y, y + side - bottom, left - x, x + side - right)
        part = np.asarray(cv2.copyMakeBorder(part, *beyond, cv2.BORDER_REPLICATE), np.uint8)
    window = round(side / side_px / 2) * 2 + 1
    small = cv2.resize(cv2.blur(part, (window, window)), (side_px, side_px))
    return np.asarray(small, np.uint8)


class Method(Protocol):
    """One way."""

    name: str
    view_px: int  # 0: it looks at no picture

    def grid(self, before: Sight, now: Sight) -> FloatArray | None:
        """(G, G, 2) from each cell of now's view to where it was in the other; shares of their
        sides. None where there is no answer.
        """
        ...


class Dense(Protocol):
    """A way that answers for every pixel of the view."""

    def dense(self, before: U8Array, now: U8Array) -> FloatArray:
        """(S, S, 2) px of the view."""
        ...


@dataclass(slots=True)
class Dis:
    """OpenCV's DIS."""

    preset: str
    view_px: int
    name: str = ""
    finest: int | None = None  # as the preset has it, or as DIS chooses for small pictures
    averaged: bool = False  # both directions, halved
    _dis: Any = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(PRESETS[self.preset])
        if self.finest is not None:
            self._dis.setFinestScale(self.finest)
        self.name = self.name or f"DIS {self.preset} {self.view_px}"

    def dense(self, before: U8Array, now: U8Array) -> FloatArray:
        """See Dense."""
        return np.asarray(self._dis.calc(now, before, _NO_GUESS), np.float32)

    def grid(self, before: Sight, now: Sight) -> FloatArray:
        """See Method."""
        here, there = now.view(self.view_px), before.view(self.view_px)
        forth = pooled(self.dense(there, here), MOTION_CELLS)
        if not self.averaged:
            return forth
        back = pooled(self.dense(here, there), MOTION_CELLS)
        return halved(forth, back)


def halved(forth: FloatArray, back: FloatArray) -> FloatArray:
    """The mean of the way forth and of the way back, turned round."""
    other = sample(back, cells_of(forth.shape[0]) + forth)
    return np.asarray((forth - other) / 2, np.float32)


@dataclass(slots=True)
class Farneback:
    """OpenCV's polynomial expansion."""

    view_px: int
    name: str = ""

    def __post_init__(self) -> None:
        self.name = f"Farneback {self.view_px}"

    def dense(self, before: U8Array, now: U8Array) -> FloatArray:
        """See Dense."""
        empty = np.zeros((*now.shape, 2), np.float32)
        found = cv2.calcOpticalFlowFarneback(now, before, empty, 0.5, 3, 13, 3, 5, 1.1, 0)
        return np.asarray(found, np.float32)

    def grid(self, before: Sight, now: Sight) -> FloatArray:
        """See Method."""
        found = self.dense(before.view(self.view_px), now.view(self.view_px))
        return pooled(found, MOTION_CELLS)


@dataclass(slots=True)
class LucasKanade:
    """Pyramidal, at the cells' centres; points that do not come back are filled in."""

    view_px: int
    window_px: int = 15
    name: str = ""
    most_off: float = 0.01  # of the view, between forth and back

    def __post_init__(self) -> None:
        self.name = f"Lucas-Kanade {self.view_px}"

    def grid(self, before: Sight, now: Sight) -> FloatArray | None:
        """See Method."""
        here, there = now.view(self.view_px), before.view(self.view_px)
        points = (cells_of(MOTION_CELLS) * self.view_px - 0.5).reshape(-1, 1, 2)
        points = points.astype(np.float32)
        options: dict[str, Any] = {"winSize": (self.window_px,) * 2, "maxLevel": 2}
        forth, found, _ = cv2.calcOpticalFlowPyrLK(here, there, points, points.copy(), **options)
        back, found_back, _ = cv2.calcOpticalFlowPyrLK(there, here, forth, points.copy(), **options)
        off = np.linalg.norm(back - points, axis=2).ravel()
        sound = (found.ravel() > 0) & (found_back.ravel() > 0)
        sound &= off < self.most_off * self.view_px
        shape = (MOTION_CELLS, MOTION_CELLS)
        moved = ((forth - points) / self.view_px).reshape(*shape, 2)
        weights = face_weights(now.box_in_view()) * sound.reshape(shape)
        return filled(np.asarray(moved, np.float32), sound.reshape(shape), weights)


def filled(moved: FloatArray, known: NDArray[np.bool_], weights: FloatArray) -> FloatArray | None:
    """Unknown cells move as the affine motion of the others; None where too few are known."""
    if np.count_nonzero(known & (weights > 0)) < 6:
        return None
    moved = np.where(known[..., None], moved, 0).astype(np.float32)
    fitted = affine(moved, (weights * known + np.float32(1e-9)).astype(np.float32))
    return np.where(known[..., None], moved, fitted).astype(np.float32)


@dataclass(slots=True)
class DecoderVectors:
    """What the camera's encoder found and the decoder had to read anyway."""

    name: str = "decoder's vectors"
    view_px: int = 0
    smooth: bool = False  # nothing but their affine motion

    def grid(self, before: Sight, now: Sight) -> FloatArray | None:
        """See Method."""
        if now.vectors is None:
            return None
        x, y, side = now.xys_px
        # the blocks' field, fetched at four places of each cell
        fine = 4 * MOTION_CELLS
        at_px = cells_of(fine) * side + np.array((x, y), np.float32)
        places = (at_px / _QUARTER - 0.5).astype(np.float32)
        ix, iy = (np.rint(places[..., axis]).astype(np.int64) for axis in (0, 1))
        rows, columns = now.vectors.shape[:2]
        read = now.vectors[np.clip(iy, 0, rows - 1), np.clip(ix, 0, columns - 1)]
        known = np.isfinite(read[..., 0])
        size = (MOTION_CELLS, MOTION_CELLS)
        share = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        total = cv2.resize(np.nan_to_num(read), size, interpolation=cv2.INTER_AREA)
        way_px = total / np.maximum(share, 1e-3)[..., None]
        cells = cells_of(MOTION_CELLS)
        then_px = cells * side + np.array((x, y), np.float32) + way_px
        bx, by, before_side = before.xys_px
        moved = (then_px - np.array((bx, by), np.float32)) / np.float32(before_side) - cells
        weights = face_weights(now.box_in_view())
        grid = filled(moved.astype(np.float32), share >= _LOST, weights)
        return affine(grid, weights) if self.smooth and grid is not None else grid


@dataclass(slots=True)
class FaceLucasKanade:
    """Pyramidal Lucas-Kanade where the face is, and nowhere else; each cell counts as much as it
    came back to where it began. The rest goes by the affine motion of what is trusted.
    """

    view_px: int = 96
    window_px: int = 11
    shrink: float = 0.8  # of the box: its edge is half background
    least: float = 0.1  # weight of a cell that is asked
    trusted: float = 0.01  # of the view, between forth and back: half of the weight is left
    lost: float = 0.02  # the same: none is left
    steps: int = 10
    name: str = ""
    disagreement: float = 0.0
    residual: float = 0.0

    def __post_init__(self) -> None:
        self.name = self.name or f"Lucas-Kanade on the face {self.view_px}/{self.window_px}"

    def grid(self, before: Sight, now: Sight) -> FloatArray | None:
        """See Method. Regularised already."""
        here, there = now.view(self.view_px), before.view(self.view_px)
        box = now.box_in_view()
        centre, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * self.shrink
        weights = face_weights(np.concatenate([centre - half, centre + half]))
        asked = weights >= self.least
        points = (cells_of(MOTION_CELLS)[asked] * self.view_px - 0.5).astype(np.float32)
        options: dict[str, Any] = {
            "winSize": (self.window_px, self.window_px),
            "maxLevel": 2,
            "criteria": (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, self.steps, 0.03),
        }
        forth, found, _ = cv2.calcOpticalFlowPyrLK(here, there, points, points.copy(), **options)
        back, again, _ = cv2.calcOpticalFlowPyrLK(there, here, forth, points.copy(), **options)
        off = np.linalg.norm(back - points, axis=1) / self.view_px
        sound = (found.ravel() > 0) & (again.ravel() > 0) & (off < self.lost)
        moved = np.zeros((MOTION_CELLS, MOTION_CELLS, 2), np.float32)
        moved[asked] = (forth - points) / self.view_px
        trust = np.zeros((MOTION_CELLS, MOTION_CELLS), np.float32)
        trust[asked] = weights[asked] * sound / (1 + (off / self.trusted) ** 2)
        if np.count_nonzero(trust) < 6:
            self.disagreement = self.residual = np.inf
            return None
        rigid = affine(moved, trust, rounds=3)
        result = np.asarray(rigid + trust[..., None] * (moved - rigid), np.float32)
        # what was lost counts as much as the most that is not
        capped = np.where(sound, off, self.lost)
        share = float(np.average(capped, weights=weights[asked]))
        self.disagreement = share * now.xys_px[2] / float((now.box[2:] - now.box[:2]).max())
        self.residual = _residual(there, here, result, face_weights(box))
        return result


@dataclass(slots=True)
class Product:
    """`flow_between`, as it runs."""

    name: str = "product"
    view_px: int = VIEW_PX
    disagreement: float = 0.0
    residual: float = 0.0

    def grid(self, before: Sight, now: Sight) -> FloatArray:
        """See Method. What the flow says about itself stays in the attributes, in face widths."""
        here, there = (
            View(each.xys_px, evened(each.view(VIEW_PX), each.box_in_view()))
            for each in (now, before)
        )
        box = now.box_in_view()
        flow = flow_between(there, here, box, face_weights(box))
        width = float((now.box[2:] - now.box[:2]).max())
        self.disagreement = flow.disagreement * now.xys_px[2] / width
        self.residual = flow.residual
        return flow.moved


@dataclass(slots=True)
class Network:
    """Our own; see _motion_network.py."""

    run: Callable[[U8Array, U8Array], FloatArray]
    view_px: int
    name: str = "network"

    def grid(self, before: Sight, now: Sight) -> FloatArray:
        """See Method."""
        return self.run(now.view(self.view_px), before.view(self.view_px))
