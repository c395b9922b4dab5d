"""One line of the audit log: its bytes, what it says, its signature.

A line is the JSON of an entry, ASCII, keys sorted, and has exactly one spelling: bytes that say
the same in another way were not written here.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from ..errors import VaultError
from .canonical import canonical, parse_canonical, public_of, signature_of
from .signing import SigningKey, is_signed, public_line

FIRST = "0" * 64  # what the first line names as the one before
LABEL = b"bauta/1 audit\n"  # before what is signed
MOST_ENTRIES = 10**9
RESERVED = frozenset({"n", "before", "time", "signer", "signature"})

_HASH = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,6})?\+00:00")


@dataclass(frozen=True, slots=True)
class Head:
    """A log up to one of its entries: how many there are, and the hash of the last."""

    count: int
    hash: str  # SHA-256 of the line, in hex

    def __post_init__(self) -> None:
        if type(self.count) is not int or self.count < 1:
            raise VaultError("a head of the audit log counts its entries from 1")
        if not isinstance(self.hash, str) or not _HASH.fullmatch(self.hash):
            raise VaultError("a head of the audit log has a SHA-256 in hex")


@dataclass(frozen=True, slots=True)
class Line:
    """What a line says, if it is one of this log. Whether its signature fits is not checked yet."""

    fields: Mapping[str, object] = field(repr=False)
    number: int | None  # None: of the older format, without numbers and signatures
    before: str  # hash of the line before
    time: str  # ISO 8601, UTC
    signer: bytes | None  # (32,) Ed25519, public; None: unsigned
    signature: bytes = field(default=b"", repr=False)  # (64,) empty where unsigned

    @property
    def is_intact(self) -> bool:
        """Unsigned, or signed as it stands by the key that it names."""
        if self.signer is None:
            return True
        return is_signed(self.signer, self.signature, to_sign(self.fields))


def line_hash(line: bytes) -> str:
    """SHA-256 in hex of a line without its line feed."""
    return hashlib.sha256(line).hexdigest()


def to_sign(fields: Mapping[str, object]) -> bytes:
    """What a line's signature is over: all but itself."""
    return LABEL + canonical({key: fields[key] for key in fields if key != "signature"})


def write_line(
    entry: Mapping[str, object], *, number: int, before: str, time: str, signer: SigningKey | None
) -> bytes:
    """The line of an entry, without its line feed. Raises VaultError."""
    if taken := RESERVED & entry.keys():
        raise VaultError(f"the audit log sets {', '.join(sorted(taken))} itself")
    fields: dict[str, object] = {
        **entry,
        "n": number,
        "before": before,
        "time": time,
        "signer": None if signer is None else public_line(signer.public),
        "signature": None,
    }
    try:
        if signer is not None:
            fields["signature"] = base64.b64encode(signer.sign(to_sign(fields))).decode("ascii")
        line = canonical(fields)
    except (ValueError, TypeError, RecursionError):
        raise VaultError("what was to be logged cannot be written as JSON") from None
    if parse_line(line) is None:  # it could be written, never read: the log would end here
        raise VaultError("what was to be logged cannot be read again")
    return line


def parse_line(line: bytes) -> Line | None:
    """For bytes from anywhere, without the line feed; None where no log of ours holds such."""
    fields = parse_canonical(line)
    if fields is None:
        return None
    before, time = fields.get("before"), fields.get("time")
    if not isinstance(before, str) or not _HASH.fullmatch(before):
        return None
    if not isinstance(time, str) or not _TIME.fullmatch(time):
        return None
    if "n" not in fields:
        older = not {"signer", "signature"} & fields.keys()
        return Line(fields, None, before, time, None) if older else None
    number = fields["n"]
    if type(number) is not int or not 1 <= number <= MOST_ENTRIES:
        return None
    if not {"signer", "signature"} <= fields.keys():
        return None
    signer, signature = fields["signer"], fields["signature"]
    if signer is None and signature is None:
        return Line(fields, number, before, time, None)
    key, mark = public_of(signer), signature_of(signature)
    if key is None or mark is None:
        return None
    return Line(fields, number, before, time, key, mark)
