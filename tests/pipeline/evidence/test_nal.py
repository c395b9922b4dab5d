"""NAL units: taken apart by either framing, told apart, digested; bytes may come from anywhere."""

from __future__ import annotations

import hashlib
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RecordError
from pipeline.evidence.nal import (
    ANNEX_B,
    Codec,
    Framing,
    framing_of,
    is_slice,
    nal_type,
    slice_digest,
    split_nals,
)

CODECS: tuple[Codec, ...] = ("h264", "h265")
AVCC = bytes.fromhex("01640016ff e1000467640016 01000468ee3cb0")
HVCC = bytes.fromhex("0101600000009000000000001e f000fcfdf8f80000 0f 00")

codecs = st.sampled_from(CODECS)
framings = st.sampled_from([ANNEX_B, Framing(1), Framing(2), Framing(4)])
# as emulation prevention leaves them: no start code inside, no zero at the end
nal_units = st.binary(min_size=1, max_size=60).map(
    lambda data: data.replace(b"\0\0", b"\0\2") + b"\x80"
)


def with_lengths(nals: list[bytes], length_bytes: int) -> bytes:
    return b"".join(len(nal).to_bytes(length_bytes, "big") + nal for nal in nals)


# --- framing ---


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize("extradata", [None, b"", b"\0\0\1\x67", b"\0\0\0\1\x67\x64", b"\0\0\0\1"])
def test_without_lengths_it_is_annex_b(codec: Codec, extradata: bytes | None) -> None:
    assert framing_of(extradata, codec) == ANNEX_B


@pytest.mark.parametrize(("low_bits", "length_bytes"), [(0, 1), (1, 2), (3, 4)])
def test_the_codec_header_says_how_long_lengths_are(low_bits: int, length_bytes: int) -> None:
    avcc = AVCC[:4] + bytes((0xFC | low_bits,)) + AVCC[5:]
    assert framing_of(avcc, "h264") == Framing(length_bytes)
    for others in (0x0C, 0xFC, 0x00):  # frame rate, layers, nesting share the byte
        hvcc = HVCC[:21] + bytes((others | low_bits,)) + HVCC[22:]
        assert framing_of(hvcc, "h265") == Framing(length_bytes)


def test_early_writers_of_h265_left_the_version_at_0() -> None:
    assert framing_of(b"\0" + HVCC[1:], "h265") == Framing(4)


@pytest.mark.parametrize(
    ("extradata", "codec"),
    [
        (AVCC[:6], "h264"),
        (HVCC[:22], "h265"),
        (AVCC, "h265"),
        (b"\2" + AVCC[1:], "h264"),
        (b"\0" + AVCC[1:], "h264"),
        (b"\2" + HVCC[1:], "h265"),
        (AVCC[:4] + b"\xfe" + AVCC[5:], "h264"),  # lengths of 3 bytes
        (HVCC[:21] + b"\x0e" + HVCC[22:], "h265"),
        (b"\0\0", "h264"),
        (b"text", "h265"),
    ],
)
def test_a_damaged_codec_header_is_refused(extradata: bytes, codec: Codec) -> None:
    with pytest.raises(RecordError):
        framing_of(extradata, codec)


@pytest.mark.parametrize("length_bytes", [-1, 3, 5, 8])
def test_no_other_lengths(length_bytes: int) -> None:
    with pytest.raises(RecordError, match="length prefixes"):
        Framing(length_bytes)


# --- split ---


def test_start_codes_of_three_and_four_bytes() -> None:
    packet = b"\0\0\0\1\x67\x64\0\0\1\x68\xee\0\0\0\1\x65\x88\0\0\1\x65\x99"
    assert split_nals(packet, ANNEX_B) == [b"\x67\x64", b"\x68\xee", b"\x65\x88", b"\x65\x99"]


@given(st.lists(st.tuples(st.integers(0, 4), nal_units)), st.integers(0, 4))
def test_start_codes_and_zeros_around_them_are_no_content(
    parts: list[tuple[int, bytes]], after: int
) -> None:
    packet = b"".join(bytes(zeros) + b"\0\0\1" + nal for zeros, nal in parts) + bytes(after)
    assert split_nals(packet, ANNEX_B) == [nal for _, nal in parts]


@given(st.lists(nal_units), st.sampled_from([1, 2, 4]))
def test_lengths_give_the_same_units(nals: list[bytes], length_bytes: int) -> None:
    assert split_nals(with_lengths(nals, length_bytes), Framing(length_bytes)) == nals


@given(st.lists(st.tuples(nal_units, st.integers(0, 3))))
def test_zeros_that_a_muxer_counted_in_are_taken_off(parts: list[tuple[bytes, int]]) -> None:
    counted_in = with_lengths([nal + bytes(zeros) for nal, zeros in parts], 4)
    assert split_nals(counted_in, Framing(4)) == [nal for nal, _ in parts]


