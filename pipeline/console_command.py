"""`bauta console`: the review console over recordings alone, until stopped. No camera, no key."""

from __future__ import annotations

import argparse
import threading
from collections.abc import Iterable
from pathlib import Path

from pydantic import ValidationError

from .config import load_settings
from .errors import SettingsError, UsageError
from .review.fence import Fence, confine_console
from .review.plan import ConsolePlan, make_console_dir
from .review.store import accounts
from .review.store.database import Database
from .runtime.signals import stop_signals
from .settings import ConsoleSettings, Settings
from .terminal import say, warn
from .vault.audit import state_dir


def run_console(options: argparse.Namespace) -> int:
    """Serve until SIGINT or SIGTERM. Raises UsageError, StoreError, VaultError."""
    plan = _plan(options)
    _check_accounts(plan)
    fence = _confined(plan)
    # they start threads, which would stay as free as they were before
    from .review.live.facts import CameraFacts
    from .review.live.hub import LiveHub
    from .review.server import serve

    stop = threading.Event()
    watch = threading.Thread(target=fence.watch, args=(stop, _warn_of), name="fence", daemon=True)
    watch.start()
    with stop_signals(stop.set):
        serve(plan, hub=LiveHub(), facts=CameraFacts(), stop=stop, ready=_introduce)
    return 0


def _confined(plan: ConsolePlan) -> Fence:
    """From here on this process reaches its recordings and its own folder. Raises BautaError."""
    fence = confine_console(plan)
    if not fence.confinement.is_whole:
        warn(f"the console is not confined: {'; '.join(fence.confinement.missing)}")
    return fence


def _warn_of(path: Path) -> None:
    warn(f"{path} is another one now: start the console again, or it cannot be reached")


def _introduce(url: str) -> None:
    print(f"{url}  (Ctrl-C ends it)", flush=True)


def _plan(options: argparse.Namespace) -> ConsolePlan:
    """Raises UsageError."""
    settings = Settings(cameras=[]) if options.config is None else load_settings(options.config)
    if settings.console is None:
        raise UsageError(f"{options.config} says console: null; leave that out, or leave --config")
    recorded = [each.record.dir for each in settings.cameras if each.record is not None]
    folders = _folders(options.folders, recorded)
    if not folders:
        raise UsageError("which recordings? Give their folders, or --config FILE")
    return ConsolePlan(
        site=settings.site,
        settings=_listening(settings.console, options.address, options.port),
        state_dir=state_dir().absolute(),
        cameras=(),
        folders=folders,
    )


def _folders(given: Iterable[Path], recorded: Iterable[Path]) -> tuple[Path, ...]:
    """Those that were named must be there; a camera may not have recorded yet."""
    named = list(given)
    for folder in named:
        if not folder.is_dir():
            raise UsageError(f"{folder}: no such folder")
    return tuple(dict.fromkeys(folder.absolute() for folder in [*named, *recorded]))


def _listening(settings: ConsoleSettings, address: str | None, port: int | None) -> ConsoleSettings:
    """As the command line says where it says something. Raises SettingsError."""
    said = {"address": address, "port": port}
    changes = {name: value for name, value in said.items() if value is not None}
    try:
        return ConsoleSettings.model_validate(settings.model_dump() | changes)
    except ValidationError as error:
        (problem, *_) = error.errors(include_url=False, include_input=False)
        where = "".join(f"--{part}: " for part in problem["loc"][:1])
        raise SettingsError(where + problem["msg"].removeprefix("Value error, ")) from None


def _check_accounts(plan: ConsolePlan) -> None:
    """Nobody could sign in. Raises UsageError, StoreError."""
    database = Database(plan.settings.database, make_console_dir(plan.state_dir))
    try:
        database.migrate()
        if not accounts.list(database):
            raise UsageError(
                "nobody could sign in: there is no account yet. Make the first one with: bauta "
                "users add NAME --role admin"
            )
    finally:
        database.close()
    say(f"accounts, requests and the index: {database.name}")
