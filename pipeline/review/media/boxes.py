"""ISO media boxes, taken apart with every length and number checked: the bytes are a disk's."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ...errors import RecordingError

MOST_TRACKS = 64  # of a recording
MOST_CHILDREN = 4096  # of a box: the boxes in it
_HEADER_BYTES = 8
_LARGE_HEADER_BYTES = 16
_VISUAL_ENTRY_BYTES = 78  # of a sample entry, before its boxes
_AUDIO_ENTRY_BYTES = 28
_ES, _DECODER_CONFIG, _DECODER_SPECIFIC = 0x03, 0x04, 0x05
_AAC = 0x40


@dataclass(frozen=True, slots=True)
class Track:
    """One of the header's tracks."""

    number: int
    handler: bytes  # b"vide", b"soun"
    timescale: int  # ticks a second
    format: bytes  # of its first sample entry, such as b"avc1"
    codec: str | None  # as media types name it; None: none that browsers play
    width: int = 0
    height: int = 0
    default_duration: int = 0  # ticks of a sample, where a fragment does not say


@dataclass(frozen=True, slots=True)
class Header:
    """What `moov` says."""

    tracks: tuple[Track, ...]
    is_fragmented: bool

    @property
    def video(self) -> Track | None:
        """The picture."""
        return next((track for track in self.tracks if track.handler == b"vide"), None)


@dataclass(frozen=True, slots=True)
class Run:
    """The samples of one track in one fragment."""

    samples: int
    ticks: int  # how long they last
    begins_at: int | None  # decoding time in ticks; None: where the one before ends
    is_key: bool  # the first of them can be decoded alone
    track: int
    is_movable: bool  # nothing in it counts bytes from the file's beginning


def box_header(data: bytes, room: int) -> tuple[bytes, int, int]:
    """(type, bytes of the header, bytes of the whole box) of a box that has `room` bytes at most.

    A box that ends later than its room has its true size here. Raises RecordingError.
    """
    if len(data) < _HEADER_BYTES:
        raise damaged("a box has no header")
    size, kind = struct.unpack_from(">I4s", data)
    header = _HEADER_BYTES
    if size == 1:
        if len(data) < _LARGE_HEADER_BYTES:
            raise damaged("a box has no header")
        (size,) = struct.unpack_from(">Q", data, _HEADER_BYTES)
        header = _LARGE_HEADER_BYTES
    elif size == 0:  # to the end of the file
        size = room
    if size < header:
        raise damaged("a box is shorter than its header")
    return kind, header, size


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(type, content) of each. Raises RecordingError where one ends outside, or for too many."""
    at = 0
    for _ in range(MOST_CHILDREN):
        if at >= len(data):
            return
        kind, header, size = box_header(data[at : at + _LARGE_HEADER_BYTES], len(data) - at)
        if size > len(data) - at:
            raise damaged("a box ends outside of the one it lies in")
        yield kind, data[at + header : at + size]
        at += size
    if at < len(data):
        raise damaged(f"there are more than {MOST_CHILDREN} boxes in one")


def child(data: bytes, *path: bytes) -> bytes | None:
    """The content of the first box along the path; None where there is none."""
    for wanted in path:
        found = next((content for kind, content in boxes(data) if kind == wanted), None)
        if found is None:
            return None
        data = found
    return data


def parse_header(moov: bytes) -> Header:
    """Raises RecordingError."""
    extends = child(moov, b"mvex")
    defaults = dict(_extends(extends)) if extends is not None else {}
    contents = [content for kind, content in boxes(moov) if kind == b"trak"]
    if len(contents) > MOST_TRACKS:
        raise damaged(f"it has more than {MOST_TRACKS} tracks")
    tracks = [_track(content, defaults) for content in contents]
    return Header(tuple(track for track in tracks if track is not None), extends is not None)


def parse_fragment(moof: bytes, header: Header) -> Iterator[Run]:
    """Of each track that the header knows. Raises RecordingError."""
    tracks = {track.number: track for track in reversed(header.tracks)}
    for kind, content in boxes(moof):
        if kind == b"traf":
            run = _run(content, tracks)
            if run is not None:
                yield run


def damaged(what: str) -> RecordingError:
    """What all of this raises."""
    return RecordingError(f"the recording is damaged: {what}")


# --- moov ---


def _extends(mvex: bytes) -> Iterator[tuple[int, int]]:
    for kind, content in boxes(mvex):
        if kind == b"trex":
            _, number, _, duration = _unpacked(">4I", content)
            yield number, duration


def _track(trak: bytes, defaults: dict[int, int]) -> Track | None:
    head, media = child(trak, b"tkhd"), child(trak, b"mdia")
    if head is None or media is None:
        raise damaged("a track has no header")
    is_long = head[:1] == b"\1"
    (number,) = _unpacked(">I", head, 20 if is_long else 12)
    media_head, handler = child(media, b"mdhd"), child(media, b"hdlr")
    entries = child(media, b"minf", b"stbl", b"stsd")
    if media_head is None or handler is None or entries is None:
        raise damaged("a track does not say what it is")
    (timescale,) = _unpacked(">I", media_head, 20 if media_head[:1] == b"\1" else 12)
    if not timescale:
        raise damaged("a track has no clock")
    entry = next(boxes(entries[8:]), None)
    if entry is None:
        return None
    kind, content = entry
    codec, width, height = None, 0, 0
    if handler[8:12] == b"vide":
        width, height = _unpacked(">HH", content, 24)
        codec = _video_codec(kind, content)
    elif handler[8:12] == b"soun":
        codec = _audio_codec(kind, content)
    return Track(
        *(number, handler[8:12], timescale, kind, codec, width, height),
        default_duration=defaults.get(number, 0),
    )


def _video_codec(kind: bytes, entry: bytes) -> str | None:
    if kind not in (b"avc1", b"avc3"):
        return None
    config = child(entry[_VISUAL_ENTRY_BYTES:], b"avcC")
    if config is None or len(config) < 4:
        raise damaged("its H.264 has no configuration")
    return f"{kind.decode()}.{config[1:4].hex()}"


def _audio_codec(kind: bytes, entry: bytes) -> str | None:
    if kind == b"Opus":
        return "opus"
    if kind != b"mp4a":
        return None
    stream = child(entry[_AUDIO_ENTRY_BYTES:], b"esds")
    content = _descriptor(stream[4:], _ES) if stream is not None else None
    if content is None:
        return None
    config = _descriptor(content[3:], _DECODER_CONFIG)  # after its number and flags
    if config is None or config[:1] != bytes((_AAC,)):
        return None
    specific = _descriptor(config[13:], _DECODER_SPECIFIC)
    if not specific:
        return None
    return f"mp4a.40.{specific[0] >> 3}"


def _descriptor(data: bytes, tag: int) -> bytes | None:
    """MPEG-4's own lengths: seven bits a byte, at most four of them."""
    if data[:1] != bytes((tag,)):
        return None
    length = 0
    for at in range(1, min(5, len(data))):
        length = length << 7 | data[at] & 0x7F
        if not data[at] & 0x80:
            return data[at + 1 : at + 1 + length]
    return None


