"""Frames through the window with a scripted detector: what goes out, in what order, how hidden.

The face stands still, so every frame that is shown at all must hide it, whatever fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import window as window_module
from pipeline.compose.gate import Gate, ProtectedFrame, Zones
from pipeline.detect.detector import DetectorInput, FaceDetector, ScriptedDetector
from pipeline.detect.service import DetectionService
from pipeline.errors import DetectionFailed
from pipeline.frames import Detections, FaceBox, FloatArray, RawFrame, U8Array, planes_of
from pipeline.protect.choose import make_patches
from pipeline.settings import DetectorSettings, ProtectSettings
from pipeline.track.backtrack import trace_back
from pipeline.window import LookaheadWindow, _Waiting

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


def mean_of(item: DetectorInput) -> float:
    """Of the picture alone, without the grey beside it."""
    width, height = item.letterbox.fitted_px
    picture = item.image[:height, :width]
    return float(picture[picture > 0].mean())


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


def test_tracks_are_counted_over_the_whole_session() -> None:
    bench = Bench(lambda _call, _item: found(BOX))
    counts = [bench.window.tracks_begun]
    for first in (0, 100):  # after it was flushed, who comes is another one
        for n in range(first, first + 20):
            bench.window.add(raw(n))
        bench.window.flush()
        counts.append(bench.window.tracks_begun)
    assert counts == [0, 1, 2]


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


# --- cuts ---

CUT = 10
OTHER_BOX = (60, 20, 92, 56)


class Told(Gate):
    """Notes which frames it was told to follow a cut."""

    def __init__(self, inner: Gate) -> None:
        super().__init__("lobby", inner._make_patches)
        self.cuts: list[int] = []

    def protect(
        self,
        frame: RawFrame,
        faces: Sequence[FaceBox],
        zones: Zones,
        *,
        follows_cut: bool = False,
    ) -> ProtectedFrame:
        if follows_cut:
            self.cuts.append(frame.index)
        return super().protect(frame, faces, zones, follows_cut=follows_cut)


def of_scene(index: int, *, cut: int = CUT, box: bool = True) -> RawFrame:
    """A bright scene with something at BOX that changes; from `cut` on a dark one, OTHER_BOX."""
    dark = index >= cut
    low, high, seed = (20, 120, 2) if dark else (150, 250, 1)
    i420 = np.random.default_rng(seed).integers(low, high, (96, 96), np.uint8)
    if box:
        x1, y1, x2, y2 = OTHER_BOX if dark else BOX
        part = np.random.default_rng(index).integers(low, high, (y2 - y1, x2 - x1), np.uint8)
        i420[y1:y2, x1:x2] = part
    image = av.VideoFrame.from_ndarray(i420, format="yuv420p")
    return RawFrame(image, index, index * INTERVAL, Fraction(1, 90_000), 0)


def is_dark(item: DetectorInput) -> bool:
    return bool(mean_of(item) < 128)


def of_scene_found(_call: int, item: DetectorInput) -> Detections:
    return found(OTHER_BOX if is_dark(item) else BOX)


def looks_of(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The frames that the network is shown, as they come."""
    shown: list[int] = []
    submit = bench.window._submit

    def noted(waiting: _Waiting) -> None:
        shown.append(waiting.position)
        submit(waiting)

    monkeypatch.setattr(bench.window, "_submit", noted)
    return shown


