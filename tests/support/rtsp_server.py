"""RTSP peers for tests: a real camera, a real publishing target, and three that misbehave.

Everything listens on 127.0.0.1 only and is gone when its `with` block ends, however it ends.
"""

from __future__ import annotations

import base64
import contextlib
import os
import select
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import IO, Literal
from urllib.parse import quote

import av

SYSTEM_PYTHON = "/usr/bin/python3"
SERVER_SCRIPT = Path(__file__).with_name("gst_rtsp_server.py")
START_TIMEOUT_S = 60.0  # GStreamer's first start scans its plugins; the machine may be busy
MISSING_PARTS_EXIT = 3
INSTALL_LINE = (
    "apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good"
    " gstreamer1.0-plugins-bad gstreamer1.0-plugins-ugly gstreamer1.0-libav"
)


class RtspServerMissingError(RuntimeError):
    """The machine lacks the parts of the real RTSP server; the message says how to get them."""


class ServerProcess:
    """One run of gst_rtsp_server.py; the port stays the same over a restart."""

    def __init__(
        self, arguments: Sequence[str], *, user: str | None, password: str, mount: str
    ) -> None:
        self._arguments = list(arguments)
        self._login = f"{quote(user, safe='')}:{quote(password, safe='')}@" if user else ""
        self._mount = mount
        self._process: subprocess.Popen[bytes] | None = None
        self._errors: IO[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """With the login, where there is one."""
        return self.url_of(self._mount)

    @property
    def bare_url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/{self._mount}"

    def url_of(self, mount: str) -> str:
        return f"rtsp://{self._login}127.0.0.1:{self.port}/{mount}"

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        if self._process is None:
            raise RuntimeError("the server does not run")
        return self._process.pid

    def start(self) -> None:
        if self.running:
            raise RuntimeError("the server already runs: kill() it first, or use restart()")
        # Not a `with`: it outlives this call, and kill() closes it.
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115
        command = [SYSTEM_PYTHON, str(SERVER_SCRIPT), *self._arguments, "--port", str(self.port)]
        try:
            # A session of its own, so that one killpg reaches all of it. Its standard input is a
            # pipe that closes with us: it ends even when this process is killed.
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._errors,
                start_new_session=True,
            )
        except FileNotFoundError as error:
            self._errors.close()
            raise RtspServerMissingError(f"{SYSTEM_PYTHON} is needed: {INSTALL_LINE}") from error
        try:
            self.port = self._wait_until_ready(self._process)
        except BaseException:
            self.kill()
            raise

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> int:
        assert process.stdout is not None
        deadline_s = time.monotonic() + START_TIMEOUT_S
        said = b""
        while b"\n" not in said:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0:
                raise RuntimeError(f"no READY within {START_TIMEOUT_S} s: {self.error_text()}")
            readable, _, _ = select.select([process.stdout], [], [], left_s)
            if not readable:
                continue
            chunk = os.read(process.stdout.fileno(), 4096)
            if not chunk:
                code = process.wait(timeout=10)
                if code == MISSING_PARTS_EXIT:
                    raise RtspServerMissingError(
                        f"{SYSTEM_PYTHON} lacks GStreamer's RTSP server, run: {INSTALL_LINE}"
                        f" ({self.error_text()})"
                    )
                raise RuntimeError(f"the RTSP server ended with {code}: {self.error_text()}")
            said += chunk
        word, port = said.split(b"\n")[0].split()
        assert word == b"READY", said
        return int(port)

    def error_text(self) -> str:
        """What the server has written to its standard error so far."""
        if self._errors is None or self._errors.closed:
            return ""
        # pread: the server writes at the same file's offset, which a seek of ours would move.
        return os.pread(self._errors.fileno(), 20_000, 0).decode(errors="replace").strip()

    def kill(self) -> None:
        """SIGKILL: the sockets close, nobody says goodbye. Harmless when already dead."""
        process, self._process = self._process, None
        if process is None:
            return
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=30)
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                pipe.close()
        if self._errors is not None:
            self._errors.close()

    def restart(self) -> None:
        """Kills it if it still runs and starts it again on the same port."""
        self.kill()
        self.start()

    def freeze(self) -> None:
        """SIGSTOP: connections stay open and nothing moves any more, until `thaw`."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        os.killpg(self.pid, number)


class Camera(ServerProcess):
    """A served camera; `url` is the first file's, `urls` has one per file."""

    def __init__(
        self, arguments: Sequence[str], *, user: str | None, password: str, files: int
    ) -> None:
        super().__init__(arguments, user=user, password=password, mount="cam")
        self._files = max(1, files)

    @property
    def urls(self) -> list[str]:
        mounts = ["cam", *(f"cam{number}" for number in range(2, self._files + 1))]
        return [self.url_of(mount) for mount in mounts]


