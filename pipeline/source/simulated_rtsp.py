"""One client of the simulated camera: the RTSP 1.0 dialogue, and H.264 interleaved with it.

Two threads per client: one reads requests, one sends the picture. A client that does not read
costs the others nothing: its queue is bounded, and its socket gives up after SEND_TIMEOUT_S.
"""

import contextlib
import hmac
import random
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from .rtp_h264 import AccessUnit, StreamFormat, packetize, sender_report

SEND_TIMEOUT_S = 5.0  # a client that takes nothing for so long is cut off
QUEUE_FRAMES = 50  # two seconds at 25 fps; full means: drop up to the next keyframe
REPORT_EVERY_S = 2.0
MTU_BYTES = 1400
SEND_BUFFER_BYTES = 256 * 1024  # small, so that a lagging client shows in our queue, which drops
MAX_REQUEST_BYTES = 16 * 1024
STREAM_PATH = "/live"

_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    404: "Not Found",
    405: "Method Not Allowed",
    454: "Session Not Found",
    455: "Method Not Valid in This State",
    461: "Unsupported Transport",
    503: "Service Unavailable",
}
_METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN"


class BadRequest(Exception):
    """The client sent something that is not RTSP."""


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    url: str
    headers: dict[str, str]  # names in lower case

    @property
    def path(self) -> str:
        """Without scheme and host; as it is where there are none ("*")."""
        _, _, rest = self.url.partition("://")
        return "/" + rest.partition("/")[2] if rest else self.url


