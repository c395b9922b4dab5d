"""What the console's process may reach of this machine: its recordings, its own folder, the log.

Whoever breaks into it finds no way to the service's key, the configuration or a camera. Imports
nothing heavy: it is called before libraries start threads.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from ..errors import BautaError
from ..runtime.confine import Confinement, confine
from ..vault.audit import audit_path
from .plan import ConsolePlan, make_console_dir

PRIVATE_DIR, PRIVATE_FILE = 0o700, 0o600
LOOK_SECONDS = 5.0
POSTGRESQL_PORT = 5432
_OF_POSTGRESQL = (".pgpass", ".postgresql", ".pg_service.conf")  # in the home folder
_PATHS_OF_POSTGRESQL = ("PGPASSFILE", "PGSERVICEFILE", "PGSSLROOTCERT", "PGSSLCERT", "PGSSLKEY")
_PATHS_IN_URL = ("passfile", "sslrootcert", "sslcert", "sslkey", "sslcrl")
_log = logging.getLogger(__name__)

Inode = tuple[int, int]


class Fence:
    """What was given, and whether it is still what lies there."""

    def __init__(self, confinement: Confinement, given: Mapping[Path, Inode | None]) -> None:
        self.confinement = confinement
        self._given = given  # where a folder is replaced, what was given is the old one

    def changed(self) -> Path | None:
        """The first that is another file or folder now: only a new process can have it."""
        for path, before in self._given.items():
            now = _inode(path)
            # a log that was moved aside is made anew by whoever writes it next
            if now != before and (now is not None or path == audit_path()):
                return path
        return None

    def watch(self, stop: Event, told: Callable[[Path], None]) -> None:
        """Until `stop`, or until something has changed: then it is told, once."""
        while not stop.wait(LOOK_SECONDS):
            if (path := self.changed()) is not None:
                told(path)
                return


def confine_console(plan: ConsolePlan) -> Fence:
    """Make what must be there, then keep this process to it. While it has one thread.

    Sets TMPDIR: others' temporary files are not for it. Raises BautaError.
    """
    temporary = plan.own_dir / "temporary"
    log = audit_path()
    try:
        make_console_dir(plan.state_dir)
        for folder in (temporary, log.parent):
            folder.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            os.close(os.open(log, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE))
    except OSError as error:
        raise BautaError(
            f"the console's state in {plan.state_dir} cannot be written: {error.strerror}; set "
            "BAUTA_STATE to a folder that can"
        ) from None
    for folder in plan.folders:
        with suppress(OSError):  # a camera that has not recorded yet; else its index says so
            folder.mkdir(parents=True, exist_ok=True)
    os.environ["TMPDIR"] = str(temporary)
    tempfile.tempdir = None
    tls = plan.settings.tls
    read = [*plan.folders, *((tls.cert, tls.key) if tls else ())]
    given = {path: _inode(path) for path in (*read, log)}
    server = _server(plan.settings.database)
    try:
        confinement = confine(
            read=[*read, *server.files],
            write=[plan.own_dir, log],
            list_only=[log.parent],  # a first entry waits until its name is on the disk
            bind_port=plan.settings.port or None,
            connect_ports=server.ports,
            may_use_named_sockets=server.is_local,
        )
    except OSError as error:
        raise BautaError(f"the console cannot be confined: {error.strerror}") from None
    if confinement.is_whole:
        _check(plan)
    return Fence(confinement, given)


def _check(plan: ConsolePlan) -> None:
    """By trying: whoever keeps recordings around the keys has opened the door again."""
    for path in (plan.state_dir / "service.key", *plan.state_dir.glob("*.key")):
        with suppress(OSError):
            os.close(os.open(path, os.O_RDONLY | os.O_CLOEXEC))
            _log.warning(
                "the console can read %s: it lies in a folder of recordings, or of Python; "
                "keep BAUTA_STATE outside of them",
                path,
            )
            return


def _inode(path: Path) -> Inode | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


# --- PostgreSQL ---


@dataclass(frozen=True, slots=True)
class _Server:
    """How libpq finds it, and what it reads for that."""

    ports: tuple[int, ...] = ()
    is_local: bool = False  # through a named socket
    files: tuple[Path, ...] = ()


def _server(url: str | None) -> _Server:
    """None of the kind for SQLite."""
    if url is None:
        return _Server()
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except ArgumentError:  # the database says it better
        return _Server()
    said = {name: ",".join(parsed.normalized_query[name]) for name in parsed.query}
    hosts = (parsed.host or said.get("host") or os.environ.get("PGHOST", "")).split(",")
    ports = [str(parsed.port or said.get("port") or os.environ.get("PGPORT", ""))]
    if not parsed.host:  # host:port is written in the query alone
        ports += [host.rpartition(":")[2] for host in hosts if ":" in host]
    numbers = {int(port) for port in ",".join(ports).split(",") if port.isdecimal()}
    named = [os.environ.get(name) for name in _PATHS_OF_POSTGRESQL]
    files = [Path(name) for name in (*named, *map(said.get, _PATHS_IN_URL)) if name]
    with suppress(RuntimeError):  # nobody's home
        files += [Path.home() / name for name in _OF_POSTGRESQL]
    sockets = [not host or host.startswith(("/", "@")) for host in hosts]
    return _Server(
        () if all(sockets) else tuple(sorted(numbers or {POSTGRESQL_PORT})),
        any(sockets),
        tuple(files),
    )
