"""Motions in a sidecar: read by who has the key, as they were sealed, or refused with the line."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import SidecarError
from pipeline.frames import MOTION_CELLS, CarriedFace, FusedFace, Motion, Square
from pipeline.motion import pack
from pipeline.vault.clip_key import ClipKey
from pipeline.vault.sidecar import (
    MOST_LINE_BYTES,
    FrameLine,
    Header,
    SidecarWriter,
    is_complete,
    read_header,
    read_lines,
)
from pipeline.vault.sidecar_motion import MOST_FACES, RECORD_BYTES, MotionCipher

SIZE = (640, 360)
KEY = ClipKey(bytes(range(32)), bytes(16), ())
HEADER = Header("m", "ab" * 32, "2026-01-02T03:04:05.678+00:00", SIZE, KEY.record())
MAC = bytes(range(16))
one_file = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def motion(key_number: int = 0, *, seed: int = 0, noise_px: float = 0.3) -> Motion:
    """A face that turns a little."""
    rng = np.random.default_rng(seed)
    x, y = np.meshgrid(*[np.linspace(-3, 3, MOTION_CELLS)] * 2)
    off_px = np.stack([x - y, y + x], axis=-1) + rng.normal(0, noise_px, (9, 9, 2))
    grid = np.rint(off_px * 8).astype(np.int16)
    return Motion(key_number, (8, 18, 132), (-2 + 2 * seed, 22, 136), grid)


FUSED = FusedFace(1, Square(10, 20, 112))
LINES = [
    FrameLine(0, 0, 0.0, (FUSED, FusedFace(9, Square(300, 0, 48)))),
    FrameLine(1, 1, 0.04, (), (CarriedFace(1, motion()), CarriedFace(9, motion(seed=5)))),
    FrameLine(2, 4, 0.16, (FUSED,), (CarriedFace(9, motion(seed=6)),)),
    FrameLine(3, 5, 0.2, (), (CarriedFace(1, motion(4, seed=7)),)),
]


def written(path: Path, lines: list[FrameLine] | None = None) -> Path:
    writer = SidecarWriter(path, HEADER, KEY.key)
    for line in LINES if lines is None else lines:
        writer.add(line)
    writer.close(10)
    return path


def plain(line: FrameLine) -> tuple[object, ...]:
    """Comparable: arrays are not."""
    carried = [(face.track_id, pack(face.motion)) for face in line.carried]
    return line.frame, line.number, line.pts_seconds, line.faces, carried


def read(path: Path, **how: Any) -> list[tuple[object, ...]]:
    return [plain(line) for line in read_lines(path, KEY.key, **how)]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return written(tmp_path / "a")


# --- there and back ---


def test_what_was_written_is_read(path: Path) -> None:
    assert read(path) == [plain(line) for line in LINES]
    assert is_complete(path)


def test_motions_are_opened_where_they_are_asked_for(path: Path) -> None:
    sealed = [plain(replace(line, carried=())) for line in LINES]
    opened = [plain(line) for line in LINES]
    assert read(path, motions_from=None) == sealed
    assert read(path, motions_from=2) == sealed[:2] + opened[2:]


def test_nothing_of_a_motion_is_in_the_clear(path: Path) -> None:
    content = path.read_bytes()
    texts = [json.loads(row).get("moved") for row in content.splitlines()]
    content += b"".join(base64.b64decode(text) for text in texts if text)
    assert sum(text is not None for text in texts) == 3
    for line in LINES:
        for face in line.carried:
            packed = pack(face.motion)
            for piece in (packed, packed[:32], packed[32:48], packed[-12:]):
                assert piece not in content
                assert base64.b64encode(piece)[:-4] not in content
    # nor which tracks were carried: that frame 1 has any is seen by its length alone
    fields = json.loads(content.splitlines()[2])
    assert set(fields) == {"faces", "frame", "mac", "moved", "pts_seconds"}
    assert fields["faces"] == []


def test_the_size_tells_how_many_and_not_how_they_moved() -> None:
    cipher = MotionCipher(KEY.key, MAC, SIZE)
    still = replace(motion(), grid=np.zeros((MOTION_CELLS, MOTION_CELLS, 2), np.int16))
    talks = motion(noise_px=0.5)
    assert len(pack(talks)) > len(pack(still)) + 100
    for count in (1, 3):
        lengths = {
            len(cipher.sealed(7, 7, [CarriedFace(n, each) for n in range(count)]))
            for each in (still, motion(), talks)
        }
        assert lengths == {-(-(count * RECORD_BYTES + 16) // 3) * 4}


def test_a_full_frame_fits_its_line(tmp_path: Path) -> None:
    """256 faces, each as wild as a motion can be."""
    rng = np.random.default_rng(0)

    def wild(track_id: int) -> CarriedFace:
        grid = rng.integers(-(2**15), 2**15, (MOTION_CELLS, MOTION_CELLS, 2)).astype(np.int16)
        return CarriedFace(track_id, Motion(4, (8, 18, 132), (0, 0, 720), grid))

    most = 2**53 - 1
    fused = tuple(FusedFace(most - n, Square(528, 240, 112)) for n in range(MOST_FACES))
    line = FrameLine(5, 2**53, 1e9, fused, tuple(wild(most - n) for n in range(MOST_FACES + 1)))
    path = written(tmp_path / "a", [line])
    assert max(len(row) for row in path.read_bytes().splitlines()) < MOST_LINE_BYTES
    # one too many is left out; the reader's bound is the writer's
    assert read(path) == [plain(replace(line, carried=line.carried[:MOST_FACES]))]


def test_an_odd_motion_does_not_spoil_the_sidecar(tmp_path: Path) -> None:
    odd = [
        replace(motion(), key_number=1),  # of the frame itself, which is no keyframe's
        replace(motion(), key_number=30),
        replace(motion(), xys_px=(0, 0, 1_400)),
        replace(motion(), xys_px=(0, -20_000, 132)),
        replace(motion(), key_xys_px=(20_000, 0, 132)),
    ]
    good = CarriedFace(8, motion())
    faces = [CarriedFace(n, each) for n, each in enumerate(odd)]
    lines = [
        FrameLine(1, 1, 0.0, (), (*faces, CarriedFace(-1, motion()), good)),
        FrameLine(2, 2, 0.0, (), (CarriedFace(3, odd[2]),)),
    ]
    path = written(tmp_path / "a", lines)
    kept = [plain(replace(lines[0], carried=(good,))), plain(replace(lines[1], carried=()))]
    assert read(path) == kept


# --- altered ---


@one_file
@given(st.data())
def test_any_changed_byte_is_seen(path: Path, data: st.DataObject) -> None:
    content = bytearray(written(path).read_bytes())
    line = content.splitlines()[data.draw(st.sampled_from([2, 3, 4]))]
    first = content.index(line) + line.index(b'"moved":"') + 9
    last = content.index(b'"', first)
    content[data.draw(st.integers(first, last - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(content))
    with pytest.raises(SidecarError, match=r"line \d") as caught:
        read(path)
    assert len(str(caught.value).splitlines()) == 1


@one_file
@given(st.integers(0, 2 * RECORD_BYTES + 15), st.integers(0, 7))
def test_the_seal_sees_any_bit_by_itself(place: int, bit: int) -> None:
    """Without the chain of macs as well."""
    cipher = MotionCipher(KEY.key, MAC, SIZE)
    carried = LINES[1].carried
    data = bytearray(base64.b64decode(cipher.sealed(1, 1, carried)))
    data[place] ^= 1 << bit
    with pytest.raises(ValueError, match="not as they were sealed"):
        cipher.opened(1, 1, base64.b64encode(data).decode())


def sealed_anew(path: Path, row: int, change: Callable[[dict[str, Any]], None]) -> None:
    """A sidecar with one line changed and every mac right: what only a key holder can make."""
    fields = [json.loads(line) for line in path.read_bytes().splitlines()]
    for line in fields:
        del line["mac"]
    change(fields[row - 1])
    writer = SidecarWriter(path, HEADER, KEY.key)
    for line in fields[1:-1]:
        writer._write(line)
    writer.close(10)


def moved_of(path: Path, row: int) -> str:
    return str(json.loads(path.read_bytes().splitlines()[row - 1])["moved"])


def put(text: str) -> Callable[[dict[str, Any]], None]:
    def change(line: dict[str, Any]) -> None:
        line["moved"] = text

    return change


@pytest.mark.parametrize(
    "change",
    [
        *("another frame's", "cut by a character", "cut by four", "without a record"),
        *("longer", "empty", "another frame", "another number", "records swapped", "not base64"),
    ],
)
def test_a_seal_belongs_to_its_frame_even_with_the_right_mac(path: Path, change: str) -> None:
    mine, other = moved_of(path, 3), moved_of(path, 4)
    data = base64.b64decode(mine)
    first, second = data[:RECORD_BYTES], data[RECORD_BYTES : 2 * RECORD_BYTES]
    changes: dict[str, Callable[[dict[str, Any]], None]] = {
        "another frame's": put(other),
        "cut by a character": put(mine[:-1]),
        "cut by four": put(mine[:-4]),
        "without a record": put(base64.b64encode(data[RECORD_BYTES:]).decode()),
        "longer": put(base64.b64encode(data + first).decode()),
        "empty": put(""),
        "another frame": lambda line: line.update(frame=2, number=1),
        "another number": lambda line: line.update(number=2),
        "records swapped": put(base64.b64encode(second + first + data[-16:]).decode()),
        "not base64": put(mine.replace("A", "-").replace("B", "_")),
    }
    if change == "another frame":  # nothing may stand in its way
        path = written(path, LINES[:2])
    sealed_anew(path, 3, changes[change])
    with pytest.raises(SidecarError, match=r"line 3 is damaged: its motions") as caught:
        read(path)
    assert len(str(caught.value).splitlines()) == 1
    # whoever does not ask for motions is not kept from the squares
    assert len(read(path, motions_from=None)) >= 2


def test_another_key_opens_nothing(path: Path) -> None:
    with pytest.raises(SidecarError, match="line 1 is not as it was written"):
        list(read_lines(path, bytes(32)))
    text = MotionCipher(KEY.key, MAC, SIZE).sealed(1, 1, LINES[1].carried)
    one_bit = bytes([KEY.key[0] ^ 1]) + KEY.key[1:]
    for cipher in (MotionCipher(one_bit, MAC, SIZE), MotionCipher(KEY.key, bytes(16), SIZE)):
        with pytest.raises(ValueError, match="not as they were sealed"):
            cipher.opened(1, 1, text)


def test_sessions_of_one_key_share_no_key_stream(tmp_path: Path) -> None:
    """The same frame in both: were nonce and key the same, both motions would be had from them."""
    other = replace(HEADER, created_utc="2026-01-02T03:04:05.679+00:00")
    writer = SidecarWriter(tmp_path / "b", other, KEY.key)
    for line in LINES:
        writer.add(line)
    writer.close(10)
    one, two = (moved_of(path, 3) for path in (written(tmp_path / "a"), tmp_path / "b"))
    assert len(one) == len(two) and one != two


def test_two_files_of_a_session_are_alike(tmp_path: Path) -> None:
    one, two = written(tmp_path / "a"), written(tmp_path / "b")
    assert one.read_bytes() == two.read_bytes()


HOSTILE: dict[str, Callable[[bytes], bytes]] = {
    "a length beyond the end": lambda plain: plain[:8] + b"\xff\xff" + plain[10:],
    "a length of nothing": lambda plain: plain[:8] + b"\x00\x00" + plain[10:],
    "something behind it": lambda plain: plain[:-1] + b"\x01",
    "a huge track": lambda plain: b"\xff" * 8 + plain[8:],
    "no motion": lambda plain: plain[:10] + bytes(len(plain) - 10),
    "a keyframe to come": lambda plain: plain[:10] + b"\x01" + plain[11:],
    "too many": lambda plain: plain * (MOST_FACES + 1),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_was_sealed_must_make_sense(case: str) -> None:
    """The key holder may be anybody's machine."""
    cipher = MotionCipher(KEY.key, MAC, SIZE)
    from pipeline.vault import sidecar_motion

    record = sidecar_motion._record(5, pack(motion()))
    data = cipher._aead.encrypt(
        sidecar_motion._nonce(1),
        HOSTILE[case](record),
        sidecar_motion._LABEL + sidecar_motion._PLACE.pack(1, 1),
    )
    with pytest.raises(ValueError):
        cipher.opened(1, 1, base64.b64encode(data).decode())


