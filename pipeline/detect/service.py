"""One detector for all cameras: requests are batched, a hung network is replaced.

A request is a `Future`. It fails rather than waits: a detector that raises fails that batch, one
that hangs fails everything in its hands after `timeout` and a new one is opened on a new thread
(a native call cannot be interrupted; the old thread is left to end by itself).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field

from ..errors import DetectionFailed
from ..frames import Detections
from .detector import DetectorInput, FaceDetector

FIRST_REOPEN_SECONDS = 0.5  # a detector that hung is replaced at once; the next one after this
LONGEST_REOPEN_SECONDS = 10.0  # doubling up to here, until one of them answers
_log = logging.getLogger(__name__)

DetectionFuture = Future[Detections]


@dataclass(slots=True)
class _Request:
    input: DetectorInput = field(repr=False)
    camera: str
    deadline: float
    future: DetectionFuture


@dataclass(slots=True)
class DetectionCounts:
    """What the service did; read by the status line, never by the data path."""

    runs: int = 0
    pictures: int = 0
    failures: int = 0
    restarts: int = 0


class DetectionService:
    """Runs `open_detector()`'s network for every camera of the process."""

    def __init__(
        self,
        open_detector: Callable[[], FaceDetector],
        *,
        batch: int = 8,
        timeout_seconds: float = 2.0,
    ) -> None:
        """Opens the detector at once, so that a missing model is an error at the start."""
        self._open_detector = open_detector
        self._batch = batch
        self._timeout_seconds = timeout_seconds
        self.counts = DetectionCounts()
        self._condition = threading.Condition()
        self._waiting: deque[_Request] = deque()
        self._in_hand: list[_Request] = []
        self._generation = 0
        self._reopen_at: float | None = None
        self._reopen_pause_seconds = 0.0
        self._closed = False
        self.detector = open_detector()
        self._start_worker(self.detector)
        self._watch = threading.Thread(target=self._watchdog, name="detect-watch", daemon=True)
        self._watch.start()

    def submit(self, picture: DetectorInput, camera: str) -> DetectionFuture:
        """Queue a picture; the future ends with Detections or DetectionFailed, never hangs.

        A camera whose earlier request still waits gets its turn in order; since a camera waits
        for its result before it shows a frame, it cannot pile up requests.
        """
        request = _Request(picture, camera, time.monotonic() + self._timeout_seconds, Future())
        with self._condition:
            if self._closed:
                request.future.set_exception(DetectionFailed("the detector is closed"))
            else:
                self._waiting.append(request)
                self._condition.notify_all()
        return request.future

    def close(self) -> None:
        """Fail what waits, end the threads. Idempotent."""
        with self._condition:
            if self._closed:
                return
            self._closed = True
            left = [*self._waiting, *self._in_hand]
            self._waiting.clear()
            self._condition.notify_all()
        for request in left:
            _fail(request, "the detector is closed")
        self._worker.join(timeout=2.0)
        self._watch.join(timeout=2.0)

    def _start_worker(self, detector: FaceDetector) -> None:
        self._worker = threading.Thread(
            target=self._work, args=(detector, self._generation), name="detect", daemon=True
        )
        self._worker.start()

    def _work(self, detector: FaceDetector, generation: int) -> None:
        while True:
            with self._condition:
                while not self._waiting and not self._closed and generation == self._generation:
                    self._condition.wait()
                if self._closed or generation != self._generation:
                    break
                batch = [
                    self._waiting.popleft() for _ in range(min(self._batch, len(self._waiting)))
                ]
                self._in_hand = batch
            try:
                results = detector.detect([request.input for request in batch])
                if len(results) != len(batch):
                    raise DetectionFailed(f"{len(results)} results for {len(batch)} pictures")
            except Exception as error:  # whatever a network raises, frames must not go out clear
                _log.warning("detector failed: %s", error)
                self.counts.failures += len(batch)
                for request in batch:
                    _fail(request, f"the detector raised {type(error).__name__}")
            else:
                for request, found in zip(batch, results, strict=True):
                    _succeed(request, found)
                if generation == self._generation:
                    self._reopen_pause_seconds = 0.0
            self.counts.runs += 1
            self.counts.pictures += len(batch)
            with self._condition:
                if generation == self._generation:
                    self._in_hand = []
        detector.close()

    def _watchdog(self) -> None:
        while True:
            with self._condition:
                if self._closed:
                    return
                now = time.monotonic()
                late = [request for request in self._in_hand if request.deadline < now]
                queued_late = [request for request in self._waiting if request.deadline < now]
                for request in queued_late:
                    self._waiting.remove(request)
                if late:
                    stuck, self._in_hand = self._in_hand, []
                    self._generation += 1
                else:
                    stuck = []
            self.counts.failures += len(stuck) + len(queued_late)
            for request in (*stuck, *queued_late):
                _fail(request, "the detector did not answer in time")
            if stuck:
                _log.error("detector hangs: a new one is opened, its frames go out obscured")
                self.counts.restarts += 1
                self._reopen_at = now + self._reopen_pause_seconds
                self._lengthen_pause()
            if self._reopen_at is not None and now >= self._reopen_at:
                self._reopen()
            time.sleep(min(0.05, self._timeout_seconds / 4))

    def _reopen(self) -> None:
        try:
            self.detector = self._open_detector()
        except Exception as error:  # without a detector every request times out: still closed
            _log.error("detector cannot be reopened: %s", error)
            self._lengthen_pause()
            self._reopen_at = time.monotonic() + self._reopen_pause_seconds
            return
        self._reopen_at = None
        self._start_worker(self.detector)

    def _lengthen_pause(self) -> None:
        """The next one that hangs leaves its thread and its network too: not many a minute."""
        self._reopen_pause_seconds = min(
            max(2 * self._reopen_pause_seconds, FIRST_REOPEN_SECONDS), LONGEST_REOPEN_SECONDS
        )


def _fail(request: _Request, why: str) -> None:
    try:
        request.future.set_exception(DetectionFailed(why))
    except InvalidStateError:  # answered or failed a moment ago by the other thread
        return


def _succeed(request: _Request, found: Detections) -> None:
    try:
        request.future.set_result(found)
    except InvalidStateError:  # came too late; its frames were obscured already
        return
