"""Opening, migrating, and what is said when it does not work."""

from __future__ import annotations

import multiprocessing
import os
import sqlite3
import stat
import sys
import threading
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, select, text

from pipeline.errors import StoreError, UsageError
from pipeline.review.store import accounts
from pipeline.review.store.database import FILE, Database
from pipeline.review.store.tables import METADATA, USERS
from support.postgres import PASSWORD, Postgres

GOOD = "correct horse battery"


def _user(name: str) -> dict[str, object]:
    return {"name": name, "password_hash": "x", "roles": "", "disabled": False, "created_ms": 1}


# --- migrations ---


def test_the_migrations_make_what_the_tables_say(database: Database) -> None:
    with database.read() as connection:
        context = MigrationContext.configure(
            connection, opts={"compare_type": True, "compare_server_default": True}
        )
        assert compare_metadata(context, METADATA) == []
        assert set(inspect(connection).get_table_names()) == {*METADATA.tables, "alembic_version"}


def test_a_comparison_would_see_a_missing_index(url: str | None, tmp_path: Path) -> None:
    database = Database(url, tmp_path)
    database.migrate()
    with database.write() as connection:
        connection.execute(text("DROP INDEX ix_people_length_ms"))
    with database.read() as connection:
        found = compare_metadata(MigrationContext.configure(connection), METADATA)
    assert [each[0] for each in found] == ["add_index"]
    database.close()


def test_migrating_twice_keeps_what_is_there(database: Database) -> None:
    accounts.create(database, "bob", GOOD, now_ms=1)
    database.migrate()
    assert [each.name for each in accounts.list(database)] == ["bob"]


def _migrate(url: str | None, folder: Path, start: object) -> None:
    start.wait()  # type: ignore[attr-defined]
    Database(url, folder).migrate()


def test_several_processes_migrate_at_once(url: str | None, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    start = context.Barrier(3)
    others = [
        context.Process(target=_migrate, args=(url, tmp_path / "state", start)) for _ in range(3)
    ]
    for each in others:
        each.start()
    for each in others:
        each.join(60)
    assert [each.exitcode for each in others] == [0, 0, 0]
    database = Database(url, tmp_path / "state")
    assert accounts.list(database) == ()
    database.close()


def test_a_newer_version_wrote_it(url: str | None, tmp_path: Path) -> None:
    database = Database(url, tmp_path)
    database.migrate()
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(StoreError, match=r"written by a newer version of bauta \(step 9999\)"):
        database.migrate()
    database.close()


def test_a_failed_migration_leaves_nothing(url: str | None, tmp_path: Path) -> None:
    database = Database(url, tmp_path)
    if url is None:
        (tmp_path / FILE).touch()
    with database.write() as connection:
        connection.execute(text("CREATE TABLE sightings (other INTEGER)"))  # the last of them
    with pytest.raises(StoreError, match="already exists"):
        database.migrate()
    with database.read() as connection:
        assert inspect(connection).get_table_names() == ["sightings"]
    database.close()


# --- SQLite ---


def test_numbers_are_not_given_twice(local: Database) -> None:
    """A thumbnail or export is kept by such a number. PostgreSQL's sequences never go back."""
    with local.read() as connection:
        found = {
            name: sql
            for name, sql in connection.execute(text("SELECT name, sql FROM sqlite_master"))
        }
    assert "AUTOINCREMENT" in found["people"] and "AUTOINCREMENT" in found["segments"]


def test_sqlite_is_private_and_durable(tmp_path: Path) -> None:
    local = Database(None, tmp_path / "state")
    local.migrate()
    assert stat.S_IMODE((tmp_path / "state").stat().st_mode) == 0o700
    with local.write() as connection:
        connection.execute(USERS.insert().values(_user("a")))
        for name in (FILE, f"{FILE}-wal", f"{FILE}-shm"):
            assert stat.S_IMODE((tmp_path / "state" / name).stat().st_mode) == 0o600, name
        pragmas = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        }
    expected = {"journal_mode": "wal", "synchronous": 1, "foreign_keys": 1, "busy_timeout": 10_000}
    assert pragmas == expected
    local.close()


def test_an_open_file_is_closed_to_others(tmp_path: Path) -> None:
    (tmp_path / FILE).touch(mode=0o644)
    Database(None, tmp_path).migrate()
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600


