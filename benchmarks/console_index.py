"""How long the review console's database takes to answer: `bauta bench console_index`.

An index of several cameras over a day, with as many people as asked for, is made in a temporary
folder through the functions that the indexer calls; then each query of the store is timed, in this
process and without HTTP. The target is 200 ms for each, at 4 cameras and 100,000 people.
"""

from __future__ import annotations

import argparse
import random
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from statistics import quantiles

from benchmarks.report import Column, Report, add_output_options, progress
from pipeline.presence import Interval, TrackSpan
from pipeline.review.store import people, recordings, timeline
from pipeline.review.store.database import Database
from pipeline.review.store.people import PeopleQuery
from pipeline.review.store.recordings import DAY_MS, SegmentFacts

TARGET_MS = 200.0
START_MS = 20_000 * DAY_MS
SEGMENT_SECONDS = 300
INTERVAL_SECONDS = 2
MEAN_STAY_SECONDS = 12.0
COLUMNS = (
    Column("query", "query"),
    Column("found", "found"),
    Column("p50_ms", "p50 ms"),
    Column("p95_ms", "p95 ms"),
    Column("max_ms", "max ms"),
    Column("within", "max within 200 ms"),
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit code: 1 where a query took longer than the target."""
    parser = argparse.ArgumentParser(prog="bauta bench console_index", description=__doc__)
    parser.add_argument("--cameras", type=int, default=4)
    parser.add_argument("--days", type=int, default=1)
    parser.add_argument("--people", type=int, default=100_000, help="on all cameras and days")
    parser.add_argument("--repeats", type=int, default=20, help="of each query (default: 20)")
    parser.add_argument("--database", metavar="URL", help="an empty PostgreSQL database instead")
    parser.add_argument("--seed", type=int, default=1)
    add_output_options(parser)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="bauta-index-") as folder:
        database = Database(options.database, Path(folder))
        database.migrate()
        begun = time.perf_counter()
        files = _fill(database, options)
        took = time.perf_counter() - begun
        settings = {
            name: getattr(options, name)
            for name in ("cameras", "days", "people", "repeats", "seed")
        }
        settings["database"] = "SQLite" if options.database is None else "PostgreSQL"
        report = Report("console_index", COLUMNS, settings)
        for name, query in _queries(database, options):
            report.rows.append(_timed(name, query, options.repeats))
            progress(f"{name}: {report.rows[-1]['p50_ms']:.1f} ms")
        report.notes.append(f"{files} files were indexed in {took:.0f} s")
        if database.path is not None:
            size = database.path.stat().st_size
            report.notes.append(f"the file has {size / 1e6:.0f} MB")
        database.close()
    report.finish(as_json=options.json, save_as=options.save_as)
    return 0 if all(row["within"] for row in report.rows) else 1


def _fill(database: Database, options: argparse.Namespace) -> int:
    rng = random.Random(options.seed)
    seconds = options.days * DAY_MS // 1000
    per_camera = options.people // options.cameras
    files = 0
    for number in range(options.cameras):
        camera = f"camera-{number + 1}"
        stays = sorted(
            (rng.uniform(0, seconds - 1), rng.expovariate(1 / MEAN_STAY_SECONDS), track)
            for track in range(per_camera)
        )
        for at in range(0, seconds, SEGMENT_SECONDS):
            segment = recordings.put_segment(database, _facts(camera, at))
            inside = [stay for stay in stays if stay[0] < at + SEGMENT_SECONDS]
            recordings.put_intervals(database, segment.id, list(_lines(rng, at, inside)), 10_000)
            stays = [stay for stay in stays if stay[0] + stay[1] >= at + SEGMENT_SECONDS]
            files += 1
        progress(f"{camera}: {per_camera} people indexed")
    return files


def _facts(camera: str, at: int) -> SegmentFacts:
    return SegmentFacts(
        camera=camera,
        path=f"/recordings/{camera}/{at}.mp4",
        start_ms=START_MS + at * 1000,
        seconds=float(SEGMENT_SECONDS),
        bytes=60_000_000,
        mtime_ns=1,
        width=1920,
        height=1080,
        fps=25.0,
        codec="h264",
        session="0" * 32,
        evidence=at % 1200 != 0,
        growing=False,
    )


def _lines(
    rng: random.Random, begin: int, stays: Sequence[tuple[float, float, int]]
) -> Iterator[Interval]:
    for at in range(0, SEGMENT_SECONDS, INTERVAL_SECONDS):
        spans = []
        for came, stayed, track in stays:
            first = max(came - begin, at)
            last = min(came + stayed - begin, at + INTERVAL_SECONDS - 0.04)
            if first <= last and first < at + INTERVAL_SECONDS:
                side = rng.randint(20, 200)
                box = (rng.randint(0, 1600), rng.randint(0, 800), side, side)
                spans.append(TrackSpan(track, first, last, 20, box, first))
        obscured = rng.choice((0, 0, 0, 0, 0, 0, 0, 0, 3, 50))
        yield Interval(float(at), float(INTERVAL_SECONDS), 50, obscured, tuple(spans))


def _queries(
    database: Database, options: argparse.Namespace
) -> Iterator[tuple[str, Callable[[], int]]]:
    end_ms = START_MS + options.days * DAY_MS
    day = (end_ms - DAY_MS, end_ms)
    hour = (end_ms - DAY_MS // 2, end_ms - DAY_MS // 2 + 3_600_000)
    ten = (end_ms - DAY_MS // 2, end_ms - DAY_MS // 2 + 600_000)
    two = ("camera-1", "camera-2")
    for name, cameras, window in (
        ("a day, all cameras", None, day),
        ("a day, two cameras", two, day),
        ("10 minutes", None, ten),
    ):

        def shown(cameras: Sequence[str] | None = cameras, window: tuple[int, int] = window) -> int:
            found = timeline.timeline(database, cameras, *window, 288)
            return sum(sum(each.people) for each in found.cameras)

        yield f"timeline: {name}", shown
    yield "days", lambda: len(recordings.days(database, None, 60))
    yield "files of a day", lambda: len(recordings.segments(database, "camera-1", *day))
    of_day = {"from_ms": day[0], "to_ms": day[1]}
    filters: dict[str, dict[str, object]] = {
        "all": {},
        "of a day": of_day,
        "of an hour, two cameras": {"from_ms": hour[0], "to_ms": hour[1], "cameras": two},
        "large, long, recoverable": {
            **of_day,
            "min_px": 150,
            "min_seconds": 20.0,
            "recoverable": True,
        },
        "none such": {**of_day, "min_px": 5000},
    }
    for sort in ("time", "-time", "-seconds", "-size"):
        for name, chosen in filters.items():
            query = PeopleQuery(sort=sort, **chosen)  # type: ignore[arg-type]
            yield f"people {name}, by {sort}", _page(database, query)
        deep = PeopleQuery(sort=sort, **of_day, limit=500)
        yield f"people of a day, by {sort}, half way", _page(database, _half_way(database, deep))


def _page(database: Database, query: PeopleQuery) -> Callable[[], int]:
    return lambda: people.find(database, query).total


def _half_way(database: Database, query: PeopleQuery) -> PeopleQuery:
    """The same with the cursor of the middle page."""
    page = people.find(database, query)
    for _ in range(page.total // query.limit // 2 - 1):
        if page.next is None:
            break
        page = people.find(database, _after(query, page.next))
    return _after(query, page.next)


def _after(query: PeopleQuery, cursor: str | None) -> PeopleQuery:
    return PeopleQuery(
        from_ms=query.from_ms, to_ms=query.to_ms, sort=query.sort, limit=60, after=cursor
    )


def _timed(
    name: str, query: Callable[[], int], repeats: int
) -> dict[str, str | float | int | bool]:
    found = query()  # the first one also fills the caches
    times = []
    for _ in range(repeats):
        begun = time.perf_counter()
        query()
        times.append((time.perf_counter() - begun) * 1000)
    cuts = quantiles(times, n=20, method="inclusive") if len(times) > 1 else times * 19
    worst = max(times)
    return {
        "query": name,
        "found": found,
        "p50_ms": cuts[9],
        "p95_ms": cuts[18],
        "max_ms": worst,
        "within": worst <= TARGET_MS,
    }


if __name__ == "__main__":
    raise SystemExit(main())
