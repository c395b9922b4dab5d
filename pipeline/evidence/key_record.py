"""The key record: one in the first frame of each epoch (docs/evidence-format.md, section 3)."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace

from ..errors import RecordError
from .wire import Reader, number, text

KIND = 1
EPOCH_ID_BYTES = 16
DIGEST_BYTES = 16
SIGNATURE_BYTES = 64
COMMITMENT_BYTES = 32
SERVICE_KEY_BYTES = 32
SEALED_SECRET_BYTES = 48
NO_EPOCH = bytes(EPOCH_ID_BYTES)
NO_PARAMETERS = bytes(DIGEST_BYTES)
SIGNATURE_LABEL = b"bauta/1 key"
DETAILS = ("default", "lossless", "keyframes")
MOST_GROUPS = 16
MOST_KEYS = 64
MOST_RECORD_BYTES = 4 * 2**20


@dataclass(frozen=True, slots=True)
class KeyGroup:
    """One group of recipients: how its members get the epoch's secret of that group."""

    name: str
    threshold: int  # of its keys that are needed
    commitment: bytes  # (32,) tells the right secret from a wrong one
    age_files: tuple[bytes, ...] = field(repr=False)  # threshold 1: one for all; else one per share
    sealed_secret: bytes | None = field(repr=False)  # (48,) only with a threshold above 1

    def __post_init__(self) -> None:
        if not self.name:
            raise RecordError("a group of recipients needs a name")
        if len(self.commitment) != COMMITMENT_BYTES:
            raise RecordError("a group's commitment has the wrong size")
        if not 1 <= self.threshold <= MOST_KEYS:
            raise RecordError("a group's threshold is out of range")
        if self.threshold == 1:
            if len(self.age_files) != 1 or self.sealed_secret is not None:
                raise RecordError("a group without a threshold has one age file")
        elif not self.threshold <= len(self.age_files) <= MOST_KEYS:
            raise RecordError("a group has fewer keys than its threshold, or too many")
        elif self.sealed_secret is None or len(self.sealed_secret) != SEALED_SECRET_BYTES:
            raise RecordError("a group with a threshold needs its sealed secret")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRecord:
    """Everything that is said of an epoch. Raises RecordError where it breaks the format."""

    epoch_id: bytes
    previous_id: bytes = NO_EPOCH
    previous_frames: int = 0
    sequence: int
    started_utc_ms: int
    width_px: int
    height_px: int
    detail: str  # one of DETAILS
    site: str
    camera: str
    service_key: bytes = field(repr=False)  # Ed25519, public
    groups: tuple[KeyGroup, ...]  # sorted by name
    digest: bytes = field(repr=False)  # of its frame's slices
    # of its frame's parameter sets: they crop, scale and colour; NO_PARAMETERS: not said
    parameters: bytes = field(default=bytes(DIGEST_BYTES), repr=False)
    signature: bytes = field(default=bytes(SIGNATURE_BYTES), repr=False)

    def __post_init__(self) -> None:
        sizes = (
            (self.epoch_id, EPOCH_ID_BYTES),
            (self.previous_id, EPOCH_ID_BYTES),
            (self.service_key, SERVICE_KEY_BYTES),
            (self.digest, DIGEST_BYTES),
            (self.parameters, DIGEST_BYTES),
            (self.signature, SIGNATURE_BYTES),
        )
        if any(len(value) != size for value, size in sizes):
            raise RecordError("a field of a key record has the wrong size")
        if self.detail not in DETAILS:
            raise RecordError(f"detail must be one of {', '.join(DETAILS)}")
        if not 2 <= self.width_px < 2**16 or not 2 <= self.height_px < 2**16:
            raise RecordError("a key record's picture size is out of range")
        names = [group.name for group in self.groups]
        if not 1 <= len(names) <= MOST_GROUPS or names != sorted(set(names)):
            raise RecordError("a key record has 1 to 16 groups, sorted by name")

    @property
    def unsigned(self) -> bytes:
        """The record without its signature."""
        parts = [
            number(KIND, 1),
            self.epoch_id,
            self.previous_id,
            number(self.previous_frames, 4),
            number(self.sequence, 4),
            number(self.started_utc_ms, 8),
            number(self.width_px, 2),
            number(self.height_px, 2),
            number(DETAILS.index(self.detail), 1),
            text(self.site),
            text(self.camera),
            self.service_key,
            number(len(self.groups), 1),
        ]
        for group in self.groups:
            parts += [
                text(group.name),
                number(group.threshold, 1),
                group.commitment,
                number(len(group.age_files), 1),
                *(number(len(file), 2) + file for file in group.age_files),
                group.sealed_secret or b"",
            ]
        return b"".join([*parts, self.digest, self.parameters])

    @property
    def to_sign(self) -> bytes:
        """What the service's signature is over."""
        return SIGNATURE_LABEL + self.unsigned

    @property
    def context(self) -> bytes:
        """(32,) Binds every entry of the epoch to all that is said here."""
        return hashlib.sha256(self.unsigned).digest()

    def signed(self, signature: bytes) -> KeyRecord:
        """The same with its signature."""
        return replace(self, signature=signature)

    def encode(self) -> bytes:
        """The record as it travels."""
        data = self.unsigned + self.signature
        if len(data) > MOST_RECORD_BYTES:
            raise RecordError("a key record is too long")
        return data


def parse_key_record(data: bytes) -> KeyRecord:
    """For bytes from anywhere. Raises RecordError."""
    if len(data) > MOST_RECORD_BYTES:
        raise RecordError("a record is too long")
    reader = Reader(data)
    if reader.number(1) != KIND:
        raise RecordError("is no key record")
    epoch_id, previous_id = reader.take(EPOCH_ID_BYTES), reader.take(EPOCH_ID_BYTES)
    previous_frames, sequence, started = reader.number(4), reader.number(4), reader.number(8)
    width, height, detail = reader.number(2), reader.number(2), reader.number(1)
    if detail >= len(DETAILS):
        raise RecordError("a key record names an unknown detail")
    site, camera = reader.text(), reader.text()
    service_key = reader.take(SERVICE_KEY_BYTES)
    groups = tuple(_parse_group(reader) for _ in range(reader.number(1)))
    digest, parameters = reader.take(DIGEST_BYTES), reader.take(DIGEST_BYTES)
    signature = reader.take(SIGNATURE_BYTES)
    reader.end()
    return KeyRecord(
        epoch_id=epoch_id,
        previous_id=previous_id,
        previous_frames=previous_frames,
        sequence=sequence,
        started_utc_ms=started,
        width_px=width,
        height_px=height,
        detail=DETAILS[detail],
        site=site,
        camera=camera,
        service_key=service_key,
        groups=groups,
        digest=digest,
        parameters=parameters,
        signature=signature,
    )


def _parse_group(reader: Reader) -> KeyGroup:
    name, threshold = reader.text(), reader.number(1)
    commitment = reader.take(COMMITMENT_BYTES)
    files = tuple(reader.take(reader.number(2)) for _ in range(reader.number(1)))
    sealed = reader.take(SEALED_SECRET_BYTES) if threshold > 1 else None
    return KeyGroup(name, threshold, commitment, files, sealed)
