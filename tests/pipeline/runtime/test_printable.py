"""What comes from anybody, on its way to a terminal."""

from __future__ import annotations

import logging

import pytest

from pipeline.cli import main
from pipeline.runtime.printable import LineFormatter, printable
from support.flow import bauta

EVIL = {
    "escape": "\x1b[2J",
    "line end": "a\nb",
    "carriage return": "a\rb",
    "line separator": "a\u2028b",
    "C1": "\x9b31m",
    "bidi": "\u202eexe.\u2066",
    "bell": "\x07",
    "delete": "\x7f",
    "surrogate": "\ud800\udcff",
}


@pytest.mark.parametrize("what", EVIL)
def test_nothing_steers(what: str) -> None:
    clean = printable(EVIL[what])
    assert clean.isprintable() and "?" in clean and len(clean) == len(EVIL[what])
    clean.encode()


def test_letters_of_any_language_stay() -> None:
    assert printable("Gare n° 3, 門, Ä") == "Gare n° 3, 門, Ä"


@pytest.mark.parametrize("what", EVIL)
def test_errors_are_one_line_of_text(what: str) -> None:
    done = bauta("tracks", f"none{EVIL[what]}")
    assert done.code == 2 and printable(EVIL[what]) in done.error_line
    assert done.error_line.isprintable()
    done = bauta("tracks", "clip", f"--{EVIL[what]}")
    assert done.code == 2 and done.error_line.isprintable()


@pytest.mark.parametrize("what", EVIL)
def test_log_lines_are_text(what: str, capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = root.handlers, root.level
    try:
        main(["keys", "show", "/none.pub"])  # sets the log up
        capsys.readouterr()
        (handler,) = root.handlers
        assert isinstance(handler.formatter, LineFormatter)
        handler.handle(
            logging.LogRecord("x", logging.ERROR, "", 0, "%s: lost", (EVIL[what],), None)
        )
        line = capsys.readouterr().err
    finally:
        root.handlers, root.level = before, level
    assert line.endswith("\n") and line[:-1].isprintable()
    assert f"{printable(EVIL[what])}: lost" in line
