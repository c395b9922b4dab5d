"""Packets are decoded again: what counts is what a recorder or viewer gets."""

from __future__ import annotations

import itertools
import typing
from collections.abc import Callable, Iterable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Literal

import av
import numpy as np
import pytest

from pipeline.compose.gate import Gate, ProtectedFrame, Zones
from pipeline.encode.encoder import Encoder
from pipeline.errors import EncodeError
from pipeline.frames import EncodedPacket, FaceBox, RawFrame, TrackBox, planes_of
from pipeline.protect.choose import make_patches
from pipeline.publish.mux import Muxer
from pipeline.settings import EncodeSettings, ProtectSettings
from support.clips import decode_all, make_clip

WIDTH, HEIGHT = 128, 96
TICKS = Fraction(1, 90_000)
INTERVAL = 3_600  # 25 frames a second
CODECS: list[tuple[Literal["h264", "h265"], str]] = [("h264", "libx264"), ("h265", "libx265")]
codecs = pytest.mark.parametrize(("codec", "name"), CODECS, ids=["h264", "h265"])

Change = Callable[[av.VideoFrame], None]


def protected(index: int, pts: int | None = None, change: Change | None = None) -> ProtectedFrame:
    rng = np.random.default_rng(index)
    i420 = np.kron(
        rng.integers(40, 200, (HEIGHT * 3 // 16, WIDTH // 8), np.uint8), np.ones((8, 8), np.uint8)
    )
    image = av.VideoFrame.from_ndarray(i420, format="yuv420p")
    if change:
        change(image)
    at = index * INTERVAL if pts is None else pts
    return Gate("lobby", lambda _p, _f: []).protect(
        RawFrame(image, index, at, TICKS, 1_000 + index), [], Zones()
    )


def encoded(
    frames: Iterable[ProtectedFrame], codec: Literal["h264", "h265"], name: str, **settings: object
) -> tuple[Encoder, list[EncodedPacket]]:
    frames = list(frames)
    encoder = Encoder(
        EncodeSettings.model_validate({"codec": codec} | settings),
        encoder=name,
        preset="ultrafast",
        first=frames[0],
        fps=Fraction(25),
        live=True,
    )
    packets = [packet for frame in frames for packet in encoder.encode(frame)]
    return encoder, packets + encoder.finish()


def keyframes(packets: list[EncodedPacket]) -> list[int]:
    return [packet.pts for packet in packets if packet.is_keyframe]


def nal_kinds(packet: EncodedPacket, codec: str) -> set[int]:
    data, kinds, at = packet.data, set(), 0
    while (at := data.find(b"\x00\x00\x01", at)) >= 0:
        at += 3
        kinds.add(data[at] & 0x1F if codec == "h264" else data[at] >> 1 & 0x3F)
    return kinds


def test_only_protected_frames_can_be_encoded() -> None:
    assert typing.get_type_hints(Encoder.encode)["frame"] is ProtectedFrame
    assert typing.get_type_hints(Encoder.__init__)["first"] is ProtectedFrame


@codecs
def test_every_frame_keeps_its_time(codec: Literal["h264", "h265"], name: str) -> None:
    """Irregular as a camera's: nothing is rounded to the nominal rate."""
    rng = np.random.default_rng(4)
    pts = [int(v) for v in np.cumsum(rng.integers(1, 9_000, 40))]
    frames = [protected(index, at) for index, at in enumerate(pts)]

    _, packets = encoded(frames, codec, name)

    assert [packet.pts for packet in packets] == pts
    assert [packet.dts for packet in packets] == pts  # no B frames: nothing is held back
    assert {packet.time_base for packet in packets} == {TICKS}
    assert [packet.captured_ns for packet in packets] == [1_000 + n for n in range(40)]


@codecs
def test_nothing_is_held_back(codec: Literal["h264", "h265"], name: str) -> None:
    first = protected(0)
    encoder = Encoder(
        EncodeSettings(codec=codec),
        encoder=name,
        preset="ultrafast",
        first=first,
        fps=Fraction(25),
        live=True,
    )
    out = [len(encoder.encode(protected(index))) for index in range(10)]
    assert out == [1] * 10
    assert encoder.finish() == []


@codecs
@pytest.mark.parametrize("gop", [0.4, 1.0, 2.0])
def test_keyframes_come_by_time(codec: Literal["h264", "h265"], name: str, gop: float) -> None:
    _, packets = encoded([protected(n) for n in range(60)], codec, name, gop=gop)
    every = round(gop * 25)
    assert keyframes(packets) == [n * INTERVAL for n in range(0, 60, every)]
    assert packets[0].is_keyframe


@codecs
def test_time_counts_for_keyframes_not_frames(codec: Literal["h264", "h265"], name: str) -> None:
    """A camera that drops to 5 frames a second still gives a picture every two seconds."""
    pts = [n * 18_000 for n in range(25)]
    _, packets = encoded([protected(n, at) for n, at in enumerate(pts)], codec, name, gop=2.0)
    assert keyframes(packets) == [n * 180_000 for n in range(3)]


@codecs
def test_the_cameras_own_keyframes_force_nothing(
    codec: Literal["h264", "h265"], name: str, tmp_path: Path
) -> None:
    """A decoded frame remembers that it was an I-frame."""
    clip = make_clip(tmp_path / "a.mp4", size=(160, 96), frames=30, gop=5, faces=0)
    gate = Gate("lobby", lambda _p, _f: [])
    frames = []
    for index, image in enumerate(decode_all(clip.path)):
        raw = RawFrame(image, index, index * INTERVAL, TICKS, 0)
        frames.append(gate.protect(raw, [], Zones()))
    assert sum(frame.image.pict_type == 1 for frame in frames) == 6  # the clip's own

    _, packets = encoded(frames, codec, name, gop=0.8)

    assert keyframes(packets) == [n * INTERVAL for n in range(0, 30, 20)]


@codecs
def test_every_keyframe_can_be_the_first(codec: Literal["h264", "h265"], name: str) -> None:
    """Parameter sets before each IDR, and nothing after it refers to before it."""
    frames = [protected(n) for n in range(30)]
    _, packets = encoded(frames, codec, name, gop=0.4)
    idr, sets = (5, {7, 8}) if codec == "h264" else (19, {32, 33, 34})
    idr_kinds = {5} if codec == "h264" else {19, 20}  # IDR_W_RADL, IDR_N_LP; never CRA (21)
    for packet in packets:
        kinds = nal_kinds(packet, codec)
        assert bool(kinds & idr_kinds) == packet.is_keyframe
        if packet.is_keyframe:
            assert sets <= kinds
        assert codec == "h264" or 21 not in kinds
    assert idr in idr_kinds

    # cut at the second keyframe: a decoder that saw nothing before shows the same pictures
    def shown(some: list[EncodedPacket]) -> list[bytes]:
        decoder = av.CodecContext.create("h264" if codec == "h264" else "hevc", "r")
        assert isinstance(decoder, av.VideoCodecContext)
        out = []
        for data in [*(packet.data for packet in some), None]:
            for frame in decoder.decode(av.Packet(data) if data else None):
                out.append(planes_of(frame).y.tobytes())
        return out

    whole, cut = shown(packets), shown(packets[10:])
    assert len(whole) == 30
    assert cut == whole[10:]


@codecs
def test_colours_are_kept(codec: Literal["h264", "h265"], name: str, tmp_path: Path) -> None:
    def bt709(image: av.VideoFrame) -> None:
        image.color_range, image.colorspace = 1, 1
        image.color_primaries, image.color_trc = 1, 1

    encoder, packets = encoded([protected(n, change=bt709) for n in range(3)], codec, name)
    path = tmp_path / "out.mkv"
    muxer = Muxer(str(path), encoder.templates)
    for packet in packets:
        muxer.write(packet)
    muxer.close()

    frame = decode_all(path)[0]
    assert (frame.width, frame.height, frame.format.name) == (WIDTH, HEIGHT, "yuv420p")
    assert (frame.color_range, frame.colorspace) == (1, 1)
    assert (frame.color_primaries, frame.color_trc) == (1, 1)


@pytest.mark.parametrize("name", ["yuvj420p", "yuv420p"])
def test_full_range_stays_full_range(tmp_path: Path, name: str) -> None:
    """MJPEG cameras: taken for limited range, the picture would be too hard."""
    i420 = np.full((HEIGHT * 3 // 2, WIDTH), 250, np.uint8)
    i420[HEIGHT:] = 128
    image = av.VideoFrame.from_ndarray(i420, format=name)
    image.color_range = 2
    frame = Gate("lobby", lambda _p, _f: []).protect(RawFrame(image, 0, 0, TICKS, 0), [], Zones())
    encoder, packets = encoded([frame], "h264", "libx264")
    path = tmp_path / "out.mkv"
    muxer = Muxer(str(path), encoder.templates)
    for packet in packets:
        muxer.write(packet)
    muxer.close()

    shown = decode_all(path)[0]
    assert shown.color_range == 2
    assert abs(float(planes_of(shown).y.mean()) - 250) < 2


@codecs
def test_pictures_survive(codec: Literal["h264", "h265"], name: str, tmp_path: Path) -> None:
    frames = [protected(n) for n in range(5)]
    originals = [planes_of(frame.image).y.astype(int).copy() for frame in frames]
    encoder, packets = encoded(frames, codec, name, crf=10)
    path = tmp_path / "out.mkv"
    muxer = Muxer(str(path), encoder.templates)
    for packet in packets:
        muxer.write(packet)
    muxer.close()
    shown = [planes_of(frame).y.astype(int) for frame in decode_all(path)]
    for before, after in zip(originals, shown, strict=True):
        assert np.abs(before - after).mean() < 4


def test_an_encoder_that_cannot_be_opened_is_one_error() -> None:
    with pytest.raises(EncodeError, match="libx264 cannot be opened"):
        Encoder(
            EncodeSettings(),
            encoder="libx264",
            preset="no such preset",
            first=protected(0),
            fps=Fraction(25),
            live=False,
        )


def test_a_bitrate_is_a_ceiling() -> None:
    frames = [protected(n) for n in range(50)]
    _, free = encoded(frames, "h264", "libx264", crf=10)
    _, held = encoded(
        [protected(n) for n in range(50)], "h264", "libx264", crf=10, bitrate_kbps=200
    )
    size = [sum(len(packet.data) for packet in packets) for packets in (free, held)]
    assert size[1] < size[0] / 2
    assert size[1] * 8 / 2 < 2 * 200_000  # two seconds of it, with one buffer of slack


def stamped(count: int, gop: float) -> list[ProtectedFrame]:
    """As in a session: the gate says which frames become IDR frames."""
    gate = Gate("lobby", lambda _p, _f: [], gop_seconds=gop)
    return [
        gate.protect(RawFrame(protected(n).image, n, n * INTERVAL, TICKS, 0), [], Zones())
        for n in range(count)
    ]


@codecs
def test_the_gate_and_the_encoder_agree_on_keyframes(
    codec: Literal["h264", "h265"], name: str
) -> None:
    frames = stamped(60, 0.8)
    _, packets = encoded(frames, codec, name, gop=0.8)
    assert keyframes(packets) == [frame.pts for frame in frames if frame.is_idr]
    assert keyframes(packets) == [0, 20 * INTERVAL, 40 * INTERVAL]


@pytest.mark.parametrize("lost", [{0}, {20}, {20, 21, 22}, set(range(15, 45)), {0, 20, 40}])
def test_a_lost_keyframe_is_made_up_for_and_the_next_is_where_the_gate_says(
    lost: set[int],
) -> None:
    """A live stream drops protected frames where the encoder is too slow."""
    frames = [frame for frame in stamped(100, 0.8) if frame.number not in lost]
    _, packets = encoded(frames, "h264", "libx264", gop=0.8)
    times = [time // INTERVAL for time in keyframes(packets)]
    assert times[0] == frames[0].number
    assert {frame.number for frame in frames if frame.is_idr} <= set(times)
    assert all(b - a <= 20 + len(lost) for a, b in itertools.pairwise(times))


@codecs
def test_packets_know_their_frame(codec: Literal["h264", "h265"], name: str) -> None:
    _, packets = encoded([protected(n) for n in range(12)], codec, name)
    assert [packet.frame for packet in packets] == list(range(12))


@codecs
def test_detail_that_no_later_frame_repeats_keeps_its_bits(
    codec: Literal["h264", "h265"], name: str
) -> None:
    """A fused square: noise in one frame, an even area in the next. At the same size of file."""

    def picture(index: int) -> ProtectedFrame:
        def change(image: av.VideoFrame) -> None:
            area = planes_of(image).y[32:64, 32:96]
            noise = np.random.default_rng(index).normal(0, 9, area.shape)
            area[...] = np.clip(120 + (noise if index % 10 == 0 else 0), 0, 255)

        return protected(index, change=change)

    def error_and_size(for_recovery: bool, crf: int) -> tuple[float, int]:
        encoder = Encoder(
            EncodeSettings(codec=codec, crf=crf, gop=0.4),
            encoder=name,
            preset="veryfast",
            first=picture(0),
            fps=Fraction(25),
            live=False,
            for_recovery=for_recovery,
        )
        packets = [packet for n in range(30) for packet in encoder.encode(picture(n))]
        packets += encoder.finish()
        decoder = av.CodecContext.create("h264" if codec == "h264" else "hevc", "r")
        assert isinstance(decoder, av.VideoCodecContext)
        shown = [
            planes_of(frame).y.astype(int)
            for data in [*(packet.data for packet in packets), None]
            for frame in decoder.decode(av.Packet(data) if data else None)
        ]
        errors = [
            np.abs(shown[n] - planes_of(picture(n).image).y)[32:64, 32:96].mean()
            for n in range(0, 30, 10)
        ]
        return float(np.mean(errors)), sum(len(packet.data) for packet in packets)

    plain, plain_bytes = error_and_size(False, 23)
    kept, kept_bytes = error_and_size(True, 23)
    assert kept < 0.8 * plain
    assert kept_bytes < 2 * plain_bytes


def test_packets_say_whom_their_frames_hide() -> None:
    """Also where the encoder holds frames back: of the right frame, each once."""
    gate = Gate("lobby", partial(make_patches, settings=ProtectSettings(obfuscation="solid")))

    def frame(index: int) -> ProtectedFrame:
        i420 = np.full((HEIGHT * 3 // 2, WIDTH), 60 + index, np.uint8)
        image = av.VideoFrame.from_ndarray(i420, format="yuv420p")
        raw = RawFrame(image, index, index * INTERVAL, TICKS, 1_000 + index)
        if index == 5:
            return gate.redact(raw, "a test")
        box = np.array([index, 10, index + 30, 50], np.float32)
        return gate.protect(raw, [FaceBox(3, box, 0.0)] if index % 2 else [], Zones())

    encoder = Encoder(
        EncodeSettings(),
        encoder="libx264",
        preset="medium",
        first=frame(0),
        fps=Fraction(25),
        live=False,
    )
    packets = [packet for index in range(60) for packet in encoder.encode(frame(index))]
    assert len(packets) < 60  # some are held back
    packets += encoder.finish()
    assert [packet.frame for packet in packets] == list(range(60))
    assert [packet.redacted for packet in packets] == [index == 5 for index in range(60)]
    for index, packet in enumerate(packets):
        expected = (TrackBox(3, (index, 10, 30, 40)),) if index % 2 and index != 5 else ()
        assert packet.tracks == expected
