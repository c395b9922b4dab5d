"""Files of the index, and people put together from several of them."""

from __future__ import annotations

import threading
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, select

from pipeline.errors import RecordingError
from pipeline.presence import Interval
from pipeline.review.store import people, recordings, requests, timeline
from pipeline.review.store.database import Database
from pipeline.review.store.people import PeopleQuery, Person
from pipeline.review.store.recordings import DAY_MS, Day, DayOfCamera
from pipeline.review.store.tables import OBSCURATIONS, PEOPLE, SEGMENTS, SIGHTINGS
from support.index import START_MS, facts, interval, put, somebody, span


def everybody(database: Database) -> tuple[Person, ...]:
    return people.find(database, PeopleQuery(sort="time", limit=500)).people


def contents(database: Database) -> list[list[tuple[object, ...]]]:
    """Every row that intervals make."""
    with database.read() as connection:
        return [
            [tuple(row) for row in connection.execute(select(table).order_by(*table.primary_key))]
            for table in (PEOPLE, SIGHTINGS, OBSCURATIONS)
        ]


# --- segments ---


def test_a_file_comes_changes_and_goes(database: Database) -> None:
    first = recordings.put_segment(database, facts(growing=True, seconds=10))
    assert (first.end_ms, first.read_bytes, first.growing) == (START_MS + 10_000, 0, True)
    again = recordings.put_segment(database, facts(seconds=60.0004))
    assert (again.id, again.end_ms, again.growing) == (first.id, START_MS + 60_000, False)
    assert recordings.segment(database, first.id) == again
    assert recordings.known_segments(database) == {"/r/a.mp4": again}
    recordings.drop_segment(database, first.id)
    recordings.drop_segment(database, first.id)
    assert recordings.known_segments(database) == {}
    assert recordings.segment(database, first.id) is None
    assert recordings.put_segment(database, facts()).id > first.id


def test_files_of_a_window(database: Database) -> None:
    put(database, facts("/long", start_ms=START_MS - 3_600_000, seconds=3601))
    put(database, facts("/before", start_ms=START_MS - 60_000))
    put(database, facts("/in", start_ms=START_MS + 1))
    put(database, facts("/after", start_ms=START_MS + 1000))
    put(database, facts("/other", camera="yard"))
    found = recordings.segments(database, "lobby", START_MS, START_MS + 1000)
    assert [each.path for each in found] == ["/long", "/in"]
    first = recordings.segments(database, "lobby", START_MS, START_MS + 1000, limit=1)
    assert first == found[:1]
    assert recordings.cameras(database) == ("lobby", "yard")


def test_a_time_that_no_calendar_holds(database: Database) -> None:
    for wrong in (facts(start_ms=2**53), facts(start_ms=-1)):
        with pytest.raises(RecordingError, match="its time"):
            recordings.put_segment(database, wrong)


def test_days_by_the_viewers_clock(database: Database) -> None:
    midnight = 20_000 * DAY_MS - 3_600_000  # one hour east of Greenwich
    put(
        database,
        facts("/over", start_ms=midnight - 10_000, seconds=30),
        *(interval(0, span(1, 0, 0.9)), interval(15, span(2, 15, 15.9), span(1, 15, 15.5))),
    )
    put(database, facts("/next", start_ms=midnight + 50_000, seconds=5, session="s2"))
    put(database, facts("/yard", camera="yard", start_ms=midnight, seconds=7), interval(0))
    assert recordings.days(database, None, 60) == (
        Day(midnight, (DayOfCamera("lobby", 25.0, 1), DayOfCamera("yard", 7.0, 0))),
        Day(midnight - DAY_MS, (DayOfCamera("lobby", 10.0, 1),)),
    )
    assert recordings.days(database, {"yard"}, 0) == (
        Day(midnight + 3_600_000 - DAY_MS, (DayOfCamera("yard", 7.0, 0),)),
    )
    assert recordings.days(database, set(), 60) == ()


# --- people ---


def test_one_person_over_two_files(database: Database) -> None:
    first = put(database, facts(), interval(58, span(7, 58, 59.9, side=50)))
    second = put(
        database,
        facts("/r/b.mp4", start_ms=START_MS + 60_000, evidence=False),
        interval(0, span(7, 0.2, 0.9, side=80)),
        interval(1, span(7, 1, 1.5, side=60), span(8, 1, 1.9)),
    )
    person, other = everybody(database)
    assert (person.start_ms, person.end_ms) == (START_MS + 58_000, START_MS + 61_500)
    assert (person.frames, person.largest_px, person.box_xywh_px) == (30, 80, (7, 80, 80, 80))
    assert (person.best_segment, person.best_ms) == (second.id, START_MS + 60_550)
    assert (person.recoverable, other.recoverable) == (True, False)
    seen = people.sightings(database, person.id)
    assert [(each.segment, each.first_seconds, each.last_seconds) for each in seen] == [
        (first, 58.0, 59.9),
        (second, 0.2, 1.5),
    ]
    recordings.drop_segment(database, second.id)
    (left,) = everybody(database)
    assert left == replace(
        person,
        end_ms=START_MS + 59_900,
        frames=10,
        largest_px=50,
        box_xywh_px=(7, 50, 50, 50),
        best_segment=first.id,
        best_seconds=58.95,
        best_ms=START_MS + 58_950,
    )
    assert people.get(database, other.id) is None
    recordings.drop_segment(database, first.id)
    assert contents(database) == [[], [], []]


