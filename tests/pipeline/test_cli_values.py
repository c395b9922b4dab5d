"""Values of the command line: times as people write them."""

from __future__ import annotations

import argparse
import time
from datetime import datetime

import pytest

from pipeline.cli_values import moment


def local_ms(*parts: int) -> int:
    return round(datetime(*parts).timestamp() * 1000)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("2026-11-21T18:30", (2026, 11, 21, 18, 30)),
        ("2026-11-21 18:30:05", (2026, 11, 21, 18, 30, 5)),
        (" 2026-11-21 ", (2026, 11, 21)),
    ],
)
def test_this_machines_time(text: str, parts: tuple[int, ...]) -> None:
    assert moment(text) == local_ms(*parts)


def test_another_zone() -> None:
    assert moment("2026-11-18T11:06:40.250+00:00") == 1_795_000_000_250
    assert moment("2026-11-18T12:06:40.250+01:00") == 1_795_000_000_250
    assert moment("2026-11-18T11:06:40.250Z") == 1_795_000_000_250


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("now", 0),
        ("2m ago", 120),
        ("1h30m ago", 5400),
        ("90s ago", 90),
        ("1d 2h ago", 93_600),
        ("5mago", 300),
    ],
)
def test_a_while_ago(text: str, seconds: int) -> None:
    assert abs(moment(text) - (time.time() - seconds) * 1000) < 5000


def test_a_time_of_today() -> None:
    today = datetime.now()
    assert moment("18:30") == local_ms(today.year, today.month, today.day, 18, 30)


@pytest.mark.parametrize(
    "text", ["", "ago", "2 ago", "2m", "-2m ago", "soon", "25:00", "2026-13-01", "1795000000000"]
)
def test_no_time(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError, match="must be a time"):
        moment(text)