# --- formats, pinned ---

OLD = """\
{"commitment":"ee27bfef2ace7f8f2475d0e9de12786139e1855412eeb7d2f3fc28dbb055e364",\
"created":"2026-01-02T03:04:05.678+00:00","format":"bauta-inband/1",\
"mac":"c8fa07de5f8b659c72b86b7db3ebcde7","model":"m","model_sha256":"%s","recipients":[],\
"salt":"00000000000000000000000000000000","sealed":null,"size":[640,360]}
{"faces":[{"side":112,"track":1,"x":10,"y":20}],"frame":0,\
"mac":"925b4fbc8e521ff5864aa97512a13c89","pts_seconds":0.0}
{"faces":[{"side":112,"track":1,"x":12,"y":20},{"side":32,"track":7,"x":400,"y":0}],"frame":25,\
"mac":"d19b27f2416ca0992883929995eb8d96","number":26,"pts_seconds":1.04}
{"end":30,"mac":"085d44df196f3c4fbe585654456428c5"}
""" % ("ab" * 32)


def test_the_format_without_motions_is_still_read(tmp_path: Path) -> None:
    """Byte for byte what earlier versions wrote under this key."""
    path = tmp_path / "old"
    path.write_text(OLD)
    assert read_header(path) == HEADER and is_complete(path)
    second = (FusedFace(1, Square(12, 20, 112)), FusedFace(7, Square(400, 0, 32)))
    lines = [FrameLine(0, 0, 0.0, (FUSED,)), FrameLine(25, 26, 1.04, second)]
    assert list(read_lines(path, KEY.key)) == lines


