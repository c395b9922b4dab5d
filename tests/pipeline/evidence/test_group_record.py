"""The group record: written and read again, every rule refused, bytes from anywhere."""

from __future__ import annotations

import tracemalloc
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RecordError
from pipeline.evidence.group_record import (
    MOST_ENTRIES,
    MOST_FRAMES,
    SCENE_TRACK,
    Entry,
    EntryKind,
    GroupHead,
    GroupRecord,
    Place,
    associated_data,
    nonce,
    parse_group_record,
)
from pipeline.evidence.key_record import MOST_RECORD_BYTES
from support.records import a_group_record, an_entry, filler

RECORD = a_group_record()
ENCODED = RECORD.encode()
FRAMES_AT = 1 + 16 + 4
FLAGS_AT = FRAMES_AT + 1
COUNT_AT = FLAGS_AT + 1 + 8 * 16
ENTRY_AT = COUNT_AT + 2

digests = st.binary(min_size=16, max_size=16)
u16 = st.integers(0, 2**16 - 1)


@st.composite
def group_records(draw: st.DrawFn) -> GroupRecord:
    frames = draw(st.lists(digests, min_size=1, max_size=MOST_FRAMES))
    head = GroupHead(
        draw(digests), draw(st.integers(0, 2**32 - 1)), tuple(frames), draw(st.booleans())
    )
    kinds = st.sampled_from(EntryKind)
    names = draw(st.sets(st.tuples(kinds, st.integers(0, SCENE_TRACK - 1)), max_size=6))
    entries = tuple(
        Entry(
            Place(
                kind,
                track,
                draw(st.integers(1, 2 ** len(frames) - 1)),
                draw(st.tuples(u16, u16, u16, u16)),
            ),
            draw(st.binary(min_size=16, max_size=60)),
        )
        for kind, track in sorted(names)
    )
    return GroupRecord(head, entries, draw(st.binary(min_size=64, max_size=64)))


# --- round trips ---


@given(group_records())
def test_what_was_written_is_read(record: GroupRecord) -> None:
    assert parse_group_record(record.encode()) == record


def test_the_bytes_are_as_the_format_says() -> None:
    head = b"".join(
        [
            *(b"\2", filler(10, 16), b"\0\0\0\x10", b"\x08", b"\1"),
            *(filler(at, 16) for at in range(8)),
        ]
    )
    box = b"\0\x0a\0\x14\0\x1e\0\x28"
    by_hand = [
        *(head, b"\0\4"),
        *(b"\2", b"\0\0\0\5", b"\3", box, b"\0\0\x90", filler(5, 144)),
        *(b"\2", b"\0\0\0\6", b"\x80", box, b"\0\0\x90", filler(6, 144)),
        *(b"\3", b"\0\0\0\5", b"\3", box, b"\0\0\x10", filler(9, 16)),
        *(b"\4", b"\0\0\0\5", b"\3", box, b"\0\0\x90", filler(5, 144)),
        filler(15, 64),
    ]
    assert b"".join(by_hand) == ENCODED
    assert parse_group_record(ENCODED) == RECORD
    context = filler(30, 32)
    assert RECORD.to_sign(context) == b"bauta/1 group" + context + ENCODED[:-64]
    place = RECORD.entries[1].place
    assert associated_data(context, RECORD.head, place) == (
        b"bauta/1 entry" + context + head + b"\2\0\0\0\6\x80" + box
    )
    assert nonce(RECORD.head, place) == b"\0\0\0\6\0\0\0\2\0\0\0\x10"
    assert RECORD.signed(filler(1, 64)).encode() == ENCODED[:-64] + filler(1, 64)


@pytest.mark.parametrize("is_last", [False, True])
@pytest.mark.parametrize("frames", [1, 2, 7, 8])
def test_groups_of_any_length_and_without_entries(frames: int, is_last: bool) -> None:
    head = GroupHead(bytes(16), 0, (bytes(16),) * frames, is_last)
    record = GroupRecord(head, ())
    assert parse_group_record(record.encode()) == record
    assert len(record.encode()) == 1 + 16 + 4 + 1 + 1 + 16 * frames + 2 + 64


def test_the_most_entries_come_back() -> None:
    entries = tuple(an_entry(track=track) for track in range(MOST_ENTRIES))
    record = replace(RECORD, entries=entries)
    assert parse_group_record(record.encode()) == record


def test_where_an_entry_is() -> None:
    assert an_entry(presence=0b1000_0101).place.offsets == (0, 2, 7)
    assert an_entry(presence=0xFF).place.offsets == tuple(range(8))


def test_no_nonce_comes_twice_in_a_group() -> None:
    nonces = [nonce(RECORD.head, entry.place) for entry in RECORD.entries]
    nonces.append(nonce(replace(RECORD.head, first=24), RECORD.entries[0].place))
    assert len(set(nonces)) == len(nonces) and {len(each) for each in nonces} == {12}


def test_nothing_sealed_is_shown() -> None:
    shown = repr(RECORD)
    for hidden in (filler(5, 144), filler(0, 16), filler(15, 64)):
        assert repr(hidden[-16:])[2:-1] not in shown


# --- rules ---


@pytest.mark.parametrize(
    "change",
    [{"track": -1}, {"track": SCENE_TRACK}, {"presence": 0}, {"presence": 256}, {"presence": -1}],
    ids=str,
)
def test_a_place_that_breaks_a_rule(change: dict[str, Any]) -> None:
    with pytest.raises(RecordError):
        replace(an_entry().place, **change)


