"""From a clip's records and the keys to tiles: which pixels go where in each frame.

Groups are opened one after the other, as their frames are asked for. A tile video is decoded from
its beginning, without a gap: where a packet is missing, nothing of it is shown until a new one
begins. What a decoder makes up for lost packets is no evidence.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import repeat

from ..errors import NothingOpened, RecordError
from ..evidence.body import TileItem, parse_motions, parse_tiles
from ..evidence.group_record import Entry, EntryKind, GroupRecord, Place
from ..frames import Motion, YuvPlanes
from ..vault.epoch_keys import open_entry
from ..vault.opening import EpochKeys
from .clip_records import ClipRecords, Epoch
from .gaps import NO_RECORD, NOT_DECODED, NOT_OPENED, NOT_SIGNED
from .signed import is_group_signed
from .tile_decoder import TileDecoder
from .video import Wanted

MOST_WAITING = 64  # frames: more than a decoder changes the order of


@dataclass(frozen=True, slots=True)
class Tile:
    """Camera's pixels of one frame."""

    kind: EntryKind
    track: int
    item: TileItem = field(repr=False)
    pixels: YuvPlanes = field(repr=False)  # of the item's rectangle


@dataclass(frozen=True, slots=True)
class MovedTile:
    """A track's last tile, and how it moved since."""

    key: Tile
    motion: Motion


@dataclass(slots=True)
class FrameTiles:
    """What is known of one frame."""

    tiles: list[Tile] = field(default_factory=list)
    moved: list[MovedTile] = field(default_factory=list)
    missing: list[tuple[int | None, str]] = field(default_factory=list)  # (track, why)

    @property
    def has_any(self) -> bool:
        """Something is to be laid in."""
        return bool(self.tiles or self.moved)


@dataclass(frozen=True, slots=True)
class Opening:
    """One epoch, and what the keys open of it."""

    epoch: Epoch
    keys: EpochKeys
    is_signed: bool  # its key record, by the service that was named or that it names itself


class ClipTiles:
    """All the tiles that are wanted and open."""

    def __init__(self, clip: ClipRecords, openings: Sequence[Opening], wanted: Wanted) -> None:
        """`openings`: of those of the clip's epochs that are needed, in their order."""
        self._wanted = wanted
        self._openings = list(openings)
        self._size_px = clip.size_px
        self._starts = [opening.epoch.start for opening in openings]
        self._seconds = clip.seconds
        self._reader: tuple[int, _EpochTiles] | None = None

    def opens_anything(self) -> bool:
        """Whether one entry that is asked for opens. No picture is decoded for that."""
        return any(map(self._opens, self._openings))

    def is_asked_for(self, position: int) -> bool:
        """Whether a frame lies in the time that is wanted."""
        return is_in_time(self._seconds[position], self._wanted)

    def at(self, position: int) -> FrameTiles:
        """Of a frame of the clip. They may be asked for in order, or nearly so."""
        index = bisect_right(self._starts, position) - 1
        if index < 0 or position >= self._openings[index].epoch.end:
            return FrameTiles(missing=[(None, NO_RECORD)])
        if self._reader is None or self._reader[0] != index:
            reader = _EpochTiles(self._openings[index], self._wanted, self._size_px)
            self._reader = index, reader
        return self._reader[1].at(position)

    def _opens(self, opening: Opening) -> bool:
        positions = opening.epoch.positions
        for group in opening.epoch.groups:
            for entry in group.entries if _is_signed(opening, group) else ():
                if not is_wanted(entry.place, self._wanted):
                    continue
                counters = (group.head.first + offset for offset in entry.place.offsets)
                here = (positions[counter] for counter in counters if counter in positions)
                if any(map(self.is_asked_for, here)) and _contents(opening, group, entry):
                    return True
        return False


