"""Faces whose motion is known at every pixel: drawn into recorded pictures, with a camera's noise,
and coded as a camera codes them.

A face is a texture; a pose says where each pixel of a frame finds its texel, so the way from any
frame to any other is known, through a mouth that opens as well.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from engines import EngineError
from engines.train.data import FACE_PX
from pipeline.frames import FloatArray, U8Array, YuvPlanes, planes_of

from . import clips
from ._coding import _encode
from ._face_clips import BACKGROUNDS, FPS, HEIGHT_PX, WIDTH_PX, recorded_frames, rgb_of_planes
from ._fusion import held_out_faces

FRAMES = 25  # of a scene: one keyframe interval of protect.keyframe_every
CRF = 23
KINDS = ("pan", "walk", "turn", "zoom", "drift", "talk")
FACE_XYXY = (22.0, 10.0, 90.0, 106.0)  # what a detector's box holds of a 112 px face
FACE_LONGEST = 96.0
VIEW_SIDES = 1.7  # of the box's longest side: 1.35 (grow) * 1.12 (feather) * 1.12 (margin)
JITTER = 0.02  # of the box, standard deviation: a detector's
LOOK_EVERY = 4  # frames from one look of the detector to the next; between them boxes are drawn out
NOISE_LEVELS = (2.0, 4.0)
SCALES = (0.9, 0.6, 1.3)
_WIDE_PX = WIDTH_PX + 320  # a panning camera needs more background
_CENTRE = (FACE_PX - 1) / 2
_JAW_XY, _JAW_SPREAD = (56.0, 98.0), (26.0, 15.0)
_SHUTTER = (-0.25, 0.0, 0.25)  # parts of a frame: half of the time is exposed


@dataclass(frozen=True, slots=True)
class Pose:
    """A face in a frame; jaw and smile in texels."""

    x: float
    y: float
    scale: float
    angle: float = 0.0  # radians
    jaw: float = 0.0
    smile: float = 0.0
    camera_x: float = 0.0  # the background goes by as much

    def texels(self, points: FloatArray) -> FloatArray:
        """(..., 2) places of the frame to places of the texture."""
        away = (points - np.array((self.x, self.y), np.float32)) / np.float32(self.scale)
        at = _turned(away, -self.angle) + np.float32(_CENTRE)
        return at - self._bend(at)

    def places(self, texels: FloatArray) -> FloatArray:
        """The inverse. The mouth bends less than it is wide, so that this closes in."""
        at = texels
        for _ in range(12):
            at = texels + self._bend(at)
        away = _turned(at - np.float32(_CENTRE), self.angle) * np.float32(self.scale)
        return away + np.array((self.x, self.y), np.float32)

    def _bend(self, at: FloatArray) -> FloatArray:
        near = (at - np.array(_JAW_XY, np.float32)) / np.array(_JAW_SPREAD, np.float32)
        much = np.exp(-0.5 * (near**2).sum(axis=-1, keepdims=True))
        way = np.concatenate(
            [np.float32(self.smile) * near[..., :1], np.full_like(much, self.jaw)], axis=-1
        )
        return np.asarray(much * way, np.float32)

    def box(self) -> FloatArray:
        """(4,) as a detector finds it; it does not turn with the face."""
        left, top, right, bottom = FACE_XYXY
        middle = np.array(((left + right) / 2, (top + bottom) / 2), np.float32)
        x, y = self.places(middle)
        half_w, half_h = (right - left) / 2 * self.scale, (bottom - top) / 2 * self.scale
        return np.array((x - half_w, y - half_h, x + half_w, y + half_h), np.float32)


def _turned(away: FloatArray, angle: float) -> FloatArray:
    sine, cosine = math.sin(angle), math.cos(angle)
    x, y = away[..., 0], away[..., 1]
    return np.stack([cosine * x - sine * y, sine * x + cosine * y], axis=-1).astype(np.float32)


def inside_face(texels: FloatArray) -> FloatArray:
    """1 inside the face, 0 outside, an edge between."""
    radius = np.hypot((texels[..., 0] - _CENTRE) / 50, (texels[..., 1] - _CENTRE) / 55)
    return np.asarray(np.clip((1 - radius) * 8, 0, 1), np.float32)


def pose_at(kind: str, frame: float, scale: float, sign: float) -> Pose:
    """One of KINDS. Speeds in face widths and seconds; see the README."""
    seconds = (frame - (FRAMES - 1) / 2) / float(FPS)
    width = FACE_LONGEST * scale
    x, y = WIDTH_PX / 2, HEIGHT_PX / 2
    if kind == "pan":
        return Pose(x + sign * 2 * width * seconds, y, scale, camera_x=sign * 2 * width * seconds)
    if kind == "walk":
        bob = 0.03 * width * math.sin(4 * math.pi * seconds)
        return Pose(x + sign * width * seconds, y + bob, scale)
    if kind == "turn":
        return Pose(x, y, scale, sign * math.radians(30) * seconds)
    if kind == "zoom":
        return Pose(x, y, scale * 2 ** (sign * seconds))
    if kind == "drift":
        sway = 0.05 * width * math.sin(1.4 * math.pi * seconds)
        return Pose(x + sway, y + sign * 0.1 * width * seconds, scale)
    if kind == "talk":
        nod = 0.02 * width * math.sin(2 * math.pi * seconds)
        jaw = 5 * math.sin(math.pi * 4 * seconds) ** 2
        smile = 2.5 * math.sin(2 * math.pi * 1.3 * seconds)
        tilt = math.radians(2) * math.sin(2 * math.pi * 0.7 * seconds)
        return Pose(x, y + nod, scale, sign * tilt, jaw, smile)
    raise ValueError(f"no motion is called {kind!r}")


@dataclass(frozen=True, slots=True)
class Scene:
    """One face, 25 frames."""

    kind: str
    number: int
    seed: int
    poses: list[Pose] = field(repr=False)
    luma: list[U8Array] = field(repr=False)  # decoded
    clean: list[U8Array] = field(repr=False)  # as drawn: no noise, not coded
    boxes: list[FloatArray] = field(repr=False)  # (4,) with a detector's jitter
    vectors: list[FloatArray | None] = field(repr=False)  # see `vectors_of`

    def square(self, frame: int) -> tuple[int, int, int]:
        """The view around the face, as pipeline/protect/propagate.py lays it."""
        return square_around(self.boxes[frame])

    def points(self, frame: int, step_px: int = 3) -> FloatArray:
        """(N, 2) pixels well inside the face."""
        pose = self.poses[frame]
        reach = math.ceil(56 * pose.scale)
        x, y = round(pose.x), round(pose.y)
        xs = np.arange(max(x - reach, 0), min(x + reach, WIDTH_PX), step_px, dtype=np.float32)
        ys = np.arange(max(y - reach, 0), min(y + reach, HEIGHT_PX), step_px, dtype=np.float32)
        points = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
        texels = pose.texels(points)
        left, top, right, bottom = FACE_XYXY
        radius = np.hypot(
            (texels[:, 0] - (left + right) / 2) / ((right - left) / 2),
            (texels[:, 1] - (top + bottom) / 2) / ((bottom - top) / 2),
        )
        return np.asarray(points[radius < 1], np.float32)

    def true_places(self, points: FloatArray, frame: int, then: int) -> FloatArray:
        """Where the face's points of `frame` were in frame `then`."""
        return self.poses[then].places(self.poses[frame].texels(points))

    def width_px(self, frame: int) -> float:
        """Longest side of the true box."""
        return FACE_LONGEST * self.poses[frame].scale


