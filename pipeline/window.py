"""The look-ahead window: frames wait here until what lies ahead of them has been looked at.

For every frame t, all answers of the detector up to t + lookahead have come before t goes out. A
face first seen at frame d is therefore hidden from d - lookahead on, and a frame whose own
neighbourhood was not looked at with success goes out as the curtain.
"""

from __future__ import annotations

import logging
from collections import deque
from concurrent.futures import TimeoutError as FutureTimeout
from dataclasses import dataclass, field
from fractions import Fraction

from .compose.gate import Gate, ProtectedFrame, Zones
from .detect.activity import thumbnail
from .detect.scene_change import SceneChange, SceneWatch
from .detect.schedule import DetectionSchedule, Look
from .detect.service import DetectionFuture, DetectionService
from .errors import DetectionFailed
from .frames import Detections, RawFrame, U8Array, planes_of
from .settings import DetectorSettings, ProtectSettings
from .track.backtrack import trace_back
from .track.coverage import Coverage
from .track.tracker import Track

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class _Waiting:
    frame: RawFrame
    position: int  # counts the frames of this window, without the gaps of dropped ones
    thumb: U8Array = field(repr=False)
    follows_cut: bool = False


@dataclass(slots=True)
class _Answer:
    position: int
    future: DetectionFuture | None  # None: nothing moved, the answer before holds
    follows_cut: bool = False
    ok: bool | None = None  # None: not settled yet