def test_the_old_format_has_no_motions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from pipeline.vault import sidecar

    monkeypatch.setattr(sidecar, "FORMAT", sidecar.FORMAT_WITHOUT_MOTION)
    path = written(tmp_path / "a")
    monkeypatch.undo()
    with pytest.raises(SidecarError, match="line 3 is damaged: motions in a format that has none"):
        read(path)


PINNED = (
    "EHQxsFmmOY1jiZgl3tUaTl4632w02BoGjpMFbzpSWuMH/gWGaaQVt+KFii3Pt1Tc9jPwWRtSJ+zzh8QY"
    "35BUhxFdaRU8KsAo72D05PIVV1XX6iC8M+eUD8ob2W6wQjYB9W9TSRozGEpeQbaeJ26QKbvmsShmDns+"
    "5ndqWz0O9dmRB646mTcUAZ5EPbAz/s0mNK3IZt9T32l2I/7wM8rO9Kv/yXgHogZ8ejAd52xAKHLNRW2v"
    "aB8G9TPypk8xOOMy/tTYVZw6k0TEZ+1wpOZ4VjRJ76Ot3jXpyTpO9bM8K02yb2Ze2dImaNMXc/GawGd3"
    "DdqHG7BwvC776dlZc+4CZ9PTnd3Usom1TVZ/N+IDeU0="
)


def test_the_seal_is_pinned() -> None:
    """What is written today must open in years: labels, nonce and layout do not change."""
    still = Motion(3, (8, 18, 132), (10, 18, 132), np.zeros((9, 9, 2), np.int16))
    cipher = MotionCipher(KEY.key, MAC, SIZE)
    (face,) = cipher.opened(4, 6, PINNED)
    assert face.track_id == 1 and pack(face.motion) == pack(still)
