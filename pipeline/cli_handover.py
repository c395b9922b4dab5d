"""What one who may open hands to another: `bauta disclose` and `bauta keys release`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .cli_values import count, seconds

if TYPE_CHECKING:
    from .cli import Commands


def add_disclose(commands: Commands) -> None:
    """`bauta disclose`."""
    parser = commands.add_parser("disclose", help="one person of a clip, for a third party")
    parser.add_argument("clip", type=Path, metavar="CLIP")
    parser.add_argument("dest", type=Path, metavar="PACKAGE", help="is written, sealed")
    _add_shared(parser)
    parser.add_argument(
        "--release",
        type=Path,
        action="append",
        metavar="FILE",
        help="of another group's officer, made for --key; may be repeated (bauta keys release)",
    )
    parser.add_argument("--track", type=count, required=True, metavar="ID", help="this person")

    def call(options: argparse.Namespace) -> int:
        from .disclose_command import disclose

        return disclose(options)

    parser.set_defaults(run=call)


def add_release(actions: Commands) -> None:
    """`bauta keys release`."""
    parser = actions.add_parser(
        "release", help="what one group has of a person, for another group's officer"
    )
    parser.add_argument("clip", type=Path, metavar="CLIP")
    parser.add_argument("dest", type=Path, metavar="RELEASE", help="is written, sealed")
    _add_shared(parser)
    parser.add_argument(
        "--track",
        type=count,
        action="append",
        metavar="ID",
        help="only this person; may be repeated (default: all, and where faces overlap)",
    )
    parser.add_argument(
        "--group", default=None, metavar="NAME", help="where the keys open several groups"
    )

    def call(options: argparse.Namespace) -> int:
        from .keys_command import release_key

        return release_key(options)

    parser.set_defaults(run=call)


def _add_shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--key",
        type=Path,
        action="append",
        required=True,
        metavar="FILE",
        help="a secret key; repeat it where several are needed",
    )
    parser.add_argument(
        "--for",
        dest="receiver",
        type=Path,
        required=True,
        metavar="RECEIVER.pub",
        help="the public key that alone opens what is written",
    )
    parser.add_argument("--case", required=True, metavar="ID", help="goes into log and package")
    parser.add_argument("--reason", required=True, metavar="TEXT", help="goes into log and package")
    parser.add_argument(
        "--from",
        dest="from_seconds",
        type=seconds,
        default=0.0,
        metavar="T",
        help="90 or 1:30; whole keyframe intervals are handed over",
    )
    parser.add_argument(
        "--to", dest="to_seconds", type=seconds, default=float("inf"), metavar="T", help="2:05.5"
    )
    parser.add_argument(
        "--sidecar", type=Path, default=None, metavar="FILE", help="default: found beside CLIP"
    )
    parser.add_argument(
        "--service",
        type=Path,
        default=None,
        metavar="SERVICE.pub",
        help="hand on only what this service signed (default: all, ORIGIN UNVERIFIED)",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what exists")
