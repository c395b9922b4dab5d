"""A detector that raises, hangs or lies: frames fall to the curtain, never to clear faces."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from pipeline.compose import gate as gate_module
from pipeline.detect.service import DetectionService
from pipeline.frames import Detections
from pipeline.protect import choose as choose_module
from support.clips import Clip, make_clip
from support.flow import (
    Fault,
    assert_hidden_anywhere,
    assert_no_face,
    detections,
    pictures_of,
    run_file,
    session_on,
    truth_service,
    wait_for,
)
from support.rtsp_server import rtsp_camera

HANG_S = 30.0


@pytest.fixture
def release() -> Iterator[threading.Event]:
    """Set at the end, so that hung detectors end with their test."""
    event = threading.Event()
    yield event
    event.set()


def raise_in(*runs: int) -> Fault:
    def fault(run: int, found: list[Detections]) -> list[Detections]:
        if run in runs:
            raise RuntimeError("the network broke")
        return found

    return fault


def test_without_a_fault_nothing_falls(clip: Clip, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    with truth_service(clip) as service:
        session = run_file(service, clip, out)
    assert assert_no_face(clip, out) == []
    assert session.counts.face_frames == clip.frames and not session.gate.redactions


@pytest.mark.parametrize("run", [0, 1, 2, 5, 8, 11, 12])
def test_one_failed_run_costs_its_neighbourhood_only(run: int, clip: Clip, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    with truth_service(clip, raise_in(run)) as service:
        session = run_file(service, clip, out)
        assert service.counts.failures == 1
    fallen = assert_no_face(clip, out, curtains="some")
    assert session.gate.redactions == {"the detector raised RuntimeError": len(fallen)}
    # from the answer before to the one after: at most two intervals of 4
    assert 1 <= len(fallen) <= 8
    assert fallen == list(range(fallen[0], fallen[-1] + 1))


@pytest.mark.parametrize("runs", [(0, 1), (3, 5, 7), tuple(range(4, 9))])
def test_several_failed_runs(runs: tuple[int, ...], clip: Clip, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    with truth_service(clip, raise_in(*runs)) as service:
        session = run_file(service, clip, out)
    fallen = assert_no_face(clip, out, curtains="some")
    assert 0 < len(fallen) < clip.frames
    assert sum(session.gate.redactions.values()) == len(fallen)


def test_detector_that_always_raises_shows_nothing_at_all(clip: Clip, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    with truth_service(clip, raise_in(*range(1000))) as service:
        session = run_file(service, clip, out)
    assert len(assert_no_face(clip, out, curtains="some")) == clip.frames
    assert session.counts.frames_out == clip.frames


def test_hang_is_cut_off_and_the_rest_goes_on(
    clip: Clip, tmp_path: Path, release: threading.Event
) -> None:
    def hang_once(run: int, found: list[Detections]) -> list[Detections]:
        if run == 4:
            release.wait(HANG_S)
        return found

    out = tmp_path / "out.mkv"
    with truth_service(clip, hang_once, timeout_s=1.0) as service:
        session = run_file(service, clip, out, detector={"timeout": 1.0})
        assert service.counts.restarts == 1
    fallen = assert_no_face(clip, out, curtains="some")
    # the looks that waited behind the hung one may have been too late as well
    assert 1 <= len(fallen) <= 24
    assert set(session.gate.redactions) == {"the detector did not answer in time"}


@pytest.mark.slow
@pytest.mark.untimed
def test_detector_that_hangs_for_ever_ends_in_curtains_not_in_waiting(
    tmp_path: Path, release: threading.Event
) -> None:
    clip = make_clip(tmp_path / "short.mp4", frames=16)

    def hang(_: int, found: list[Detections]) -> list[Detections]:
        release.wait(HANG_S)
        return found

    out = tmp_path / "out.mkv"
    with truth_service(clip, hang, timeout_s=0.3) as service:
        run_file(service, clip, out, detector={"timeout": 0.3})
    assert len(assert_no_face(clip, out, curtains="some")) == 16


def test_late_answer_of_a_replaced_detector_is_ignored(
    clip: Clip, tmp_path: Path, release: threading.Event
) -> None:
    """It comes back with an empty answer after its frames have gone: nobody may believe it."""

    def late(run: int, found: list[Detections]) -> list[Detections]:
        if run == 3:
            release.wait(1.3)
            return [Detections.empty() for _ in found]
        return found

    out = tmp_path / "out.mkv"
    with truth_service(clip, late, timeout_s=1.0) as service:
        run_file(service, clip, out, detector={"timeout": 1.0})
    assert assert_no_face(clip, out, curtains="some")


@pytest.mark.slow
def test_detector_that_cannot_be_reopened_at_once_is_tried_again(
    clip: Clip, tmp_path: Path, release: threading.Event
) -> None:
    from support.flow import TruthDetector

    opened = iter(range(1000))
    runs = iter(range(1000))

    def hang_once(run: int, found: list[Detections]) -> list[Detections]:
        if run == 2:
            release.wait(HANG_S)
        return found

    def open_detector() -> TruthDetector:
        if next(opened) in (1, 2):
            raise RuntimeError("no memory for a second network just now")
        return TruthDetector(clip, hang_once, runs)

    out = tmp_path / "out.mkv"
    service = DetectionService(open_detector, batch=1, timeout_seconds=0.5)
    try:
        run_file(service, clip, out, detector={"timeout": 0.5})
        assert_no_face(clip, out, curtains="some")
        again = tmp_path / "again.mkv"
        time.sleep(3.0)  # the pauses before it is tried again add up to 2.5 s
        run_file(service, clip, again, detector={"timeout": 0.5})
        assert assert_no_face(clip, again, curtains="some") == [], "the detector never came back"
    finally:
        service.close()


Lie = Callable[[list[Detections]], list[Detections]]


def with_box(*box: float) -> Lie:
    def lie(found: list[Detections]) -> list[Detections]:
        extra = np.array([box], np.float32)
        return [detections(np.concatenate([one.box_xyxy_px, extra])) for one in found]

    return lie


LIES: dict[str, Lie] = {
    "far to the left": with_box(-500, -500, -400, -400),
    "far to the right": with_box(10_000, 10_000, 10_100, 10_100),
    "over the edge": with_box(600, 300, 900, 700),
    "inside out": with_box(300, 200, 100, 50),
    "no area": with_box(50, 50, 50, 50),
    "the whole picture": with_box(0, 0, 640, 360),
    "twenty pictures wide": with_box(-6_000, -6_000, 7_000, 7_000),
    "a million pixels wide": with_box(-1e6, -1e6, 1e6, 1e6),
    "beyond integers": with_box(-1e30, -1e30, 1e30, 1e30),
}


@pytest.mark.parametrize("name", LIES)
def test_absurd_boxes_neither_crash_nor_uncover(name: str, clip: Clip, tmp_path: Path) -> None:
    out = tmp_path / "out.mkv"
    with truth_service(clip, lambda run, found: LIES[name](found)) as service:
        session = run_file(service, clip, out)
    assert session.counts.frames_out == clip.frames
    # what is covered over and over has no background to keep
    pictures = pictures_of(out)
    assert len(pictures) == clip.frames
    assert_hidden_anywhere(clip, pictures[::5])


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_boxes_that_are_no_numbers_bring_the_curtain(
    value: float, clip: Clip, tmp_path: Path
) -> None:
    out = tmp_path / "out.mkv"

    def lie(run: int, found: list[Detections]) -> list[Detections]:
        return with_box(0, 0, value, 9)(found) if run == 4 else found

    with truth_service(clip, lie) as service:
        session = run_file(service, clip, out)
    assert 1 <= len(assert_no_face(clip, out, curtains="some")) <= 8
    assert set(session.gate.redactions) == {"the detector raised ShapeError"}


@pytest.mark.parametrize("change", [-1, 1])
def test_wrong_number_of_answers_brings_the_curtain(
    change: int, clip: Clip, tmp_path: Path
) -> None:
    def miscount(run: int, found: list[Detections]) -> list[Detections]:
        if run != 4:
            return found
        return found[:-1] if change < 0 else [*found, Detections.empty()]

    out = tmp_path / "out.mkv"
    with truth_service(clip, miscount) as service:
        run_file(service, clip, out)
    assert 1 <= len(assert_no_face(clip, out, curtains="some")) <= 8


@pytest.mark.parametrize("place", ["obfuscate", "write_patch", "_check_covered"])
def test_protection_that_breaks_brings_the_curtain(
    place: str, clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`write_patch` breaks after it has written half: not even that may go out."""
    module = choose_module if place == "obfuscate" else gate_module
    real = getattr(module, place)
    calls = iter(range(10_000))

    def broken(*arguments: object) -> object:
        result = real(*arguments)
        if next(calls) % 3 == 1:
            raise ValueError("broken")
        return result

    monkeypatch.setattr(module, place, broken)
    out = tmp_path / "out.mkv"
    with truth_service(clip) as service:
        session = run_file(service, clip, out)
    fallen = assert_no_face(clip, out, curtains="some")
    assert fallen == list(range(1, clip.frames, 3))
    (reason,) = session.gate.redactions
    assert "ValueError" in reason


