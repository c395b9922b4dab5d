"""What reaches a terminal: one line each, and nothing in it that steers it."""

from __future__ import annotations

import logging
import sys


def printable(text: str) -> str:
    """A text that may be from anybody: control and bidi characters, surrogates are question marks.

    Also line ends: what is one line stays one.
    """
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def say(line: str) -> None:
    """On standard output."""
    print(printable(line))


def warn(line: str) -> None:
    """On standard error, after the program's name."""
    print(f"bauta: {printable(line)}", file=sys.stderr)


class LineFormatter(logging.Formatter):
    """Names of cameras, recipients and files come from elsewhere: in a log they are text."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        return printable(super().format(record))