class Target(ServerProcess):
    """A publishing target; every push it accepts goes to a new numbered file."""

    def __init__(
        self,
        arguments: Sequence[str],
        *,
        user: str | None,
        password: str,
        out_dir: Path,
        names: Sequence[str],
    ) -> None:
        super().__init__(arguments, user=user, password=password, mount=names[0])
        self._out_dir = out_dir

    def received_paths(self, name: str | None = None) -> list[Path]:
        """One file per push, oldest first."""
        return sorted(self._out_dir.glob(f"{name or self._mount}-*"))

    @property
    def received_path(self) -> Path:
        """The newest push of the first mount."""
        paths = self.received_paths()
        if not paths:
            raise FileNotFoundError(f"nothing was pushed to {self.bare_url} yet")
        return paths[-1]

    def wait_for_bytes(self, least: int = 1, *, pushes: int = 1, timeout_s: float = 20.0) -> Path:
        """Returns the file once the `pushes`-th push has written `least` bytes."""
        deadline_s = time.monotonic() + timeout_s
        while time.monotonic() < deadline_s:
            paths = self.received_paths()
            if len(paths) >= pushes and paths[pushes - 1].stat().st_size >= least:
                return paths[pushes - 1]
            time.sleep(0.05)
        raise TimeoutError(f"no push {pushes} of {least} bytes in {timeout_s} s: {self.bare_url}")

    def wait_until_quiet(self, quiet_s: float = 1.0, *, timeout_s: float = 20.0) -> Path:
        """Returns the newest file once it has stopped growing for `quiet_s`."""
        path, deadline_s = self.wait_for_bytes(timeout_s=timeout_s), time.monotonic() + timeout_s
        size, since_s = -1, time.monotonic()
        while time.monotonic() < deadline_s:
            path = self.received_path
            if (now := path.stat().st_size) != size:
                size, since_s = now, time.monotonic()
            elif time.monotonic() - since_s >= quiet_s:
                return path
            time.sleep(0.05)
        raise TimeoutError(f"{path.name} still grows after {timeout_s} s")


@contextlib.contextmanager
def rtsp_camera(
    *files: Path,
    loop: bool = True,
    audio: bool = False,
    mjpeg: bool = False,
    fps: float = 25.0,
    user: str | None = None,
    password: str = "",
    digest: bool = False,
    transports: Literal["tcp,udp", "tcp", "udp"] = "tcp,udp",
    port: int = 0,
) -> Iterator[Camera]:
    """Serves files (.mp4 .mkv .ts .264 .265) in real time; none: a moving test pattern.

    Streams are not re-encoded, except to MJPEG where `mjpeg` asks for it. All clients of one
    moment share the stream; the first one gets it from its first frame. `fps` is that of bare
    Annex B files (which must have no B frames) and of the test pattern.
    """
    arguments = ["camera", *(str(file) for file in files), "--fps", str(fps)]
    arguments += ["--transports", transports, *_login_arguments(user, password, digest)]
    for flag, wanted in (("--loop", loop), ("--audio", audio), ("--mjpeg", mjpeg)):
        arguments += [flag] if wanted else []
    camera = Camera(arguments, user=user, password=password, files=len(files))
    camera.port = port
    try:
        camera.start()
        yield camera
    finally:
        camera.kill()


