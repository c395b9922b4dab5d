"""`bauta keys`: key pairs for those who may recover faces. The service gets public keys only."""

from __future__ import annotations

import argparse
import sys
from functools import partial
from pathlib import Path

from .errors import UsageError
from .vault import passwords
from .vault.identity import (
    create_identity,
    is_encrypted,
    load_identity,
    load_recipient,
    public_path_of,
)


def new_key(options: argparse.Namespace) -> int:
    """Make NAME.key and NAME.pub. Raises UsageError."""
    path: Path = options.file
    if path.suffix != ".key":
        raise UsageError(f"{path}: the name must end in .key; the public key gets .pub")
    for file in (path, public_path_of(path)):
        if file.exists():
            raise UsageError(f"{file} exists; keys are never replaced, choose another name")
    identity = create_identity(path, _passphrase(options))
    print(f"{path}: secret, keep it away from the cameras; {public_path_of(path)}: for recipients")
    print(identity.recipient.public)
    return 0


def show_key(options: argparse.Namespace) -> int:
    """Print the public key of a .key or .pub file. Raises UsageError, KeyRefused."""
    path: Path = options.file
    if path.suffix == ".pub":
        print(load_recipient(path).public)
        return 0
    encrypted = is_encrypted(path)
    identity = load_identity(path, partial(passwords.ask, f"Passphrase of {path}: "))
    print(identity.recipient.public)
    how = "encrypted with a passphrase" if encrypted else "NOT encrypted"
    print(f"{path}: {how}", file=sys.stderr)
    return 0


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
