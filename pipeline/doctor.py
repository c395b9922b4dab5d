"""`bauta doctor`: what works on this machine, by trying it, and what to do about the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .config import load_settings
from .doctor_checks import NEEDED, OPTIONAL, Check, Finding, reason
from .doctor_privacy import WEAK, cameras, obfuscations


def examine(config: Path | None = None) -> list[Finding]:
    """Everything, in the order in which it is shown. Takes a few seconds.

    `config`: and how the cameras of this file hide faces. Raises SettingsError where it is none.
    """
    settings = load_settings(config) if config is not None else None

    def privacy() -> Iterator[Finding]:
        yield from obfuscations()
        yield from cameras(settings) if settings is not None else ()

    checks: tuple[Check, ...] = (*NEEDED, *OPTIONAL, privacy)
    findings: list[Finding] = []
    for check in checks:
        try:
            # what works needs no fix
            findings.extend(replace(found, fix=None) if found.ok else found for found in check())
        except Exception as error:  # a doctor that faints helps nobody
            findings.append(
                Finding(
                    "Failed checks",
                    check.__name__.strip("_").replace("_", " "),
                    False,
                    reason(error),
                    needed=check in NEEDED,
                )
            )
    return findings


def run_doctor(*, as_json: bool, config: Path | None = None) -> int:
    """Print the findings; 0 where everything needed works, else 1. Raises SettingsError."""
    findings = examine(config)
    ready = all(finding.ok for finding in findings if finding.needed)
    if as_json:
        report = {
            "ready": ready,
            "summary": summary(findings),
            "findings": [asdict(finding) for finding in findings],
        }
        print(json.dumps(report, indent=2))
    else:
        _print(findings)
    return 0 if ready else 1


def summary(findings: list[Finding]) -> str:
    """The last line, in plain words."""
    broken = [finding for finding in findings if finding.needed and not finding.ok]
    if broken:
        names = ", ".join(f"{finding.area.lower()}: {finding.name}" for finding in broken)
        fix = next((finding.fix for finding in broken if finding.fix), "see the lines above")
        return f"Not ready: {names}. {fix[0].upper()}{fix[1:]}"
    rest = ""
    if weak := sum(not finding.ok and finding.word == WEAK for finding in findings):
        rest += f" Weak: {weak}, see Privacy above."
    if absent := sum(not finding.ok and finding.word != WEAK for finding in findings):
        rest += f" Absent and not needed: {absent} optional."
    return f"Ready: everything needed works.{rest} See it: bauta demo"


def _print(findings: list[Finding]) -> None:
    console = Console(highlight=False)
    table = Table.grid(padding=(0, 2), pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    area = ""
    for finding in findings:
        if finding.area != area:
            if area:
                table.add_row()
            area = finding.area
            table.add_row("", Text(area, "bold"))
        mark = Text("ok", "green") if finding.ok else Text(finding.word, "yellow")
        if finding.needed and not finding.ok:
            mark = Text("MISSING", "bold red")
        text = Text(finding.detail)
        if finding.fix:
            text.append(f". {finding.fix}", "dim" if not finding.needed else "")
        table.add_row(mark, Text(finding.name), text)
    console.print(table)
    console.print()
    console.print(Text(summary(findings), "bold"))