@pytest.mark.parametrize(("every", "ahead"), [(1, 0), (4, 3), (6, 5), (4, 9)])
def test_both_sides_of_a_cut_are_looked_at(
    every: int, ahead: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(of_scene_found, detect_every=every, lookahead=ahead)
    looks = looks_of(bench, monkeypatch)
    out = bench.run([of_scene(n) for n in range(24)])
    assert {CUT - 1, CUT, CUT + 1} <= set(looks)
    assert looks == sorted(set(looks))
    assert not any(frame.redacted for frame in out)


@pytest.mark.parametrize(("every", "ahead"), [(1, 0), (4, 3), (6, 5), (4, 9)])
def test_faces_on_both_sides_of_a_cut_are_hidden_where_they_are(every: int, ahead: int) -> None:
    out = Bench(of_scene_found, detect_every=every, lookahead=ahead).run(
        [of_scene(n) for n in range(30)]
    )
    assert [n for n, frame in enumerate(out) if hides(frame, BOX)][:CUT] == list(range(CUT))
    assert [n for n, frame in enumerate(out) if hides(frame, OTHER_BOX)] == list(range(CUT, 30))
    # and what was covered before stays so for a while, in case it was no cut
    linger = [n for n, frame in enumerate(out) if hides(frame, BOX) and n >= CUT]
    assert linger == list(range(CUT, CUT + max(every, ahead) + 1))


def test_a_new_face_is_not_traced_into_the_scene_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its pixels are there too, by chance."""
    searched: list[int] = []

    def noted(luma: U8Array, box: FloatArray, earlier: Sequence[U8Array]) -> list[FloatArray]:
        searched.extend(round(float(picture.mean())) for picture in earlier)
        return trace_back(luma, box, earlier)

    monkeypatch.setattr(window_module, "trace_back", noted)
    dark_looks: list[int] = []

    def script(call: int, item: DetectorInput) -> Detections:
        if is_dark(item):
            dark_looks.append(call)
        return found(OTHER_BOX) if len(dark_looks) == 2 else found()  # at CUT + 1, not at CUT

    frames = [of_scene(n, box=False) for n in range(24)]
    x1, y1, x2, y2 = OTHER_BOX
    coarse = np.random.default_rng(9).integers(0, 255, (6, 6), np.uint8)
    for frame in frames:
        planes_of(frame.image).y[y1:y2, x1:x2] = np.kron(coarse, np.ones((6, 6)))[:, : x2 - x1]
    out = Bench(script, detect_every=4, lookahead=3, gate=False).run(frames)

    assert len(searched) == 1 and searched[0] < 128  # the frame of the cut, nothing before it
    hidden = [n for n, frame in enumerate(out) if hides(frame, OTHER_BOX)]
    assert hidden[:2] == [CUT, CUT + 1]


def test_the_gate_is_told_of_a_cut_and_of_the_first_frame() -> None:
    bench = Bench(of_scene_found)
    gate = bench.window._gate = Told(bench.gate)
    bench.run([of_scene(n) for n in range(24)])
    assert gate.cuts == [0, CUT]


def test_after_a_gap_the_gate_is_told_whatever_comes() -> None:
    bench = Bench(of_scene_found)
    gate = bench.window._gate = Told(bench.gate)
    frames = [of_scene(n, cut=99) for n in range(16)]
    for frame in frames[:8]:
        bench.window.add(frame)
    bench.window.flush()
    bench.run(frames[8:])
    assert gate.cuts == [0, 8]


def test_a_cut_behind_the_curtain_is_told_with_the_next_frame_that_is_shown() -> None:
    failed: list[bool] = []

    def script(call: int, item: DetectorInput) -> Detections:
        if is_dark(item) and not failed:
            failed.append(True)
            raise RuntimeError("x")
        return of_scene_found(call, item)

    bench = Bench(script)
    gate = bench.window._gate = Told(bench.gate)
    out = bench.run([of_scene(n) for n in range(24)])
    dark = [n for n, frame in enumerate(out) if frame.redacted]
    assert dark and dark[0] == CUT
    assert gate.cuts == [0, dark[-1] + 1]


def test_a_flash_uncovers_nobody_and_is_followed_by_a_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One white frame, in which nobody can be found."""

    def script(_call: int, item: DetectorInput) -> Detections:
        return found() if mean_of(item) > 240 else found(BOX)

    frames = [raw(n, still=True) for n in range(20)]
    planes_of(frames[CUT].image).y[:] = 255
    bench = Bench(script, gate=False)
    looks = looks_of(bench, monkeypatch)
    out = bench.run(frames)
    assert {CUT - 1, CUT, CUT + 1} <= set(looks)
    assert [n for n, frame in enumerate(out) if not hides(frame)] == []
