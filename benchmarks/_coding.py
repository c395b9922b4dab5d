"""Pictures through x264 or x265 and back, as the product codes a file: no B-frames, IDR frames at a
fixed distance, no scene cuts.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

import av
from av.video.frame import PictureType

from pipeline.frames import Square, YuvPlanes, planes_of

from ._face_clips import copied

Codec = Literal["x264", "x265"]
CODECS: tuple[Codec, ...] = ("x264", "x265")
_ENCODERS = {"x264": "libx264", "x265": "libx265"}
_DECODERS = {"x264": "h264", "x265": "hevc"}
PRESET = "veryfast"


@dataclass(frozen=True, slots=True)
class Received:
    """One decoded frame's wanted squares."""

    kind: str  # "I" or "P"
    squares: list[YuvPlanes] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Stream:
    """What came out: the size of the whole, and the squares that were asked for."""

    size_bytes: int
    frames: list[Received] = field(repr=False)


def through_codec(
    frames: Iterable[YuvPlanes],
    wanted: list[list[Square]],
    *,
    codec: Codec,
    crf: int,
    gop: int,
    fps: Fraction,
    live: bool = False,
) -> Stream:
    """Code and decode `frames`, and keep of each the squares in `wanted`.

    `gop` frames from one IDR frame to the next. `live`: tuned for no delay.
    """
    packets = _encode(frames, codec, crf, gop, fps, live)
    decoder = av.CodecContext.create(_DECODERS[codec], "r")
    assert isinstance(decoder, av.VideoCodecContext)
    received: list[Received] = []
    for packet in [*packets, None]:
        for frame in decoder.decode(packet):
            planes = planes_of(frame)
            squares = [copied(square.of(planes)) for square in wanted[len(received)]]
            received.append(Received(PictureType(frame.pict_type).name, squares))
    return Stream(sum(len(bytes(packet)) for packet in packets), received)


def _encode(
    frames: Iterable[YuvPlanes], codec: Codec, crf: int, gop: int, fps: Fraction, live: bool
) -> list[av.Packet[Any]]:
    context: av.VideoCodecContext | None = None
    packets: list[av.Packet[Any]] = []
    for index, planes in enumerate(frames):
        if context is None:
            context = _open(codec, planes.size_px, crf, gop, fps, live)
        frame = _frame_of(planes)
        frame.pts, frame.time_base = index, 1 / fps
        frame.pict_type = PictureType.NONE if index % gop else PictureType.I
        packets += context.encode(frame)
    assert context is not None
    return packets + context.encode(None)


def _open(
    codec: Codec, size_px: tuple[int, int], crf: int, gop: int, fps: Fraction, live: bool
) -> av.VideoCodecContext:
    context = av.CodecContext.create(_ENCODERS[codec], "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height = size_px
    context.pix_fmt = "yuv420p"
    context.time_base, context.framerate = 1 / fps, fps
    context.max_b_frames = 0
    context.gop_size = max(gop, 1)
    context.options = {"preset": PRESET, "crf": str(crf), "forced-idr": "1"}
    if live:
        context.options["tune"] = "zerolatency"
    if codec == "x265":
        # no threads of its own: on a busy machine they wait for each other
        context.options["x265-params"] = (
            "open-gop=0:scenecut=0:log-level=error:pools=none:frame-threads=1"
        )
    else:
        context.options["x264-params"] = "scenecut=0" + ("" if live else ":rc-lookahead=10")
    return context


def _frame_of(planes: YuvPlanes) -> av.VideoFrame:
    width, height = planes.size_px
    frame = av.VideoFrame(width, height, "yuv420p")
    target = planes_of(frame)
    target.y[:], target.u[:], target.v[:] = planes.y, planes.u, planes.v
    return frame
