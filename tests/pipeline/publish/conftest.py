"""One small protected stream for all writers: ten seconds, an IDR every second."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from pipeline.compose.gate import Gate, ProtectedFrame, Zones
from pipeline.encode.encoder import Encoder
from pipeline.frames import EncodedPacket, RawFrame
from pipeline.settings import EncodeSettings
from pipeline.streams import StreamTemplates

Made = tuple[StreamTemplates, list[EncodedPacket]]


@pytest.fixture(scope="session")
def stream() -> Made:
    gate = Gate("lobby", lambda _planes, _faces: [])

    def frame(index: int) -> ProtectedFrame:
        i420 = np.full((96 * 3 // 2, 128), 128, np.uint8)
        i420[:96] = 40
        i420[8:40, index % 90 : index % 90 + 32] = 200
        i420[60:90, :] = np.random.default_rng(index).integers(0, 255, (30, 128), np.uint8)
        image = av.VideoFrame.from_ndarray(i420, format="yuv420p")
        raw = RawFrame(image, index, index * 3_600, Fraction(1, 90_000), 1)
        return gate.protect(raw, [], Zones())

    first = frame(0)
    encoder = Encoder(
        EncodeSettings(gop=1.0),
        encoder="libx264",
        preset="ultrafast",
        first=first,
        fps=Fraction(25),
        live=True,
    )
    packets = [packet for index in range(250) for packet in encoder.encode(frame(index))]
    return encoder.templates, packets + encoder.finish()
