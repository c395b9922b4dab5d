"""Values of the command line that several commands take. For argparse's `type`."""

from __future__ import annotations

import argparse
import re
from datetime import datetime, timedelta

MOST_DIGITS = 12
_AGO = re.compile(r"(?:(\d{1,5})d)?\s*(?:(\d{1,5})h)?\s*(?:(\d{1,6})m)?\s*(?:(\d{1,7})s)?\s*ago")
_CLOCK = re.compile(r"\d\d:\d\d")
_TIME = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)s?")


def seconds(text: str) -> float:
    """90, 1:30 or 2:05.5."""
    if not (match := _TIME.fullmatch(text)):
        raise argparse.ArgumentTypeError(f"must be a time such as 90, 1:30 or 2:05.5, got {text!r}")
    hours, minutes, rest = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + rest


def moment(text: str) -> int:
    """Unix milliseconds of 2026-11-21T18:30, 18:30 (today), `2m ago`, `1h30m ago` or now.

    By this machine's clock and time zone, unless the text names another zone.
    """
    now = datetime.now().astimezone()
    if text.strip() == "now":
        found = now
    elif (ago := _AGO.fullmatch(text.strip())) and any(ago.groups()):
        days, hours, minutes, rest = (float(part or 0) for part in ago.groups())
        found = now - timedelta(days=days, hours=hours, minutes=minutes, seconds=rest)
    else:
        try:
            found = datetime.fromisoformat(
                f"{now:%Y-%m-%d}T{text.strip()}" if _CLOCK.match(text.strip()) else text.strip()
            ).astimezone()
        except (ValueError, OverflowError):
            raise argparse.ArgumentTypeError(
                f"must be a time such as 2026-11-21T18:30, 18:30, '2m ago' or now, got {text!r}"
            ) from None
    return round(found.timestamp() * 1000)


def count(text: str) -> int:
    """A whole number from 0 on."""
    if not text.isascii() or not text.isdigit() or len(text) > MOST_DIGITS:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 on, got {text!r}")
    return int(text)
