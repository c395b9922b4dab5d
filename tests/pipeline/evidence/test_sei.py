"""Records as SEI: their bytes, their place, and what a reader makes of SEI from anywhere."""

from __future__ import annotations

import uuid
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RecordError
from pipeline.evidence.key_record import MOST_RECORD_BYTES
from pipeline.evidence.nal import ANNEX_B, Codec, is_slice, split_nals
from pipeline.evidence.sei import UUID, records_in, sei_nal, with_records
from support.records import filler

CODECS: tuple[Codec, ...] = ("h264", "h265")
HEADER: dict[Codec, bytes] = {"h264": b"\x06", "h265": b"\x4e\x01"}
FOREIGN = bytes(range(0x10, 0x20))

codecs = st.sampled_from(CODECS)
# full of what needs emulation prevention
zeroish = st.lists(st.sampled_from([0, 0, 0, 0, 1, 2, 3, 4, 0xFF]), min_size=1, max_size=400).map(
    bytes
)
record_bytes = zeroish | st.binary(min_size=1, max_size=700)


def message(kind: int, payload: bytes) -> bytes:
    """One SEI message, as the standards write it."""
    numbers = b"".join(
        b"\xff" * (value // 255) + bytes((value % 255,)) for value in (kind, len(payload))
    )
    return numbers + payload


def escaped(data: bytes) -> bytes:
    """Emulation prevention as the standards tell it, byte by byte."""
    out, zeros = bytearray(), 0
    for value in data:
        if zeros == 2 and value <= 3:
            out.append(3)
            zeros = 0
        out.append(value)
        zeros = zeros + 1 if value == 0 else 0
    return bytes(out)


def sei_of(codec: Codec, *messages: bytes) -> bytes:
    return HEADER[codec] + escaped(b"".join(messages) + b"\x80")


# --- one NAL unit ---


def test_the_uuid_is_that_of_its_name() -> None:
    assert uuid.uuid5(uuid.NAMESPACE_URL, "bauta/1 evidence").bytes == UUID
    assert str(uuid.UUID(bytes=UUID)) == "42b7d53e-7d97-5ec6-a160-091bfe0dd71c"


@pytest.mark.parametrize("codec", CODECS)
def test_the_bytes_of_a_small_one(codec: Codec) -> None:
    made = HEADER[codec] + b"\x05\x15" + UUID + b"\2\0\0\3\1\xff\x80"
    assert sei_nal(b"\2\0\0\1\xff", codec) == made


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("size", [1, 238, 239, 240, 493, 494, 495, 300_000])
def test_the_size_is_written_in_steps_of_255(codec: Codec, size: int) -> None:
    record = filler(size, size)
    assert sei_nal(record, codec) == sei_of(codec, message(5, UUID + record))


@given(record_bytes, codecs)
def test_a_record_comes_back(record: bytes, codec: Codec) -> None:
    nal = sei_nal(record, codec)
    assert nal == sei_of(codec, message(5, UUID + record))
    assert records_in([nal], codec) == [record]
    assert not any(b"\0\0" + bytes((low,)) in nal for low in range(3))
    assert split_nals(b"\0\0\1" + nal + b"\0\0\0\1" + nal, ANNEX_B) == [nal, nal]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    "record",
    [bytes(300_000), b"\0\0\1" * 100_000, b"\0\0\3" * 100_000, b"\xff" * 300_000, UUID * 20_000],
)
def test_a_large_record_of_a_pattern_comes_back(codec: Codec, record: bytes) -> None:
    assert records_in([sei_nal(record, codec)], codec) == [record]


@pytest.mark.parametrize("size", [0, MOST_RECORD_BYTES + 1])
def test_a_record_of_no_size_is_refused(size: int) -> None:
    with pytest.raises(RecordError, match="a record has 1 to"):
        sei_nal(bytes(size), "h264")


def test_the_largest_record_comes_back() -> None:
    record = filler(1, MOST_RECORD_BYTES)
    assert records_in([sei_nal(record, "h265")], "h265") == [record]


# --- in a packet ---

HEADS: dict[Codec, list[bytes]] = {
    "h264": [b"\x09\xf0", b"\x67\x64\x80", b"\x68\xee\x80", sei_of("h264", message(0, b"\x80"))],
    "h265": [b"\x46\1\x50", b"\x40\1\x0c", b"\x42\1\x80", b"\x44\1\x80", b"\x4e\1\1\1\1\x80"],
}
SLICES: dict[Codec, list[bytes]] = {
    "h264": [b"\x65\x88\x80", b"\x65\x99\x80", b"\x0c\xff\x80"],  # and filler data
    "h265": [b"\x26\1\xaf", b"\x26\1\x2f", b"\x50\1\x84\1\1\x80"],  # and SEI after the picture
}


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("code", [b"\0\0\1", b"\0\0\0\1", b"\0\0\0\0\0\1"])
@pytest.mark.parametrize("heads", range(6))
def test_records_stand_before_the_first_slice(codec: Codec, code: bytes, heads: int) -> None:
    before, behind = HEADS[codec][:heads], SLICES[codec]
    packet = b"".join(code + nal for nal in before + behind)
    packet = packet[max(0, len(code) - 4) :]  # a packet begins with 3 or 4 bytes of them
    records = [b"one", b"\0\0\0", b"three"]
    made = with_records(packet, records, codec)
    ours = [sei_nal(record, codec) for record in records]
    assert split_nals(made, ANNEX_B) == [*before, *ours, *behind]
    assert made.replace(b"".join(b"\0\0\0\1" + nal for nal in ours), b"") == packet
    assert records_in(split_nals(made, ANNEX_B), codec) == records


