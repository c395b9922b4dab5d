"""One face detector: planes to a small picture, pictures to faces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from engines import Engine, ModelEntry

from ..frames import Detections, U8Array, YuvPlanes
from .decode import DECODERS
from .large import without_large_phantoms
from .letterbox import Letterbox
from .turned import with_turned_faces


@dataclass(frozen=True, slots=True)
class DetectorInput:
    """A small colour copy of one picture: all that the detector ever sees."""

    image: U8Array = field(repr=False)  # (H, W, 3)
    letterbox: Letterbox
    others: tuple[DetectorInput, ...] = ()  # the same picture for each further detector, in order


class FaceDetector(Protocol):
    """Prepared pictures in, faces in source pixels out."""

    name: str

    def prepare(self, planes: YuvPlanes) -> DetectorInput:
        """Called on the camera's own thread, while the planes are still untouched."""
        ...

    def detect(self, batch: Sequence[DetectorInput]) -> list[Detections]:
        """One result per input, in order. Raises EngineError; called from one thread."""
        ...

    def close(self) -> None:
        """Free the network."""
        ...


class EngineDetector:
    """A detector whose network runs on an `Engine`: CenterFace, YuNet."""

    def __init__(self, entry: ModelEntry, engine: Engine, *, min_score: float) -> None:
        self.name = entry.name
        self._entry = entry
        self._engine = engine
        self._min_score = min_score

    def prepare(self, planes: YuvPlanes) -> DetectorInput:
        """See FaceDetector."""
        letterbox = Letterbox(planes.size_px, self._entry.input_size_px)
        return DetectorInput(letterbox.image(planes, rgb=self._entry.colour == "rgb"), letterbox)

    def detect(self, batch: Sequence[DetectorInput]) -> list[Detections]:
        """See FaceDetector."""
        pictures = np.stack([item.image for item in batch])  # (N, H, W, 3)
        tensor = np.ascontiguousarray(pictures.transpose(0, 3, 1, 2), dtype=np.float32)
        outputs = self._engine.run({self._entry.input_name: tensor})
        decode, width_px = DECODERS[self._entry.family], self._entry.input_size_px[0]
        answers = []
        for index, item in enumerate(batch):
            found = decode(outputs, index, self._min_score, width_px)
            likely = without_large_phantoms(found, self._min_score)
            answers.append(to_source(with_turned_faces(likely), item.letterbox))
        return answers

    def close(self) -> None:
        """See FaceDetector."""
        self._engine.close()


def to_source(found: Detections, letterbox: Letterbox) -> Detections:
    """Network-input pixels to source pixels."""
    box = letterbox.to_source(found.box_xyxy_px.reshape(-1, 2, 2)).reshape(-1, 4)
    return Detections(box, letterbox.to_source(found.landmark_px), found.score)


class ScriptedDetector:
    """A fake for tests and fault injection: answers from a function of the call's number."""

    name = "scripted"

    def __init__(self, script: Callable[[int, DetectorInput], Detections]) -> None:
        self._script = script
        self._calls = 0

    def prepare(self, planes: YuvPlanes) -> DetectorInput:
        """See FaceDetector."""
        letterbox = Letterbox(planes.size_px, (640, 384))
        return DetectorInput(letterbox.image(planes, rgb=True), letterbox)

    def detect(self, batch: Sequence[DetectorInput]) -> list[Detections]:
        """See FaceDetector."""
        found = []
        for item in batch:
            self._calls += 1
            found.append(self._script(self._calls - 1, item))
        return found

    def close(self) -> None:
        """See FaceDetector."""
