"""Texts that may be from anybody, made fit for a terminal."""

from __future__ import annotations

import logging


def printable(text: str) -> str:
    """Control and bidi characters, line ends and lone surrogates become question marks."""
    return "".join(letter if letter.isprintable() else "?" for letter in text)


class LineFormatter(logging.Formatter):
    """Names of cameras, recipients and files come from elsewhere: in a log they are text."""

    def format(self, record: logging.LogRecord) -> str:
        """One line."""
        return printable(super().format(record))
