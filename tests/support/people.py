"""Those who hold keys, and epochs that are sealed for them."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyrage

from pipeline.evidence.group_record import EntryKind
from pipeline.evidence.key_record import KeyRecord
from pipeline.vault.epoch import EpochSecrets, RecipientGroup
from pipeline.vault.identity import Identity


def people(count: int) -> list[Identity]:
    return [Identity(str(pyrage.x25519.Identity.generate())) for _ in range(count)]


def group_of(name: str, members: Sequence[Identity], threshold: int = 1) -> RecipientGroup:
    return RecipientGroup(name, threshold, tuple(member.recipient for member in members))


@dataclass(frozen=True)
class SealedEpoch:
    """A key record, and the keys that the service had."""

    record: KeyRecord
    keys: Mapping[tuple[EntryKind, int], bytes]


def sealed_epoch(*groups: RecipientGroup, tracks: Sequence[int] = (1, 2)) -> SealedEpoch:
    """The service's secrets are wiped."""
    epoch_id = os.urandom(16)
    secrets = EpochSecrets(epoch_id, groups)
    record = KeyRecord(
        epoch_id=epoch_id,
        sequence=0,
        started_utc_ms=1_790_000_000_000,
        width_px=640,
        height_px=360,
        detail="default",
        site="site",
        camera="camera",
        service_key=bytes(32),
        groups=secrets.key_groups,
        digest=bytes(16),
    )
    secrets.bind(record.context)
    keys = {
        (kind, track): bytes(bytearray(secrets.key_for(kind, track)))  # a copy that is not wiped
        for kind in EntryKind
        for track in tracks
    }
    secrets.wipe()
    return SealedEpoch(record, keys)
