"""Finding people: every filter and order, page by page, against the slow and obvious way."""

from __future__ import annotations

import base64
import itertools
import json
import random
from collections.abc import Callable

import pytest

from pipeline.errors import UsageError
from pipeline.review.store import people, timeline
from pipeline.review.store.database import Database
from pipeline.review.store.people import PeopleQuery, Person, Sort
from support.index import START_MS, facts, interval, put, span

ORDERS: dict[Sort, Callable[[Person], tuple[int, int]]] = {
    "time": lambda each: (each.start_ms, each.id),
    "-time": lambda each: (-each.start_ms, -each.id),
    "-seconds": lambda each: (each.start_ms - each.end_ms, -each.id),
    "-size": lambda each: (-each.largest_px, -each.id),
}


@pytest.fixture
def crowd(database: Database) -> tuple[Person, ...]:
    """120 people, many of them alike in time, length and size."""
    rng = random.Random(3)
    for number, camera in enumerate(("lobby", "yard", "gate")):
        spans = []
        for track in range(40):
            first = rng.randrange(0, 40)
            spans.append(
                span(track, first, first + rng.choice([0, 1, 1, 5]), side=rng.choice([20, 30, 90]))
            )
        known = facts(f"/{camera}", camera=camera, evidence=number != 1)
        put(database, known, interval(0, *spans))
    return people.find(database, PeopleQuery(limit=500)).people


def pages(database: Database, query: PeopleQuery) -> tuple[list[Person], int]:
    found: list[Person] = []
    after = None
    while True:
        page = people.find(
            database,
            PeopleQuery(
                **{name: getattr(query, name) for name in query.__dataclass_fields__}
                | {"after": after}
            ),
        )
        assert len(page.people) <= query.limit
        found += page.people
        after = page.next
        if after is None:
            return found, page.total


@pytest.mark.parametrize("sort", ORDERS)
def test_every_filter_page_by_page(
    database: Database, crowd: tuple[Person, ...], sort: Sort
) -> None:
    choices = itertools.product(
        [None, {"lobby", "yard"}],
        [(None, None), (START_MS + 10_000, START_MS + 20_000)],
        [None, 30],
        [None, 1.0],
        [None, True, False],
    )
    for cameras, (from_ms, to_ms), min_px, min_seconds, recoverable in choices:
        query = PeopleQuery(
            cameras=cameras,
            from_ms=from_ms,
            to_ms=to_ms,
            min_px=min_px,
            min_seconds=min_seconds,
            recoverable=recoverable,
            sort=sort,
            limit=19,
        )
        expected = [
            each
            for each in crowd
            if (cameras is None or each.camera in cameras)
            and (from_ms is None or each.end_ms >= from_ms)
            and (to_ms is None or each.start_ms < to_ms)
            and (min_px is None or each.largest_px >= min_px)
            and (min_seconds is None or each.end_ms - each.start_ms >= min_seconds * 1000)
            and (recoverable is None or each.recoverable == recoverable)
        ]
        found, total = pages(database, query)
        assert found == sorted(expected, key=ORDERS[sort])
        assert total == len(expected) > 0


def test_who_came_in_a_span(local: Database) -> None:
    """Whoever was there already is left out, which `from_ms` does not do."""
    put(local, facts(), interval(0, span(1, 1, 9), span(2, 2, 3), span(3, 4, 9), span(4, 5, 6)))
    bounds = {"begins_after_ms": START_MS + 2000, "begins_before_ms": START_MS + 5000}
    for chosen, expected in (
        (bounds, [2, 3]),
        ({"begins_after_ms": START_MS + 2000}, [2, 3, 4]),
        ({"begins_before_ms": START_MS + 5000}, [1, 2, 3]),
        ({"begins_after_ms": START_MS + 2000, "from_ms": START_MS + 6000}, [3, 4]),
    ):
        page = people.find(local, PeopleQuery(sort="time", **chosen))  # type: ignore[arg-type]
        assert [one.track for one in page.people] == expected
        assert page.total == len(expected)


def test_nobody_and_no_camera(database: Database) -> None:
    assert people.find(database, PeopleQuery()) == people.Page((), None, 0)
    put(database, facts(), interval(0, span(1, 0, 1)))
    assert people.find(database, PeopleQuery(cameras=[])).total == 0
    assert people.find(database, PeopleQuery(limit=1)).next is None


def test_a_page_that_grows_meanwhile_repeats_nobody(
    database: Database, crowd: tuple[Person, ...]
) -> None:
    first = people.find(database, PeopleQuery(sort="-time", limit=50))
    put(database, facts("/new", start_ms=START_MS + 50_000), interval(0, span(99, 0, 1)))
    second = people.find(database, PeopleQuery(sort="-time", limit=500, after=first.next))
    assert first.people + second.people == crowd


def cursor(*values: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    "after",
    [
        "",
        "x",
        "ümlaut",
        "a" * 100_000,
        cursor("-time", 1),
        cursor("-size", 1, 1),
        cursor("-time", "1", 1),
        cursor("-time", True, 1),
        cursor("-time", 2**63, 1),
        cursor("-time", 1, -(2**70)),
        cursor("-time", 1.5, 1),
        base64.urlsafe_b64encode(b'"abc"').decode(),
        base64.urlsafe_b64encode(b"[" * 10_000).decode(),
    ],
)
def test_cursors_that_are_none(local: Database, after: str) -> None:
    with pytest.raises(UsageError, match="after is not"):
        people.find(local, PeopleQuery(after=after))


