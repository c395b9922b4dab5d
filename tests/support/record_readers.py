"""Every door through which bytes from anywhere enter the format, for fuzzing and for a short test.

An input's first byte says which door. Each either reads, or raises RecordError; what was read is
written again and must be the same.
"""

from __future__ import annotations

import atexit
import tempfile
import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import get_args

from pipeline.errors import RecordError
from pipeline.evidence import body, sei, sidecar_file
from pipeline.evidence.group_record import parse_group_record
from pipeline.evidence.key_record import parse_key_record
from pipeline.evidence.nal import (
    ANNEX_B,
    Codec,
    Framing,
    framing_of,
    is_slice,
    slice_digest,
    split_nals,
)
from pipeline.motion import pack

from .records import a_group, a_group_record, a_key_record, an_entry, some_motions, some_tiles

CODECS: tuple[Codec, ...] = get_args(Codec)
SLICE: dict[Codec, bytes] = {"h264": b"\0\0\1\x65\x88", "h265": b"\0\0\1\x26\1\x88"}
_MOTION_HEAD = pack(some_motions()[0])[:32]


def read_any(data: bytes) -> None:
    """Through the door that the first byte names. Only what must never happen comes out."""
    if data:
        _or_refused(DOORS[data[0] % len(DOORS)], data[1:])


def seeds() -> list[bytes]:
    """At least one for each door that is read to its end."""
    records = [a_key_record().encode(), a_group_record().encode()]
    tiles = some_tiles()
    motions = body.encode_motions(some_motions())
    # small ones too: a change of one byte hits each field of theirs sooner
    small_head = replace(a_group_record().head, digests=(bytes(16),))
    small = replace(a_group_record(), head=small_head, entries=(an_entry(presence=1),))
    small_key = replace(a_key_record(), groups=(a_group(),), site="", camera="")
    found: list[tuple[Callable[[bytes], None], bytes]] = [
        (_key, records[0]),
        (_group, records[1]),
        (_key, small_key.encode()),
        (_group, small.encode()),
        (_tiles, body.encode_tiles(tiles)),
        (_motions, motions),
        (_mask, bytes((25, 12)) + zlib.compress(bytes(48))),
        (_inside_zlib, bytes((25, 12)) + bytes(48)),
        (_inside_zlib, bytes((1, 1)) + bytes(zlib.decompress(pack(some_motions()[1])[32:]))),
        (_sidecar, sidecar_file.MAGIC + b"".join(_with_length(record) for record in records)),
        (_extradata, bytes.fromhex("000164001fffe1001067")),
        (_extradata, b"\x80\1" + bytes(20) + b"\3\0"),
        *((_round_trip, data) for data in (bytes(600), b"\0\0\1\0\0\3\0\0\2", records[1])),
    ]
    for codec in CODECS:
        packet = sei.with_records(SLICE[codec], records, codec)
        at = CODECS.index(codec) << 7
        lengths = b"".join(_with_length(nal) for nal in split_nals(packet, ANNEX_B))
        found += [(_packet, bytes((at,)) + packet), (_packet, bytes((at | 3,)) + lengths)]
    return [bytes((DOORS.index(door),)) + data for door, data in found]


def _or_refused(call: Callable[[bytes], None], data: bytes) -> None:
    try:
        call(data)
    except RecordError as error:
        assert "\n" not in str(error)


def _packet(data: bytes) -> None:
    """Codec and framing in a byte, then the packet."""
    codec = CODECS[sum(data[:1]) >> 7]
    nals = split_nals(data[1:], Framing((0, 1, 2, 4)[sum(data[:1]) & 3]))
    assert all(nal and nal[-1] for nal in nals)
    assert len(slice_digest(nals, codec)) == 16
    for record in sei.records_in(nals, codec):
        _or_refused(_record, record)


def _extradata(data: bytes) -> None:
    """The codec in a byte, then its header."""
    assert framing_of(data[1:], CODECS[sum(data[:1]) >> 7]).length_bytes in (0, 1, 2, 4)


def _record(data: bytes) -> None:
    (_key if data[:1] == b"\1" else _group)(data)


def _key(data: bytes) -> None:
    record = parse_key_record(data)
    assert record.encode() == data
    assert len(record.context) == 32


def _group(data: bytes) -> None:
    record = parse_group_record(data)
    assert record.encode() == data
    for entry in record.entries:
        assert max(entry.place.offsets) < len(record.head.digests)


def _tiles(data: bytes) -> None:
    items = body.parse_tiles(data)
    assert body.parse_tiles(body.encode_tiles(items)) == items
    for item in items:
        mask = body.mask_of(item)
        _, _, width, height = item.box_xywh_px
        assert mask is None or mask.shape == (height // 2, width // 2)


def _motions(data: bytes) -> None:
    motions = body.parse_motions(data)
    again = body.parse_motions(body.encode_motions(motions))
    assert [pack(motion) for motion in again] == [pack(motion) for motion in motions]


def _mask(data: bytes) -> None:
    """Half the width, half the height, then the mask of the one item, squeezed."""
    width, height = (*data[:2], 0, 0)[:2]
    box = b"".join((2 * side).to_bytes(2, "big") for side in (0, 0, width, height))
    squeezed = data[2:]
    head = b"\1\1\2" + box + bytes(3) + (len(squeezed) % 2**24).to_bytes(3, "big")
    (item,) = body.parse_tiles(head + squeezed)
    mask = body.mask_of(item)
    assert mask is not None and mask.shape == (height, width)


def _inside_zlib(data: bytes) -> None:
    """With a checksum that is right: no fuzzer guesses one."""
    squeezed = zlib.compress(data[2:], 1)
    _or_refused(_mask, data[:2] + squeezed)
    motion = _MOTION_HEAD + squeezed
    _or_refused(_motions, b"\1" + (len(motion) % 2**16).to_bytes(2, "big") + motion)


def _sidecar(data: bytes) -> None:
    _scratch().write_bytes(data)
    for record in sidecar_file.read_records(_scratch()):
        _or_refused(_record, record)


def _round_trip(data: bytes) -> None:
    """Any bytes as a record, and in the slice behind it."""
    for codec in CODECS:
        packet = SLICE[codec] + data + b"\x80"
        made = split_nals(sei.with_records(packet, [data, data], codec), ANNEX_B)
        assert sei.records_in(made, codec)[:2] == [data, data]
        assert not is_slice(made[1], codec) and is_slice(made[2], codec)
        assert slice_digest(made, codec) == slice_digest(split_nals(packet, ANNEX_B), codec)


DOORS = (
    *(_packet, _extradata, _key, _group, _tiles),
    *(_motions, _mask, _inside_zlib, _sidecar, _round_trip),
)


def _with_length(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


@cache
def _scratch() -> Path:
    folder = tempfile.TemporaryDirectory()
    atexit.register(folder.cleanup)
    return Path(folder.name) / "clip.mp4.bauta"
