"""Real RTSP cameras to a real RTSP server and recordings; cameras that refuse, stall and die."""

from __future__ import annotations

import itertools
import json
import logging
import time
from pathlib import Path

import av
import psutil
import pytest

from pipeline.detect.service import DetectionService
from pipeline.errors import SourceError, SourceRefused, SourceTimeout
from pipeline.status import camera_status
from support.clips import Clip, decode_all, make_clip
from support.flow import (
    PATIENCE_S,
    assert_hidden_anywhere,
    bauta,
    pictures_of,
    running_bauta,
    seconds_of,
    session_on,
    truth_service,
    wait_for,
)
from support.rtsp_server import rtsp_camera, rtsp_target, silent_camera, silent_server

PASSWORD = "hunter2-geheim"


def only_recording(folder: Path) -> Path:
    (path,) = folder.glob("*.mp4")
    return path


def assert_forward(path: Path, *, longest_step: float) -> None:
    times = [float(time) for time in seconds_of(decode_all(path, damaged_ok=True))]
    steps = [b - a for a, b in itertools.pairwise(times)]
    assert min(steps) > 0 and max(steps) < longest_step


@pytest.mark.slow
def test_camera_to_target_and_recording_with_the_real_network(
    service: DetectionService, looped_clip: Clip, tmp_path: Path
) -> None:
    (tmp_path / "received").mkdir()
    record = {"dir": str(tmp_path / "record"), "segment": 60}
    with (
        rtsp_camera(looped_clip.path, user="viewer", password=PASSWORD) as camera,
        rtsp_target(tmp_path / "received", user="pub", password=PASSWORD) as target,
    ):
        began = time.monotonic()
        with session_on(service, camera.url, [target.url], record=record) as session:
            wait_for("five seconds of film", lambda: session.counts.frames_out > 125)
            took = time.monotonic() - began
            (push,) = (sink for sink in session.sinks if "rtsp" in sink.name)
            wait_for("the push", lambda: push.written > 60)
        received = target.wait_until_quiet()
    # 25 a second, no more than a busy machine loses, and no faster than time itself
    assert 125 <= session.counts.frames_in <= 25 * took + 40
    recording = only_recording(tmp_path / "record")
    assert len(decode_all(recording)) == session.counts.frames_out
    assert_forward(recording, longest_step=1.0)
    assert_hidden_anywhere(looped_clip, pictures_of(recording)[::3])
    pictures = pictures_of(received, damaged_ok=True)
    assert len(pictures) > 50
    assert_forward(received, longest_step=1.0)
    assert_hidden_anywhere(looped_clip, pictures[::3])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["mjpeg", "h265", "udp", "b frames"])
def test_other_cameras(kind: str, looped_clip: Clip, tmp_path: Path) -> None:
    clip, more = looped_clip, {}
    if kind == "h265":
        clip = make_clip(tmp_path / "hevc.mkv", codec="libx265", frames=75, enter_at=8, leave_at=70)
    if kind == "b frames":
        clip = make_clip(tmp_path / "b.mp4", bframes=2, frames=75, enter_at=8, leave_at=70)
    if kind == "udp":
        more = {"transport": "udp"}
    out = tmp_path / "out.mkv"
    with (
        rtsp_camera(clip.path, mjpeg=kind == "mjpeg") as camera,
        truth_service(clip) as service,
        session_on(service, camera.url, [out], **more) as session,
    ):
        wait_for("three seconds of film", lambda: session.counts.frames_out > 75)
        assert session.info is not None
        expected = {"mjpeg": "mjpeg", "h265": "hevc"}.get(kind, "h264")
        assert session.info.codec == expected
    pictures = pictures_of(out)
    assert len(pictures) == session.counts.frames_out
    assert_forward(out, longest_step=1.0)
    assert_hidden_anywhere(clip, pictures[::2])


