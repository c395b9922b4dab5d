"""The service's side of an epoch: its secrets, for whom they are, and their end.

What is secret is in memory that `wipe` overwrites. After it neither S_g, nor W, nor a share, nor
anything derived from them is left in the process; `test_epoch_memory.py` looks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF, HKDFExpand

from ..errors import VaultError
from ..evidence.group_record import SCENE_TRACK, EntryKind
from ..evidence.key_record import EPOCH_ID_BYTES, MOST_KEYS, KeyGroup
from .age_file import age_file, is_usable
from .epoch_keys import (
    SECRET_BYTES,
    SHARED_BYTES,
    THRESHOLD_DATA,
    ZERO_NONCE,
    commitment_info,
    entry_info,
    threshold_info,
    track_info,
)
from .identity import Recipient
from .memory import random_secret, wipe, wiped
from .threshold import split


@dataclass(frozen=True, slots=True)
class RecipientGroup:
    """Who can have the secret of a group: `threshold` of the recipients together."""

    name: str
    threshold: int
    recipients: tuple[Recipient, ...]


class EpochSecrets:
    """Fresh random secrets of one epoch, one for each group. Raises VaultError."""

    def __init__(self, epoch_id: bytes, groups: Sequence[RecipientGroup]) -> None:
        """`epoch_id`: (16,). For a group with fewer usable keys than its threshold: VaultError."""
        if len(epoch_id) != EPOCH_ID_BYTES:
            raise VaultError("an epoch id has the wrong size")
        if not groups or len({group.name for group in groups}) != len(groups):
            raise VaultError("an epoch needs groups of recipients, each with a name of its own")
        self._epoch_id = epoch_id
        self._context: bytes | None = None
        # All that comes of S_g comes of HKDF's first step over it: S_g itself is wiped at once.
        self._extracted: list[tuple[str, bytes]] = []
        self._keys: dict[tuple[EntryKind, int], bytes] = {}
        try:
            made = [self._made(group) for group in sorted(groups, key=lambda group: group.name)]
        except BaseException:
            self.wipe()
            raise
        self.key_groups: tuple[KeyGroup, ...] = tuple(made)

    def bind(self, context: bytes) -> None:
        """To the key record that these secrets are in: nothing can be derived before it."""
        self._context = context

    def key_for(self, kind: EntryKind, track: int) -> bytes:
        """(32,) The key of a track's entries; of scene entries that of the scene, for any track.

        It is overwritten by `wipe`: not to be kept beyond it. Raises VaultError after it, and
        before `bind`.
        """
        if not self._extracted:
            raise VaultError("the epoch has ended, and its keys with it")
        secret_of = SCENE_TRACK if kind is EntryKind.SCENE else track
        key = self._keys.get((kind, secret_of))
        if key is None:
            key = self._keys[kind, secret_of] = self._derived(kind, secret_of)
        return key

    def wipe(self) -> None:
        """Overwrites all secrets and the keys that were handed out. Idempotent."""
        for _, extracted in self._extracted:
            wipe(extracted)
        for key in self._keys.values():
            wipe(key)
        self._extracted.clear()
        self._keys.clear()

    def _derived(self, kind: EntryKind, track: int) -> bytes:
        if self._context is None:
            raise VaultError("an epoch's secrets are not bound to its key record yet")
        joined = bytearray(SECRET_BYTES * len(self._extracted))
        with wiped(joined), memoryview(joined) as places:
            for at, (name, extracted) in enumerate(self._extracted):
                place = places[at * SECRET_BYTES : (at + 1) * SECRET_BYTES]
                _expand_into(extracted, track_info(self._context, name, track), place)
            return HKDF(
                hashes.SHA256(), SECRET_BYTES, salt=self._epoch_id, info=entry_info(kind)
            ).derive(joined)

    def _made(self, group: RecipientGroup) -> KeyGroup:
        recipients = _usable(group)
        secret = random_secret(SECRET_BYTES)
        with wiped(secret):
            extracted = HKDF.extract(hashes.SHA256(), self._epoch_id, secret)
            self._extracted.append((group.name, extracted))
            committed = bytearray(SECRET_BYTES)
            _expand_into(extracted, commitment_info(group.name), committed)
            files: tuple[bytes, ...] = ()
            behind: bytes | None = None
            if group.threshold == 1:
                files = (age_file(secret, recipients),)
            else:
                files, behind = self._shared(group, recipients, secret)
        return KeyGroup(group.name, group.threshold, bytes(committed), files, behind)

    def _shared(
        self, group: RecipientGroup, recipients: Sequence[Recipient], secret: bytearray
    ) -> tuple[tuple[bytes, ...], bytes]:
        """A share for each key, and S_g behind what they share."""
        between, key = random_secret(SHARED_BYTES), bytearray(SECRET_BYTES)
        with wiped(between, key):
            info = threshold_info(group.name)
            HKDF(hashes.SHA256(), SECRET_BYTES, salt=self._epoch_id, info=info).derive_into(
                between, key
            )
            behind = ChaCha20Poly1305(key).encrypt(ZERO_NONCE, secret, THRESHOLD_DATA)
            shares = split(between, group.threshold, len(recipients))
            with wiped(*shares):
                files = tuple(
                    age_file(share, [recipient])
                    for share, recipient in zip(shares, recipients, strict=True)
                )
        return files, behind


def _usable(group: RecipientGroup) -> list[Recipient]:
    """Each key once: who has one of two equal keys has both. Raises VaultError."""
    usable = [key for key in dict.fromkeys(group.recipients) if is_usable(key)]
    if not 1 <= group.threshold <= len(usable) <= MOST_KEYS:
        raise VaultError(
            f"recipients.{group.name}: {group.threshold} of its keys are needed, and of "
            f"{len(group.recipients)} there {len(usable)} can be used (at most {MOST_KEYS}); "
            "nobody could open what is sealed"
        )
    return usable


def _expand_into(extracted: bytes, info: bytes, place: bytearray | memoryview) -> None:
    HKDFExpand(hashes.SHA256(), SECRET_BYTES, info=info).derive_into(extracted, place)