@contextlib.contextmanager
def rtsp_target(
    out_dir: Path,
    *,
    names: Sequence[str] = ("live",),
    codec: Literal["h264", "h265", "mjpeg"] = "h264",
    file_format: Literal["mkv", "annexb"] = "mkv",
    user: str | None = None,
    password: str = "",
    digest: bool = False,
    transports: Literal["tcp,udp", "tcp", "udp"] = "tcp,udp",
    port: int = 0,
) -> Iterator[Target]:
    """Accepts pushes (ANNOUNCE, RECORD) of one video stream and writes them to `out_dir`.

    "mkv" keeps the timestamps; "annexb" keeps a change of resolution. Both survive a kill.
    """
    arguments = ["target", str(out_dir), "--codec", codec, "--format", file_format]
    for name in names:
        arguments += ["--name", name]
    arguments += ["--transports", transports, *_login_arguments(user, password, digest)]
    target = Target(arguments, user=user, password=password, out_dir=out_dir, names=names)
    target.port = port
    try:
        target.start()
        yield target
    finally:
        target.kill()


def _login_arguments(user: str | None, password: str, digest: bool) -> list[str]:
    if user is None:
        return []
    return ["--user", user, "--password", password, *(["--digest"] if digest else [])]


# --- peers that misbehave -------------------------------------------------------------------------


@dataclass
class Peer:
    """A misbehaving server; `requests` are the RTSP methods it was sent, in order."""

    port: int
    mount: str
    requests: list[str] = field(default_factory=list)
    connected: threading.Event = field(default_factory=threading.Event)
    stalled: threading.Event = field(default_factory=threading.Event)
    """Set from the moment the peer has gone quiet on at least one connection."""

    @property
    def url(self) -> str:
        return f"rtsp://127.0.0.1:{self.port}/{self.mount}"


@dataclass(frozen=True)
class _Request:
    method: str
    target: str
    headers: dict[str, str]


Conversation = Callable[[Peer, socket.socket, threading.Event], None]


@contextlib.contextmanager
def silent_server() -> Iterator[Peer]:
    """Accepts TCP connections and never says a word."""
    with _peer("cam", _say_nothing) as peer:
        yield peer


@contextlib.contextmanager
def stalling_target() -> Iterator[Peer]:
    """Answers ANNOUNCE, SETUP and RECORD properly, then never reads from the socket again."""
    # A small receive buffer, so that the publisher feels it after some frames, not some minutes.
    with _peer("live", _record_then_stall, receive_buffer_bytes=16 * 1024) as peer:
        yield peer


@contextlib.contextmanager
def silent_camera() -> Iterator[Peer]:
    """Answers DESCRIBE (a valid H.264 SDP), SETUP and PLAY properly, then sends no RTP at all.

    It goes on answering keep-alives, as a camera with a dead sensor does.
    """
    with contextlib.ExitStack() as sockets:
        # Bound, never written to: a client on UDP sends its hole punching packets somewhere real.
        udp_ports = [_udp_port(sockets), _udp_port(sockets)]
        sdp = _h264_sdp()

        def converse(peer: Peer, connection: socket.socket, stop: threading.Event) -> None:
            _play_then_send_nothing(peer, connection, stop, sdp, udp_ports)

        with _peer("cam", converse) as peer:
            yield peer


@contextlib.contextmanager
def _peer(
    mount: str, converse: Conversation, *, receive_buffer_bytes: int | None = None
) -> Iterator[Peer]:
    stop = threading.Event()
    threads: list[threading.Thread] = []
    with socket.socket() as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if receive_buffer_bytes is not None:  # before listen: accepted sockets inherit it
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        listener.settimeout(0.1)
        peer = Peer(port=listener.getsockname()[1], mount=mount)

        def serve(connection: socket.socket) -> None:
            with connection, contextlib.suppress(OSError):
                connection.settimeout(0.1)
                converse(peer, connection, stop)

        def accept() -> None:
            while not stop.is_set():
                try:
                    connection, _ = listener.accept()
                except TimeoutError:
                    continue
                peer.connected.set()
                thread = threading.Thread(target=serve, args=(connection,), daemon=True)
                threads.append(thread)
                thread.start()

        acceptor = threading.Thread(target=accept, daemon=True)
        acceptor.start()
        try:
            yield peer
        finally:
            stop.set()
            acceptor.join(timeout=10)
            for thread in threads:
                thread.join(timeout=10)


def _say_nothing(peer: Peer, _: socket.socket, stop: threading.Event) -> None:
    peer.stalled.set()
    stop.wait()