def square_around(box: FloatArray) -> tuple[int, int, int]:
    """(left, top, side), even."""
    centre = (box[:2] + box[2:]) / 2
    side = max(math.ceil(float((box[2:] - box[:2]).max()) * VIEW_SIDES / 2) * 2, 2)
    x, y = (round((float(value) - side / 2) / 2) * 2 for value in centre)
    return x, y, side


def fetch(picture: FloatArray, places: FloatArray, how: int = cv2.INTER_LINEAR) -> FloatArray:
    """Samples of a picture at (h, w, 2) places; beyond its edge it goes on as it ends."""
    x, y = cv2.split(places)
    return np.asarray(cv2.remap(picture, x, y, how, None, cv2.BORDER_REPLICATE), np.float32)


def scenes(faces: Sequence[U8Array], each: int, seed: int = 0) -> Iterator[Scene]:
    """`each` of every kind, the same for one seed."""
    count = 0
    for number in range(each):
        for kind in KINDS:
            yield made_scene(kind, faces[count % len(faces)], number, seed)
            count += 1


def made_scene(kind: str, face: U8Array, number: int, seed: int = 0) -> Scene:
    """`face`: luma of 112 x 112. `number` chooses size, direction, noise and background."""
    rng = np.random.default_rng([seed, number, KINDS.index(kind)])
    scale = SCALES[number % len(SCALES)] * (0.85 if kind == "zoom" else 1.0)
    sign = 1.0 if rng.random() < 0.5 else -1.0
    noise = float(rng.uniform(*NOISE_LEVELS))
    background = background_of(number)
    texture: FloatArray = face.astype(np.float32)
    smallest = min(pose_at(kind, t, scale, sign).scale for t in (0, FRAMES - 1))
    if smallest < 1:  # no texel may be skipped
        soft = cv2.GaussianBlur(texture, (0, 0), 0.5 * math.sqrt(smallest**-2 - 1))
        texture = np.asarray(soft, np.float32)
    clean, coded = [], []
    for frame in range(FRAMES):
        drawn = np.mean(
            [
                _drawn(pose_at(kind, frame + part, scale, sign), texture, background)
                for part in _SHUTTER
            ],
            axis=0,
        )
        clean.append(np.rint(np.clip(drawn, 0, 255)).astype(np.uint8))
        grain = noise * rng.standard_normal(drawn.shape, np.float32)
        coded.append(np.rint(np.clip(drawn + grain, 16, 235)).astype(np.uint8))
    poses = [pose_at(kind, frame, scale, sign) for frame in range(FRAMES)]
    luma, vectors = through_camera(coded)
    return Scene(kind, number, seed, poses, luma, clean, _boxes(poses, rng), vectors)


