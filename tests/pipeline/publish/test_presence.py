"""The lines beside recordings, written by the real segment writer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipeline.frames import TrackBox
from pipeline.presence import (
    Interval,
    PresenceHeader,
    TrackSpan,
    parse_line,
    presence_path,
)
from pipeline.publish.presence import PresenceWriter
from support.clips import decode_all
from support.recordings import (
    FPS,
    HEIGHT,
    SESSION,
    START,
    START_MS,
    WIDTH,
    Recorder,
    one_who_walks,
    record,
    stream_of,
)

ROOT = Path(__file__).resolve().parents[3]


def lines(path: Path) -> list[PresenceHeader | Interval]:
    return [parse_line(line) for line in presence_path(path).read_bytes().splitlines()]


def test_a_line_for_each_idr_interval_beside_each_segment(tmp_path: Path) -> None:
    segments = record(tmp_path, stream_of(100, one_who_walks))
    assert len(segments) == 2
    first, second = (lines(path) for path in segments)

    assert first[0] == PresenceHeader(
        camera="lobby",
        session=SESSION.id,
        start_ms=START_MS,
        fps=float(FPS),
        width=WIDTH,
        height=HEIGHT,
        evidence=False,
        codec="h264",
    )
    assert first[1:] == [
        Interval(0.0, 1.0, 25, 0, (TrackSpan(7, 0.4, 0.96, 15, (10, 20, 30, 40), 0.4),)),
        Interval(1.0, 1.0, 25, 0, (TrackSpan(7, 1.0, 1.96, 25, (25, 20, 30, 40), 1.0),)),
    ]
    # times count from the segment's own first frame; in frame 60 the box is the largest
    assert second[0] == PresenceHeader(
        camera="lobby",
        session=SESSION.id,
        start_ms=START_MS + 2000,
        fps=float(FPS),
        width=WIDTH,
        height=HEIGHT,
        evidence=False,
        codec="h264",
    )
    assert second[1:] == [
        Interval(0.0, 1.0, 25, 0, (TrackSpan(7, 0.0, 0.96, 25, (60, 20, 40, 50), 0.4),)),
        Interval(1.0, 1.0, 25, 0, (TrackSpan(7, 1.0, 1.16, 5, (75, 20, 30, 40), 1.0),)),
    ]


def test_frames_that_were_obscured_are_counted(tmp_path: Path) -> None:
    (path,) = record(tmp_path, stream_of(50, one_who_walks, dark=(3, 4, 30)))
    assert [line.obscured for line in lines(path)[1:] if isinstance(line, Interval)] == [2, 1]
    (span,) = lines(path)[2].tracks  # type: ignore[union-attr]
    assert span.frames == 24


def test_each_line_is_there_as_soon_as_its_interval_ends(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, stream_of(100, one_who_walks), segment=60)
    seen = []
    for _ in range(100):
        recorder.write(1)
        (path,) = tmp_path.glob("*.mp4")
        seen.append(len(lines(path)) - 1)
    assert seen == [index // 25 for index in range(100)]
    recorder.close()
    assert len(lines(path)) == 1 + 4


def test_without_a_session_there_are_no_lines(tmp_path: Path) -> None:
    record(tmp_path, stream_of(50), session=None)
    assert [path.suffix for path in tmp_path.iterdir()] == [".mp4"]


def test_the_last_interval_may_be_short(tmp_path: Path) -> None:
    (path,) = record(tmp_path, stream_of(33, one_who_walks))
    last = lines(path)[-1]
    assert isinstance(last, Interval)
    assert (last.at_seconds, last.seconds, last.frames) == (1.0, 0.32, 8)
    assert len(decode_all(path)) == 33


def test_a_file_that_cannot_be_made_does_not_stop_the_recording(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def refused(path: Path, *given: Any, **more: Any) -> Any:
        if path.suffix == ".tracks":
            raise PermissionError(13, "Permission denied")
        return real(path, *given, **more)

    monkeypatch.setattr(Path, "open", refused)
    segments = record(tmp_path, stream_of(100, one_who_walks), segment=1)
    assert [len(decode_all(path)) for path in segments] == [25] * 4
    said = [one for one in caplog.records if "who is in it is not noted" in one.message]
    assert len(said) == 1 and "Permission denied" in said[0].message
    assert not list(tmp_path.glob("*.tracks"))


class Full:
    """A file on a disk that is full after some bytes."""

    def __init__(self, file: Any, room: int) -> None:
        self._file, self._room = file, room

    def write(self, data: bytes) -> int:
        if len(data) > self._room:
            self._file.write(data[: self._room])
            raise OSError(28, "No space left on device")
        self._room -= len(data)
        return int(self._file.write(data))

    def flush(self) -> None:
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def test_a_full_disk_leaves_a_torn_line_and_the_recording(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Path.open

    def full(path: Path, *given: Any, **more: Any) -> Any:
        file = real(path, *given, **more)
        return Full(file, 300) if path.suffix == ".tracks" else file

    monkeypatch.setattr(Path, "open", full)
    (path,) = record(tmp_path, stream_of(100, one_who_walks), segment=60)
    monkeypatch.undo()
    assert len(decode_all(path)) == 100
    data = presence_path(path).read_bytes()
    assert len(data) == 300 and not data.endswith(b"\n")
    assert isinstance(parse_line(data.splitlines()[0]), PresenceHeader)
    assert "No space left" in caplog.text


def test_lines_go_with_their_segment(tmp_path: Path) -> None:
    """By age: a segment is as old as what was written last of it."""
    old = tmp_path / "lobby_2027-01-10T00-00-00.000Z.mp4"
    for path in (old, presence_path(old), old.with_name(old.name + ".bauta")):
        path.write_bytes(b"x")
        os.utime(path, (START - 9 * 86_400,) * 2)
    orphan = presence_path(tmp_path / "lobby_2027-01-09T00-00-00.000Z.mp4")
    orphan.write_bytes(b"x")
    os.utime(orphan, (START - 9 * 86_400,) * 2)
    other = presence_path(tmp_path / "garden_2027-01-10T00-00-00.000Z.mp4")
    other.write_bytes(b"x")
    os.utime(other, (START - 9 * 86_400,) * 2)
    made = record(tmp_path, stream_of(25), retention="1d")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {other.name, made[0].name, presence_path(made[0]).name}


def test_by_size_a_segment_leaves_as_a_whole(tmp_path: Path) -> None:
    for day in range(4):
        path = tmp_path / f"lobby_2027-01-1{day}T00-00-00.000Z.mp4"
        path.write_bytes(bytes(300_000))
        presence_path(path).write_bytes(bytes(100_000))
        os.utime(path, (START, START))
    record(tmp_path, stream_of(25), max_size="1MB")
    names = sorted(path.name for path in tmp_path.iterdir())
    assert not [name for name in names if "2027-01-10" in name or "2027-01-11" in name]
    assert len([name for name in names if "2027-01-12" in name]) == 2


CHILD = """
import sys, time
from pathlib import Path
from support.recordings import Recorder, one_who_walks, stream_of
recorder = Recorder(Path(sys.argv[1]), stream_of(90, one_who_walks), segment=60)
recorder.write()
print("written", flush=True)
time.sleep(600)
"""


def test_a_killed_process_loses_one_interval(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], env=environment, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        with child.stdout as said:
            assert said.readline() == b"written\n"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(30)
    (path,) = tmp_path.glob("*.mp4")
    read = lines(path)
    assert [line.at_seconds for line in read if isinstance(line, Interval)] == [0.0, 1.0, 2.0]
    assert len(decode_all(path)) >= 75


def test_sound_and_what_comes_after_the_end_are_nothing(tmp_path: Path) -> None:
    stream = stream_of(30, one_who_walks)
    header = PresenceHeader(
        camera="lobby",
        session=SESSION.id,
        start_ms=START_MS,
        fps=25.0,
        width=WIDTH,
        height=HEIGHT,
        evidence=False,
        codec="h264",
    )
    path = tmp_path / "a.mp4"
    writer = PresenceWriter(presence_path(path), header)
    writer.write(replace(stream.packets[0], kind="audio", tracks=(TrackBox(1, (0, 0, 2, 2)),)))
    for packet in stream.packets:
        writer.write(packet)
    writer.close()
    writer.close()
    before = presence_path(path).read_bytes()
    writer.write(stream.packets[0])
    writer.close()
    assert presence_path(path).read_bytes() == before
    assert [line.frames for line in lines(path)[1:] if isinstance(line, Interval)] == [25, 5]


def starts(folder: Path) -> list[int]:
    made = [lines(path)[0] for path in sorted(folder.glob("*.mp4"))]
    return [one.start_ms - START_MS for one in made if isinstance(one, PresenceHeader)]


def test_segments_follow_each_other_by_the_clock_of_their_frames(tmp_path: Path) -> None:
    """A writer that is held up for a moment leaves no gap in what players show."""
    recorder = Recorder(tmp_path, stream_of(200), segment=1)
    for late in (0.0, 0.01, 0.4, 0.9, 0.0, 0.0, 5.0, 5.0):
        recorder.late = late
        recorder.write(25)
    recorder.close()
    # the third is late by 0.4 s: it is led after it in steps; by 5 s: the clock was set
    assert starts(tmp_path) == [0, 1010, 2035, 3060, 4035, 5010, 11_000, 12_000]


def test_after_dropped_frames_the_wall_clock_counts(tmp_path: Path) -> None:
    stream = stream_of(100)
    kept = tuple(packet for packet in stream.packets if not 30 <= packet.frame < 50)
    recorder = Recorder(tmp_path, replace(stream, packets=kept), segment=60)
    recorder.write(30)
    recorder.late = 0.3
    recorder.write()
    recorder.close()
    assert starts(tmp_path) == [0, 2300]
