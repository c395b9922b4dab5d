"""A camera whose every picture is known: two people who walk a few steps, and back, for ever.

Whatever is seen of it can be held against the very picture that it shows, without a timecode.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.frames import U8Array
from pipeline.source.scene import FloatArray, Scene, plane_view

from .tiles import psnr_db

PICTURES = 60  # then back; within these the two do not meet
ROUND_FRAMES = 188  # forth and back; they turn slowly: who turned at once would be another person
SIZE_PX = (640, 360)
FPS = 12
COARSE = 3  # of so many pixels one is looked at to find a picture
AROUND_FACES = 0.6  # of a face's size, to each side: what may be hidden with it


class Pendulum(Scene):
    """The first pictures of a scene, forth and back."""

    def render(self, frame_index: int) -> av.VideoFrame:
        """See Scene."""
        return super().render(place_of(frame_index))

    def face_boxes_xyxy_px(self, frame_index: int) -> FloatArray:
        """See Scene."""
        return super().face_boxes_xyxy_px(place_of(frame_index))


def place_of(frame_index: int) -> int:
    """0 … PICTURES - 1, and back."""
    turn = 2 * math.pi * frame_index / ROUND_FRAMES
    return round((PICTURES - 1) * (1 - math.cos(turn)) / 2)


def pendulum() -> Pendulum:
    """The same each time."""
    width_px, height_px = SIZE_PX
    return Pendulum(width_px=width_px, height_px=height_px, fps=FPS, faces=2, seed=1)


@dataclass(frozen=True)
class Seen:
    """A luma plane from somewhere, and the picture of the film that it shows."""

    luma: U8Array
    original: U8Array
    boxes: tuple[tuple[int, int, int, int], ...]  # of each person, xyxy px
    background: U8Array  # 1: far from every face

    def face_db(self, person: int) -> float:
        """How like the original this person's face is, inside its true box."""
        x1, y1, x2, y2 = self.boxes[person]
        return psnr_db(self.luma[y1:y2, x1:x2], self.original[y1:y2, x1:x2])

    @property
    def background_db(self) -> float:
        """The same for all that is far from faces."""
        far = self.background == 1
        return psnr_db(self.luma[far], self.original[far])


class Film:
    """All pictures of a pendulum; finds which of them a picture shows."""

    def __init__(self, scene: Pendulum) -> None:
        self._scene = scene

    @cached_property
    def _lumas(self) -> list[U8Array]:
        found = []
        for index in range(ROUND_FRAMES // 2 + 1):
            image = self._scene.render(index)  # its planes go with it
            found.append(plane_view(image, 0).copy())
        return found

    @cached_property
    def boxes(self) -> list[tuple[tuple[int, int, int, int], ...]]:
        """Of both people, in each picture."""
        found = []
        for index in range(ROUND_FRAMES // 2 + 1):
            boxes = self._scene.face_boxes_xyxy_px(index)
            found.append(tuple((int(a), int(b), int(c), int(d)) for a, b, c, d in boxes.round()))
        return found

    @cached_property
    def _backgrounds(self) -> list[U8Array]:
        found = []
        for boxes in self.boxes:
            far = np.ones_like(self._lumas[0])
            for x1, y1, x2, y2 in boxes:
                x, y = round((x2 - x1) * AROUND_FACES), round((y2 - y1) * AROUND_FACES)
                far[max(0, y1 - y) : y2 + y, max(0, x1 - x) : x2 + x] = 0
            found.append(far)
        return found

    @cached_property
    def _coarse(self) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
        """All of them, and what is background, with a few of their pixels."""
        few = np.s_[:, ::COARSE, ::COARSE]
        return np.stack(self._lumas)[few].astype(np.int16), np.stack(self._backgrounds)[few] == 1

    def seen(self, luma: U8Array) -> Seen:
        """`luma` in limited range. What lies around the faces tells which picture it is."""
        pictures, far = self._coarse
        errors = np.abs(pictures - luma[::COARSE, ::COARSE]).mean(axis=(1, 2), where=far)
        index = int(np.argmin(errors))
        return Seen(luma, self._lumas[index], self.boxes[index], self._backgrounds[index])
