"""The product on a clip: look-ahead window and gate as a session runs them, and what was covered.

Only the encoder is left out: coding shows nothing that was replaced before it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction

import av
import cv2
import numpy as np

from pipeline.compose.gate import ProtectedFrame, Zones
from pipeline.detect.service import DetectionService
from pipeline.frames import FloatArray, RawFrame, YuvPlanes, planes_of
from pipeline.settings import (
    FILE_DETECTOR,
    FILE_PROTECT,
    DetectorSettings,
    ProtectSettings,
)
from pipeline.window import LookaheadWindow

from ._face_clips import copied
from ._flow_runs import Seen, gate_for, open_fuser
from ._leak_truth import Mask
from ._similarity import U8

NAME = "bench leaks"
OPAQUE = 250  # of 255: what counts as covered, as for the gate
PATIENCE_SECONDS = 30.0  # a slow machine must not lower the curtain: it is no part of the question


@dataclass(frozen=True, slots=True)
class Contestant:
    """Settings that are measured under a name."""

    name: str
    detector: DetectorSettings
    protect: ProtectSettings


@dataclass(frozen=True, slots=True)
class CoveredFrame:
    """One frame, before and after, and what of it was covered."""

    index: int
    original: YuvPlanes = field(repr=False)
    shown: YuvPlanes = field(repr=False)
    covered: Mask = field(repr=False)  # (H, W)
    found_xyxy_px: FloatArray = field(repr=False)  # (N, 4) boxes of faces that are really seen
    is_curtain: bool = False


def contestants_of_defaults() -> list[Contestant]:
    """What `bauta protect` does to a file, and what a camera gets."""
    in_file = ProtectSettings.model_validate(FILE_PROTECT)
    looks = DetectorSettings.model_validate(FILE_DETECTOR)
    return [
        Contestant("file", repeatable(looks), in_file),
        Contestant("live", repeatable(DetectorSettings()), ProtectSettings()),
    ]


def repeatable(detector: DetectorSettings) -> DetectorSettings:
    """The same without what depends on the machine's haste."""
    # pictures that happen to share a batch are rounded in another order
    return detector.model_copy(update={"timeout": PATIENCE_SECONDS, "batch": 1})


class ProductRun:
    """One contestant on one clip; frames come back later than they were given, in order."""

    def __init__(self, contestant: Contestant, service: DetectionService, fps: Fraction) -> None:
        settings = contestant.protect
        fuser = open_fuser() if settings.protector == "proface-s" else None
        self._gate = gate_for(settings, fuser)
        self._tick = 1 / fps
        self._originals: deque[YuvPlanes] = deque()
        self._added = 0
        self._given = 0
        self._window = LookaheadWindow(
            NAME,
            protect=settings,
            detector=contestant.detector,
            service=service,
            gate=self._gate,
            zones=Zones(),
            fps=fps,
            slack_frames=settings.detect_every,  # the detector works while the next are drawn
        )

    def add(self, original: YuvPlanes) -> list[CoveredFrame]:
        """A copy goes through; the planes are kept and must not change."""
        self._originals.append(original)
        frame = RawFrame(image_of_any(original), self._added, self._added, self._tick, 0)
        self._added += 1
        return self._taken(self._window.add(frame))

    def flush(self) -> list[CoveredFrame]:
        """The clip has ended."""
        return self._taken(self._window.flush())

    def _taken(self, ready: Iterable[ProtectedFrame]) -> list[CoveredFrame]:
        taken = []
        for protected in ready:
            seen = self._gate.seen.popleft()
            taken.append(
                CoveredFrame(
                    self._given,
                    self._originals.popleft(),
                    planes_of(protected.image),
                    covered_by(seen, (protected.image.width, protected.image.height)),
                    found_boxes(seen),
                    seen.is_curtain,
                )
            )
            self._given += 1
        return taken


def through(
    runs: Mapping[str, ProductRun], originals: Iterable[YuvPlanes]
) -> Iterator[tuple[str, CoveredFrame]]:
    """The same pictures through each, which are made once; (name, frame) as they are ready."""
    for original in originals:
        for name, run in runs.items():
            for frame in run.add(original):
                yield name, frame
    for name, run in runs.items():
        for frame in run.flush():
            yield name, frame


def covered_by(seen: Seen, frame_px: tuple[int, int]) -> Mask:
    """(H, W) what the gate has really replaced."""
    width, height = frame_px
    covered = np.full((height, width), seen.is_curtain)
    for written in () if seen.is_curtain else seen.written:
        x, y = written.patch.x_px, written.patch.y_px
        rows, columns = written.weight.shape
        covered[y : y + rows, x : x + columns] |= written.weight >= OPAQUE
    return covered


def found_boxes(seen: Seen) -> FloatArray:
    """(N, 4) of faces that are really seen: neither held nor led in."""
    boxes = [face.box_xyxy_px for face in seen.faces if face.is_seen and not face.is_led_in]
    return np.array(boxes, np.float32).reshape(-1, 4)


def own_planes(image: av.VideoFrame) -> YuvPlanes:
    """The picture's pixels in memory of their own: decoders use theirs again."""
    return copied(planes_of(image))


# Stills have sides that are even and no more: what a quarter of the height must be whole for
# (`image_of`, `planes_of_rgb`) will not do here.


def image_of_any(planes: YuvPlanes) -> av.VideoFrame:
    """A picture of its own, of any even size."""
    image = av.VideoFrame(*planes.size_px, "yuv420p")
    target = planes_of(image)
    target.y[:], target.u[:], target.v[:] = planes.y, planes.u, planes.v
    return image


def rgb_of_any(planes: YuvPlanes) -> U8:
    """(H, W, 3), BT.601."""
    width, height = planes.size_px
    i420 = np.concatenate([plane.ravel() for plane in (planes.y, planes.u, planes.v)])
    rgb = cv2.cvtColor(i420.reshape(height * 3 // 2, width), cv2.COLOR_YUV2RGB_I420)
    return np.asarray(rgb, np.uint8)


def planes_of_any(rgb: U8) -> YuvPlanes:
    """The inverse, chroma at half size."""
    height, width = rgb.shape[:2]
    flat = np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2YUV_I420), np.uint8).ravel()
    luma, half = height * width, (height // 2, width // 2)
    u, v = (each.reshape(half).copy() for each in np.split(flat[luma:], 2))
    return YuvPlanes(flat[:luma].reshape(height, width).copy(), u, v)
