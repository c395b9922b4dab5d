"""The group record: what was sealed of up to eight frames (docs/evidence-format.md, section 4)."""

from __future__ import annotations

import enum
from dataclasses import dataclass, field, replace

from ..errors import RecordError
from .key_record import DIGEST_BYTES, EPOCH_ID_BYTES, MOST_RECORD_BYTES, SIGNATURE_BYTES
from .wire import Reader, number

KIND = 2
MOST_FRAMES = 8
MOST_ENTRIES = 4096
TAG_BYTES = 16
SCENE_TRACK = 2**32 - 1  # whose secret the scene entries have; no entry names it
SIGNATURE_LABEL = b"bauta/1 group"
ENTRY_LABEL = b"bauta/1 entry"
_LAST = 1


class EntryKind(enum.IntEnum):
    """What a sealed entry holds."""

    FACE = 2
    MOTION = 3
    SCENE = 4


@dataclass(frozen=True, slots=True)
class Place:
    """What is public of an entry."""

    kind: EntryKind
    track: int
    presence: int  # bit i: something is there for the group's frame i
    box_xywh_px: tuple[int, int, int, int]  # in the first such frame

    def __post_init__(self) -> None:
        if not 0 <= self.track < SCENE_TRACK:
            raise RecordError("an entry's track is out of range")
        if not 0 < self.presence < 2**MOST_FRAMES:
            raise RecordError("an entry is in no frame")

    @property
    def encoded(self) -> bytes:
        """As it travels, and as it is in the associated data."""
        head = number(self.kind, 1) + number(self.track, 4) + number(self.presence, 1)
        return head + b"".join(number(value, 2) for value in self.box_xywh_px)

    @property
    def offsets(self) -> tuple[int, ...]:
        """The frames of the group in which it is."""
        return tuple(i for i in range(MOST_FRAMES) if self.presence >> i & 1)


@dataclass(frozen=True, slots=True)
class Entry:
    """A sealed part of a group record."""

    place: Place
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class GroupHead:
    """Which frames a group record speaks of."""

    epoch_id: bytes
    first: int  # frame counter
    digests: tuple[bytes, ...] = field(repr=False)  # of each frame's slices
    is_last: bool  # of its epoch

    def __post_init__(self) -> None:
        if len(self.epoch_id) != EPOCH_ID_BYTES:
            raise RecordError("an epoch id has the wrong size")
        if not 1 <= len(self.digests) <= MOST_FRAMES:
            raise RecordError(f"a group has 1 to {MOST_FRAMES} frames")
        if any(len(digest) != DIGEST_BYTES for digest in self.digests):
            raise RecordError("a slice digest has the wrong size")

    @property
    def encoded(self) -> bytes:
        """As it travels, and as it is in the associated data."""
        return b"".join(
            (
                number(KIND, 1),
                self.epoch_id,
                number(self.first, 4),
                number(len(self.digests), 1),
                number(_LAST if self.is_last else 0, 1),
                *self.digests,
            )
        )


@dataclass(frozen=True, slots=True)
class GroupRecord:
    """Raises RecordError where it breaks the format."""

    head: GroupHead
    entries: tuple[Entry, ...]  # sorted by (kind, track)
    signature: bytes = field(default=bytes(SIGNATURE_BYTES), repr=False)

    def __post_init__(self) -> None:
        names = [(entry.place.kind, entry.place.track) for entry in self.entries]
        if len(names) > MOST_ENTRIES or names != sorted(set(names)):
            raise RecordError(f"a group has at most {MOST_ENTRIES} entries, sorted")
        if any(entry.place.presence >> len(self.head.digests) for entry in self.entries):
            raise RecordError("an entry is in a frame that its group does not have")
        if len(self.signature) != SIGNATURE_BYTES:
            raise RecordError("a signature has the wrong size")

    @property
    def unsigned(self) -> bytes:
        """The record without its signature."""
        parts = [self.head.encoded, number(len(self.entries), 2)]
        for entry in self.entries:
            parts += [entry.place.encoded, number(len(entry.sealed), 3), entry.sealed]
        return b"".join(parts)

    def to_sign(self, context: bytes) -> bytes:
        """What the service's signature is over; `context` of the epoch's key record."""
        return SIGNATURE_LABEL + context + self.unsigned

    def signed(self, signature: bytes) -> GroupRecord:
        """The same with its signature."""
        return replace(self, signature=signature)

    def encode(self) -> bytes:
        """The record as it travels."""
        data = self.unsigned + self.signature
        if len(data) > MOST_RECORD_BYTES:
            raise RecordError("a group record is too long")
        return data


def associated_data(context: bytes, head: GroupHead, place: Place) -> bytes:
    """What an entry's seal binds beside its content."""
    return ENTRY_LABEL + context + head.encoded + place.encoded


def nonce(head: GroupHead, place: Place) -> bytes:
    """(12,) Once under a key: a track has one entry of a kind in a group."""
    return number(place.track, 4) + number(place.kind, 4) + number(head.first, 4)


def parse_group_record(data: bytes) -> GroupRecord:
    """For bytes from anywhere. Raises RecordError."""
    if len(data) > MOST_RECORD_BYTES:
        raise RecordError("a record is too long")
    reader = Reader(data)
    if reader.number(1) != KIND:
        raise RecordError("is no group record")
    epoch_id, first = reader.take(EPOCH_ID_BYTES), reader.number(4)
    frames, flags = reader.number(1), reader.number(1)
    if flags & ~_LAST:
        raise RecordError("a group record has unknown flags")
    digests = tuple(reader.take(DIGEST_BYTES) for _ in range(frames))
    head = GroupHead(epoch_id, first, digests, bool(flags & _LAST))
    count = reader.number(2)
    if count > MOST_ENTRIES:  # before they cost memory
        raise RecordError(f"a group has at most {MOST_ENTRIES} entries, got {count}")
    entries = tuple(_parse_entry(reader) for _ in range(count))
    signature = reader.take(SIGNATURE_BYTES)
    reader.end()
    return GroupRecord(head, entries, signature)


def _parse_entry(reader: Reader) -> Entry:
    kind, track, presence = reader.number(1), reader.number(4), reader.number(1)
    x, y, w, h = (reader.number(2) for _ in range(4))
    try:
        known = EntryKind(kind)
    except ValueError:
        raise RecordError("an entry has an unknown kind") from None
    sealed = reader.take(reader.number(3))
    if len(sealed) < TAG_BYTES:
        raise RecordError("an entry is cut short")
    return Entry(Place(known, track, presence, (x, y, w, h)), sealed)
