"""From real recordings to the database and back out, as they come, grow, break and go."""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import StoreError
from pipeline.presence import presence_path
from pipeline.review.index import indexer as module
from pipeline.review.index.indexer import Indexer
from pipeline.review.index.read import Read, read_recording
from pipeline.review.index.scan import Found
from pipeline.review.store import people, recordings
from pipeline.review.store.database import Database
from pipeline.review.store.people import PeopleQuery, Person
from pipeline.review.store.recordings import Segment
from support.clips import make_clip
from support.evidence import Walk, make_evidence
from support.recordings import (
    HEIGHT,
    SESSION,
    START,
    START_MS,
    WIDTH,
    Recorder,
    one_who_walks,
    record,
    record_evidence,
    stream_of,
)

LATER = 100.0  # seconds after the last write: everything is complete


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database's file, with its tables."""
    made = Database(None, tmp_path_factory.mktemp("empty"))
    made.migrate()
    made.close()
    assert made.path is not None
    return made.path


@pytest.fixture
def database(tmp_path: Path, empty: Path) -> Iterator[Database]:
    (tmp_path / "state").mkdir()
    shutil.copy(empty, tmp_path / "state")
    made = Database(None, tmp_path / "state")
    yield made
    made.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "rec"
    path.mkdir()
    return path


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_BREATH_SECONDS", 0.0)
    monkeypatch.setattr(module, "GROWING_SECONDS", 0.0)


def indexed(database: Database, *folders: Path, after: float = LATER) -> Indexer:
    """An indexer that has done all there is to do."""
    indexer = Indexer(database, folders, now=lambda: time.time() + after)
    finish(indexer)
    return indexer


def finish(indexer: Indexer) -> None:
    for _ in range(100):
        if indexer.step():
            return
    raise AssertionError(f"never done: {indexer.state}")


def error_of(indexer: Indexer) -> str | None:
    return indexer.state.error


def segments(database: Database) -> list[Segment]:
    known = recordings.known_segments(database).values()
    return sorted(known, key=lambda one: (one.start_ms, one.path))


def everybody(database: Database) -> list[Person]:
    query = PeopleQuery(cameras=None, from_ms=0, to_ms=10**14)
    return sorted(people.find(database, query).people, key=lambda one: one.track)


def test_segments_and_who_is_in_them(database: Database, folder: Path) -> None:
    paths = record(folder, stream_of(100, one_who_walks))
    indexer = indexed(database, folder)

    assert [one.path for one in segments(database)] == [str(path) for path in paths]
    for number, one in enumerate(segments(database)):
        stat = paths[number].stat()
        assert one == Segment(
            id=one.id,
            camera="lobby",
            path=str(paths[number]),
            start_ms=START_MS + 2000 * number,
            end_ms=START_MS + 2000 * number + 2000,
            seconds=2.0,
            bytes=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
            width=WIDTH,
            height=HEIGHT,
            fps=25.0,
            codec="h264",
            session=SESSION.id,
            evidence=False,
            growing=False,
            problem=None,
            read_bytes=presence_path(paths[number]).stat().st_size,
        )
    (person,) = everybody(database)
    assert (person.camera, person.session, person.track) == ("lobby", SESSION.id, 7)
    assert (person.start_ms, person.end_ms) == (START_MS + 400, START_MS + 79 * 40)
    assert person.frames == 70
    assert person.box_xywh_px == (60, 20, 40, 50)
    assert person.best_segment == segments(database)[1].id
    assert person.best_seconds == pytest.approx(10 / 25)
    state = indexer.state
    assert (state.files, state.waiting, state.error) == (2, 0, None) and state.last_ms > 0


def test_two_cameras_and_folders_one_level_deep(database: Database, tmp_path: Path) -> None:
    stream = stream_of(50, one_who_walks)
    record(tmp_path / "rec" / "lobby", stream)
    record(tmp_path / "rec" / "garden", stream, camera="garden")
    record(tmp_path / "rec" / "too" / "deep", stream, camera="deep")
    record(tmp_path / "more", stream, camera="more")
    indexed(database, tmp_path / "rec", tmp_path / "more")
    assert recordings.cameras(database) == ("garden", "lobby", "more")
    assert len(everybody(database)) == 3


def test_a_recording_that_grows_is_read_on(database: Database, folder: Path) -> None:
    recorder = Recorder(folder, stream_of(150, one_who_walks), segment=60)
    indexer = Indexer(database, [folder])
    lengths, read = [], []
    for _ in range(6):
        recorder.write(25)
        indexer.step()
        (one,) = segments(database)
        assert one.growing and one.problem is None
        lengths.append(one.seconds)
        read.append(one.read_bytes)
    assert lengths == sorted(lengths) and lengths[-1] >= 4.0
    assert read == sorted(read) and len(set(read)) >= 5
    assert everybody(database)[0].frames == 70
    recorder.close()
    indexer.step()
    assert segments(database)[0].growing  # nobody knows yet that this was all
    finish(indexed(database, folder))
    (one,) = segments(database)
    assert (one.growing, one.seconds) == (False, 6.0)


