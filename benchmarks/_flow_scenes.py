"""Faces on known paths: what propagation finds hard, with the truth of every pixel.

A scene is drawn anew each time it is asked: the same frame is the same picture. The face of an
actor is an ellipse; which of its pixels are to be seen is known exactly, whatever turns, grows,
hides it or leaves the frame.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from engines import EngineError
from engines.train.data import FACE_PX
from pipeline.frames import FaceBox, FloatArray, YuvPlanes

from . import clips
from ._face_clips import BACKGROUNDS, planes_of_rgb, recorded_frames, rgb_of_planes
from ._fusion import held_out_faces
from ._similarity import F64, U8

WIDTH_PX, HEIGHT_PX = 1280, 720
FPS = Fraction(25)
MARGIN_PX = 32  # of the background on every side: the camera may shake by so much
BACKGROUND_FRAMES = 24  # to and fro
DETAIL = 2  # a picture has so many times the pixels of an aligned face: it may come nearer
# Hairline to chin and ear to ear in an aligned 112x112 crop, about what the detector's boxes hold.
CENTRE_PX, HALF_PX = (48.5, 63.0), (39.0, 48.0)
PORES_LEVELS = 10.0  # rms of fine detail, fixed to the skin: the pixel check looks for it
LEAST_VISIBLE = 0.1  # of a face: less of it is not judged
# The astronaut's face in scikit-image's portrait, laid where an aligned crop has its own.
_PORTRAIT_XY_SIDE = (165.4, 41.4, 138.8)

Affine = NDArray[np.float64]
"""(2, 3) from an aligned crop's pixels to the frame's."""


@dataclass(frozen=True, slots=True)
class Pose:
    """Where the middle of a face is, how large (1: 112 px crops), and how far it is turned."""

    x_px: float
    y_px: float
    scale: float = 1.0
    degrees: float = 0.0

    def affine(self) -> Affine:
        """See Affine."""
        angle = math.radians(self.degrees)
        turn = self.scale * np.array(
            [[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]
        )
        at = np.array([self.x_px, self.y_px]) - turn @ np.array(CENTRE_PX)
        return np.column_stack([turn, at])

    def box(self) -> FloatArray:
        """(4,) around the turned ellipse."""
        angle = math.radians(self.degrees)
        a, b = (half * self.scale for half in HALF_PX)
        half_x = math.hypot(a * math.cos(angle), b * math.sin(angle))
        half_y = math.hypot(a * math.sin(angle), b * math.cos(angle))
        x, y = self.x_px, self.y_px
        return np.array([x - half_x, y - half_y, x + half_x, y + half_y], np.float32)

    def moved(self, by_px: tuple[float, float]) -> Pose:
        """By a shake of the camera."""
        return Pose(self.x_px + by_px[0], self.y_px + by_px[1], self.scale, self.degrees)


@dataclass(frozen=True, slots=True)
class Actor:
    """One face; `path` gives None while it is not there. Later actors stand before earlier ones."""

    track_id: int
    picture: U8 = field(repr=False)  # (D * 112, D * 112, 3) RGB
    path: Callable[[int], Pose | None]


Bar = Callable[[int], tuple[int, int, int, int] | None]
"""(x1, y1, x2, y2) of something before everything, by frame."""


@dataclass(frozen=True, slots=True)
class Truth:
    """One actor's face in one frame."""

    actor: int
    track_id: int
    box_xyxy_px: FloatArray = field(repr=False)
    affine: Affine = field(repr=False)
    x_px: int  # of the mask's corner, inside the frame
    y_px: int
    mask: NDArray[np.bool_] = field(repr=False)  # what is to be seen of the ellipse
    visible: float  # the mask's share of the whole ellipse