@pytest.mark.slow
@pytest.mark.parametrize("audio", ["drop", "keep"])
def test_sound_of_a_camera(audio: str, tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "talk.mp4", audio=True, frames=75, enter_at=8, leave_at=70)
    out = tmp_path / "out.mkv"
    with (
        rtsp_camera(clip.path, audio=True) as camera,
        truth_service(clip) as service,
        session_on(service, camera.url, [out], audio=audio) as session,
    ):
        wait_for("three seconds of film", lambda: session.counts.frames_out > 75)
    with av.open(str(out)) as container:
        assert len(container.streams.audio) == (audio == "keep")
        if audio == "keep":
            times = [
                float(packet.pts * packet.time_base)
                for packet in container.demux(container.streams.audio[0])
                if packet.pts is not None
            ]
            assert len(times) > 100
            steps = [b - a for a, b in itertools.pairwise(times)]
            # at the start, while the encoder is opened, live frames and sound are dropped
            assert max(steps[25:]) < 0.2 and min(steps) > 0
            film = [float(time) for time in seconds_of(decode_all(out))]
            assert abs(times[0] - film[0]) < 1.0 and abs(times[-1] - film[-1]) < 1.0


@pytest.mark.slow
def test_camera_that_dies_and_returns_goes_on_in_the_same_files(
    looped_clip: Clip, tmp_path: Path
) -> None:
    (tmp_path / "received").mkdir()
    record = {"dir": str(tmp_path / "record"), "segment": 60}
    with (
        rtsp_camera(looped_clip.path) as camera,
        rtsp_target(tmp_path / "received") as target,
        truth_service(looped_clip) as service,
        session_on(service, camera.url, [target.url], record=record) as session,
    ):
        wait_for("two seconds of film", lambda: session.counts.frames_out > 50)
        camera.kill()
        wait_for("the loss to be noticed", lambda: session.counts.state == "down")
        assert session.counts.error is not None
        flushed = session.counts.frames_in
        wait_for("the last frames", lambda: session.counts.frames_out + 12 >= flushed)
        camera.start()
        wait_for("the camera to be back", lambda: session.counts.state == "up")
        again = session.counts.frames_out
        wait_for("two more seconds", lambda: session.counts.frames_out > again + 50)
        status = camera_status("cam", session)
        assert status.reconnects >= 1 and status.error is None
        session.stop(PATIENCE_S)
        received = target.received_paths()
    recording = only_recording(tmp_path / "record")
    assert len(decode_all(recording)) == session.counts.frames_out
    assert_forward(recording, longest_step=30.0)
    assert_hidden_anywhere(looped_clip, pictures_of(recording)[::2])
    assert len(received) == 1, "the push was not interrupted"
    assert_forward(received[0], longest_step=30.0)


@pytest.mark.parametrize("digest", [False, True], ids=["basic", "digest"])
def test_wrong_password_fails_in_one_line_without_it(
    digest: bool, looped_clip: Clip, tmp_path: Path
) -> None:
    with rtsp_camera(looped_clip.path, user="viewer", password="right", digest=digest) as camera:
        url = camera.url.replace("viewer:right", f"viewer:{PASSWORD}")
        done = bauta("protect", url, tmp_path / "out.mp4")
    assert done.code == 1
    assert "check user name and password" in done.error_line
    assert PASSWORD not in done.err and "viewer" not in done.err
    assert list(tmp_path.iterdir()) == []


def test_unknown_stream_of_a_camera(looped_clip: Clip, tmp_path: Path) -> None:
    with rtsp_camera(looped_clip.path) as camera:
        done = bauta("protect", camera.url_of("attic"), tmp_path / "out.mp4")
    assert done.code == 1
    assert "no stream of that name" in done.error_line


