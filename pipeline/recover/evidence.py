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

from ..errors import NothingOpened, RecordError
from ..evidence.body import TileItem, parse_motions, parse_tiles
from ..evidence.group_record import Entry, EntryKind, GroupRecord, Place
from ..frames import Motion, YuvPlanes
from ..vault.epoch_keys import open_entry
from ..vault.opening import EpochKeys
from .claims import Box, Claim, claims_of
from .clip_records import ClipRecords, Epoch
from .gaps import NO_RECORD, NOT_DECODED, NOT_OPENED, NOT_SIGNED, OTHER_SIZE, TOO_MUCH
from .signed import is_group_signed
from .tile_decoder import MOST_PX, TileDecoder
from .video import Wanted

MOST_WAITING = 16  # frames: H.264 and H.265 change the order of no more

# A sealed clip may be made up to cost, by anybody who has the recipients' public keys. What people
# cover in a picture, each with a margin, is less than this:
MOST_COVER = 8  # times the picture, of all that is laid into one frame
MOST_VIDEO_COVER = 16  # of the pictures of all tile videos that are open at once ...
MOST_VIDEOS = 512  # ... and how many, of 0.6 MB each
_SPARE_PX = 2**22  # small pictures have small tiles, whose videos are larger than these
MOST_SIDES = 2  # of the picture's larger side: a motion's squares


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
    within_px: Box | None = None  # x, y, w, h: its own rectangle, where a record says it openly


@dataclass(slots=True)
class FrameTiles:
    """What is known of one frame."""

    tiles: list[Tile] = field(default_factory=list)
    moved: list[MovedTile] = field(default_factory=list)
    missing: list[tuple[int | None, str]] = field(default_factory=list)  # (track, why)
    claims: Sequence[Claim] = ()  # over whose rectangles nobody else's face may be moved
    covered_px: int = 0  # by all that is laid in

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