class ClientSession:
    """Serves one connected socket until either side ends it."""

    def __init__(
        self,
        connection: socket.socket,
        wait_for_format: Callable[[], StreamFormat | None],
        authorization: str | None,
    ) -> None:
        """`authorization` is the exact Authorization header to ask for, None for an open camera."""
        self._connection = connection
        self._wait_for_format = wait_for_format
        self._authorization = authorization
        self._id = f"{random.getrandbits(64):016x}"
        self._ssrc = random.getrandbits(32)
        self._sequence = random.getrandbits(16)
        self._channels: tuple[int, int] | None = None  # RTP, RTCP; None before SETUP
        self._received = bytearray()
        self._send_lock = threading.Lock()
        self._changed = threading.Condition()
        self._queue: deque[AccessUnit] = deque()
        self._wait_for_keyframe = True
        self._playing = False
        self._closed = False
        self._reader = threading.Thread(target=self._serve, name="rtsp-reader", daemon=True)
        self._sender: threading.Thread | None = None
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SEND_BUFFER_BYTES)
        connection.settimeout(SEND_TIMEOUT_S)

    @property
    def ended(self) -> bool:
        return self._closed

    def start(self) -> None:
        self._reader.start()

    def offer(self, unit: AccessUnit) -> None:
        """Queue a picture; never blocks. Ignored before PLAY and until the next keyframe."""
        with self._changed:
            if self._closed or not self._playing:
                return
            if len(self._queue) >= QUEUE_FRAMES:
                # Starting over at a keyframe: old pictures would only add to the delay.
                self._queue.clear()
                self._wait_for_keyframe = True
            if self._wait_for_keyframe and not unit.is_keyframe:
                return
            self._wait_for_keyframe = False
            self._queue.append(unit)
            self._changed.notify_all()

    def close(self) -> None:
        """End the session: wakes both threads, waits for neither. Idempotent."""
        with self._changed:
            if self._closed:
                return
            self._closed = True
            self._queue.clear()
            self._changed.notify_all()
        with contextlib.suppress(OSError):  # the client was faster
            self._connection.shutdown(socket.SHUT_RDWR)

    def join(self, timeout_s: float) -> None:
        self._reader.join(timeout_s)

    def _serve(self) -> None:
        try:
            while not self._closed and self._answer(self._read_request()):
                pass
        except BadRequest:
            with contextlib.suppress(OSError):
                self._reply(400, "0")
        except (OSError, EOFError):
            pass  # the client has gone, or close() has woken us
        finally:
            self.close()
            if self._sender is not None:
                self._sender.join()
            self._connection.close()

    def _answer(self, request: _Request) -> bool:
        """Reply to one request; False after the last one."""
        sequence = request.headers.get("cseq")
        if sequence is None:
            raise BadRequest("a request must carry CSeq")
        status, headers, body = self._handle(request)
        if status == 200 and request.method == "PLAY":
            with self._changed:
                self._playing = True  # from here on pictures queue up behind the reply
        self._reply(status, sequence, headers, body)
        if self._playing and self._sender is None:
            self._sender = threading.Thread(
                target=self._send_pictures, name="rtsp-sender", daemon=True
            )
            self._sender.start()
        return not (status == 200 and request.method == "TEARDOWN")

    def _handle(self, request: _Request) -> tuple[int, dict[str, str], str]:
        method = request.method
        if method == "OPTIONS":
            return 200, {"Public": _METHODS}, ""
        if not self._is_authorized(request):
            return 401, {"WWW-Authenticate": 'Basic realm="simulated camera"'}, ""
        if method not in _METHODS.split(", "):
            return 405, {"Allow": _METHODS}, ""
        if request.path != STREAM_PATH and not request.path.startswith(STREAM_PATH + "/"):
            return 404, {}, ""
        if method == "DESCRIBE":
            stream_format = self._wait_for_format()
            if stream_format is None:
                return 503, {}, ""
            headers = {"Content-Base": f"{request.url}/", "Content-Type": "application/sdp"}
            return 200, headers, stream_format.sdp()
        session = {"Session": f"{self._id};timeout=60"}
        if method == "SETUP":
            channels = _interleaved_channels(request.headers.get("transport", ""))
            if channels is None or self._playing:
                return (461 if channels is None else 455), {}, ""
            self._channels = channels
            transport = f"RTP/AVP/TCP;unicast;interleaved={channels[0]}-{channels[1]}"
            return 200, {"Transport": f"{transport};ssrc={self._ssrc:08X}"} | session, ""
        named = request.headers.get("session", self._id).partition(";")[0].strip()
        if named != self._id:
            return 454, {}, ""
        if method == "PLAY":
            if self._channels is None:
                return 455, {}, ""
            # Without rtptime: the first picture will be the next keyframe, not encoded yet.
            track = f"{request.url.rstrip('/')}/track0"
            session["RTP-Info"] = f"url={track};seq={self._sequence}"
        return 200, session, ""

    def _is_authorized(self, request: _Request) -> bool:
        if self._authorization is None:
            return True
        given = request.headers.get("authorization", "")
        return hmac.compare_digest(given.encode(), self._authorization.encode())

    def _reply(
        self, status: int, sequence: str, headers: dict[str, str] | None = None, body: str = ""
    ) -> None:
        fields = {"CSeq": sequence} | (headers or {})
        if body:
            fields["Content-Length"] = str(len(body.encode()))
        lines = [f"RTSP/1.0 {status} {_REASONS[status]}", *(f"{k}: {v}" for k, v in fields.items())]
        self._send("\r\n".join([*lines, "", body]).encode())

    def _read_request(self) -> _Request:
        """The next request. Raises BadRequest, EOFError when the client has gone, OSError."""
        while True:
            if self._received[:1] == b"$":  # the client's receiver report: not needed
                self._need(4)
                length = 4 + int.from_bytes(self._received[2:4], "big")
                self._need(length)
                del self._received[:length]
            elif self._received[:2] == b"\r\n":
                del self._received[:2]
            elif (end := self._received.find(b"\r\n\r\n")) >= 0:
                break
            elif len(self._received) > MAX_REQUEST_BYTES:
                raise BadRequest(f"a request must fit {MAX_REQUEST_BYTES} bytes")
            else:
                self._need(len(self._received) + 1)
        first, *lines = self._received[:end].decode("utf-8", "replace").split("\r\n")
        parts = first.split(" ")
        if len(parts) != 3 or not parts[2].startswith("RTSP/"):
            raise BadRequest("not an RTSP request line")
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        body_bytes = headers.get("content-length", "0")
        if not body_bytes.isdecimal() or int(body_bytes) > MAX_REQUEST_BYTES:
            raise BadRequest(f"Content-Length must be at most {MAX_REQUEST_BYTES}")
        total = end + 4 + int(body_bytes)
        self._need(total)
        del self._received[:total]
        return _Request(parts[0], parts[1], headers)

    def _need(self, count: int) -> None:
        while len(self._received) < count:
            try:
                data = self._connection.recv(65536)
            except TimeoutError:
                continue  # a playing client may stay silent; close() ends the wait
            if not data:
                raise EOFError
            self._received += data

    def _send(self, data: bytes) -> None:
        with self._send_lock:  # a reply must not fall between the halves of a packet
            self._connection.sendall(data)

    def _send_pictures(self) -> None:
        assert self._channels is not None, "PLAY comes after SETUP"
        rtp, rtcp = self._channels
        packets_sent = payload_bytes_sent = 0
        next_report_s = time.monotonic()  # the first one goes out before the first picture
        try:
            while (unit := self._next_unit()) is not None:
                parts: list[bytes] = []
                if time.monotonic() >= next_report_s:
                    next_report_s = time.monotonic() + REPORT_EVERY_S
                    counts = (packets_sent, payload_bytes_sent)
                    report = sender_report(
                        self._ssrc, unit.captured_unix_ns, unit.timestamp, *counts
                    )
                    parts.append(_interleave(rtcp, report))
                packets = packetize(
                    unit.nals, unit.timestamp, self._sequence, self._ssrc, MTU_BYTES
                )
                parts += [_interleave(rtp, packet) for packet in packets]
                self._send(b"".join(parts))
                self._sequence = (self._sequence + len(packets)) & 0xFFFF
                packets_sent += len(packets)
                payload_bytes_sent += sum(len(packet) - 12 for packet in packets)
        except OSError:
            self.close()  # gone, or too slow: half a packet may be out, so nothing can follow

    def _next_unit(self) -> AccessUnit | None:
        """The oldest queued picture, waiting for one; None once the session is closed."""
        with self._changed:
            while not self._queue and not self._closed:
                self._changed.wait()
            return None if self._closed else self._queue.popleft()


def _interleave(channel: int, packet: bytes) -> bytes:
    return struct.pack(">cBH", b"$", channel, len(packet)) + packet


def _interleaved_channels(transport: str) -> tuple[int, int] | None:
    """The channel pair of the first RTP-over-TCP choice; None where there is none (UDP)."""
    for choice in transport.split(","):
        kind, *options = (option.strip() for option in choice.split(";"))
        if kind.upper() != "RTP/AVP/TCP":
            continue
        values = dict(option.partition("=")[::2] for option in options)
        first, _, second = values.get("interleaved", "0-1").partition("-")
        if first.isdecimal() and int(first) < 255:
            rtcp = int(second) if second.isdecimal() and int(second) < 256 else int(first) + 1
            return int(first), rtcp
    return None
