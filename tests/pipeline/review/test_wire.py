"""The pipe's messages: what goes in comes out, and garbage is one error."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.review.live.pieces import Fragment, InitSegment
from pipeline.review.plan import ConsolePlan, DemoAccount
from pipeline.review.wire import (
    LARGEST_BYTES,
    LARGEST_WORD_BYTES,
    Begin,
    Bye,
    Config,
    End,
    Failed,
    Message,
    Piece,
    Plan,
    Ready,
    Refusal,
    Status,
    WireError,
    pack,
    read_messages,
)
from pipeline.settings import ConsoleSettings, TlsSettings

PLAN = ConsolePlan(
    site="Café Ω",
    settings=ConsoleSettings(
        address="0.0.0.0",
        port=8443,
        tls=TlsSettings(cert=Path("a/cert.pem"), key=Path("a/key.pem")),
        names=["cams.example.org"],
        database="postgresql://bauta:hunter2@db/bauta",
        session_idle=60.0,
    ),
    state_dir=Path("/var/lib/bauta"),
    cameras=("lobby", "gate"),
    folders=(Path("/rec/lobby"), Path("/rec/gate é")),
    demo=(DemoAccount("guard", "a b c", ("viewer", "requester")),),
)

texts = st.text(max_size=60)
names = st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9_.-]{0,63}\Z")
sizes = st.integers(0, 65535)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
messages = st.one_of(
    st.just(Plan(PLAN)),
    st.builds(Config, st.lists(names, max_size=5).map(tuple)),
    st.builds(Status, st.lists(st.dictionaries(texts, json_values), max_size=3).map(tuple)),
    st.builds(Begin, names, st.builds(InitSegment, st.binary(), texts, sizes, sizes)),
    st.builds(Piece, names, st.builds(Fragment, st.binary(), st.booleans())),
    st.builds(End, names, texts),
    st.builds(Refusal, names, texts),
    st.just(Bye()),
    st.builds(Ready, texts),
    st.builds(Failed, texts, st.booleans()),
)


def read(data: bytes, **more: int) -> list[Message]:
    return list(read_messages(io.BytesIO(data), **more))


@settings(max_examples=200, deadline=None)
@given(st.lists(messages, max_size=6))
def test_what_goes_in_comes_out(sent: list[Message]) -> None:
    assert read(b"".join(map(pack, sent))) == sent


def test_a_plan_survives_whole() -> None:
    (message,) = read(pack(Plan(PLAN)))
    assert message == Plan(PLAN)
    assert "hunter2" not in repr(message) and "a b c" not in repr(message)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400))
def test_garbage_is_one_kind_of_error(data: bytes) -> None:
    try:
        read(data, largest=1000)
    except WireError as error:
        assert "\n" not in str(error)


@settings(max_examples=300, deadline=None)
@given(messages, st.data())
def test_a_broken_message_is_one_kind_of_error(message: Message, data: st.DataObject) -> None:
    packed = bytearray(pack(message))
    at = data.draw(st.integers(4, len(packed) - 1))
    packed[at] ^= data.draw(st.integers(1, 255))
    try:
        read(bytes(packed))
    except WireError as error:
        assert "hunter2" not in str(error)


@pytest.mark.parametrize("cut", range(1, 20))
def test_an_end_in_the_middle_is_an_error(cut: int) -> None:
    packed = pack(End("lobby", "it went"))
    whole = pack(Bye())
    found: list[Message] = []
    with pytest.raises(WireError, match="middle"):
        found += read_messages(io.BytesIO(whole + packed[:cut]))


def test_the_reader_believes_no_size() -> None:
    class Endless:
        asked = 0

        def read(self, size: int, /) -> bytes:
            self.asked = max(self.asked, size)
            return b"\xff" * size

    pipe = Endless()
    messages: Iterator[Message] = read_messages(pipe)
    with pytest.raises(WireError, match=r"4294967295 bytes, allowed are 1 to 32000000"):
        next(messages)
    assert pipe.asked == 4
    with pytest.raises(WireError, match="0 bytes"):
        read(bytes(4))
    with pytest.raises(WireError, match=f"1 to {LARGEST_WORD_BYTES}"):
        read(pack(Ready("x" * LARGEST_WORD_BYTES)), largest=LARGEST_WORD_BYTES)


def test_the_largest_message_passes_and_a_larger_one_is_not_sent() -> None:
    most = Piece("a", Fragment(bytes(LARGEST_BYTES - 3), is_keyframe=True))
    assert read(pack(most)) == [most]
    with pytest.raises(WireError, match="too large"):
        pack(Piece("a", Fragment(bytes(LARGEST_BYTES - 2), is_keyframe=True)))


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"?", b"{}"),
        (b"P", b"{}"),
        (b"P", b"[]"),
        (b"S", b'{"cameras":[3]}'),
        (b"C", b'{"cameras":"ab"}'),
        (b"E", b'{"camera":"a"}'),
        (b"E", b'{"camera":"a","reason":null}'),
        (b"R", b"\xff"),
        (b"R", b"[" * 100_000),
        (b"K", b""),
        (b"K", b"\x05abc"),
        (b"K", b"\x02\xff\xff"),
        (b"B", b"\x01\x01"),
        (b"B", b"\x05\x05\0\0\0\0abc"),
    ],
)
def test_what_makes_no_sense(kind: bytes, body: bytes) -> None:
    with pytest.raises(WireError):
        read((len(body) + 1).to_bytes(4, "big") + kind + body)


def test_a_rule_that_is_broken_repeats_no_value() -> None:
    packed = pack(Plan(PLAN)).replace(b'"port":8443', b'"port":"hunter2"')
    size = len(packed) - 4
    with pytest.raises(WireError) as caught:
        read(size.to_bytes(4, "big") + packed[4:])
    assert "hunter2" not in str(caught.value)