@pytest.mark.parametrize("codec", CODECS)
def test_a_packet_without_records_stays_as_it_is(codec: Codec) -> None:
    assert with_records(b"anything", [], codec) == b"anything"


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    ("packet", "match"),
    [
        (b"", "start code"),
        (b"\0\0\0\3\x65\x88\x80", "start code"),  # a length
        (b"\0\0\1", "no picture"),
        (b"\0\0\1\x7e\1\x80", "no picture"),
    ],
)
def test_a_packet_without_a_picture_is_refused(codec: Codec, packet: bytes, match: str) -> None:
    with pytest.raises(RecordError, match=match):
        with_records(packet, [b"record"], codec)


# --- what a reader finds ---


@pytest.mark.parametrize("codec", CODECS)
def test_only_ours_are_read(codec: Codec) -> None:
    foreign = [
        sei_of(codec, message(5, FOREIGN + b"x264 - core 164")),
        sei_of(codec, message(4, UUID + b"registered")),
        sei_of(codec, message(260, UUID + b"some later type")),
        sei_of(codec, message(5, FOREIGN + UUID + b"not at the beginning")),
        sei_of(codec, message(5, UUID[:15])),
        sei_of(codec, message(5, UUID[:15] + b"\x1d another version")),
    ]
    nals = [*foreign, sei_nal(b"first", codec), *SLICES[codec], *foreign, sei_nal(b"last", codec)]
    assert records_in(nals, codec) == [b"first", b"last"]


@pytest.mark.parametrize("codec", CODECS)
def test_messages_may_share_a_unit(codec: Codec) -> None:
    """Some muxers join them."""
    nal = sei_of(
        codec,
        message(1, b"\0\0\1"),
        message(5, UUID + b"one"),
        message(5, FOREIGN + bytes(600)),
        message(300, b""),
        message(5, UUID + b"\0\0\0"),
        message(6, b"\xff" * 300),
    )
    assert records_in([nal], codec) == [b"one", b"\0\0\0"]


def test_sei_elsewhere_is_not_ours() -> None:
    nal = sei_nal(b"record", "h265")
    assert records_in([nal], "h265") == [b"record"]
    assert records_in([b"\x50" + nal[1:]], "h265") == []  # after the picture: type 40
    assert records_in([b"\x26" + nal[1:]], "h265") == []  # a slice
    assert records_in([sei_nal(b"record", "h264")], "h265") == []
    assert records_in([nal], "h264") == []
    assert is_slice(nal, "h264") is False


@pytest.mark.parametrize("codec", CODECS)
def test_what_was_cut_short_leaves_the_others(codec: Codec) -> None:
    record = filler(1, 600)
    whole, other = sei_nal(record, codec), sei_nal(b"whole", codec)
    for size in range(len(HEADER[codec]) + 1, len(whole) - 1):
        *damaged, last = records_in([whole[:size], other], codec)
        assert last == b"whole"
        assert len(damaged) <= 1
        assert all(record.startswith(left) for left in damaged)


@pytest.mark.parametrize("codec", CODECS)
def test_a_unit_of_nothing_but_messages_is_given_up(codec: Codec) -> None:
    many = b"\5\0" * 1_000_000
    assert records_in([HEADER[codec] + many + message(5, UUID + b"far")], codec) == []
    assert records_in([HEADER[codec] + message(5, UUID + b"near") + many], codec) == [b"near"]


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("tail", [b"", b"\5", b"\5\xff", b"\5\xff\xff", b"\xff" * 1_000_000])
def test_a_number_without_an_end_ends_the_unit(codec: Codec, tail: bytes) -> None:
    nal = HEADER[codec] + message(5, UUID + b"record") + tail
    assert records_in([nal], codec) == [b"record"]


def test_an_empty_unit_is_refused() -> None:
    with pytest.raises(RecordError):
        records_in([b""], "h264")


@given(st.lists(st.binary(max_size=200)), codecs)
def test_any_units_are_records_or_a_record_error(nals: list[bytes], codec: Codec) -> None:
    with suppress(RecordError):
        records_in([HEADER[codec] + nal for nal in nals] + nals, codec)


@given(st.binary(max_size=80), st.binary(max_size=80), codecs)
def test_any_messages_around_ours_are_stepped_over(
    before: bytes, after: bytes, codec: Codec
) -> None:
    found = records_in([HEADER[codec] + before + message(5, UUID + b"it") + after], codec)
    assert all(isinstance(record, bytes) for record in found)


@given(record_bytes, st.data(), codecs)
def test_changed_bytes_are_some_record_or_none(
    record: bytes, data: st.DataObject, codec: Codec
) -> None:
    nal = bytearray(sei_nal(record, codec))
    for _ in range(data.draw(st.integers(1, 4))):
        nal[data.draw(st.integers(0, len(nal) - 1))] ^= data.draw(st.integers(1, 255))
    assert len(records_in([bytes(nal), sei_nal(b"whole", codec)], codec)) <= 2 + len(nal) // 18
