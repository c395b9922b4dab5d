"""H.264 in RTP packets (RFC 6184, packetization-mode 1), with its SDP and RTCP report.

Pure functions: no sockets, no clocks. Sequence numbers and timestamps wrap as on the wire.
"""

import base64
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction

PAYLOAD_TYPE = 96  # the first dynamic one
CLOCK_HZ = 90_000

_RTP_VERSION = 2 << 6
_RTP_HEADER_BYTES = 12
_FU_A = 28
_FU_HEADER_BYTES = 2  # FU indicator, FU header
_NRI_MASK, _TYPE_MASK = 0xE0, 0x1F  # the forbidden bit travels with the priority
_NTP_EPOCH_OFFSET_SECONDS = 2_208_988_800  # 1900-01-01 to 1970-01-01: 70 years, 17 leap days


@dataclass(frozen=True, slots=True)
class AccessUnit:
    """One encoded picture."""

    nals: tuple[bytes, ...] = field(repr=False)
    timestamp: int  # RTP, 90 kHz, unwrapped
    captured_unix_ns: int  # our wall clock
    is_keyframe: bool


@dataclass(frozen=True, slots=True)
class StreamFormat:
    """What a client must know before the first packet."""

    sps: bytes
    pps: bytes
    fps: Fraction

    def sdp(self) -> str:
        """The session description of one video track, named track0 (RFC 4566, RFC 6184 8.2)."""
        sets = ",".join(base64.b64encode(nal).decode() for nal in (self.sps, self.pps))
        lines = (
            "v=0",
            "o=- 1 1 IN IP4 127.0.0.1",
            "s=simulated camera",
            "c=IN IP4 127.0.0.1",
            "t=0 0",
            "a=range:npt=now-",
            f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
            f"a=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK_HZ}",
            f"a=fmtp:{PAYLOAD_TYPE} packetization-mode=1"
            f";profile-level-id={self.sps[1:4].hex().upper()};sprop-parameter-sets={sets}",
            f"a=framerate:{float(self.fps):g}",
            "a=control:track0",
        )
        return "".join(f"{line}\r\n" for line in lines)


def nal_type(nal: bytes) -> int:
    """5 is a slice of a keyframe, 7 a sequence and 8 a picture parameter set."""
    return nal[0] & _TYPE_MASK


def split_nals(annexb: bytes) -> list[bytes]:
    """The NAL units of an Annex B byte stream, without start codes, in order.

    Raises ValueError where bytes precede the first start code.
    """
    lead, *parts = annexb.split(b"\x00\x00\x01")
    if lead.strip(b"\x00"):
        raise ValueError(f"Annex B data must begin with a start code, got {lead[:8].hex()}")
    # No NAL unit ends in a zero byte: those belong to a four-byte start code or are stuffing.
    return [nal for part in parts if (nal := part.rstrip(b"\x00"))]


def packetize(
    nals: Sequence[bytes], timestamp: int, sequence: int, ssrc: int, mtu: int
) -> list[bytes]:
    """The RTP packets of one access unit, each of at most `mtu` bytes with its RTP header.

    A NAL unit that fits is sent whole, a larger one as FU-A fragments; the last packet carries
    the marker bit. Raises ValueError if there is nothing to send or the mtu holds no fragment.
    """
    room = mtu - _RTP_HEADER_BYTES
    if room <= _FU_HEADER_BYTES:
        raise ValueError(f"mtu must be at least 15 bytes, got {mtu}")
    if not nals or not all(nals):
        raise ValueError("an access unit must hold NAL units, and none may be empty")
    payloads = [payload for nal in nals for payload in _payloads(nal, room)]
    last = len(payloads) - 1
    return [
        struct.pack(
            ">BBHII",
            _RTP_VERSION,
            PAYLOAD_TYPE | (0x80 if index == last else 0),
            (sequence + index) & 0xFFFF,
            timestamp & 0xFFFFFFFF,
            ssrc,
        )
        + payload
        for index, payload in enumerate(payloads)
    ]


def _payloads(nal: bytes, room: int) -> list[bytes]:
    if len(nal) <= room:
        return [nal]
    indicator = (nal[0] & _NRI_MASK) | _FU_A
    step = room - _FU_HEADER_BYTES
    starts = range(1, len(nal), step)  # the NAL header itself is not sent
    return [
        bytes(
            (
                indicator,
                nal_type(nal)
                | (0x80 if start == starts[0] else 0)
                | (0x40 if start == starts[-1] else 0),
            )
        )
        + nal[start : start + step]
        for start in starts
    ]


def sender_report(
    ssrc: int, unix_ns: int, timestamp: int, packet_count: int, payload_bytes: int
) -> bytes:
    """An RTCP sender report with the CNAME it must travel with (RFC 3550, 6.1 and 6.4.1).

    It says that the frame of this RTP timestamp was captured at `unix_ns` of the wall clock.
    """
    unix_seconds, rest_ns = divmod(unix_ns, 1_000_000_000)
    report = struct.pack(
        ">BBHIIIIII",
        _RTP_VERSION,
        200,  # SR
        6,  # length in words, less one
        ssrc,
        (unix_seconds + _NTP_EPOCH_OFFSET_SECONDS) & 0xFFFFFFFF,
        (rest_ns << 32) // 1_000_000_000,
        timestamp & 0xFFFFFFFF,
        packet_count & 0xFFFFFFFF,
        payload_bytes & 0xFFFFFFFF,
    )
    name = b"camera"
    item = bytes((1, len(name))) + name  # CNAME
    item += bytes(4 - len(item) % 4)  # ends with at least one zero, on a word boundary
    words_less_one = (4 + 4 + len(item)) // 4 - 1
    return report + struct.pack(">BBHI", _RTP_VERSION | 1, 202, words_less_one, ssrc) + item
