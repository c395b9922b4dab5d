"""Where commands speak to people: one line each, and nothing in it steers their terminal."""

from __future__ import annotations

import sys

from .runtime.printable import printable

__all__ = ["printable", "say", "warn"]


def say(line: str) -> None:
    """On standard output."""
    print(printable(line))


def warn(line: str) -> None:
    """On standard error, after the program's name."""
    print(f"bauta: {printable(line)}", file=sys.stderr)