@pytest.mark.parametrize(
    "change",
    [
        {"epoch_id": bytes(15)},
        {"digests": ()},
        {"digests": (bytes(16),) * (MOST_FRAMES + 1)},
        {"digests": (bytes(16), bytes(15))},
    ],
    ids=", ".join,
)
def test_a_head_that_breaks_a_rule(change: dict[str, Any]) -> None:
    with pytest.raises(RecordError):
        replace(RECORD.head, **change)


@pytest.mark.parametrize(
    "entries",
    [
        (an_entry(track=6), an_entry(track=5)),
        (an_entry(track=5), an_entry(track=5, presence=4)),
        (an_entry(EntryKind.SCENE, 1), an_entry(EntryKind.FACE, 2)),
        tuple(an_entry(track=track) for track in range(MOST_ENTRIES + 1)),
    ],
    ids=["order", "twice", "kinds", "many"],
)
def test_entries_are_sorted_and_not_too_many(entries: tuple[Entry, ...]) -> None:
    with pytest.raises(RecordError, match="sorted"):
        replace(RECORD, entries=entries)


def test_an_entry_is_in_frames_of_its_group() -> None:
    head = replace(RECORD.head, digests=RECORD.head.digests[:3])
    last = replace(RECORD, head=head, entries=(an_entry(presence=0b100),))
    assert parse_group_record(last.encode()) == last
    with pytest.raises(RecordError, match="a frame that its group does not have"):
        replace(RECORD, head=head, entries=(an_entry(presence=0b1001),))


def test_a_signature_has_64_bytes() -> None:
    with pytest.raises(RecordError, match="signature"):
        RECORD.signed(bytes(63))


@pytest.mark.parametrize(
    "record",
    [
        replace(RECORD, head=replace(RECORD.head, first=2**32)),
        replace(
            RECORD, entries=(Entry(replace(an_entry().place, box_xywh_px=(-2, 0, 2, 2)), b""),)
        ),
        replace(
            RECORD, entries=(Entry(replace(an_entry().place, box_xywh_px=(0, 0, 2, 2**16)), b""),)
        ),
        replace(RECORD, entries=(Entry(an_entry().place, bytes(2**24)),)),
        replace(RECORD, entries=(Entry(an_entry().place, bytes(MOST_RECORD_BYTES)),)),
    ],
    ids=["first", "left", "height", "entry", "record"],
)
def test_what_does_not_fit_is_not_written(record: GroupRecord) -> None:
    with pytest.raises(RecordError):
        record.encode()


# --- bytes from anywhere ---


def test_a_record_that_was_cut_or_made_longer_is_refused() -> None:
    for size in range(len(ENCODED)):
        with pytest.raises(RecordError):
            parse_group_record(ENCODED[:size])
    with pytest.raises(RecordError, match="longer than it says"):
        parse_group_record(ENCODED + b"\0")


@pytest.mark.parametrize(
    ("at", "put", "match"),
    [
        (0, b"\1", "no group record"),
        (FRAMES_AT, b"\0", "1 to 8 frames"),
        (FRAMES_AT, b"\x09", "1 to 8 frames"),
        (FLAGS_AT, b"\2", "unknown flags"),
        (FLAGS_AT, b"\x81", "unknown flags"),
        (COUNT_AT, b"\0\3", "longer"),
        (COUNT_AT, b"\0\5", "unknown kind|cut short"),
        (ENTRY_AT, b"\1", "unknown kind"),
        (ENTRY_AT, b"\5", "unknown kind"),
        (ENTRY_AT, b"\4", "sorted"),
        (ENTRY_AT + 1, b"\xff\xff\xff\xff", "out of range"),
        (ENTRY_AT + 5, b"\0", "in no frame"),
        (ENTRY_AT + 14, b"\xff\xff\xff", "cut short"),
        (ENTRY_AT + 14, b"\0\0\x0f", "cut short"),  # less than a tag
    ],
)
def test_a_changed_field_is_refused(at: int, put: bytes, match: str) -> None:
    with pytest.raises(RecordError, match=match):
        parse_group_record(ENCODED[:at] + put + ENCODED[at + len(put) :])


def test_more_than_the_most_is_refused() -> None:
    with pytest.raises(RecordError, match="too long"):
        parse_group_record(b"\2" + bytes(MOST_RECORD_BYTES))


def test_too_many_entries_are_refused_before_they_cost_memory() -> None:
    entry = an_entry().place.encoded + b"\0\0\x10" + bytes(16)
    many = ENCODED[:COUNT_AT] + b"\xff\xff" + entry * (2**16 - 1) + bytes(64)
    assert len(many) < MOST_RECORD_BYTES
    tracemalloc.start()
    try:
        with pytest.raises(RecordError, match="at most"):
            parse_group_record(many)
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


@given(st.binary(max_size=400), st.integers(0, ENTRY_AT))
def test_any_bytes_are_a_record_or_a_record_error(data: bytes, kept: int) -> None:
    with suppress(RecordError):
        parse_group_record(ENCODED[:kept] + data)


@given(group_records(), st.data())
def test_changed_bytes_are_another_record_or_a_record_error(
    record: GroupRecord, data: st.DataObject
) -> None:
    changed = bytearray(record.encode())
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] ^= data.draw(st.integers(1, 255))
    with suppress(RecordError):
        assert parse_group_record(bytes(changed)).encode() == bytes(changed), "one encoding each"
