"""What one recording says of itself, and who is in it: from the lines beside it, or its records."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import BautaError, RecordingError
from ...presence import (
    MOST_LINE_BYTES,
    Interval,
    PresenceHeader,
    TrackSpan,
    parse_line,
    presence_path,
    whole_lines,
)
from ...recover.clip_records import ClipRecords, read_clip
from ...recover.clip_tracks import ClipTrack, tracks_of
from ..media.fragments import Fragments, read_fragments
from ..store.recordings import SegmentFacts
from .scan import Found, named

NOBODY = "files"  # the camera of a file that does not say whose it is
_CAMERA = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}", re.ASCII)
_MOST_AT_ONCE = 8 * MOST_LINE_BYTES
_MOST_CLIP_BYTES = 8 << 30  # of a file that is read packet by packet
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
    facts = SegmentFacts(
        camera=header.camera,
        path=str(found.path),
        start_ms=header.start_ms,
        seconds=known.seconds if known is not None else 0.0,
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


def read_intervals(recording: Path, read_bytes: int) -> tuple[list[Interval], int]:
    """Who is in it, from the lines that were not read yet, and how far they are read now.

    What is damaged ends it. Never raises.
    """
    path = presence_path(recording)
    intervals: list[Interval] = []
    try:
        with path.open("rb") as file:
            file.seek(read_bytes)
            while data := file.read(_MOST_AT_ONCE):
                lines, size = whole_lines(data)
                for line in lines:
                    read = parse_line(line)
                    if isinstance(read, Interval):
                        intervals.append(read)
                    elif read_bytes:
                        raise RecordingError("it begins a second time")
                    read_bytes += len(line) + 1
                if not size or len(data) < _MOST_AT_ONCE:
                    break
                file.seek(read_bytes)
    except RecordingError as error:
        _log.warning("%s: %s; the rest of it is left out", path.name, error)
        return intervals, lines_bytes(recording)
    except OSError as error:
        _log.warning("%s: %s", path.name, error.strerror)
    return intervals, read_bytes


def lines_bytes(recording: Path) -> int:
    """How much lies beside it now; 0 where nothing does."""
    try:
        return presence_path(recording).stat().st_size
    except OSError:
        return 0


# --- with lines beside it ---


def _header(recording: Path) -> PresenceHeader | None:
    """None where there is none that can be read, or none yet."""
    try:
        with presence_path(recording).open("rb") as file:
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
        clip = read_clip(found.path)
        tracks = tracks_of(clip)
    except BautaError as error:
        said = str(error).replace(str(found.path), found.path.name)
        if known is None or not known.is_fragmented:
            facts = replace(facts, problem=said)
        return Read(facts, known, None)
    people = _clip_intervals(clip, tracks)
    return Read(_clip_facts(facts, clip, found), known, None, people)


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
