"""The commands of those who look: `bauta console`, and at one: `cameras recordings requests`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from .cli_values import count, moment

if TYPE_CHECKING:
    from .cli import Commands

SERVER = "http://127.0.0.1:8080"
STATES = ("pending", "approved", "refused", "withdrawn", "expired")
SORTS = ("time", "-time", "-seconds", "-size")


def add_console(commands: Commands) -> None:
    """`bauta console`."""
    parser = commands.add_parser("console", help="recordings in the browser, without cameras")
    parser.add_argument("folders", type=Path, nargs="*", metavar="DIR", help="of recordings")
    parser.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="of bauta run: its site, its section console, and the folders it records to",
    )
    parser.add_argument("--address", help="where to listen (default: 127.0.0.1)")
    parser.add_argument("--port", type=count, metavar="N", help="0: any free one (default: 8080)")

    def call(options: argparse.Namespace) -> int:
        from .console_command import run_console

        return run_console(options)

    parser.set_defaults(run=call)


def add_cameras(commands: Commands) -> None:
    """`bauta cameras`."""
    parser = commands.add_parser("cameras", help="what the cameras of a console do now")
    _add_server(parser)
    _run(parser, "cameras")


def add_recordings(commands: Commands) -> None:
    """`bauta recordings days|list|people|export`."""
    parser = commands.add_parser("recordings", help="what a console has recorded, and who is in it")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    days = actions.add_parser("days", help="how much there is of each day and camera")
    listed = actions.add_parser("list", help="the files of a camera")
    people = actions.add_parser("people", help="everybody who was followed, by number")
    export = actions.add_parser("export", help="a span of a camera as one protected clip")
    for action in (listed, export):
        action.add_argument("--camera", required=True, metavar="ID", help="of this camera")
    people.add_argument(
        "--camera", action="append", metavar="ID", help="of this camera; may be repeated"
    )
    _add_span(listed, required=False)
    _add_span(people, required=False)
    people.add_argument("--min-px", type=count, metavar="N", help="only faces that were so large")
    people.add_argument("--min-seconds", type=float, metavar="S", help="only who was there so long")
    people.add_argument(
        "--recoverable", action="store_true", help="only those whose originals are sealed"
    )
    people.add_argument("--sort", choices=SORTS, default="-time", help="default: -time")
    people.add_argument(
        "--limit", type=count, default=60, metavar="N", help="at most so many (default: 60)"
    )
    _add_dest(export, "DEST", "a file, or a folder for the name that the console gives")
    _add_span(export, required=True)
    for name, action in (("days", days), ("list", listed), ("people", people), ("export", export)):
        _add_server(action)
        _run(action, f"recordings_{name}")


def add_requests(commands: Commands) -> None:
    """`bauta requests list|show|new|approve|refuse|withdraw|file|clip`."""
    parser = commands.add_parser("requests", help="recovery requests at a console")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    named: dict[str, argparse.ArgumentParser] = {}
    for name, told in (
        ("list", "one's own; approvers see all of their cameras"),
        ("show", "all about one"),
        ("new", "ask for the faces of people in a recording"),
        ("approve", "say yes to somebody else's"),
        ("refuse", "say no to somebody else's"),
        ("withdraw", "take one's own back"),
        ("file", "the signed file of an approved one, for: bauta recover --request"),
        ("clip", "the protected clip that it is about"),
    ):
        named[name] = actions.add_parser(name, help=told)
        if name not in ("list", "new"):
            named[name].add_argument("id", metavar="ID", help="R-…")
    named["list"].add_argument("--state", choices=STATES, help="only those")
    new = named["new"]
    new.add_argument("--camera", required=True, metavar="ID", help="of this camera")
    _add_span(new, required=True)
    new.add_argument(
        "--person",
        type=count,
        action="append",
        required=True,
        metavar="N",
        help="as bauta recordings people numbers them; may be repeated",
    )
    new.add_argument("--case", required=True, metavar="ID", help="goes into log and picture")
    new.add_argument("--reason", required=True, metavar="TEXT", help="goes into the log")
    named["approve"].add_argument(
        "--release",
        type=Path,
        metavar="FILE",
        help="a key release, made for the officer by bauta keys release; the officer finds out "
        "whether it opens anything",
    )
    for name in ("approve", "refuse"):
        named[name].add_argument("--note", default="", metavar="TEXT", help="for the requester")
    _add_dest(named["file"], "DEST", "a file, or a folder (default: this folder)", default=Path())
    _add_dest(named["clip"], "DEST", "a file, or a folder (default: this folder)", default=Path())
    for name, action in named.items():
        _add_server(action)
        _run(action, f"requests_{name}")


def _add_span(parser: argparse.ArgumentParser, *, required: bool) -> None:
    parser.add_argument(
        "--from",
        dest="from_ms",
        type=moment,
        required=required,
        metavar="T",
        help="2026-11-21T18:30, 18:30 (today), or such as '20m ago'",
    )
    parser.add_argument(
        "--to", dest="to_ms", type=moment, required=required, metavar="T", help="the same, or now"
    )


def _add_dest(
    parser: argparse.ArgumentParser, name: str, told: str, *, default: Path | None = None
) -> None:
    parser.add_argument(
        "dest",
        type=Path,
        metavar=name,
        help=told,
        nargs=None if default is None else "?",
        default=default,
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what exists")


def _add_server(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--server", default=SERVER, metavar="URL", help="of the console (default: %(default)s)"
    )
    parser.add_argument(
        "--user",
        required=True,
        metavar="NAME",
        help="who signs in; the password is asked for, or taken from BAUTA_PASSWORD",
    )
    parser.add_argument(
        "--ca", type=Path, metavar="FILE", help="PEM: who signed the console's certificate"
    )
    parser.add_argument("--json", action="store_true", help="JSON on stdout")


def _run(parser: argparse.ArgumentParser, name: str) -> None:
    """The function of that name in client_commands.py, imported when it is asked for."""

    def call(options: argparse.Namespace) -> int:
        from . import client_commands

        command: Callable[[argparse.Namespace], int] = getattr(client_commands, name)
        return command(options)

    parser.set_defaults(run=call)
