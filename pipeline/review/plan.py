"""What the console is told when it starts. It holds no identity, and no camera's address."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ..settings import ConsoleSettings


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
    state_dir: Path  # database, console.key, thumbnails and exports lie in here
    cameras: tuple[str, ...]  # those with live pictures
    folders: tuple[Path, ...]  # of recordings, absolute
    demo: tuple[DemoAccount, ...] = field(default=(), repr=False)  # the first is signed in at once
