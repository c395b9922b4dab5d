"""Vectors of what needs no key: padding, digests, SEI, sidecars."""

from __future__ import annotations

from pipeline.evidence.body import SIZES, padded
from pipeline.evidence.nal import ANNEX_B, Codec, slice_digest, split_nals
from pipeline.evidence.sei import UUID, sei_nal, with_records

from .vector_seeds import Fields, seeded

_SIZES_SHOWN = 20
# parameter sets and an access unit delimiter, two slices; zeros before start codes belong to none
_NALS: dict[Codec, tuple[bytes, ...]] = {
    "h264": (
        bytes.fromhex("09f0"),
        bytes.fromhex("6742c00a"),
        bytes.fromhex("68ce3c80"),
        bytes.fromhex("65b84000000301fe"),
        bytes.fromhex("6588c0de"),
    ),
    "h265": (
        bytes.fromhex("460150"),
        bytes.fromhex("40010c01"),
        bytes.fromhex("420101"),
        bytes.fromhex("440171"),
        bytes.fromhex("2601af0000030280"),
        bytes.fromhex("2601c0de"),
    ),
}
_FOREIGN_UUID = bytes(range(1, 17))
_CODECS: tuple[Codec, ...] = ("h264", "h265")


def basics() -> Fields:
    """All of them."""
    return {
        "uuid": UUID.hex(),
        "padding": {
            "sizes": SIZES[:_SIZES_SHOWN],
            "last_size": SIZES[-1],
            "content_to_padded": [
                [count, len(padded(bytes(count)))]
                for count in (1, 127, 128, 129, 144, 145, 176, 177, 209, 1000, 4_000_000)
            ],
        },
        "digests": [digest for codec in _CODECS for digest in _digests(codec)],
        "sei": [_sei(record) for record in _records()],
        "packets": [_packet(codec) for codec in _CODECS],
        "sidecars": _sidecars(),
    }


def _digests(codec: Codec) -> list[Fields]:
    nals = _NALS[codec]
    starts = [b"\0\0\0\1", b"\0\0\1", b"\0\0\0\0\1"]
    annex_b = b"".join(starts[at % 3] + nal for at, nal in enumerate(nals)) + b"\0\0"
    digest = slice_digest(split_nals(annex_b, ANNEX_B), codec).hex()
    framed = [b"".join(len(nal).to_bytes(size, "big") + nal for nal in nals) for size in (1, 2, 4)]
    # a muxer that left a zero behind a NAL unit
    loose = b"".join((len(nal) + 1).to_bytes(4, "big") + nal + b"\0" for nal in nals)
    packets = [(0, annex_b), *zip((1, 2, 4), framed, strict=True), (4, loose)]
    return [
        {"codec": codec, "length_bytes": size, "packet": packet.hex(), "digest": digest}
        for size, packet in packets
    ]


def _records() -> list[bytes]:
    """Around where the payload's size takes another byte, and what looks like a start code."""
    return [
        b"\2",
        bytes(4),
        bytes.fromhex("0100000001000000020000000300000000"),
        bytes.fromhex("020000"),
        seeded("sei", 238),
        seeded("sei", 239),
        seeded("sei", 240),
    ]


def _sei(record: bytes) -> Fields:
    return {
        "record": record.hex(),
        "h264": sei_nal(record, "h264").hex(),
        "h265": sei_nal(record, "h265").hex(),
    }


def _packet(codec: Codec) -> Fields:
    """As an encoder gives it, with its own SEI, and what becomes of it with two records."""
    header = b"\x06" if codec == "h264" else b"\x4e\x01"
    own = header + bytes((5, 20)) + _FOREIGN_UUID + b"x264\x80"
    nals = [*_NALS[codec][:-2], own, *_NALS[codec][-2:]]
    packet = b"".join(b"\0\0\0\1" + nal for nal in nals)
    records = [bytes.fromhex("020000"), b"\1" + seeded("packet", 20)]
    # somebody may put several messages into one NAL unit
    ours = bytes((5, 16 + len(records[1]))) + UUID + records[1]
    both = b"\0\0\0\1" + header + bytes((5, 20)) + _FOREIGN_UUID + b"x264" + ours + b"\x80"
    return {
        "codec": codec,
        "packet": packet.hex(),
        "records": [record.hex() for record in records],
        "with_records": with_records(packet, records, codec).hex(),
        "several_messages": (both + packet).hex(),
        "several_records": [records[1].hex()],
    }


def _sidecars() -> list[Fields]:
    magic, record = b"bauta/1 sidecar\n", b"\0\0\0\3abc"
    known = [
        (b"", 0),
        (magic[:7], 0),
        (magic, 0),
        (magic + record, 1),
        (magic + record + b"\0\0", 1),
        (magic + record + b"\0\0\0\4abc", 1),
        (magic + record * 2, 2),
    ]
    return [{"file": file.hex(), "records": [b"abc".hex()] * count} for file, count in known]
