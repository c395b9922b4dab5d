"""Made clips of the leak measurement: faces of people whom no network was trained on, on known
paths over recorded backgrounds without people.

Every clip has one difficulty and is named for it. Sizes are drawn evenly over their logarithm.
Nothing here knows of any detector.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np

from ._flow_scenes import Affine, Pose, face_pictures, without_pores
from ._leak_actors import Path, Thing, hand_sprite, pole_sprite
from ._leak_camera import FPS, Camera
from ._leak_stage import FACE_SIZE_PX, Range, Stage
from ._leak_truth import LeakClip

PEOPLE = 64  # as many different faces; a clip never shows one twice
LEAST_PX, LARGEST_PX = 12, 200
BRISK = 25 / 3  # face sizes a second: walking past, a face size in three frames
HD, FULL_HD, SMALL = (1280, 720), (1920, 1080), (640, 360)


def made_clips(frames: int, seed: int) -> Iterator[LeakClip | str]:
    """Each as long; a note where the faces are not many people's."""
    twins, note = face_pictures(PEOPLE)
    if note is not None:
        yield note
    pictures = without_pores(twins)
    for number, (name, condition, camera, play) in enumerate(_scenes()):
        rng = np.random.default_rng([seed, number])
        stage = Stage(frames, camera, rng, pictures)
        play(stage)
        yield stage.done(name, condition)


Play = Callable[[Stage], None]


def _scenes() -> list[tuple[str, str, Camera, Play]]:
    """Name, condition, camera, what happens."""
    dusk = Camera(HD, 2, gamma=1.4, gain=0.65, noise_levels=7)
    night = Camera(SMALL, 1, gamma=1.6, gain=0.5, noise_levels=6)
    shaken = Camera(HD, 1, shake=_shake, is_smeared=True)
    return [
        ("talk", "day", Camera(HD, 1), _talk),
        ("street", "day", Camera(HD, 2), _crowd(6, (24, 90), (0.3, 2.5))),
        ("street 1080p", "day", Camera(FULL_HD, 0), _crowd(7, (24, 140), (0.3, 2.5))),
        ("street 360p", "day", Camera(SMALL, 2), _crowd(5, (13, 45), (0.3, 2.5))),
        ("square", "small", Camera(HD, 0), _crowd(9, (LEAST_PX, 32), (0.2, 1.5))),
        ("square 1080p", "small", Camera(FULL_HD, 2), _crowd(9, (LEAST_PX, 32), (0.2, 1.5))),
        ("passing by", "fast", Camera(HD, 1), _passing),
        ("coming", "approach", Camera(HD, 2), _approach),
        ("dusk", "dusk", dusk, _crowd(6, (20, 110), (0.3, 2.5))),
        ("dusk 360p", "dusk", night, _crowd(5, (14, 60), (0.3, 2))),
        ("out of focus", "blur", Camera(HD, 0, focus_px=_hunting), _crowd(6, (24, 160), (0.2, 2))),
        ("shaken", "blur", shaken, _crowd(6, (20, 120), (0.3, 2))),
        ("poor coding", "compression", Camera(HD, 2, crf=38), _crowd(6, (20, 110), (0.3, 2.5))),
        ("poor 360p", "compression", Camera(SMALL, 1, crf=36), _crowd(5, (14, 70), (0.3, 2))),
        ("poles", "occlusion", Camera(HD, 2), _poles),
        ("hands", "occlusion", Camera(HD, 0), _hands),
        ("turning away", "profile", Camera(HD, 1), _profiles),
        ("in and out", "edges", Camera(HD, 0), _edges),
        ("in and out 360p", "edges", Camera(SMALL, 2), _edges),
        ("queue", "crowd", Camera(HD, 1), _crowd(16, (18, 80), (0.1, 1.2))),
    ]


def _crowd(count: int, sizes_px: Range, speeds: Range) -> Play:
    return lambda stage: stage.crowd(count, sizes_px, speeds, height=(0.18, 0.5))


def _talk(stage: Stage) -> None:
    """Two who stand near."""
    width, height = stage.camera.size_px
    for place, scale in zip((0.27, 0.72), stage.scales(2, (110, LARGEST_PX)), strict=True):
        phase = stage.rng.uniform(0, 2 * math.pi)

        def path(
            index: int, place: float = place, scale: float = scale, phase: float = phase
        ) -> Pose:
            t = index / float(FPS)
            x = place * width + 0.2 * FACE_SIZE_PX * math.sin(1.1 * t + phase)
            y = 0.42 * height + 6 * math.sin(3.3 * t + phase)
            return Pose(x, y, scale, 9 * math.sin(1.7 * t + phase))

        stage.person(path, scale, stage.glance(35))


def _passing(stage: Stage) -> None:
    """One after the other, at a walking pace near the camera."""
    width, height = stage.camera.size_px
    for number, scale in enumerate(stage.scales(5, (50, 130))):
        size, way = FACE_SIZE_PX * scale, -1 if number % 2 else 1
        # all have come in before the clip ends
        begins = stage.seconds * (number + 0.2) / 5.5 - 0.2
        y = stage.rng.uniform(0.25, 0.45) * height

        def path(
            index: int,
            scale: float = scale,
            size: float = size,
            way: int = way,
            begins: float = begins,
            y: float = y,
        ) -> Pose | None:
            t = index / float(FPS) - begins
            gone = size * (BRISK * t - 1)
            if gone < -size or gone > width + size:
                return None
            bob = 0.06 * size * abs(math.sin(5.5 * t))
            return Pose(gone if way > 0 else width - gone, y - bob, scale, 3 * way)

        stage.person(path, scale, lambda index, way=way: 20 * way)  # type: ignore[misc]


