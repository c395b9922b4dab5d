"""Recordings as the service makes them: gate, encoder and segment writer, with made-up people."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cache, partial
from pathlib import Path
from typing import Literal

import av
import numpy as np

from pipeline.compose.gate import Gate, ProtectedFrame, Zones
from pipeline.encode.encoder import Encoder
from pipeline.evidence.sei import with_records
from pipeline.frames import EncodedPacket, FaceBox, RawFrame
from pipeline.presence import RecordingSession
from pipeline.protect.choose import make_patches
from pipeline.publish.segments import SegmentWriter
from pipeline.settings import EncodeSettings, ProtectSettings, RecordSettings
from pipeline.streams import StreamTemplates

from .evidence import EvidenceClip

WIDTH, HEIGHT, FPS = 192, 128, 25
TICKS = Fraction(1, 90_000)
START = 1_800_000_000.25  # 2027-01-15T08:00:00.250Z
START_MS = 1_800_000_000_250
SESSION = RecordingSession("5e" * 16, False, "h264")

Box = tuple[float, float, float, float]
Faces = Callable[[int], Sequence[tuple[int, Box]]]
"""Of a frame: track numbers and boxes, x1 y1 x2 y2."""


def nobody(_: int) -> Sequence[tuple[int, Box]]:
    return ()


def one_who_walks(index: int) -> Sequence[tuple[int, Box]]:
    """Track 7 from frame 10 to 79, largest in frame 60: 40 x 50 pixels."""
    if not 10 <= index < 80:
        return ()
    side = 30 if index != 60 else 40
    return [(7, (index, 20, index + side, 20 + side + 10))]


def protected(gate: Gate, index: int, faces: Sequence[tuple[int, Box]]) -> ProtectedFrame:
    """A noisy picture; the number of the frame is in its upper left corner as grey."""
    i420 = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
    i420[:HEIGHT] = 60
    i420[90:120] = np.random.default_rng(index).integers(0, 255, (30, WIDTH), np.uint8)
    i420[:16, :16] = 40 + index % 200
    image = av.VideoFrame.from_ndarray(i420, format="yuv420p")
    raw = RawFrame(image, index, index * 3_600, TICKS, 1)
    boxes = [FaceBox(track, np.array(box, np.float32), 0.0) for track, box in faces]
    return gate.protect(raw, boxes, Zones())


@dataclass(frozen=True)
class Stream:
    """Encoded, not written."""

    templates: StreamTemplates
    packets: tuple[EncodedPacket, ...] = field(repr=False)


@cache
def stream_of(
    frames: int,
    faces: Faces = nobody,
    *,
    gop: float = 1.0,
    dark: tuple[int, ...] = (),
    codec: Literal["h264", "h265"] = "h264",
) -> Stream:
    """`dark`: frames that went out as the curtain."""
    gate = Gate("lobby", partial(make_patches, settings=ProtectSettings(obfuscation="solid")))

    def frame(index: int) -> ProtectedFrame:
        if index in dark:
            i420 = np.full((HEIGHT * 3 // 2, WIDTH), 128, np.uint8)
            image = av.VideoFrame.from_ndarray(i420, format="yuv420p")
            return gate.redact(RawFrame(image, index, index * 3_600, TICKS, 1), "a test")
        return protected(gate, index, faces(index))

    encoder = Encoder(
        EncodeSettings(gop=gop, codec=codec),
        encoder={"h264": "libx264", "h265": "libx265"}[codec],
        preset="ultrafast",
        first=frame(0),
        fps=Fraction(FPS),
        live=True,
    )
    packets = [packet for index in range(frames) for packet in encoder.encode(frame(index))]
    return Stream(encoder.templates, (*packets, *encoder.finish()))


class Recorder:
    """A segment writer whose wall clock is the stream's."""

    def __init__(
        self,
        folder: Path,
        stream: Stream,
        *,
        camera: str = "lobby",
        segment: float = 2.0,
        session: RecordingSession | None = SESSION,
        start: float = START,
        **settings: object,
    ) -> None:
        self._start, self._seconds = start, 0.0
        self.late = 0.0  # seconds by which the wall clock is ahead of the stream's
        record = RecordSettings.model_validate({"dir": folder, "segment": segment} | settings)
        self.writer = SegmentWriter(
            camera,
            record,
            stream.templates,
            session=session,
            now=lambda: self._start + self._seconds + self.late,
        )
        self._packets: Iterator[EncodedPacket] = iter(stream.packets)

    def write(self, frames: int | None = None) -> None:
        """So many more; None: the rest."""
        for done, packet in enumerate(self._packets, start=1):
            self._seconds = float(packet.pts * packet.time_base)
            self.writer.write(packet)
            if done == frames:
                return

    def close(self) -> None:
        self.writer.close()


def record(folder: Path, stream: Stream, **options: object) -> list[Path]:
    """Segments, complete."""
    recorder = Recorder(folder, stream, **options)  # type: ignore[arg-type]
    recorder.write()
    recorder.close()
    return sorted(folder.glob("*.mp4"))


def record_evidence(
    folder: Path,
    clip: EvidenceClip,
    *,
    segment: float,
    carrier: str = "stream",
    start: float = START,
    fps: int = 25,
    first: int = 0,
    session: RecordingSession | None = None,
) -> list[Path]:
    """A clip with records, as the service's recordings of it would be."""
    packets = []
    for number, item in enumerate(clip.packets):
        data = item.packet.data
        if carrier != "sidecar":
            data = with_records(data, item.records, clip.codec)
        packets.append(
            replace(
                item.packet,
                data=data,
                pts=number * (90_000 // fps),
                dts=number * (90_000 // fps),
                duration=90_000 // fps,
                time_base=TICKS,
                frame=first + number,
                records=tuple(item.records) if carrier != "stream" else (),
            )
        )
    stream = Stream(clip.templates, tuple(packets))
    return record(folder, stream, camera="gate-3", segment=segment, session=session, start=start)


def started_ms(path: Path) -> int:
    """Of a segment, by its name."""
    from pipeline.review.index.scan import named

    found = named(path)
    assert found is not None
    return found[1]


@dataclass(frozen=True)
class OnDisk:
    """A recording as exports take it."""

    path: str
    start_ms: int


def on_disk(paths: Sequence[Path]) -> list[OnDisk]:
    return [OnDisk(str(path), started_ms(path)) for path in paths]


def boxes_of(data: bytes) -> list[tuple[bytes, int, int]]:
    """Type, offset and size of each box at the top, counted by hand."""
    found, at = [], 0
    while at + 8 <= len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        found.append((kind, at, size))
        at += size
    assert at == len(data)
    return found
