"""The commands of those who hold keys: `bauta recover` and `bauta keys`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from .cli_handover import add_release
from .cli_values import count, seconds

if TYPE_CHECKING:
    from .cli import Commands


def add_recover(commands: Commands) -> None:
    """`bauta recover`."""
    parser = commands.add_parser("recover", help="the faces of a protected clip, for a case")
    parser.add_argument("clip", type=Path, metavar="CLIP")
    parser.add_argument("dest", type=Path, metavar="DEST", help="a file (.mp4 .mkv .ts)")
    parser.add_argument(
        "--in-band", action="store_true", help="from the picture itself (protector proface-s)"
    )
    key = parser.add_mutually_exclusive_group()
    key.add_argument(
        "--key",
        type=Path,
        action="append",
        metavar="FILE",
        help="a secret key (bauta keys new); repeat it for further groups of recipients",
    )
    key.add_argument("--password", action="store_true", help="ask for the password")
    key.add_argument(
        "--password-from-env", action="store_true", help="take it from BAUTA_PASSPHRASE"
    )
    parser.add_argument(
        "--release",
        type=Path,
        action="append",
        metavar="FILE",
        help="of another group's officer, made for --key; may be repeated (bauta keys release)",
    )
    parser.add_argument(
        "--disclosure",
        type=Path,
        metavar="PACKAGE",
        help="one person, made for --key alone (bauta disclose)",
    )
    parser.add_argument(
        "--request",
        type=Path,
        metavar="FILE",
        help="an approved request (bauta requests file): it says case, reason, time and tracks",
    )
    parser.add_argument(
        "--console",
        type=Path,
        metavar="CONSOLE.pub",
        help="of --request: carry out only what this console signed (default: any, marked REQUEST "
        "UNVERIFIED)",
    )
    parser.add_argument("--case", metavar="ID", help="goes into log and picture")
    parser.add_argument("--reason", metavar="TEXT", help="goes into the log")
    parser.add_argument(
        "--track", type=int, action="append", metavar="ID", help="only this person; may be repeated"
    )
    parser.add_argument("--from", dest="from_seconds", type=seconds, metavar="T", help="90 or 1:30")
    parser.add_argument("--to", dest="to_seconds", type=seconds, metavar="T", help="2:05.5")
    parser.add_argument(
        "--sidecar", type=Path, default=None, metavar="FILE", help="default: found beside CLIP"
    )
    parser.add_argument(
        "--service",
        type=Path,
        metavar="SERVICE.pub",
        help="open only what this service signed (default: all, marked ORIGIN UNVERIFIED)",
    )
    parser.add_argument(
        "--lossless", action="store_true", help="code the recovered video without loss"
    )
    parser.add_argument(
        "--no-mark", action="store_true", help="burn no RECOVERED mark in; log and manifest say so"
    )
    parser.add_argument("--drop-audio", action="store_true", help="leave the clip's audio out")
    parser.add_argument(
        "--first-frame",
        type=count,
        default=None,
        metavar="N",
        help="of --in-band: which of the session's frames CLIP begins with (default: what CLIP "
        "says, else 0)",
    )
    parser.add_argument(
        "--stills", type=Path, default=None, metavar="DIR", help="recovered faces as PNG"
    )
    parser.add_argument(
        "--keyframes-only",
        action="store_true",
        help="only what a frame's own pixels prove: no keyframe's face is moved to other frames",
    )
    parser.add_argument(
        "--search",
        action="store_true",
        help="the sidecar has lost the places: try them out in the frames given by --frame",
    )
    parser.add_argument(
        "--frame", type=count, action="append", metavar="N", help="of --search; may be repeated"
    )
    parser.add_argument(
        "--around",
        type=_square,
        action="append",
        metavar="X,Y,SIDE",
        help="of --search: about where; default: where a detector still sees a face",
    )
    parser.add_argument(
        "--reach", type=count, default=24, metavar="PIXELS", help="of --search (default: 24)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace what exists")
    parser.add_argument("--json", action="store_true", help="the result as JSON on stdout")

    def call(options: argparse.Namespace) -> int:
        from .recover_command import recover

        return recover(options)

    parser.set_defaults(run=call)


def add_keys(commands: Commands) -> None:
    """`bauta keys new|show|release`."""
    parser = commands.add_parser("keys", help="key pairs for those who may recover faces")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    new = actions.add_parser("new", help="NAME.key (secret, 0600) and NAME.pub (for the service)")
    new.add_argument("file", type=Path, metavar="NAME.key")
    new.add_argument(
        "--no-passphrase", action="store_true", help="leave NAME.key unencrypted (default: ask)"
    )
    show = actions.add_parser("show", help="the public key of a .key or .pub file")
    show.add_argument("file", type=Path, metavar="FILE")

    def call_new(options: argparse.Namespace) -> int:
        from .keys_command import new_key

        return new_key(options)

    def call_show(options: argparse.Namespace) -> int:
        from .keys_command import show_key

        return show_key(options)

    new.set_defaults(run=call_new)
    show.set_defaults(run=call_show)
    add_release(actions)


def _square(text: str) -> tuple[int, int, int]:
    parts = text.split(",")
    if len(parts) != 3:
        raise argparse.ArgumentTypeError(f"must be X,Y,SIDE in pixels, got {text!r}")
    x, y, side = (count(part) for part in parts)
    # what may be fused: even places, sides that are multiples of 4
    return x // 2 * 2, y // 2 * 2, max(side // 4 * 4, 16)
