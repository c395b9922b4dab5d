"""S3FD as the package face-alignment runs it, in PyTorch: the slow reference detector.

Chosen with `detector.model: s3fd`. The package and its weights are the user's to install (extra
`landmarks`); the weights file is hash-checked here and handed over by path, so that the package
never downloads anything.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence

import numpy as np

from engines import EngineError, ModelEntry
from engines.catalog import verified_file

from ..frames import Detections, YuvPlanes
from .detector import DetectorInput, to_source
from .letterbox import Letterbox


class FaceAlignmentDetector:
    """Boxes and scores; S3FD knows no landmarks."""

    def __init__(self, entry: ModelEntry, *, min_score: float) -> None:
        """Raises EngineError where package or weights are missing."""
        if importlib.util.find_spec("face_alignment") is None:
            raise EngineError(f"model {entry.name}: face-alignment is not installed. {entry.fix}")
        weights = verified_file(entry)
        from face_alignment.detection.sfd import FaceDetector as Sfd

        self.name = entry.name
        self._entry = entry
        self._sfd = Sfd(device="cpu", path_to_detector=str(weights), filter_threshold=min_score)

    def prepare(self, planes: YuvPlanes) -> DetectorInput:
        """See FaceDetector."""
        letterbox = Letterbox(planes.size_px, self._entry.input_size_px)
        return DetectorInput(letterbox.image(planes, rgb=self._entry.colour == "rgb"), letterbox)

    def detect(self, batch: Sequence[DetectorInput]) -> list[Detections]:
        """See FaceDetector."""
        try:
            return [self._one(item) for item in batch]
        except RuntimeError as error:
            raise EngineError(f"model {self.name} failed: {error}") from error

    def close(self) -> None:
        """See FaceDetector."""
        del self._sfd

    def _one(self, item: DetectorInput) -> Detections:
        rows = self._sfd.detect_from_image(item.image)  # list of (x1, y1, x2, y2, score)
        if len(rows) == 0:
            return Detections.empty()
        table = np.asarray(rows, np.float32)
        marks = np.full((len(table), 5, 2), np.nan, np.float32)
        return to_source(Detections(table[:, :4], marks, table[:, 4]), item.letterbox)
