"""`bauta audit`: the log of recoveries for people, and whether it is as it was written."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from .errors import UsageError, VaultError
from .terminal import say, warn
from .vault import audit
from .vault.audit_check import Report, ranges
from .vault.audit_line import Head, Line
from .vault.signing import fingerprint, load_public

MOST_MANIFEST_BYTES = 64 * 2**20
GAP = 2  # columns of a terminal between two of the table
LEAST_WIDTH = 6  # of a column, in a narrow terminal
LEAST_TERMINAL = 60  # what is narrower folds the lines itself
WRONG_SIGNATURE = "SIGNATURE WRONG"
DAMAGED = "DAMAGED"


@dataclass(frozen=True, slots=True)
class _Row:
    """An entry, and where it stands."""

    place: int
    line: Line | None  # None: damaged
    hash: str

    @property
    def fields(self) -> Mapping[str, object]:
        return {} if self.line is None else self.line.fields

    @property
    def signed_by(self) -> str | None:
        """A fingerprint; None where nobody signed it, or not as it stands now."""
        if self.line is None or self.line.signer is None or not self.line.is_intact:
            return None
        return fingerprint(self.line.signer)

    @property
    def state(self) -> str:
        """Of the entry by itself, whatever stands around it."""
        if self.line is None:
            return "damaged"
        if not self.line.is_intact:
            return "wrong signature"
        return "unsigned" if self.line.signer is None else "signed"


# --- show ---


def show_log(options: argparse.Namespace) -> int:
    """Print the entries that were asked for. Raises VaultError where the log cannot be read.

    A log that is not whole is shown as well, with a line on standard error.
    """
    path = audit.audit_path()
    report = audit.check(path)
    rows = _chosen(report, options.case, options.last)
    if options.json:
        print(json.dumps(_as_json(path, report, rows), indent=2))
    elif rows:
        _print_table(rows)
    else:
        of_case = "" if options.case is None else f" of the case {_plain(options.case)}"
        say(f"{path}: no recovery{of_case} is logged")
    if report.faults:
        warn(f"{path} is NOT as it was written: {report.faults[0]}")
    return 0


def _chosen(report: Report, case: str | None, last: int | None) -> list[_Row]:
    rows = [
        _Row(place, line, report.hashes[place - 1])
        for place, line in enumerate(report.lines, start=1)
    ]
    if case is not None:
        rows = [row for row in rows if row.fields.get("case") == case.strip()]
    return rows if last is None else rows[-last:]


def _as_json(path: Path, report: Report, rows: Sequence[_Row]) -> dict[str, object]:
    head = report.head
    return {
        "log": str(path),
        "audit": None if head is None else {"count": head.count, "hash": head.hash},
        "whole": not report.faults,
        "faults": list(report.faults),
        "entries": [
            {
                **row.fields,
                "n": row.place,
                "hash": row.hash,
                "state": row.state,
                "signed_by": row.signed_by,
            }
            for row in rows
        ],
    }


def _print_table(rows: Sequence[_Row]) -> None:
    """A row for each entry; below it the reason and who signed, which may be long."""
    console = Console(highlight=False)
    console.width = max(console.width, LEAST_TERMINAL)
    heads = ("n", "time (UTC)", "action", "clip", "tracks", "case", "who")
    cells = [_cells(row) for row in rows]
    widths = _widths([heads, *cells], console.width)
    console.print(_in_columns(heads, widths, "bold"))
    for row, texts in zip(rows, cells, strict=True):
        console.print(_in_columns(texts, widths))
        for below in _below(row):
            console.print(Padding(below, (0, 0, 0, widths[0] + GAP)))


def _cells(row: _Row) -> tuple[str, ...]:
    fields = row.fields
    if row.line is None:
        return (str(row.place), "", DAMAGED, "", "", "", "")
    tracks = fields.get("tracks")
    if isinstance(tracks, list):
        tracks = ", ".join(map(_plain, tracks))
    return (
        str(row.place),
        row.line.time[:19].replace("T", " "),
        _plain(fields.get("action")),
        _plain(fields.get("clip")),
        _plain(tracks),
        _plain(fields.get("case")),
        _plain(fields.get("user")),
    )


def _below(row: _Row) -> list[Text]:
    lines = []
    if "reason" in row.fields:
        lines.append(Text(_plain(row.fields["reason"])))
    if row.signed_by is not None:
        lines.append(Text(f"signed by {row.signed_by}", "dim"))
    elif row.state == "unsigned":
        lines.append(Text("unsigned", "dim"))
    elif row.state == "wrong signature":
        lines.append(Text(WRONG_SIGNATURE, "bold red"))
    return lines


def _widths(table: Sequence[Sequence[str]], available: int) -> list[int]:
    """As wide as needed; in a narrow terminal the widest columns give way and are folded."""
    widths = [max(map(cell_len, column)) for column in zip(*table, strict=True)]
    while sum(widths) + GAP * (len(widths) - 1) > available and max(widths) > LEAST_WIDTH:
        widths[widths.index(max(widths))] -= 1
    return widths


def _in_columns(texts: Sequence[str], widths: Sequence[int], style: str = "") -> Table:
    table = Table.grid(padding=(0, GAP), pad_edge=False)
    for width in widths:
        table.add_column(width=width, overflow="fold")
    table.add_row(*(Text(text, style) for text in texts))
    return table


def _plain(value: object) -> str:
    """For a terminal: what a file brought may hold control characters."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value)
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode("ascii")
        for char in text
    )


# --- verify ---


def verify_log(options: argparse.Namespace) -> int:
    """Print what is wrong with the log, a line each, or that it is whole; 0 only then.

    Raises UsageError for a manifest or a public key that is none, VaultError where the log cannot
    be read.
    """
    path = audit.audit_path()
    heads = {_plain(str(manifest)): _head_of(manifest) for manifest in options.manifest}
    signers = [load_public(officer) for officer in options.officer] if options.officer else None
    report = audit.check(path, signers=signers, heads=heads)
    for fault in report.faults:
        say(fault)
    if report.faults:
        say(f"{path}: NOT as it was written, or not by those who may")
        return 1
    say(f"{path}: {_whole(report)}")
    for public, count in report.signatures.items():
        print(f"signed by {fingerprint(public)}: {_entries(count)}")
    if signers is None and report.unsigned:
        print(f"unsigned: {ranges(report.unsigned)}")
    for remark in report.remarks:
        say(remark)
    return 0


def _whole(report: Report) -> str:
    head = report.head
    if head is None:
        return "no entry; whether there ever was one, only a manifest can tell"
    last = report.lines[-1]
    time = "" if last is None else f", the last of {last.time}"
    return f"whole, {_entries(head.count)}{time}, head {head.hash}"


def _entries(count: int) -> str:
    return "1 entry" if count == 1 else f"{count} entries"


def _head_of(manifest: Path) -> Head:
    """What a recovery's manifest says of the log. Raises UsageError."""
    try:
        with manifest.open("rb") as file:
            data = file.read(MOST_MANIFEST_BYTES + 1)
    except OSError as error:
        raise UsageError(f"{manifest}: {error.strerror}") from None
    try:
        if len(data) > MOST_MANIFEST_BYTES:
            raise ValueError
        said = json.loads(data)["audit"]
        return Head(said["count"], said["hash"])
    except (ValueError, KeyError, TypeError, IndexError, RecursionError, VaultError):
        raise UsageError(
            f"{manifest}: is no manifest of a recovery (DEST.manifest.json): it names no entry of "
            "the audit log"
        ) from None