@pytest.mark.parametrize("damage", ["other", "middle", "cut"])
def test_a_damaged_file_is_one_line_and_stays(local: Database, tmp_path: Path, damage: str) -> None:
    path = tmp_path / "state" / FILE
    with local.write() as connection:
        connection.execute(USERS.insert(), [_user(f"user{n}") for n in range(2000)])
    local.close()
    whole = path.read_bytes()
    broken = {
        "other": b"this is no database at all, but it is long enough to be one" * 100,
        "middle": whole[:4096] + b"\xff" * (len(whole) - 4096),
        "cut": whole[: len(whole) // 2],
    }[damage]
    path.write_bytes(broken)
    database = Database(None, tmp_path / "state")
    with pytest.raises(StoreError) as caught:
        database.migrate()
        accounts.list(database)
    said = str(caught.value)
    assert "is damaged" in said and "index can be made again" in said and "\n" not in said
    assert "accounts and requests are kept in it too" in said
    database.close()
    assert path.read_bytes() == broken


def test_a_file_that_went_away_is_not_made_anew(tmp_path: Path) -> None:
    database = Database(None, tmp_path)
    with pytest.raises(StoreError, match="cannot be opened: it is gone"):
        database.check()
    assert not (tmp_path / FILE).exists()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="BAUTA_STATE"):
        Database(None, tmp_path / "file").migrate()


def test_odd_folders(tmp_path: Path) -> None:
    folder = tmp_path / "a b?c#d%20e&mode=memory"
    Database(None, folder).migrate()
    assert next(each.name for each in folder.iterdir()).startswith(FILE)


def test_a_busy_file_is_waited_for(local: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    assert local.path is not None
    other = sqlite3.connect(local.path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN IMMEDIATE")
    timer = threading.Timer(0.5, lambda: other.execute("COMMIT"))
    timer.start()
    with local.write() as connection:
        connection.execute(USERS.insert().values(_user("a")))
    timer.join()
    with local.read() as connection:  # nobody waits for a writer to read
        other.execute("BEGIN IMMEDIATE")
        assert len(connection.execute(select(USERS)).all()) == 1
        other.execute("COMMIT")
    other.close()


def test_a_busy_file_ends_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.review.store.database.BUSY_SECONDS", 0.1)
    database = Database(None, tmp_path)
    database.migrate()
    with (
        database.write(),
        pytest.raises(StoreError, match="is busy: another process"),
        database.write(),
    ):
        raise AssertionError("two write at once")
    database.close()


# --- both ---


def test_an_exception_undoes(database: Database) -> None:
    with pytest.raises(ZeroDivisionError), database.write() as connection:
        connection.execute(USERS.insert().values(_user("a")))
        raise ZeroDivisionError
    assert accounts.list(database) == ()


def test_values_never_reach_an_error(database: Database) -> None:
    with pytest.raises(StoreError) as caught, database.write() as connection:
        for _ in range(2):
            connection.execute(
                USERS.insert().values(_user("a") | {"password_hash": "SECRETSECRET"})
            )
    assert "SECRETSECRET" not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


# --- URLs ---


@pytest.mark.parametrize(
    "url",
    [
        "mysql://root:hunter2@db/x",
        "sqlite:///tmp/hunter2",
        "no url at all hunter2",
        "postgresql://root:hunter2@db:notaport/x",
        "",
    ],
)
def test_other_urls_are_refused_without_their_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="must be a URL such as postgresql://") as caught:
        Database(url, tmp_path)
    assert "hunter2" not in str(caught.value)


def test_a_password_is_not_shown(tmp_path: Path) -> None:
    database = Database("postgresql://root:hunter2@127.0.0.1:1/things", tmp_path)
    assert repr(database) == "Database(postgresql://127.0.0.1:1/things)"
    with pytest.raises(StoreError, match=r"postgresql://127.0.0.1:1/things") as caught:
        database.migrate()
    assert "hunter2" not in str(caught.value) and "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_password_or_database_is_a_line(postgres: Postgres, tmp_path: Path) -> None:
    url = postgres.url_of("postgres")
    wrong = Database(url.replace("hunter2", "hunter3"), tmp_path)
    with pytest.raises(StoreError, match="password authentication failed") as caught:
        wrong.migrate()
    assert "hunter3" not in str(caught.value) and PASSWORD not in str(caught.value)
    with pytest.raises(StoreError, match='database "nowhere" does not exist'):
        Database(postgres.url_of("nowhere"), tmp_path).migrate()


def test_the_driver_is_named_where_it_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'bauta\[postgres\]'"):
        Database("postgresql://db/x", tmp_path)


def test_importing_the_store_does_not_import_alembic() -> None:
    """It takes a while, and most commands need no migration."""
    code = "import sys, pipeline.review.store.accounts; sys.exit('alembic' in sys.modules)"
    assert os.spawnv(os.P_WAIT, sys.executable, [sys.executable, "-c", code]) == 0
