"""The commands of those who look after recoveries: `bauta audit show|verify`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cli import Commands


def add_audit(commands: Commands) -> None:
    """`bauta audit show|verify`."""
    parser = commands.add_parser("audit", help="the log of recoveries: who, what, which case")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    show = actions.add_parser("show", help="the entries, oldest first")
    show.add_argument("--case", default=None, metavar="ID", help="only those of this case")
    show.add_argument(
        "--last", type=_count, default=None, metavar="N", help="only the newest N of them"
    )
    show.add_argument("--json", action="store_true", help="JSON on stdout")
    verify = actions.add_parser("verify", help="whether the log is as it was written")
    verify.add_argument(
        "--manifest",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="of a recovery: its entry must be in the log; may be repeated",
    )
    verify.add_argument(
        "--officer",
        type=Path,
        action="append",
        default=[],
        metavar="NAME.pub",
        help="nobody else may have signed; may be repeated",
    )

    def call_show(options: argparse.Namespace) -> int:
        from .audit_command import show_log

        return show_log(options)

    def call_verify(options: argparse.Namespace) -> int:
        from .audit_command import verify_log

        return verify_log(options)

    show.set_defaults(run=call_show)
    verify.set_defaults(run=call_verify)


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > 9 or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 on, got {text!r}")
    return int(text)
