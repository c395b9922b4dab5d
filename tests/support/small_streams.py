"""Small streams of libx264 and libx265 in several slices, and what a reader of containers gets."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
from av.sidedata.sidedata import SideDataContainer

from pipeline.evidence.nal import Codec, framing_of, split_nals
from pipeline.evidence.sei import with_records
from pipeline.frames import EncodedPacket, U8Array
from pipeline.publish.mux import FRAGMENTED_MP4, Muxer
from pipeline.streams import StreamTemplates

WIDTH_PX, HEIGHT_PX = 192, 256
FPS = 25
GOP = 6
ENCODERS: dict[Codec, str] = {"h264": "libx264", "h265": "libx265"}
PARAMS: dict[Codec, str] = {
    "h264": "threads=4:sliced-threads=1:keyint=6:min-keyint=6:scenecut=0:bframes=2:rc-lookahead=6",
    "h265": "slices=4:ctu=16:keyint=6:min-keyint=6:scenecut=0:bframes=2:open-gop=0:log-level=none"
    ":rc-lookahead=6",
}


@dataclass(frozen=True, slots=True)
class SmallStream:
    """What an encoder gave, in decoding order, and what a container needs to hold it."""

    codec: Codec
    templates: StreamTemplates
    packets: tuple[EncodedPacket, ...]

    def with_records(self, records: Sequence[Sequence[bytes]]) -> SmallStream:
        """`records` for each packet."""
        packets = tuple(
            replace(packet, data=with_records(packet.data, given, self.codec))
            for packet, given in zip(self.packets, records, strict=True)
        )
        return replace(self, packets=packets)


def small_stream(codec: Codec, *, frames: int = 2 * GOP, more_params: str = "") -> SmallStream:
    container = av.open(io.BytesIO(), "w", format="nut")
    stream = container.add_stream(ENCODERS[codec], rate=FPS)
    assert isinstance(stream, av.VideoStream)
    context = stream.codec_context
    context.width, context.height, context.pix_fmt = WIDTH_PX, HEIGHT_PX, "yuv420p"
    context.time_base = Fraction(1, FPS)
    context.options = {
        "preset": "ultrafast",
        f"{ENCODERS[codec].removeprefix('lib')}-params": PARAMS[codec] + more_params,
    }
    if "repeat-headers=1" not in more_params:
        context.flags |= av.codec.context.Flags.global_header
    templates = StreamTemplates(container, stream)
    container.start_encoding()
    made = [packet for at in range(frames) for packet in context.encode(_picture(at))]
    packets = tuple(_kept(packet) for packet in [*made, *context.encode(None)])
    assert len(packets) == frames
    return SmallStream(codec, templates, packets)


def write(stream: SmallStream, path: Path, *, fragmented: bool = False) -> Path:
    muxer = Muxer(str(path), stream.templates, options=FRAGMENTED_MP4 if fragmented else None)
    for packet in stream.packets:
        muxer.write(packet)
    muxer.close()
    return path


def remux(path: Path, into: Path, *, fragmented: bool = False) -> Path:
    """By stream copy."""
    options = FRAGMENTED_MP4 if fragmented else {}
    with av.open(str(path)) as source, av.open(str(into), "w", options=dict(options)) as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        known = next(packet.dts for packet in packets if packet.dts is not None)
        unknown = sum(packet.dts is None for packet in packets)
        for at, packet in enumerate(packets):
            if at < unknown:  # Matroska keeps none, and libav cannot tell those before B-frames
                packet.dts = known - unknown + at
            packet.stream = stream
            target.mux(packet)
    return into


def nals_of(path: Path, codec: Codec) -> list[list[bytes]]:
    """Of each packet in the file, in its order."""
    with av.open(str(path)) as container:
        framing = framing_of(container.streams.video[0].codec_context.extradata, codec)
        return [
            split_nals(bytes(packet), framing)
            for packet in container.demux(video=0)
            if packet.size  # the last one only flushes decoders
        ]


def length_bytes_of(path: Path, codec: Codec) -> int:
    with av.open(str(path)) as container:
        extradata = container.streams.video[0].codec_context.extradata
        return framing_of(extradata, codec).length_bytes


def pictures_of(path: Path) -> list[U8Array]:
    with av.open(str(path)) as container:
        return [
            np.asarray(frame.to_ndarray(format="yuv420p"), np.uint8)
            for frame in container.decode(video=0)
        ]


def unregistered_sei_of(path: Path) -> list[list[bytes]]:
    """What libav's own decoder finds, for each picture in the order of presentation."""
    with av.open(str(path)) as container:
        found = []
        for frame in container.decode(video=0):
            sides = cast(SideDataContainer, frame.side_data)  # one type may come several times
            found.append([bytes(side) for side in sides if side.type.name == "SEI_UNREGISTERED"])
        return found


def _picture(at: int) -> av.VideoFrame:
    i420 = np.full((HEIGHT_PX * 3 // 2, WIDTH_PX), 128, np.uint8)
    i420[:HEIGHT_PX] = np.arange(WIDTH_PX) // 2 + 40
    i420[8 * at : 8 * at + 60, 4 * at : 4 * at + 50] = 220
    i420[180:200] = np.random.default_rng(at).integers(0, 255, (20, WIDTH_PX), np.uint8)
    frame = av.VideoFrame.from_ndarray(i420, format="yuv420p")
    frame.pts, frame.time_base = at, Fraction(1, FPS)
    return frame


def _kept(packet: av.Packet[av.VideoStream]) -> EncodedPacket:
    assert packet.pts is not None and packet.dts is not None and packet.time_base is not None
    return EncodedPacket(
        kind="video",
        data=bytes(packet),
        pts=packet.pts,
        dts=packet.dts,
        duration=packet.duration or 1,
        time_base=packet.time_base,
        is_keyframe=packet.is_keyframe,
    )
