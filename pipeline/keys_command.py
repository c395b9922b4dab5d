"""`bauta keys`: key pairs for those who may recover faces, and what one hands to another.

The service gets public keys only.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from .disclose_command import hand_over, nothing_opened, prepare, tell
from .errors import UsageError
from .terminal import printable, say
from .vault import passwords
from .vault.identity import (
    create_identity,
    is_encrypted,
    load_identity,
    load_recipient,
    public_path_of,
)
from .vault.opening import EpochKeys
from .vault.package import make_release
from .vault.signing import fingerprint, load_public, officer_key, public_line


def new_key(options: argparse.Namespace) -> int:
    """Make NAME.key and NAME.pub. Raises UsageError."""
    path: Path = options.file
    if path.suffix != ".key":
        raise UsageError(f"{path}: the name must end in .key; the public key gets .pub")
    for file in (path, public_path_of(path)):
        if file.exists():
            raise UsageError(f"{file} exists; keys are never replaced, choose another name")
    identity = create_identity(path, _passphrase(options))
    say(f"{path}: secret, keep it away from the cameras; {public_path_of(path)}: for recipients")
    print(identity.recipient.public)
    return 0


def show_key(options: argparse.Namespace) -> int:
    """Print the public key of a .key or .pub file. Raises UsageError, KeyRefused.

    The fingerprint on stderr is what log, `verify` and reports call its holder.
    """
    path: Path = options.file
    if path.suffix == ".pub":
        _show_public(path)
        return 0
    encrypted = is_encrypted(path)
    identity = load_identity(path, partial(passwords.ask, printable(f"Passphrase of {path}: ")))
    print(identity.recipient.public)
    _show_signer(path, officer_key(identity).public)
    how = "encrypted with a passphrase" if encrypted else "NOT encrypted"
    print(printable(f"{path}: {how}"), file=sys.stderr)
    return 0


def _show_public(path: Path) -> None:
    try:
        signer = load_public(path)
    except UsageError:  # made before there were signing keys, or no public key at all
        print(load_recipient(path).public)
        return
    try:
        print(load_recipient(path).public)
    except UsageError:  # a service's: it signs, and nothing is sealed for it
        print(public_line(signer))
    _show_signer(path, signer)


def _show_signer(path: Path, public: bytes) -> None:
    print(printable(f"{path}: signs as {fingerprint(public)}"), file=sys.stderr)


def release_key(options: argparse.Namespace) -> int:
    """Hand on what one group has of the tracks. Raises BautaError."""
    tracks = frozenset(options.track) if options.track else None
    asked = prepare(options, tracks)
    group = _group_of(asked.keys, options.group)
    if group is None:
        raise nothing_opened(asked)
    opened = [keys for keys in asked.keys if group in keys.opened_by]
    package = make_release(
        opened,
        group,
        None if tracks is None else sorted(tracks),
        asked.purpose(opened, (group,)),
        present=asked.present,
    )
    hand_over(asked, package, opened, action="release", groups=(group,))
    what = "all tracks" if tracks is None else "tracks " + ", ".join(map(str, sorted(tracks)))
    tell(asked, opened, f"what {group} has of {what}")
    return 0


def _group_of(epochs: Sequence[EpochKeys], named: str | None) -> str | None:
    """The group that the keys open; None where they open none. Raises UsageError for several."""
    opened = sorted({name for keys in epochs for name in keys.opened_by})
    if named is not None:
        return named if named in opened else None
    if len(opened) > 1:
        raise UsageError(f"the keys open the groups {', '.join(opened)}: say one with --group")
    return opened[0] if opened else None


def _passphrase(options: argparse.Namespace) -> str | None:
    if options.no_passphrase:
        return None
    found = passwords.from_environment()
    if found is not None:
        return found
    if not sys.stdin.isatty():
        raise UsageError(
            f"there is no terminal to ask for a passphrase at; set {passwords.VARIABLE} in the "
            "environment, or add --no-passphrase"
        )
    return passwords.ask_new_password(from_environment=False, prompt="Passphrase: ")
