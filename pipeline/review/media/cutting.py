"""Which parts of which recordings make an export, and their packets on one clock."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any, Protocol

import av
from av.container import InputContainer

from ...errors import RecordingError
from ...streams import first_frame_of
from .fragments import Fragments
from .playable import Playables
from .span import open_span

CHANGED = "the recording goes on with another picture format: it is a clip of its own"


class Source(Protocol):
    """A recording as the index knows it."""

    @property
    def path(self) -> str | Path:
        """Of the file."""
        ...

    @property
    def start_ms(self) -> int:
        """Unix time of its first frame."""
        ...


@dataclass(frozen=True, slots=True)
class Part:
    """What is taken of one recording: whole fragments, from one IDR frame to before another."""

    recording: Path
    readable: Path  # itself, or a copy that can be read by fragments
    known: Fragments = field(repr=False)
    first: int
    end: int
    start_ms: int  # of the first frame that is taken
    video: bytes  # what a decoder has to be told: it must not change inside of a file
    sound: bytes | None  # the same; None: there is none
    first_frame: int | None  # of the session, where the recording says so

    @property
    def seconds(self) -> Fraction:
        """How long it is, exactly."""
        scale = self.known.timescale
        last = self.known.fragments[self.end - 1]
        return Fraction(round(last.end_seconds * scale), scale) - self.begins

    @property
    def begins(self) -> Fraction:
        """Where it begins in the recording, in seconds, exactly."""
        scale = self.known.timescale
        return Fraction(round(self.known.fragments[self.first].seconds * scale), scale)

    @property
    def bytes(self) -> int:
        """How large it is."""
        return sum(item.size for item in self.known.fragments[self.first : self.end])

    @property
    def frames(self) -> int:
        """How many pictures."""
        return sum(item.frames for item in self.known.fragments[self.first : self.end])

    def open(self) -> Any:
        """A context manager: libav's view of it. Raises RecordingError."""
        return open_span(self.readable, self.known, self.first, self.end)


def parts_of(
    sources: Sequence[Source], from_ms: int, to_ms: int, playables: Playables
) -> tuple[list[Part], str | None]:
    """In order of time, and why it ends early, if it does. Raises RecordingError."""
    parts: list[Part] = []
    for source in sorted(sources, key=lambda source: source.start_ms):
        if source.start_ms >= to_ms:
            break
        part = _part(source, from_ms, to_ms, playables)
        if part is None:
            continue
        if parts and part.video != parts[0].video:
            return parts, CHANGED
        if parts and parts[0].sound is not None and part.sound not in (None, parts[0].sound):
            return parts, CHANGED
        parts.append(part)
    if not parts:
        raise RecordingError("nothing was recorded in that time")
    return parts, None


def first_frame(parts: Sequence[Part]) -> int | None:
    """The session's number of the first one, where all parts follow each other without a gap."""
    expected = begins = parts[0].first_frame
    for part in parts:
        if part.first_frame is None or part.first_frame != expected:
            return None
        expected = part.first_frame + part.frames
    return begins


def packets_of(part: Part, at: Fraction, with_sound: bool) -> Iterator[av.Packet[Any]]:
    """Its packets, the first picture at `at` seconds. Raises RecordingError."""
    with part.open() as container:
        streams = [container.streams.video[0], *container.streams.audio[: 1 if with_sound else 0]]
        for packet in container.demux(*streams):
            if not packet.size or packet.pts is None or packet.dts is None:
                continue
            assert packet.time_base is not None
            ahead = round((at - part.begins) / packet.time_base)
            packet.pts += ahead
            packet.dts += ahead
            yield packet


def _part(source: Source, from_ms: int, to_ms: int, playables: Playables) -> Part | None:
    recording = Path(source.path)
    readable, known = playables.open(recording)
    from_seconds = max(from_ms - source.start_ms, 0) / 1000
    if not known.fragments or known.seconds <= from_seconds:
        return None
    first = known.key_before(from_seconds)
    end = known.key_after((to_ms - source.start_ms) / 1000)
    if end <= first:
        return None
    with open_span(readable, known, first, first + 1) as container:
        video, sound = _facts(container)
        note = first_frame_of(container.metadata.get("comment", ""))
    if note is not None:
        note += sum(item.frames for item in known.fragments[:first])
    start_ms = source.start_ms + round(known.fragments[first].seconds * 1000)
    return Part(recording, readable, known, first, end, start_ms, video, sound, note)


def _facts(container: InputContainer) -> tuple[bytes, bytes | None]:
    picture = container.streams.video[0].codec_context
    size = f"{picture.name} {picture.width}x{picture.height} ".encode()
    sound = None
    if container.streams.audio:
        context = container.streams.audio[0].codec_context
        sound = f"{context.name} {context.sample_rate} ".encode() + bytes(context.extradata or b"")
    return size + bytes(picture.extradata or b""), sound
