"""Values of the command line that several commands take. For argparse's `type`."""

from __future__ import annotations

import argparse
import re

MOST_DIGITS = 12
_TIME = re.compile(r"(?:(?:(\d+):)?(\d+):)?(\d+(?:\.\d+)?)s?")


def seconds(text: str) -> float:
    """90, 1:30 or 2:05.5."""
    if not (match := _TIME.fullmatch(text)):
        raise argparse.ArgumentTypeError(f"must be a time such as 90, 1:30 or 2:05.5, got {text!r}")
    hours, minutes, rest = (float(part or 0) for part in match.groups())
    return hours * 3600 + minutes * 60 + rest


def count(text: str) -> int:
    """A whole number from 0 on."""
    if not text.isascii() or not text.isdigit() or len(text) > MOST_DIGITS:
        raise argparse.ArgumentTypeError(f"must be a whole number from 0 on, got {text!r}")
    return int(text)
