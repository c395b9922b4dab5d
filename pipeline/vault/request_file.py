"""An approved recovery request as a signed file (docs/evidence-format.md, 9).

The console writes it: who asked, who approved, and exactly which tracks of which epochs. Whoever
has the keys carries it out elsewhere. The signature says that the console wrote it, and opens
nothing; with an approver's release in it, it is also what the officer lacked.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from ..errors import RecordError
from ..evidence.group_record import SCENE_TRACK
from ..evidence.key_record import EPOCH_ID_BYTES
from .age_header import check_age_header
from .canonical import base64_of, canonical, parse_canonical, public_of, signature_of
from .signing import SigningKey, is_signed, public_line

FORMAT = "bauta/1 request"
LABEL = b"bauta/1 request\n"  # before what is signed
SUFFIX = ".bautareq"

MOST_BYTES = 32 * 2**20  # of the file
MOST_RELEASES = 8
MOST_RELEASE_BYTES = 16 * 2**20  # 32 people, an hour, epochs of a second: 9 MiB
MOST_EPOCHS = 2**14  # an hour of quarter seconds
MOST_PAIRS = 2**18  # of an epoch and a track: 32 people in an hour of half seconds
MOST_CASE_CHARACTERS = 60  # it is burnt into the picture
MOST_REASON_CHARACTERS = 1000
MOST_NAME_CHARACTERS = 200  # of a site, a camera, a user

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ID = re.compile(r"R-[0-9A-Za-z-]{1,40}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
# Python makes an object of each value: bytes that are mostly commas would cost a hundredfold
_MOST_MARKS = 2 * MOST_PAIRS
_TEXTS = {
    "site": MOST_NAME_CHARACTERS,
    "camera": MOST_NAME_CHARACTERS,
    "case": MOST_CASE_CHARACTERS,
    "reason": MOST_REASON_CHARACTERS,
    "requested_by": MOST_NAME_CHARACTERS,
    "approved_by": MOST_NAME_CHARACTERS,
}
_TIMES = ("requested_utc", "approved_utc", "expires_utc", "from_utc", "to_utc")
_FIELDS = {"format", "id", *_TEXTS, *_TIMES, "selection", "releases", "signer", "signature"}


@dataclass(frozen=True, slots=True, kw_only=True)
class RecoveryRequest:
    """What was asked for and approved. Times are ISO 8601 in UTC, as `utc_text` writes them."""

    id: str  # R-…
    site: str
    camera: str
    case: str
    reason: str
    requested_by: str
    requested_utc: str
    approved_by: str
    approved_utc: str
    expires_utc: str
    from_utc: str
    to_utc: str
    selection: Mapping[bytes, frozenset[int]]  # epoch id (16,) to the tracks in it; nothing else
    releases: tuple[bytes, ...] = field(default=(), repr=False)  # age packages of approvers

    @property
    def is_lock(self) -> bool:
        """An approver's key release is in it; what it opens shows when the officer opens it."""
        return bool(self.releases)

    @property
    def tracks(self) -> frozenset[int]:
        """In any of the epochs."""
        return frozenset[int]().union(*self.selection.values())

    def is_valid_at(self, unix_seconds: float) -> bool:
        """Not expired. A clock that is behind is not held against it."""
        return unix_seconds * 1000 < utc_ms(self.expires_utc)


def write_request(request: RecoveryRequest, signer: SigningKey) -> bytes:
    """One line of canonical JSON, signed. Raises RecordError for what could not be read again."""
    fields: dict[str, object] = {
        "format": FORMAT,
        "id": request.id,
        **{name: getattr(request, name) for name in (*_TEXTS, *_TIMES)},
        "selection": {epoch.hex(): sorted(found) for epoch, found in request.selection.items()},
        "releases": [base64.b64encode(release).decode("ascii") for release in request.releases],
        "signer": public_line(signer.public),
    }
    try:
        signature = signer.sign(LABEL + canonical(fields))
        fields["signature"] = base64.b64encode(signature).decode("ascii")
        data = canonical(fields) + b"\n"
    except (ValueError, TypeError, RecursionError):
        raise RecordError("a request cannot be written as JSON") from None
    read_request(data)
    return data


