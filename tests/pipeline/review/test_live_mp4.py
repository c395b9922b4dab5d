"""The browser's stream: what a viewer gets really decodes, and no viewer slows the camera."""

from __future__ import annotations

import io
import re
import time
from dataclasses import replace
from fractions import Fraction

import av
import numpy as np
import pytest

from pipeline.compose.gate import Gate, Zones
from pipeline.encode.encoder import Encoder
from pipeline.errors import SinkError
from pipeline.frames import EncodedPacket, RawFrame
from pipeline.publish.sink import Sink, SinkState
from pipeline.review.live_mp4 import (
    GROUP_BYTES,
    VIEWER_BYTES,
    VIEWER_FRAGMENTS,
    BoxReader,
    Fragment,
    InitSegment,
    LiveMp4,
)
from pipeline.settings import EncodeSettings
from pipeline.streams import StreamTemplates

FPS = Fraction(25)
GROUP = 10  # frames
INIT = InitSegment(b"init", "avc1.42C01F")


def encoded(frames: int, codec: str = "h264") -> tuple[StreamTemplates, list[EncodedPacket]]:
    """What the session would hand to its sinks: brightness counts the frames."""
    gate = Gate("test", lambda planes, faces: [])
    settings = EncodeSettings.model_validate({"codec": codec, "gop": GROUP / 25, "crf": 10})
    encoder: Encoder | None = None
    packets: list[EncodedPacket] = []
    for index in range(frames):
        picture = np.full((288, 256), 128, np.uint8)
        picture[:192] = 40 + index
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


def levels(data: bytes) -> list[int]:
    """Decoded brightness of every frame."""
    with av.open(io.BytesIO(data), "r") as container:
        return [
            round(float(frame.to_ndarray(format="gray").mean()))
            for frame in container.decode(video=0)
        ]


def fragment(kind: str, size: int = 10) -> Fragment:
    return Fragment(kind.encode() * size, is_keyframe=kind == "K")


def test_a_viewer_who_comes_late_decodes_from_the_last_keyframe() -> None:
    templates, packets = encoded(38)
    live = LiveMp4()
    writer = live.open_writer(templates)
    for packet in packets[:25]:
        writer.write(packet)
    viewer = live.join(0)
    for packet in packets[25:]:
        writer.write(packet)
    writer.close()
    fragments = viewer.take(0)

    assert fragments[0].is_keyframe
    seen = levels(viewer.init.data + b"".join(f.data for f in fragments))
    first_of_group = 20
    assert len(seen) == 38 - first_of_group
    np.testing.assert_allclose(np.diff(seen), 1, atol=1)
    whole = levels(viewer.init.data + b"".join(f.data for f in fragments[:1]))
    assert len(whole) == 1  # one frame a fragment
    assert [f.is_keyframe for f in fragments] == [p.is_keyframe for p in packets[first_of_group:]]
    assert viewer.take(0) == []  # the writer was closed: the end


def test_the_codec_string_is_that_of_the_stream() -> None:
    templates, packets = encoded(3)
    live = LiveMp4()
    writer = live.open_writer(templates)
    for packet in packets:
        writer.write(packet)
    init = live.join(0).init
    writer.close()

    match = re.fullmatch(r"avc1\.([0-9A-F]{6})", init.codec)
    assert match is not None
    sequence_parameters = init.data.index(bytes.fromhex("67" + match[1]))  # NAL type 7
    assert sequence_parameters > init.data.index(b"avcC")
    assert init.mime == f'video/mp4; codecs="{init.codec}"'


def test_h265_is_refused_with_the_way_out() -> None:
    templates, packets = encoded(3, "h265")
    writer = LiveMp4().open_writer(templates)
    with pytest.raises(SinkError, match=r"set encode\.codec to h264"):
        for packet in packets:
            writer.write(packet)


def test_sound_is_left_out() -> None:
    templates, packets = encoded(3)
    live = LiveMp4()
    writer = live.open_writer(templates)
    writer.write(packets[0])
    writer.write(replace(packets[0], kind="audio"))
    writer.write(packets[1])
    assert len(live.join(0).take(0)) == 1


