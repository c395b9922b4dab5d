"""What a clip says of itself: its frames by their slices, and the records that travel with them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Literal

from ..errors import NotAVideo, RecordError, UsageError
from ..evidence import group_record, key_record
from ..evidence.group_record import parse_group_record
from ..evidence.key_record import NO_PARAMETERS, parse_key_record
from ..evidence.nal import (
    Codec,
    Framing,
    framing_of,
    header_nals,
    parameter_digest,
    slice_digest,
    split_nals,
)
from ..evidence.sei import records_in
from ..evidence.sidecar_file import read_records, sidecar_beside
from .clip_file import ClipFile, open_clip, video_stream
from .epoch_match import (
    CarriedGroup,
    CarriedKey,
    Epoch,
    Problems,
    place_by_digests,
    place_in_stream,
)

__all__ = ["ClipFrame", "ClipRecords", "Epoch", "read_clip", "video_stream"]

UNREADABLE = b""  # instead of a digest, of a packet that cannot be taken apart: it equals none


@dataclass(frozen=True, slots=True)
class ClipFrame:
    """A picture packet of the clip."""

    position: int  # index of the video packet in the file
    pts_seconds: float  # on the clip's own clock, as decoded frames have it
    digest: bytes = field(repr=False)  # (16,) of its slices
    is_keyframe: bool = False
    parameters: bytes = field(default=NO_PARAMETERS, repr=False)  # (16,) of what it is shown with
    is_hidden: bool = False  # the container says: decode it, and do not show it


@dataclass(frozen=True, slots=True)
class ClipRecords:
    """All that can be known of a clip without a key and without decoding."""

    frames: tuple[ClipFrame, ...] = field(repr=False)
    epochs: tuple[Epoch, ...] = field(repr=False)  # in order; they do not overlap
    problems: tuple[str, ...]  # one line for each kind
    clip_sha256: str  # of the file
    codec: Codec
    size_px: tuple[int, int]
    fps: Fraction
    clip: Path = Path()
    carrier: Literal["stream", "sidecar"] = "stream"
    sidecar: Path | None = None  # where the records are from, if not from the stream
    video_streams: int = 1
    has_audio: bool = False
    elsewhere: str = ""  # that of the problems which says what of the sidecar is not in the clip

    @property
    def seconds(self) -> tuple[float, ...]:
        """Of each frame, from the clip's first on, as players count: clocks may begin anywhere."""
        first = min((frame.pts_seconds for frame in self.frames), default=0.0)
        return tuple(frame.pts_seconds - first for frame in self.frames)

    @property
    def length_seconds(self) -> float:
        """With its last frame."""
        return max(self.seconds, default=0.0) + float(1 / self.fps)

    @property
    def is_without_records(self) -> bool:
        """No epoch of it is known."""
        return not self.epochs


@dataclass(slots=True)
class _Found:
    """Records as they are parsed."""

    problems: Problems
    keys: list[CarriedKey] = field(default_factory=list)
    groups: list[CarriedGroup] = field(default_factory=list)

    def add(self, at: int, records: Iterable[bytes]) -> None:
        for data in records:
            try:
                if data[:1] == bytes((group_record.KIND,)):
                    self.groups.append(CarriedGroup(at, parse_group_record(data)))
                elif data[:1] == bytes((key_record.KIND,)):
                    self.keys.append(CarriedKey(at, parse_key_record(data)))
                else:
                    self.problems.add(Problems.DAMAGED)
            except RecordError:
                self.problems.add(Problems.DAMAGED)

    @property
    def has_any(self) -> bool:
        return bool(self.keys or self.groups)


