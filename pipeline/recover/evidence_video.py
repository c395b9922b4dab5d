"""One pass: the clip's pictures in, the same with the tiles that open laid in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ..errors import SourceError
from ..evidence.group_record import EntryKind
from .clip_pictures import ClipPictures, Picture
from .clip_records import ClipRecords
from .evidence import ClipTiles, FrameTiles
from .gaps import NO_PICTURE, Gaps
from .lay import lay
from .stills import Stills
from .video import RecoveredVideo, writable_planes


@dataclass(slots=True)
class EvidenceCounts:
    """What came out; for the report."""

    frames: int = 0  # written
    recovered_frames: int = 0  # with at least one face
    faces: int = 0  # one face in one frame
    moved: int = 0  # those that are another frame's, moved
    scenes: int = 0  # pixels of several people, in one frame
    tracks: set[int] = field(default_factory=set)

    @property
    def shown(self) -> int:
        """All of it; 0 where nothing opened."""
        return self.faces + self.moved + self.scenes


def lay_tiles_in(
    pictures: ClipPictures,
    clip: ClipRecords,
    tiles: ClipTiles,
    writer: RecoveredVideo,
    *,
    gaps: Gaps,
    stills: Stills,
    progress: Callable[[int], None] = lambda _frames: None,
) -> EvidenceCounts:
    """Write every frame and the audio. Raises SourceError, SinkError."""
    counts = EvidenceCounts()
    seconds = clip.seconds
    unseen = {frame.position for frame in clip.frames if tiles.is_asked_for(frame.position)}
    for item in pictures.read():
        if not isinstance(item, Picture):
            writer.copy_audio(item)
            continue
        has_moved = False
        if item.position in unseen:
            unseen.remove(item.position)
            here = tiles.at(item.position)
            for track, why in here.missing:
                gaps.add([item.position], why, track)
            if here.has_any:
                has_moved = _lay_in(item, here, seconds[item.position], clip.size_px, stills)
                _count(counts, here)
        writer.write(item.image, has_moved=has_moved)
        counts.frames += 1
        progress(counts.frames)
    gaps.add(unseen, NO_PICTURE)
    return counts


def _lay_in(
    picture: Picture, here: FrameTiles, seconds: float, size_px: tuple[int, int], stills: Stills
) -> bool:
    image = picture.image
    if (image.width, image.height) != size_px:
        raise SourceError(
            f"the clip's pictures are {image.width}x{image.height} and not {size_px[0]}x"
            f"{size_px[1]} from frame {picture.position} on; cut it there and recover the parts"
        )
    planes = writable_planes(image)
    stills.before(planes, here, picture.position, seconds)
    has_moved = lay(planes, here)
    stills.after(planes, image)
    return has_moved


def _count(counts: EvidenceCounts, here: FrameTiles) -> None:
    counts.recovered_frames += 1
    counts.moved += len(here.moved)
    counts.tracks |= {moved.key.track for moved in here.moved}
    for tile in here.tiles:
        if tile.kind is EntryKind.SCENE:
            counts.scenes += 1
        else:
            counts.faces += 1
            counts.tracks.add(tile.track)
