"""From a frame's originals to the packets of tile videos, or motions: what will be sealed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import numpy as np

from ..evidence.body import TileItem
from ..evidence.group_record import EntryKind
from ..frames import MOTION_CELLS, CarriedFace, FrameOriginals, Motion, OriginalTile

Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Part:
    """What one frame adds to one entry of its group."""

    kind: EntryKind
    track: int
    box_xywh_px: Box
    content: TileItem | Motion = field(repr=False)


@dataclass(frozen=True, slots=True)
class FrameToSeal:
    """One frame on its way through the seal stage."""

    counter: int  # in its epoch
    seconds: float  # output clock
    originals: FrameOriginals | None  # None: obscured whole, or there are none
    carried: tuple[CarriedFace, ...] = ()  # how the protector moved its keyframes
    fused_tracks: frozenset[int] = frozenset()  # where it has a keyframe


class TileEncoder(Protocol):
    """See tile_encoder.py."""

    def encode(self, tile: OriginalTile) -> TileItem: ...

    def close(self) -> None: ...


OpenEncoder = Callable[[], TileEncoder]


@dataclass(frozen=True, slots=True)
class _Key:
    """A track's last whole tile, with detail `keyframes`."""

    counter: int
    number: int  # as the gate counts: what the protector's motions name
    seconds: float
    box_xywh_px: Box


class TileStreams:
    """The tile videos of one camera. Used by one thread; a new epoch begins them all anew."""

    def __init__(self, open_encoder: OpenEncoder, *, key_every_seconds: float | None) -> None:
        """`key_every_seconds`: whole tiles only so often, motions between; None: every frame."""
        self._open_encoder = open_encoder
        self._key_every_seconds = key_every_seconds
        self._encoders: dict[tuple[EntryKind, int], TileEncoder] = {}
        self._keys: dict[int, _Key] = {}

    def encode(self, frame: FrameToSeal) -> tuple[Part, ...]:
        """What of this frame is to be sealed. Whatever the tile codec raises comes through."""
        if frame.counter == 0:
            self.close()
        if frame.originals is None:
            return ()
        parts = [self._face(tile, frame) for tile in frame.originals.faces]
        # a scene tile without its motion would tell nothing: they are coded whole each time
        parts += [self._tile(EntryKind.SCENE, tile) for tile in frame.originals.scenes]
        return tuple(parts)

    def close(self) -> None:
        """Forget every video. Idempotent."""
        for encoder in self._encoders.values():
            encoder.close()
        self._encoders.clear()
        self._keys.clear()

    def _face(self, tile: OriginalTile, frame: FrameToSeal) -> Part:
        if self._key_every_seconds is None:
            return self._tile(EntryKind.FACE, tile)
        assert frame.originals is not None
        key = self._keys.get(tile.track_id)
        if (
            key is None
            or tile.track_id in frame.fused_tracks
            or frame.seconds - key.seconds >= self._key_every_seconds
        ):
            self._keys[tile.track_id] = _Key(
                frame.counter, frame.originals.number, frame.seconds, tile.xywh_px
            )
            self._drop(EntryKind.FACE, tile.track_id)  # a keyframe needs no earlier one
            return self._tile(EntryKind.FACE, tile)
        motion = _motion(key, tile, frame.carried)
        return Part(EntryKind.MOTION, tile.track_id, tile.xywh_px, motion)

    def _tile(self, kind: EntryKind, tile: OriginalTile) -> Part:
        name = kind, tile.track_id
        if name not in self._encoders:
            self._encoders[name] = self._open_encoder()
        item = self._encoders[name].encode(tile)
        return Part(kind, tile.track_id, tile.xywh_px, item)

    def _drop(self, kind: EntryKind, track: int) -> None:
        if (encoder := self._encoders.pop((kind, track), None)) is not None:
            encoder.close()


def _motion(key: _Key, tile: OriginalTile, carried: Sequence[CarriedFace]) -> Motion:
    """The protector's, where it moved the very same keyframe; else how the rectangle moved."""
    for face in carried:
        if face.track_id == tile.track_id and face.motion.key_number == key.number:
            return replace(face.motion, key_number=key.counter)
    still = np.zeros((MOTION_CELLS, MOTION_CELLS, 2), np.int16)
    return Motion(key.counter, _square(key.box_xywh_px), _square(tile.xywh_px), still)


def _square(box_xywh_px: Box) -> tuple[int, int, int]:
    """(left, top, side), even, about the same middle."""
    x, y, width, height = box_xywh_px
    side = max(width, height)
    return x + (width - side) // 4 * 2, y + (height - side) // 4 * 2, side
