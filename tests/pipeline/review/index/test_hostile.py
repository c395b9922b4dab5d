"""Folders that others can write into: no file there holds the index up, or grows it without end."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from pipeline.presence import Interval, TrackSpan, presence_path, write_interval
from pipeline.review.index import indexer as indexer_module
from pipeline.review.index import read as read_module
from pipeline.review.index.indexer import Indexer
from pipeline.review.index.read import (
    lines_bytes,
    most_lines_bytes,
    read_intervals,
    read_recording,
)
from pipeline.review.index.scan import look_again
from pipeline.review.store import people, recordings
from pipeline.review.store.database import Database
from pipeline.review.store.people import PeopleQuery, Person
from pipeline.review.store.recordings import Segment
from support.clips import make_clip
from support.recordings import Recorder, one_who_walks, record, stream_of

EVERYTHING = 1 << 30


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(None, tmp_path / "state")
    made.migrate()
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "rec"
    path.mkdir()
    return path


def indexed(database: Database, folder: Path) -> Indexer:
    indexer = Indexer(database, [folder], now=lambda: time.time() + 100.0)
    for _ in range(100):
        if indexer.step():
            assert indexer.state.error is None and indexer.state.waiting == 0
            return indexer
    raise AssertionError(f"never done: {indexer.state}")


def segments(database: Database) -> list[Segment]:
    known = recordings.known_segments(database).values()
    return sorted(known, key=lambda one: (one.start_ms, one.path))


def everybody(database: Database) -> list[Person]:
    return list(people.find(database, PeopleQuery(limit=500)).people)


def test_pipes_and_links_hold_nobody_up(database: Database, folder: Path) -> None:
    """Nobody writes into the pipes."""
    first, second = record(folder, stream_of(100, one_who_walks))
    text = presence_path(second).read_bytes()
    for path in (presence_path(first), presence_path(second), folder / "pipe.mp4"):
        path.unlink(missing_ok=True)
    os.mkfifo(presence_path(first))
    os.mkfifo(folder / "pipe.mp4")
    (folder / "elsewhere").write_bytes(text)
    presence_path(second).symlink_to(folder / "elsewhere")
    indexed(database, folder)
    assert [(Path(one.path), one.problem) for one in segments(database)] == [
        (first, None),
        (second, None),
    ]
    assert everybody(database) == []
    assert lines_bytes(first) == lines_bytes(second) == 0
    assert list(read_intervals(first, 0, EVERYTHING)) == [([], 0)]


def test_records_in_a_pipe_are_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is put there after the look that finds a file, of the clip as of the records beside it."""
    clip = make_clip(tmp_path / "a.mp4", frames=10, size=(320, 240), face_px=40).path
    found = look_again(clip)
    assert found is not None
    pipe = clip.with_name("a.mp4.bauta")
    os.mkfifo(pipe)
    monkeypatch.setattr(read_module, "sidecar_beside", lambda _: pipe)
    read = read_recording(found, growing=False)
    assert read.facts.problem == "a.mp4: is not a plain file"
    clip.unlink()
    os.mkfifo(clip)
    assert read_recording(found, growing=False).facts.problem == "a.mp4: is not a plain file"


