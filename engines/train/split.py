"""Who is trained on and who is kept for measuring: by identity, never by picture."""

from __future__ import annotations

import hashlib

HELD_OUT_OF_256 = 26  # about a tenth


def is_held_out(identity: str) -> bool:
    """True for people whom no network may have seen: decided by the name, so it never moves."""
    return hashlib.sha256(identity.encode("utf-8")).digest()[0] < HELD_OUT_OF_256
