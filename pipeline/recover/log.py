"""The mark that every recovery leaves: what was asked for, by whom, on which bytes."""

from __future__ import annotations

import getpass
import hashlib
import os
from pathlib import Path

from ..vault import audit


def log_recovery(action: str, *, clip: Path, sidecar: Path, **asked_for: object) -> None:
    """Written, and waited for, before anything is opened. Raises VaultError: then nothing is."""
    entry = {
        "action": action,
        "clip": clip.name,
        "clip_sha256": _sha256(clip),
        "sidecar_sha256": _sha256(sidecar),
        "user": _user(),
    }
    audit.append(audit.audit_path(), entry | asked_for)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        return f"uid {os.getuid()}"
