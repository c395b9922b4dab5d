"""The camera of made clips: what is behind the people, light, sensor, lens and coder."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache
from hashlib import sha256
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from . import clips
from ._flow_scenes import HEIGHT_PX, MARGIN_PX, WIDTH_PX, background
from ._leak_actors import Layer, true_faces
from ._leak_sprites import blend, blurred
from ._leak_truth import LeakClip, TrueFace
from ._similarity import U8

FPS = Fraction(25)
GRAIN_PX = 64  # how far the sensor's noise is shifted about, frame by frame

Way = Callable[[int], tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Camera:
    """What is done to the light on its way."""

    size_px: tuple[int, int] = (WIDTH_PX, HEIGHT_PX)
    backdrop: int = 0  # number of the recorded background
    gamma: float = 1.0  # above 1: shadows grow dark
    gain: float = 1.0  # below 1: less light
    noise_levels: float = 1.5  # rms, luma; half of it in chroma
    focus_px: Callable[[int], float] | None = None  # sigma of the lens, by frame
    shake: Way | None = None  # at most MARGIN_PX
    is_smeared: bool = False  # the shake blurs
    crf: int | None = None  # coded by a poor camera, and decoded again


@dataclass(frozen=True, slots=True)
class MadeScene:
    """A made clip before it is one."""

    name: str
    condition: str
    frames: int
    camera: Camera
    cast: Sequence[Layer] = field(repr=False)

    def clip(self) -> LeakClip:
        """Pictures are drawn when they are asked for, or read from the file that was coded."""
        return LeakClip(
            name=self.name,
            family="made",
            condition=self.condition,
            frames=self.frames,
            size_px=self.camera.size_px,
            fps=FPS,
            pictures=self.pictures,
            truths=self.truths,
            truth="exact: faces on known paths",
        )

    def truths(self, index: int) -> list[TrueFace]:
        """See LeakClip."""
        return true_faces(self.cast, index, self._shake_px(index), self.camera.size_px)

    def pictures(self) -> Iterator[av.VideoFrame]:
        """See LeakClip."""
        if self.camera.crf is None:
            yield from self._drawn()
            return
        with av.open(str(self._coded(self.camera.crf))) as container:
            for index, image in enumerate(container.decode(video=0)):
                image.pts, image.time_base = index, 1 / FPS
                yield image

    def render(self, index: int) -> U8:
        """(1.5 H, W) I420, before any coding."""
        camera, by = self.camera, self._shake_px(index)
        canvas = _behind(camera, index, by)
        window = (0, 0, *camera.size_px)
        for layer in self.cast:
            for top in layer.layers(index, by, window):
                blend(canvas, top)
        if camera.is_smeared:
            one, other = self._shake_px(index - 1), self._shake_px(index + 1)
            canvas = blurred(canvas, ((other[0] - one[0]) / 4, (other[1] - one[1]) / 4))
        sigma = camera.focus_px(index) if camera.focus_px is not None else 0.0
        if sigma > 0.3:
            canvas = np.asarray(cv2.GaussianBlur(canvas, (0, 0), sigma), np.uint8)
        if camera.gamma != 1 or camera.gain != 1:
            canvas = np.asarray(cv2.LUT(canvas, _curve(camera.gamma, camera.gain)), np.uint8)
        return _with_grain(cv2.cvtColor(canvas, cv2.COLOR_RGB2YUV_I420), camera, index)

    def _shake_px(self, index: int) -> tuple[float, float]:
        return self.camera.shake(index) if self.camera.shake is not None else (0.0, 0.0)

    def _drawn(self) -> Iterator[av.VideoFrame]:
        for index in range(self.frames):
            image = av.VideoFrame.from_ndarray(self.render(index), format="yuv420p")
            image.pts, image.time_base = index, 1 / FPS
            yield image

    def _coded(self, crf: int) -> Path:
        """Made once. The name holds what some pictures look like: a change makes it anew."""
        digest = sha256(repr((self.frames, crf)).encode())
        for index in (0, self.frames // 2, self.frames - 1):
            digest.update(self.render(index).tobytes())
        path = clips.cache_folder() / f"leaks-{digest.hexdigest()[:20]}.mp4"
        if not path.is_file():
            part = path.with_suffix(f".{os.getpid()}.part")
            self._write(part, crf)
            part.replace(path)
        return path

    def _write(self, path: Path, crf: int) -> None:
        # one thread: the same file on every machine
        coding = {"preset": "veryfast", "crf": str(crf), "g": "50", "threads": "1"}
        with av.open(str(path), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=FPS, options=coding)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height = self.camera.size_px
            stream.pix_fmt = "yuv420p"
            for image in self._drawn():
                container.mux(stream.encode(image))
            container.mux(stream.encode(None))


def _behind(camera: Camera, index: int, by_px: tuple[float, float]) -> U8:
    """RGB, for the camera to draw on."""
    wide = background(camera.backdrop, index)
    width, height = camera.size_px
    scale = max(width / WIDTH_PX, height / HEIGHT_PX)
    if scale == 1 and not any(by_px):
        return wide[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX].copy()
    if not any(by_px):
        inner = wide[MARGIN_PX:-MARGIN_PX, MARGIN_PX:-MARGIN_PX]
        how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        return np.asarray(cv2.resize(inner, camera.size_px, interpolation=how), np.uint8)
    at = (by_px[0] - scale * MARGIN_PX, by_px[1] - scale * MARGIN_PX)
    move = np.array([[scale, 0, at[0]], [0, scale, at[1]]])
    return np.asarray(cv2.warpAffine(wide, move, camera.size_px), np.uint8)


@lru_cache(maxsize=4)
def _curve(gamma: float, gain: float) -> U8:
    levels = 255 * gain * (np.arange(256) / 255) ** gamma
    return np.rint(levels).astype(np.uint8)


def _with_grain(i420: NDArray[np.generic], camera: Camera, index: int) -> U8:
    """With a sensor's noise, which is another one in every frame."""
    width, height = camera.size_px
    noise = _noise(camera.size_px, camera.noise_levels)
    x, y = index * 37 % GRAIN_PX, index * 23 % GRAIN_PX
    rows = height * 3 // 2
    grain = noise[y : y + rows, x : x + width]
    noisy = np.asarray(i420, np.uint8)
    noisy[:height] = cv2.add(noisy[:height], grain[:height], dtype=cv2.CV_8U)
    noisy[height:] = cv2.add(noisy[height:], grain[height:] // 2, dtype=cv2.CV_8U)
    return noisy


@lru_cache(maxsize=2)
def _noise(size_px: tuple[int, int], levels: float) -> NDArray[np.int16]:
    rng = np.random.default_rng([5, *size_px])
    shape = (size_px[1] * 3 // 2 + GRAIN_PX, size_px[0] + GRAIN_PX)
    grain = cv2.GaussianBlur(rng.standard_normal(shape, np.float32), (0, 0), 0.6)
    grain = grain * (levels / math.sqrt(float((grain**2).mean())))
    return np.asarray(np.rint(grain), np.int16)
