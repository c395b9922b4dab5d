"""Passwords and passphrases: from the environment or a terminal, never from the command line."""

from __future__ import annotations

import getpass
import os
import sys

from ..errors import UsageError

VARIABLE = "BAUTA_PASSPHRASE"


def from_environment() -> str | None:
    """What the variable holds; None where it is not set or empty."""
    return os.environ.get(VARIABLE) or None


def ask(prompt: str) -> str:
    """The environment's, else asked for. Raises UsageError where nobody can be asked."""
    found = from_environment()
    return found if found is not None else _ask(prompt)


def ask_new_password(*, from_environment: bool, prompt: str = "Password: ") -> str:
    """A password that will protect something: asked for twice. Raises UsageError."""
    if from_environment:
        found = os.environ.get(VARIABLE)
        if not found:
            raise UsageError(f"{VARIABLE} is not set in the environment, or is empty")
        return found
    first = _ask(prompt)
    if not first:
        raise UsageError("the password is empty")
    if _ask("The same again: ") != first:
        raise UsageError("the two are not the same")
    return first


def _ask(prompt: str) -> str:
    if not sys.stdin.isatty():
        raise UsageError(f"there is no terminal to ask at; set {VARIABLE} in the environment")
    try:
        return getpass.getpass(prompt)
    except EOFError:
        raise UsageError("nothing was entered") from None