def test_a_length_may_look_like_a_start_code() -> None:
    nals = [b"\x65", b"\x41" * 256, b"\x41" * 257]
    assert split_nals(with_lengths(nals, 4), Framing(4)) == nals


def test_empty_units_are_left_out() -> None:
    assert split_nals(b"\0\0\1\0\0\1\x65\0\0\1", ANNEX_B) == [b"\x65"]
    assert split_nals(with_lengths([b"", b"\x65", b"\0\0", b""], 2), Framing(2)) == [b"\x65"]


@pytest.mark.parametrize("framing", [ANNEX_B, Framing(1), Framing(4)])
def test_an_empty_packet_has_none(framing: Framing) -> None:
    assert split_nals(b"", framing) == []


def test_what_stands_before_the_first_start_code_is_refused() -> None:
    with pytest.raises(RecordError, match="start code"):
        split_nals(b"\0\x65\0\0\1\x65", ANNEX_B)
    with pytest.raises(RecordError, match="start code"):
        split_nals(with_lengths([b"\x65\x88\x80"], 4), ANNEX_B)


@pytest.mark.parametrize("length_bytes", [1, 2, 4])
def test_a_packet_that_was_cut_short_is_refused(length_bytes: int) -> None:
    nals = [b"\x67\x64\x80", b"\x65\x88\x80"]
    packet = with_lengths(nals, length_bytes)
    whole = (0, len(packet) // 2, len(packet))
    for size in range(len(packet) + 1):
        if size in whole:
            assert split_nals(packet[:size], Framing(length_bytes)) == nals[: whole.index(size)]
        else:
            with pytest.raises(RecordError, match="shorter"):
                split_nals(packet[:size], Framing(length_bytes))


# --- slices and their digest ---


@pytest.mark.parametrize("kind", range(32))
def test_slices_of_h264_are_types_1_to_5(kind: int) -> None:
    for reference in range(4):
        nal = bytes((reference << 5 | kind, 0x80))
        assert nal_type(nal, "h264") == kind
        assert is_slice(nal, "h264") == (kind in (1, 2, 3, 4, 5))


@pytest.mark.parametrize("kind", range(64))
def test_slices_of_h265_are_types_0_to_31(kind: int) -> None:
    for layer in (0, 1):
        nal = bytes((kind << 1 | layer, 1, 0x80))
        assert nal_type(nal, "h265") == kind
        assert is_slice(nal, "h265") == (kind <= 31)


@pytest.mark.parametrize("codec", CODECS)
def test_an_empty_unit_has_no_type(codec: Codec) -> None:
    with pytest.raises(RecordError):
        is_slice(b"", codec)


def test_the_digest_is_as_the_format_says() -> None:
    sps, one, two = b"\x67\x64", b"\x65\x88\x80", b"\x41\x9a"
    by_hand = hashlib.sha256(b"\0\0\0\3" + one + b"\0\0\0\2" + two).digest()[:16]
    assert slice_digest([sps, one, b"\x06\5\x80", two, b"\x0c"], "h264") == by_hand
    assert slice_digest([one, two], "h264") == by_hand
    assert slice_digest([b"\x26\1\xaf", b"\x4e\1\x80"], "h265") == slice_digest(
        [b"\x42\1\1", b"\x26\1\xaf"], "h265"
    )


def test_other_slices_have_another_digest() -> None:
    one, two = b"\x65\x88\x80", b"\x41\x9a\x41\x80"
    others = [
        [one, two],
        [two, one],
        [one],
        [two],
        [one, two, two],
        [one[:-1] + b"\x81", two],
        [one + two],
        [one + two[:2], two[2:]],  # the same bytes, divided elsewhere
        [],
    ]
    assert len({slice_digest(nals, "h264") for nals in others}) == len(others)


# --- bytes from anywhere ---


@given(st.binary(max_size=400), framings, codecs)
def test_any_bytes_are_units_or_a_record_error(data: bytes, framing: Framing, codec: Codec) -> None:
    with suppress(RecordError):
        nals = split_nals(data, framing)
        assert all(nal and not nal.endswith(b"\0") for nal in nals)
        assert len(slice_digest(nals, codec)) == 16


@given(st.binary(max_size=60) | st.sampled_from([AVCC, HVCC]).map(lambda data: data[:22]), codecs)
def test_any_codec_header_is_a_framing_or_a_record_error(data: bytes, codec: Codec) -> None:
    with suppress(RecordError):
        assert framing_of(data, codec).length_bytes in (0, 1, 2, 4)
