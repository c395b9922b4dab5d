"""A sidecar comes from outside: whatever is in it, it is read as written or refused in one line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import SidecarError
from pipeline.frames import FusedFace, Square
from pipeline.vault.clip_key import ClipKey, new_clip_key
from pipeline.vault.sidecar import (
    MOST_LINE_BYTES,
    SUFFIX,
    FrameLine,
    Header,
    SidecarWriter,
    is_complete,
    read_header,
    read_lines,
    sidecar_of,
)

SIZE = (640, 360)
KEY: ClipKey = new_clip_key()
HEADER = Header("proface-s-video", "ab" * 32, "2026-01-02T03:04:05.678+00:00", SIZE, KEY.record())
LINES = [
    FrameLine(0, 0, 0.0, (FusedFace(1, Square(10, 20, 112)),)),
    FrameLine(25, 25, 1.0, (FusedFace(1, Square(12, 20, 112)), FusedFace(7, Square(400, 0, 32)))),
    FrameLine(50, 53, 2.08, (FusedFace(7, Square(402, 2, 48)),)),
]
one_file = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def written(path: Path, *, header: Header = HEADER) -> Path:
    writer = SidecarWriter(path, header, KEY.key)
    for line in LINES:
        writer.add(line)
    writer.close(75)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(tmp_path / f"out.mp4{SUFFIX}")


def read(path: Path) -> tuple[Header, list[FrameLine]]:
    return read_header(path), list(read_lines(path, KEY.key))


def test_what_was_written_is_read(path: Path) -> None:
    assert read(path) == (HEADER, LINES)
    assert is_complete(path)
    header, *lines, end = (json.loads(line) for line in path.read_text().splitlines())
    assert header["format"] == "bauta-inband/2" and end["end"] == 75
    assert "number" not in lines[0] and lines[2]["number"] == 53


def test_with_recipients_and_a_password(tmp_path: Path) -> None:
    import pyrage

    from pipeline.vault.identity import Recipient

    public = str(pyrage.x25519.Identity.generate().to_public())
    keys = new_clip_key([Recipient(public)] * 3, "password").record()
    header = Header("m", "00" * 32, "now", SIZE, keys)
    assert read_header(written(tmp_path / "a", header=header)) == header


def test_the_key_is_not_in_it(path: Path) -> None:
    content = path.read_bytes()
    assert KEY.key not in content and KEY.key.hex().encode() not in content


def test_a_killed_writer_leaves_what_it_had(tmp_path: Path) -> None:
    path = written(tmp_path / "a")
    path.write_bytes(path.read_bytes().rpartition(b'{"end"')[0])
    assert read(path) == (HEADER, LINES)
    assert not is_complete(path)
    whole = path.read_bytes()
    for cut in range(len(whole) - 1, whole.rindex(b"\n", 0, -1), -7):  # in the midst of a line
        path.write_bytes(whole[:cut])
        assert read(path) == (HEADER, LINES[:2])


def test_another_key_reads_nothing(path: Path) -> None:
    with pytest.raises(SidecarError, match="line 1 is not as it was written"):
        list(read_lines(path, bytes(32)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"x":12', b'"x":14'),
        (b'"track":7', b'"track":8'),
        (b'"frame":25', b'"frame":26'),
        (b'"side":32', b'"side":36'),
        (b'"pts_seconds":1.0', b'"pts_seconds":9.0'),
        (b'"number":53', b'"number":54'),
        (b'"end":75', b'"end":76'),
        (b'"model":"proface-s-video"', b'"model":"proface-s-other"'),
        (b'"size":[640,360]', b'"size":[642,360]'),
    ],
)
def test_an_altered_line_is_seen(path: Path, old: bytes, new: bytes) -> None:
    content = path.read_bytes()
    assert content.count(old) >= 1
    path.write_bytes(content.replace(old, new, 1))
    with pytest.raises(SidecarError, match=r"line \d is not as it was written") as caught:
        list(read_lines(path, KEY.key))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", ["take out", "swap", "twice", "after the end", "another's"])
def test_lines_belong_where_they_are(path: Path, tmp_path: Path, change: str) -> None:
    lines = path.read_bytes().splitlines(keepends=True)
    if change == "take out":
        del lines[2]
    elif change == "swap":
        lines[1], lines[2] = lines[2], lines[1]
    elif change == "twice":
        lines.insert(2, lines[1])
    elif change == "after the end":
        lines.append(lines[1])
    else:
        other = written(
            tmp_path / "other", header=Header("m", "", "", SIZE, new_clip_key().record())
        )
        lines[2] = other.read_bytes().splitlines(keepends=True)[2]
    path.write_bytes(b"".join(lines))
    with pytest.raises(SidecarError):
        list(read_lines(path, KEY.key))


@one_file
@given(st.data())
def test_any_changed_byte_is_seen(path: Path, data: st.DataObject) -> None:
    content = bytearray(written(path).read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content))
    try:
        read_header(path)
        lines = list(read_lines(path, KEY.key))
    except SidecarError as error:
        assert len(str(error).splitlines()) == 1
        return
    # what is left of a cut: the last line's end is gone, and with it the line
    assert place == len(content) - 1 and lines == LINES


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4)
    ),
    max_leaves=12,
)
NAMES = (
    *("format", "model", "model_sha256", "created", "size", "commitment", "salt", "recipients"),
    *("sealed", "mac", "frame", "number", "pts_seconds", "faces", "end", "track", "x", "y", "side"),
    "moved",
)
keys_of_ours = st.sampled_from(NAMES)
like_a_line = st.dictionaries(keys_of_ours, json_like, max_size=10).map(
    lambda fields: json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
)


@one_file
@given(st.lists(st.binary(max_size=200) | like_a_line, max_size=6))
def test_any_bytes_are_refused_in_one_line(tmp_path: Path, lines: list[bytes]) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"\n".join(lines))
    for attempt in (lambda: read_header(path), lambda: list(read_lines(path, KEY.key))):
        try:
            found = attempt()
        except SidecarError as error:
            assert len(str(error).splitlines()) == 1
        else:
            assert found == []  # no whole line at all
    is_complete(path)


def frame_line(**change: Any) -> dict[str, Any]:
    face = {"track": 1, "x": 10, "y": 20, "side": 112} | change.pop("face", {})
    return {"frame": 5, "pts_seconds": 0.2, "faces": [face]} | change


WRONG_LINES: dict[str, dict[str, Any]] = {
    "odd": frame_line(face={"x": 11}),
    "no side": frame_line(face={"side": 0}),
    "side of 30": frame_line(face={"side": 30}),
    "outside": frame_line(face={"x": 600}),
    "negative": frame_line(face={"y": -2}),
    "a float": frame_line(face={"x": 10.0}),
    "a bool": frame_line(face={"track": True}),
    "a text": frame_line(face={"side": "112"}),
    "none": frame_line(face={"x": None}),
    "huge": frame_line(face={"track": 10**30}),
    "no faces": {"frame": 5, "pts_seconds": 0.2},
    "faces no list": frame_line(faces={}),
    "too many faces": frame_line(faces=[frame_line()["faces"][0]] * 300),
    "face no object": frame_line(faces=[5]),
    "frame before": frame_line(frame=-1),
    "time is text": frame_line(pts_seconds="1"),
    "something more": frame_line(extra=1),
    "the same frame twice": frame_line(frame=50),
    "a header again": {"format": "bauta-inband/2"},
    "motions no text": frame_line(moved=["AAAA"]),
    "motions no base64": frame_line(moved="no base64!"),
    "motions in other letters": frame_line(moved="\u00e4" * 400),
    "motions too short": frame_line(moved="AAAA"),
    "motions not sealed": frame_line(moved="A" * 364),
    "motions too long": frame_line(moved="A" * 200_000),
}


@pytest.mark.parametrize("case", WRONG_LINES)
def test_a_line_must_make_sense_even_with_the_right_mac(tmp_path: Path, case: str) -> None:
    path = tmp_path / "a"
    writer = SidecarWriter(path, HEADER, KEY.key)
    if case == "the same frame twice":
        writer.add(LINES[2])
    writer._write(WRONG_LINES[case])
    writer.close(60)
    with pytest.raises(SidecarError, match=r"line \d is (damaged|out of order)") as caught:
        list(read_lines(path, KEY.key))
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"format": "bauta-inband/3"},
        {"size": [640]},
        {"size": [640, 360, 3]},
        {"size": [0, 360]},
        {"size": [10**9, 360]},
        {"size": "ab"},
        {"commitment": "abc"},
        {"commitment": None},
        {"salt": "00"},
        {"sealed": "no base64!"},
        {"sealed": 5},
        {"recipients": "age1"},
        {"recipients": ["x"] * 1_000},
        {"model": ["a"]},
        {"model": "x" * 1_000},
        {"created": None},
    ],
)
def test_a_header_must_make_sense(path: Path, change: dict[str, Any]) -> None:
    first, *rest = path.read_text().splitlines(keepends=True)
    fields = json.dumps(json.loads(first) | change, sort_keys=True, separators=(",", ":"))
    path.write_text("".join([fields, "\n", *rest]))
    with pytest.raises(SidecarError, match=r"(header is damaged|is no sidecar)"):
        read_header(path)


def test_a_line_without_end_is_not_read_into_memory(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"[" * (4 * MOST_LINE_BYTES))
    with pytest.raises(SidecarError, match="line 1 is longer than"):
        read_header(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SidecarError, match=r"No such file.*--sidecar"):
        read_header(tmp_path / "none")
    with pytest.raises(SidecarError, match="No such file"):
        SidecarWriter(tmp_path / "no" / "folder", HEADER, KEY.key)


def test_a_full_disk_is_one_error() -> None:
    with pytest.raises(SidecarError, match="No space left"):
        SidecarWriter(Path("/dev/full"), HEADER, KEY.key)


def test_a_writer_is_closed_twice_without_harm(tmp_path: Path) -> None:
    path = tmp_path / "a"
    writer = SidecarWriter(path, HEADER, KEY.key)
    writer.close(0)
    writer.close(0)
    writer.add(LINES[0])  # too late: not written, no error
    assert path.read_text().count("\n") == 2


def test_frames_come_in_order(tmp_path: Path) -> None:
    """The frame is the nonce of its motions: twice must be impossible."""
    writer = SidecarWriter(tmp_path / "a", HEADER, KEY.key)
    writer.add(LINES[1])
    for line in (LINES[1], LINES[0]):
        with pytest.raises(ValueError, match="comes after frame 25"):
            writer.add(line)
    writer.add(LINES[2])
    writer.close(75)
    assert read(tmp_path / "a") == (HEADER, LINES[1:])


def test_where_it_is_looked_for(tmp_path: Path) -> None:
    clip = tmp_path / "lobby_2026-01-02T10-30-00.000Z.mp4"
    beside = tmp_path / f"{clip.name}{SUFFIX}"
    assert sidecar_of(clip) == beside  # for the message that it is missing
    sessions = {
        hour: tmp_path / f"lobby_2026-01-02T{hour}-00-00.000Z{SUFFIX}"
        for hour in ("08", "10", "11")
    }
    for session in sessions.values():
        session.write_text("")
    (tmp_path / f"lobby_back_2026-01-02T10-15-00.000Z{SUFFIX}").write_text("")
    assert sidecar_of(clip) == sessions["10"]  # the last that began before the segment
    beside.write_text("")
    assert sidecar_of(clip) == beside
    assert sidecar_of(tmp_path / "out.mp4") == tmp_path / f"out.mp4{SUFFIX}"
