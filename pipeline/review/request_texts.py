"""What people write into a request: one line each, printable, and bounded where it is kept."""

from __future__ import annotations

from ..errors import RequestRefused
from ..vault.request_file import MOST_CASE_CHARACTERS, MOST_REASON_CHARACTERS

LEAST_REASON_CHARACTERS = 3
MOST_NOTE_CHARACTERS = 1000
MOST_LOG_BYTES = 6 * 1000  # of one text: the log is ASCII, and writes \uXXXX for other letters


def one_line(text: str) -> str:
    """One line, whatever spaces and line ends came from a form."""
    return " ".join(text.split())


def check_texts(case: str, reason: str) -> None:
    """Raises RequestRefused."""
    if not 1 <= len(case) <= MOST_CASE_CHARACTERS or not case.isprintable():
        raise RequestRefused(f"a case has 1 to {MOST_CASE_CHARACTERS} printable characters")
    if not LEAST_REASON_CHARACTERS <= len(reason) <= MOST_REASON_CHARACTERS:
        raise RequestRefused(
            f"a reason has {LEAST_REASON_CHARACTERS} to {MOST_REASON_CHARACTERS} characters"
        )
    if not reason.isprintable():
        raise RequestRefused("a reason has printable characters alone")
    _check_bytes("a reason", reason)


def checked_note(note: str) -> str:
    """On one line. Raises RequestRefused."""
    note = one_line(note)
    if len(note) > MOST_NOTE_CHARACTERS or not note.isprintable():
        raise RequestRefused(f"a note has up to {MOST_NOTE_CHARACTERS} printable characters")
    _check_bytes("a note", note)
    return note


def _check_bytes(what: str, text: str) -> None:
    size = sum(1 if one.isascii() else 6 if one <= "\uffff" else 12 for one in text)
    if size > MOST_LOG_BYTES:
        raise RequestRefused(f"{what} takes up to {MOST_LOG_BYTES} bytes in the log: shorten it")