def test_other_wrong_questions(local: Database) -> None:
    with pytest.raises(UsageError, match="sorted by one of time, -time"):
        people.find(local, PeopleQuery(sort="name; DROP TABLE"))  # type: ignore[arg-type]
    for limit in (0, 501, -1):
        with pytest.raises(UsageError, match="limit is between 1 and 500"):
            people.find(local, PeopleQuery(limit=limit))


# --- the timeline ---


def test_a_window_in_buckets(database: Database) -> None:
    put(
        database,
        facts("/1", seconds=10),
        interval(0, span(1, 0, 0.5), span(2, 0.9, 0.9)),
        interval(5, span(1, 5, 9.5), obscured=10),
        seconds_read := interval(9.5, obscured=20, seconds=1.0),
    )
    assert seconds_read.seconds == 1.0
    put(database, facts("/2", start_ms=START_MS + 11_900, seconds=2), interval(0, span(2, 0, 1)))
    put(database, facts("/3", start_ms=START_MS + 16_000, seconds=100), interval(0, span(3, 0, 0)))
    put(database, facts("/y", camera="yard", seconds=1, session="y"), interval(0, span(1, 0, 0.9)))
    shown = timeline.timeline(database, None, START_MS, START_MS + 20_000, 20)
    assert (shown.from_ms, shown.to_ms, shown.bucket_ms) == (START_MS, START_MS + 20_000, 1000)
    lobby, yard = shown.cameras
    assert lobby.camera == "lobby" and yard.camera == "yard"
    assert lobby.spans == (
        (START_MS, START_MS + 13_900),  # 1.9 s between two files are closed
        (START_MS + 16_000, START_MS + 20_000),
    )
    # 1 from 0 to 9.5 s, 2 from 0.9 to 12.9 s, 3 at 16 s
    assert lobby.people == (2,) * 10 + (1,) * 3 + (0,) * 3 + (1, 0, 0, 0)
    assert lobby.obscured == (0,) * 5 + (10,) + (0,) * 3 + (10, 10) + (0,) * 9
    assert yard.people == (1,) + (0,) * 19 and yard.spans == ((START_MS, START_MS + 1000),)


def test_windows_that_cut_through(database: Database) -> None:
    put(
        database,
        facts("/1", seconds=100),
        interval(0, span(1, 0, 99), obscured=25, seconds=50, frames=25),
        interval(50, obscured=25, seconds=50, frames=25),
    )
    (camera,) = timeline.timeline(
        database, {"lobby", "yard"}, START_MS + 20_000, START_MS + 30_000, 3
    ).cameras
    assert camera.spans == ((START_MS + 20_000, START_MS + 30_000),)
    assert camera.people == (1, 1, 1)
    assert sum(camera.obscured) in (5, 6)  # a tenth of 50, rounded in each bucket
    assert timeline.timeline(database, {"yard"}, START_MS, START_MS + 1000, 5).cameras == ()
    after = timeline.timeline(database, None, START_MS + 100_000, START_MS + 200_000, 5)
    assert after.cameras == ()
    tiny = timeline.timeline(database, None, START_MS, START_MS + 3, 288)
    assert tiny.bucket_ms == 1 and tiny.cameras[0].people == (1, 1, 1)


@pytest.mark.parametrize(
    ("from_ms", "to_ms", "buckets", "why"),
    [(0, 1000, 0, "buckets"), (0, 1000, 2001, "buckets"), (5, 5, 1, "window"), (0, 1e14, 1, "win")],
)
def test_windows_that_are_none(
    local: Database, from_ms: int, to_ms: int, buckets: int, why: str
) -> None:
    with pytest.raises(UsageError, match=why):
        timeline.timeline(local, None, from_ms, int(to_ms), buckets)


def test_buckets_against_the_slow_way(local: Database) -> None:
    rng = random.Random(5)
    spans = []
    for track in range(200):
        first = rng.uniform(0, 100)
        spans.append(span(track, first, first + rng.expovariate(0.3)))
    lines = [
        interval(at, obscured=rng.choice([0, 0, 4, 50]), seconds=2, frames=50)
        for at in range(0, 120, 2)
    ]
    put(local, facts(seconds=120), interval(0, *spans, seconds=0), *lines[1:])
    for from_s, to_s, buckets in ((0, 120, 7), (30, 60, 30), (33, 34, 100), (-50, 500, 11)):
        from_ms, to_ms = START_MS + from_s * 1000, START_MS + to_s * 1000
        shown = timeline.timeline(local, None, from_ms, to_ms, buckets)
        edges = [from_ms + number * shown.bucket_ms for number in range(buckets)]
        everybody = people.find(local, PeopleQuery(limit=500)).people
        assert shown.cameras[0].people == tuple(
            sum(
                each.start_ms < min(edge + shown.bucket_ms, to_ms) and each.end_ms >= edge
                for each in everybody
            )
            for edge in edges
        )
        expected = []
        for edge in edges:
            end = min(edge + shown.bucket_ms, to_ms)
            frames = 0.0
            for line in lines[1:]:
                begin = START_MS + line.at_seconds * 1000
                overlap = min(begin + 2000, end) - max(begin, edge)
                frames += max(0.0, overlap) / 2000 * line.obscured
            expected.append(frames)
        for got, wanted in zip(shown.cameras[0].obscured, expected, strict=True):
            assert abs(got - wanted) <= 0.51
