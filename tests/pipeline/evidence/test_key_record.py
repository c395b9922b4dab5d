"""The key record: written and read again, every rule refused, bytes from anywhere; its fields."""

from __future__ import annotations

import hashlib
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RecordError
from pipeline.evidence.key_record import (
    DETAILS,
    MOST_GROUPS,
    MOST_KEYS,
    MOST_RECORD_BYTES,
    KeyGroup,
    KeyRecord,
    parse_key_record,
)
from pipeline.evidence.wire import MOST_TEXT_BYTES, Reader, number, text
from support.records import a_group, a_key_record, a_threshold_group, filler

RECORD = a_key_record()
ENCODED = RECORD.encode()
# of the encoded record: kind, ids, frames and sequence, time, size, detail
DETAIL_AT = 1 + 16 + 16 + 4 + 4 + 8 + 2 + 2
GROUPS_AT = DETAIL_AT + 1 + 1 + len("Gare du Nord") + 1 + len("quai n° 3".encode()) + 32

names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=20)
sized = {size: st.binary(min_size=size, max_size=size) for size in (16, 32, 48, 64)}


@st.composite
def key_groups(draw: st.DrawFn, name: str) -> KeyGroup:
    threshold = draw(st.integers(1, 4))
    keys = 1 if threshold == 1 else draw(st.integers(threshold, 6))
    files = tuple(draw(st.binary(max_size=40)) for _ in range(keys))
    sealed = draw(sized[48]) if threshold > 1 else None
    return KeyGroup(name, threshold, draw(sized[32]), files, sealed)


@st.composite
def key_records(draw: st.DrawFn) -> KeyRecord:
    of = sorted(draw(st.sets(names, min_size=1, max_size=4)))
    return KeyRecord(
        epoch_id=draw(sized[16]),
        previous_id=draw(sized[16]),
        previous_frames=draw(st.integers(0, 2**32 - 1)),
        sequence=draw(st.integers(0, 2**32 - 1)),
        started_utc_ms=draw(st.integers(0, 2**64 - 1)),
        width_px=draw(st.integers(2, 2**16 - 1)),
        height_px=draw(st.integers(2, 2**16 - 1)),
        detail=draw(st.sampled_from(DETAILS)),
        site=draw(st.just("") | names),
        camera=draw(st.just("") | names),
        service_key=draw(sized[32]),
        groups=tuple(draw(key_groups(name)) for name in of),
        digest=draw(sized[16]),
        signature=draw(sized[64]),
    )


# --- round trips ---


@given(key_records())
def test_what_was_written_is_read(record: KeyRecord) -> None:
    assert parse_key_record(record.encode()) == record


def test_the_bytes_are_as_the_format_says() -> None:
    police, court = a_group(), a_threshold_group()
    assert court.sealed_secret is not None
    by_hand = [
        *(b"\1", filler(10, 16), filler(11, 16)),
        *(b"\0\0\0\xfa", b"\0\0\0\x07", (1_790_000_000_123).to_bytes(8, "big")),
        *(b"\x07\x80", b"\x04\x38", b"\1"),
        *(b"\x0cGare du Nord", b"\x0aquai n\xc2\xb0 3", filler(12, 32), b"\2"),
        *(b"\5court", b"\2", court.commitment, b"\3"),
        *(b"\0" + bytes((len(file),)) + file for file in court.age_files),
        court.sealed_secret,
        *(b"\6police", b"\1", police.commitment, b"\1", b"\0\xc8", police.age_files[0]),
        *(filler(13, 16), filler(17, 16), filler(14, 64)),
    ]
    assert b"".join(by_hand) == ENCODED
    assert parse_key_record(ENCODED) == RECORD


def test_what_is_signed_and_what_binds() -> None:
    assert RECORD.to_sign == b"bauta/1 key" + ENCODED[:-64]
    assert RECORD.context == hashlib.sha256(ENCODED[:-64]).digest()
    signed = RECORD.signed(filler(99, 64))
    assert (signed.context, signed.to_sign) == (RECORD.context, RECORD.to_sign)
    assert signed.encode() == ENCODED[:-64] + filler(99, 64)


def test_the_largest_fits() -> None:
    groups = tuple(a_threshold_group(f"{at:02}", at, threshold=2) for at in range(MOST_GROUPS))
    most = replace(groups[0], age_files=tuple(filler(at, 300) for at in range(MOST_KEYS)))
    record = replace(RECORD, groups=(most, *groups[1:]), site="é" * 127, camera="c" * 255)
    assert parse_key_record(record.encode()) == record


def test_nothing_secret_is_shown() -> None:
    shown = repr(RECORD)
    for hidden in (filler(12, 32), filler(1, 200), filler(2, 48), filler(14, 64)):
        assert repr(hidden[-16:])[2:-1] not in shown


# --- rules ---