@dataclass(frozen=True, slots=True)
class Scene:
    """A made clip."""

    name: str
    frames: int
    actors: Sequence[Actor] = field(repr=False)
    backgrounds: Sequence[tuple[int, int]] = ((0, 0),)  # (first frame, number)
    bar: Bar | None = field(default=None, repr=False)
    shake: Callable[[int], tuple[float, float]] | None = field(default=None, repr=False)
    held: Callable[[int], list[FaceBox]] | None = field(default=None, repr=False)
    """Boxes that show no face, as a tracker holds them."""
    tells_cuts: bool = True  # false: nobody notices that the scene has changed

    def poses(self, index: int) -> list[Pose | None]:
        """Of each actor, with the camera's shake."""
        by = self._shake_px(index)
        found = (actor.path(index) for actor in self.actors)
        return [None if pose is None else pose.moved(by) for pose in found]

    def follows_cut(self, index: int) -> bool:
        """Whether the scene changes between the frame before and this one, and that is known."""
        return self.tells_cuts and index > 0 and index in {first for first, _ in self.backgrounds}

    def render(self, index: int) -> YuvPlanes:
        """The clear picture."""
        number = [n for first, n in self.backgrounds if index >= first][-1]
        by = self._shake_px(index)
        canvas = _shifted(background(number, index), by)
        for actor, pose in zip(self.actors, self.poses(index), strict=True):
            if pose is not None:
                _paste(canvas, actor.picture, pose.affine())
        if self.bar is not None and (edges := self.bar(index)) is not None:
            x1, y1, x2, y2 = edges
            stripes = (np.arange(max(x2 - x1, 0)) // 6 % 2 * 30 + 70).astype(np.uint8)
            canvas[max(y1, 0) : max(y2, 0), max(x1, 0) : max(x2, 0)] = stripes[
                max(-x1, 0) : max(-x1, 0) + max(min(x2, WIDTH_PX) - max(x1, 0), 0), None
            ]
        return planes_of_rgb(canvas)

    def truths(self, index: int) -> list[Truth]:
        """Faces of which enough is to be seen."""
        poses = self.poses(index)
        found = []
        for number, pose in enumerate(poses):
            if pose is None:
                continue
            before = [other for other in poses[number + 1 :] if other is not None]
            bar = self.bar(index) if self.bar is not None else None
            truth = _truth(number, self.actors[number].track_id, pose, before, bar)
            if truth is not None and truth.visible >= LEAST_VISIBLE:
                found.append(truth)
        return found

    def boxes(self, index: int) -> list[FaceBox]:
        """What a perfect tracker would say: of every face that touches the frame."""
        found = []
        for actor, pose in zip(self.actors, self.poses(index), strict=True):
            if pose is None:
                continue
            box = pose.box()
            if box[0] < WIDTH_PX and box[1] < HEIGHT_PX and box[2] > 0 and box[3] > 0:
                found.append(FaceBox(actor.track_id, box, 0.0))
        return found + (self.held(index) if self.held is not None else [])

    def _shake_px(self, index: int) -> tuple[float, float]:
        return self.shake(index) if self.shake is not None else (0.0, 0.0)


def write_file(scene: Scene, path: Path) -> None:
    """As a good camera would have coded it: the detail that the pixel check needs survives."""
    with av.open(str(path), "w", format="mp4") as container:
        coding = {"preset": "veryfast", "crf": "14", "g": "50"}
        stream = container.add_stream("libx264", rate=FPS, options=coding)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
        for index in range(scene.frames):
            image = image_of(scene.render(index))
            image.pts, image.time_base = index, 1 / FPS
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))