def test_obfuscation_that_forgets_to_hide_is_caught_by_the_gate(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(choose_module, "region_of", lambda *_, **__: None)
    out = tmp_path / "out.mkv"
    with truth_service(clip) as service:
        session = run_file(service, clip, out)
    assert session.gate.redactions == {"a face has no patch": clip.frames}
    assert len(assert_no_face(clip, out, curtains="some")) == clip.frames


LIVE_FAULTS = ("raises now and then", "always raises", "hangs once")


@pytest.mark.slow
@pytest.mark.parametrize("name", LIVE_FAULTS)
def test_live_camera_goes_on_through_detector_faults(
    name: str, looped_clip: Clip, tmp_path: Path, release: threading.Event
) -> None:
    def fault(run: int, found: list[Detections]) -> list[Detections]:
        if name == "always raises" or (name == "raises now and then" and run % 3 == 1):
            raise RuntimeError("the network broke")
        if name == "hangs once" and run == 4:
            release.wait(HANG_S)
        return found

    out = tmp_path / "out.mkv"
    with (
        rtsp_camera(looped_clip.path) as camera,
        truth_service(looped_clip, fault, timeout_s=0.5) as service,
        session_on(service, camera.url, [out], detector={"timeout": 0.5}) as session,
    ):
        wait_for("four seconds of film", lambda: session.counts.frames_out > 100)
        redactions = session.redactions()
    pictures = pictures_of(out)
    assert len(pictures) >= 100
    assert_hidden_anywhere(looped_clip, pictures[::2])
    assert sum(redactions.values()) >= 1
    if name == "always raises":
        assert set(redactions) == {"the detector raised RuntimeError"}
        assert sum(redactions.values()) >= 100
    if name == "hangs once":
        assert service.counts.restarts == 1
