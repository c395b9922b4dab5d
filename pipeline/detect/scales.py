"""One picture looked at by several detectors, such as one network at two sizes, and merged.

Each looks at the whole picture: tiles were tried, docs/detectors.md has the comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace

from ..frames import Detections, YuvPlanes
from .detector import DetectorInput, FaceDetector
from .suppress import suppress

SAME_FACE_IOU = 0.5  # above it the surer box stands for both; below it both are hidden


class SeveralDetectors:
    """Finds what any of its detectors finds, and fails where any of them fails."""

    def __init__(self, detectors: Sequence[FaceDetector]) -> None:
        """They are closed with it."""
        if not detectors:
            raise ValueError("several detectors must be at least one, got none")
        self.name = " + ".join(detector.name for detector in detectors)
        self._detectors = tuple(detectors)

    def prepare(self, planes: YuvPlanes) -> DetectorInput:
        """See FaceDetector."""
        first, *others = (detector.prepare(planes) for detector in self._detectors)
        return replace(first, others=tuple(others))

    def detect(self, batch: Sequence[DetectorInput]) -> list[Detections]:
        """See FaceDetector."""
        # strict: what one detector left unanswered must not pass for a picture without faces
        views = zip(*((item, *item.others) for item in batch), strict=True)
        answers = [
            detector.detect(pictures)
            for detector, pictures in zip(self._detectors, views, strict=True)
        ]
        return [merged(found) for found in zip(*answers, strict=True)]

    def close(self) -> None:
        """See FaceDetector."""
        with ExitStack() as stack:
            for detector in self._detectors:
                stack.callback(detector.close)


def merged(found: Sequence[Detections]) -> Detections:
    """What several detectors found in one picture, surest first: every face once."""
    together = Detections.joined(found)
    keep = suppress(together.box_xyxy_px, together.score, limit=SAME_FACE_IOU)
    return together.take(keep)
