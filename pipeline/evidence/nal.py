"""NAL units of H.264 and H.265: taken out of a packet however its container frames them.

What is digested here are the bytes that no container rewrites (docs/evidence-format.md, section 1).
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from ..errors import RecordError
from .key_record import DIGEST_BYTES, NO_PARAMETERS
from .wire import Reader

Codec = Literal["h264", "h265"]

START_CODE = b"\0\0\1"  # a fourth byte, a zero before it, says nothing more
_AVCC_BYTES, _AVCC_LENGTH_SIZE = 7, 4  # ISO/IEC 14496-15, 5.3.3.1: at least so long; which byte
_HVCC_BYTES, _HVCC_LENGTH_SIZE = 23, 21  # 8.3.3.1
_PARAMETER_SETS: dict[Codec, frozenset[int]] = {
    "h264": frozenset((7, 8, 13, 15)),  # of sequence and picture, and their extensions
    "h265": frozenset((32, 33, 34)),
}


@dataclass(frozen=True, slots=True)
class Framing:
    """How NAL units follow each other in a packet. Raises RecordError."""

    length_bytes: int  # 0: Annex B start codes; 1, 2, 4: length prefixes (MP4, MKV)

    def __post_init__(self) -> None:
        if self.length_bytes not in (0, 1, 2, 4):
            raise RecordError(f"no stream has length prefixes of {self.length_bytes} bytes")


ANNEX_B = Framing(0)


def framing_of(extradata: bytes | None, codec: Codec) -> Framing:
    """By a stream's codec header: avcC, hvcC, Annex B or none at all. Raises RecordError."""
    if not extradata or _begins_with_start_code(extradata):
        return ANNEX_B
    least, at = (
        (_AVCC_BYTES, _AVCC_LENGTH_SIZE) if codec == "h264" else (_HVCC_BYTES, _HVCC_LENGTH_SIZE)
    )
    # early writers of H.265 left the version at 0
    if len(extradata) < least or extradata[0] > 1 or (codec == "h264" and extradata[0] != 1):
        raise RecordError("the stream's codec header is damaged, or of another codec")
    return Framing((extradata[at] & 3) + 1)


def split_nals(packet: bytes, framing: Framing) -> list[bytes]:
    """Its NAL units, without start codes, lengths and trailing zeros. Raises RecordError.

    Empty ones are left out. For bytes from anywhere.
    """
    if framing.length_bytes:
        pieces: Iterator[bytes] = _by_lengths(packet, framing.length_bytes)
    else:
        before, *rest = packet.split(START_CODE)
        if before.strip(b"\0"):
            raise RecordError("a packet does not begin with a start code")
        pieces = iter(rest)
    # No NAL unit ends in a zero: what stands there belongs to the framing, and not every muxer
    # takes it off when it changes start codes into lengths.
    return [nal for nal in (piece.rstrip(b"\0") for piece in pieces) if nal]


def nal_type(nal: bytes, codec: Codec) -> int:
    """Table 7-1 of both standards. Raises RecordError where nothing is there."""
    if not nal:
        raise RecordError("a NAL unit is empty")
    return nal[0] & 0x1F if codec == "h264" else nal[0] >> 1 & 0x3F


def is_slice(nal: bytes, codec: Codec) -> bool:
    """Whether it is a VCL NAL unit: a part of the picture. Raises RecordError for an empty one."""
    kind = nal_type(nal, codec)
    return 1 <= kind <= 5 if codec == "h264" else kind <= 31


def slice_digest(nals: Sequence[bytes], codec: Codec) -> bytes:
    """(16,) over one frame's VCL NAL units, others are passed over. Raises RecordError.

    Also of none: then it says only that, and is in no record.
    """
    digest = hashlib.sha256()
    for nal in nals:
        if is_slice(nal, codec):
            digest.update(len(nal).to_bytes(4, "big"))
            digest.update(nal)
    return digest.digest()[:DIGEST_BYTES]


def parameter_digest(nals: Sequence[bytes], codec: Codec) -> bytes:
    """(16,) over the parameter sets among them, each once, in the order of their bytes.

    NO_PARAMETERS where there are none. Containers keep them beside the pictures, twice, or both;
    who changes one crops the picture, or moves what lies on it. Raises RecordError.
    """
    types = _PARAMETER_SETS[codec]
    found = {nal for nal in nals if nal_type(nal, codec) in types}
    if not found:
        return NO_PARAMETERS
    digest = hashlib.sha256()
    for nal in sorted(found):
        digest.update(len(nal).to_bytes(4, "big"))
        digest.update(nal)
    return digest.digest()[:DIGEST_BYTES]


def header_nals(extradata: bytes | None, codec: Codec) -> list[bytes]:
    """The NAL units of a stream's codec header: avcC, hvcC or Annex B. Raises RecordError."""
    if not extradata:
        return []
    if _begins_with_start_code(extradata):
        return split_nals(extradata, ANNEX_B)
    framing_of(extradata, codec)  # refuses what is neither
    return _avcc_nals(extradata) if codec == "h264" else _hvcc_nals(extradata)


def _avcc_nals(data: bytes) -> list[bytes]:
    reader = Reader(data[5:])
    nals = [reader.take(reader.number(2)) for _ in range(reader.number(1) & 0x1F)]
    return nals + [reader.take(reader.number(2)) for _ in range(reader.number(1))]


def _hvcc_nals(data: bytes) -> list[bytes]:
    reader = Reader(data[22:])
    nals = []
    for _ in range(reader.number(1)):
        reader.number(1)  # what kind they are, they say themselves
        nals += [reader.take(reader.number(2)) for _ in range(reader.number(2))]
    return nals


def _begins_with_start_code(data: bytes) -> bool:
    return data.startswith((START_CODE, b"\0" + START_CODE))


def _by_lengths(packet: bytes, length_bytes: int) -> Iterator[bytes]:
    at, end = 0, len(packet)
    while at < end:
        begins = at + length_bytes
        at = begins + int.from_bytes(packet[at:begins], "big")
        if begins > end or at > end:
            raise RecordError("a packet is shorter than its NAL units say")
        yield packet[begins:at]
