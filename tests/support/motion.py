"""Pictures whose motion is known: one textured face on a textured wall, placed by numbers."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from pipeline.frames import FaceBox, FloatArray, U8Array, YuvPlanes

FACE_PX = 80.0


def textured(size_px: tuple[int, int], *, seed: int) -> U8Array:
    """(h, w) smooth blobs of several sizes, full of corners to hold on to."""
    width, height = size_px
    rng = np.random.default_rng(seed)
    picture = np.full((height, width), 128, np.float32)
    for cell_px, levels in ((40, 30), (16, 22), (7, 14)):
        cells = (max(2, height // cell_px), max(2, width // cell_px))
        noise = rng.normal(0, levels, cells).astype(np.float32)
        picture += cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(picture, 0, 255), np.uint8)


@dataclass(frozen=True)
class Placed:
    """A face in one frame."""

    x_px: float = 320.0
    y_px: float = 180.0
    scale: float = 1.0
    turn_degrees: float = 0.0
    seed: int = 7
    track_id: int = 1

    def at(self, **changes: float) -> Placed:
        return replace(self, **changes)  # type: ignore[arg-type]

    @property
    def box(self) -> FaceBox:
        half = np.array([FACE_PX * self.scale / 2] * 2, np.float32)
        centre = np.array([self.x_px, self.y_px], np.float32)
        return FaceBox(self.track_id, np.concatenate([centre - half, centre + half]), 0.0)


def painted(*faces: Placed, size_px: tuple[int, int] = (640, 360), wall: int = 1) -> YuvPlanes:
    """The faces, later ones in front, as 4:2:0 planes of their own."""
    width, height = size_px
    luma = textured(size_px, seed=wall).astype(np.float32)
    for face in faces:
        _paint(luma, face)
    shade = np.asarray(np.rint(luma), np.uint8)
    half = (height // 2, width // 2)
    small = np.asarray(cv2.resize(shade, half[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    return YuvPlanes(shade, small, np.asarray(255 - small, np.uint8))


def _paint(luma: FloatArray, face: Placed) -> None:
    """A disc twice the box's size: hair, ears and neck move with a face."""
    side = 200
    texture = textured((side, side), seed=face.seed).astype(np.float32)
    disc = np.zeros((side, side), np.float32)
    cv2.circle(disc, (side // 2, side // 2), int(FACE_PX), 1.0, -1)
    disc = np.asarray(cv2.GaussianBlur(disc, (0, 0), 3), np.float32)
    move = cv2.getRotationMatrix2D((side / 2, side / 2), -face.turn_degrees, face.scale)
    move[:, 2] += np.array((face.x_px - side / 2, face.y_px - side / 2))
    size = (luma.shape[1], luma.shape[0])
    weight = cv2.warpAffine(disc, move, size)
    luma += weight * (cv2.warpAffine(texture, move, size) - luma)
