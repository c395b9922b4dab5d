"""The log of recoveries: numbered, signed, each line bound to the last (docs/audit.md).

It is written before the first recovered frame, and waited for. Whoever cannot write it recovers
nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from ..errors import VaultError
from .audit_check import END, Report, examine, fits_at_end, split_lines
from .audit_line import FIRST, Head, line_hash, write_line
from .signing import SigningKey

MOST_BYTES = 256 * 2**20  # of a log: some 300,000 recoveries

__all__ = ["FIRST", "Head", "append", "audit_path", "check", "state_dir", "verify"]


def state_dir() -> Path:
    """$BAUTA_STATE, else the user's state folder."""
    if chosen := os.environ.get("BAUTA_STATE"):
        return Path(chosen)
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(home).expanduser() / "bauta"


def audit_path() -> Path:
    """Where the log is."""
    return state_dir() / "audit.jsonl"


def append(path: Path, entry: Mapping[str, object], signer: SigningKey | None = None) -> Head:
    """Add a line and wait until it is on the disk: the log's new head, for a manifest.

    `entry` is JSON and may not hold what a line says itself (`audit_line.RESERVED`). Several
    processes may do so at once. Raises VaultError: then nothing was added, and nothing may be
    recovered.
    """
    try:
        made = _make_folder(path.parent)
        with _opened(path) as file:
            log = _read(path, file)
            if not fits_at_end(log):
                raise VaultError(
                    f"the audit log {path} is damaged at its end, see: bauta audit verify; nothing "
                    "is recovered until it is moved aside, and kept"
                )
            lines = split_lines(log)
            line = write_line(
                entry,
                number=len(lines) + 1,
                before=line_hash(lines[-1]) if lines else FIRST,
                time=datetime.now(UTC).isoformat(timespec="milliseconds"),
                signer=signer,
            )
            _write(file, line + END, at=len(log), new=() if log else (path, *made))
    except OSError as error:
        raise VaultError(
            f"the audit log {path} cannot be written: {error.strerror}; nothing is recovered "
            "without it. Set BAUTA_STATE to a folder that can"
        ) from None
    return Head(len(lines) + 1, line_hash(line))


def check(
    path: Path,
    *,
    signers: Collection[bytes] | None = None,
    heads: Mapping[str, Head] | None = None,
) -> Report:
    """The log and everything that is wrong with it; none at all is an empty one.

    `signers` and `heads` as for `audit_check.examine`. Raises VaultError where it cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with io.FileIO(handle, "r") as file:
            with contextlib.suppress(OSError):  # some file systems lock for writers alone
                fcntl.flock(file, fcntl.LOCK_SH)  # a line that is being written is no damage
            log = _read(path, file)
    except FileNotFoundError:
        log = b""
    except OSError as error:
        raise VaultError(f"the audit log {path} cannot be read: {error.strerror}") from None
    return examine(log, signers=signers, heads=heads)


def verify(
    path: Path,
    *,
    signers: Collection[bytes] | None = None,
    heads: Mapping[str, Head] | None = None,
) -> int:
    """How many entries there are, all of them as they were written.

    Raises VaultError with the first that was altered, removed, inserted or moved.
    """
    report = check(path, signers=signers, heads=heads)
    if report.faults:
        raise VaultError(f"{path}: {report.faults[0]}")
    return len(report.lines)


# --- the file ---


def _make_folder(folder: Path) -> list[Path]:
    """The folders that had to be made, outermost last."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return made


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[io.FileIO]:
    """For this process alone, until the end of the block; made where it is not there."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_NONBLOCK | os.O_CLOEXEC
    while True:
        with io.FileIO(os.open(path, flags, 0o600), "r+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            # while this one waited, the file may have been moved aside
            if _is_still(path, file):
                yield file
                return


def _is_still(path: Path, file: io.FileIO) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False


def _read(path: Path, file: io.FileIO) -> bytes:
    found = os.fstat(file.fileno())
    if not stat.S_ISREG(found.st_mode):
        raise VaultError(f"the audit log {path} is not a file")
    if found.st_size > MOST_BYTES:
        raise VaultError(f"the audit log {path} is too long; move it aside, and keep it")
    return file.readall()


def _write(file: io.FileIO, line: bytes, *, at: int, new: Iterable[Path]) -> None:
    """To the disk, all of it or nothing: half a line would be damage.

    The names of `new` files and folders too: they are in the folders above.
    """
    try:
        rest = memoryview(line)
        while rest:
            rest = rest[file.write(rest) :]
        os.fsync(file.fileno())
        for path in new:
            _sync_folder(path.parent)
    except BaseException:
        with contextlib.suppress(OSError):
            os.ftruncate(file.fileno(), at)
        raise


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
