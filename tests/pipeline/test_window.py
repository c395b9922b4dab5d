"""Frames through the window with a scripted detector: what goes out, in what order, how hidden.

The face stands still, so every frame that is shown at all must hide it, whatever fails.
"""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction
from functools import partial

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.compose.gate import Gate, ProtectedFrame, Zones
from pipeline.detect.detector import DetectorInput, FaceDetector, ScriptedDetector
from pipeline.detect.service import DetectionService
from pipeline.errors import DetectionFailed
from pipeline.frames import Detections, RawFrame, planes_of
from pipeline.protect.choose import make_patches
from pipeline.settings import DetectorSettings, ProtectSettings
from pipeline.window import LookaheadWindow

SIZE = (96, 64)
BOX = (20, 10, 52, 46)
INTERVAL = 3_600

Script = Callable[[int, DetectorInput], Detections]


def found(*boxes: tuple[int, int, int, int], score: float = 0.9) -> Detections:
    count = len(boxes)
    return Detections(
        np.array(boxes, np.float32).reshape(count, 4),
        np.full((count, 5, 2), np.nan, np.float32),
        np.full(count, score, np.float32),
    )


def raw(index: int, *, still: bool = False) -> RawFrame:
    """One scene; where the face is, every frame looks different, unless it is still."""
    i420 = np.random.default_rng(1).integers(150, 250, (96, 96), np.uint8)
    x1, y1, x2, y2 = BOX
    i420[y1:y2, x1:x2] = np.random.default_rng(0 if still else index).integers(
        150, 250, (y2 - y1, x2 - x1), np.uint8
    )
    image = av.VideoFrame.from_ndarray(i420, format="yuv420p")
    return RawFrame(image, index, index * INTERVAL, Fraction(1, 90_000), 0)


class Bench:
    """A window, its service and gate."""

    def __init__(self, script: Script, *, slack_frames: int = 0, **protect: object) -> None:
        self.protect = ProtectSettings.model_validate(
            {"obfuscation": "solid", "longest_gap": 10.0} | protect
        )
        detector: FaceDetector = ScriptedDetector(script)
        # one picture a run: one that fails must not take its neighbours along
        self.service = DetectionService(lambda: detector, batch=1, timeout_seconds=20.0)
        self.gate = Gate("lobby", partial(make_patches, settings=self.protect))
        self.window = LookaheadWindow(
            "lobby",
            protect=self.protect,
            detector=DetectorSettings(timeout=20.0),
            service=self.service,
            gate=self.gate,
            zones=Zones(),
            fps=Fraction(25),
            slack_frames=slack_frames,
        )

    def run(self, frames: list[RawFrame]) -> list[ProtectedFrame]:
        out = [done for frame in frames for done in self.window.add(frame)]
        out += self.window.flush()
        self.service.close()
        return out


def hides(frame: ProtectedFrame, box: tuple[int, int, int, int] = BOX) -> bool:
    x1, y1, x2, y2 = box
    return bool((planes_of(frame.image).y[y1:y2, x1:x2] == 96).mean() >= 0.95)


@settings(max_examples=60)
@given(
    every=st.integers(1, 6),
    ahead=st.integers(0, 4),
    count=st.integers(1, 30),
    fails=st.sets(st.integers(0, 30)),
    still=st.booleans(),
    lost=st.sets(st.integers(1, 40), max_size=6),
    slack=st.integers(0, 5),
)
def test_every_frame_goes_out_once_in_order_and_none_shows_the_face(
    every: int, ahead: int, count: int, fails: set[int], still: bool, lost: set[int], slack: int
) -> None:
    def script(call: int, _item: DetectorInput) -> Detections:
        if call in fails:
            raise RuntimeError("x")
        return found(BOX)

    bench = Bench(script, detect_every=every, lookahead=every - 1 + ahead, slack_frames=slack)
    indices = [index for index in range(count + len(lost)) if index not in lost]
    out = bench.run([raw(index, still=still) for index in indices])

    assert [frame.pts for frame in out] == [index * INTERVAL for index in indices]
    for frame in out:
        assert frame.redacted is not None or hides(frame), f"frame {frame.pts // INTERVAL}"
    if not fails:
        assert [frame.redacted for frame in out] == [None] * len(out)


