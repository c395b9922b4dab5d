"""Live HLS: made only while somebody asks, numbered rightly, and playable."""

from __future__ import annotations

import functools
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.review.live.boxes import Timing, timescale_of, timing_of
from pipeline.review.live.hls import ASKED_SECONDS, KEPT, LISTED, LiveHls
from pipeline.review.live.hub import Fragment, InitSegment, LiveHub
from support.live import FPS, GROUP, live_stream

GROUP_SECONDS = float(GROUP / FPS)


@pytest.fixture(scope="module")
def stream() -> tuple[InitSegment, list[Fragment]]:
    return live_stream(125)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def entries(playlist: str) -> list[str]:
    return re.findall(r"^live/(\S+\.m4s)$", playlist, re.M)


def tag(playlist: str, name: str) -> int:
    match = re.search(rf"^#{name}:(\d+)$", playlist, re.M)
    assert match is not None, playlist
    return int(match[1])


def feed(hls: LiveHls, fragments: list[Fragment]) -> None:
    for fragment in fragments:
        hls.add(fragment)


def test_boxes_say_when_a_frame_is_and_how_long(
    stream: tuple[InitSegment, list[Fragment]],
) -> None:
    init, fragments = stream
    timescale = timescale_of(init.data)
    timings = [timing_of(fragment.data) for fragment in fragments]
    first = timings[0].start
    for index, timing in enumerate(timings):
        assert Fraction(timing.start - first, timescale) == index / FPS
        assert Fraction(timing.length, timescale) == 1 / FPS
    two = timing_of(fragments[3].data + fragments[4].data)
    assert two == timings[3]  # of the first moof


def box(kind: bytes, *inner: bytes) -> bytes:
    body = b"".join(inner)
    return (8 + len(body)).to_bytes(4, "big") + kind + body


def words(*numbers: int) -> bytes:
    return b"".join(number.to_bytes(4, "big") for number in numbers)


@pytest.mark.parametrize(
    ("tfhd", "trun", "length"),
    [
        (words(0x8, 1, 40), words(0x0, 3), 120),  # default length, three samples
        (words(0xB, 1, 0, 0, 7, 40), words(0x5, 2, 9, 9), 80),  # offset, description, flags
        (words(0x0, 1), words(0xF01, 2, 9, 10, 1, 1, 1, 20, 1, 1, 1), 30),  # each its own
        (words(0x0, 1), words(0x0, 2), 0),  # nobody says
    ],
)
def test_lengths_wherever_a_muxer_writes_them(tfhd: bytes, trun: bytes, length: int) -> None:
    tfdt = (1 << 24).to_bytes(4, "big") + (5 << 32).to_bytes(8, "big")
    moof = box(b"moof", box(b"mfhd", words(0, 1)), box(b"traf", box(b"tfhd", tfhd),
               box(b"tfdt", tfdt), box(b"trun", trun)))  # fmt: skip
    assert timing_of(moof) == Timing(5 << 32, length)


@pytest.mark.parametrize("cut", [0, 4, 8, 20, 40, 60, 80, 90])
def test_a_cut_fragment_is_said(stream: tuple[InitSegment, list[Fragment]], cut: int) -> None:
    with pytest.raises(ValueError):
        timing_of(stream[1][0].data[:cut])


def test_nothing_is_kept_until_somebody_asks(stream: tuple[InitSegment, list[Fragment]]) -> None:
    init, fragments = stream
    clock = Clock()
    hls = LiveHls(monotonic=clock)
    hls.begin(init)
    feed(hls, fragments[:50])
    assert hls.file("init1.mp4") is None
    # in the middle of a group: its beginning is what the hub has kept
    assert hls.playlist(fragments[50:53]) is None
    assert hls.file("init1.mp4") == init.data
    feed(hls, fragments[53:61])
    playlist = hls.playlist()
    assert playlist is not None
    (name,) = entries(playlist)
    assert hls.file(name) == b"".join(fragment.data for fragment in fragments[50:60])

    clock.now += ASKED_SECONDS
    hls.tidy()
    assert hls.file(name) is not None
    clock.now += 0.1
    hls.tidy()
    assert hls.file(name) is None and hls.file("init1.mp4") is None
    feed(hls, fragments[61:90])
    assert hls.playlist() is None
    feed(hls, fragments[90:101])
    later = hls.playlist()
    assert later is not None
    assert tag(later, "EXT-X-MEDIA-SEQUENCE") == int(name.removesuffix(".m4s")) + 1