def image_of(planes: YuvPlanes) -> av.VideoFrame:
    """A picture of its own."""
    height, width = planes.y.shape
    i420 = np.concatenate([p.reshape(-1, width) for p in (planes.y, planes.u, planes.v)])
    return av.VideoFrame.from_ndarray(i420.reshape(height * 3 // 2, width), format="yuv420p")


# --- pictures ---


@lru_cache(maxsize=1)
def face_pictures(count: int) -> tuple[tuple[list[U8], list[U8]], str | None]:
    """(D * 112, D * 112, 3) RGB each, twice: twins that differ in nothing but their pores.

    And a note where they are not of many people.
    """
    note = None
    try:
        faces = held_out_faces(count)
        small = [rgb_of_planes(YuvPlanes(*picture)) for picture in faces.pictures]
    except EngineError as error:
        note = f"one face in other colours instead of {count} people: {error}"
        small = [_portrait(number) for number in range(count)]
    rng = np.random.default_rng(7)
    twins = [_with_pores(picture, rng) for picture in small]
    return ([one for one, _ in twins], [other for _, other in twins]), note


def without_pores(twins: tuple[list[U8], list[U8]]) -> list[U8]:
    """Smooth skin: what pictures are compared by should not be a fine noise."""
    return [
        ((one.astype(np.uint16) + other) // 2).astype(np.uint8)
        for one, other in zip(*twins, strict=True)
    ]


def _portrait(number: int) -> U8:
    from skimage import data

    x, y, side = _PORTRAIT_XY_SIDE
    to_crop = FACE_PX / side * np.array([[1, 0, -x], [0, 1, -y]])
    crop = cv2.warpAffine(
        data.astronaut(), to_crop, (FACE_PX, FACE_PX), borderMode=cv2.BORDER_REPLICATE
    )
    gain = 1 - 0.12 * np.array([number % 3, number // 3 % 3, number % 2])
    return np.asarray(crop * gain, np.uint8)


def _with_pores(small: U8, rng: np.random.Generator) -> tuple[U8, U8]:
    side = DETAIL * FACE_PX
    large = cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC).astype(np.float32)
    noise = rng.standard_normal((side, side)).astype(np.float32)
    pores = np.asarray(cv2.GaussianBlur(noise, (0, 0), 0.9), np.float32)
    pores *= np.float32(PORES_LEVELS) / pores.std()
    # room for them on both sides: clipped pores would not be each other's opposite
    large = np.clip(large, 2 * PORES_LEVELS, 255 - 2 * PORES_LEVELS)
    one, other = large + pores[..., None], large - pores[..., None]
    return (
        np.clip(np.rint(one), 0, 255).astype(np.uint8),
        np.clip(np.rint(other), 0, 255).astype(np.uint8),
    )


def background(number: int, index: int) -> U8:
    """RGB with margins: a recorded clip to and fro, or a made texture with a sensor's noise."""
    pictures = _background_pictures(number)
    last = len(pictures) - 1
    return pictures[abs((index + last) % (2 * last) - last)]


@lru_cache(maxsize=2)
def _background_pictures(number: int) -> list[U8]:
    size = (WIDTH_PX + 2 * MARGIN_PX, HEIGHT_PX + 2 * MARGIN_PX)
    folder = clips.testdata()
    path = folder / "videos" / BACKGROUNDS[number % len(BACKGROUNDS)] if folder else None
    if path is not None and path.is_file():
        return [
            np.asarray(cv2.resize(rgb_of_planes(planes), size, interpolation=cv2.INTER_LINEAR))
            for planes in recorded_frames(path, BACKGROUND_FRAMES)
        ]
    rng = np.random.default_rng([3, number])
    texture = np.full((size[1], size[0], 3), 110, np.float32)
    for cells in (6, 24, 96):
        coarse = rng.normal(0, 18, (cells, cells, 3)).astype(np.float32)
        texture += cv2.resize(coarse, size, interpolation=cv2.INTER_CUBIC)
    grain = 2 * rng.standard_normal((4, *texture.shape), np.float32)
    return [np.clip(texture + one, 0, 255).astype(np.uint8) for one in grain]


def _shifted(wide: U8, by_px: tuple[float, float]) -> U8:
    """The frame out of the wide picture, by parts of a pixel."""
    move = np.array([[1, 0, by_px[0] - MARGIN_PX], [0, 1, by_px[1] - MARGIN_PX]])
    if not any(by_px):
        return wide[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX].copy()
    return np.asarray(cv2.warpAffine(wide, move, (WIDTH_PX, HEIGHT_PX)), np.uint8)


def _paste(canvas: U8, picture: U8, affine: Affine) -> None:
    """The picture under its soft-edged shape."""
    edges = _edges(affine, ((0, 0), (FACE_PX, 0), (0, FACE_PX), (FACE_PX, FACE_PX)))
    if edges is None:
        return
    x1, y1, x2, y2 = edges
    scale = math.sqrt(abs(np.linalg.det(affine[:, :2])))
    if scale < 0.75:  # bilinear sampling would skip pixels
        picture = np.asarray(cv2.resize(picture, (FACE_PX,) * 2, interpolation=cv2.INTER_AREA))
    detail = picture.shape[0] / FACE_PX
    # a pixel's centre lies half a pixel inside of it, in the picture as in the frame
    to_frame = affine.copy()
    to_frame[:, :2] /= detail
    to_frame[:, 2] += to_frame[:, :2] @ np.array([0.5, 0.5]) - 0.5 - np.array([x1, y1])
    size = (x2 - x1, y2 - y1)
    moved = cv2.warpAffine(picture, to_frame, size, borderMode=cv2.BORDER_REPLICATE)
    weight = np.clip((1 - _shape(affine, edges)) / 0.08, 0, 1)[..., None]
    place = canvas[y1:y2, x1:x2]
    place[:] = np.rint(weight * moved + (1 - weight) * place).astype(np.uint8)


def _crop_pixels(affine: Affine, edges: tuple[int, int, int, int]) -> tuple[F64, F64]:
    """Where the frame's pixel centres lie in the aligned crop."""
    x1, y1, x2, y2 = edges
    xs, ys = np.meshgrid(np.arange(x1, x2) + 0.5, np.arange(y1, y2) + 0.5)
    inverse = np.linalg.inv(affine[:, :2])
    dx, dy = xs - affine[0, 2], ys - affine[1, 2]
    return inverse[0, 0] * dx + inverse[0, 1] * dy, inverse[1, 0] * dx + inverse[1, 1] * dy


def _shape(affine: Affine, edges: tuple[int, int, int, int]) -> F64:
    """0 in the middle of the crop, 1 on the edge of the rounded square that is pasted."""
    u, v = _crop_pixels(affine, edges)
    half = FACE_PX / 2
    return np.asarray((((u - half) / half) ** 4 + ((v - half) / half) ** 4) ** 0.25)


def _edges(
    affine: Affine, corners: Sequence[tuple[float, float]]
) -> tuple[int, int, int, int] | None:
    """The rectangle of the frame around some points of the crop."""
    points = np.array(corners) @ affine[:, :2].T + affine[:, 2]
    x1, y1 = np.maximum(np.floor(points.min(axis=0)), 0).astype(int)
    x2, y2 = np.minimum(np.ceil(points.max(axis=0)), (WIDTH_PX, HEIGHT_PX)).astype(int)
    return (int(x1), int(y1), int(x2), int(y2)) if x1 < x2 and y1 < y2 else None


def _truth(
    actor: int,
    track_id: int,
    pose: Pose,
    before: Sequence[Pose],
    bar: tuple[int, int, int, int] | None,
) -> Truth | None:
    affine, box = pose.affine(), pose.box()
    x1, y1 = (max(math.floor(v), 0) for v in box[:2])
    x2, y2 = min(math.ceil(box[2]), WIDTH_PX), min(math.ceil(box[3]), HEIGHT_PX)
    if x1 >= x2 or y1 >= y2:
        return None
    edges = (x1, y1, x2, y2)
    u, v = _crop_pixels(affine, edges)
    mask = ((u - CENTRE_PX[0]) / HALF_PX[0]) ** 2 + ((v - CENTRE_PX[1]) / HALF_PX[1]) ** 2 <= 1
    for other in before:
        mask &= _shape(other.affine(), edges) > 1
    if bar is not None:
        left, top, right, bottom = (
            max(value - corner, 0) for value, corner in zip(bar, (x1, y1, x1, y1), strict=True)
        )
        mask[top:bottom, left:right] = False
    whole = math.pi * HALF_PX[0] * HALF_PX[1] * pose.scale**2
    return Truth(actor, track_id, box, affine, x1, y1, mask, float(mask.sum()) / whole)


# --- the scenes ---


def hard_scenes(pictures: Sequence[U8], number: int = 0, seconds: float = 3.0) -> list[Scene]:
    """One of each kind. `number` chooses faces and backgrounds."""
    count = len(pictures)
    one, two = pictures[2 * number % count], pictures[(2 * number + 1) % count]
    frames = round(seconds * FPS)
    cut = frames // 2
    rng = np.random.default_rng([11, number])
    jolts = rng.normal(0, 7, (frames, 2)).clip(-MARGIN_PX, MARGIN_PX)  # each frame anew
    behind = number, number + 1

    def t(index: int) -> float:
        return index / float(FPS)

    def shake(index: int) -> tuple[float, float]:
        return float(jolts[index, 0]), float(jolts[index, 1])

    def sway(index: int) -> Pose:
        return Pose(640 + 6 * math.sin(2 * t(index)), 360 + 4 * math.sin(3 * t(index)))

    def before_cut(index: int) -> Pose | None:
        return sway(index) if index < cut else None

    def after_cut(index: int) -> Pose | None:
        return Pose(930 + 20 * t(index), 300, 0.9) if index >= cut else None

    def held(index: int) -> list[FaceBox]:
        if not cut <= index <= cut + FPS:
            return []
        box = sway(cut - 1).box()
        return [FaceBox(1, box, min(0.03 * (index - cut + 1), 0.25) * float(box[3] - box[1]))]

    def bar(index: int) -> tuple[int, int, int, int]:
        x = round(460 + 280 * t(index))
        return x, 0, x + 48, HEIGHT_PX

    def edge(index: int) -> Pose:
        return Pose(-70 + 260 * math.sin(math.pi * t(index) / seconds), 330)

    def low_edge(index: int) -> Pose:
        return Pose(900, 560 + 240 * math.sin(math.pi * t(index) / seconds), 1.3)

    def scene(name: str, *actors: Actor, **more: object) -> Scene:
        return Scene(name, frames, actors, **{"backgrounds": ((0, number),), **more})  # type: ignore[arg-type]

    def alone(path: Callable[[int], Pose | None], picture: U8 = one) -> Actor:
        return Actor(1, picture, path)

    cuts = {"backgrounds": ((0, behind[0]), (cut, behind[1]))}
    return [
        scene("gentle", alone(sway)),
        scene("turn 30 deg/s", alone(lambda i: Pose(640, 360, 1.2, 30 * t(i) - 15 * seconds))),
        scene("nearer 2x/s", alone(lambda i: Pose(640, 360, 0.5 * 2 ** t(i)))),
        scene("farther 2x/s", alone(lambda i: Pose(640, 360, 0.5 * 2 ** (seconds - t(i))))),
        scene("pan 400 px/s", alone(lambda i: Pose(60 + 400 * t(i), 360))),
        scene(
            "crossing",
            Actor(1, one, lambda i: Pose(640 + 170 * (t(i) - seconds / 2), 350, 0.9)),
            Actor(2, two, lambda i: Pose(640 - 170 * (t(i) - seconds / 2), 365)),
        ),
        scene("bar passes", alone(sway), bar=bar),
        scene("cut, nobody", alone(before_cut), held=held, **cuts),
        scene("cut, nobody, unseen", alone(before_cut), held=held, tells_cuts=False, **cuts),
        scene("cut, other face", alone(before_cut), Actor(2, two, after_cut), **cuts),
        scene(
            "cut, one id, unseen",
            alone(before_cut),
            Actor(1, two, after_cut),
            tells_cuts=False,
            **cuts,
        ),
        scene("edges", alone(edge), Actor(2, two, low_edge)),
        scene("camera shakes", alone(sway), shake=shake),
    ]


def calm_scenes(pictures: Sequence[U8], seconds: float) -> list[Scene]:
    """Somebody talks; somebody walks by; somebody comes nearer: what is usual."""
    frames, count = round(seconds * FPS), len(pictures)

    def talk(index: int) -> Pose:
        t = index / float(FPS)
        return Pose(
            600 + 14 * math.sin(2.1 * t) + 3 * math.sin(7 * t),
            350 + 6 * math.sin(3.3 * t),
            1.3 + 0.03 * math.sin(1.3 * t),
            5 * math.sin(1.7 * t),
        )

    def walk(index: int) -> Pose:
        t = index / float(FPS)
        return Pose(300 + 90 * t, 330 + 8 * abs(math.sin(4 * t)), 0.8)

    def approach(index: int) -> Pose:
        t = index / float(FPS)
        return Pose(700 - 20 * t, 340 + 8 * abs(math.sin(4 * t)), 0.7 * 1.2**t)

    return [
        Scene(name, frames, (Actor(1, pictures[number % count], path),), ((0, number),))
        for number, (name, path) in enumerate(
            (("made talk", talk), ("made walk", walk), ("made approach", approach))
        )
    ]


def one_face_scene(picture: U8, scale: float, frames: int) -> Scene:
    """Somebody sways, always as large."""

    def path(index: int) -> Pose:
        t = index / float(FPS)
        x, y = 600 + 14 * math.sin(2.1 * t), 350 + 6 * math.sin(3.3 * t)
        return Pose(x, y, scale, 4 * math.sin(1.7 * t))

    return Scene("one face", frames, (Actor(1, picture, path),))