def test_a_newer_segment_ends_the_one_before(database: Database, folder: Path) -> None:
    recorder = Recorder(folder, stream_of(150, one_who_walks), segment=2)
    indexer = Indexer(database, [folder])
    recorder.write(40)
    indexer.step()
    assert [one.growing for one in segments(database)] == [True]
    recorder.write(40)
    finish(indexer)
    first = segments(database)[0]
    assert (first.growing, first.seconds) == (False, 2.0)
    assert [one.growing for one in segments(database)] == [False, True]
    recorder.write()
    recorder.close()
    finish(indexer)
    assert [one.growing for one in segments(database)] == [False, False, True]
    assert everybody(database)[0].frames == 70


def test_a_recording_that_stays_still_is_complete(database: Database, folder: Path) -> None:
    """Its process was killed: no newer one comes."""
    recorder = Recorder(folder, stream_of(90, one_who_walks), segment=60)
    recorder.write()
    clock = [time.time()]
    indexer = Indexer(database, [folder], now=lambda: clock[0])
    finish(indexer)
    assert segments(database)[0].growing
    clock[0] += 61.0
    finish(indexer)
    (one,) = segments(database)
    assert not one.growing and one.problem is None
    assert one.seconds == pytest.approx(3.0)  # as far as fragments are whole
    assert everybody(database)[0].frames == 65  # three intervals were written
    recorder.close()


