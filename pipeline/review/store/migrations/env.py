"""Run by Alembic, with the connection and the transaction of `Database.migrate`."""

from __future__ import annotations

from alembic import context

from pipeline.review.store.tables import METADATA

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=METADATA,
    transactional_ddl=True,  # SQLite can, once BEGIN is said by us: all steps or none
)
with context.begin_transaction():
    context.run_migrations()
