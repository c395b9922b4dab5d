"""The mark that every recovery leaves: what was asked for, by whom, on which bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from ..runtime.process import user_name
from ..vault import audit
from ..vault.signing import SigningKey


def log_recovery(
    action: str,
    *,
    clip: Path,
    sidecar: Path | None,
    signer: SigningKey | None = None,
    **asked_for: object,
) -> audit.Head:
    """Written, and waited for, before anything is opened: the log's new head, for the manifest.

    `sidecar`: None where the clip holds all itself. `signer`: who opens it, where a key says so.
    Raises VaultError: then nothing is opened.
    """
    entry = {
        "action": action,
        "clip": clip.name,
        "clip_sha256": _sha256(clip),
        "sidecar_sha256": None if sidecar is None else _sha256(sidecar),
        "user": user_name(),
    }
    return audit.append(audit.audit_path(), entry | asked_for, signer)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
