"""A recovery request's file: one spelling, signed, and read from anywhere."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RecordError
from pipeline.evidence.group_record import SCENE_TRACK
from pipeline.vault import request_file
from pipeline.vault.canonical import canonical
from pipeline.vault.request_file import LABEL, read_request, utc_ms, utc_text, write_request
from pipeline.vault.signing import public_line
from support.evidence import STARTED_UTC_MS, a_service_key
from support.requests import FAR_UTC_MS, a_release, a_request, console_key

RELEASE = a_release()
DATA = write_request(a_request(releases=(RELEASE,)), console_key())


def signed_anew(change: Callable[[dict[str, Any]], None]) -> bytes:
    """As the console itself could write it, if it did not check what it writes."""
    fields = json.loads(DATA)
    change(fields)
    rest = {name: fields[name] for name in fields if name != "signature"}
    fields["signature"] = base64.b64encode(console_key().sign(LABEL + canonical(rest))).decode()
    return canonical(fields) + b"\n"


def test_round_trip() -> None:
    request, signer = read_request(DATA)
    assert request == a_request(releases=(RELEASE,)) and signer == console_key().public
    assert DATA.count(b"\n") == 1 and DATA.isascii()
    assert request.tracks == {1, 3, 12} and request.is_lock
    assert not a_request().is_lock
    assert read_request(signed_anew(lambda _: None))[0] == request


def test_it_expires() -> None:
    request = a_request(expires_utc=utc_text(STARTED_UTC_MS + 90_000))
    assert request.is_valid_at((STARTED_UTC_MS + 89_999) / 1000)
    assert not request.is_valid_at((STARTED_UTC_MS + 90_000) / 1000)
    assert request.is_valid_at(0)


def test_the_repr_holds_no_release() -> None:
    assert "X25519" not in repr(a_request(releases=(RELEASE,)))


@pytest.mark.parametrize("ms", [0, STARTED_UTC_MS + 123, FAR_UTC_MS, 253_402_300_799_999])
def test_times(ms: int) -> None:
    text = utc_text(ms)
    assert utc_ms(text) == ms
    assert datetime.fromisoformat(text) - datetime(1970, 1, 1, tzinfo=UTC) == timedelta(
        milliseconds=ms
    )


@pytest.mark.parametrize("share", range(64))
def test_a_changed_byte_is_noticed(share: int) -> None:
    changed = bytearray(DATA)  # its length differs from run to run: age adds some grease
    changed[share * len(DATA) // 64] ^= 1
    with pytest.raises(RecordError) as refused:
        read_request(bytes(changed))
    assert "\n" not in str(refused.value)


def test_another_key_signs_nothing_of_it() -> None:
    other = public_line(a_service_key(5).public)

    def name_another(fields: dict[str, Any]) -> None:
        fields["signer"] = other

    with pytest.raises(RecordError, match="was altered"):
        read_request(signed_anew(name_another))


@pytest.mark.parametrize(
    "again",
    [
        DATA[:-1],
        DATA + b"\n",
        b" " + DATA,
        DATA.replace(b", ", b",", 1),
        DATA.replace(b'"camera"', b'"camera": "gate-4", "camera"', 1),  # the last one counts
        DATA.replace(b"theft", b"\\u0074heft"),
        b"",
        b"\n",
        b"[" * 100_000 + b"\n",
        b'{"a": ' * 5_000 + b"1" + b"}" * 5_000 + b"\n",
    ],
)
def test_it_has_one_spelling(again: bytes) -> None:
    with pytest.raises(RecordError):
        read_request(again)


FIELDS: dict[str, list[object]] = {
    "format": ["bauta/2 request", None],
    "id": ["", "R-", "R-a b", "R-" + "1" * 41, 7, "r-1"],
    "site": ["", "x" * 201, "a\nb", "a\u202eb", "\ud800", " a", None],
    "case": ["", "x" * 61],
    "reason": ["x" * 1001, "\x1b[31m"],
    "requested_by": [["dana"]],
    "expires_utc": ["2026-11-21T18:30:00Z", utc_text(0), "2026-13-21T18:30:00.000Z", 7],
    "to_utc": [utc_text(0), "x"],
    "selection": [
        {},
        [],
        {"00": [1]},
        {"00" * 15 + "zz": [1]},
        {"AB" * 16: [1]},
        {"00" * 16: []},
        {"00" * 16: [1, 1]},
        {"00" * 16: [2, 1]},
        {"00" * 16: [True]},
        {"00" * 16: [-1]},
        {"00" * 16: [SCENE_TRACK]},
        {"00" * 16: [1.0]},
        {"00" * 16: "1"},
    ],
    "releases": [
        None,
        ["x"],
        [base64.b64encode(b"no age file").decode()],
        [base64.b64encode(RELEASE).decode()] * 9,
        [base64.b64encode(RELEASE).decode() + "="],
        [7],
    ],
    "more": [1],
}


@pytest.mark.parametrize(
    ("name", "value"), [(n, v) for n, values in FIELDS.items() for v in values]
)
def test_a_signature_does_not_excuse_what_breaks_the_rules(name: str, value: object) -> None:
    with pytest.raises(RecordError):
        read_request(signed_anew(lambda fields: fields.update({name: value})))


@pytest.mark.parametrize("name", sorted(json.loads(DATA)))
def test_every_field_is_there(name: str) -> None:
    fields = json.loads(DATA)
    del fields[name]
    with pytest.raises(RecordError):
        read_request(canonical(fields) + b"\n")


@pytest.mark.parametrize(
    "changes",
    [{"case": "x" * 61}, {"selection": {}}, {"id": "17"}, {"releases": (b"no age file",)}],
)
def test_nothing_is_written_that_could_not_be_read(changes: dict[str, object]) -> None:
    with pytest.raises(RecordError):
        write_request(a_request(**changes), console_key())


def test_sizes_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is parsed where the bytes alone say so."""
    marks = b"[" + b"0," * (2**19) + b"0]\n"
    with monkeypatch.context() as patched:
        patched.setattr(request_file, "parse_canonical", pytest.fail)
        for data in (b"x" * (2**25 + 1), marks):
            with pytest.raises(RecordError):
                read_request(data)
    many = {number.to_bytes(16, "big"): frozenset({1}) for number in range(2**14 + 1)}
    with pytest.raises(RecordError):
        write_request(a_request(selection=many), console_key())
    del many[bytes(16)]
    assert len(read_request(write_request(a_request(selection=many), console_key()))[0].selection)
    long = RELEASE + bytes(request_file.MOST_RELEASE_BYTES)
    with pytest.raises(RecordError):
        write_request(a_request(releases=(long,)), console_key())


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(RecordError):
        read_request(data)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


@given(st.sampled_from(sorted(set(json.loads(DATA)) - {"signature"})), JSON)
def test_any_value_in_any_field_is_read_or_refused(name: str, value: object) -> None:
    data = signed_anew(lambda fields: fields.update({name: value}))
    try:
        request, signer = read_request(data)
    except RecordError as error:
        assert "\n" not in str(error)
    else:
        assert signer == console_key().public
        assert write_request(request, console_key()) == data
