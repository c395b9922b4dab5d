"""What one who may open hands to another: a disclosure or a release (docs/evidence-format.md, 6).

An age file for one receiver. Inside is a signed JSON with secrets of single tracks: never S_g, and
never for another epoch than the named ones.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, cast, get_args

from ..errors import KeyRefused, NothingOpened, RecordError
from ..evidence.group_record import SCENE_TRACK
from ..evidence.key_record import EPOCH_ID_BYTES, MOST_GROUPS, SIGNATURE_BYTES
from ..evidence.wire import Reader, number
from .epoch_keys import SECRET_BYTES
from .identity import Identity, Recipient, wrap_for
from .signing import is_signed, officer_key, parse_public, public_line

if TYPE_CHECKING:
    from .opening import EpochKeys

MAGIC = b"bauta/1 package\n"
SIGNATURE_LABEL = b"bauta/1 package"
MOST_BYTES = 32 * 2**20  # a day in epochs of a second has 25 MiB for a track of two groups
# Python makes an object of each value, which costs up to a hundred times its bytes. A package's
# values are long: an epoch of one group and one track has 6 commas and brackets in 220 bytes.
_BYTES_A_MARK, _SPARE_MARKS = 32, 2**16
_MOST_NAMED_TRACKS = 4096
_CONTEXT_BYTES, _LENGTH_BYTES = 32, 4

What: TypeAlias = Literal["disclosure", "release"]
TrackSecrets: TypeAlias = Mapping[str, Mapping[int, bytes]]
"""Group to track to S_g,t."""


@dataclass(frozen=True, slots=True)
class PackageEpoch:
    """What a package has of one epoch."""

    epoch_id: bytes
    context: bytes  # of its key record
    secrets: TrackSecrets = field(repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """An opened package, its signature checked; whether its maker is to be trusted, people say."""

    what: What
    case: str
    reason: str
    made_utc: str  # ISO 8601, by the maker's clock
    maker_public: bytes  # (32,) Ed25519
    maker_age: str  # age1…, as the maker claims: nothing proves it, `maker_public` is who signed
    clip_sha256: str
    tracks: tuple[int, ...] | None  # None: all, and the scene
    epochs: Mapping[bytes, PackageEpoch] = field(repr=False)  # by epoch id

    def secret(self, epoch_id: bytes, context: bytes, group: str, track: int) -> bytes | None:
        """(32,) S_g,t; None where it is not in it, or is of another clip's epoch.

        Nor for a track that the package is not about, whatever it holds.
        """
        if not self.has_epoch(epoch_id, context):
            return None
        if self.tracks is not None and track not in self.tracks:
            return None
        return self.epochs[epoch_id].secrets.get(group, {}).get(track)

    def has_epoch(self, epoch_id: bytes, context: bytes) -> bool:
        """Whether it was made of this epoch, as its key record stands."""
        epoch = self.epochs.get(epoch_id)
        return epoch is not None and epoch.context == context

    def holds(self, epoch_id: bytes, context: bytes, group: str) -> bool:
        """Whether there is anything of this group."""
        if not self.has_epoch(epoch_id, context):
            return False
        found = self.epochs[epoch_id].secrets.get(group, {})
        return any(self.secret(epoch_id, context, group, track) for track in found)


@dataclass(frozen=True, slots=True, kw_only=True)
class Purpose:
    """For whom a package is, by whom, and what for."""

    maker: Identity
    receiver: Recipient
    case: str
    reason: str
    clip_sha256: str


def make_disclosure(epochs: Sequence[EpochKeys], track: int, purpose: Purpose) -> bytes:
    """All groups' secrets of one track. Epochs of which a group is missing are left out.

    Raises NothingOpened where that leaves none.
    """
    found = []
    for epoch in epochs:
        secrets = {name: epoch.secret_for(name, track) for name in epoch.names}
        whole = {name: {track: value} for name, value in secrets.items() if value is not None}
        if len(whole) == len(secrets):
            found.append(PackageEpoch(epoch.record.epoch_id, epoch.context, whole))
    return _made("disclosure", found, (track,), purpose)


def make_release(
    epochs: Sequence[EpochKeys],
    group: str,
    tracks: Sequence[int] | None,
    purpose: Purpose,
    *,
    present: Mapping[bytes, Collection[int]],
) -> bytes:
    """One group's secrets of the tracks; None: of all that are there, and of the scene.

    `present`: epoch id to the tracks that have entries in it; of others nothing is handed on.
    Raises NothingOpened where no epoch is left.
    """
    found = []
    for epoch in epochs:
        there = present.get(epoch.record.epoch_id, ())
        wanted = [*there, SCENE_TRACK] if tracks is None else set(there).intersection(tracks)
        secrets = {track: epoch.secret_for(group, track) for track in wanted}
        had = {track: value for track, value in secrets.items() if value is not None}
        if had:
            found.append(PackageEpoch(epoch.record.epoch_id, epoch.context, {group: had}))
    return _made("release", found, None if tracks is None else tuple(sorted(set(tracks))), purpose)


def open_package(data: bytes, identity: Identity) -> Package:
    """Raises KeyRefused where it is for somebody else, RecordError where it breaks the format."""
    if len(data) > MOST_BYTES:
        raise RecordError("a package is too long")
    try:
        plain = identity.open(data)
    except KeyRefused:
        raise KeyRefused("this key does not open the package; it was made for others") from None
    reader = Reader(plain)
    if reader.take(min(len(MAGIC), reader.left)) != MAGIC:
        raise RecordError("is no package of bauta/1")
    length = reader.take(_LENGTH_BYTES)
    content = reader.take(int.from_bytes(length, "big"))
    signature = reader.take(SIGNATURE_BYTES)
    reader.end()
    package = _parsed(content)
    if not is_signed(package.maker_public, signature, SIGNATURE_LABEL + length + content):
        raise RecordError("a package's signature is not its maker's")
    return package


# --- out ---


def _made(
    what: What,
    epochs: Sequence[PackageEpoch],
    tracks: tuple[int, ...] | None,
    purpose: Purpose,
) -> bytes:
    if not epochs:
        raise NothingOpened("nothing opened: keys and clip do not fit")
    signer = officer_key(purpose.maker)
    fields = {
        "what": what,
        "case": purpose.case,
        "reason": purpose.reason,
        "made_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "maker": public_line(signer.public),
        "maker_age": purpose.maker.recipient.public,
        "clip_sha256": purpose.clip_sha256,
        "tracks": None if tracks is None else list(tracks),
        "epochs": [_epoch_fields(epoch) for epoch in epochs],
    }
    content = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode("ascii")
    length = number(len(content), _LENGTH_BYTES)
    signature = signer.sign(SIGNATURE_LABEL + length + content)
    return wrap_for(MAGIC + length + content + signature, [purpose.receiver])


def _epoch_fields(epoch: PackageEpoch) -> dict[str, object]:
    groups = {
        name: {str(track): value.hex() for track, value in secrets.items()}
        for name, secrets in epoch.secrets.items()
    }
    return {"id": epoch.epoch_id.hex(), "context": epoch.context.hex(), "groups": groups}


# --- in: whoever made it may have meant harm ---


def _parsed(content: bytes) -> Package:
    if sum(map(content.count, b"[{,")) > len(content) // _BYTES_A_MARK + _SPARE_MARKS:
        raise RecordError("a package's content has more in it than a package of its size")
    try:
        fields = json.loads(content)
        epochs = [_parsed_epoch(epoch) for epoch in _list(fields["epochs"])]
        what = _text(fields["what"])
        if what not in get_args(What):
            raise ValueError("what")
        package = Package(
            what=cast(What, what),
            case=_text(fields["case"]),
            reason=_text(fields["reason"]),
            made_utc=_text(fields["made_utc"]),
            maker_public=parse_public(_text(fields["maker"])),
            maker_age=_text(fields["maker_age"]),
            clip_sha256=_text(fields["clip_sha256"]),
            tracks=_tracks(fields["tracks"]),
            epochs={epoch.epoch_id: epoch for epoch in epochs},
        )
        if len(package.epochs) != len(epochs):
            raise ValueError("an epoch twice")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise RecordError("a package's content breaks the format bauta/1") from None
    return package


def _parsed_epoch(fields: Any) -> PackageEpoch:
    groups = fields["groups"]
    if not 1 <= len(groups) <= MOST_GROUPS:
        raise ValueError("groups")
    secrets = {
        name: {_track(track): _hex(value, SECRET_BYTES) for track, value in found.items()}
        for name, found in groups.items()
    }
    return PackageEpoch(
        _hex(fields["id"], EPOCH_ID_BYTES), _hex(fields["context"], _CONTEXT_BYTES), secrets
    )


def _tracks(value: Any) -> tuple[int, ...] | None:
    if value is None:
        return None
    if len(_list(value)) > _MOST_NAMED_TRACKS:
        raise ValueError("tracks")
    if any(type(track) is not int or not 0 <= track < SCENE_TRACK for track in value):
        raise ValueError("tracks")
    return tuple(value)


def _track(text: str) -> int:
    if not text.isascii() or not text.isdigit() or len(text) > math.ceil(math.log10(SCENE_TRACK)):
        raise ValueError("a track")
    track = int(text)
    if track > SCENE_TRACK or str(track) != text:
        raise ValueError("a track")
    return track


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("no list")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("no text")
    return value


def _hex(value: Any, count: int) -> bytes:
    if len(_text(value)) != 2 * count:
        raise ValueError("a length")
    return bytes.fromhex(value)