def test_the_same_number_in_another_session_or_camera_is_another(database: Database) -> None:
    put(database, facts("/1"), interval(0, span(1, 0, 0.5)))
    put(database, facts("/2", session="s2"), interval(0, span(1, 0, 0.5)))
    put(database, facts("/3", camera="yard"), interval(0, span(1, 0, 0.5)))
    assert len(everybody(database)) == 3


def test_evidence_that_comes_later(database: Database) -> None:
    put(database, facts(evidence=False), interval(0, span(1, 0, 0.5)))
    assert [each.recoverable for each in everybody(database)] == [False]
    recordings.put_segment(database, facts(evidence=True))
    assert [each.recoverable for each in everybody(database)] == [True]


def test_another_recording_under_the_same_name(database: Database) -> None:
    put(database, facts(), interval(5, span(1, 5, 5.5), obscured=3))
    again = recordings.put_segment(database, facts(session="s2"))
    assert again.read_bytes == 0 and contents(database) == [[], [], []]
    put(database, facts(session="s2"), interval(2, span(4, 2, 2.5)))
    assert [each.track for each in everybody(database)] == [4]


def test_reading_twice_changes_nothing(database: Database) -> None:
    lines = [interval(n, span(1, n, n + 0.9), span(n + 2, n, n), obscured=n) for n in range(6)]
    segment = put(database, facts(), *lines[:4], read_bytes=40)
    once = contents(database)
    put(database, facts(), *lines[:4], read_bytes=40)
    assert contents(database) == once
    put(database, facts(), *lines[2:], read_bytes=60)
    whole = contents(database)
    found = recordings.segment(database, segment.id)
    assert found is not None and found.read_bytes == 60
    recordings.drop_segment(database, segment.id)
    put(database, facts(), *lines, read_bytes=60)
    assert [[row[1:] for row in rows] for rows in contents(database)][2] == [
        row[1:] for row in whole[2]
    ]
    assert everybody(database)[0].frames == 60


def test_a_dropped_segment_takes_nothing_up(database: Database) -> None:
    recordings.put_intervals(database, 999, [interval(0, span(1, 0, 0.5))], 10)
    assert contents(database) == [[], [], []]