def read_clip(clip: Path, sidecar: Path | None = None) -> ClipRecords:
    """Demuxed only, nothing is decoded. Records: of `sidecar`, else the stream, else CLIP.bauta.

    Raises SourceError, RecordError where a sidecar is none, UsageError for files that are not
    there and for a sidecar of another clip. What is wrong with single records is in `problems`.
    """
    problems = Problems()
    in_stream = _Found(Problems())
    with open_clip(clip) as file:
        codec, fps = file.codec, file.fps
        size_px = file.video.width, file.video.height
        streams, has_audio, held = file.video_streams, file.has_audio, file.video.frames
        frames = _read_frames(file, in_stream, problems)
    if not frames:
        raise NotAVideo(f"{clip}: holds no picture")
    digests = [frame.digest for frame in frames]
    chosen = sidecar
    if chosen is None and not in_stream.has_any:
        chosen = sidecar_beside(clip)
    if chosen is None:
        problems.merge(in_stream.problems)
        epochs = place_in_stream(digests, in_stream.keys, in_stream.groups, problems)
    else:
        epochs = _from_sidecar(chosen, clip, digests, problems)
    epochs = tuple(_as_sealed(epoch, frames, size_px, problems) for epoch in epochs)
    return ClipRecords(
        clip=clip,
        frames=tuple(frames),
        epochs=epochs,
        problems=(*problems.lines, *_of_file(frames, held, streams)),
        clip_sha256=_sha256(clip),
        codec=codec,
        size_px=size_px,
        fps=fps,
        carrier="stream" if chosen is None else "sidecar",
        sidecar=chosen,
        video_streams=streams,
        has_audio=has_audio,
        elsewhere=problems.line(Problems.ELSEWHERE),
    )


def _of_file(frames: Sequence[ClipFrame], held: int, streams: int) -> Iterator[str]:
    """What players show otherwise than the records say. `held`: 0 where the file does not say."""
    if streams > 1:
        yield (
            f"the file holds {streams} video streams, and the records are of one: a player may "
            "show another"
        )
    hidden = sum(frame.is_hidden for frame in frames) + max(held - len(frames), 0)
    if hidden:
        whole = max(held, len(frames))
        yield f"the file shows {whole - hidden} of the {whole} frames it holds (an edit list)"


def _as_sealed(
    epoch: Epoch, frames: Sequence[ClipFrame], size_px: tuple[int, int], problems: Problems
) -> Epoch:
    """Without its frames where they are shown with other parameter sets: cropped, or moved."""
    said, shown = epoch.record.parameters, frames[epoch.start].parameters
    is_other_size = (epoch.record.width_px, epoch.record.height_px) != size_px
    is_shown_otherwise = said not in (NO_PARAMETERS, shown)
    problems.add(Problems.SIZE, is_other_size)
    problems.add(Problems.PARAMETERS, is_shown_otherwise)
    return replace(epoch, positions={}) if is_other_size or is_shown_otherwise else epoch


def _read_frames(file: ClipFile, found: _Found, problems: Problems) -> list[ClipFrame]:
    frames: list[ClipFrame] = []
    codec, framing = file.codec, _framing(file)
    of_stream = _stream_parameters(file)
    for packet in file.packets():
        position = len(frames)
        digest, parameters = UNREADABLE, of_stream
        if framing is not None:
            try:
                nals = split_nals(bytes(packet), framing)
                digest = slice_digest(nals, codec)
                own = parameter_digest(nals, codec)
                parameters = of_stream if own == NO_PARAMETERS else own
                found.add(position, records_in(nals, codec))
            except RecordError:
                problems.add(Problems.BROKEN)
        if packet.pts is not None and packet.time_base is not None:
            seconds = float(packet.pts * packet.time_base)
        else:  # a bare stream has no clock
            seconds = float(position / file.fps)
        frames.append(
            ClipFrame(
                *(position, seconds, digest, bool(packet.is_keyframe), parameters),
                is_hidden=bool(packet.is_discard),
            )
        )
    return frames


def _stream_parameters(file: ClipFile) -> bytes:
    """Those in the container's header: for frames that have none with them."""
    try:
        nals = header_nals(file.video.codec_context.extradata, file.codec)
        return parameter_digest(nals, file.codec)
    except RecordError:
        return NO_PARAMETERS


def _framing(file: ClipFile) -> Framing | None:
    try:
        return framing_of(file.video.codec_context.extradata, file.codec)
    except RecordError:
        return None


def _from_sidecar(
    path: Path, clip: Path, digests: Sequence[bytes], problems: Problems
) -> tuple[Epoch, ...]:
    found = _Found(problems)
    for index, record in enumerate(read_records(path)):
        found.add(index, [record])
    epochs = place_by_digests(digests, found.keys, found.groups, problems)
    if found.keys and not epochs:
        raise UsageError(f"{path} is of another clip: no record in it fits a frame of {clip}")
    return epochs


def _sha256(clip: Path) -> str:
    try:
        with clip.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise UsageError(f"{clip}: {error.strerror}") from None
