"""A camera that does not exist: a made scene, encoded in real time and served over RTSP.

`python -m pipeline.source.simulated_camera --port 8555 --size 1280x720` runs one by hand. It
listens on 127.0.0.1 only, speaks H.264 in RTP interleaved with RTSP/TCP, and refuses UDP.
As with real cameras, libavformat gives the first picture of a session no pts.
"""

import argparse
import base64
import re
import signal
import socket
import threading
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from types import TracebackType
from typing import Self
from urllib.parse import quote

import av

from .rtp_h264 import CLOCK_HZ, AccessUnit, StreamFormat, nal_type, split_nals
from .scene import Scene, stamp_timecode
from .simulated_rtsp import STREAM_PATH, ClientSession

MAX_CLIENTS = 16
ACCEPT_POLL_S = 0.2  # how soon the listening thread notices close()
FORMAT_TIMEOUT_S = 5.0  # DESCRIBE waits this long for the first encoded picture
CLOSE_TIMEOUT_S = 2.0
CRF = 20  # x264 quality: about 40 dB on the scene
_SPS, _PPS, _IDR = 7, 8, 5


def monotonic_stamp_ms(frame_index: int) -> int:
    """A `stamp` for latency measurements: the machine's monotonic clock, 32 bits of milliseconds.

    On Linux the clock is shared by all processes; the number wraps after 49 days.
    """
    del frame_index
    return time.monotonic_ns() // 1_000_000 % (1 << 32)


