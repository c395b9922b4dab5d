"""Live streams as a session's sinks and the console's hub get them."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np

from pipeline.compose.gate import Gate, Zones
from pipeline.encode.encoder import Encoder
from pipeline.frames import EncodedPacket, RawFrame
from pipeline.review.live.pieces import Fragment, InitSegment
from pipeline.review.live_mp4 import LiveMp4Writer
from pipeline.settings import EncodeSettings
from pipeline.streams import StreamTemplates

FPS = Fraction(25)
GROUP = 10  # frames
WIDTH_PX, HEIGHT_PX = 256, 192


class Kept:
    """An outlet that keeps what it gets, in order: init segments, fragments, reasons."""

    def __init__(self) -> None:
        self.items: list[InitSegment | Fragment | str] = []

    def begin(self, init: InitSegment) -> None:
        self.items.append(init)

    def publish(self, fragment: Fragment) -> None:
        self.items.append(fragment)

    def end(self, reason: str) -> None:
        self.items.append(reason)

    @property
    def init(self) -> InitSegment:
        (init,) = (item for item in self.items if isinstance(item, InitSegment))
        return init

    @property
    def fragments(self) -> list[Fragment]:
        return [item for item in self.items if isinstance(item, Fragment)]


def encoded(frames: int, codec: str = "h264") -> tuple[StreamTemplates, list[EncodedPacket]]:
    """What the session would hand to its sinks: brightness counts the frames."""
    gate = Gate("test", lambda planes, faces: [])
    settings = EncodeSettings.model_validate({"codec": codec, "gop": GROUP / 25, "crf": 10})
    encoder: Encoder | None = None
    packets: list[EncodedPacket] = []
    for index in range(frames):
        picture = np.full((HEIGHT_PX * 3 // 2, WIDTH_PX), 128, np.uint8)
        picture[:HEIGHT_PX] = 40 + index
        image = av.VideoFrame.from_ndarray(picture, format="yuv420p")
        raw = RawFrame(image, index, index + 1000, 1 / FPS, 1)
        frame = gate.protect(raw, [], Zones())
        if encoder is None:
            name = {"h264": "libx264", "h265": "libx265"}[codec]
            encoder = Encoder(
                settings, encoder=name, preset="ultrafast", first=frame, fps=FPS, live=True
            )
        packets += encoder.encode(frame)
    assert encoder is not None
    packets += encoder.finish()
    assert len(packets) == frames
    return encoder.templates, packets


def live_stream(frames: int) -> tuple[InitSegment, list[Fragment]]:
    """The same, muxed for browsers."""
    templates, packets = encoded(frames)
    kept = Kept()
    writer = LiveMp4Writer(kept, templates)
    for packet in packets:
        writer.write(packet)
    writer.close()
    assert len(kept.fragments) == frames
    return kept.init, kept.fragments


def levels(data: bytes) -> list[int]:
    """Decoded brightness of every frame."""
    with av.open(io.BytesIO(data), "r") as container:
        return [
            round(float(frame.to_ndarray(format="gray").mean()))
            for frame in container.decode(video=0)
        ]


def fragment(kind: str, size: int = 10) -> Fragment:
    """Not playable: "K" a keyframe, anything else another frame."""
    return Fragment(kind.encode() * size, is_keyframe=kind == "K")
