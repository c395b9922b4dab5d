"""A still of what is live: the newest keyframe, decoded once."""

from __future__ import annotations

import cv2
import numpy as np

from pipeline.review.live.hub import Fragment, InitSegment, LiveHub
from pipeline.review.live.snapshot import Snapshots, picture_as_png
from support.live import GROUP, HEIGHT_PX, WIDTH_PX, levels, live_stream


def brightness(png: bytes) -> float:
    picture = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None
    assert picture.shape == (HEIGHT_PX, WIDTH_PX, 3)
    return float(picture.mean())


def test_it_is_the_newest_keyframe() -> None:
    init, fragments = live_stream(2 * GROUP + 3)
    hub = LiveHub()
    snapshots = Snapshots(hub)
    assert snapshots.png("lobby") is None
    hub.begin("lobby", init)
    assert snapshots.png("lobby") is None
    seen = []
    for fragment in fragments:
        hub.publish("lobby", fragment)
        png = snapshots.png("lobby")
        assert png is not None
        seen.append(png)
    assert [seen.index(png) for png in seen] == [n // GROUP * GROUP for n in range(len(seen))]
    assert seen[1] is seen[0]  # not decoded again
    shown = levels(init.data + b"".join(fragment.data for fragment in fragments))
    for number in (0, GROUP, 2 * GROUP):
        assert abs(brightness(seen[number]) - shown[number]) < 2
    hub.end("lobby", "over")
    assert snapshots.png("lobby") is None


def test_what_does_not_decode_is_no_picture() -> None:
    init, fragments = live_stream(1)
    garbage = Fragment(b"\0\0\0\x10moof" + bytes(8), is_keyframe=True)
    assert picture_as_png(InitSegment(b"nothing", "avc1.42C01F"), fragments[0]) is None
    assert picture_as_png(init, garbage) is None
