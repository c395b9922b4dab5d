"""Several looks at one picture: what is merged, what is kept, and that no failure gets lost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest

from engines import EngineError
from pipeline.build import open_detector
from pipeline.detect.detector import DetectorInput, FaceDetector
from pipeline.detect.letterbox import Letterbox
from pipeline.detect.scales import SeveralDetectors, merged
from pipeline.detect.service import DetectionService
from pipeline.detect.suppress import iou
from pipeline.errors import DetectionFailed
from pipeline.frames import Detections, FloatArray, YuvPlanes, planes_of
from pipeline.settings import DETECTOR_PRESETS, DetectorPreset, DetectorSettings
from support.clips import Clip, decode_all, make_clip

Box = tuple[float, float, float, float]


def planes(width: int = 64, height: int = 48) -> YuvPlanes:
    half = np.zeros((height // 2, width // 2), np.uint8)
    return YuvPlanes(np.zeros((height, width), np.uint8), half, half)


def found(*faces: tuple[Box, float]) -> Detections:
    """Each with landmarks that tell whose they are: all of them at its own corner."""
    if not faces:
        return Detections.empty()
    boxes = np.array([box for box, _ in faces], np.float32)
    marks = np.repeat(boxes[:, None, :2], 5, axis=1)
    return Detections(boxes, marks, np.array([score for _, score in faces], np.float32))


class Fixed:
    """Says the same of every picture, looks at one size, and remembers what it was given."""

    def __init__(
        self, answer: Detections, size_px: tuple[int, int] = (64, 32), error: str | None = None
    ) -> None:
        self.name = f"fixed-{size_px[0]}"
        self._answer, self._size_px, self._error = answer, size_px, error
        self.given: list[DetectorInput] = []
        self.closed = False

    def prepare(self, planes: YuvPlanes) -> DetectorInput:
        letterbox = Letterbox(planes.size_px, self._size_px)
        return DetectorInput(letterbox.image(planes, rgb=True), letterbox)

    def detect(self, batch: Sequence[DetectorInput]) -> list[Detections]:
        if self._error is not None:
            raise EngineError(self._error)
        self.given.extend(batch)
        return [self._answer for _ in batch]

    def close(self) -> None:
        self.closed = True


def look(*detectors: FaceDetector) -> Detections:
    several = SeveralDetectors(detectors)
    (answer,) = several.detect([several.prepare(planes())])
    return answer


FACE: Box = (10, 10, 30, 34)
SAME: Box = (11, 11, 31, 35)
OTHER: Box = (100, 10, 120, 34)


@pytest.mark.parametrize("surer", [0, 1])
def test_a_face_that_both_found_is_one_with_the_landmarks_of_its_own_box(surer: int) -> None:
    scores = (0.9, 0.5) if surer == 0 else (0.5, 0.9)
    answer = look(Fixed(found((FACE, scores[0]))), Fixed(found((SAME, scores[1]))))
    assert len(answer) == 1
    box = (FACE, SAME)[surer]
    assert answer.box_xyxy_px[0].tolist() == list(box)
    assert answer.landmark_px[0].tolist() == [list(box[:2])] * 5
    assert answer.score[0] == np.float32(0.9)


def test_what_one_of_them_found_is_kept() -> None:
    small, large = found((FACE, 0.3)), found((OTHER, 0.8))
    for pair in ((small, large), (large, small)):
        answer = look(*map(Fixed, pair))
        assert answer.box_xyxy_px.tolist() == [list(OTHER), list(FACE)]  # surest first
        assert (answer.landmark_px[:, 0] == answer.box_xyxy_px[:, :2]).all()
    assert len(look(Fixed(found()), Fixed(small))) == 1
    assert len(look(Fixed(found()), Fixed(found()))) == 0


def test_boxes_that_share_less_than_half_are_two_faces() -> None:
    beside: Box = (18, 10, 38, 34)
    together = np.array([FACE, beside], np.float32)
    assert 0.3 < iou(together[:1], together[1:])[0, 0] < 0.5
    assert len(merged([found((FACE, 0.9)), found((beside, 0.8))])) == 2


def test_unknown_landmarks_stay_with_their_box() -> None:
    box = np.array([OTHER], np.float32)
    blind = Detections(box, np.full((1, 5, 2), np.nan, np.float32), np.ones(1, np.float32))
    answer = look(Fixed(found((FACE, 0.5))), Fixed(blind))
    assert np.isnan(answer.landmark_px).all(axis=(1, 2)).tolist() == [True, False]


def test_each_detector_gets_the_picture_that_it_prepared() -> None:
    detectors = [Fixed(found(), size) for size in ((64, 32), (128, 96), (32, 32))]
    several = SeveralDetectors(detectors)
    assert several.name == "fixed-64 + fixed-128 + fixed-32"
    batch = [several.prepare(planes()), several.prepare(planes(48, 64))]
    assert len(several.detect(batch)) == 2
    for detector, shape in zip(detectors, ((32, 64), (96, 128), (32, 32)), strict=True):
        assert [item.image.shape[:2] for item in detector.given] == [shape, shape]
        assert [item.letterbox.source_px for item in detector.given] == [(64, 48), (48, 64)]


def test_a_prepared_picture_cannot_be_changed_and_is_not_shown() -> None:
    prepared = SeveralDetectors([Fixed(found()), Fixed(found())]).prepare(planes())
    assert len(prepared.others) == 1
    with pytest.raises(FrozenInstanceError):
        prepared.others = ()  # type: ignore[misc]
    assert "array" not in repr(prepared)


def test_an_error_of_any_of_them_is_an_error() -> None:
    good, bad = Fixed(found((FACE, 0.9))), Fixed(found(), error="out of memory")
    for pair in ((good, bad), (bad, good)):
        with pytest.raises(EngineError, match="out of memory"):
            look(*pair)


def test_an_answer_that_is_missing_is_an_error() -> None:
    class Silent(Fixed):
        def detect(self, batch: Sequence[DetectorInput]) -> list[Detections]:
            return super().detect(batch)[:-1]

    with pytest.raises(ValueError, match="argument"):
        look(Fixed(found((FACE, 0.9))), Silent(found()))


def test_a_picture_that_another_detector_prepared_is_an_error() -> None:
    several = SeveralDetectors([Fixed(found()), Fixed(found())])
    with pytest.raises(ValueError, match="argument"):
        several.detect([Fixed(found()).prepare(planes())])
    with pytest.raises(ValueError, match="got none"):
        SeveralDetectors([])


def test_the_service_fails_what_one_of_them_failed() -> None:
    several = SeveralDetectors([Fixed(found()), Fixed(found(), error="broken")])
    service = DetectionService(lambda: several)
    try:
        future: Future[Detections] = service.submit(service.detector.prepare(planes()), "cam")
        with pytest.raises(DetectionFailed, match="EngineError"):
            future.result(10)
    finally:
        service.close()


def test_all_are_closed_whatever_one_of_them_does() -> None:
    class Stuck(Fixed):
        def close(self) -> None:
            raise EngineError("cannot be closed")

    first, last = Fixed(found()), Fixed(found())
    with pytest.raises(EngineError):
        SeveralDetectors([first, Stuck(found()), last]).close()
    assert first.closed and last.closed


# --- the real network -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def detectors() -> Iterator[dict[DetectorPreset, FaceDetector]]:
    opened = {
        preset: open_detector(DetectorSettings(preset=preset, min_score=0.2))
        for preset in DETECTOR_PRESETS
    }
    yield opened
    for detector in opened.values():
        detector.close()


def share_found(detector: FaceDetector, clip: Clip, *, every: int) -> float:
    """Of all faces in every so-manieth frame: those with a box around their middle."""
    hits: list[bool] = []
    for image, truth in list(zip(decode_all(clip.path), clip.truth, strict=True))[::every]:
        (seen,) = detector.detect([detector.prepare(planes_of(image))])
        hits += [is_in_a_box(seen.box_xyxy_px, box) for box in truth]
    return float(np.mean(hits))


def is_in_a_box(boxes_xyxy_px: FloatArray, face_xyxy_px: FloatArray) -> bool:
    middle = (face_xyxy_px[:2] + face_xyxy_px[2:]) / 2
    inside = (boxes_xyxy_px[:, :2] < middle) & (middle < boxes_xyxy_px[:, 2:])
    return bool(inside.all(axis=1).any())


@pytest.mark.parametrize(
    ("size_px", "face_px"),
    # sqrt(w * h) of these faces is 14, 18 and 23 px
    [((640, 360), 12), ((1280, 720), 16), ((1280, 720), 20)],
)
def test_thorough_finds_small_faces_that_fast_misses(
    size_px: tuple[int, int],
    face_px: int,
    detectors: dict[DetectorPreset, FaceDetector],
    tmp_path: Path,
) -> None:
    clip = make_clip(tmp_path / "far.mp4", size=size_px, faces=6, face_px=face_px, frames=16)
    assert share_found(detectors["fast"], clip, every=5) < 0.6
    assert share_found(detectors["thorough"], clip, every=5) > 0.9


def test_every_preset_finds_large_and_middling_faces(
    detectors: dict[DetectorPreset, FaceDetector], tmp_path: Path
) -> None:
    clip = make_clip(tmp_path / "near.mp4", size=(1280, 720), faces=3, face_px=60, frames=11)
    for preset, detector in detectors.items():
        assert share_found(detector, clip, every=5) == 1, preset
