"""The browser's stream: one fragment a frame, and what comes out really decodes."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from pipeline.errors import SinkError
from pipeline.publish.sink import Sink, SinkState
from pipeline.review.live_mp4 import ENDED, BoxReader, LiveMp4Writer
from support.live import GROUP, HEIGHT_PX, WIDTH_PX, Kept, encoded, levels


def test_each_frame_is_a_fragment_that_decodes_from_a_keyframe_on() -> None:
    templates, packets = encoded(25)
    kept = Kept()
    writer = LiveMp4Writer(kept, templates)
    for packet in packets[:12]:
        writer.write(packet)
    assert len(kept.fragments) == 11  # a frame comes with the next one, when its length is known
    for packet in packets[12:]:
        writer.write(packet)
    assert len(kept.fragments) == 24
    writer.close()
    writer.close()

    assert kept.items[-1] == ENDED and kept.items.count(ENDED) == 1
    assert [f.is_keyframe for f in kept.fragments] == [p.is_keyframe for p in packets]
    assert [f.is_keyframe for f in kept.fragments] == [n % GROUP == 0 for n in range(25)]
    seen = levels(kept.init.data + b"".join(f.data for f in kept.fragments[2 * GROUP :]))
    assert len(seen) == 5
    np.testing.assert_allclose(np.diff(seen), 1, atol=1)
    assert len(levels(kept.init.data + kept.fragments[GROUP].data)) == 1


def test_the_init_segment_says_codec_and_size() -> None:
    templates, packets = encoded(3)
    kept = Kept()
    writer = LiveMp4Writer(kept, templates)
    for packet in packets:
        writer.write(packet)
    writer.close()

    init = kept.init
    match = re.fullmatch(r"avc1\.([0-9A-F]{6})", init.codec)
    assert match is not None
    sequence_parameters = init.data.index(bytes.fromhex("67" + match[1]))  # NAL type 7
    assert sequence_parameters > init.data.index(b"avcC")
    assert init.mime == f'video/mp4; codecs="{init.codec}"'
    assert (init.width, init.height) == (WIDTH_PX, HEIGHT_PX)


def test_h265_is_refused_with_the_way_out() -> None:
    templates, packets = encoded(3, "h265")
    kept = Kept()
    writer = LiveMp4Writer(kept, templates)
    with pytest.raises(SinkError, match=r"set encode\.codec to h264"):
        for packet in packets:
            writer.write(packet)
    assert kept.items == []


def test_sound_is_left_out() -> None:
    templates, packets = encoded(3)
    kept = Kept()
    writer = LiveMp4Writer(kept, templates)
    writer.write(packets[0])
    writer.write(replace(packets[0], kind="audio"))
    writer.write(packets[1])
    assert len(kept.fragments) == 1


def test_a_sink_feeds_it() -> None:
    templates, packets = encoded(12)
    kept = Kept()
    sink = Sink("console", lambda templates: LiveMp4Writer(kept, templates), live=True)
    sink.start(templates)
    for packet in packets:
        sink.offer(packet)
    sink.close()

    assert (sink.state, sink.error, sink.dropped) == (SinkState.CLOSED, None, 0)
    assert len(levels(kept.init.data + b"".join(f.data for f in kept.fragments))) == 12
    assert kept.items[-1] == ENDED


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