def _drawn(pose: Pose, texture: FloatArray, background: FloatArray) -> FloatArray:
    if pose.camera_x:
        move = np.array([[1, 0, pose.camera_x - 160], [0, 1, 0]], np.float32)
        picture = cv2.warpAffine(background, move, (WIDTH_PX, HEIGHT_PX))
    else:
        picture = background[:, 160 : 160 + WIDTH_PX].copy()
    reach = math.ceil(80 * pose.scale)
    left, top = max(round(pose.x) - reach, 0), max(round(pose.y) - reach, 0)
    right, bottom = round(pose.x) + reach, round(pose.y) + reach
    part = picture[top:bottom, left:right]
    rows, columns = np.mgrid[top : top + part.shape[0], left : left + part.shape[1]]
    texels = pose.texels(np.stack([columns, rows], axis=-1).astype(np.float32))
    face = fetch(texture, texels, cv2.INTER_CUBIC)
    weight = inside_face(texels)
    part[:] = weight * face + (1 - weight) * part
    return np.asarray(picture, np.float32)


def _boxes(poses: Sequence[Pose], rng: np.random.Generator) -> list[FloatArray]:
    """Off by a detector's jitter where it looked, in between as the tracker draws them out."""
    looks = np.arange(0, len(poses) + LOOK_EVERY, LOOK_EVERY)
    off = rng.normal(0, JITTER * FACE_LONGEST, (len(looks), 4))
    frames = np.arange(len(poses))
    between = np.stack([np.interp(frames, looks, off[:, side]) for side in range(4)], axis=1)
    return [
        (pose.box() + jitter * pose.scale).astype(np.float32)
        for pose, jitter in zip(poses, between, strict=True)
    ]


