"""Recordings that nobody's camera made: what may lie in a folder that others can write into."""

from __future__ import annotations

import struct

_AROUND = (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stsd", b"avc1")


def with_picture_size(recording: bytes, said: tuple[int, int], coded: tuple[int, int]) -> bytes:
    """A recording in H.264 baseline whose header says one size, and its parameter set another."""
    data = bytearray(recording)
    at = data.index(b"avcC")
    entry = data.rindex(b"avc1", 0, at)
    struct.pack_into(">HH", data, entry + 4 + 24, *said)
    sps_at = at + 4 + 8
    (length,) = struct.unpack_from(">H", data, sps_at - 2)
    sps = _resized(bytes(data[sps_at : sps_at + length]), *coded)
    for kind in _AROUND:
        _grow(data, data.rindex(kind, 0, at), len(sps) - length)
    _grow(data, at, len(sps) - length)
    struct.pack_into(">H", data, sps_at - 2, len(sps))
    data[sps_at : sps_at + length] = sps
    # those in the pictures would win: they become filler
    return bytes(data).replace(b"\x67\x42", b"\x6c\x42").replace(b"\x6c\x42", b"\x67\x42", 1)


def box(kind: bytes, content: bytes) -> bytes:
    """One, with its header."""
    return struct.pack(">I4s", 8 + len(content), kind) + content


def _grow(data: bytearray, kind_at: int, by: int) -> None:
    (size,) = struct.unpack_from(">I", data, kind_at - 4)
    struct.pack_into(">I", data, kind_at - 4, size + by)


def _resized(sps: bytes, width: int, height: int) -> bytes:
    raw = sps.replace(b"\0\0\3", b"\0\0")
    bits = "".join(f"{byte:08b}" for byte in raw[4:])
    at = 0

    def number() -> int:
        nonlocal at
        zeros = bits.index("1", at) - at
        value = int(bits[at + zeros : at + 2 * zeros + 1], 2) - 1
        at += 2 * zeros + 1
        return value

    number(), number()
    if number() == 0:
        number()
    number()
    at += 1
    begin = at
    number(), number()
    sides = "".join(_coded(side // 16 - 1) for side in (width, height))
    rest = bits[at:].rstrip("0")
    bits = bits[:begin] + sides + rest
    bits += "0" * (-len(bits) % 8)
    made = raw[:4] + bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8))
    safe = bytearray()
    for byte in made:
        if byte <= 3 and safe[-2:] == b"\0\0":
            safe.append(3)
        safe.append(byte)
    return bytes(safe)


def _coded(value: int) -> str:
    text = f"{value + 1:b}"
    return "0" * (len(text) - 1) + text
