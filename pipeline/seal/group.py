"""From the parts of up to eight frames to one signed group record."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence

from ..evidence.body import TileItem, encode_motions, encode_tiles
from ..evidence.group_record import EntryKind, GroupHead, GroupRecord, Place
from ..frames import Motion
from ..vault.epoch import EpochSecrets
from ..vault.epoch_keys import seal_entry
from .tiles import Part

Sign = Callable[[bytes], bytes]


def group_record(
    head: GroupHead,
    frames: Sequence[Sequence[Part]],
    *,
    context: bytes,
    secrets: EpochSecrets,
    sign: Sign,
) -> GroupRecord:
    """`frames`: the parts of each of the head's frames, in their order.

    Raises RecordError where there is too much for one record, VaultError.
    """
    by_entry: dict[tuple[EntryKind, int], list[tuple[int, Part]]] = defaultdict(list)
    for offset, parts in enumerate(frames):
        for part in parts:
            by_entry[part.kind, part.track].append((offset, part))
    entries = []
    for (kind, track), found in sorted(by_entry.items()):
        place = Place(kind, track, sum(1 << offset for offset, _ in found), found[0][1].box_xywh_px)
        key = secrets.key_for(kind, track)
        entries.append(seal_entry(key, context, head, place, _plain([p for _, p in found])))
    record = GroupRecord(head, tuple(entries))
    return record.signed(sign(record.to_sign(context)))


def _plain(parts: Sequence[Part]) -> bytes:
    contents = [part.content for part in parts]
    tiles = [content for content in contents if isinstance(content, TileItem)]
    if tiles:
        return encode_tiles(tiles)
    return encode_motions([content for content in contents if isinstance(content, Motion)])