class LookaheadWindow:
    """One camera's frames, in order, each given back exactly once."""

    def __init__(
        self,
        camera: str,
        *,
        protect: ProtectSettings,
        detector: DetectorSettings,
        service: DetectionService,
        gate: Gate,
        zones: Zones,
        fps: Fraction,
        slack_frames: int = 0,
    ) -> None:
        """`slack_frames`: further frames that may wait, so that files keep every core busy."""
        self._camera = camera
        self._protect = protect
        self._detector = detector
        self._service = service
        self._gate = gate
        self._zones = zones
        self._slack_frames = slack_frames
        self._hold_frames = max(1, round(protect.hold * float(fps)))
        self._frames: deque[_Waiting] = deque()
        self._next_position = 0
        self.looks = 0
        self._start_anew(first_id=1)

    def add(self, frame: RawFrame) -> list[ProtectedFrame]:
        """Take a frame; give back those that are ready, in order. Waits for due answers."""
        if self._frames and self._is_hole(self._frames[-1].frame, frame):
            # Faces have moved on unseen: no line may be drawn from before the hole to after it.
            self._look_at_last()
            if frame.index != self._frames[-1].frame.index + 1:
                self._schedule.distrust()  # by the clock alone the next look may not be due
        planes = planes_of(frame.image)
        thumb = thumbnail(planes)
        change = self._scene.observe(thumb)
        if change is SceneChange.CUT and self._frames:
            # no line is drawn over a cut: what lies before it needs an end of its own
            self._look_at_last()
        waiting = _Waiting(frame, self._next_position, thumb, change is SceneChange.CUT)
        self._next_position += 1
        look = self._schedule.decide(waiting.thumb, frame.pts_seconds, change)
        self._frames.append(waiting)
        if look is Look.DETECT:
            self._submit(waiting)
        elif look is Look.STILL:
            self._answers.append(_Answer(waiting.position, None))
        ready: list[ProtectedFrame] = []
        lookahead = self._protect.lookahead
        while len(self._frames) > lookahead + self._slack_frames or (
            len(self._frames) > lookahead and self._is_answered(self._frames[0].position)
        ):
            ready.append(self._release())
        return ready

    def flush(self) -> list[ProtectedFrame]:
        """The source has ended or gone silent: everything out, the last frame looked at too."""
        if self._frames:
            self._look_at_last()
        ready = []
        while self._frames:
            ready.append(self._release())
        self._start_anew(first_id=self._coverage.next_id)
        return ready

    @property
    def faces_now(self) -> int:
        """People that the last answer showed."""
        return self._coverage.live_count

    @property
    def tracks_begun(self) -> int:
        """People that were followed so far: a track's number is never given twice."""
        return self._coverage.next_id - 1

    def _start_anew(self, *, first_id: int) -> None:
        self._schedule = DetectionSchedule(self._protect)
        self._scene = SceneWatch()
        # No frame after the last cut has been shown yet. A curtain tells nobody of it, and what
        # comes after a gap follows whatever was before it.
        self._cut_to_tell = True
        self._coverage = Coverage(
            person_score=self._detector.person_score,
            sure_score=self._detector.sure_score,
            hold_frames=self._hold_frames,
            back_frames=max(self._protect.lookahead, self._protect.detect_every),
            first_id=first_id,
        )
        self._answers: deque[_Answer] = deque()

    def _is_hole(self, last: RawFrame, frame: RawFrame) -> bool:
        """Frames between these two were dropped here or lost on the way."""
        seconds = frame.pts_seconds - last.pts_seconds
        return frame.index != last.index + 1 or seconds >= self._protect.longest_gap

    def _look_at_last(self) -> None:
        """Have the newest frame looked at, unless it is already."""
        last = self._frames[-1]
        if self._answers[-1].position < last.position:
            self._schedule.look_now(last.thumb, last.frame.pts_seconds)
            self._submit(last)

    def _submit(self, waiting: _Waiting) -> None:
        self.looks += 1
        try:
            picture = self._service.detector.prepare(planes_of(waiting.frame.image))
        except Exception as error:  # the frame's neighbourhood must fall, not the camera
            future: DetectionFuture = DetectionFuture()
            future.set_exception(DetectionFailed(f"no detector input: {type(error).__name__}"))
        else:
            future = self._service.submit(picture, self._camera)
        self._answers.append(_Answer(waiting.position, future, waiting.follows_cut))

    def _is_answered(self, position: int) -> bool:
        return all(
            answer.ok is not None or answer.future is None or answer.future.done()
            for answer in self._answers
            if answer.position <= position + self._protect.lookahead
        )

    def _release(self) -> ProtectedFrame:
        position = self._frames[0].position
        for answer in self._answers:
            if answer.position > position + self._protect.lookahead:
                break
            if answer.ok is None:
                self._settle(answer)
        waiting = self._frames.popleft()
        self._cut_to_tell |= waiting.follows_cut
        if (reason := self._unseen(position)) is not None:
            protected = self._gate.redact(waiting.frame, reason)
        else:
            faces = self._coverage.boxes_at(position)
            protected = self._gate.protect(
                waiting.frame, faces, self._zones, follows_cut=self._cut_to_tell
            )
            self._cut_to_tell = False
        self._coverage.forget_before(position + 1)
        while len(self._answers) > 1 and self._answers[1].position <= position + 1:
            self._answers.popleft()
        return protected

    def _settle(self, answer: _Answer) -> None:
        """Wait for the answer and tell the trackers."""
        if answer.follows_cut:
            self._coverage.cut(answer.position)
        if answer.future is None:
            answer.ok = self._last_ok
            if answer.ok:
                self._coverage.repeat(answer.position)
            return
        try:
            found: Detections = answer.future.result(self._detector.timeout * 2 + 1)
        except (DetectionFailed, FutureTimeout) as error:
            self._last_failure = str(error) or "the detector did not answer in time"
            answer.ok = self._last_ok = False
            self._schedule.distrust()
            return
        image = self._frames[0].frame.image
        found = found.near((image.width, image.height))
        for track in self._coverage.update(found, answer.position):
            self._trace(track, answer.position)
        answer.ok = self._last_ok = True

    def _trace(self, track: Track, position: int) -> None:
        """Look for a new face in the frames that still wait: it did not come out of nothing."""
        first = self._frames[0].position
        lumas = [planes_of(waiting.frame.image).y for waiting in self._frames]
        begin = max(first, self._coverage.scene_start)  # before it is another scene
        earlier = lumas[begin - first : position - first][::-1]
        if earlier:
            track.lead_in(trace_back(lumas[position - first], track.last.box_xyxy_px, earlier))

    _last_ok = False
    _last_failure = "no detection has completed"

    def _unseen(self, position: int) -> str | None:
        """Why this frame must not be shown; None where looks on both sides succeeded."""
        before = [a for a in self._answers if a.position <= position]
        after = [a for a in self._answers if a.position >= position]
        if not before or not after:
            return "no detection has completed"
        if not before[-1].ok or not after[0].ok:
            return self._last_failure
        return None
