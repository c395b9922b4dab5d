"""`bauta users`: the accounts of the review console, at its database and not over the network.

Each change is in the audit log before it is made, as those made in the browser are.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.table import Table
from rich.text import Text

from .config import expand, load_settings
from .errors import AccountRefused, UsageError
from .review.passwords import check_rule
from .review.plan import console_dir, make_console_dir
from .review.store import accounts
from .review.store.accounts import Account
from .review.store.database import Database
from .runtime.process import user_name
from .terminal import printable, say, warn
from .vault import audit
from .vault.audit import state_dir
from .vault.signing import service_key

CONSOLE_KEY = "console.key"  # as review/assembly.py names it; a test compares
VARIABLE = "BAUTA_PASSWORD"


def list_users(options: argparse.Namespace) -> int:
    """Print all accounts. Raises StoreError."""
    with _opened(options) as database:
        found = accounts.list(database)
    if options.json:
        print(json.dumps([_as_json(each) for each in found], indent=2))
        return 0
    if not found:
        say("there are no accounts yet; the first one: bauta users add NAME --role admin")
        return 0
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("name", "roles", "cameras", "since (UTC)", ""):
        table.add_column(title, overflow="fold")
    for each in found:
        table.add_row(*(Text(printable(cell)) for cell in _cells(each)))
    Console(highlight=False).print(table)
    return 0


def add_user(options: argparse.Namespace) -> int:
    """Make an account. Raises UsageError, AccountRefused, StoreError."""
    name = accounts.clean_name(options.name)
    with _opened(options) as database:
        if accounts.get(database, name) is not None:  # said before a password is asked for
            raise AccountRefused(f"there is an account {name} already")
        password = _new_password(name)
        _log("user-create", name, roles=sorted({"viewer", *options.role}), cameras=options.camera)
        made = accounts.create(
            database,
            name,
            password,
            roles=options.role,
            cameras=options.camera,
            now_ms=time.time_ns() // 1_000_000,
        )
        say(f"{made.name}: {_roles(made)}; sees {_cameras(made)}")
        if not any(_manages(each) for each in accounts.list(database)):
            warn("nobody can manage accounts in the browser yet: give one the role admin")
    return 0


def set_roles(options: argparse.Namespace) -> int:
    """Instead of those an account has. Raises AccountRefused, StoreError."""
    with _opened(options) as database:
        known = _known(database, options.name)
        _log("user-change", known.name, roles=sorted({"viewer", *options.role}))
        changed = accounts.change(database, known.name, roles=options.role)
    say(f"{changed.name}: {_roles(changed)}; signed out everywhere")
    return 0


def set_cameras(options: argparse.Namespace) -> int:
    """Instead of those an account sees. Raises UsageError, AccountRefused, StoreError."""
    chosen = None if options.all else options.camera
    with _opened(options) as database:
        known = _known(database, options.name)
        _log("user-change", known.name, cameras=chosen)
        changed = accounts.change(database, known.name, cameras=chosen)
    say(f"{changed.name}: sees {_cameras(changed)}; signed out everywhere")
    return 0


def set_password(options: argparse.Namespace) -> int:
    """A new one. Raises UsageError, AccountRefused, StoreError."""
    with _opened(options) as database:
        known = _known(database, options.name)
        password = _new_password(known.name)
        _log("user-change", known.name, password=True)
        changed = accounts.change(database, known.name, password=password)
    say(f"{changed.name}: has a new password; signed out everywhere")
    return 0


def disable_user(options: argparse.Namespace) -> int:
    """No signing in any more. Raises AccountRefused, StoreError."""
    with _opened(options) as database:
        known = _known(database, options.name)
        _log("user-change", known.name, disabled=True)
        changed = accounts.change(database, known.name, disabled=True)
    say(f"{changed.name}: disabled, and signed out everywhere")
    return 0


def enable_user(options: argparse.Namespace) -> int:
    """Signing in again. Raises AccountRefused, StoreError."""
    with _opened(options) as database:
        known = _known(database, options.name)
        _log("user-change", known.name, disabled=False)
        changed = accounts.change(database, known.name, disabled=False)
    say(f"{changed.name}: may sign in again")
    return 0


def remove_user(options: argparse.Namespace) -> int:
    """For good. Raises AccountRefused, StoreError."""
    with _opened(options) as database:
        known = _known(database, options.name)
        _log("user-remove", known.name)
        accounts.remove(database, known.name)
    say(f"{known.name}: removed, and signed out everywhere")
    return 0


def _known(database: Database, name: str) -> Account:
    found = accounts.get(database, name)
    if found is None:
        raise AccountRefused(f"there is no account {name.casefold()}")
    return found


def _log(action: str, account: str, **more: object) -> None:
    """Raises VaultError: then nothing is changed. A change that is refused after it is in there."""
    entry = {"action": action, "user": user_name(), "from": "terminal", "account": account}
    signer = service_key(console_dir(state_dir()) / CONSOLE_KEY)
    audit.append(audit.audit_path(), entry | more, signer)


@contextmanager
def _opened(options: argparse.Namespace) -> Iterator[Database]:
    """With all its tables. Raises UsageError, StoreError."""
    url: str | None = None
    if options.database is not None:
        url = expand(options.database)
    elif options.config is not None:
        console = load_settings(options.config).console
        url = None if console is None else console.database
    database = Database(url, make_console_dir(state_dir()))
    try:
        database.migrate()
        yield database
    finally:
        database.close()


def _new_password(name: str) -> str:
    """From the environment, else asked for twice. Raises UsageError."""
    given = os.environ.get(VARIABLE)
    if given:
        check_rule(given, name)
        return given
    if not sys.stdin.isatty():
        raise UsageError(
            f"there is no terminal to ask for a password at; set {VARIABLE} in the environment"
        )
    try:
        first = getpass.getpass(printable(f"New password of {name}: "))
        check_rule(first, name)
        if getpass.getpass("The same again: ") != first:
            raise UsageError("the two are not the same")
    except EOFError:
        raise UsageError("nothing was entered") from None
    return first


def _as_json(account: Account) -> dict[str, object]:
    return {
        "name": account.name,
        "roles": sorted(account.roles),
        "cameras": None if account.cameras is None else sorted(account.cameras),
        "disabled": account.disabled,
        "created_ms": account.created_ms,
    }


def _cells(account: Account) -> tuple[str, ...]:
    since = time.strftime("%Y-%m-%d %H:%M", time.gmtime(account.created_ms / 1000))
    state = "disabled" if account.disabled else ""
    return (account.name, _roles(account), _cameras(account), since, state)


def _roles(account: Account) -> str:
    return ", ".join(role for role in accounts.ROLES if role in account.roles)


def _cameras(account: Account) -> str:
    if account.cameras is None:
        return "all cameras"
    return ", ".join(sorted(account.cameras)) or "no camera"


def _manages(account: Account) -> bool:
    return "admin" in account.roles and not account.disabled
