"""One made clip in the making: who comes on, how large, and how people walk and look about."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from ._flow_scenes import HALF_PX, Pose
from ._leak_actors import Layer, Path, Person, body_sprite, head_sprite
from ._leak_camera import FPS, Camera, MadeScene
from ._leak_truth import LeakClip
from ._similarity import U8

FACE_SIZE_PX = 2 * math.sqrt(HALF_PX[0] * HALF_PX[1])  # 86.5: of a face at scale 1
Range = tuple[float, float]


@dataclass(slots=True)
class Stage:
    """One clip in the making."""

    frames: int
    camera: Camera
    rng: np.random.Generator
    pictures: Sequence[U8] = field(repr=False)
    cast: list[Layer] = field(default_factory=list, repr=False)
    order: list[int] = field(default_factory=list)  # of faces; nobody comes twice

    @property
    def seconds(self) -> float:
        """Of the clip."""
        return self.frames / float(FPS)

    def person(self, path: Path, scale: float, turn: Callable[[int], float] | None = None) -> U8:
        """The next face; `scale`: its largest. Gives its picture."""
        if not self.order:
            self.order = self.rng.permutation(len(self.pictures)).tolist()
        picture = self.pictures[self.order.pop()]
        body = body_sprite(picture, self.rng, near=scale > 0.7)
        number = 1 + sum(isinstance(layer, Person) for layer in self.cast)
        self.cast.append(Person(number, head_sprite(picture), body, path, turn))
        return picture

    def scales(self, count: int, sizes_px: Range) -> list[float]:
        """One in each of as many equal parts of the range's logarithm; the smallest first."""
        low, high = np.log(np.array(sizes_px) / FACE_SIZE_PX)
        steps = (np.arange(count) + self.rng.random(count)) / count
        return [float(scale) for scale in np.exp(low + (high - low) * steps)]

    def crowd(self, count: int, sizes_px: Range, speeds: Range, *, height: Range) -> None:
        """People who walk, each on a lane of the ground, the nearest before the others."""
        places = (self.rng.permutation(count) + self.rng.random(count)) / count
        for scale, place in zip(self.scales(count, sizes_px), places, strict=True):
            speed = self.rng.uniform(*speeds) * self.rng.choice([-1, 1])
            y = self.rng.uniform(*height)
            self.person(self.walk(place, y, scale, speed), scale, self.glance())

    def walk(self, place: float, y: float, scale: float, speed: float) -> Path:
        """Half way through the clip at `place`, a share of the frame's width; `speed`: sizes/s."""
        width, height = self.camera.size_px
        phase, tilt = self.rng.uniform(0, 2 * math.pi), self.rng.normal(0, 4)
        size = FACE_SIZE_PX * scale

        def path(index: int) -> Pose:
            t = index / float(FPS)
            x = place * width + speed * size * (t - self.seconds / 2)
            bob = 0.06 * size * abs(math.sin(4.5 * t + phase))
            return Pose(x, y * height - bob, scale, tilt + 2 * math.sin(2.2 * t + phase))

        return path

    def glance(self, most_degrees: float = 25.0) -> Callable[[int], float]:
        """Looks about."""
        phase, rate = self.rng.uniform(0, 2 * math.pi), self.rng.uniform(0.8, 1.8)
        return lambda index: most_degrees * math.sin(rate * index / float(FPS) + phase)

    def done(self, name: str, condition: str) -> LeakClip:
        """The clip."""
        return MadeScene(name, condition, self.frames, self.camera, self.cast).clip()
