"""Destinations that stall, vanish or fill up: the others go on, and the sick one heals."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.detect.service import DetectionService
from pipeline.publish.sink import Sink, SinkState
from pipeline.session import CameraSession
from support.clips import Clip, decode_all
from support.flow import (
    PATIENCE_S,
    assert_hidden_anywhere,
    pictures_of,
    push_children,
    seconds_of,
    session_on,
    truth_service,
    wait_for,
)
from support.rtsp_server import Camera, rtsp_camera, rtsp_target, silent_server, stalling_target

STOP_S = 12.0  # "quick", on a machine that does other things too


@pytest.fixture(scope="module")
def camera(looped_clip: Clip) -> Iterator[Camera]:
    with rtsp_camera(looped_clip.path) as camera:
        yield camera


@pytest.fixture(scope="module")
def truth(looped_clip: Clip) -> Iterator[DetectionService]:
    with truth_service(looped_clip) as service:
        yield service


def sink_named(session: CameraSession, part: str) -> Sink:
    (sink,) = (sink for sink in session.sinks if part in sink.name)
    return sink


def stopped_within(session: CameraSession, seconds: float) -> None:
    asked = time.monotonic()
    session.stop(PATIENCE_S)
    assert time.monotonic() - asked < seconds
    assert push_children() == []


def recorded_frames(folder: Path) -> int:
    return sum(len(decode_all(path)) for path in sorted(folder.glob("*.mp4")))


@pytest.mark.slow
@pytest.mark.parametrize("peer", [silent_server, stalling_target], ids=["silent", "stalling"])
def test_recording_loses_nothing_while_a_push_stalls(
    peer: object, camera: Camera, truth: DetectionService, looped_clip: Clip, tmp_path: Path
) -> None:
    assert callable(peer)
    record = {"dir": str(tmp_path / "record"), "segment": 2}
    with (
        peer() as server,
        # a rich stream: what the kernel holds for a peer that does not read is full in seconds
        session_on(truth, camera.url, [server.url], record=record, encode={"crf": 2}) as session,
    ):
        push = sink_named(session, "rtsp://")
        wait_for("the push to be given up", lambda: push.state is SinkState.DOWN, 30)
        assert push.error is not None and "took nothing" in push.error
        recording = sink_named(session, "record")
        before = recording.written
        wait_for("the recording to go on", lambda: recording.written >= before + 25)
        stopped_within(session, STOP_S)
        assert recording.dropped == 0
        assert recorded_frames(tmp_path / "record") == session.counts.frames_out
    for path in (tmp_path / "record").glob("*.mp4"):
        assert_hidden_anywhere(looped_clip, pictures_of(path)[::8])


@pytest.mark.slow
def test_stop_is_quick_while_a_push_hangs(
    camera: Camera, truth: DetectionService, tmp_path: Path
) -> None:
    with (
        silent_server() as first,
        stalling_target() as second,
        session_on(truth, camera.url, [first.url, second.url]) as session,
    ):
        wait_for("frames", lambda: session.counts.frames_out > 20)
        wait_for("both to hang", lambda: first.stalled.is_set() and second.stalled.is_set())
        assert len(push_children()) >= 1
        stopped_within(session, STOP_S)


@pytest.mark.slow
def test_target_that_goes_away_and_returns_is_pushed_to_again(
    camera: Camera, truth: DetectionService, looped_clip: Clip, tmp_path: Path
) -> None:
    record = {"dir": str(tmp_path / "record"), "segment": 60}
    (tmp_path / "received").mkdir()
    with (
        rtsp_target(tmp_path / "received") as target,
        session_on(truth, camera.url, [target.url], record=record) as session,
    ):
        push, recording = sink_named(session, "rtsp://"), sink_named(session, "record")
        target.wait_for_bytes(timeout_s=PATIENCE_S)
        wait_for("two seconds of film", lambda: push.written > 50)
        target.kill()
        wait_for("the loss to be noticed", lambda: push.state is SinkState.DOWN)
        target.start()
        wait_for("the push to be up again", lambda: push.state is SinkState.UP)
        assert push.error is None
        target.wait_for_bytes(pushes=2, timeout_s=PATIENCE_S)
        again = push.written
        wait_for("two seconds of film", lambda: push.written > again + 50)
        stopped_within(session, STOP_S)
        assert recording.dropped == 0
        assert recorded_frames(tmp_path / "record") == session.counts.frames_out
        received = target.received_paths()
    assert len(received) >= 2
    for path in (received[0], received[1]):
        pictures = pictures_of(path, damaged_ok=True)
        assert len(pictures) > 35, "a push starts with a keyframe, and all of it arrives"
        assert_hidden_anywhere(looped_clip, pictures[::4])


def test_closed_port_is_a_line_not_an_end(
    camera: Camera, truth: DetectionService, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    url = "rtsp://ops:hunter2@127.0.0.1:9/live"
    out = tmp_path / "out.mkv"
    with session_on(truth, camera.url, [url, out]) as session:
        push = sink_named(session, "rtsp://")
        wait_for("the refusal", lambda: push.error is not None)
        wait_for("frames", lambda: session.counts.frames_out > 25)
        stopped_within(session, STOP_S)
        assert push.error is not None and "127.0.0.1:9" in push.error
        assert "hunter2" not in push.error and "hunter2" not in caplog.text
        assert len(decode_all(out)) == session.counts.frames_out


@contextlib.contextmanager
def small_disk(folder: Path, size: str) -> Iterator[Path]:
    folder.mkdir()
    options = ["-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    try:
        subprocess.run(["mount", *options], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as error:
        pytest.skip(f"a small disk needs the right to mount: {error}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@pytest.mark.slow
def test_full_disk_stops_the_recording_only_until_there_is_room(
    camera: Camera, truth: DetectionService, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with small_disk(tmp_path / "disk", "400k") as disk:
        ballast = disk / "ballast"
        ballast.write_bytes(b"\0" * 300_000)
        out = tmp_path / "out.mkv"
        record = {"dir": str(disk / "record"), "segment": 1}
        encode = {"crf": 10, "gop": "500ms"}
        with session_on(truth, camera.url, [out], record=record, encode=encode) as session:
            recording = sink_named(session, "record")
            wait_for("the disk to be full", lambda: recording.state is SinkState.DOWN)
            assert recording.error is not None and "disk is full" in recording.error
            full_at = session.counts.frames_out
            wait_for("the camera to go on", lambda: session.counts.frames_out > full_at + 40)
            assert recording.state is SinkState.DOWN
            files = len(list((disk / "record").glob("*.mp4")))
            assert files <= 5, "each attempt leaves an empty file"
            ballast.unlink()
            written = recording.written
            wait_for(
                "the recording to go on",
                lambda: recording.state is SinkState.UP and recording.written > written + 5,
            )
            stopped_within(session, STOP_S)
            assert len(decode_all(out)) == session.counts.frames_out
        assert "the disk is full" in caplog.text
        newest = max((disk / "record").glob("*.mp4"), key=lambda path: path.name)
        assert decode_all(newest, damaged_ok=True)


@pytest.mark.slow
def test_segments_are_cut_at_keyframes_and_join_without_a_gap(
    camera: Camera, truth: DetectionService, tmp_path: Path
) -> None:
    record = {"dir": str(tmp_path / "record"), "segment": 1}
    with session_on(truth, camera.url, record=record, encode={"gop": 0.5}) as session:
        wait_for("four seconds", lambda: session.counts.frames_out > 100)
    segments = sorted((tmp_path / "record").glob("cam_*.mp4"))
    assert len(segments) >= 4
    count = 0
    for path in segments:
        frames = decode_all(path)
        assert frames[0].key_frame
        times = [float(time) for time in seconds_of(frames)]
        steps = [b - a for a, b in itertools.pairwise(times)]
        assert all(0 < step < 0.5 for step in steps)
        assert path is segments[-1] or 0.8 < times[-1] - times[0] < 1.6
        count += len(frames)
    assert count == session.counts.frames_out


@pytest.mark.slow
def test_hls_folder_plays_while_it_is_written(
    camera: Camera, truth: DetectionService, looped_clip: Clip, tmp_path: Path
) -> None:
    folder = tmp_path / "hls"
    hls = {"dir": str(folder), "segment": 1, "keep": 3}
    playlist = folder / "index.m3u8"
    with session_on(truth, camera.url, hls=hls, encode={"gop": 1}):
        wait_for(
            "a rolling playlist",
            lambda: playlist.exists() and "segment000004" in playlist.read_text(),
        )
        text = playlist.read_text()
        named = [line for line in text.splitlines() if line.endswith(".ts")]
        assert len(named) == 3
        pictures = pictures_of(folder / Path(named[-1]).name)
        assert len(pictures) >= 15
        assert_hidden_anywhere(looped_clip, pictures[::3])
        # old segments are deleted: the playlist's own and one or two more
        assert len(list(folder.glob("*.ts"))) <= 6
    assert "#EXT-X-ENDLIST" in playlist.read_text()