def _record_then_stall(peer: Peer, connection: socket.socket, stop: threading.Event) -> None:
    for request in _requests(peer, connection, stop):
        if request.method == "OPTIONS":
            _answer(connection, request, "Public: OPTIONS, ANNOUNCE, SETUP, RECORD, TEARDOWN")
        elif request.method == "SETUP":
            transport = request.headers.get("transport", "")
            if "TCP" not in transport:
                _answer(connection, request, status="461 Unsupported Transport")
                continue
            _answer(connection, request, f"Transport: {transport}", "Session: 12345678")
        else:
            _answer(connection, request, "Session: 12345678")
        if request.method == "RECORD":
            peer.stalled.set()
            stop.wait()
            return


def _play_then_send_nothing(
    peer: Peer,
    connection: socket.socket,
    stop: threading.Event,
    sdp: str,
    udp_ports: Sequence[int],
) -> None:
    for request in _requests(peer, connection, stop):
        session = "Session: 12345678;timeout=60"
        if request.method == "OPTIONS":
            methods = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN"
            _answer(connection, request, f"Public: {methods}")
        elif request.method == "DESCRIBE":
            base = f"Content-Base: {request.target}/"
            _answer(connection, request, base, "Content-Type: application/sdp", body=sdp)
        elif request.method == "SETUP":
            transport = request.headers.get("transport", "")
            if "TCP" not in transport:
                transport += f";server_port={udp_ports[0]}-{udp_ports[1]}"
            _answer(connection, request, f"Transport: {transport}", session)
        else:
            _answer(connection, request, session)
        if request.method == "PLAY":
            peer.stalled.set()
        elif request.method == "TEARDOWN":
            return


def _requests(peer: Peer, connection: socket.socket, stop: threading.Event) -> Iterator[_Request]:
    """RTSP requests as they come, until the client or the test ends; RTCP in between is skipped."""
    buffer = b""
    while not stop.is_set():
        if buffer[:1] == b"$":  # interleaved data: channel, 16 bit length, payload
            frame_bytes = 4 + int.from_bytes(buffer[2:4], "big")
            if len(buffer) >= max(4, frame_bytes):
                buffer = buffer[frame_bytes:]
                continue
        elif (end := buffer.find(b"\r\n\r\n")) >= 0:
            first, *lines = buffer[:end].decode(errors="replace").split("\r\n")
            pairs = (line.partition(":") for line in lines)
            headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
            total_bytes = end + 4 + int(headers.get("content-length", "0"))
            if len(buffer) >= total_bytes:
                buffer = buffer[total_bytes:]
                method, target, *_ = [*first.split(), "", ""]
                peer.requests.append(method)
                yield _Request(method=method, target=target, headers=headers)
                continue
        try:
            chunk = connection.recv(65536)
        except TimeoutError:
            continue
        if not chunk:
            return
        buffer += chunk


def _answer(
    connection: socket.socket,
    request: _Request,
    *header_lines: str,
    status: str = "200 OK",
    body: str = "",
) -> None:
    lines = [f"RTSP/1.0 {status}", f"CSeq: {request.headers.get('cseq', '0')}", *header_lines]
    if body:
        lines.append(f"Content-Length: {len(body.encode())}")
    connection.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())


def _udp_port(sockets: contextlib.ExitStack) -> int:
    udp = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    udp.bind(("127.0.0.1", 0))
    return int(udp.getsockname()[1])


def _h264_sdp() -> str:
    encoder = av.CodecContext.create("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 640, 360, "yuv420p"
    encoder.time_base = Fraction(1, 25)
    encoder.options = {"preset": "ultrafast"}
    packets = [*encoder.encode(av.VideoFrame(640, 360, "yuv420p")), *encoder.encode(None)]
    units = bytes(packets[0]).replace(b"\x00\x00\x00\x01", b"\x00\x00\x01").split(b"\x00\x00\x01")
    sets = [unit for unit in units if unit and unit[0] & 0x1F in (7, 8)]
    sprop = ",".join(base64.b64encode(unit).decode() for unit in sets)
    level = sets[0][1:4].hex()
    return "\r\n".join(
        (
            "v=0",
            "o=- 1 1 IN IP4 127.0.0.1",
            "s=silent camera",
            "c=IN IP4 0.0.0.0",
            "t=0 0",
            "a=control:*",
            "m=video 0 RTP/AVP 96",
            "a=rtpmap:96 H264/90000",
            f"a=fmtp:96 packetization-mode=1;profile-level-id={level};sprop-parameter-sets={sprop}",
            "a=control:stream=0",
            "",
        )
    )
