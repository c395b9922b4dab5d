"""Packets are taken apart again by a reader written from the RFCs, not from the sender."""

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.source.rtp_h264 import nal_type, packetize, sender_report, split_nals

# A NAL unit: no start code inside, which the encoder guarantees, and no zero byte at the end.
payloads = st.binary(max_size=400).map(
    lambda body: body.replace(b"\x00\x00", b"\x00\x07").rstrip(b"\x00")
)
nals_of = st.lists(
    st.builds(
        lambda header, body: bytes([header]) + body + b"\x80",
        st.sampled_from([0x65, 0x41, 0x67, 0x68, 0x06]),
        payloads,
    ),
    min_size=1,
    max_size=6,
)


def depacketize(packets: list[bytes]) -> list[bytes]:
    nals: list[bytes] = []
    for packet in packets:
        payload = packet[12:]
        if payload[0] & 31 != 28:
            nals.append(payload)
            continue
        start, end = payload[1] & 0x80, payload[1] & 0x40
        assert not (start and end), "a fragmented unit has at least two fragments"
        if start:
            nals.append(bytes([payload[0] & 0xE0 | payload[1] & 31]))
        nals[-1] += payload[2:]
    return nals


@settings(deadline=None)
@given(nals=nals_of, long_codes=st.lists(st.booleans(), min_size=6, max_size=6))
def test_split_finds_every_nal(nals: list[bytes], long_codes: list[bool]) -> None:
    codes = (b"\x00\x00\x00\x01" if long else b"\x00\x00\x01" for long in long_codes)
    annexb = b"".join(code + nal for code, nal in zip(codes, nals, strict=False))

    assert split_nals(annexb) == nals


def test_split_refuses_what_is_not_annex_b() -> None:
    with pytest.raises(ValueError, match="start code"):
        split_nals(b"\x00\x00\x10\x65\x00\x00\x01\x65")
    assert split_nals(b"") == []


@settings(deadline=None)
@given(
    nals=nals_of,
    mtu=st.integers(min_value=15, max_value=500),
    sequence=st.integers(min_value=0, max_value=0xFFFF),
    timestamp=st.integers(min_value=0, max_value=1 << 40),
)
def test_packets_round_trip(nals: list[bytes], mtu: int, sequence: int, timestamp: int) -> None:
    packets = packetize(nals, timestamp, sequence, 0xCAFEF00D, mtu)

    assert depacketize(packets) == nals
    assert all(len(packet) <= mtu for packet in packets)
    headers = [struct.unpack(">BBHII", packet[:12]) for packet in packets]
    assert {header[0] for header in headers} == {0x80}
    assert [header[1] for header in headers] == [96] * (len(packets) - 1) + [96 | 0x80]
    assert [header[2] for header in headers] == [
        (sequence + index) % 65536 for index in range(len(packets))
    ]
    assert {header[3:] for header in headers} == {(timestamp % (1 << 32), 0xCAFEF00D)}


def test_a_nal_of_exactly_the_room_is_not_fragmented() -> None:
    assert len(packetize([b"\x65" * 88], 0, 0, 1, mtu=100)) == 1
    assert len(packetize([b"\x65" * 89], 0, 0, 1, mtu=100)) == 2
    assert nal_type(packetize([b"\x65" * 89], 0, 0, 1, mtu=100)[0][12:]) == 28


@pytest.mark.parametrize("nals", [[], [b""], [b"\x65", b""]])
def test_packetize_refuses_nothing(nals: list[bytes]) -> None:
    with pytest.raises(ValueError, match="NAL units"):
        packetize(nals, 0, 0, 1, mtu=100)


def test_packetize_refuses_a_tiny_mtu() -> None:
    with pytest.raises(ValueError, match="at least 15 bytes, got 14"):
        packetize([b"\x65"], 0, 0, 1, mtu=14)


def test_sender_report_ties_the_wall_clock_to_the_stream() -> None:
    report = sender_report(7, 1_700_000_000_250_000_000, 90_000 + (1 << 32), 11, 12_345)

    version, kind, words, *fields = struct.unpack(">BBHIIIIII", report[:28])
    assert (version, kind, words) == (0x80, 200, 6)
    # A quarter of a second is a quarter of 2**32.
    assert fields == [7, 1_700_000_000 + 2_208_988_800, 1 << 30, 90_000, 11, 12_345]
    description = report[28:]
    assert description[:2] == bytes([0x81, 202])
    assert len(description) == 4 * (1 + struct.unpack(">H", description[2:4])[0])
    assert description.endswith(b"\x00")
