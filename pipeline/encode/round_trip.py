"""Pictures through a real encoder and decoder: the lossy channel that training and benchmarks see.

Only for pictures that are nobody's secret any more, or training faces: nothing leaves the process.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np
from av.video.frame import PictureType

from ..frames import YuvPlanes, planes_of

_DECODERS = {"libx264": "h264", "libx265": "hevc"}


def code(
    pictures: Sequence[YuvPlanes], *, encoder: str, crf: int, preset: str = "veryfast"
) -> tuple[list[YuvPlanes], list[int]]:
    """Consecutive pictures of one size, coded (the first as an IDR, no B-frames) and decoded.

    Gives the decoded pictures and each one's bytes.
    """
    width, height = pictures[0].size_px
    context = av.CodecContext.create(encoder, "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height, context.pix_fmt = width, height, "yuv420p"
    context.time_base = Fraction(1, 25)
    context.framerate = Fraction(25)
    context.max_b_frames = 0
    context.gop_size = 1000
    context.thread_count = 1
    context.options = {"preset": preset, "crf": str(crf), "tune": "zerolatency"}
    if encoder == "libx265":
        context.options["x265-params"] = "log-level=none:pools=none:frame-threads=1"
    packets = []
    for index, picture in enumerate(pictures):
        frame = _to_frame(picture)
        frame.pts, frame.time_base = index, context.time_base
        frame.pict_type = PictureType.I if index == 0 else PictureType.NONE
        packets += context.encode(frame)
    packets += context.encode(None)
    decoder = av.CodecContext.create(_DECODERS[encoder], "r")
    assert isinstance(decoder, av.VideoCodecContext)
    decoder.thread_count = 1
    frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    return [_copy(planes_of(frame)) for frame in frames], [len(bytes(p)) for p in packets]


def _to_frame(picture: YuvPlanes) -> av.VideoFrame:
    width, height = picture.size_px
    frame = av.VideoFrame(width, height, "yuv420p")
    planes = planes_of(frame)
    for target, plane in zip(
        (planes.y, planes.u, planes.v), (picture.y, picture.u, picture.v), strict=True
    ):
        target[...] = plane
    return frame


def _copy(planes: YuvPlanes) -> YuvPlanes:
    return YuvPlanes(
        np.array(planes.y, copy=True), np.array(planes.u, copy=True), np.array(planes.v, copy=True)
    )