@pytest.mark.slow
def test_password_is_nowhere_to_be_read(looped_clip: Clip, tmp_path: Path) -> None:
    """Not in -v logs, status lines, the process list; not while it works and not while it fails."""
    config = tmp_path / "bauta.yaml"
    with rtsp_camera(looped_clip.path, user="viewer", password=PASSWORD) as camera:
        cameras = [
            {"id": "good", "source": camera.url, "publish": [dead_target()]},
            {"id": "bad", "source": camera.url.replace("/cam", "/attic")},
            {"id": "refused", "source": camera.url.replace("viewer:", "stranger:")},
        ]
        config.write_text(json.dumps({"console": None, "cameras": cameras}))  # JSON is YAML
        options = ("--json", "--status-every", "0.5")
        with running_bauta("-v", "run", config, *options) as run:
            wait_for("frames", lambda: (run.status("good") or {}).get("frames_out", 0) > 10)
            wait_for("the failures", lambda: (run.status("refused") or {}).get("error"))
            processes = [psutil.Process(run.process.pid)]
            processes += processes[0].children(recursive=True)
            titles = []
            for process in processes:
                try:
                    titles.append(" ".join(process.cmdline()))
                except psutil.Error:
                    continue  # a push that has just given up
            run.process.terminate()
            assert run.ended() == 0
            everything = run.out + run.err + " ".join(titles)
        with running_bauta("-v", "protect", camera.url, tmp_path / "out.mp4") as run:
            wait_for("the file", (tmp_path / "out.mp4.part").exists)
            everything += " ".join(psutil.Process(run.process.pid).cmdline())
            run.process.terminate()
            run.ended()
            everything += run.out + run.err
    assert "good" in everything and "bauta run" in everything and "bauta protect" in everything
    for secret in (PASSWORD, "hunter3", "viewer", "stranger"):
        assert secret not in everything, secret


def dead_target() -> str:
    return "rtsp://pub:hunter3@127.0.0.1:9/live"


@pytest.mark.slow
@pytest.mark.parametrize("peer", [silent_server, silent_camera], ids=["says nothing", "no video"])
def test_silent_camera_is_retried_and_stop_does_not_wait(
    peer: object, looped_clip: Clip, tmp_path: Path
) -> None:
    assert callable(peer)
    reconnect = {"first_pause": 0.1, "longest_pause": 0.2, "open_timeout": 1, "read_timeout": 1}
    with (
        peer() as server,
        truth_service(looped_clip) as service,
        session_on(service, server.url, [tmp_path / "o.mkv"], reconnect=reconnect) as session,
    ):
        wait_for("two attempts", lambda: session.counts.reconnects >= 2, 30)
        assert session.counts.error is not None
        assert "sent nothing for 1 s" in session.counts.error
        status = camera_status("cam", session)
        assert status.state in ("down", "connecting") and status.frames_out == 0
        asked = time.monotonic()
        session.stop(PATIENCE_S)
        assert time.monotonic() - asked < 5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("peer", "error", "words"),
    [
        ("silent server", SourceTimeout, "sent nothing"),
        ("closed port", SourceError, "refused"),
        ("wrong password", SourceRefused, "password"),
    ],
)
def test_without_retry_the_reason_ends_the_session(
    peer: str, error: type[SourceError], words: str, looped_clip: Clip, tmp_path: Path
) -> None:
    reconnect = {"open_timeout": 1, "read_timeout": 1}
    with (
        silent_server() as server,
        rtsp_camera(looped_clip.path, user="a", password="b") as camera,
        truth_service(looped_clip) as service,
    ):
        url = {
            "silent server": server.url,
            "closed port": "rtsp://127.0.0.1:9/cam",
            "wrong password": camera.url.replace("a:b", "a:c"),
        }[peer]
        out = tmp_path / "o.mkv"
        with (
            session_on(service, url, [out], reconnect=reconnect, retry=False) as session,
            pytest.raises(error, match=words),
        ):
            assert session.wait(PATIENCE_S), "hangs"


@pytest.mark.slow
def test_frozen_camera_is_noticed_and_its_last_frames_are_shown(
    looped_clip: Clip, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The connection stays open and nothing comes: frames in the window do not wait for more."""
    with (
        caplog.at_level(logging.INFO),
        rtsp_camera(looped_clip.path) as camera,
        truth_service(looped_clip) as service,
        session_on(service, camera.url, [tmp_path / "out.mkv"]) as session,
    ):
        wait_for("a second of film", lambda: session.counts.frames_out > 25)
        camera.freeze()
        time.sleep(1.3)
        wait_for("all frames out", lambda: session.counts.frames_out == session.counts.frames_in)
        wait_for("the silence to be noticed", lambda: session.counts.state == "down", 20)
        camera.thaw()
        wait_for("the camera to be back", lambda: session.counts.state == "up", 30)
        again = session.counts.frames_out
        wait_for("a second more", lambda: session.counts.frames_out > again + 25)
    assert_forward(tmp_path / "out.mkv", longest_step=30)
    assert_hidden_anywhere(looped_clip, pictures_of(tmp_path / "out.mkv")[::2])