def _approach(stage: Stage) -> None:
    """From far to near and the other way round."""
    width, height = stage.camera.size_px
    ends = ((0.2, 14, 60), (0.42, 70, 18), (0.62, 16, 150), (0.85, 190, 30))
    for place, first_px, last_px in ends:
        ratio = last_px / first_px
        phase = stage.rng.uniform(0, 2 * math.pi)

        def path(
            index: int,
            place: float = place,
            first_px: int = first_px,
            ratio: float = ratio,
            phase: float = phase,
        ) -> Pose:
            t = index / float(FPS)
            size = first_px * ratio ** (index / max(stage.frames - 1, 1))
            x = place * width + 0.3 * size * math.sin(0.9 * t + phase)
            bob = 0.06 * size * abs(math.sin(4.5 * t + phase))
            return Pose(x, 0.3 * height + 0.3 * size - bob, size / FACE_SIZE_PX)

        stage.person(path, max(first_px, last_px) / FACE_SIZE_PX, stage.glance(15))


def _poles(stage: Stage) -> None:
    """Behind lamp posts, and each other."""
    width, height = stage.camera.size_px
    stage.crowd(6, (24, 120), (1.0, 4.0), height=(0.2, 0.5))
    for place, thick in ((0.14, 14), (0.33, 40), (0.52, 22), (0.7, 60), (0.88, 18)):
        here = np.array([[1.0, 0.0, place * width], [0.0, 1.0, 0.0]])
        shade = float(stage.rng.uniform(50, 150))
        stage.cast.append(Thing(pole_sprite(thick, height, shade), lambda _, here=here: here))  # type: ignore[misc]


def _hands(stage: Stage) -> None:
    """Raised before the face and lowered again: mouth, cheek, eyes."""
    for number, scale in enumerate(stage.scales(4, (36, 170))):
        place, phase = (number + 0.5) / 4, stage.rng.uniform(0, 2 * math.pi)
        sway = stage.walk(place, 0.42, scale, 0.0)
        picture = stage.person(sway, scale, stage.glance(15))
        side, top = (float(stage.rng.uniform(*ends)) for ends in ((-24, 24), (-2, 40)))

        def place_of(
            index: int,
            sway: Path = sway,
            phase: float = phase,
            side: float = side,
            top: float = top,
        ) -> Affine | None:
            pose = sway(index)
            assert pose is not None
            lift = 0.5 + 0.5 * math.sin(2.4 * index / float(FPS) + phase)
            face = pose.affine()
            at = np.array([48.5 + side, 150 - (87 - top) * lift])
            return np.column_stack([0.95 * face[:, :2], face[:, :2] @ at + face[:, 2]])

        stage.cast.append(Thing(hand_sprite(picture), place_of))


def _profiles(stage: Stage) -> None:
    """From full face to 60 degrees, to either side."""
    for number, scale in enumerate(stage.scales(5, (20, 150))):
        place, phase = (number + 0.5) / 5, stage.rng.uniform(0, 2 * math.pi)
        stage.person(stage.walk(place, 0.38, scale, 0.15), scale, _to_and_fro(60, 1.6, phase))


def _to_and_fro(most_degrees: float, rate: float, phase: float) -> Callable[[int], float]:
    """Longer at the ends than on the way."""
    return lambda index: (
        most_degrees * math.tanh(2 * math.sin(rate * index / float(FPS) + phase)) / math.tanh(2)
    )


def _edges(stage: Stage) -> None:
    """Over each edge to half a face and beyond, in and out, in half the clip's length."""
    width, height = stage.camera.size_px
    unit = height / 720
    over = ((-1, 0), (1, 0), (0, -1), (0, 1), (-1, 0.0), (1, 0.0))
    sizes = [size * unit for size in (130, 40, 90, 60, 24, 100)]
    along = (0.65, 0.2, 0.35, 0.75, 0.2, 0.6)
    for (dx, dy), size, share in zip(over, sizes, along, strict=True):
        phase = stage.rng.uniform(0, 2 * math.pi)
        swing = 1.3 * size

        def path(
            index: int,
            dx: float = dx,
            dy: float = dy,
            size: float = size,
            share: float = share,
            phase: float = phase,
            swing: float = swing,
        ) -> Pose:
            out = swing * math.sin(2 * 2 * math.pi * index / stage.frames + phase)
            x = share * width if dx == 0 else (width if dx > 0 else 0) + dx * out
            y = share * height if dy == 0 else (height if dy > 0 else 0) + dy * out
            return Pose(x, y, size / FACE_SIZE_PX)

        stage.person(path, size / FACE_SIZE_PX)


def _hunting(index: int) -> float:
    """The lens looks for its focus: sharp to 3.5 px of blur."""
    return 1.75 * (1 - math.cos(1.3 * index / float(FPS)))


def _shake(index: int) -> tuple[float, float]:
    """A hand that walks: up to 24 px, and 8 px a frame."""
    t = index / float(FPS)
    x = 14 * math.sin(5.1 * t) + 8 * math.sin(11.3 * t + 1)
    y = 12 * math.sin(8.7 * t + 2) + 6 * math.sin(15.1 * t)
    return x, y