@pytest.mark.parametrize(("every", "ahead"), [(1, 0), (1, 3), (4, 3), (4, 8)])
def test_a_face_is_hidden_before_it_is_found(every: int, ahead: int) -> None:
    """Found for the first time at frame 12: hidden over the whole look-ahead before it."""
    calls: list[int] = []

    def script(call: int, _item: DetectorInput) -> Detections:
        calls.append(call)
        return found(BOX) if call * every >= 12 else found()

    out = Bench(script, detect_every=every, lookahead=ahead).run([raw(n) for n in range(24)])

    hidden = [n for n, frame in enumerate(out) if hides(frame)]
    assert hidden == list(range(12 - ahead, 24))


def test_frames_wait_for_their_look_ahead_and_no_longer() -> None:
    bench = Bench(lambda _call, _item: found(), detect_every=4, lookahead=3)
    waiting = 0
    for index in range(40):
        waiting += 1 - len(bench.window.add(raw(index)))
        assert waiting <= 3
    assert len(bench.window.flush()) == waiting
    bench.service.close()


@pytest.mark.parametrize(
    ("ahead", "call", "dark"),
    [
        (3, 0, range(4)),  # frame 4 is looked at anyway; before it nothing is known
        (3, 1, range(1, 5)),  # nothing is known between frame 0 and the next look, at 5
        (3, 3, range(9, 13)),
        (11, 1, range(1, 8)),  # known too late to look sooner than at 8
    ],
)
def test_one_failed_look_darkens_its_neighbourhood(ahead: int, call: int, dark: range) -> None:
    """Looks at 0, 4, 8, ...: a frame is shown only between two that succeeded."""

    def script(number: int, _item: DetectorInput) -> Detections:
        if number == call:
            raise RuntimeError("x")
        return found(BOX)

    out = Bench(script, detect_every=4, lookahead=ahead).run([raw(n) for n in range(24)])

    assert [n for n, frame in enumerate(out) if frame.redacted] == list(dark)
    assert {out[n].redacted for n in dark} == {"the detector raised RuntimeError"}


def test_while_every_look_fails_nothing_is_shown() -> None:
    def script(_call: int, _item: DetectorInput) -> Detections:
        raise DetectionFailed("x")

    bench = Bench(script)
    out = bench.run([raw(n) for n in range(20)])
    assert all(frame.redacted for frame in out) and len(out) == 20
    assert sum(bench.gate.redactions.values()) == 20


def test_a_closed_service_obscures_everything() -> None:
    bench = Bench(lambda _call, _item: found())
    bench.service.close()
    out = bench.run([raw(n) for n in range(10)])
    assert {frame.redacted for frame in out} == {"the detector is closed"}


def test_a_still_scene_is_looked_at_rarely_and_stays_hidden() -> None:
    bench = Bench(lambda _call, _item: found(BOX), gate_refresh=2.0)
    out = bench.run([raw(n, still=True) for n in range(100)])
    assert all(hides(frame) for frame in out)
    assert 2 <= bench.window.looks <= 5  # not 25


def test_a_failed_look_is_not_repeated_as_if_it_had_seen_something() -> None:
    """The scene stands still and the first look fails: the next frame is looked at again."""

    def script(call: int, _item: DetectorInput) -> Detections:
        if call == 0:
            raise RuntimeError("x")
        return found(BOX)

    out = Bench(script).run([raw(n, still=True) for n in range(30)])
    dark = [n for n, frame in enumerate(out) if frame.redacted]
    assert dark and dark == list(range(len(dark))) and len(dark) <= 8
    assert all(hides(frame) for frame in out[len(dark) :])


def test_after_a_gap_nothing_old_is_known() -> None:
    """Flushed at a disconnect: the face of before is not carried into another scene."""
    bench = Bench(lambda call, _item: found(BOX) if call < 3 else found())
    before = [done for n in range(8) for done in bench.window.add(raw(n))] + bench.window.flush()
    after = bench.run([raw(n) for n in range(100, 112)])
    assert all(hides(frame) for frame in before)
    assert not any(hides(frame) for frame in after)
    assert len(before) == 8 and len(after) == 12


def test_flushing_nothing_gives_nothing() -> None:
    assert Bench(lambda _call, _item: found()).run([]) == []


def test_a_picture_that_cannot_be_prepared_is_obscured(monkeypatch: pytest.MonkeyPatch) -> None:
    bench = Bench(lambda _call, _item: found())

    def broken(_planes: object) -> DetectorInput:
        raise MemoryError

    monkeypatch.setattr(bench.service.detector, "prepare", broken)
    out = bench.run([raw(n) for n in range(6)])
    assert {frame.redacted for frame in out} == {"no detector input: MemoryError"}
