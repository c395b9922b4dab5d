"""The console's database: SQLite in the state folder, or PostgreSQL by URL.

`read()` and `write()` are transactions. Whatever the driver raises in them becomes a StoreError of
one line, without the URL's password.
"""

from __future__ import annotations

import importlib.util
import os
import sqlite3
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, make_url, text
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import QueuePool

from ...errors import StoreError, UsageError
from ...runtime.credentials import without_credentials
from .migrations import upgrade

FILE = "console.sqlite"
BUSY_SECONDS = 10.0  # so long one writer waits for another; an indexed batch takes well below 1 s
CONNECT_SECONDS = 10
CACHE_KIB = 8192  # per connection of SQLite: what a day's index of 100,000 people takes
_MIGRATING = 0x62617574_61  # the number of PostgreSQL's lock: "bauta"

Insert: TypeAlias = sqlite.Insert | postgresql.Insert


class Database:
    """One database and its pool of connections; any thread may use it.

    `url` is None for SQLite in `state_dir`, else postgresql://…  Raises UsageError for another one,
    or where the driver is not installed. Nothing is opened yet: call `migrate` first.
    """

    def __init__(self, url: str | None, state_dir: Path) -> None:
        self.path: Path | None = None  # of SQLite's file
        if url is None:
            self.path = state_dir / FILE
            self.name = str(self.path)
            self.engine = _sqlite_engine(self.path)
        else:
            parsed = _parse(url)
            self.name = f"postgresql://{_place(parsed)}"
            self.engine = _postgresql_engine(parsed, self.name)

    def __repr__(self) -> str:
        return f"Database({self.name})"

    def migrate(self) -> None:
        """Make the tables, or bring them up to this version. Several processes may do so at once.

        Raises StoreError: out of reach, damaged, or written by a newer version.
        """
        if self.path is not None:
            _make_file(self.path)
        with self.write() as connection:
            if self.path is None:
                connection.execute(text(f"SELECT pg_advisory_xact_lock({_MIGRATING})"))
            upgrade(connection, self.name)

    def check(self) -> None:
        """Raises StoreError where the database does not answer."""
        with self.read() as connection:
            connection.execute(text("SELECT count(*) FROM alembic_version"))

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A transaction that changes nothing. Raises StoreError."""
        with self._errors(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """A transaction that is committed at its end, undone by an exception. Raises StoreError.

        SQLite: the write lock is taken at the beginning, so that what was read stays true.
        """
        with self._errors(), self.engine.connect() as connection:
            connection = connection.execution_options(bauta_writes=True)
            with connection.begin():
                yield connection

    def close(self) -> None:
        """Give up the pool's connections; twice is no harm."""
        self.engine.dispose()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except PoolTimeout:
            raise StoreError(
                f"the console's database {self.name} is busy: no connection became free"
            ) from None
        except DBAPIError as error:
            raise StoreError(self._line(error)) from None
        except SQLAlchemyError as error:
            # its parameters may be secrets: only what kind of error it was
            raise StoreError(
                f"the console's database {self.name} cannot be used: {type(error).__name__}"
            ) from None

    def _line(self, error: DBAPIError) -> str:
        lines = str(error.orig).splitlines() or [type(error.orig).__name__]
        said = without_credentials(lines[0].strip())
        code = getattr(error.orig, "sqlite_errorcode", None)
        if self.path is None:
            return f"the console's database {self.name} cannot be used: {said}"
        # the low byte is the code; the rest says more about some of them
        match None if code is None else code & 0xFF:
            case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
                return (
                    f"{self.name} is damaged ({said}): the index can be made again from the "
                    "recordings, but accounts and requests are kept in it too. Restore it from a "
                    "backup; or move it away, and begin with: bauta users add NAME --role admin"
                )
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return (
                    f"{self.name} is busy: another process has been writing for "
                    f"{BUSY_SECONDS:.0f} s. Try again"
                )
            case sqlite3.SQLITE_CANTOPEN:
                return f"{self.name} cannot be opened: it is gone, or this user may not"
            case _:
                return f"{self.name} cannot be used: {said}"


def insert(connection: Connection, table: Table) -> Insert:
    """An INSERT of this dialect, which knows ON CONFLICT."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


# --- SQLite ---


def _sqlite_engine(path: Path) -> Engine:
    # mode=rw: a file that is gone is an error, not a new and empty one
    uri = f"file:{urllib.parse.quote(str(path.absolute()))}?mode=rw"

    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(
            uri,
            uri=True,
            timeout=BUSY_SECONDS,
            isolation_level=None,  # BEGIN is said by _begin, not guessed by the driver
            check_same_thread=False,
        )
        try:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = NORMAL")
            connection.execute("PRAGMA foreign_keys = ON")
            connection.execute(f"PRAGMA cache_size = -{CACHE_KIB}")
        except BaseException:
            connection.close()
            raise
        return connection

    engine = create_engine(
        "sqlite://",
        creator=connect,
        hide_parameters=True,
        poolclass=QueuePool,  # what it would take for a file; the file is known to connect alone
        pool_size=8,
        max_overflow=24,
    )
    event.listen(engine, "begin", _begin)
    return engine


def _begin(connection: Connection) -> None:
    writes = connection.get_execution_options().get("bauta_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _make_file(path: Path) -> None:
    """Readable by its owner alone: it holds who asked for whose face."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.fstat(handle).st_uid == os.geteuid():
                os.fchmod(handle, 0o600)
        finally:
            os.close(handle)
    except OSError as error:
        raise StoreError(
            f"the console's database {path} cannot be made or opened: {error.strerror}. Set "
            "BAUTA_STATE to a folder that can be written"
        ) from None


# --- PostgreSQL ---


def _parse(url: str) -> URL:
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):  # its text may quote the password
        parsed = None
    if parsed is None or parsed.drivername not in ("postgresql", "postgres"):
        raise UsageError(
            "the console's database must be a URL such as postgresql://USER:PASSWORD@HOST/NAME; "
            "without one it is SQLite in the folder BAUTA_STATE"
        )
    return parsed.set(drivername="postgresql+psycopg")


def _place(url: URL) -> str:
    port = f":{url.port}" if url.port else ""
    return f"{url.host or 'localhost'}{port}/{url.database or ''}"


def _postgresql_engine(url: URL, name: str) -> Engine:
    if importlib.util.find_spec("psycopg") is None:
        raise UsageError(f"{name} needs the driver psycopg; install: pip install 'bauta[postgres]'")
    arguments: dict[str, Any] = {}
    if "connect_timeout" not in url.query:
        arguments["connect_timeout"] = CONNECT_SECONDS
    try:
        return create_engine(
            url,
            hide_parameters=True,
            pool_pre_ping=True,  # the server may have been started anew
            pool_size=8,
            max_overflow=24,
            connect_args=arguments,
        )
    except ImportError as error:  # psycopg without libpq
        raise UsageError(f"{name}: psycopg cannot be loaded: {error}") from None
