"""Databases for the store's tests: each runs on SQLite, and on PostgreSQL where there is one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.review.store.database import FILE, Database
from support.postgres import Postgres, PostgresMissingError, running


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """A server for all tests of a run."""
    try:
        with running() as server:
            yield server
    except PostgresMissingError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def migrated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SQLite's file with all tables: copying it is quicker than making them each time."""
    folder = tmp_path_factory.mktemp("migrated")
    database = Database(None, folder)
    database.migrate()
    database.close()
    return folder / FILE


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest) -> Iterator[str | None]:
    """Of a database without any table: None is SQLite, in any folder."""
    if request.param == "sqlite":
        yield None
        return
    server: Postgres = request.getfixturevalue("postgres")
    yield server.without_tables()
    server.without_tables()  # whatever the test made of them


@pytest.fixture
def local(migrated: Path, tmp_path: Path) -> Iterator[Database]:
    """SQLite alone, with all tables and nothing in them: for what no database decides."""
    (tmp_path / "state").mkdir(mode=0o700)
    shutil.copyfile(migrated, tmp_path / "state" / FILE)
    (tmp_path / "state" / FILE).chmod(0o600)
    found = Database(None, tmp_path / "state")
    yield found
    found.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """With all tables, and nothing in them. The tables themselves must stay as they are."""
    if request.param == "sqlite":
        yield request.getfixturevalue("local")
        return
    server: Postgres = request.getfixturevalue("postgres")
    found = Database(server.without_rows(), tmp_path)
    found.migrate()  # it finds them, but after a test that had none
    yield found
    found.close()
