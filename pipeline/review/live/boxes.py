"""When a fragment of our own MP4 begins and how long it is, read from its boxes."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_HEADER_BYTES = 8  # 32-bit size, four letters
_TFHD_BASE_OFFSET, _TFHD_DESCRIPTION, _TFHD_DURATION = 0x1, 0x2, 0x8
_TRUN_DATA_OFFSET, _TRUN_FIRST_FLAGS, _TRUN_DURATION = 0x1, 0x4, 0x100
_TRUN_SAMPLE_FIELDS = (_TRUN_DURATION, 0x200, 0x400, 0x800)  # four bytes each, in this order


@dataclass(frozen=True, slots=True)
class Timing:
    """In ticks of the track."""

    start: int
    length: int


def timescale_of(init: bytes) -> int:
    """Ticks a second of the only track. Raises ValueError."""
    mdhd = _inner(init, b"moov", b"trak", b"mdia", b"mdhd")
    if mdhd is None or len(mdhd) < 24:
        raise ValueError("an init segment without mdhd")
    ticks: int = struct.unpack_from(">I", mdhd, 20 if mdhd[0] else 12)[0]
    if ticks == 0:
        raise ValueError("a track without a clock")
    return ticks


def timing_of(fragment: bytes) -> Timing:
    """Of a moof with one track. Raises ValueError."""
    traf = _inner(fragment, b"moof", b"traf")
    tfhd, tfdt, trun = (_inner(traf or b"", kind) for kind in (b"tfhd", b"tfdt", b"trun"))
    if tfhd is None or tfdt is None or trun is None:
        raise ValueError("a fragment without tfhd, tfdt or trun")
    try:
        (start,) = struct.unpack_from(">Q" if tfdt[0] else ">I", tfdt, 4)
        return Timing(start, _length(trun, _default_length(tfhd)))
    except (struct.error, IndexError):
        raise ValueError("a fragment with a box that is too short") from None


def _default_length(tfhd: bytes) -> int:
    flags = int.from_bytes(tfhd[1:4], "big")
    if not flags & _TFHD_DURATION:
        return 0
    offset = 8 + (8 if flags & _TFHD_BASE_OFFSET else 0) + (4 if flags & _TFHD_DESCRIPTION else 0)
    length: int = struct.unpack_from(">I", tfhd, offset)[0]
    return length


def _length(trun: bytes, default: int) -> int:
    flags = int.from_bytes(trun[1:4], "big")
    (samples,) = struct.unpack_from(">I", trun, 4)
    if not flags & _TRUN_DURATION:
        return int(samples) * default
    first = 8 + (4 if flags & _TRUN_DATA_OFFSET else 0) + (4 if flags & _TRUN_FIRST_FLAGS else 0)
    step = 4 * sum(bool(flags & field) for field in _TRUN_SAMPLE_FIELDS)
    return sum(
        struct.unpack_from(">I", trun, first + index * step)[0]
        for index in range(min(samples, len(trun) // step))
    )


def _inner(data: bytes, *path: bytes) -> bytes | None:
    """The contents of the first box at a path; None where there is none."""
    for kind in path:
        at = 0
        while True:
            if at + _HEADER_BYTES > len(data):
                return None
            size = int.from_bytes(data[at : at + 4], "big")
            if size < _HEADER_BYTES:
                return None
            if data[at + 4 : at + 8] == kind:
                data = data[at + _HEADER_BYTES : at + size]
                break
            at += size
    return data