# --- pictures ---


def background_of(number: int) -> FloatArray:
    """(360, 960) luma of a recorded clip without faces, or made."""
    folder = clips.testdata()
    path = folder / "videos" / BACKGROUNDS[number % len(BACKGROUNDS)] if folder else None
    if path is not None and path.is_file():
        rgb = rgb_of_planes(next(iter(recorded_frames(path, 1))))
        grey = cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY)
        return cv2.resize(grey, (_WIDE_PX, HEIGHT_PX), interpolation=cv2.INTER_AREA).astype(
            np.float32
        )
    rng = np.random.default_rng(number)
    made = np.full((HEIGHT_PX, _WIDE_PX), 110, np.float32)
    for cells in (6, 24, 96):
        coarse = rng.normal(0, 18, (cells, cells)).astype(np.float32)
        made += cv2.resize(coarse, (_WIDE_PX, HEIGHT_PX), interpolation=cv2.INTER_CUBIC)
    return np.asarray(np.clip(made, 16, 235), np.float32)


def faces_luma(count: int, seed: int = 0) -> tuple[list[U8Array], str | None]:
    """Faces nobody trained on, or the one that scikit-image ships; then a note says so."""
    try:
        return [np.asarray(each[0]) for each in held_out_faces(count, seed).pictures], None
    except EngineError as error:
        from skimage import data

        picture = data.astronaut()[36:186, 150:300]
        grey = cv2.cvtColor(np.ascontiguousarray(picture), cv2.COLOR_RGB2GRAY)
        face = cv2.resize(grey, (FACE_PX, FACE_PX), interpolation=cv2.INTER_AREA)
        return [np.asarray(face, np.uint8)], f"one face only ({error}); pairs of people left out"


# --- the camera's coding ---


def through_camera(frames: Sequence[U8Array]) -> tuple[list[U8Array], list[FloatArray | None]]:
    """Coded and decoded, with the decoder's motion vectors. One I frame, no B frames."""
    half = (HEIGHT_PX // 2, WIDTH_PX // 2)
    grey = np.full(half, 128, np.uint8)
    packets = _encode((YuvPlanes(y, grey, grey) for y in frames), "x264", CRF, FRAMES, FPS, True)
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.options = {"flags2": "+export_mvs"}
    luma, vectors = [], []
    for packet in [*packets, None]:
        for frame in decoder.decode(packet):
            luma.append(planes_of(frame).y.copy())
            vectors.append(vectors_of(frame))
    return luma, vectors


_QUARTER = 4  # px: no block of H.264 is smaller


def vectors_of(frame: av.VideoFrame) -> FloatArray | None:
    """(H/4, W/4, 2) from each block to where it was in the frame before; NaN where the encoder
    found nothing. None for an I frame. B frames look into the future: their vectors are left out.
    """
    found = frame.side_data.get("MOTION_VECTORS")
    if found is None or not len(found):
        return None
    data: NDArray[Any] = found.to_ndarray()
    shape = (-(-frame.height // _QUARTER), -(-frame.width // _QUARTER))
    field_px = np.full((*shape, 2), np.nan, np.float32)
    for width, height in {(int(w), int(h)) for w, h in zip(data["w"], data["h"], strict=True)}:
        blocks = data[(data["w"] == width) & (data["h"] == height) & (data["source"] == -1)]
        way = np.stack([blocks["motion_x"], blocks["motion_y"]], axis=1).astype(np.float32)
        way /= blocks["motion_scale"][:, None].astype(np.float32)
        column = (blocks["dst_x"] - width // 2) // _QUARTER
        row = (blocks["dst_y"] - height // 2) // _QUARTER
        for dy in range(height // _QUARTER):
            for dx in range(width // _QUARTER):
                y = np.clip(row + dy, 0, shape[0] - 1)
                x = np.clip(column + dx, 0, shape[1] - 1)
                field_px[y, x] = way
    return field_px