def test_a_file_with_too_many_pictures_is_not_read_for_records(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = make_clip(tmp_path / "a.mkv", frames=10, size=(320, 240), face_px=40).path
    found = look_again(clip)
    assert found is not None
    assert read_recording(found, growing=False).facts.problem is None
    monkeypatch.setattr(read_module, "_MOST_CLIP_PACKETS", 9)
    problem = read_recording(found, growing=False).facts.problem
    assert problem == "a.mkv: has too many pictures for its records to be read"


# --- lines ---


def crowd(at: int, tracks: range) -> bytes:
    spans = tuple(TrackSpan(n, at, at + 1.0, 25, (0, 0, 9, 9), at) for n in tracks)
    return write_interval(Interval(float(at), 1.0, 25, 0, spans))


def test_lines_are_read_in_parts(tmp_path: Path) -> None:
    """Each with what has to be remembered of it: neither memory nor a transaction holds all."""
    path = tmp_path / "a.mp4"
    lines = [crowd(at, range(at * 1000, at * 1000 + 1000)) for at in range(10)]
    lines += [crowd(at, range(0)) for at in range(10, 5_000)]
    presence_path(path).write_bytes(b"".join(lines))
    parts = list(read_intervals(path, 0, EVERYTHING))
    assert len(parts) == 4
    assert max(sum(1 + len(one.tracks) for one in some) for some, _ in parts) <= 4096 + 1000
    assert [one.at_seconds for some, _ in parts for one in some] == list(range(5_000))
    ends = [end for _, end in parts]
    assert ends == sorted(ends) and ends[-1] == lines_bytes(path)
    again = list(read_intervals(path, ends[1], EVERYTHING))
    assert again[-1][1] == ends[-1]
    assert sum(len(some) for some, _ in again) == sum(len(some) for some, _ in parts[2:])


def test_more_lines_than_a_recording_can_have(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read_module, "_BESIDE_BYTES", 20_000)
    (path,) = record(folder, stream_of(50, one_who_walks))
    with presence_path(path).open("ab") as file:
        for at in range(2, 10):
            file.write(crowd(at, range(at * 1000, at * 1000 + 500)))
    assert most_lines_bytes(2.0) < lines_bytes(path) < most_lines_bytes(300.0)
    indexed(database, folder)
    (one,) = segments(database)
    assert one.problem == (
        f"{path.name}.tracks: more lies beside the recording than one of its length can have; "
        "who is in it is not known in full"
    )
    assert 0 < one.read_bytes <= most_lines_bytes(one.seconds) < lines_bytes(path)
    monkeypatch.setattr(indexer_module, "read_recording", lambda *_, **__: pytest.fail("again"))
    indexed(database, folder)  # a new process believes it


def test_much_to_be_read_lets_others_go_first(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some parts in each step; the file itself is looked into once."""
    monkeypatch.setattr(read_module, "_MOST_WEIGHT", 100)
    monkeypatch.setattr(indexer_module, "WORK_SECONDS", 0.01)
    _, slow = record(folder, stream_of(100, one_who_walks))  # the newest comes first
    with presence_path(slow).open("ab") as file:
        for at in range(2, 10):
            file.write(crowd(at, range(at * 1000, at * 1000 + 100)))
    real, order = recordings.put_intervals, list[int]()

    def put(database: Database, segment: int, some: Sequence[Interval], end: int) -> None:
        order.append(segment)
        time.sleep(0.02)
        real(database, segment, some, end)

    monkeypatch.setattr(indexer_module, "put_intervals", put)
    indexed(database, folder)
    first, second = order[0], next(one for one in order if one != order[0])
    assert order.index(second) < len(order) - 1 - order[::-1].index(first)
    assert people.find(database, PeopleQuery()).total == 1 + 800
    assert segments(database)[1].read_bytes == lines_bytes(slow)


def test_what_may_lie_beside_is_bounded_whatever_the_recording_says() -> None:
    assert most_lines_bytes(0.0) >= 1 << 20
    assert most_lines_bytes(1e12) == 64 << 20


# --- names and times ---


def test_names_that_are_no_text(database: Database, folder: Path) -> None:
    (good,) = record(folder, stream_of(50))
    for name in (b"\xff.mp4", b"a\nb.mp4", b"\x1b[2J.mp4"):
        shutil.copy(good, folder / os.fsdecode(name))
    inner = folder / os.fsdecode(b"\xff")
    inner.mkdir()
    shutil.copy(good, inner)
    shutil.copy(good, folder / "Café 9:41.mp4")
    indexed(database, folder)
    names = {Path(one.path).name for one in segments(database)}
    assert names == {good.name, "Café 9:41.mp4"}


def test_a_file_from_the_far_future(database: Database, folder: Path) -> None:
    (path,) = record(folder, stream_of(50, one_who_walks))
    os.utime(path, ns=(0, 2**63 + 10**9))
    if path.stat().st_mtime_ns < 2**63:
        pytest.skip("this file system knows no such time")
    indexed(database, folder)
    assert len(segments(database)) == len(everybody(database)) == 1


def test_what_no_database_holds_is_given_up(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(folder, stream_of(100), segment=2)
    real = recordings.put_segment

    def put(database: Database, facts: recordings.SegmentFacts) -> Segment:
        if "08-00-02" in facts.path:
            raise OverflowError("too large")
        return real(database, facts)

    monkeypatch.setattr(indexer_module, "put_segment", put)
    indexed(database, folder)
    assert len(segments(database)) == 1


# --- while it grows ---


@pytest.mark.slow
@pytest.mark.untimed
def test_who_walked_through_just_now_is_found(database: Database, folder: Path) -> None:
    """In a segment of five minutes, while it is written, by the thread as it runs."""
    recorder = Recorder(folder, stream_of(300, one_who_walks), segment=300)
    recorder.write(5)
    stop = threading.Event()
    thread = threading.Thread(target=Indexer(database, [folder]).run, args=(stop,))
    thread.start()
    try:
        time.sleep(0.5)  # its first look is over: what follows is seen by the next ones
        recorder.write(200)
        written = time.monotonic()
        while not everybody(database) and time.monotonic() < written + 20:
            time.sleep(0.05)
        (person,) = everybody(database)
        assert person.frames == 70
        (one,) = segments(database)
        assert one.growing and one.seconds >= 6.0
        looked_every = indexer_module.GROWING_SECONDS
        assert looked_every + indexer_module.PASS_SECONDS / 2 <= 5.0
    finally:
        stop.set()
        thread.join(10)
        recorder.close()
    assert not thread.is_alive()
