"""What one recording says of itself, and who is in it: from the lines beside it, or its records."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import BautaError, RecordingError
from ...evidence.sidecar_file import sidecar_beside
from ...presence import (
    MOST_LINE_BYTES,
    Interval,
    PresenceHeader,
    TrackSpan,
    parse_line,
    presence_path,
    whole_lines,
)
from ...recover.clip_file import open_clip
from ...recover.clip_records import ClipRecords, read_clip
from ...recover.clip_tracks import ClipTrack, tracks_of
from ..media.fragments import Fragments, read_fragments
from ..media.plain_file import open_plain, opened_path
from ..store.recordings import SegmentFacts
from .scan import Found, look_again, named

NOBODY = "files"  # the camera of a file that does not say whose it is
_CAMERA = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_MOST_AT_ONCE = MOST_LINE_BYTES + 1  # bytes: the longest line, with its end
_MOST_WEIGHT = 4096  # intervals and tracks in one part
_BESIDE_BYTES = 1 << 20  # beside any recording: the longest line
_BESIDE_BYTES_A_SECOND = 16 << 10  # and for each second of it: 300 people at once
_MOST_BESIDE_BYTES = 64 << 20
# of a file that is read packet by packet
_MOST_CLIP_BYTES = 8 << 30
_MOST_CLIP_PACKETS = 1 << 20
_MOST_CLIP_SECONDS = 60.0
_MOST_SIDECAR_BYTES = 256 << 20  # of one that is read whole
_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Read:
    """What is known of a file after a look at it."""

    facts: SegmentFacts
    known: Fragments | None  # to be read on from
    header: PresenceHeader | None  # of the lines beside it, if there are any
    people: tuple[Interval, ...] = ()  # where there are none: told by its records


def read_recording(found: Found, *, growing: bool, before: Read | None = None) -> Read:
    """A look at a file; `before`: the last one at the same file.

    Never raises: what is wrong with it is in `facts.problem`.
    """
    known, problem = _fragments(found, before, growing=growing)
    header = before.header if before is not None else None
    header = header or _header(found.path)
    if header is None:
        return _without_lines(found, known, problem, growing=growing)
    seconds = known.seconds if known is not None else 0.0
    if problem is None and lines_bytes(found.path) > most_lines_bytes(seconds):
        problem = (
            f"{presence_path(found.path).name}: more lies beside the recording than one of its "
            "length can have; who is in it is not known in full"
        )
    facts = SegmentFacts(
        camera=header.camera,
        path=str(found.path),
        start_ms=header.start_ms,
        seconds=seconds,
        bytes=found.bytes,
        mtime_ns=found.mtime_ns,
        width=header.width,
        height=header.height,
        fps=header.fps,
        codec=header.codec,
        session=header.session,
        evidence=header.evidence,
        growing=growing,
        problem=problem,
    )
    return Read(facts, known, header)


def read_intervals(
    recording: Path, read_bytes: int, most_bytes: int
) -> Iterator[tuple[list[Interval], int]]:
    """Who is in it, a part at a time: from the lines that were not read yet, and how far these go.

    Of the file's first `most_bytes`. What is damaged ends it. Never raises.
    """
    path = presence_path(recording)
    some, weight = list[Interval](), 0
    try:
        with open_plain(path) as file:
            while (room := min(_MOST_AT_ONCE, most_bytes - read_bytes)) > 0:
                file.seek(read_bytes)
                lines, size = whole_lines(file.read(room))
                for line in lines:
                    read = parse_line(line)
                    if isinstance(read, Interval):
                        some.append(read)
                        weight += 1 + len(read.tracks)
                    elif read_bytes:
                        raise RecordingError("it begins a second time")
                    read_bytes += len(line) + 1
                    if weight >= _MOST_WEIGHT:
                        yield some, read_bytes
                        some, weight = [], 0
                if not size:
                    break
    except RecordingError as error:
        _log.warning("%s: %s; the rest of it is left out", path.name, error)
        read_bytes = max(lines_bytes(recording), read_bytes)
    except OSError as error:
        _log.warning("%s: %s", path.name, error.strerror)
    yield some, read_bytes


def lines_bytes(recording: Path) -> int:
    """How much lies beside it now; 0 where nothing does."""
    found = look_again(presence_path(recording))
    return found.bytes if found is not None else 0


def most_lines_bytes(seconds: float) -> int:
    """How much can lie beside a recording of that length."""
    return min(_BESIDE_BYTES + round(seconds * _BESIDE_BYTES_A_SECOND), _MOST_BESIDE_BYTES)


# --- with lines beside it ---


def _header(recording: Path) -> PresenceHeader | None:
    """None where there is none that can be read, or none yet."""
    try:
        with open_plain(presence_path(recording)) as file:
            line = file.readline(MOST_LINE_BYTES + 1)
    except OSError:
        return None
    if not line.endswith(b"\n"):
        return None
    try:
        header = parse_line(line)
    except RecordingError as error:
        _log.warning("%s: %s", presence_path(recording).name, error)
        return None
    return header if isinstance(header, PresenceHeader) else None


# --- the file itself ---


def _fragments(
    found: Found, before: Read | None, *, growing: bool
) -> tuple[Fragments | None, str | None]:
    """And why it cannot be played."""
    earlier = before.known if before is not None else None
    try:
        known = read_fragments(found.path, earlier)
    except RecordingError as error:
        if found.path.suffix != ".mp4" or growing:  # another format; or nothing in it yet
            return None, None
        return None, str(error)
    if known.is_fragmented and not known.fragments and not growing:
        return known, f"{found.path.name}: holds no picture"
    return known, None


def _without_lines(
    found: Found, known: Fragments | None, problem: str | None, *, growing: bool
) -> Read:
    """By its name and its records; those are read once it is complete."""
    facts = _plain_facts(found, known, problem, growing=growing)
    if growing or problem is not None or found.bytes > _MOST_CLIP_BYTES:
        return Read(facts, known, None)
    try:
        clip = _read_clip(found.path)
        tracks = tracks_of(clip)
    except BautaError as error:
        said = str(error)
        if known is None or not known.is_fragmented:
            facts = replace(facts, problem=said)
        return Read(facts, known, None)
    people = _clip_intervals(clip, tracks)
    return Read(_clip_facts(facts, clip, found), known, None, people)


def _read_clip(path: Path) -> ClipRecords:
    """Of what was opened, and is a plain file, whatever is put there meanwhile.

    Raises BautaError, which names the file without its folder.
    """
    names: dict[str, str] = {}
    try:
        with open_plain(path) as file, ExitStack() as beside:
            opened = opened_path(file)
            names[str(opened)] = path.name
            _check_length(opened)
            clip = read_clip(opened)
            sidecar = sidecar_beside(path)
            if sidecar is not None and clip.is_without_records:
                records = beside.enter_context(open_plain(sidecar))
                names[str(opened_path(records))] = sidecar.name
                if os.fstat(records.fileno()).st_size > _MOST_SIDECAR_BYTES:
                    raise RecordingError(f"{sidecar.name}: is too large to be read")
                clip = read_clip(opened, opened_path(records))
    except OSError as error:
        raise RecordingError(f"{path.name}: {error.strerror}") from None
    except BautaError as error:
        said = str(error)
        for name, shown in names.items():
            said = said.replace(name, shown)
        raise RecordingError(said) from None
    return replace(clip, clip=path)


def _check_length(clip: Path) -> None:
    """Its packets are counted before anything is kept of them. Raises BautaError."""
    until = time.monotonic() + _MOST_CLIP_SECONDS
    with open_clip(clip) as file:
        for number, _ in enumerate(file.packets()):
            if number >= _MOST_CLIP_PACKETS or time.monotonic() > until:
                raise RecordingError(f"{clip}: has too many pictures for its records to be read")


def _plain_facts(
    found: Found, known: Fragments | None, problem: str | None, *, growing: bool
) -> SegmentFacts:
    seconds = known.seconds if known is not None else 0.0
    camera, start_ms = named(found.path) or (NOBODY, _began_ms(found, seconds))
    codec = ""
    if known is not None and known.header.video is not None:
        kind = known.header.video.format
        codec = {b"avc1": "h264", b"avc3": "h264", b"hvc1": "h265", b"hev1": "h265"}.get(kind, "")
    return SegmentFacts(
        camera=camera,
        path=str(found.path),
        start_ms=start_ms,
        seconds=seconds,
        bytes=found.bytes,
        mtime_ns=found.mtime_ns,
        width=known.width if known is not None else 0,
        height=known.height if known is not None else 0,
        fps=known.fps if known is not None else 0.0,
        codec=codec,
        session=f"file:{found.path.name}",
        evidence=False,
        growing=growing,
        problem=problem,
    )


def _clip_facts(facts: SegmentFacts, clip: ClipRecords, found: Found) -> SegmentFacts:
    seconds = clip.length_seconds
    camera, start_ms, session = facts.camera, facts.start_ms, facts.session
    if clip.epochs:
        first = clip.epochs[0]
        session = f"clip:{first.record.epoch_id.hex()}"
        if named(found.path) is None:
            camera = first.record.camera if _CAMERA.fullmatch(first.record.camera) else NOBODY
            start_ms = first.record.started_utc_ms - round(clip.seconds[first.start] * 1000)
    elif named(found.path) is None:
        start_ms = _began_ms(found, seconds)
    return replace(
        facts,
        camera=camera,
        start_ms=max(start_ms, 0),
        seconds=seconds,
        width=clip.size_px[0],
        height=clip.size_px[1],
        fps=float(clip.fps),
        codec=clip.codec,
        session=session,
        evidence=bool(clip.epochs),
    )


def _clip_intervals(clip: ClipRecords, tracks: Sequence[ClipTrack]) -> tuple[Interval, ...]:
    """One, of the whole clip. Of the first session: a number means another person in the next."""
    if any(track.session > 1 for track in tracks):
        _log.warning("%s: holds several sessions; people of the first are shown", clip.clip.name)
    spans = tuple(_span(clip, track) for track in tracks if track.session == 1)
    return (Interval(0.0, clip.length_seconds, len(clip.frames), 0, spans),)


def _span(clip: ClipRecords, track: ClipTrack) -> TrackSpan:
    seconds = clip.seconds
    first, last = seconds[track.first], seconds[track.last]
    box, at = (0, 0, 1, 1), first  # where no record says: in a corner
    for sighting in track.sightings:
        x, y, width, height = sighting.box_xywh_px
        if width > 0 and height > 0 and width * height > box[2] * box[3]:
            box, at = (max(x, 0), max(y, 0), width, height), seconds[sighting.position]
    return TrackSpan(track.track, first, max(last, first), track.frames, box, at)


def _began_ms(found: Found, seconds: float) -> int:
    """By when it was last written."""
    return max(found.mtime_ns // 1_000_000 - round(seconds * 1000), 0)
