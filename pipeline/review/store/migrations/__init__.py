"""Bringing the tables up to this version, by Alembic; its steps are in `versions`."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import Connection

from ....errors import StoreError

__all__ = ["upgrade"]


def upgrade(connection: Connection, name: str) -> None:
    """To the newest step, in the transaction that `connection` is in.

    `name` is the database's, for people. Raises StoreError where a newer version wrote it.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.runtime.migration import MigrationContext
    from alembic.script import ScriptDirectory

    config = Config()
    # Alembic expands % in its options
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes["connection"] = connection
    steps = ScriptDirectory.from_config(config)
    current = MigrationContext.configure(connection).get_current_revision()
    known = {step.revision for step in steps.walk_revisions()}
    if current is not None and current not in known:
        raise StoreError(
            f"{name} was written by a newer version of bauta (step {current}); install that "
            "version again, or restore a backup from before it"
        )
    if current != steps.get_current_head():
        command.upgrade(config, "head")
