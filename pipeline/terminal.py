"""Where commands speak to people: one line each, and nothing in it steers their terminal."""

from __future__ import annotations

import sys
from collections.abc import Collection, Sequence

from .runtime.printable import printable

__all__ = ["printable", "say", "say_table", "warn"]


def say(line: str) -> None:
    """On standard output."""
    print(printable(line))


def say_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, left: Collection[str] = ()
) -> None:
    """On standard output, in columns; those named in `left` begin at their left."""
    widths = [max(len(row[at]) for row in [header, *rows]) for at in range(len(header))]
    for row in [header, *rows]:
        cells = (
            cell.ljust(width) if name in left else cell.rjust(width)
            for name, cell, width in zip(header, row, widths, strict=True)
        )
        say("  ".join(cells).rstrip())


def warn(line: str) -> None:
    """On standard error, after the program's name."""
    print(f"bauta: {printable(line)}", file=sys.stderr)
