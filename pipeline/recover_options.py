"""What both ways of `bauta recover` ask first: the case, where to write, whose keys."""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from .errors import SinkError, UsageError
from .publish.file import file_format
from .terminal import printable, warn
from .vault import passwords
from .vault.identity import Identity, is_encrypted, load_identity
from .vault.signing import fingerprint, load_public

MOST_CASE_CHARACTERS = 60  # it is burnt into the picture


def checked_case(options: argparse.Namespace) -> tuple[str, str]:
    """(case, reason). Raises UsageError."""
    missing = [f"--{name}" for name in ("case", "reason") if getattr(options, name) is None]
    if missing:
        raise UsageError(
            f"the following arguments are required: {', '.join(missing)} (or --request FILE, an "
            "approved request that says them); see bauta recover --help"
        )
    case, reason = options.case.strip(), options.reason.strip()
    if not case or not reason:
        raise UsageError("--case and --reason must say something: they go into the log")
    if len(case) > MOST_CASE_CHARACTERS:
        raise UsageError(f"--case must be at most {MOST_CASE_CHARACTERS} characters")
    return case, reason


def span_of(options: argparse.Namespace) -> tuple[float, float]:
    """Of --from and --to, seconds; without them from the start, to the end. Raises UsageError."""
    from_seconds = 0.0 if options.from_seconds is None else options.from_seconds
    to_seconds = math.inf if options.to_seconds is None else options.to_seconds
    if from_seconds > to_seconds:
        raise UsageError("--from must not be later than --to")
    return from_seconds, to_seconds


def check_dest(options: argparse.Namespace, beside: Sequence[Path] = ()) -> None:
    """CLIP is there, DEST and what is written `beside` it may be. Raises UsageError."""
    if not options.clip.is_file():
        raise UsageError(f"{options.clip}: no such file")
    dest: Path = options.dest
    try:
        file_format(dest)
    except SinkError as error:
        raise UsageError(str(error)) from None
    if not dest.parent.is_dir():
        raise UsageError(f"{dest.parent}: no such folder")
    for path in (dest, *beside):
        if path.exists() and path.samefile(options.clip):
            raise UsageError("CLIP and DEST are the same file")
        if path.exists() and not options.overwrite:
            raise UsageError(f"{path} exists; add --overwrite to replace it")
    stills: Path | None = options.stills
    if stills is None:
        return
    if stills.exists() and not stills.is_dir():
        raise UsageError(f"{stills} is not a folder")
    if stills.is_dir() and any(stills.iterdir()) and not options.overwrite:
        raise UsageError(f"{stills} is not empty; add --overwrite to write into it")


def pinned_service(options: argparse.Namespace) -> bytes | None:
    """(32,) The public key of --service; None: the origin will not be verified. Raises UsageError.

    Without it a record's signature is checked against the key that the record itself names.
    """
    return load_public(options.service) if options.service else None


def origin_entry(pinned: bytes | None) -> dict[str, object]:
    """What the audit log says of the origin."""
    return {
        "service": None if pinned is None else fingerprint(pinned),
        "origin_verified": pinned is not None,
    }


def warn_unverified() -> None:
    """Where no service was pinned."""
    warn(
        "ORIGIN UNVERIFIED: anybody who has the recipients' public keys can have made this clip; "
        "give --service SERVICE.pub"
    )


def read_identity(path: Path) -> Identity:
    """A key file; its passphrase is asked for. Raises UsageError, KeyRefused."""
    encrypted = is_encrypted(path)
    prompt = printable(f"Passphrase of {path}: ")
    identity = load_identity(path, partial(passwords.ask, prompt))
    if not encrypted and path.stat().st_mode & 0o077:
        warn(f"{path} can be read by others: chmod 600")
    return identity


def progress_bar() -> Progress:
    """On stderr, where somebody looks at it."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}"))
    return Progress(*columns, console=console, transient=True, disable=not console.is_terminal)
