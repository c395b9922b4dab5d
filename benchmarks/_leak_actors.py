"""People and things of made clips: head, neck and clothes on a known path, and what hides them.

A face pasted on a wall is not what detectors were made for, so everybody has shoulders. Which
pixels show a face is known exactly, whatever turns, leaves, or comes between.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import cv2
import numpy as np
from numpy.typing import NDArray

from engines.train.data import FACE_PX

from ._flow_scenes import CENTRE_PX, DETAIL, HALF_PX, Affine, Pose
from ._leak_sprites import Edges, Placed, Sprite, placed, sprite_of
from ._leak_truth import TrueFace
from ._similarity import F64, U8

# In units of the aligned crop, as everything here: hair, ears and chin are inside.
HEAD_CENTRE, HEAD_HALF = (48.5, 59.0), (45.5, 59.5)
HEAD_EDGE = 0.1  # of the head: where it fades out, beyond the ellipse of the face
TURNED_HALF = 47.0  # about the middle of the face: what a turn moves
MOST_TURN = 0.6  # where the nose goes at 90 degrees, in halves of a head
OUTLINE = 128  # points around a face
SHUTTER_SHARE = 0.4  # of a frame's time: how far things are blurred by their motion

_BODY_X, _BODY_TOP = -110, 60
_BODY_WIDTH, _BODY_HEIGHT = 320, 832
# Right halves of outlines, from top to bottom.
_NECK = ((73, 90), (76, 134), (48.5, 158))
_TORSO = ((67, 112), (128, 134), (152, 172), (168, 330), (164, 470), (135, 480))
_LEGS = ((122, 440), (118, 640), (110, 870), (58, 870), (48.5, 560))


Path = Callable[[int], Pose | None]
"""By frame; None while nobody is there."""


@dataclass(frozen=True, slots=True)
class Person:
    """Later ones stand before earlier ones."""

    number: int
    head: Sprite = field(repr=False)
    body: Sprite = field(repr=False)
    path: Path
    turn: Callable[[int], float] | None = None  # degrees to the side, by frame

    def layers(self, index: int, by_px: tuple[float, float], window: Edges) -> list[Placed]:
        """Body, then head."""
        pose = self.pose(index, by_px)
        if pose is None:
            return []
        # who leans the head leaves the shoulders where they are
        upright = Pose(pose.x_px, pose.y_px, pose.scale, pose.degrees / 3)
        blur, nose = self._blur_px(index), self._nose(index)
        bent = partial(turned, nose=nose) if nose else None
        found = (
            placed(self.body, upright.affine(), window, blur_px=blur),
            placed(self.head, pose.affine(), window, blur_px=blur, bent=bent),
        )
        return [each for each in found if each is not None]

    def pose(self, index: int, by_px: tuple[float, float]) -> Pose | None:
        """With the camera's shake."""
        pose = self.path(index)
        return None if pose is None else pose.moved(by_px)

    def face(
        self,
        index: int,
        by_px: tuple[float, float],
        frame_px: tuple[int, int],
        before: Sequence[Layer],
    ) -> TrueFace | None:
        """None where nothing of it is to be seen. `before`: what stands before this person."""
        pose = self.pose(index, by_px)
        if pose is None:
            return None
        affine, nose = pose.affine(), self._nose(index)
        outline = _outline(nose) @ affine[:, :2].T + affine[:, 2]
        low, high = outline.min(axis=0), outline.max(axis=0)
        x1, y1 = (max(math.floor(value), 0) for value in low)
        x2, y2 = (min(math.ceil(value), most) for value, most in zip(high, frame_px, strict=True))
        if x1 >= x2 or y1 >= y2:
            return None
        edges = (x1, y1, x2, y2)
        mask = _face_mask(affine, nose, edges)
        for layer in before:
            for top in layer.layers(index, by_px, edges):
                mask &= ~top.hides(edges)
        if not mask.any():
            return None
        whole = float(cv2.contourArea(outline.astype(np.float32)))
        box = np.concatenate([low, high]).astype(np.float32)
        return TrueFace(self.number, box, x1, y1, mask, min(float(mask.sum()) / whole, 1.0))

    def _nose(self, index: int) -> float:
        return 0.0 if self.turn is None else MOST_TURN * math.sin(math.radians(self.turn(index)))

    def _blur_px(self, index: int) -> tuple[float, float]:
        one, other = self.path(index - 1), self.path(index + 1)
        if one is None or other is None:
            return 0.0, 0.0
        share = SHUTTER_SHARE / 2  # of two frames' way
        return share * (other.x_px - one.x_px), share * (other.y_px - one.y_px)


