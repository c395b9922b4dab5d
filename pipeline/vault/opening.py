"""The officer's side of an epoch: which of its secrets these keys and packages give."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations, islice

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import constant_time
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from ..errors import KeyRefused, VaultError
from ..evidence.group_record import SCENE_TRACK, EntryKind
from ..evidence.key_record import KeyGroup, KeyRecord
from .effort import Effort
from .epoch_keys import (
    SECRET_BYTES,
    SHARED_BYTES,
    THRESHOLD_DATA,
    ZERO_NONCE,
    commitment,
    entry_key,
    hkdf,
    threshold_info,
    track_secret,
)
from .identity import Identity
from .package import Package
from .threshold import combine

_MOST_TRIES = 200  # choices of shares, where some are bad


@dataclass(frozen=True, slots=True)
class EpochKeys:
    """What could be had of one epoch's secrets."""

    record: KeyRecord
    context: bytes
    packages: tuple[Package, ...] = field(repr=False)
    group_secrets: Mapping[str, bytes] = field(repr=False)  # S_g, where identities gave it
    openers: Mapping[str, frozenset[str]]  # group to the public age keys that had a part in it

    @property
    def used(self) -> frozenset[str]:
        """Public age keys of the identities that had a part in any group."""
        return frozenset[str]().union(*self.openers.values())

    @property
    def names(self) -> tuple[str, ...]:
        """All groups, in the record's order."""
        return tuple(group.name for group in self.record.groups)

    @property
    def opened_by(self) -> tuple[str, ...]:
        """The groups with all of their secret, by identities."""
        return tuple(name for name in self.names if name in self.group_secrets)

    @property
    def missing_groups(self) -> tuple[str, ...]:
        """The groups of which nothing at all is there."""
        epoch_id = self.record.epoch_id
        return tuple(
            name
            for name in self.names
            if name not in self.group_secrets
            and not any(package.holds(epoch_id, self.context, name) for package in self.packages)
        )

    @property
    def opens_everything(self) -> bool:
        """Of each group its secret, or a release of everything."""
        return all(name in self.group_secrets or self._released_whole(name) for name in self.names)

    def secret_for(self, group: str, track: int) -> bytes | None:
        """(32,) S_g,t; None where it cannot be had."""
        epoch_id = self.record.epoch_id
        if (secret := self.group_secrets.get(group)) is not None:
            return track_secret(secret, epoch_id, self.context, group, track)
        found = (package.secret(epoch_id, self.context, group, track) for package in self.packages)
        return next((value for value in found if value is not None), None)

    def key_for(self, kind: EntryKind, track: int) -> bytes | None:
        """(32,) The key of a track's entries, of scene entries the scene's for any track.

        None: not all groups are there for it.
        """
        secret_of = SCENE_TRACK if kind is EntryKind.SCENE else track
        found = [self.secret_for(name, secret_of) for name in self.names]
        secrets = [secret for secret in found if secret is not None]
        if len(secrets) != len(found):
            return None
        return entry_key(secrets, self.record.epoch_id, kind)

    def opens_track(self, track: int) -> bool:
        """Of each group there is what opens this track's entries."""
        return all(self.secret_for(name, track) is not None for name in self.names)

    def _released_whole(self, group: str) -> bool:
        return any(
            package.tracks is None
            and package.secret(self.record.epoch_id, self.context, group, SCENE_TRACK) is not None
            for package in self.packages
        )


@dataclass(frozen=True, slots=True)
class _Part:
    """What one identity had from one age file: S_g, or a share."""

    plain: bytes = field(repr=False)
    by: str  # its public key
    file: bytes = field(repr=False)  # where it was

    @property
    def index(self) -> int:
        return self.plain[0]


def open_epoch(
    record: KeyRecord,
    *,
    identities: Sequence[Identity],
    packages: Sequence[Package] = (),
    effort: Effort | None = None,
) -> EpochKeys:
    """Never raises for keys that do not fit: what they do not give is not there.

    `effort`: the same for all records of a clip, so that not each can cost anew.
    """
    effort = effort or Effort()
    effort.begin_record(len(identities))
    secrets: dict[str, bytes] = {}
    openers: dict[str, frozenset[str]] = {}
    for group in record.groups:
        found = _opened(group, identities, effort)
        for parts in _choices(group, found, effort):
            secret = _secret_of(group, record.epoch_id, parts)
            if secret is not None and _is_committed(group, record.epoch_id, secret):
                secrets[group.name] = secret
                openers[group.name] = frozenset(part.by for part in parts)
                break
            effort.choice_failed(len(parts))
        if group.name not in secrets:
            for part in found:
                effort.file_failed(part.file)
    return EpochKeys(record, record.context, tuple(packages), secrets, openers)


def _opened(group: KeyGroup, identities: Sequence[Identity], effort: Effort) -> list[_Part]:
    """Of the right size; of each identity one at most, as a service seals them."""
    size = SECRET_BYTES if group.threshold == 1 else 1 + SHARED_BYTES
    parts = []
    for identity in identities:
        by = identity.recipient.public
        for at in effort.order(by, group.name, len(group.age_files)):
            file = group.age_files[at]
            if not effort.may_open(file):
                continue
            try:
                plain = identity.open(file)
            except KeyRefused:
                effort.file_failed(file)
                continue
            if len(plain) == size:
                effort.opened(by, group.name, at)
                parts.append(_Part(plain, by, file))
            else:
                effort.file_failed(file)
            break
    return parts


def _choices(
    group: KeyGroup, parts: Sequence[_Part], effort: Effort
) -> Iterator[tuple[_Part, ...]]:
    """What may give the secret together. With a bad share among enough, some do not.

    There are no more shares than identities: a high threshold in a record alone costs nothing.
    """
    if group.threshold == 1:
        yield from ((part,) for part in parts)
        return
    shares = {part.plain: part for part in parts}.values()  # each once
    is_first = True
    for some in islice(combinations(shares, group.threshold), _MOST_TRIES):
        if len({part.index for part in some} - {0}) < len(some):
            continue
        if not effort.may_combine(len(some), is_first=is_first):
            return
        is_first = False
        yield some


def _secret_of(group: KeyGroup, epoch_id: bytes, parts: Sequence[_Part]) -> bytes | None:
    if group.sealed_secret is None:
        return parts[0].plain
    try:
        between = combine({part.index: part.plain[1:] for part in parts})
        key = hkdf(between, epoch_id, threshold_info(group.name))
        return ChaCha20Poly1305(key).decrypt(ZERO_NONCE, group.sealed_secret, THRESHOLD_DATA)
    except (VaultError, InvalidTag):
        return None


def _is_committed(group: KeyGroup, epoch_id: bytes, secret: bytes) -> bool:
    return constant_time.bytes_eq(commitment(secret, epoch_id, group.name), group.commitment)