@pytest.mark.parametrize(
    "change",
    [
        {"epoch_id": bytes(15)},
        {"previous_id": bytes(17)},
        {"service_key": bytes(31)},
        {"digest": bytes(32)},
        {"signature": b""},
        {"detail": "everything"},
        {"width_px": 1},
        {"width_px": 2**16},
        {"height_px": 0},
        {"height_px": 2**16},
        {"groups": ()},
        {"groups": (a_group("b"), a_group("a"))},
        {"groups": (a_group("a"), a_group("a", 5))},
        {"groups": tuple(a_group(f"{at:02}") for at in range(MOST_GROUPS + 1))},
    ],
    ids=str,
)
def test_a_record_that_breaks_a_rule(change: dict[str, Any]) -> None:
    with pytest.raises(RecordError):
        replace(RECORD, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"previous_frames": 2**32},
        {"sequence": -1},
        {"started_utc_ms": 2**64},
        {"site": "s" * 256},
        {"camera": "é" * 128},
        {"camera": "\ud800"},  # half of a character: no UTF-8
        {"groups": (replace(a_group(), age_files=(bytes(2**16),)),)},
        {"groups": (replace(a_group(), name="n" * 256),)},
    ],
    ids=", ".join,
)
def test_what_does_not_fit_is_not_written(change: dict[str, Any]) -> None:
    with pytest.raises(RecordError):
        replace(RECORD, **change).encode()


def test_a_record_that_is_too_long_is_not_written() -> None:
    file = bytes(2**16 - 1)
    large = replace(a_threshold_group(), age_files=(file,) * MOST_KEYS)
    with pytest.raises(RecordError, match="too long"):
        replace(RECORD, groups=(large, replace(large, name="d"))).encode()


@pytest.mark.parametrize(
    "change",
    [
        {"name": ""},
        {"commitment": bytes(31)},
        {"threshold": 0},
        {"threshold": 1},  # with three files
        {"threshold": 4},  # of three
        {"threshold": MOST_KEYS + 1},
        {"age_files": (b"one",)},
        {"age_files": (b"",) * (MOST_KEYS + 1)},
        {"sealed_secret": None},
        {"sealed_secret": bytes(47)},
    ],
    ids=", ".join,
)
def test_a_threshold_group_that_breaks_a_rule(change: dict[str, Any]) -> None:
    with pytest.raises(RecordError):
        replace(a_threshold_group(), **change)


@pytest.mark.parametrize(
    "change", [{"age_files": ()}, {"age_files": (b"a", b"b")}, {"sealed_secret": bytes(48)}]
)
def test_a_group_without_a_threshold_has_one_file(change: dict[str, Any]) -> None:
    with pytest.raises(RecordError, match="one age file"):
        replace(a_group(), **change)


# --- bytes from anywhere ---


def test_a_record_that_was_cut_or_made_longer_is_refused() -> None:
    for size in range(len(ENCODED)):
        with pytest.raises(RecordError):
            parse_key_record(ENCODED[:size])
    with pytest.raises(RecordError, match="longer than it says"):
        parse_key_record(ENCODED + b"\0")


@pytest.mark.parametrize(
    ("at", "put", "match"),
    [
        (0, b"\2", "no key record"),
        (DETAIL_AT, bytes((len(DETAILS),)), "unknown detail"),
        (DETAIL_AT - 4, b"\0\0", "picture size"),
        (DETAIL_AT + 2, b"\xff", "UTF-8"),
        (GROUPS_AT, b"\0", "longer|groups"),
        (GROUPS_AT + 1 + 6, b"\0", "threshold"),
    ],
)
def test_a_changed_field_is_refused(at: int, put: bytes, match: str) -> None:
    with pytest.raises(RecordError, match=match):
        parse_key_record(ENCODED[:at] + put + ENCODED[at + len(put) :])


def test_more_than_the_most_is_refused() -> None:
    with pytest.raises(RecordError, match="too long"):
        parse_key_record(b"\1" + bytes(MOST_RECORD_BYTES))


def test_groups_in_another_order_are_refused() -> None:
    """One record, one encoding: another order would be another context of the same epoch."""
    one, other = (replace(RECORD, groups=(group,)).encode() for group in RECORD.groups)
    parts = [data[GROUPS_AT + 1 : -96] for data in (one, other)]
    assert ENCODED[GROUPS_AT + 1 : -96] == parts[0] + parts[1]
    with pytest.raises(RecordError, match="sorted"):
        parse_key_record(ENCODED[: GROUPS_AT + 1] + parts[1] + parts[0] + ENCODED[-96:])


@given(st.binary(max_size=600), st.booleans())
def test_any_bytes_are_a_record_or_a_record_error(data: bytes, with_kind: bool) -> None:
    with suppress(RecordError):
        parse_key_record(b"\1" * with_kind + data)


@given(key_records(), st.data())
def test_changed_bytes_are_another_record_or_a_record_error(
    record: KeyRecord, data: st.DataObject
) -> None:
    changed = bytearray(record.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(RecordError):
        assert parse_key_record(bytes(changed)).encode() == bytes(changed), "one encoding each"


# --- fields ---


def test_numbers_are_big_endian_and_must_fit() -> None:
    assert number(258, 3) == b"\0\1\2"
    for value, size in ((256, 1), (-1, 4), (1, 0)):
        with pytest.raises(RecordError):
            number(value, size)


@given(st.text(st.characters(codec="utf-8"), max_size=300))
def test_a_text_comes_back_or_is_too_long(value: str) -> None:
    if len(value.encode()) > MOST_TEXT_BYTES:
        with pytest.raises(RecordError, match="at most 255 bytes"):
            text(value)
    else:
        reader = Reader(text(value))
        assert reader.text() == value
        reader.end()


def test_a_reader_knows_where_it_is() -> None:
    reader = Reader(b"\0\1abc")
    assert (reader.number(2), reader.read, reader.left) == (1, b"\0\1", 3)
    with pytest.raises(RecordError, match="longer"):
        reader.end()
    with pytest.raises(RecordError, match="cut short"):
        reader.take(4)
    assert (reader.take(3), reader.left) == (b"abc", 0)
    reader.end()