# --- moof ---

_BASE_OFFSET, _DESCRIPTION, _DURATION, _SIZE, _FLAGS = 0x01, 0x02, 0x08, 0x10, 0x20
_DATA_OFFSET, _FIRST_FLAGS = 0x01, 0x04
_OF_EACH = {"duration": 0x100, "size": 0x200, "flags": 0x400, "offset": 0x800}
_NO_SYNC = 0x10000  # of a sample's flags


def _run(traf: bytes, tracks: Mapping[int, Track]) -> Run | None:
    head = child(traf, b"tfhd")
    if head is None:
        raise damaged("a fragment does not say whose it is")
    flags, number = _unpacked(">II", head)
    track = tracks.get(number)
    if track is None:
        return None
    at = 8 + 8 * bool(flags & _BASE_OFFSET) + 4 * bool(flags & _DESCRIPTION)
    duration = track.default_duration
    if flags & _DURATION:
        (duration,) = _unpacked(">I", head, at)
        at += 4
    at += 4 * bool(flags & _SIZE)
    sample_flags = _unpacked(">I", head, at)[0] if flags & _FLAGS else 0
    samples, ticks, is_key = 0, 0, False
    for kind, content in boxes(traf):
        if kind == b"trun":
            first_flags, more, lasts = _samples(content, duration, sample_flags)
            if not samples and more:
                is_key = not first_flags & _NO_SYNC
            samples, ticks = samples + more, ticks + lasts
    return Run(samples, ticks, _begins(traf), is_key, number, not flags & _BASE_OFFSET)


def _begins(traf: bytes) -> int | None:
    time = child(traf, b"tfdt")
    if time is None:
        return None
    begins: int = _unpacked(">Q" if time[:1] == b"\1" else ">I", time, 4)[0]
    return begins


def _samples(trun: bytes, duration: int, sample_flags: int) -> tuple[int, int, int]:
    """(flags of the first, how many, how long together)"""
    flags, count = _unpacked(">II", trun)
    at = 8 + 4 * bool(flags & _DATA_OFFSET)
    first: int | None = None
    if flags & _FIRST_FLAGS:
        (first,) = _unpacked(">I", trun, at)
        at += 4
    each = [name for name, bit in _OF_EACH.items() if flags & bit]
    if len(trun) - at < 4 * len(each) * count:
        raise damaged("a fragment has fewer samples than it says")
    if first is None:
        first = sample_flags
        if "flags" in each and count:
            (first,) = _unpacked(">I", trun, at + 4 * each.index("flags"))
    ticks = duration * count
    if "duration" in each:  # it comes first
        rows = struct.iter_unpack(f">{len(each)}I", trun[at : at + 4 * len(each) * count])
        ticks = sum(row[0] for row in rows)
    return first, count, ticks


def _unpacked(form: str, data: bytes, at: int = 0) -> tuple[int, ...]:
    try:
        return struct.unpack_from(form, data, at)
    except struct.error:
        raise damaged("a box is too short") from None
