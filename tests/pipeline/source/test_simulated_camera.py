"""The camera is opened the way a real one is: by FFmpeg, and by hand-written RTSP."""

import base64
import itertools
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction

import av
import numpy as np
import pytest

from pipeline.source.rtp_h264 import AccessUnit, StreamFormat
from pipeline.source.scene import Scene, plane_view, read_timecode
from pipeline.source.simulated_camera import SimulatedCamera, main, monotonic_stamp_ms
from pipeline.source.simulated_rtsp import QUEUE_FRAMES, ClientSession

FPS = 25
OPEN_READ_TIMEOUT_S = (5.0, 5.0)


@pytest.fixture(scope="module")
def scene() -> Scene:
    return Scene(width_px=640, height_px=360, fps=FPS, faces=2, seed=3, timecode=True)


@pytest.fixture(scope="module")
def camera(scene: Scene) -> Iterator[SimulatedCamera]:
    with SimulatedCamera(scene) as camera:
        yield camera


def decode(url: str, count: int) -> list[av.VideoFrame]:
    options = {"rtsp_transport": "tcp"}
    with av.open(url, options=options, timeout=OPEN_READ_TIMEOUT_S) as container:
        return list(itertools.islice(container.decode(video=0), count))


@pytest.fixture(scope="module")
def frames(camera: SimulatedCamera) -> list[av.VideoFrame]:
    return decode(camera.url, 36)