def read_request(data: bytes) -> tuple[RecoveryRequest, bytes]:
    """(the request, the public key (32,) that signed it) of bytes from anywhere.

    Whether that key is the console's is for the caller to say. Raises RecordError.
    """
    if len(data) > MOST_BYTES:
        raise RecordError(f"is no recovery request: longer than {MOST_BYTES >> 20} MiB")
    if data[-1:] != b"\n" or sum(map(data.count, (b"[", b"{", b","))) > _MOST_MARKS:
        raise RecordError("is no recovery request of bauta/1")
    fields = parse_canonical(data[:-1])
    if fields is None or fields.keys() != _FIELDS or fields["format"] != FORMAT:
        raise RecordError("is no recovery request of bauta/1")
    signer, signature = public_of(fields["signer"]), signature_of(fields["signature"])
    if signer is None or signature is None:
        raise RecordError("a recovery request is not signed")
    try:
        request = _parsed(fields)
    except (ValueError, TypeError, AttributeError):
        raise RecordError("a recovery request's content breaks the format bauta/1") from None
    signed = canonical({name: fields[name] for name in fields if name != "signature"})
    if not is_signed(signer, signature, LABEL + signed):
        raise RecordError("a recovery request's signature does not fit: it was altered")
    return request, signer


def utc_text(unix_ms: int) -> str:
    """`2026-11-21T18:30:00.000Z`. Raises OverflowError beyond the years 1 to 9999."""
    moment = _EPOCH + timedelta(milliseconds=unix_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def utc_ms(text: str) -> int:
    """The inverse of `utc_text`, in Unix milliseconds. Raises ValueError."""
    if not _TIME.fullmatch(text):
        raise ValueError("a time")
    return (datetime.fromisoformat(text) - _EPOCH) // timedelta(milliseconds=1)


def _parsed(fields: Mapping[str, object]) -> RecoveryRequest:
    texts = {name: _text(fields[name], most) for name, most in _TEXTS.items()}
    times = {name: str(fields[name]) for name in _TIMES}
    if not isinstance(fields["id"], str) or not _ID.fullmatch(fields["id"]):
        raise ValueError("an id")
    at = {name: utc_ms(text) for name, text in times.items()}
    if not at["from_utc"] < at["to_utc"] or not at["approved_utc"] < at["expires_utc"]:
        raise ValueError("an order of times")
    return RecoveryRequest(
        id=fields["id"],
        selection=_selection(fields["selection"]),
        releases=_releases(fields["releases"]),
        **texts,
        **times,
    )


def _text(value: object, most: int) -> str:
    """One line for people, with nothing in it that steers a terminal."""
    if not isinstance(value, str) or not 1 <= len(value) <= most or not value.isprintable():
        raise ValueError("a text")
    if value != value.strip():
        raise ValueError("a text")
    return value


def _selection(value: object) -> dict[bytes, frozenset[int]]:
    if not isinstance(value, dict) or not 1 <= len(value) <= MOST_EPOCHS:
        raise ValueError("a selection")
    found = {_epoch(name): _tracks(tracks) for name, tracks in value.items()}
    if sum(map(len, found.values())) > MOST_PAIRS:
        raise ValueError("a selection")
    return found


def _epoch(text: str) -> bytes:
    data = bytes.fromhex(text)
    if len(data) != EPOCH_ID_BYTES or data.hex() != text:
        raise ValueError("an epoch")
    return data


def _tracks(value: object) -> frozenset[int]:
    """Ascending, each once; the scene is nobody's and never asked for."""
    if not isinstance(value, list) or not value:
        raise ValueError("tracks")
    if any(type(track) is not int or not 0 <= track < SCENE_TRACK for track in value):
        raise ValueError("tracks")
    if sorted(set(value)) != value:
        raise ValueError("tracks")
    return frozenset(value)


def _releases(value: object) -> tuple[bytes, ...]:
    if not isinstance(value, list) or len(value) > MOST_RELEASES:
        raise ValueError("releases")
    found = tuple(base64_of(each) for each in value)
    check_releases(found)
    return found


def check_releases(releases: Sequence[bytes]) -> None:
    """As far as anybody can without a key: age files, and not too long. Raises ValueError."""
    if len(releases) > MOST_RELEASES:
        raise ValueError(f"more than {MOST_RELEASES} releases")
    for release in releases:
        if len(release) > MOST_RELEASE_BYTES:
            raise ValueError(f"a release is longer than {MOST_RELEASE_BYTES >> 20} MiB")
        try:
            check_age_header(release)
        except ValueError:
            raise ValueError("a release is no age file: bauta keys release makes it") from None
