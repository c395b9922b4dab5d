"""A real PostgreSQL server for tests: its own folder, its own port at 127.0.0.1, gone afterwards.

Looked for where Debian and Ubuntu put it, and on the path.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

START_TIMEOUT_S = 60.0
USER = "bauta"
PASSWORD = "hunter2:/@ %"  # what a URL must not be built from by hand
# QUIT: without writing down what nobody will read. The server goes down with whoever holds the
# other end of its input, however that one ends.
_UNTIL_INPUT_ENDS = '"$@" & child=$!; read _; kill -QUIT $child; wait $child'


class PostgresMissingError(RuntimeError):
    """There is no server to start here; the message says why."""


@dataclass(frozen=True, slots=True)
class Postgres:
    """A running server."""

    port: int

    # One database for all tests: making one takes 8 MB and a while.

    def without_tables(self) -> str:
        """The URL of the database, with the password in it; it is empty."""
        self._execute("DROP SCHEMA public CASCADE", "CREATE SCHEMA public")
        return self.url_of("postgres")

    def without_rows(self) -> str:
        """The same; the tables that are there have no rows, and count from 1."""
        tables = {
            str(name)
            for (name,) in self._execute(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
            )
        }
        if names := ", ".join(sorted(tables - {"alembic_version"})):
            self._execute(f"TRUNCATE {names} RESTART IDENTITY CASCADE")
        return self.url_of("postgres")

    def _execute(self, *statements: str) -> list[tuple[object, ...]]:
        import psycopg

        with psycopg.connect(self._conninfo(), autocommit=True) as connection:
            # a test that leaves a transaction open is an error, not a test that never ends
            connection.execute("SET lock_timeout = '20s'")
            connection.execute("SET client_min_messages = warning")
            for statement in statements:
                cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def url_of(self, database: str) -> str:
        """Of a database that may exist or not."""
        from sqlalchemy import URL

        url = URL.create("postgresql", USER, PASSWORD, "127.0.0.1", self.port, database)
        return url.render_as_string(hide_password=False)

    def _conninfo(self) -> str:
        from psycopg.conninfo import make_conninfo

        return make_conninfo(
            host="127.0.0.1", port=self.port, user=USER, password=PASSWORD, dbname="postgres"
        )

    def wait(self, process: subprocess.Popen[bytes], log: Path) -> None:
        """Until it answers."""
        import psycopg

        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                psycopg.connect(self._conninfo(), connect_timeout=5).close()
                return
            except psycopg.OperationalError as error:
                if process.poll() is not None or time.monotonic() > deadline:
                    said = log.read_text(encoding="utf-8", errors="replace")
                    raise RuntimeError(f"PostgreSQL did not start: {said[-2000:]}") from error
                time.sleep(0.05)


@contextlib.contextmanager
def running() -> Iterator[Postgres]:
    """A server until the block ends. Raises PostgresMissingError."""
    programs = _programs()
    # it refuses to run as root
    user = "nobody" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="bauta-postgres-"))
    try:
        password = folder / "password"
        password.write_text(PASSWORD + "\n", encoding="utf-8")
        log = folder / "log"
        log.touch()
        if user is not None:
            for path in (folder, password, log):
                shutil.chown(path, user)
        subprocess.run(
            [
                *(programs / "initdb", "--pgdata", folder / "data", "--username", USER),
                *("--auth", "scram-sha-256", "--pwfile", password, "--no-sync"),
                *("--encoding", "UTF8", "--locale", "C"),
            ],
            check=True,
            capture_output=True,
            user=user,
            extra_groups=None if user is None else [],
            cwd=folder,
        )
        with socket.create_server(("127.0.0.1", 0)) as free:
            server = Postgres(free.getsockname()[1])
        command: list[str | Path] = [
            *(programs / "postgres", "-D", folder / "data", "-k", folder),
            *("-p", str(server.port), "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"),
            *("-c", "shared_buffers=16MB", "-c", "max_connections=40"),
        ]
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["/bin/sh", "-c", _UNTIL_INPUT_ENDS, "sh", *command],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                user=user,
                extra_groups=None if user is None else [],
                cwd=folder,
            )
        try:
            server.wait(process, log)
            yield server
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(timeout=30)
    finally:
        shutil.rmtree(folder)


def _programs() -> Path:
    """The folder with initdb and postgres."""
    folders = sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name)
    )
    if found := shutil.which("initdb"):
        folders.append(Path(found).resolve().parent)
    for folder in reversed(folders):
        if (folder / "initdb").is_file() and (folder / "postgres").is_file():
            return folder
    raise PostgresMissingError("no PostgreSQL server here: apt-get install postgresql")
