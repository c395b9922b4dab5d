"""What the console is told when it starts. It holds no identity, and no camera's address."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ..settings import ConsoleSettings

CONSOLE_FOLDER = "console"


@dataclass(frozen=True, slots=True)
class DemoAccount:
    """A made-up user of `bauta demo`, shown on its sign-in page."""

    name: str
    password: str
    roles: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsolePlan:
    """One console. It goes to its process over a pipe, never in arguments."""

    site: str
    settings: ConsoleSettings = field(repr=False)  # the database's URL may hold a password
    state_dir: Path  # of the whole service: the audit log; service.key lies there as well
    cameras: tuple[str, ...]  # those with live pictures
    folders: tuple[Path, ...]  # of recordings, absolute
    demo: tuple[DemoAccount, ...] = field(default=(), repr=False)  # the first is signed in at once

    @property
    def own_dir(self) -> Path:
        """Database, console.key, thumbnails and exports: all that its process may write."""
        return console_dir(self.state_dir)


def console_dir(state_dir: Path) -> Path:
    """The console's own part of the state: what else is there is out of its reach."""
    return state_dir / CONSOLE_FOLDER


def make_console_dir(state_dir: Path) -> Path:
    """The same, made where it is not there; both for their owner alone.

    Never raises: whoever writes there says better why it cannot.
    """
    own = console_dir(state_dir)
    with suppress(OSError):
        for folder in (state_dir, own):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    return own