@dataclass(frozen=True, slots=True)
class Thing:
    """A pole, a hand: it has no face."""

    sprite: Sprite = field(repr=False)
    place: Callable[[int], Affine | None]

    def layers(self, index: int, by_px: tuple[float, float], window: Edges) -> list[Placed]:
        """At most one."""
        affine = self.place(index)
        if affine is None:
            return []
        moved = np.column_stack([affine[:, :2], affine[:, 2] + np.array(by_px)])
        found = placed(self.sprite, moved, window)
        return [] if found is None else [found]


Layer = Person | Thing


def true_faces(
    cast: Sequence[Layer], index: int, by_px: tuple[float, float], frame_px: tuple[int, int]
) -> list[TrueFace]:
    """Every face of which a pixel is to be seen."""
    faces = (
        layer.face(index, by_px, frame_px, cast[number + 1 :])
        for number, layer in enumerate(cast)
        if isinstance(layer, Person)
    )
    return [face for face in faces if face is not None]


# --- turning ---


def turned(head: Sprite, nose: float) -> Sprite:
    """To the side: the far half is squeezed, the near one drawn out, as far as one picture goes."""
    (level,) = head.levels
    rows, columns = level.shape[:2]
    drawn = head.corner[0] + (np.arange(columns, dtype=np.float64) + 0.5) / head.detail
    found = ((_unturned(drawn, nose) - head.corner[0]) * head.detail - 0.5).astype(np.float32)
    across, down = np.meshgrid(found, np.arange(rows, dtype=np.float32))
    bent = np.asarray(cv2.remap(level, across, down, cv2.INTER_LINEAR), np.uint8)
    return Sprite((bent,), head.corner, head.detail)


def _turned(u: F64, nose: float) -> F64:
    """Where a place of the straight face goes. It keeps -1, 1 and the order, and moves 0."""
    x = np.clip((u - CENTRE_PX[0]) / TURNED_HALF, -1, 1)
    return np.asarray(u + TURNED_HALF * ((x + nose) / (1 + nose * x) - x))


def _unturned(u: F64, nose: float) -> F64:
    return _turned(u, -nose)


def _outline(nose: float) -> F64:
    """(OUTLINE, 2) of the face."""
    angles = np.linspace(0, 2 * math.pi, OUTLINE, endpoint=False)
    u = _turned(CENTRE_PX[0] + HALF_PX[0] * np.cos(angles), nose)
    return np.column_stack([u, CENTRE_PX[1] + HALF_PX[1] * np.sin(angles)])


def _face_mask(affine: Affine, nose: float, edges: tuple[int, int, int, int]) -> NDArray[np.bool_]:
    """Pixels of the frame whose middle lies in the ellipse of the face."""
    x1, y1, x2, y2 = edges
    xs, ys = np.meshgrid(np.arange(x1, x2) + 0.5, np.arange(y1, y2) + 0.5)
    inverse = np.linalg.inv(affine[:, :2])
    dx, dy = xs - affine[0, 2], ys - affine[1, 2]
    u = _unturned(inverse[0, 0] * dx + inverse[0, 1] * dy, nose)
    v = inverse[1, 0] * dx + inverse[1, 1] * dy
    a, b = HALF_PX
    return np.asarray(((u - CENTRE_PX[0]) / a) ** 2 + ((v - CENTRE_PX[1]) / b) ** 2 <= 1)


# --- drawing ---


def head_sprite(picture: U8) -> Sprite:
    """The crop under its elliptic edge. `picture`: (D * 112, D * 112, 3) RGB."""
    below = 16  # the chin's edge fades out beneath the crop
    wide = cv2.copyMakeBorder(picture, 0, DETAIL * below, 0, 0, cv2.BORDER_REFLECT)
    x, y = _units((FACE_PX, FACE_PX + below), (0.0, 0.0), DETAIL)
    radius = np.hypot((x - HEAD_CENTRE[0]) / HEAD_HALF[0], (y - HEAD_CENTRE[1]) / HEAD_HALF[1])
    weight = np.clip((1 - radius) / HEAD_EDGE, 0, 1).astype(np.float32)
    return sprite_of(np.asarray(wide, np.uint8), weight, (0.0, 0.0), DETAIL)


def body_sprite(picture: U8, rng: np.random.Generator, *, near: bool) -> Sprite:
    """Neck, shoulders and clothes; `near`: finer."""
    detail = 1.0 if near else 0.5
    size, corner = (_BODY_WIDTH, _BODY_HEIGHT), (float(_BODY_X), float(_BODY_TOP))
    x, y = _units(size, corner, detail)
    cloth = _clothes(x, y, rng)
    skin = _skin(picture)
    torso, legs, neck = (_rounded(half, size, corner, detail) for half in (_TORSO, _LEGS, _NECK))
    under_chin = np.clip((y - 104) / 28, 0.45, 0.95)[..., None]
    rgb = np.where(y[..., None] > 455, cloth * 0.55, cloth)
    rgb = rgb + (skin * under_chin - rgb) * neck[..., None]
    # light from above, roundness to the sides
    rgb = rgb * (1 - 0.35 * np.clip(np.abs(x - CENTRE_PX[0]) / 120, 0, 1)[..., None] ** 2)
    weight = np.maximum(np.maximum(torso, legs), neck)
    return sprite_of(np.clip(rgb, 0, 255).astype(np.uint8), weight, corner, detail)


