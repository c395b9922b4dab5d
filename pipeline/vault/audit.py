"""The log of recoveries: appended to before the first recovered frame, each line bound to the last.

Every line is JSON and holds the SHA-256 of the line before it: none can be altered or taken out
unseen, except from the end. (Signing its head comes with the evidence records.)
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from ..errors import VaultError

FIRST = "0" * 64  # what the first line names as the one before


def state_dir() -> Path:
    """$BAUTA_STATE, else the user's state folder."""
    if chosen := os.environ.get("BAUTA_STATE"):
        return Path(chosen)
    home = os.environ.get("XDG_STATE_HOME") or "~/.local/state"
    return Path(home).expanduser() / "bauta"


def audit_path() -> Path:
    """Where the log is."""
    return state_dir() / "audit.jsonl"


def append(path: Path, entry: Mapping[str, object]) -> str:
    """Add a line and wait until it is on the disk; its hash. Raises VaultError.

    `entry` may not hold `time` or `before`. Several processes may do so at once.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            before = _last_hash(path, file.read())
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            fields = {**entry, "time": now, "before": before}
            line = json.dumps(fields, sort_keys=True, ensure_ascii=True).encode("ascii")
            file.write(line + b"\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise VaultError(
            f"the audit log {path} cannot be written: {error.strerror}; nothing is recovered "
            "without it. Set BAUTA_STATE to a folder that can"
        ) from None
    return hashlib.sha256(line).hexdigest()


def verify(path: Path) -> int:
    """How many lines there are, all of them whole. Raises VaultError with the first that is not."""
    try:
        lines = path.read_bytes().splitlines()
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise VaultError(f"{path}: {error.strerror}") from None
    before = FIRST
    for count, line in enumerate(lines, start=1):
        if _before(line) != before:
            raise VaultError(f"{path}: line {count} does not follow from the one before")
        before = hashlib.sha256(line).hexdigest()
    return len(lines)


def _last_hash(path: Path, content: bytes) -> str:
    if not content:
        return FIRST
    *_, last = content.splitlines()
    if not content.endswith(b"\n") or _before(last) is None:
        raise VaultError(f"{path}: its last line is damaged; move the log aside and keep it")
    return hashlib.sha256(last).hexdigest()


def _before(line: bytes) -> str | None:
    try:
        fields = json.loads(line)
        before = fields["before"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return before if isinstance(before, str) else None
