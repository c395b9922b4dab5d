"""Records as SEI messages inside the stream (docs/evidence-format.md, section 2), both ways."""

from __future__ import annotations

import re
import uuid
from collections.abc import Iterator, Sequence

from ..errors import RecordError
from .key_record import MOST_RECORD_BYTES
from .nal import START_CODE, Codec, is_slice, nal_type

UUID = uuid.UUID("42b7d53e-7d97-5ec6-a160-091bfe0dd71c").bytes
USER_DATA_UNREGISTERED = 5
_HEADERS: dict[Codec, bytes] = {
    "h264": b"\x06",
    "h265": b"\x4e\x01",  # type 39 (prefix SEI), layer 0, temporal id 0, which is written as 1
}
_TYPES: dict[Codec, int] = {"h264": 6, "h265": 39}
_STOP_BIT = b"\x80"
_MOST_MESSAGES = 256  # of a NAL unit; encoders write a handful, and each takes time to step over
_LIKE_A_START_CODE = re.compile(rb"\x00\x00(?=[\x00-\x03])")
_FULL_BYTES = re.compile(rb"\xff*")


def sei_nal(record: bytes, codec: Codec) -> bytes:
    """One NAL unit, without start code. Raises RecordError where the record's size is no size."""
    if not 1 <= len(record) <= MOST_RECORD_BYTES:
        raise RecordError(f"a record has 1 to {MOST_RECORD_BYTES} bytes, got {len(record)}")
    full, rest = divmod(len(UUID) + len(record), 0xFF)
    head = bytes((USER_DATA_UNREGISTERED,)) + b"\xff" * full + bytes((rest,)) + UUID
    # an emulation prevention byte (7.4.1 in both standards); one pass, for matches do not overlap
    return _HEADERS[codec] + _LIKE_A_START_CODE.sub(b"\0\0\3", head + record + _STOP_BIT)


def with_records(packet: bytes, records: Sequence[bytes], codec: Codec) -> bytes:
    """An encoder's Annex B packet with these records, in order, before its picture.

    They stand before the first slice, after parameter sets and the encoder's own SEI, which may
    have to be the first. All other bytes stay as they are. Raises RecordError.
    """
    if not records:
        return packet
    at = _first_slice(packet, codec)
    # With a start code of four bytes: the NAL unit that begins a picture must have one.
    made = b"".join(b"\0" + START_CODE + sei_nal(record, codec) for record in records)
    return packet[:at] + made + packet[at:]


def records_in(nals: Sequence[bytes], codec: Codec) -> list[bytes]:
    """The records of one frame's NAL units, in order; all other SEI is passed over.

    For bytes from anywhere. A record that was cut short comes as what is left of it: its parser
    refuses it, and the others of the frame stay of use. Raises RecordError for an empty NAL unit.
    """
    records = []
    for nal in nals:
        # no byte of the UUID is a zero, so that emulation prevention leaves it whole
        if nal_type(nal, codec) != _TYPES[codec] or UUID not in nal:
            continue
        payload = nal[len(_HEADERS[codec]) :].replace(b"\0\0\3", b"\0\0")
        for kind, message in _messages(payload):
            if kind == USER_DATA_UNREGISTERED and message.startswith(UUID):
                records.append(message[len(UUID) :])
    return records


def _first_slice(packet: bytes, codec: Codec) -> int:
    """Where the start code of the first slice begins."""
    if not packet.startswith((START_CODE, b"\0" + START_CODE)):
        raise RecordError("a packet of the encoder does not begin with a start code")
    at = packet.find(START_CODE)
    while at >= 0:
        begins = at + len(START_CODE)
        first = packet[begins : begins + 1]
        if first and is_slice(first, codec):
            return at - 1 if at and not packet[at - 1] else at
        at = packet.find(START_CODE, begins)
    raise RecordError("a packet of the encoder holds no picture")


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(payload type, payload) of each message (7.3.2.3.1 and 7.3.5)."""
    at = 0
    for _ in range(_MOST_MESSAGES):
        if len(data) - at < 2:  # what is left is the stop bit
            return
        kind, at = _number(data, at)
        size, at = _number(data, at)
        yield kind, data[at : at + size]
        at += size


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A number in SEI's way, 255 for each 0xFF and the byte after them, and where it ends."""
    found = _FULL_BYTES.match(data, at)
    end = found.end() if found else at
    return 0xFF * (end - at) + sum(data[end : end + 1]), end + 1
