"""JSON that has exactly one spelling, and the keys and signatures that stand in it.

Bytes that say the same in another way were not written here. The audit log and recovery requests
are of it.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from .signing import parse_public, public_line

_PUBLIC_BYTES, _SIGNATURE_BYTES = 32, 64


def canonical(fields: Mapping[str, object]) -> bytes:
    """ASCII, keys sorted. Raises ValueError, TypeError, RecursionError for what is no JSON."""
    return json.dumps(fields, sort_keys=True, ensure_ascii=True, allow_nan=False).encode("ascii")


def parse_canonical(data: bytes) -> dict[str, object] | None:
    """For bytes from anywhere; None where they are not what `canonical` writes."""
    try:
        fields = json.loads(data.decode("ascii"))
        return fields if isinstance(fields, dict) and canonical(fields) == data else None
    except (ValueError, TypeError, RecursionError):
        return None


def public_of(value: object) -> bytes | None:
    """(32,) The key of an `ssh-ed25519 …` line in the one spelling there is of it."""
    try:
        public = parse_public(value) if isinstance(value, str) else b""
    except ValueError:
        return None
    return public if len(public) == _PUBLIC_BYTES and public_line(public) == value else None


def signature_of(value: object) -> bytes | None:
    """(64,)"""
    mark = base64_of(value) if isinstance(value, str) else b""
    return mark if len(mark) == _SIGNATURE_BYTES else None


def base64_of(value: str) -> bytes:
    """Empty where it is not base64, or spelt in another way than it would be written."""
    try:
        data = base64.b64decode(value, validate=True)
    except ValueError:
        return b""
    return data if base64.b64encode(data).decode("ascii") == value else b""