def hand_sprite(picture: U8) -> Sprite:
    """Four fingers and the back of a hand, in about the colour of the face."""
    size, corner, detail = (96, 128), (-48.0, -64.0), 2.0
    x, y = _units(size, corner, detail)
    weight = np.zeros(x.shape, np.float32)
    shade = np.ones(x.shape)
    for bend in (-27, -9, 9, 27):
        across = x - bend * (1 - 0.12 * y / 64)
        finger = np.clip(9 - np.hypot(across, np.clip(-50 + abs(bend) / 2 - y, 0, None)), 0, 1)
        finger[y > 10] = 0
        weight = np.maximum(weight, finger)
        shade = np.where(finger > 0, 1 - 0.45 * (np.abs(across) / 9) ** 4, shade)
    palm = np.clip(6 * (1 - np.hypot(x / 36, (y - 28) / 34)), 0, 1)
    rgb = (0.9 * _skin(picture))[None, None] * (shade * (1 - 0.1 * y / 64))[..., None]
    weight = np.maximum(weight, palm).astype(np.float32)
    return sprite_of(np.clip(rgb, 0, 255).astype(np.uint8), weight, corner, detail)


def pole_sprite(width_px: int, height_px: int, shade: float) -> Sprite:
    """Something round and grey; its units are pixels of the frame."""
    size = (math.ceil(width_px / 16) * 16, math.ceil(height_px / 16) * 16)
    x, _ = _units(size, (0.0, 0.0), 1.0)
    across = (x - width_px / 2) / (width_px / 2)
    light = np.clip(1 - 0.6 * (across - 0.3) ** 2, 0, 1)
    rgb = np.clip(shade * light, 0, 255)[..., None].repeat(3, axis=2).astype(np.uint8)
    return sprite_of(rgb, (np.abs(across) < 1).astype(np.float32), (0.0, 0.0), 1.0)


def _units(size: tuple[int, int], corner: tuple[float, float], detail: float) -> tuple[F64, F64]:
    """Of the pixels' middles."""
    columns, rows = (round(side * detail) for side in size)
    x, y = np.meshgrid(np.arange(columns) + 0.5, np.arange(rows) + 0.5)
    return x / detail + corner[0], y / detail + corner[1]


def _skin(picture: U8) -> F64:
    """(3,) of the cheeks."""
    cheeks = picture[70 * DETAIL : 95 * DETAIL, 28 * DETAIL : 70 * DETAIL]
    return np.asarray(np.median(cheeks.reshape(-1, 3), axis=0), np.float64)


def _clothes(x: F64, y: F64, rng: np.random.Generator) -> F64:
    """(h, w, 3): one colour, folds, and of some people stripes."""
    hsv = np.array([[[rng.integers(180), rng.integers(10, 150), rng.integers(40, 200)]]], np.uint8)
    colour = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB), np.float64)
    folds = cv2.resize(rng.normal(0, 0.06, (9, 14)), x.shape[::-1], interpolation=cv2.INTER_CUBIC)
    light = 1.1 - 0.25 * np.clip((y - 120) / 360, 0, 1) + folds
    if rng.random() < 0.2:
        light = light * np.where(np.floor((y if rng.random() < 0.5 else x) / 14) % 2, 1, 0.75)
    return np.asarray(colour * light[..., None])


def _rounded(
    half: Sequence[tuple[float, float]],
    size: tuple[int, int],
    corner: tuple[float, float],
    detail: float,
) -> NDArray[np.float32]:
    """(h, w) in 0..1: half and mirrored half, their corners rubbed off."""
    columns, rows = (round(side * detail) for side in size)
    right = np.array(half)
    corners = np.concatenate([right, right[::-1] * (-1, 1) + (2 * CENTRE_PX[0], 0)])
    points = np.rint((corners - corner) * detail).astype(np.int32)
    flat = cv2.fillPoly(np.zeros((rows, columns), np.float32), [points], (1.0,))
    soft = cv2.GaussianBlur(flat, (0, 0), 7 * detail, borderType=cv2.BORDER_REPLICATE)
    return np.asarray(np.clip((soft - 0.5) * 10 * detail + 0.5, 0, 1), np.float32)
