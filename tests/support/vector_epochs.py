"""Epochs with fixed secrets, and all that is to be known of them: what test vectors are made of."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from unittest.mock import patch

import numpy as np
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from pipeline.evidence.body import TileItem, encode_motions, encode_tiles
from pipeline.evidence.group_record import (
    SCENE_TRACK,
    EntryKind,
    GroupHead,
    GroupRecord,
    Place,
)
from pipeline.evidence.key_record import NO_EPOCH, KeyGroup, KeyRecord
from pipeline.evidence.nal import ANNEX_B, parameter_digest, slice_digest, split_nals
from pipeline.frames import Motion, OriginalTile, U8Array, YuvPlanes
from pipeline.seal.tile_encoder import TileEncoder
from pipeline.vault.epoch_keys import (
    THRESHOLD_DATA,
    ZERO_NONCE,
    commitment,
    entry_key,
    hkdf,
    seal_entry,
    threshold_info,
    track_secret,
)
from pipeline.vault.threshold import split

from .vector_seeds import age_file, seeded, signer


@dataclass(frozen=True, slots=True)
class Readers:
    """A group of recipients."""

    name: str
    threshold: int
    people: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Sealed:
    """An entry before it is sealed."""

    kind: EntryKind
    track: int
    offsets: tuple[int, ...]
    contents: tuple[TileItem, ...] | tuple[Motion, ...]
    plain: bytes = b""  # instead of what the contents come to

    @property
    def place(self) -> Place:
        first = self.contents[0]
        if isinstance(first, TileItem):
            box = first.box_xywh_px
        else:
            x, y, side = first.xys_px
            box = max(x, 0), max(y, 0), side, side
        return Place(self.kind, self.track, sum(1 << at for at in self.offsets), box)

    @property
    def padded(self) -> bytes:
        if self.plain:
            return self.plain
        tiles = [item for item in self.contents if isinstance(item, TileItem)]
        motions = [item for item in self.contents if isinstance(item, Motion)]
        return encode_tiles(tiles) if tiles else encode_motions(motions)


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """An epoch that is to be made; `groups`: how many frames, and what is sealed of them."""

    name: str
    about: str
    detail: str = "default"
    site: str = "North"
    camera: str = "gate-3"
    sequence: int = 0
    previous_id: bytes = NO_EPOCH
    previous_frames: int = 0
    readers: tuple[Readers, ...]
    groups: tuple[tuple[int, tuple[Sealed, ...]], ...]
    ends: bool = True  # the last group is known to be that
    service: str = "service"
    opens_with: tuple[tuple[str, ...], ...]

    @property
    def epoch_id(self) -> bytes:
        return seeded(f"{self.name}/epoch", 16)

    def secret(self, group: str) -> bytes:
        """S_g"""
        return seeded(f"{self.name}/{group}/S", 32)

    def shared(self, group: str) -> bytes:
        """W"""
        return seeded(f"{self.name}/{group}/W", 16)


@dataclass(frozen=True, slots=True)
class Made:
    """A sealed epoch."""

    plan: Plan
    frames: tuple[bytes, ...]  # Annex B, without records
    record: KeyRecord
    groups: tuple[GroupRecord, ...]
    shares: Mapping[str, Sequence[bytes]] = field(default_factory=dict)

    def key(self, kind: int, track: int) -> bytes:
        """Of an entry."""
        of = SCENE_TRACK if kind == EntryKind.SCENE else track
        secrets = [
            track_secret(
                self.plan.secret(group.name),
                self.plan.epoch_id,
                self.record.context,
                group.name,
                of,
            )
            for group in self.plan.readers
        ]
        return entry_key(secrets, self.plan.epoch_id, EntryKind(kind))


# --- making ---


def shares_of(plan: Plan, group: Readers) -> list[bytes]:
    """Of W, on a polynomial with fixed coefficients."""
    coefficients: Iterator[bytes] = (
        seeded(f"{plan.name}/{group.name}/coefficient {at}", 16) for at in range(63)
    )
    with patch("pipeline.vault.threshold.random_secret", lambda _: bytearray(next(coefficients))):
        made = split(bytearray(plan.shared(group.name)), group.threshold, len(group.people))
    return [bytes(share) for share in made]


def key_group(plan: Plan, group: Readers, shares: Sequence[bytes] | None = None) -> KeyGroup:
    """`shares`: instead of the right ones."""
    secret, label = plan.secret(group.name), f"{plan.name}/{group.name}"
    committed = commitment(secret, plan.epoch_id, group.name)
    if group.threshold == 1:
        return KeyGroup(group.name, 1, committed, (age_file(secret, group.people, label),), None)
    files = tuple(
        age_file(share, [reader], f"{label}/{reader}")
        for share, reader in zip(shares or shares_of(plan, group), group.people, strict=True)
    )
    key = hkdf(plan.shared(group.name), plan.epoch_id, threshold_info(group.name))
    behind = ChaCha20Poly1305(key).encrypt(ZERO_NONCE, secret, THRESHOLD_DATA)
    return KeyGroup(group.name, group.threshold, committed, files, behind)


def made(plan: Plan, key_groups: Sequence[KeyGroup] | None = None) -> Made:
    """`key_groups`: instead of the right ones."""
    count = sum(frames for frames, _ in plan.groups)
    frames = tuple(a_frame(plan.name, at) for at in range(count))
    digests = [slice_digest(split_nals(frame, ANNEX_B), "h264") for frame in frames]
    service = signer(plan.service)
    record = KeyRecord(
        epoch_id=plan.epoch_id,
        previous_id=plan.previous_id,
        previous_frames=plan.previous_frames,
        sequence=plan.sequence,
        started_utc_ms=1_790_000_000_123,
        width_px=96,
        height_px=64,
        detail=plan.detail,
        site=plan.site,
        camera=plan.camera,
        service_key=service.public,
        groups=tuple(key_groups or [key_group(plan, group) for group in plan.readers]),
        digest=digests[0],
        parameters=parameter_digest(split_nals(frames[0], ANNEX_B), "h264"),
    )
    record = record.signed(service.sign(record.to_sign))
    shares = {group.name: shares_of(plan, group) for group in plan.readers if group.threshold > 1}
    bare = Made(plan, frames, record, (), shares)
    groups, first = [], 0
    for count, entries in plan.groups:
        is_last = plan.ends and first + count == len(frames)
        head = GroupHead(plan.epoch_id, first, tuple(digests[first : first + count]), is_last)
        groups.append(sealed_group(bare, head, entries))
        first += count
    return replace(bare, groups=tuple(groups))


def sealed_group(epoch: Made, head: GroupHead, entries: Sequence[Sealed]) -> GroupRecord:
    context = epoch.record.context
    sealed = [
        seal_entry(epoch.key(entry.kind, entry.track), context, head, entry.place, entry.padded)
        for entry in entries
    ]
    return signed_group(epoch, GroupRecord(head, tuple(sealed)))


def signed_group(epoch: Made, group: GroupRecord) -> GroupRecord:
    service = signer(epoch.plan.service)
    return group.signed(service.sign(group.to_sign(epoch.record.context)))


def a_frame(label: str, at: int) -> bytes:
    """No picture, but what frames one: parameter sets with the first, two slices in the second."""
    kinds = {0: (0x67, 0x68, 0x65), 1: (0x41, 0x41)}.get(at, (0x41,))
    packet = b""
    for place, kind in enumerate(kinds):
        body = bytes(byte | 0x11 for byte in seeded(f"{label}/frame {at}/{place}", 6))
        packet += b"\0\0\0\1" + bytes((kind,)) + body
    return packet


def tiles(
    boxes: Sequence[tuple[int, int, int, int]],
    masks: Sequence[bool],
    *,
    lossless: bool = False,
    shade: int = 0,
) -> list[TileItem]:
    """A tile video of made pictures; `masks`: which of them have one."""
    encoder, items = TileEncoder(lossless=lossless), []
    for at, ((x, y, width, height), has_mask) in enumerate(zip(boxes, masks, strict=True)):
        rows, columns = np.mgrid[0:height, 0:width]
        luma = ((columns * 5 + rows * 3 + at * 7 + shade) % 200 + 20).astype(np.uint8)
        half = (height // 2, width // 2)
        planes = YuvPlanes(luma, np.full(half, 100 + at, np.uint8), np.full(half, 140, np.uint8))
        owned: U8Array | None = None
        if has_mask:
            rows, columns = np.mgrid[-1 : 1 : half[0] * 1j, -1 : 1 : half[1] * 1j]
            owned = (rows**2 + columns**2 <= 1 + at / 20).astype(np.uint8)
        items.append(encoder.encode(OriginalTile(1, x, y, planes, owned)))
    encoder.close()
    return items


def opens(groups: Sequence[GroupRecord]) -> list[list[int]]:
    """first, kind, track, presence of every entry"""
    return [
        [group.head.first, int(entry.place.kind), entry.place.track, entry.place.presence]
        for group in groups
        for entry in group.entries
    ]
