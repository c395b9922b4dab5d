from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
import pytest

from support.clips import Clip, decode_all, luma, make_clip
from support.rtsp_server import (
    RtspServerMissingError,
    rtsp_camera,
    rtsp_target,
    silent_camera,
    silent_server,
    stalling_target,
)

OPEN_TIMEOUT_S = 20.0
# FFmpeg looks at 5 s of stream by default before it hands anything out.
FAST_PROBE = {"analyzeduration": "200000"}


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    path = tmp_path_factory.mktemp("rtsp") / "cam.mp4"
    return make_clip(path, size=(320, 240), face_px=40, frames=25, bframes=2, gop=10, audio=True)


def read(url: str, frames: int, transport: str = "tcp") -> list[av.VideoFrame]:
    options = {"rtsp_transport": transport, **FAST_PROBE}
    got: list[av.VideoFrame] = []
    with av.open(url, options=options, timeout=OPEN_TIMEOUT_S) as container:
        for frame in container.decode(video=0):
            got.append(frame)
            if len(got) == frames:
                break
    return got


def pusher(source: Path, url: str, *, loop: bool = False) -> subprocess.Popen[bytes]:
    command = ["ffmpeg", "-nostdin", "-v", "error", "-re"]
    command += ["-stream_loop", "-1"] if loop else []
    command += ["-i", str(source), "-an", "-c", "copy", "-f", "rtsp", "-rtsp_transport", "tcp"]
    return subprocess.Popen([*command, url], stderr=subprocess.DEVNULL)


@contextlib.contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    try:
        yield process
    finally:
        process.kill()
        process.wait(timeout=20)


def test_the_camera_serves_the_files_own_frames_until_their_end(clip: Clip) -> None:
    with rtsp_camera(clip.path, loop=False) as camera:
        frames = read(camera.url, 1000)
    originals = decode_all(clip.path)
    assert len(frames) == len(originals)
    for sent, original in zip(frames, originals, strict=True):
        assert np.array_equal(luma(sent), luma(original))
    # The clock of the first packet is not known yet: FFmpeg has no RTCP report then.
    pts = [frame.time for frame in frames[1:] if frame.time is not None]
    np.testing.assert_allclose(pts, clip.pts[1:], rtol=0, atol=0.002)


def test_the_camera_loops_in_real_time_over_udp_with_sound(clip: Clip) -> None:
    with rtsp_camera(clip.path, audio=True) as camera:
        started_s = time.monotonic()
        frames = read(camera.url, 40, "udp")
        took_s = time.monotonic() - started_s
        with av.open(camera.url, options=FAST_PROBE, timeout=OPEN_TIMEOUT_S) as container:
            assert {stream.type for stream in container.streams} == {"video", "audio"}
    assert len(frames) == 40 > clip.frames
    assert took_s > 1.0  # 40 frames are 1.6 s, and the first ones may come in a burst
    pts = [frame.pts for frame in frames if frame.pts is not None]
    assert pts == sorted(pts)


def test_other_payloads_and_the_pattern(tmp_path: Path) -> None:
    small = {"size": (320, 240), "face_px": 40, "frames": 25}
    bare = make_clip(tmp_path / "a.265", codec="libx265", **small)  # type: ignore[arg-type]
    other = make_clip(tmp_path / "b.mkv", **small)  # type: ignore[arg-type]
    with rtsp_camera(bare.path, other.path) as camera:
        first, second = camera.urls
        assert np.array_equal(luma(read(first, 1)[0]), luma(decode_all(bare.path)[0]))
        assert np.array_equal(luma(read(second, 1)[0]), luma(decode_all(other.path)[0]))
    with rtsp_camera(other.path, mjpeg=True) as camera:
        assert read(camera.url, 3)[0].format.name == "yuvj420p"
    with rtsp_camera() as camera:
        assert len(read(camera.url, 3)) == 3


@pytest.mark.parametrize("digest", [False, True])
def test_a_wrong_password_opens_nothing(clip: Clip, digest: bool) -> None:
    with rtsp_camera(clip.path, user="ops", password="p@ss/1", digest=digest) as camera:
        assert len(read(camera.url, 2)) == 2
        for url in (camera.bare_url, camera.bare_url.replace("://", "://ops:wrong@")):
            with pytest.raises(av.HTTPUnauthorizedError):
                read(url, 1)


def test_a_killed_camera_comes_back_on_its_port(clip: Clip) -> None:
    with rtsp_camera(clip.path) as camera:
        url = camera.url
        assert len(read(url, 2)) == 2
        camera.kill()
        assert not camera.running
        with pytest.raises(av.FFmpegError):
            read(url, 1)
        camera.restart()
        assert camera.url == url
        assert len(read(url, 2)) == 2