class SimulatedCamera:
    """Serves one scene to up to 16 clients. Started by `start()` or `with`; cannot be reopened."""

    def __init__(
        self,
        scene: Scene,
        *,
        user: str | None = None,
        password: str | None = None,
        port: int = 0,
        stamp: Callable[[int], int] | None = None,
    ) -> None:
        """Port 0 picks a free one. With a user, clients must log in (Basic).

        `stamp` gives the timecode of a frame index just before that frame is encoded. Raises
        ValueError if only one of user and password is given.
        """
        if (user is None) != (password is None):
            raise ValueError("user and password must be given together")
        self._scene = scene
        self._stamp = stamp
        self._port = port
        self._authorization = None
        if user is not None:
            token = base64.b64encode(f"{user}:{password}".encode()).decode()
            self._authorization = f"Basic {token}"
        self._fps = Fraction(scene.fps).limit_denominator(1001)
        self._listener: socket.socket | None = None
        self._threads: list[threading.Thread] = []
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._sessions: list[ClientSession] = []
        self._format: StreamFormat | None = None
        self._format_known = threading.Event()

    @property
    def url(self) -> str:
        """Where to connect, without credentials. Raises RuntimeError before the start."""
        if self._listener is None:
            raise RuntimeError("the simulated camera has no URL before start()")
        return f"rtsp://127.0.0.1:{self._port}{STREAM_PATH}"

    def url_as(self, user: str, password: str) -> str:
        """The URL with these credentials, right or wrong ones."""
        login = f"{quote(user, safe='')}:{quote(password, safe='')}"
        return self.url.replace("://", f"://{login}@", 1)

    def start(self) -> Self:
        """Bind the port and begin to encode. Raises OSError if the port is taken."""
        if self._listener is not None or self._stop.is_set():
            raise RuntimeError("a simulated camera can be started once")
        encoder = self._open_encoder()
        self._listener = socket.create_server(("127.0.0.1", self._port))
        self._listener.settimeout(ACCEPT_POLL_S)
        self._port = self._listener.getsockname()[1]
        self._threads = [
            threading.Thread(target=self._accept, args=(self._listener,), name="camera-accept"),
            threading.Thread(target=self._film, args=(encoder,), name="camera-film"),
        ]
        for thread in self._threads:
            thread.daemon = True
            thread.start()
        return self

    def close(self) -> None:
        """Disconnect every client and stop. Idempotent; returns within about a second."""
        self._stop.set()
        deadline_s = time.monotonic() + CLOSE_TIMEOUT_S
        for thread in self._threads:
            thread.join(max(0.0, deadline_s - time.monotonic()))
        sessions = self._disconnect_all()
        for session in sessions:
            session.join(max(0.0, deadline_s - time.monotonic()))

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _accept(self, listener: socket.socket) -> None:
        with listener:
            while not self._stop.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                with self._lock:
                    self._sessions = [s for s in self._sessions if not s.ended]
                    full = len(self._sessions) >= MAX_CLIENTS
                    if full:
                        connection.close()
                        continue
                    session = ClientSession(connection, self._wait_for_format, self._authorization)
                    self._sessions.append(session)
                session.start()

    def _wait_for_format(self) -> StreamFormat | None:
        self._format_known.wait(FORMAT_TIMEOUT_S)
        return self._format

    def _disconnect_all(self) -> list[ClientSession]:
        with self._lock:
            sessions = list(self._sessions)
        for session in sessions:
            session.close()
        return sessions

    def _film(self, encoder: av.VideoCodecContext) -> None:
        """Render, encode and hand out until stopped; an error ends every session."""
        started_s = time.monotonic()
        frame_index = 0
        try:
            while not self._stop.wait(started_s + frame_index / self._fps - time.monotonic()):
                self._film_frame(encoder, frame_index)
                # Late frames are left out, as a camera does: the scene keeps to the clock.
                due_index = int((time.monotonic() - started_s) * self._fps)
                frame_index = max(frame_index + 1, due_index)
        finally:
            self._stop.set()  # also after an error: no new clients, and nobody waits for a picture
            self._format_known.set()
            self._disconnect_all()

    def _film_frame(self, encoder: av.VideoCodecContext, frame_index: int) -> None:
        frame = self._scene.render(frame_index)
        frame.pts = frame_index
        captured_unix_ns = time.time_ns()
        if self._stamp is not None:
            stamp_timecode(frame, self._stamp(frame_index))
        for packet in encoder.encode(frame):
            assert packet.pts is not None, "the encoder was given a pts"
            nals = split_nals(bytes(packet))
            kinds = [nal_type(nal) for nal in nals]
            unit = AccessUnit(
                nals=tuple(nals),
                timestamp=round(packet.pts * CLOCK_HZ / self._fps),
                captured_unix_ns=captured_unix_ns,  # zerolatency: in with this frame, out with it
                is_keyframe=_IDR in kinds,
            )
            if self._format is None:
                sps, pps = nals[kinds.index(_SPS)], nals[kinds.index(_PPS)]
                self._format = StreamFormat(sps, pps, self._fps)
                self._format_known.set()
            with self._lock:
                sessions = list(self._sessions)
            for session in sessions:
                session.offer(unit)

    def _open_encoder(self) -> av.VideoCodecContext:
        encoder = av.CodecContext.create("libx264", "w")
        assert isinstance(encoder, av.VideoCodecContext)
        encoder.width, encoder.height = self._scene.width_px, self._scene.height_px
        encoder.pix_fmt = "yuv420p"
        encoder.framerate = self._fps
        encoder.time_base = 1 / self._fps
        encoder.thread_count = 1  # leaves the other cores to what is being tested
        group = max(1, round(self._fps))  # one second
        x264 = {
            "repeat-headers": 1,
            "keyint": group,
            "min-keyint": group,
            "scenecut": 0,
            "colorprim": "bt709",
            "transfer": "bt709",
            "colormatrix": "bt709",
        }
        encoder.options = {
            "preset": "ultrafast",
            "tune": "zerolatency",
            "crf": str(CRF),
            "x264-params": ":".join(f"{key}={value}" for key, value in x264.items()),
        }
        encoder.open()
        return encoder


def _size_px(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"size must look like 1280x720, got {text}")
    return int(match[1]), int(match[2])


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a camera until SIGINT or SIGTERM."""
    parser = argparse.ArgumentParser(description="Serve a made scene over RTSP on 127.0.0.1.")
    parser.add_argument("--port", type=int, default=8555, help="0 picks a free one")
    parser.add_argument("--size", type=_size_px, default=(1280, 720), help="WIDTHxHEIGHT, even")
    parser.add_argument("--fps", type=float, default=25.0)
    parser.add_argument("--faces", type=int, default=3, help="0 to 5")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--timecode", action="store_true", help="stamp the monotonic clock in milliseconds"
    )
    options = parser.parse_args(arguments)
    width_px, height_px = options.size
    try:
        scene = Scene(
            width_px=width_px,
            height_px=height_px,
            fps=options.fps,
            faces=options.faces,
            seed=options.seed,
            timecode=options.timecode,
        )
    except ValueError as error:
        parser.error(str(error))
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    stamp = monotonic_stamp_ms if options.timecode else None
    with SimulatedCamera(scene, port=options.port, stamp=stamp) as camera:
        print(camera.url, flush=True)
        stopped.wait()


if __name__ == "__main__":
    main()