def test_a_window_moves_on(stream: tuple[InitSegment, list[Fragment]]) -> None:
    init, fragments = stream
    hls = LiveHls()
    hls.begin(init)
    assert hls.playlist() is None
    feed(hls, fragments[:101])  # ten whole groups
    playlist = hls.playlist()
    assert playlist is not None
    assert playlist.startswith("#EXTM3U\n#EXT-X-VERSION:7\n")
    names = entries(playlist)
    assert len(names) == LISTED
    numbers = [int(name.removesuffix(".m4s")) for name in names]
    assert numbers == list(range(numbers[0], numbers[0] + LISTED))
    assert tag(playlist, "EXT-X-MEDIA-SEQUENCE") == numbers[0]
    assert tag(playlist, "EXT-X-TARGETDURATION") == 1
    assert tag(playlist, "EXT-X-DISCONTINUITY-SEQUENCE") == 0
    assert "#EXT-X-DISCONTINUITY\n" not in playlist
    assert playlist.count("#EXT-X-MAP:") == 1
    lengths = [float(text) for text in re.findall(r"#EXTINF:([\d.]+),", playlist)]
    assert lengths == [GROUP_SECONDS] * LISTED
    for group, name in zip(range(4, 10), names, strict=True):
        data = b"".join(f.data for f in fragments[group * GROUP : (group + 1) * GROUP])
        assert hls.file(name) == data
    older = [numbers[0] - back for back in range(1, 4)]
    kept = [hls.file(f"{number}.m4s") is not None for number in older]
    assert kept == [True] * (KEPT - LISTED) + [False]


def test_a_new_stream_and_a_gap_are_discontinuities(
    stream: tuple[InitSegment, list[Fragment]],
) -> None:
    init, fragments = stream
    hls = LiveHls()
    hls.begin(init)
    hls.playlist()
    feed(hls, fragments[:20])
    hls.end()
    hls.begin(init)
    feed(hls, fragments[20:30])
    feed(hls, fragments[40:51])  # ten frames never came
    playlist = hls.playlist()
    assert playlist is not None
    kinds = re.findall(r"^(#EXT-X-DISCONTINUITY$|#EXT-X-MAP\S*|live/)", playlist, re.M)
    assert kinds == [
        '#EXT-X-MAP:URI="live/init1.mp4"',
        *("live/", "live/"),
        "#EXT-X-DISCONTINUITY",
        '#EXT-X-MAP:URI="live/init2.mp4"',
        "live/",
        "#EXT-X-DISCONTINUITY",
        "live/",
    ]
    hls.begin(init)
    feed(hls, fragments)
    later = hls.playlist()
    assert later is not None
    # of three, all have left the playlist
    assert tag(later, "EXT-X-DISCONTINUITY-SEQUENCE") == 3
    assert "#EXT-X-DISCONTINUITY\n" not in later
    assert hls.file("init1.mp4") is None and hls.file("init3.mp4") == init.data


def test_what_is_not_of_our_muxer_makes_no_playlist() -> None:
    hls = LiveHls()
    hls.begin(InitSegment(b"init", "avc1.42C01F"))
    hls.playlist()
    feed(hls, [Fragment(b"K", is_keyframe=True)] * 3)
    assert hls.playlist() is None


@contextmanager
def served(folder: Path) -> Iterator[str]:
    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            pass

    handler = functools.partial(Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


def test_a_player_plays_it(stream: tuple[InitSegment, list[Fragment]], tmp_path: Path) -> None:
    """libavformat as the player, over HTTP, as the hub gives it out."""
    init, fragments = stream
    hub = LiveHub()
    hub.begin("lobby", init)
    assert hub.playlist("lobby") is None
    for fragment in fragments[:61]:
        hub.publish("lobby", fragment)
    playlist = hub.playlist("lobby")
    assert playlist is not None
    (tmp_path / "live.m3u8").write_text(playlist + "#EXT-X-ENDLIST\n")
    (tmp_path / "live").mkdir()
    for name in re.findall(r"live/([\w.]+)", playlist):
        data = hub.hls_file("lobby", name)
        assert data is not None
        (tmp_path / "live" / name).write_bytes(data)
    assert hub.hls_file("lobby", "../live.m3u8") is None
    assert hub.hls_file("nobody", "init1.mp4") is None
    with served(tmp_path) as url, av.open(url + "live.m3u8", "r") as container:
        frames = list(container.decode(video=0))
    assert len(frames) == 60
    times = [frame.time for frame in frames]
    np.testing.assert_allclose(np.diff(np.array(times)), 1 / 25, atol=1e-3)
    seen = [float(frame.to_ndarray(format="gray").mean()) for frame in frames]
    assert min(np.diff(seen)) > 0