def test_all_or_nothing(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    segment = put(database, facts(), interval(0, span(1, 0, 0.5)), read_bytes=10)
    before = contents(database)

    def breaks(*_: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(recordings, "add_obscured", breaks)
    with pytest.raises(ZeroDivisionError):
        recordings.put_intervals(database, segment.id, [interval(1, span(2, 1, 1.5))], 20)
    assert contents(database) == before
    assert recordings.segment(database, segment.id) == segment


def test_more_tracks_than_one_statement_holds(database: Database) -> None:
    spans = [span(n, 0, 0.5) for n in range(3000)]
    segment = put(database, facts(), interval(0, *spans), interval(1, *spans))
    assert people.find(database, PeopleQuery()).total == 3000
    recordings.drop_segment(database, segment.id)
    assert people.find(database, PeopleQuery()).total == 0


def test_a_request_outlives_the_recording(database: Database) -> None:
    segment = put(database, facts(), interval(0, span(3, 0, 0.5)))
    (person,) = everybody(database)
    made = requests.add(
        database,
        camera="lobby",
        from_ms=0,
        to_ms=1,
        case_id="c",
        reason="r",
        requester=somebody(database, "bob", "requester"),
        person_ids=[person.id],
        created_ms=1,
        expires_ms=9,
    )
    recordings.drop_segment(database, segment.id)
    kept = requests.get(database, made.id)
    assert kept is not None
    assert kept.people == (replace(made.people[0], person_id=None),)
    assert (kept.people[0].session, kept.people[0].track) == ("s1", 3)


# --- properties: any order, any repetition ---

TRACKS = st.integers(1, 4)


@st.composite
def _lines(draw: st.DrawFn) -> list[Interval]:
    lines = []
    for at in range(draw(st.integers(0, 5))):
        tracks = draw(st.sets(TRACKS, max_size=3))
        spans = []
        for track in sorted(tracks):
            first = at + draw(st.integers(0, 5)) / 10
            spans.append(
                span(
                    track,
                    first,
                    first + draw(st.integers(0, 4)) / 10,
                    side=draw(st.integers(1, 4)),
                    frames=draw(st.integers(1, 25)),
                )
            )
        lines.append(interval(at, *spans, obscured=draw(st.sampled_from([0, 3, 25]))))
    return lines


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Database:
    """One for all examples: they empty it."""
    database = Database(None, tmp_path_factory.mktemp("shared"))
    database.migrate()
    return database


def _plain(database: Database, numbers: dict[int, int]) -> set[tuple[object, ...]]:
    return {
        (
            *(each.track, each.start_ms, each.end_ms, each.frames, each.largest_px),
            *(numbers[each.best_segment], each.best_ms, each.box_xywh_px, each.recoverable),
        )
        for each in everybody(database)
    }


def _expected(files: dict[int, list[Interval]]) -> set[tuple[object, ...]]:
    """The slow and obvious way."""
    found: set[tuple[object, ...]] = set()
    for track in range(1, 5):
        seen = [
            (number, START_MS + number * 60_000, each)
            for number, lines in sorted(files.items())
            for line in lines
            for each in line.tracks
            if each.track == track
        ]
        if not seen:
            continue
        number, start, best = max(seen, key=lambda item: item[2].box_xywh_px[2])  # the first
        found.add(
            (
                track,
                min(begin + round(each.first_seconds * 1000) for _, begin, each in seen),
                max(begin + round(each.last_seconds * 1000) for _, begin, each in seen),
                sum(each.frames for _, _, each in seen),
                best.box_xywh_px[2],
                number,
                start + round(best.best_seconds * 1000),
                best.box_xywh_px,
                any(number % 2 == 0 for number, _, _ in seen),
            )
        )
    return found


STEPS = st.tuples(
    st.integers(0, 2),  # which file
    st.integers(0, 5),  # how many lines are read again
    st.integers(0, 3),  # how many new ones
    st.sampled_from(["read", "read", "drop"]),
)


@settings(max_examples=50)
@given(
    files=st.fixed_dictionaries(dict.fromkeys(range(3), _lines())),
    steps=st.lists(STEPS, max_size=8),
)
def test_people_do_not_depend_on_how_they_came(
    shared: Database,
    files: dict[int, list[Interval]],
    steps: list[tuple[int, int, int, str]],
) -> None:
    """Batches of any size, files interleaved, lines read again, files dropped and read anew."""
    with shared.write() as connection:
        for table in (SIGHTINGS, OBSCURATIONS, PEOPLE, SEGMENTS):
            connection.execute(delete(table))
    numbers: dict[int, int] = {}
    read = dict.fromkeys(files, 0)
    to_the_end = [(number, 5, 5, "read") for number in files]
    for number, back, count, action in [*steps, *to_the_end]:
        start = START_MS + number * 60_000
        known = facts(f"/{number}", start_ms=start, evidence=number % 2 == 0)
        segment = recordings.put_segment(shared, known)
        numbers[segment.id] = number
        if action == "drop":
            recordings.drop_segment(shared, segment.id)
            read[number] = 0
            continue
        end = read[number] + count
        lines = files[number][max(0, read[number] - back) : end]
        recordings.put_intervals(shared, segment.id, lines, end)
        read[number] = min(end, len(files[number]))
    assert _plain(shared, numbers) == _expected(files)
    with shared.read() as connection:
        frames = sum(connection.scalars(select(OBSCURATIONS.c.frames)))
    assert frames == sum(line.obscured for lines in files.values() for line in lines)
    # the timeline loses no frame either
    shown = timeline.timeline(shared, None, START_MS, START_MS + 180_000, 1)
    assert sum(sum(each.obscured) for each in shown.cameras) == frames


# --- two at once ---


def test_two_indexers_side_by_side(url: str | None, tmp_path: Path) -> None:
    """The same people from two files, read by two processes' worth of connections."""
    databases = [Database(url, tmp_path), Database(url, tmp_path)]
    databases[0].migrate()
    starts = threading.Barrier(2)
    errors: list[BaseException] = []

    def index(number: int) -> None:
        try:
            database = databases[number]
            start = START_MS + 60_000 * number
            segment = recordings.put_segment(database, facts(f"/{number}", start_ms=start))
            starts.wait()
            for at in range(25):
                spans = [span(track, at, at + 0.5, side=10 + at) for track in range(20)]
                for _ in range(2):  # the second time it is known
                    recordings.put_intervals(database, segment.id, [interval(at, *spans)], at)
        except BaseException as error:
            errors.append(error)
            starts.abort()

    threads = [threading.Thread(target=index, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    found = everybody(databases[0])
    assert len(found) == 20
    for each in found:
        assert (each.start_ms, each.end_ms) == (START_MS, START_MS + 84_500)
        assert (each.frames, each.largest_px) == (2 * 25 * 10, 34)
    for database in databases:
        database.close()


def test_two_indexers_of_one_file(url: str | None, tmp_path: Path) -> None:
    databases = [Database(url, tmp_path), Database(url, tmp_path)]
    databases[0].migrate()
    segment = recordings.put_segment(databases[0], facts())
    starts = threading.Barrier(2)

    def index(database: Database) -> None:
        starts.wait()
        for at in range(30):
            line = interval(at, span(1, at, at + 0.5), obscured=1)
            recordings.put_intervals(database, segment.id, [line], at)

    threads = [threading.Thread(target=index, args=(each,)) for each in databases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (person,) = everybody(databases[0])
    assert person.frames == 300
    with databases[0].read() as connection:
        assert sum(connection.scalars(select(OBSCURATIONS.c.frames))) == 30
    for database in databases:
        database.close()