def test_nothing_is_read_twice(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(folder, stream_of(100, one_who_walks))
    indexer = indexed(database, folder)
    looks: list[Path] = []

    def look(found: Found, *, growing: bool, before: Read | None = None) -> Read:
        looks.append(found.path)
        return read_recording(found, growing=growing, before=before)

    monkeypatch.setattr(module, "read_recording", look)
    for _ in range(3):
        assert indexer.step()
    indexer._next_whole = 0.0
    assert indexer.step()
    indexed(database, folder)  # and a new process believes the database
    assert looks == []


def test_what_is_deleted_leaves_with_its_people(database: Database, folder: Path) -> None:
    paths = record(folder, stream_of(100, one_who_walks))
    gone: list[Path] = []
    clock = [time.time() + LATER]
    indexer = Indexer(database, [folder], dropped=gone.append, now=lambda: clock[0])
    finish(indexer)
    for path in (paths[1], presence_path(paths[1])):
        path.unlink()
    finish(indexer)
    assert [one.path for one in segments(database)] == [str(paths[0])]
    assert everybody(database)[0].frames == 40
    assert gone == [paths[1]]
    for path in (paths[0], presence_path(paths[0])):
        path.unlink()
    clock[0] += 10
    finish(indexer)
    assert segments(database) == [] and everybody(database) == []
    assert indexer.state.files == 0


def test_retention_while_recording(database: Database, folder: Path) -> None:
    recorder = Recorder(folder, stream_of(150, one_who_walks), segment=1, max_size=25_000)
    indexer = Indexer(database, [folder])
    for _ in range(15):
        recorder.write(10)
        finish(indexer)
    recorder.close()
    finish(indexed(database, folder))
    left = sorted(str(path) for path in folder.glob("*.mp4"))
    assert [one.path for one in segments(database)] == left
    assert 1 <= len(left) < 6


def test_a_lost_database_is_made_again(tmp_path: Path, folder: Path) -> None:
    record(folder, stream_of(150, one_who_walks))
    found = []
    for name in ("one", "other"):
        database = Database(None, tmp_path / name)
        database.migrate()
        indexed(database, folder)
        found.append((segments(database), everybody(database)))
        database.close()
    # numbers are the database's own
    assert [replace(one, id=0) for one in found[0][0]] == [
        replace(one, id=0) for one in found[1][0]
    ]
    assert [p.frames for p in found[0][1]] == [p.frames for p in found[1][1]] == [70]


def test_the_newest_come_first(
    database: Database, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record(folder, stream_of(100), segment=1)
    record(folder, stream_of(50), segment=1, camera="live", start=START - 1000)
    order: list[str] = []
    indexer = Indexer(database, [folder], ["live"], now=lambda: time.time() + LATER)

    def look(found: Found, *, growing: bool, before: Read | None = None) -> Read:
        order.append(found.path.name)
        return read_recording(found, growing=growing, before=before)

    monkeypatch.setattr(module, "read_recording", look)
    finish(indexer)
    assert [name.split("_")[0] for name in order] == ["live"] * 2 + ["lobby"] * 4
    assert order[2:] == sorted(order[2:], reverse=True)


# --- what is broken ---


@pytest.mark.parametrize(
    "garbage",
    [b"", b"\0" * 50, b"[]\n", b'{"bauta":"tracks/9"}\n', b"x" * 3_000_000, b'{"t":0}\n{"t":1}\n'],
    ids=["empty", "zeros", "list", "version", "endless", "keys"],
)
def test_lines_that_cannot_be_read(database: Database, folder: Path, garbage: bytes) -> None:
    """Then its name says whose it is, and nobody is known to be in it."""
    (path,) = record(folder, stream_of(50, one_who_walks))
    presence_path(path).write_bytes(garbage)
    indexed(database, folder)
    (one,) = segments(database)
    assert (one.camera, one.start_ms, one.seconds) == ("lobby", START_MS, 2.0)
    assert (one.width, one.fps, one.codec) == (WIDTH, 25.0, "h264")
    assert one.problem is None and not one.evidence
    assert everybody(database) == []


def test_lines_that_break_off_in_the_middle(
    database: Database, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (path,) = record(folder, stream_of(100, one_who_walks), segment=60)
    lines = presence_path(path).read_bytes().splitlines(keepends=True)
    presence_path(path).write_bytes(b"".join([*lines[:3], b"garbage\r\n", *lines[3:]]))
    indexed(database, folder)
    assert everybody(database)[0].frames == 40
    assert caplog.text.count("the rest of it is left out") == 1
    caplog.clear()
    indexed(database, folder)
    assert caplog.text == ""


def test_a_torn_last_line_is_waited_for(database: Database, folder: Path) -> None:
    (path,) = record(folder, stream_of(100, one_who_walks), segment=60)
    whole = presence_path(path).read_bytes()
    presence_path(path).write_bytes(whole[:-20])
    indexer = Indexer(database, [folder])
    finish(indexer)
    assert everybody(database)[0].frames == 65
    presence_path(path).write_bytes(whole)
    os.utime(path)
    finish(indexer)
    assert everybody(database)[0].frames == 70


def test_files_that_are_no_recordings(database: Database, folder: Path) -> None:
    (folder / "notes.mp4").write_text("quarterly figures\n" * 100)
    (folder / "empty.mp4").write_bytes(b"")
    (folder / "odd.mkv").write_bytes(b"nothing")
    (folder / "lobby_2027-01-15T08-00-00.250Z.mp4").write_bytes(b"\0\0\0\x20ftyp")
    indexer = indexed(database, folder)
    found = {Path(one.path).name: one for one in segments(database)}
    assert len(found) == 4 and error_of(indexer) is None
    assert all(one.problem and "\n" not in one.problem for one in found.values())
    assert found["notes.mp4"].camera == "files"
    assert found["notes.mp4"].problem == "notes.mp4: is no MP4"
    assert str(folder) not in str([one.problem for one in found.values()])
    assert found["lobby_2027-01-15T08-00-00.250Z.mp4"].camera == "lobby"


def test_a_time_that_no_calendar_holds(
    database: Database, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (path,) = record(folder, stream_of(50, one_who_walks))
    text = presence_path(path).read_bytes().replace(str(START_MS).encode(), b"9000000000000000")
    presence_path(path).write_bytes(text)
    record(folder, stream_of(25), camera="other")
    indexer = indexed(database, folder)
    assert [one.camera for one in segments(database)] == ["other"]
    assert indexer.step() and error_of(indexer) is None
    assert caplog.text.count("beyond what the index holds") == 1


def test_another_recording_under_the_same_name(database: Database, folder: Path) -> None:
    (path,) = record(folder, stream_of(50, one_who_walks))
    indexer = indexed(database, folder)
    other = replace(SESSION, id="77" * 16)
    shutil.rmtree(folder)
    record(folder, stream_of(75, one_who_walks), session=other, segment=60)
    os.utime(path, (time.time() + 5,) * 2)
    indexer._next_whole = 0.0
    finish(indexer)
    finish(indexed(database, folder))
    (person,) = everybody(database)
    assert (person.session, person.frames) == (other.id, 65)


def test_a_file_that_defeats_the_reader_holds_nobody_up(
    database: Database,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    record(folder, stream_of(100), segment=1)

    def defect(found: Found, *, growing: bool, before: Read | None = None) -> Read:
        if "08-00-02" in found.path.name:
            raise ZeroDivisionError("a defect")
        return read_recording(found, growing=growing, before=before)

    monkeypatch.setattr(module, "read_recording", defect)
    indexer = indexed(database, folder)
    assert len(segments(database)) == 3 and indexer.state.waiting == 0
    assert caplog.text.count("not indexed: ZeroDivisionError") == 1


# --- without lines: by the records ---


def test_older_recordings_are_told_by_their_records(database: Database, folder: Path) -> None:
    walks = (Walk(3, 0, 60, (20, 20, 40, 48)), Walk(9, 30, 140, (60, 40, 30, 32), grows_px=0.2))
    clip = make_evidence(epochs=6, frames=25, tracks=walks)
    paths = record_evidence(folder, clip, segment=3)
    assert len(paths) == 2
    indexed(database, folder)
    found = segments(database)
    assert [one.camera for one in found] == ["gate-3"] * 2
    assert [one.start_ms for one in found] == [START_MS, START_MS + 3000]
    assert [one.seconds for one in found] == pytest.approx([3.0, 3.0])
    assert all(one.evidence for one in found)
    keys = clip.key_records()
    assert [one.session for one in found] == [
        f"clip:{keys[0].epoch_id.hex()}",
        f"clip:{keys[3].epoch_id.hex()}",
    ]
    # without a session that is known they are people of each file
    seen = sorted((one.track, one.frames) for one in everybody(database))
    assert seen == [(3, 61), (9, 45), (9, 66)]
    assert all(one.recoverable for one in everybody(database))


def test_a_file_of_bauta_protect(database: Database, folder: Path) -> None:
    clip = make_evidence(epochs=2, frames=25)
    clip.write(folder / "case.mp4", carrier="both")
    indexed(database, folder)
    (one,) = segments(database)
    first = clip.key_records()[0]
    assert (one.camera, one.start_ms) == ("gate-3", first.started_utc_ms)
    assert one.evidence and one.problem is None and one.seconds == pytest.approx(2.0)
    (person,) = everybody(database)
    assert person.frames == 50 and person.recoverable


def test_any_other_clip_is_of_nobody(database: Database, folder: Path) -> None:
    made = make_clip(folder / "a.mkv", frames=25, size=(320, 240), face_px=40)
    indexed(database, folder)
    (one,) = segments(database)
    assert (one.camera, one.evidence, one.codec, one.problem) == ("files", False, "h264", None)
    assert one.seconds == pytest.approx(made.frames / 25, abs=0.05)
    assert everybody(database) == []


# --- folders and databases that fail ---


def test_a_folder_that_cannot_be_read_keeps_what_is_known(database: Database, folder: Path) -> None:
    """Not mounted, perhaps."""
    record(folder, stream_of(50, one_who_walks))
    indexer = indexed(database, folder)
    away = folder.with_name("away")
    folder.rename(away)
    assert indexer.step()
    assert error_of(indexer) == f"cannot be read: {folder}"
    assert len(segments(database)) == 1
    indexed(database, folder)
    assert len(segments(database)) == 1
    away.rename(folder)
    finish(indexer)
    assert error_of(indexer) is None and len(segments(database)) == 1


def test_a_console_of_other_folders_forgets_the_rest_at_its_start(
    database: Database, tmp_path: Path
) -> None:
    record(tmp_path / "a", stream_of(25))
    record(tmp_path / "b", stream_of(25), camera="garden")
    first = indexed(database, tmp_path / "a")
    indexed(database, tmp_path / "b")
    assert recordings.cameras(database) == ("garden",)
    first._next_whole = 0.0  # the first one is still there, and takes its own up again
    finish(first)
    assert recordings.cameras(database) == ("garden", "lobby")


def test_a_database_that_fails_is_asked_again(
    database: Database,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    record(folder, stream_of(50, one_who_walks))
    indexer = Indexer(database, [folder], now=lambda: time.time() + LATER)
    with monkeypatch.context() as broken:

        def fails(*_: object) -> None:
            raise StoreError("the database is out of reach")

        broken.setattr(module, "put_intervals", fails)
        for _ in range(3):
            assert indexer.step()
        assert error_of(indexer) == "the database is out of reach"
    assert caplog.text.count("out of reach") == 1
    finish(indexer)
    assert error_of(indexer) is None
    assert everybody(database)[0].frames == 40


def test_the_thread_follows_and_ends(database: Database, folder: Path) -> None:
    stop = threading.Event()
    indexer = Indexer(database, [folder])
    thread = threading.Thread(target=indexer.run, args=(stop,))
    thread.start()
    try:
        record(folder, stream_of(50, one_who_walks))
        until = time.monotonic() + 20
        while not segments(database) and time.monotonic() < until:
            time.sleep(0.05)
        assert len(segments(database)) == 1
    finally:
        stop.set()
        thread.join(10)
    assert not thread.is_alive()