class _EpochTiles:
    """One epoch, from its first group on."""

    def __init__(self, opening: Opening, wanted: Wanted, size_px: tuple[int, int]) -> None:
        self._opening = opening
        self._wanted = wanted
        self._size_px = size_px
        self._counters = {at: counter for counter, at in opening.epoch.positions.items()}
        self._upcoming = deque(opening.epoch.groups)
        self._next = 0  # frame counter that the next group should begin with
        self._videos: dict[tuple[EntryKind, int], TileDecoder] = {}
        self._keys: dict[int, tuple[int, Tile]] = {}  # track: (frame counter, last face tile)
        self._ready: dict[int, FrameTiles] = {}

    def at(self, position: int) -> FrameTiles:
        counter = self._counters.get(position)
        if counter is None:
            return FrameTiles(missing=[(None, NO_RECORD)])
        while self._upcoming and self._upcoming[0].head.first <= counter:
            self._open(self._upcoming.popleft())
        ready = self._ready.pop(counter, None)  # a frame without a face is empty, and no gap
        return ready if ready is not None else FrameTiles(missing=[(None, NO_RECORD)])

    def _open(self, group: GroupRecord) -> None:
        first = group.head.first
        if first < self._next:
            return  # once more what was there already
        if first > self._next:
            self._forget()  # what follows builds on what is missing
        self._next = first + len(group.head.digests)
        for counter in [old for old in self._ready if old < first - MOST_WAITING]:
            del self._ready[counter]
        frames = {first + i: FrameTiles() for i in range(len(group.head.digests))}
        self._ready |= frames
        is_good = _is_signed(self._opening, group)
        if not is_good:
            self._forget()
        found: list[tuple[int, Place, TileItem | Motion]] = []
        for entry in group.entries:
            place = entry.place
            if not is_wanted(place, self._wanted):
                continue
            counters = [first + offset for offset in place.offsets]
            contents = _contents(self._opening, group, entry) if is_good else None
            if contents is not None:
                found += zip(counters, repeat(place), contents)
                continue
            self._videos.pop((place.kind, place.track), None)
            for counter in counters:
                why = NOT_OPENED if is_good else NOT_SIGNED
                frames[counter].missing.append((place.track, why))
        # frame by frame: a motion needs the face before it, not that at the group's end
        for counter, place, content in sorted(found, key=lambda item: (item[0], item[1].kind)):
            self._make(counter, place, content, frames[counter])

    def _make(
        self, counter: int, place: Place, content: TileItem | Motion, frame: FrameTiles
    ) -> None:
        if isinstance(content, Motion):
            moved = self._moved(place.track, content)
            if moved is not None:
                frame.moved.append(moved)
                return
        else:
            tile = self._decoded(place, content, counter)
            if tile is not None:
                frame.tiles.append(tile)
                return
        frame.missing.append((place.track, NOT_DECODED))

    def _decoded(self, place: Place, item: TileItem, counter: int) -> Tile | None:
        name = place.kind, place.track
        if item.starts_video:
            self._videos.setdefault(name, TileDecoder())
        decoder = self._videos.get(name)
        pixels = decoder.decode(item) if decoder is not None else None
        if pixels is None or not _fits(item, self._size_px):
            self._videos.pop(name, None)
            return None
        tile = Tile(place.kind, place.track, item, pixels)
        if place.kind is EntryKind.FACE:
            self._keys[place.track] = counter, tile
        return tile

    def _moved(self, track: int, motion: Motion) -> MovedTile | None:
        counter, key = self._keys.get(track, (-1, None))
        if key is None or counter != motion.key_number:
            return None
        return MovedTile(key, motion)

    def _forget(self) -> None:
        self._videos.clear()
        self._keys.clear()


def is_in_time(seconds: float, wanted: Wanted) -> bool:
    """Both ends are in it. `seconds` from the clip's first frame on."""
    return wanted.from_seconds <= seconds <= wanted.to_seconds


def is_wanted(place: Place, wanted: Wanted) -> bool:
    """Chosen people are shown alone: what two may own is then shown of neither."""
    if not wanted.tracks:
        return True
    return place.kind is not EntryKind.SCENE and place.track in wanted.tracks


def _is_signed(opening: Opening, group: GroupRecord) -> bool:
    """Whether the service said so. What was altered since, anywhere, is not opened."""
    return opening.is_signed and is_group_signed(opening.epoch.record, group)


def _contents(
    opening: Opening, group: GroupRecord, entry: Entry
) -> Sequence[TileItem | Motion] | None:
    """One for each frame in which the entry is; None where it does not open."""
    place = entry.place
    key = opening.keys.key_for(place.kind, place.track)
    if key is None:
        return None
    contents: Sequence[TileItem | Motion]
    try:
        plain = open_entry(key, opening.epoch.record.context, group.head, entry)
        contents = parse_motions(plain) if place.kind is EntryKind.MOTION else parse_tiles(plain)
    except (NothingOpened, RecordError):
        return None
    return contents if len(contents) == len(place.offsets) else None


def _fits(item: TileItem, size_px: tuple[int, int]) -> bool:
    """Whether it can be laid in: what opened was sealed by a service, but by which one?"""
    x, y, width, height = item.box_xywh_px
    return x + width <= size_px[0] and y + height <= size_px[1]
