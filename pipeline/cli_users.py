"""The accounts of the review console on the command line: `bauta users`."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cli import Commands

ROLES = ("viewer", "requester", "approver", "admin")  # as the store has them; a test compares
PASSWORD_IS = "The password is asked for twice, or taken from BAUTA_PASSWORD."


def add_users(commands: Commands) -> None:
    """`bauta users list|add|roles|cameras|password|disable|enable|remove`."""
    parser = commands.add_parser("users", help="who may sign in to the review console")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)

    lists = actions.add_parser("list", help="all accounts")
    lists.add_argument("--json", action="store_true", help="JSON on stdout")
    adds = actions.add_parser(
        "add",
        help="a new account; the first one: bauta users add NAME --role admin",
        description=f"{PASSWORD_IS} Without --camera all cameras are seen.",
    )
    adds.add_argument("name", metavar="NAME")
    adds.add_argument(
        "--role",
        action="append",
        default=[],
        choices=ROLES,
        help="besides looking, which everybody may; may be repeated",
    )
    adds.add_argument(
        "--camera", action="append", metavar="ID", help="sees this one only; may be repeated"
    )
    roles = actions.add_parser("roles", help="what an account may do: these roles instead")
    roles.add_argument("name", metavar="NAME")
    roles.add_argument("role", nargs="+", choices=ROLES, metavar="ROLE", help=", ".join(ROLES))
    cameras = actions.add_parser("cameras", help="which cameras an account sees")
    cameras.add_argument("name", metavar="NAME")
    which = cameras.add_mutually_exclusive_group(required=True)
    which.add_argument("--all", action="store_true", help="all, also those to come")
    which.add_argument(
        "--camera", action="append", metavar="ID", help="this one only; may be repeated"
    )
    password = actions.add_parser("password", help="a new password", description=PASSWORD_IS)
    disable = actions.add_parser("disable", help="may not sign in any more; nothing is lost")
    enable = actions.add_parser("enable", help="may sign in again")
    removes = actions.add_parser("remove", help="for good; requests and log entries stay")
    for action in (password, disable, enable, removes):
        action.add_argument("name", metavar="NAME")

    for action, function in (
        (lists, "list_users"),
        (adds, "add_user"),
        (roles, "set_roles"),
        (cameras, "set_cameras"),
        (password, "set_password"),
        (disable, "disable_user"),
        (enable, "enable_user"),
        (removes, "remove_user"),
    ):
        _add_database(action)
        action.set_defaults(run=_caller(function))


def _add_database(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--config",
        type=Path,
        metavar="FILE",
        help="the configuration of `bauta run`, which may name a database (default: SQLite in the "
        "folder BAUTA_STATE)",
    )
    where.add_argument(
        "--database",
        metavar="URL",
        help="postgresql://…; write ${NAME} for what an environment variable holds, such as the "
        "password",
    )


def _caller(function: str) -> Callable[[argparse.Namespace], int]:
    def call(options: argparse.Namespace) -> int:
        from . import users_command  # it loads the database's libraries

        return int(getattr(users_command, function)(options))

    return call