@dataclass(frozen=True, slots=True)
class _Sealed:
    """One frame's part of an entry."""

    counter: int
    place: Place
    content: TileItem | Motion | None = field(repr=False)  # None: there is no room for it
    is_first: bool  # of its entry's frames: the one whose rectangle the record says


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
        """Whether a frame lies in the time that is wanted, and in an epoch that is."""
        if not is_in_time(self._seconds[position], self._wanted):
            return False
        if self._wanted.selection is None:
            return True
        index = self._index_at(position)
        if index is None:
            return False
        return self._wanted.epoch(self._openings[index].epoch.record.epoch_id)

    def at(self, position: int) -> FrameTiles:
        """Of a frame of the clip. They may be asked for in order, or nearly so."""
        index = self._index_at(position)
        if index is None:
            return FrameTiles(missing=[(None, NO_RECORD)])
        if self._reader is None or self._reader[0] != index:
            reader = _EpochTiles(self._openings[index], self._wanted, self._size_px)
            self._reader = index, reader
        return self._reader[1].at(position)

    def _index_at(self, position: int) -> int | None:
        """Of the opening that a frame of the clip is in."""
        index = bisect_right(self._starts, position) - 1
        is_inside = index >= 0 and position < self._openings[index].epoch.end
        return index if is_inside else None

    def _opens(self, opening: Opening) -> bool:
        if not is_size_as_sealed(opening.epoch, self._size_px):
            return False
        positions = opening.epoch.positions
        for group in opening.epoch.groups:
            for entry in group.entries if _is_signed(opening, group) else ():
                if not is_wanted(entry.place, self._wanted, opening.epoch.record.epoch_id):
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
        self._epoch_id = opening.epoch.record.epoch_id
        self._wanted = wanted
        self._size_px = size_px
        self._counters = {at: counter for counter, at in opening.epoch.positions.items()}
        self._upcoming = deque(opening.epoch.groups)
        self._next = 0  # frame counter that the next group should begin with
        self._videos: dict[tuple[EntryKind, int], TileDecoder] = {}
        self._keys: dict[int, tuple[int, Tile]] = {}  # track: (frame counter, last face tile)
        self._ready: dict[int, FrameTiles] = {}
        self._waiting: deque[_Sealed] = deque()  # opened, and not decoded yet; in order

    def at(self, position: int) -> FrameTiles:
        if not is_size_as_sealed(self._opening.epoch, self._size_px):
            return FrameTiles(missing=[(None, OTHER_SIZE)])
        counter = self._counters.get(position)
        if counter is None:
            return FrameTiles(missing=[(None, NO_RECORD)])
        while self._upcoming and self._upcoming[0].head.first <= counter:
            group = self._upcoming.popleft()
            self._decode_until(group.head.first)
            self._open(group)
        self._decode_until(counter + 1)
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
        claims = self._claims(group)
        frames = {first + i: FrameTiles(claims=here) for i, here in enumerate(claims)}
        self._ready |= frames
        is_good = _is_signed(self._opening, group)
        if not is_good:
            self._forget()
        found: list[_Sealed] = []
        for entry in group.entries:
            place = entry.place
            if not is_wanted(place, self._wanted, self._epoch_id):
                continue
            counters = [first + offset for offset in place.offsets]
            contents = _contents(self._opening, group, entry) if is_good else None
            if contents is not None:
                for counter, content in zip(counters, contents, strict=True):
                    kept = content if self._has_room(frames[counter], content) else None
                    found.append(_Sealed(counter, place, kept, counter == counters[0]))
                continue
            self._videos.pop((place.kind, place.track), None)
            for counter in counters:
                why = NOT_OPENED if is_good else NOT_SIGNED
                frames[counter].missing.append((place.track, why))
        # frame by frame: a motion needs the face before it, not that at the group's end
        self._waiting.extend(sorted(found, key=lambda item: (item.counter, item.place.kind)))

    def _claims(self, group: GroupRecord) -> list[list[Claim]]:
        """Where everybody is shown nobody needs to be kept out."""
        if not self._wanted.tracks and self._wanted.selection is None:
            return [[] for _ in group.head.digests]
        return claims_of(group, self._upcoming[0] if self._upcoming else None)

    def _has_room(self, frame: FrameTiles, content: TileItem | Motion) -> bool:
        """Counted before anything is decoded, and what has no room is not kept."""
        width, height = self._size_px
        if isinstance(content, Motion):
            sides = content.xys_px[2], content.key_xys_px[2]
            if max(sides) > MOST_SIDES * max(width, height):
                return False
            area = sides[0] ** 2
        elif _fits(content, self._size_px):
            area = content.box_xywh_px[2] * content.box_xywh_px[3]
        else:
            return False
        if frame.covered_px + area > MOST_COVER * width * height + _SPARE_PX:
            return False
        frame.covered_px += area
        return True

    def _decode_until(self, end: int) -> None:
        """All that is sealed of the frames before the counter `end`."""
        while self._waiting and self._waiting[0].counter < end:
            sealed = self._waiting.popleft()
            frame = self._ready.get(sealed.counter, FrameTiles())
            self._make(sealed, frame)

    def _make(self, sealed: _Sealed, frame: FrameTiles) -> None:
        place, content = sealed.place, sealed.content
        if content is None:
            self._videos.pop((place.kind, place.track), None)
            frame.missing.append((place.track, TOO_MUCH))
            return
        if isinstance(content, Motion):
            within = place.box_xywh_px if sealed.is_first else None
            moved = self._moved(place.track, content, within)
            if moved is not None:
                frame.moved.append(moved)
                return
        else:
            tile = self._decoded(place, content, sealed.counter)
            if tile is not None:
                frame.tiles.append(tile)
                return
        frame.missing.append((place.track, NOT_DECODED))

    def _decoded(self, place: Place, item: TileItem, counter: int) -> Tile | None:
        name = place.kind, place.track
        if item.starts_video:
            self._videos.pop(name, None)
            if (left_px := self._room_for_video()) > 0:
                self._videos[name] = TileDecoder(left_px)
        decoder = self._videos.get(name)
        pixels = decoder.decode(item) if decoder is not None else None
        if pixels is None:
            self._videos.pop(name, None)
            return None
        tile = Tile(place.kind, place.track, item, pixels)
        if place.kind is EntryKind.FACE:
            self._keys[place.track] = counter, tile
        return tile

    def _room_for_video(self) -> int:
        """Pixels that a picture of one more tile video may have."""
        if len(self._videos) >= MOST_VIDEOS:
            return 0
        most = MOST_VIDEO_COVER * self._size_px[0] * self._size_px[1] + _SPARE_PX
        left = most - sum(decoder.picture_px for decoder in self._videos.values())
        return min(left, MOST_PX**2)

    def _moved(self, track: int, motion: Motion, within: Box | None) -> MovedTile | None:
        counter, key = self._keys.get(track, (-1, None))
        if key is None or counter != motion.key_number:
            return None
        return MovedTile(key, motion, within)

    def _forget(self) -> None:
        self._videos.clear()
        self._keys.clear()


def is_size_as_sealed(epoch: Epoch, size_px: tuple[int, int]) -> bool:
    """Whether a clip's pictures have the size of which its faces were sealed."""
    return (epoch.record.width_px, epoch.record.height_px) == size_px


def is_in_time(seconds: float, wanted: Wanted) -> bool:
    """Both ends are in it. `seconds` from the clip's first frame on."""
    return wanted.from_seconds <= seconds <= wanted.to_seconds


def is_wanted(place: Place, wanted: Wanted, epoch_id: bytes) -> bool:
    """Chosen people are shown alone: what two may own is then shown of neither."""
    if wanted.selection is not None:
        chosen = wanted.selection.get(epoch_id, frozenset())
        return place.kind is not EntryKind.SCENE and place.track in chosen
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
