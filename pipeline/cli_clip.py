"""The commands that tell what a clip is, without any key: `bauta tracks` and `bauta verify`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cli import Commands


def add_tracks(commands: Commands) -> None:
    """`bauta tracks`."""
    parser = commands.add_parser("tracks", help="who is in a protected clip and when; no key")
    parser.add_argument("clip", type=Path, metavar="CLIP")
    _add_sidecar(parser)
    parser.add_argument(
        "--sheet",
        type=Path,
        default=None,
        metavar="SHEET.png",
        help="also a contact sheet, of the protected picture",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace SHEET.png if it exists")
    parser.add_argument("--json", action="store_true", help="the table as JSON on stdout")

    def call(options: argparse.Namespace) -> int:
        from .tracks_command import tracks

        return tracks(options)

    parser.set_defaults(run=call)


def add_verify(commands: Commands) -> None:
    """`bauta verify`."""
    parser = commands.add_parser(
        "verify", help="whose a protected clip is, and whether it is whole and unaltered; no key"
    )
    parser.add_argument("clip", type=Path, metavar="CLIP")
    parser.add_argument(
        "--service",
        type=Path,
        default=None,
        metavar="SERVICE.pub",
        help="the service's public key, from its operator; without it the origin is not verified",
    )
    _add_sidecar(parser)
    parser.add_argument("--json", action="store_true", help="the result as JSON on stdout")

    def call(options: argparse.Namespace) -> int:
        from .verify_command import verify

        return verify(options)

    parser.set_defaults(run=call)


def _add_sidecar(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--sidecar",
        type=Path,
        default=None,
        metavar="FILE",
        help="its records (default: those in CLIP, else CLIP.bauta)",
    )