def test_a_sink_feeds_it() -> None:
    templates, packets = encoded(12)
    live = LiveMp4()
    sink = Sink("browser", live.open_writer, live=True)
    sink.start(templates)
    sink.offer(packets[0])
    viewer = live.join(10)
    for packet in packets[1:]:
        sink.offer(packet)
    sink.close()

    assert (sink.state, sink.error, sink.dropped) == (SinkState.CLOSED, None, 0)
    assert len(levels(viewer.init.data + b"".join(f.data for f in viewer.take(0)))) == 12


def test_a_viewer_who_lags_is_dropped_to_a_keyframe_and_slows_nobody() -> None:
    live = LiveMp4()
    live.begin(INIT)
    slow, quick = live.join(0), live.join(0)
    total, taken = 10 * VIEWER_FRAGMENTS, 0
    started = time.monotonic()
    for index in range(total):
        live.publish(fragment("K" if index % GROUP == 0 else "p"))
        taken += len(quick.take(0))
    assert time.monotonic() - started < 10
    waiting = slow.take(0)

    assert taken == total
    assert quick.dropped == 0
    assert waiting[0].is_keyframe
    assert 0 < len(waiting) <= VIEWER_FRAGMENTS
    assert len(waiting) + slow.dropped == total


def test_large_fragments_are_bounded_too() -> None:
    live = LiveMp4()
    live.begin(INIT)
    viewer = live.join(0)
    size = VIEWER_BYTES // 4
    for index in range(10):  # the fifth finds it full; the tenth is the next but one keyframe
        live.publish(fragment("K" if index % 3 == 0 else "p", size))
    waiting = viewer.take(0)
    assert waiting[0].is_keyframe
    assert sum(len(f.data) for f in waiting) <= VIEWER_BYTES + size


def test_a_group_without_end_is_not_kept_for_new_viewers() -> None:
    live = LiveMp4()
    live.begin(INIT)
    live.publish(fragment("K"))
    for _ in range(5):
        live.publish(fragment("p", GROUP_BYTES // 4))
    late = live.join(0)
    live.publish(fragment("p"))
    live.publish(fragment("K"))
    assert late.take(0) == [fragment("K")]


def test_a_new_stream_ends_the_viewers_of_the_old_one() -> None:
    live = LiveMp4()
    live.begin(INIT)
    viewer = live.join(0)
    live.publish(fragment("K"))
    live.begin(InitSegment(b"other", "avc1.64001F"))
    assert live.viewers == 0
    assert viewer.take(0) == [fragment("K")]
    assert viewer.take(0) == []
    assert live.join(0).init.data == b"other"


def test_nothing_live_is_a_timeout() -> None:
    live = LiveMp4()
    with pytest.raises(TimeoutError):
        live.join(0.01)
    live.begin(INIT)
    viewer = live.join(0)
    with pytest.raises(TimeoutError):
        viewer.take(0.01)
    live.leave(viewer)
    live.leave(viewer)
    assert live.viewers == 0
    live.close()
    live.begin(INIT)  # a writer that comes after the end
    with pytest.raises(TimeoutError):
        live.join(60)  # at once


@pytest.mark.parametrize("step", [1, 3, 7, 100])
def test_boxes_come_whole_whatever_the_pieces(step: int) -> None:
    boxes = [
        (b"moof", b"\0\0\0\x0cmoof1234"),
        (b"free", b"\0\0\0\x08free"),
        (b"mdat", b"\0\0\0\x09mdat!"),
    ]
    data = b"".join(box for _, box in boxes)
    reader, seen = BoxReader(), []
    for start in range(0, len(data), step):
        reader.write(data[start : start + step])
        seen += reader.take()
    assert seen == boxes


@pytest.mark.parametrize("size", [0, 1, 7, 1 << 31])
def test_what_cannot_be_a_box_is_an_error(size: int) -> None:
    reader = BoxReader()
    reader.write(size.to_bytes(4, "big") + b"mdat")
    with pytest.raises(SinkError, match="fragmented MP4"):
        reader.take()
