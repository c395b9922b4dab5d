"""Lines of who is where: written, read, broken."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RecordingError
from pipeline.presence import (
    MOST_LINE_BYTES,
    MOST_TRACKS,
    Interval,
    PresenceHeader,
    TrackSpan,
    parse_line,
    whole_lines,
    write_header,
    write_interval,
)

HEADER = PresenceHeader(
    camera="lobby",
    session="0a" * 16,
    start_ms=1_795_000_000_123,
    fps=25.0,
    width=1280,
    height=720,
    evidence=True,
    codec="h264",
)
SPAN = TrackSpan(7, 2.04, 3.0, 24, (10, 20, 60, 80), 2.52)
INTERVAL = Interval(2.0, 1.0, 25, 3, (SPAN,))


def test_lines_are_as_the_format_says() -> None:
    assert write_header(HEADER) == (
        b'{"bauta":"tracks/1","camera":"lobby","session":"' + b"0a" * 16 + b'","start_ms":'
        b'1795000000123,"fps":25.0,"width":1280,"height":720,"evidence":true,"codec":"h264"}\n'
    )
    assert write_interval(INTERVAL) == (
        b'{"t":2.0,"seconds":1.0,"frames":25,"obscured":3,'
        b'"tracks":[[7,2.04,3.0,24,10,20,60,80,2.52]]}\n'
    )


def test_what_is_written_is_read_again() -> None:
    assert parse_line(write_header(HEADER)) == HEADER
    assert parse_line(write_interval(INTERVAL)) == INTERVAL


milliseconds = st.integers(0, 10**9).map(lambda ms: ms / 1000)


@st.composite
def intervals(draw: st.DrawFn) -> Interval:
    frames = draw(st.integers(1, 1000))
    spans = []
    for track in draw(st.lists(st.integers(0, 2**32 - 1), unique=True, max_size=5)):
        first, best, last = sorted(draw(st.tuples(milliseconds, milliseconds, milliseconds)))
        corner = draw(st.tuples(st.integers(0, 65536), st.integers(0, 65536)))
        size = draw(st.tuples(st.integers(1, 65536), st.integers(1, 65536)))
        seen = draw(st.integers(1, frames))
        spans.append(TrackSpan(track, first, last, seen, (*corner, *size), best))
    dark = draw(st.integers(0, frames))
    return Interval(draw(milliseconds), draw(milliseconds), frames, dark, tuple(spans))


@given(intervals())
def test_any_interval_comes_back(interval: Interval) -> None:
    line = write_interval(interval)
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert parse_line(line) == interval


def changed(line: bytes, **values: Any) -> bytes:
    return json.dumps(json.loads(line) | values).encode()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"[]",
        b"7",
        b"null",
        b"{}",
        b'{"t":',
        b"\xff\xfe",
        b"[" * 100_000,
        b"9" * 10_000,
        b" " * (MOST_LINE_BYTES + 1),
        changed(write_header(HEADER), bauta="tracks/2"),
        changed(write_header(HEADER), camera="../../etc"),
        changed(write_header(HEADER), camera=7),
        changed(write_header(HEADER), session="0A" * 16),
        changed(write_header(HEADER), start_ms=-1),
        changed(write_header(HEADER), start_ms=1e12),
        changed(write_header(HEADER), fps=0),
        changed(write_header(HEADER), fps=True),
        changed(write_header(HEADER), evidence=1),
        changed(write_header(HEADER), codec="vp9"),
        changed(write_header(HEADER), width=0),
        changed(write_header(HEADER), more=1),
        changed(write_interval(INTERVAL), t=-0.1),
        changed(write_interval(INTERVAL), t=float("nan")),
        changed(write_interval(INTERVAL), seconds=float("inf")),
        changed(write_interval(INTERVAL), frames=0),
        changed(write_interval(INTERVAL), frames=True),
        changed(write_interval(INTERVAL), obscured=26),
        changed(write_interval(INTERVAL), tracks={}),
        changed(write_interval(INTERVAL), tracks=[7]),
        changed(write_interval(INTERVAL), tracks=[[7, 2, 3, 24, 10, 20, 60, 80]]),
        changed(write_interval(INTERVAL), tracks=[[7, 3, 2, 24, 10, 20, 60, 80, 2]]),
        changed(write_interval(INTERVAL), tracks=[[7, 2, 3, 24, 10, 20, 60, 80, 4]]),
        changed(write_interval(INTERVAL), tracks=[[7, 2, 3, 26, 10, 20, 60, 80, 2]]),
        changed(write_interval(INTERVAL), tracks=[[7, 2, 3, 24, -1, 20, 60, 80, 2]]),
        changed(write_interval(INTERVAL), tracks=[[7, 2, 3, 24, 10, 20, 0, 80, 2]]),
        changed(write_interval(INTERVAL), tracks=[[2**32, 2, 3, 24, 10, 20, 60, 80, 2]]),
        changed(write_interval(INTERVAL), tracks=[[7, 2, 3, 24, 10, 20, 60, 80, 2]] * 2),
        changed(
            write_interval(INTERVAL),
            tracks=[[n, 2, 3, 1, 0, 0, 1, 1, 2] for n in range(MOST_TRACKS + 1)],
        ),
    ],
)
def test_anything_else_is_refused(line: bytes) -> None:
    with pytest.raises(RecordingError, match="who is in a recording cannot be read"):
        parse_line(line)


@given(st.binary(max_size=400))
def test_garbage_raises_nothing_else(data: bytes) -> None:
    try:
        parse_line(data)
    except RecordingError:
        return


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=20,
)


@given(st.sampled_from(["t", "seconds", "frames", "obscured", "tracks"]), json_values)
def test_a_key_with_any_value(key: str, value: object) -> None:
    line = json.dumps(json.loads(write_interval(INTERVAL)) | {key: value}).encode()
    try:
        read = parse_line(line)
    except RecordingError:
        return
    assert isinstance(read, Interval) and parse_line(write_interval(read)) is not None


def test_as_many_tracks_as_there_may_be_fit_into_a_line() -> None:
    spans = tuple(
        TrackSpan(2**32 - 1 - n, 999_999.999, 999_999.999, 1, (65535,) * 4, 999_999.999)
        for n in range(MOST_TRACKS + 10)
    )
    line = write_interval(Interval(0.0, 1.0, 25, 0, spans))
    read = parse_line(line)
    assert isinstance(read, Interval)
    assert read.tracks == spans[:MOST_TRACKS]


def test_a_torn_last_line_waits() -> None:
    whole = write_header(HEADER) + write_interval(INTERVAL)
    for cut in range(len(whole)):
        lines, size = whole_lines(whole[:cut])
        assert len(lines) == whole[:cut].count(b"\n")
        assert whole[:size].endswith(b"\n") or size == 0
    assert whole_lines(whole) == (whole.splitlines(), len(whole))


def test_a_line_that_never_ends_is_refused() -> None:
    with pytest.raises(RecordingError, match="at most"):
        whole_lines(b"{}\n" + b"x" * (MOST_LINE_BYTES + 1))
