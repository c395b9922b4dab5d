"""Records of the format bauta/1 with made-up keys and seals: every field another value."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from pipeline.evidence.body import TileItem, mask_bits
from pipeline.evidence.group_record import Entry, EntryKind, GroupHead, GroupRecord, Place
from pipeline.evidence.key_record import KeyGroup, KeyRecord
from pipeline.frames import MOTION_CELLS, Motion


def filler(seed: int, size: int) -> bytes:
    """The same for the same seed."""
    return np.random.default_rng(seed).bytes(size)


def a_group(name: str = "police", seed: int = 1) -> KeyGroup:
    return KeyGroup(name, 1, filler(seed, 32), (filler(seed, 200),), None)


def a_threshold_group(name: str = "court", seed: int = 2, *, threshold: int = 2) -> KeyGroup:
    shares = tuple(filler(seed + at, 60 + at) for at in range(threshold + 1))
    return KeyGroup(name, threshold, filler(seed, 32), shares, filler(seed, 48))


def a_key_record() -> KeyRecord:
    return KeyRecord(
        epoch_id=filler(10, 16),
        previous_id=filler(11, 16),
        previous_frames=250,
        sequence=7,
        started_utc_ms=1_790_000_000_123,
        width_px=1920,
        height_px=1080,
        detail="lossless",
        site="Gare du Nord",
        camera="quai n° 3",
        service_key=filler(12, 32),
        groups=(a_threshold_group(), a_group()),
        digest=filler(13, 16),
        parameters=filler(17, 16),
        signature=filler(14, 64),
    )


def an_entry(kind: EntryKind = EntryKind.FACE, track: int = 5, presence: int = 0b11) -> Entry:
    return Entry(Place(kind, track, presence, (10, 20, 30, 40)), filler(track, 144))


def a_group_record() -> GroupRecord:
    head = GroupHead(filler(10, 16), 16, tuple(filler(at, 16) for at in range(8)), is_last=True)
    entries = (
        an_entry(track=5),
        an_entry(track=6, presence=0x80),
        replace(an_entry(EntryKind.MOTION), sealed=filler(9, 16)),
        an_entry(EntryKind.SCENE),
    )
    return GroupRecord(head, entries, filler(15, 64))


def some_tiles() -> tuple[TileItem, ...]:
    mask = np.zeros((12, 25), np.uint8)
    mask[3:9, 4:20] = 1
    return (
        TileItem(True, (100, 200, 50, 24), filler(20, 300), mask_bits(mask)),
        TileItem(False, (102, 198, 50, 24), filler(21, 40)),
        TileItem(False, (104, 198, 64, 32), b""),
    )


def some_motions() -> tuple[Motion, ...]:
    still = np.zeros((MOTION_CELLS, MOTION_CELLS, 2), np.int16)
    wild = np.random.default_rng(3).integers(-32_768, 32_767, still.shape, np.int16)
    return (
        Motion(8, (-6, 40, 96), (-4, 42, 98), still),
        Motion(8, (-6, 40, 96), (-2, 44, 100), wild),
    )