class RtspClient:
    """Just enough RTSP to ask one question at a time."""

    def __init__(self, url: str, receive_buffer_bytes: int | None = None) -> None:
        self.url = url
        host, port = url.split("/")[2].split(":")
        self.connection = socket.socket()
        if receive_buffer_bytes is not None:
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.connection.settimeout(5.0)
        self.connection.connect((host, int(port)))
        self._stream = self.connection.makefile("rb")
        self._sequence = 0

    def __enter__(self) -> "RtspClient":
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.close()
        self.connection.close()

    def ask(self, method: str, url: str | None = None, **headers: str) -> tuple[int, str]:
        """(status, everything after the status line); skips pictures before the reply."""
        self._sequence += 1
        lines = [f"{method} {url or self.url} RTSP/1.0", f"CSeq: {self._sequence}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        self.connection.sendall("\r\n".join([*lines, "", ""]).encode())
        status, reply = self.reply()
        assert f"CSeq: {self._sequence}\r\n" in reply
        return status, reply

    def reply(self) -> tuple[int, str]:
        first = self._stream.read(1)
        while first == b"$":
            self._stream.read(int.from_bytes(self._stream.read(3)[1:], "big"))
            first = self._stream.read(1)
        status = int((first + self._stream.readline()).split()[1])
        lines = []
        while (line := self._stream.readline()) != b"\r\n":
            lines.append(line.decode())
        length = [int(line.split(":")[1]) for line in lines if line.startswith("Content-Length")]
        return status, "".join(lines) + self._stream.read(sum(length)).decode()

    def play(self) -> None:
        transport = "RTP/AVP/TCP;unicast;interleaved=0-1"
        assert self.ask("SETUP", self.url + "/track0", Transport=transport)[0] == 200
        assert self.ask("PLAY")[0] == 200

    def packet(self) -> tuple[int, bytes]:
        """The next interleaved packet and its channel. Raises EOFError at the end."""
        header = self._stream.read(4)
        if len(header) < 4:
            raise EOFError
        marker, channel, length = struct.unpack(">cBH", header)
        assert marker == b"$"
        return channel, self._stream.read(length)


def test_pts_increase_by_whole_frames(frames: list[av.VideoFrame]) -> None:
    assert frames[0].key_frame
    # libavformat leaves the very first H.264 picture of an RTSP session without a time.
    times_seconds = [frame.time for frame in frames[1:] if frame.pts is not None]
    assert len(times_seconds) == 35
    steps = np.diff(times_seconds) * FPS
    assert steps.min() > 0.99
    np.testing.assert_allclose(steps, np.rint(steps), atol=0.01)  # a late frame is left out
    assert np.median(steps) == pytest.approx(1.0, abs=0.01)


def test_pts_are_those_of_the_scene(frames: list[av.VideoFrame]) -> None:
    """Where frames were left out, time and timecode jump together."""
    indexes = [read_timecode(plane_view(frame, 0)) or 0 for frame in frames[1:]]
    times_seconds = [frame.time for frame in frames[1:]]

    np.testing.assert_allclose(np.diff(times_seconds) * FPS, np.diff(indexes), atol=0.01)


def test_pixels_are_those_of_the_scene(frames: list[av.VideoFrame], scene: Scene) -> None:
    for frame in frames[::7]:
        index = read_timecode(plane_view(frame, 0))
        assert index is not None
        assert (frame.colorspace, frame.color_range) == (1, 1)  # BT.709, limited
        truth = scene.render(index)
        for plane in range(3):
            error = plane_view(frame, plane).astype(float) - plane_view(truth, plane)
            psnr_db = 10 * np.log10(255**2 / np.mean(error**2))
            assert psnr_db > 30, f"plane {plane} of frame {index}"


def test_the_monotonic_stamp_is_the_clock() -> None:
    before = time.monotonic_ns() // 1_000_000 % (1 << 32)
    assert 0 <= (monotonic_stamp_ms(0) - before) % (1 << 32) < 60_000


def test_a_camera_with_a_password_and_a_stamp(scene: Scene) -> None:
    stamp = (1_000_000).__add__
    with SimulatedCamera(scene, user="ops", password="pa:ss/wörd@", stamp=stamp) as camera:
        decoded = decode(camera.url_as("ops", "pa:ss/wörd@"), 3)
        for url in (camera.url, camera.url_as("ops", "wrong"), camera.url_as("", "")):
            with pytest.raises(av.FFmpegError):
                decode(url, 1)
        with RtspClient(camera.url) as client:
            assert client.ask("OPTIONS")[0] == 200
            status, reply = client.ask("DESCRIBE")
            assert status == 401
            assert "WWW-Authenticate: Basic realm=" in reply
            token = base64.b64encode("ops:pa:ss/wörd@".encode()).decode()
            assert client.ask("DESCRIBE", Authorization=f"Basic {token}")[0] == 200
        assert "pa:ss" not in camera.url + repr(camera)
    values = [read_timecode(plane_view(frame, 0)) or 0 for frame in decoded]
    assert 1_000_000 <= values[0] < values[1] < values[2]  # the camera's stamp, not the scene's


def test_two_clients_see_the_same_stream(camera: SimulatedCamera) -> None:
    seen: dict[str, list[int | None]] = {}

    def watch(name: str) -> None:
        seen[name] = [read_timecode(plane_view(f, 0)) for f in decode(camera.url, 20)]

    threads = [threading.Thread(target=watch, args=(name,)) for name in ("first", "second")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert len(seen["first"]) == len(seen["second"]) == 20
    assert set(seen["first"]) & set(seen["second"])


def test_a_client_that_stops_reading_stalls_nobody(camera: SimulatedCamera) -> None:
    with RtspClient(camera.url, receive_buffer_bytes=4096) as stuck:
        stuck.play()
        assert len(decode(camera.url, 30)) == 30


def test_the_dialogue(camera: SimulatedCamera) -> None:
    tcp = "RTP/AVP/TCP;unicast;interleaved=4-5"
    with RtspClient(camera.url) as client:
        status, reply = client.ask("DESCRIBE", Accept="application/sdp")
        assert status == 200
        assert "sprop-parameter-sets=Z" in reply  # 0x67, a sequence parameter set, in base64
        assert "packetization-mode=1" in reply
        assert client.ask("DESCRIBE", camera.url.replace("live", "other"))[0] == 404
        assert client.ask("RECORD")[0] == 405
        assert client.ask("PLAY")[0] == 455  # before SETUP
        assert client.ask("SETUP", Transport="RTP/AVP;unicast;client_port=5000-5001")[0] == 461
        status, reply = client.ask("SETUP", Transport=f"RTP/AVP;client_port=5000-5001,{tcp}")
        assert status == 200
        assert "interleaved=4-5" in reply
        session = reply.split("Session: ")[1].split(";")[0]
        assert client.ask("PLAY", Session="another")[0] == 454
        assert client.ask("PLAY", Session=session)[0] == 200
        assert client.ask("GET_PARAMETER", Session=session)[0] == 200
        client.connection.sendall(b"$\x05\x00\x04abcd")  # a receiver report is read and ignored
        assert client.ask("SETUP", Transport=tcp)[0] == 455  # while playing
        assert client.ask("TEARDOWN", Session=session)[0] == 200


@pytest.mark.parametrize(
    "nonsense",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        b"OPTIONS * RTSP/1.0\r\n\r\n",  # without CSeq
        b"OPTIONS * RTSP/1.0\r\nCSeq: 1\r\nContent-Length: 99999999\r\n\r\n",
        b"x" * 20_000,
    ],
)
def test_nonsense_is_answered_and_cut_off(camera: SimulatedCamera, nonsense: bytes) -> None:
    with RtspClient(camera.url) as client:
        client.connection.sendall(nonsense)
        assert client.reply()[0] == 400


def test_the_first_picture_is_a_keyframe_and_dated(camera: SimulatedCamera) -> None:
    with RtspClient(camera.url) as client:
        client.play()
        channel, report = client.packet()
        assert (channel, report[1]) == (1, 200)  # an RTCP sender report
        ntp_seconds, ntp_fraction, report_timestamp = struct.unpack(">III", report[8:20])
        captured_unix = ntp_seconds - 2_208_988_800 + ntp_fraction / (1 << 32)
        assert abs(time.time() - captured_unix) < 30
        channel, packet = client.packet()

    assert channel == 0
    assert packet[12] & 31 in (6, 7)  # SEI or a sequence parameter set: begins a keyframe
    assert struct.unpack(">I", packet[4:8])[0] == report_timestamp


@contextmanager
def lone_session() -> Iterator[tuple[ClientSession, RtspClient]]:
    """A session and its client, with nothing filming."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"rtsp://127.0.0.1:{listener.getsockname()[1]}/live"
        with RtspClient(url, receive_buffer_bytes=4096) as client:
            connection, _ = listener.accept()
            stream_format = StreamFormat(b"\x67\x42\xc0\x1e", b"\x68\x01", Fraction(FPS))
            session = ClientSession(connection, lambda: stream_format, None)
            session.start()
            try:
                yield session, client
            finally:
                session.close()
                session.join(5)


def test_a_full_queue_is_dropped_to_the_next_keyframe() -> None:
    group, total = 10, 8 * QUEUE_FRAMES + 1
    with lone_session() as (session, client):
        client.play()
        for index in range(total):  # nobody reads meanwhile
            nal = bytes([0x65 if index % group == 0 else 0x41]) + b"\x55" * 20_000
            session.offer(AccessUnit((nal,), index, 0, index % group == 0))
            if index == 0:
                client.packet()  # the report: the first picture is on its way
        seen: list[int] = []
        # The last one begins a group: it is always kept, and read last.
        while not seen or seen[-1] != total - 1:
            channel, packet = client.packet()
            if channel == 0 and packet[1] & 0x80:  # the marker: a whole picture is here
                seen.append(struct.unpack(">I", packet[4:8])[0])

    assert seen[0] == 0
    assert len(seen) < total - QUEUE_FRAMES
    for before, after in itertools.pairwise(seen):
        assert after == before + 1 or after % group == 0


def test_a_client_that_takes_nothing_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.source.simulated_rtsp.SEND_TIMEOUT_S", 0.2)
    with lone_session() as (session, client):
        client.play()
        deadline = time.monotonic() + 20
        while not session.ended and time.monotonic() < deadline:
            session.offer(AccessUnit((b"\x65" * 500_000,), 0, 0, True))
            time.sleep(0.01)
        assert session.ended


def test_a_session_waits_for_a_keyframe() -> None:
    with lone_session() as (session, client):
        session.offer(AccessUnit((b"\x65\x01",), 0, 0, True))  # before PLAY: not for this client
        client.play()
        session.offer(AccessUnit((b"\x41\x01",), 1, 0, False))
        session.offer(AccessUnit((b"\x65\x01",), 2, 0, True))
        client.packet()  # the sender report
        _, packet = client.packet()

    assert struct.unpack(">I", packet[4:8])[0] == 2


def test_close_is_quick_and_idempotent_with_clients_in_every_state(scene: Scene) -> None:
    before = set(threading.enumerate())
    camera = SimulatedCamera(scene).start()
    url = camera.url
    with (
        RtspClient(url),
        RtspClient(url, receive_buffer_bytes=4096) as stuck,
        RtspClient(url) as described,
    ):
        stuck.play()
        described.ask("DESCRIBE")
        started = time.monotonic()
        camera.close()
        assert time.monotonic() - started < 10  # no thread waited for its send timeout twice over
        camera.close()
        assert set(threading.enumerate()) <= before
    with pytest.raises(av.FFmpegError):
        decode(url, 1)
    with pytest.raises(RuntimeError, match="once"):
        camera.start()


def test_use_before_start_and_half_a_login(scene: Scene) -> None:
    with pytest.raises(RuntimeError, match="before start"):
        _ = SimulatedCamera(scene).url
    with pytest.raises(ValueError, match="together"):
        SimulatedCamera(scene, user="ops")


def test_close_without_start(scene: Scene) -> None:
    SimulatedCamera(scene).close()


def test_a_taken_port_is_an_error(camera: SimulatedCamera, scene: Scene) -> None:
    port = int(camera.url.split(":")[2].split("/")[0])
    with pytest.raises(OSError, match="in use"), SimulatedCamera(scene, port=port):
        pass


def test_command_line_serves_until_told_to_stop() -> None:
    command = [sys.executable, "-m", "pipeline.source.simulated_camera", "--port", "0"]
    with subprocess.Popen(
        [*command, "--size", "640x360", "--faces", "1", "--timecode"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ,
    ) as process:
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            (frame,) = decode(url, 1)
        finally:
            process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    stamped_ms = read_timecode(plane_view(frame, 0))
    assert stamped_ms is not None
    assert 0 <= (monotonic_stamp_ms(0) - stamped_ms) % (1 << 32) < 60_000


@pytest.mark.parametrize("wrong", [["--size", "big"], ["--size", "641x360"], ["--faces", "9"]])
def test_command_line_refuses(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as failure:
        main(wrong)
    assert failure.value.code == 2
    assert "must" in capsys.readouterr().err