def test_a_frozen_camera_stays_connected_and_says_nothing(clip: Clip) -> None:
    with rtsp_camera(clip.path) as camera:
        options = {"rtsp_transport": "tcp", **FAST_PROBE}
        with av.open(camera.url, options=options, timeout=(OPEN_TIMEOUT_S, 1.0)) as container:
            decoded = container.decode(video=0)
            next(decoded)
            camera.freeze()
            with pytest.raises(av.FFmpegError):
                for _ in range(1000):
                    next(decoded)
        camera.thaw()
        assert len(read(camera.url, 2)) == 2


def test_the_target_keeps_what_was_pushed(clip: Clip, tmp_path: Path) -> None:
    with rtsp_target(tmp_path) as target:
        with pytest.raises(FileNotFoundError):
            _ = target.received_path
        with ended(pusher(clip.path, target.url)) as push:
            assert push.wait(timeout=30) == 0
        received = decode_all(target.wait_until_quiet())
    originals = decode_all(clip.path)
    assert len(received) == len(originals)
    for got, original in zip(received, originals, strict=True):
        assert np.array_equal(luma(got), luma(original))


def test_a_killed_target_leaves_a_readable_file_and_comes_back(clip: Clip, tmp_path: Path) -> None:
    with rtsp_target(tmp_path, user="pub", password="secret") as target:
        url = target.url
        with ended(pusher(clip.path, url, loop=True)) as push:
            first = target.wait_for_bytes(30_000)
            target.kill()
            assert push.wait(timeout=30) != 0
        assert decode_all(first, damaged_ok=True)
        target.restart()
        assert target.url == url
        with ended(pusher(clip.path, target.bare_url)) as push:
            assert push.wait(timeout=30) != 0  # no login
        with ended(pusher(clip.path, url, loop=True)):
            second = target.wait_for_bytes(30_000, pushes=2)
        assert second == target.received_path != first
        assert decode_all(second, damaged_ok=True)


def test_the_silent_server_accepts_and_never_answers() -> None:
    with silent_server() as peer:
        with socket.create_connection(("127.0.0.1", peer.port), timeout=5) as connection:
            connection.sendall(b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n")
            connection.settimeout(0.5)
            with pytest.raises(TimeoutError):
                connection.recv(1)
        assert peer.connected.is_set()


@pytest.mark.parametrize("transport", ["tcp", "udp"])
def test_the_silent_camera_plays_and_sends_nothing(transport: str) -> None:
    with silent_camera() as peer:
        options = {"rtsp_transport": transport}
        # Opening may succeed, for the SDP tells enough; reading cannot.
        with (
            pytest.raises(av.FFmpegError),
            av.open(peer.url, options=options, timeout=1.0) as container,
        ):
            next(container.decode(video=0))
        assert peer.requests[:4] == ["OPTIONS", "DESCRIBE", "SETUP", "PLAY"]
        assert peer.stalled.is_set()


def test_the_stalling_target_blocks_its_publisher(clip: Clip) -> None:
    with stalling_target() as peer, ended(pusher(clip.path, peer.url, loop=True)) as push:
        assert peer.stalled.wait(timeout=20)
        assert peer.requests == ["OPTIONS", "ANNOUNCE", "SETUP", "RECORD"]
        time.sleep(0.5)
        assert push.poll() is None
    with (
        stalling_target() as peer,
        socket.create_connection(("127.0.0.1", peer.port), timeout=5) as connection,
    ):
        connection.sendall(b"RECORD rtsp://x/live RTSP/1.0\r\nCSeq: 1\r\n\r\n")
        assert peer.stalled.wait(timeout=20)
        connection.settimeout(1.0)
        with pytest.raises(TimeoutError):
            for _ in range(10_000):
                connection.sendall(bytes(65536))


def test_no_process_outlives_a_failing_test(clip: Clip) -> None:
    seen = 0
    with pytest.raises(ZeroDivisionError), rtsp_camera(clip.path) as camera:
        seen = camera.pid
        raise ZeroDivisionError
    with pytest.raises(ProcessLookupError):
        os.kill(seen, 0)


def test_missing_parts_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("support.rtsp_server.SYSTEM_PYTHON", str(tmp_path / "python3"))
    with pytest.raises(RtspServerMissingError, match="apt-get install python3-gi"), rtsp_camera():
        pass


def test_a_file_without_video_is_an_error_not_a_hang(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"no box in here")
    with (
        pytest.raises(RuntimeError, match=r"no H\.264, H\.265 or JPEG"),
        rtsp_camera(tmp_path / "a.mp4"),
    ):
        pass
