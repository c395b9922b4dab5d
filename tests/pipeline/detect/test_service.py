"""Faults are injected: nothing here waits for a real network."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

import numpy as np
import pytest

from engines import EngineError
from pipeline.detect import service as module
from pipeline.detect.detector import DetectorInput, FaceDetector
from pipeline.detect.letterbox import Letterbox
from pipeline.detect.service import DetectionService
from pipeline.errors import DetectionFailed
from pipeline.frames import Detections, YuvPlanes

PATIENCE_SECONDS = 30.0


def picture(value: int) -> DetectorInput:
    return DetectorInput(np.full((2, 2, 3), value, np.uint8), Letterbox((2, 2), (32, 32)))


def answer_for(item: DetectorInput) -> Detections:
    """One box whose corner says which picture it belongs to."""
    value = float(item.image[0, 0, 0])
    box = np.array([[value, 0, value + 1, 1]], np.float32)
    return Detections(box, np.full((1, 5, 2), np.nan, np.float32), np.ones(1, np.float32))


def value_of(found: Detections) -> float:
    return float(found.box_xyxy_px[0, 0])


class Detector:
    """Does what `work` does; remembers its batches and whether it was closed."""

    name = "fake"

    def __init__(self, work: Callable[[Sequence[DetectorInput]], list[Detections]]) -> None:
        self.work = work
        self.batches: list[int] = []
        self.closed = threading.Event()

    def prepare(self, planes: YuvPlanes) -> DetectorInput:
        raise NotImplementedError

    def detect(self, batch: Sequence[DetectorInput]) -> list[Detections]:
        self.batches.append(len(batch))
        return self.work(batch)

    def close(self) -> None:
        self.closed.set()


def answers(batch: Sequence[DetectorInput]) -> list[Detections]:
    return [answer_for(item) for item in batch]


Open = Callable[..., DetectionService]


@pytest.fixture
def serve() -> Iterator[Open]:
    """Opens services that end with the test."""
    opened: list[DetectionService] = []

    def start(*detectors: FaceDetector, **options: float) -> DetectionService:
        row = iter(detectors)
        service = DetectionService(lambda: next(row), **options)  # type: ignore[arg-type]
        opened.append(service)
        return service

    yield start
    for service in opened:
        service.close()


def result(future: Future[Detections]) -> Detections:
    return future.result(PATIENCE_SECONDS)


def error_of(future: Future[Detections]) -> str:
    error = future.exception(PATIENCE_SECONDS)
    assert isinstance(error, DetectionFailed)
    return str(error)


def test_everybody_gets_their_own_answer(serve: Open) -> None:
    service = serve(Detector(answers))
    futures = [service.submit(picture(n), f"camera {n % 3}") for n in range(40)]
    assert [value_of(result(future)) for future in futures] == list(range(40))
    assert (service.counts.pictures, service.counts.failures) == (40, 0)


def test_requests_of_several_cameras_share_a_run(serve: Open) -> None:
    """While the network works on one picture, the others wait, and then go together."""
    entered, go = threading.Event(), threading.Event()

    def slow_first(batch: Sequence[DetectorInput]) -> list[Detections]:
        entered.set()
        assert go.wait(PATIENCE_SECONDS)
        return answers(batch)

    detector = Detector(slow_first)
    service = serve(detector, batch=4, timeout_seconds=PATIENCE_SECONDS)
    first = service.submit(picture(0), "a")
    assert entered.wait(PATIENCE_SECONDS)
    rest = [service.submit(picture(n), f"camera {n}") for n in range(1, 7)]
    go.set()

    assert [value_of(result(future)) for future in [first, *rest]] == list(range(7))
    assert detector.batches == [1, 4, 2]
    assert service.counts.runs == 3


@pytest.mark.parametrize("error", [EngineError("x"), ValueError("x"), MemoryError(), OSError()])
def test_a_detector_that_raises_fails_its_batch_and_goes_on(serve: Open, error: Exception) -> None:
    calls = 0

    def work(batch: Sequence[DetectorInput]) -> list[Detections]:
        nonlocal calls
        calls += 1
        if calls == 1:
            raise error
        return answers(batch)

    service = serve(Detector(work))
    assert type(error).__name__ in error_of(service.submit(picture(1), "a"))
    assert value_of(result(service.submit(picture(2), "a"))) == 2
    assert (service.counts.failures, service.counts.restarts) == (1, 0)


def test_too_few_answers_are_a_failure(serve: Open) -> None:
    """Zipped short, the last camera would wait for ever or get another one's faces."""
    service = serve(Detector(lambda batch: answers(batch)[:-1]))
    error_of(service.submit(picture(1), "a"))


