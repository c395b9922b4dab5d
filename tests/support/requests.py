"""Approved recovery requests, as a console writes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pyrage

from pipeline.vault.request_file import RecoveryRequest, utc_text, write_request
from pipeline.vault.signing import SigningKey, public_line

from .evidence import STARTED_UTC_MS, a_service_key

FAR_UTC_MS = 4_000_000_000_000  # 2096
CONSOLE_SEED = 77


def console_key() -> SigningKey:
    return a_service_key(CONSOLE_SEED)


def a_request(**changes: object) -> RecoveryRequest:
    """Of two epochs."""
    request = RecoveryRequest(
        id="R-20261121-AB12",
        site="North",
        camera="gate-3",
        case="17/26",
        reason="theft, hall 3",
        requested_by="dana",
        requested_utc=utc_text(STARTED_UTC_MS),
        approved_by="milo",
        approved_utc=utc_text(STARTED_UTC_MS + 60_000),
        expires_utc=utc_text(FAR_UTC_MS),
        from_utc=utc_text(STARTED_UTC_MS - 5_000),
        to_utc=utc_text(STARTED_UTC_MS - 1),
        selection={bytes(range(16)): frozenset({3, 12}), bytes(16): frozenset({1})},
    )
    return replace(request, **changes)  # type: ignore[arg-type]


def a_release() -> bytes:
    """An age file for somebody."""
    made: bytes = pyrage.encrypt(b"keys", [pyrage.x25519.Identity.generate().to_public()])
    return made


def write_request_for(
    path: Path,
    selection: Mapping[bytes, frozenset[int]],
    *,
    signer: SigningKey | None = None,
    **changes: object,
) -> Path:
    request = a_request(selection=selection, **changes)
    path.write_bytes(write_request(request, signer or console_key()))
    return path


def write_console_pub(path: Path, key: SigningKey | None = None) -> Path:
    path.write_text(public_line((key or console_key()).public, "console") + "\n")
    return path
