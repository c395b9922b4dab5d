"""One epoch: its key record, and its groups one after the other."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from ..evidence.group_record import MOST_FRAMES, GroupHead
from ..evidence.key_record import EPOCH_ID_BYTES, NO_EPOCH, KeyRecord
from ..vault.epoch import EpochSecrets, RecipientGroup
from ..vault.signing import SigningKey
from .group import group_record
from .tiles import Part


@dataclass(frozen=True, slots=True)
class Scene:
    """What key records say of a camera."""

    site: str
    camera: str
    size_px: tuple[int, int]
    detail: str


@dataclass(frozen=True, slots=True)
class Before:
    """The epoch before, of the same session."""

    epoch_id: bytes = NO_EPOCH
    frames: int = 0
    sequence: int = -1


class Epoch:
    """Seals until `end`. Its secrets live as long as it does."""

    def __init__(
        self,
        scene: Scene,
        groups: Sequence[RecipientGroup],
        key: SigningKey,
        *,
        before: Before,
        started_utc_ms: int,
        digest: bytes,
        parameters: bytes,
    ) -> None:
        """`digest`, `parameters`: of its first frame's slices and parameter sets.

        Raises VaultError for recipients of no use.
        """
        epoch_id = os.urandom(EPOCH_ID_BYTES)
        self._secrets = EpochSecrets(epoch_id, groups)
        try:
            record = KeyRecord(
                epoch_id=epoch_id,
                previous_id=before.epoch_id,
                previous_frames=before.frames,
                sequence=before.sequence + 1,
                started_utc_ms=started_utc_ms,
                width_px=scene.size_px[0],
                height_px=scene.size_px[1],
                detail=scene.detail,
                site=scene.site,
                camera=scene.camera,
                service_key=key.public,
                groups=self._secrets.key_groups,
                digest=digest,
                parameters=parameters,
            )
        except BaseException:
            self._secrets.wipe()
            raise
        self.record = record.signed(key.sign(record.to_sign))
        self._context = self.record.context
        self._secrets.bind(self._context)
        self._key = key
        self._in_groups = 0  # frames
        self._digests: list[bytes] = []
        self._parts: list[Sequence[Part]] = []

    @property
    def frames(self) -> int:
        """So far."""
        return self._in_groups + len(self._digests)

    @property
    def has_pending(self) -> bool:
        """Frames wait for their group's record."""
        return bool(self._digests)

    @property
    def is_group_full(self) -> bool:
        """The group takes no more frames."""
        return len(self._digests) == MOST_FRAMES

    def add(self, digest: bytes, parts: Sequence[Part]) -> None:
        """The next frame."""
        self._digests.append(digest)
        self._parts.append(parts)

    def close_group(self, *, is_last: bool) -> bytes:
        """The record of the frames that wait. Raises VaultError; they are not kept then either."""
        head = GroupHead(self.record.epoch_id, self._in_groups, tuple(self._digests), is_last)
        parts, self._parts, self._digests = self._parts, [], []
        self._in_groups += len(head.digests)
        record = group_record(
            head, parts, context=self._context, secrets=self._secrets, sign=self._key.sign
        )
        return record.encode()

    def end(self) -> Before:
        """Its secrets are wiped. Idempotent."""
        self._secrets.wipe()
        return Before(self.record.epoch_id, self.frames, self.record.sequence)