def test_a_hung_detector_is_replaced(serve: Open) -> None:
    release = threading.Event()

    def hang(batch: Sequence[DetectorInput]) -> list[Detections]:
        release.wait(PATIENCE_SECONDS)
        return answers(batch)

    hung, fresh = Detector(hang), Detector(answers)
    service = serve(hung, fresh, timeout_seconds=0.2)
    try:
        stuck = service.submit(picture(1), "a")
        assert "did not answer in time" in error_of(stuck)

        # the new one may still be on its way: a request is answered or fails, it never hangs
        for _ in range(20):
            later = service.submit(picture(2), "a")
            if later.exception(PATIENCE_SECONDS) is None:
                break
        assert value_of(later.result()) == 2
        assert service.detector is fresh
        assert service.counts.restarts == 1
    finally:
        release.set()
    assert hung.closed.wait(PATIENCE_SECONDS)  # the old thread ends by itself and frees it


def test_a_late_answer_changes_nothing(serve: Open) -> None:
    release, done = threading.Event(), threading.Event()

    def hang(batch: Sequence[DetectorInput]) -> list[Detections]:
        release.wait(PATIENCE_SECONDS)
        return answers(batch)

    class Late(Detector):
        def close(self) -> None:
            super().close()
            done.set()

    service = serve(Late(hang), Detector(answers), timeout_seconds=0.2)
    stuck = service.submit(picture(1), "a")
    error_of(stuck)
    release.set()
    assert done.wait(PATIENCE_SECONDS)

    error_of(stuck)  # as before: its frames went out obscured long ago
    for _ in range(20):
        later = service.submit(picture(3), "a")
        if later.exception(PATIENCE_SECONDS) is None:
            break
    assert value_of(later.result()) == 3


def test_a_detector_that_cannot_be_reopened_fails_everything(serve: Open) -> None:
    release = threading.Event()
    calls = 0

    def hang(batch: Sequence[DetectorInput]) -> list[Detections]:
        release.wait(PATIENCE_SECONDS)
        return answers(batch)

    def open_once() -> FaceDetector:
        nonlocal calls
        calls += 1
        if calls > 1:
            raise EngineError("the file is gone")
        return Detector(hang)

    service = DetectionService(open_once, timeout_seconds=0.1)
    try:
        futures = [service.submit(picture(n), "a") for n in range(3)]
        assert all("in time" in error_of(future) for future in futures)
        assert "in time" in error_of(service.submit(picture(9), "a"))
    finally:
        release.set()
        service.close()


def test_opening_again_is_tried_until_it_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_REOPEN_SECONDS", 0.01)
    monkeypatch.setattr(module, "LONGEST_REOPEN_SECONDS", 0.02)
    release = threading.Event()
    calls = 0

    def hang(batch: Sequence[DetectorInput]) -> list[Detections]:
        release.wait(PATIENCE_SECONDS)
        return answers(batch)

    def open_sometimes() -> FaceDetector:
        nonlocal calls
        calls += 1
        if 1 < calls < 4:
            raise EngineError("not now")
        return Detector(hang if calls == 1 else answers)

    service = DetectionService(open_sometimes, timeout_seconds=0.1)
    try:
        for attempt in range(200):
            future = service.submit(picture(attempt), "a")
            if future.exception(PATIENCE_SECONDS) is None:
                break
        assert value_of(future.result()) == attempt > 0
        assert calls == 4
    finally:
        release.set()
        service.close()


def test_closing_fails_what_waits(serve: Open) -> None:
    entered, release = threading.Event(), threading.Event()

    def hang(batch: Sequence[DetectorInput]) -> list[Detections]:
        entered.set()
        release.wait(PATIENCE_SECONDS)
        return answers(batch)

    detector = Detector(hang)
    service = serve(detector, batch=1, timeout_seconds=PATIENCE_SECONDS)
    futures = [service.submit(picture(n), "a") for n in range(3)]
    assert entered.wait(PATIENCE_SECONDS)

    threading.Timer(0.2, release.set).start()  # a native call ends by itself
    service.close()
    service.close()

    assert [error_of(future) for future in futures] == ["the detector is closed"] * 3
    assert error_of(service.submit(picture(4), "a")) == "the detector is closed"
    assert detector.closed.wait(PATIENCE_SECONDS)


def test_a_model_that_will_not_load_is_an_error_at_the_start() -> None:
    def no_model() -> FaceDetector:
        raise EngineError("not installed")

    before = threading.active_count()
    with pytest.raises(EngineError):
        DetectionService(no_model)
    assert threading.active_count() == before
