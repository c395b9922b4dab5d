"""Databases for the store's tests: each runs on SQLite, and on PostgreSQL where there is one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.review.store.database import Database
from support.postgres import Postgres, PostgresMissingError, running


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server for all tests of a run."""
    try:
        with running() as server:
            yield server
    except PostgresMissingError as error:
        pytest.skip(str(error))


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> str | None:
    """Of an empty database: None is SQLite."""
    if request.param == "sqlite":
        return None
    server: Postgres = request.getfixturevalue("postgres")
    return server.empty_database()


@pytest.fixture
def database(url: str | None, tmp_path: Path) -> Iterator[Database]:
    """With all tables, and nothing in them."""
    found = Database(url, tmp_path / "state")
    found.migrate()
    yield found
    found.close()
