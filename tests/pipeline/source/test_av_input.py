from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import av
import av.error
import numpy as np
import pytest

from pipeline.errors import NotAVideo, SourceError, SourceTimeout
from pipeline.frames import EncodedPacket
from pipeline.settings import CameraSettings
from pipeline.source.av_input import AvSource, is_live
from pipeline.source.base import DecodedFrame
from support.clips import (
    Clip,
    corrupt_packets,
    decode_all,
    luma,
    make_clip,
    not_a_video,
    truncate,
    zero_length,
)


def source(path: Path | str, **changes: object) -> AvSource:
    return AvSource(CameraSettings.model_validate({"id": "lobby", "source": str(path)} | changes))


def frames(opened: AvSource) -> list[DecodedFrame]:
    return [item for item in opened.read() if isinstance(item, DecodedFrame)]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    path = tmp_path_factory.mktemp("clips") / "a.mp4"
    return make_clip(path, size=(160, 96), frames=20, face_px=30, bframes=2, audio=True)


@pytest.mark.parametrize(
    ("name", "live"),
    [
        ("rtsp://10.0.0.9/x", True),
        ("RTSP://10.0.0.9/x", True),
        ("http://10.0.0.9/x.mjpg", True),
        ("clip.mp4", False),
        ("./rtsp/clip.mp4", False),
        ("rtsp", False),
    ],
)
def test_what_cannot_wait_for_us(name: str, live: bool) -> None:
    assert is_live(name) is live


def test_every_picture_of_a_file_in_order(clip: Clip) -> None:
    with source(clip.path) as opened:
        got = frames(opened)
        info = opened.info

    assert (info.width_px, info.height_px, float(info.fps), info.live) == (160, 96, 25.0, False)
    assert (info.codec, info.frames_total, info.audio) == ("h264", 20, None)
    assert info.duration_seconds == pytest.approx(0.8, abs=0.05)
    assert [float((item.pts or 0) * info.time_base) for item in got] == pytest.approx(clip.pts)
    for item, expected in zip(got, decode_all(clip.path), strict=True):
        np.testing.assert_array_equal(luma(item.image), luma(expected))
    assert opened.take_damaged() == 0


def test_a_voice_is_left_out_unless_it_is_asked_for(clip: Clip) -> None:
    with source(clip.path) as opened:
        assert not [item for item in opened.read() if isinstance(item, EncodedPacket)]
    with source(clip.path, audio="keep") as opened:
        kept = [item for item in opened.read() if isinstance(item, EncodedPacket)]
        assert opened.info.audio is not None
    assert kept and {packet.kind for packet in kept} == {"audio"}
    assert sum(packet.duration * packet.time_base for packet in kept) == pytest.approx(0.8, abs=0.1)


# --- what is no camera ---


def message(path: Path | str, kind: type[SourceError] = SourceError) -> str:
    with pytest.raises(kind) as caught:
        frames(source(path))
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert message(tmp_path / "none.mp4") == f"{tmp_path}/none.mp4: no such file"


def test_a_folder(tmp_path: Path) -> None:
    assert message(tmp_path) == f"{tmp_path}: is not a file"


def test_an_empty_file(tmp_path: Path) -> None:
    assert "the file is empty" in message(zero_length(tmp_path / "a.mp4"), NotAVideo)


@pytest.mark.parametrize("name", ["a.mp4", "a.txt", "a.264", "a"])
def test_a_text(tmp_path: Path, name: str) -> None:
    message(not_a_video(tmp_path / name), NotAVideo)


def test_a_file_that_lost_its_end(tmp_path: Path, clip: Clip) -> None:
    """An .mp4 keeps its index there."""
    truncate(clip.path, tmp_path / "cut.mp4")
    assert "is not a video, or is damaged" in message(tmp_path / "cut.mp4", NotAVideo)


def test_sound_without_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "a.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=48_000, layout="mono")
        for index in range(10):
            frame = av.AudioFrame.from_ndarray(
                np.zeros((1, 1024), np.float32), format="fltp", layout="mono"
            )
            frame.sample_rate, frame.pts = 48_000, index * 1024
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert "holds no video stream" in message(path, NotAVideo)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv"])
def test_a_cover_picture_is_no_stream(tmp_path: Path, suffix: str) -> None:
    """It is a photograph, often of a face, and larger than the video."""
    made = make_clip(
        tmp_path / f"a{suffix}", size=(96, 64), frames=8, face_px=20, cover_stream=True
    )
    with source(made.path) as opened:
        got = frames(opened)
        assert (opened.info.width_px, opened.info.height_px) == (96, 64)
    assert {(item.image.width, item.image.height) for item in got} == {(96, 64)}
    assert len(got) == 8


# --- damage ---


@pytest.mark.parametrize("suffix", [".ts", ".264"])
def test_damaged_packets_are_the_cameras_everyday(tmp_path: Path, suffix: str) -> None:
    made = make_clip(tmp_path / f"a{suffix}", size=(320, 192), frames=40, face_px=50, gop=10)
    broken = tmp_path / f"broken{suffix}"
    assert corrupt_packets(made.path, broken, every=5) > 3
    with source(broken) as opened:
        got = frames(opened)
    assert len(got) >= 20


@pytest.mark.parametrize("error", [av.error.InvalidDataError, av.error.PatchWelcomeError])
def test_packets_that_do_not_decode_are_counted_and_skipped(
    clip: Clip, error: type[av.error.FFmpegError]
) -> None:
    class Broken:
        def decode(self) -> list[av.VideoFrame]:
            raise error(1, "damaged")

    with source(clip.path) as opened:
        assert opened._decode(Broken()) == []  # type: ignore[arg-type]
        assert opened._decode(Broken()) == []  # type: ignore[arg-type]
        assert opened.take_damaged() == 2
        assert opened.take_damaged() == 0
        assert len(frames(opened)) == 20


def test_a_file_without_a_clock(tmp_path: Path) -> None:
    made = make_clip(tmp_path / "a.264", size=(160, 96), frames=10, face_px=30)
    with source(made.path) as opened:
        got = frames(opened)
    assert len(got) == 10


def test_another_resolution_in_mid_stream(tmp_path: Path) -> None:
    made = make_clip(
        tmp_path / "a.ts",
        size=(160, 96),
        second_size=(128, 96),
        frames=12,
        face_px=24,
        resolution_change_at=6,
    )
    with source(made.path) as opened:
        sizes = [(item.image.width, item.image.height) for item in frames(opened)]
    assert sizes == list(made.sizes)


# --- lifecycle, network ---


def test_closing_twice_is_closing_once(clip: Clip) -> None:
    opened = source(clip.path)
    opened.close()
    opened.close()


@pytest.fixture
def silent() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield int(server.getsockname()[1])


def test_a_camera_that_says_nothing_is_given_up(silent: int) -> None:
    url = f"rtsp://ops:hunter2@127.0.0.1:{silent}/cam"
    with pytest.raises(SourceTimeout) as caught:
        source(url, reconnect={"open_timeout": 0.5, "read_timeout": 0.5})
    assert str(caught.value) == (
        f"rtsp://***@127.0.0.1:{silent}/cam: connected, but sent nothing for 0.5 s"
    )
    assert caught.value.__suppress_context__  # the cause holds the URL


def test_a_camera_that_is_not_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    text = message(f"rtsp://ops:hunter2@127.0.0.1:{port}/cam")
    assert text == f"rtsp://***@127.0.0.1:{port}/cam: Connection refused"


def test_a_stream_that_appears_later_is_left_out(tmp_path: Path) -> None:
    """As damage makes one appear in a transport stream: PyAV gives up there."""
    # Longer and larger than what is looked at, from the start and from the end, when it is opened.
    clip = make_clip(tmp_path / "a.mp4", size=(320, 192), frames=250, face_px=40, crf=4, audio=True)
    silent, talking = tmp_path / "silent.ts", tmp_path / "talking.ts"
    for path, kinds in ((silent, ("video",)), (talking, ("video", "audio"))):
        with av.open(str(clip.path)) as old, av.open(str(path), "w") as new:
            chosen = [stream for stream in old.streams if stream.type in kinds]
            copies = {each.index: new.add_stream_from_template(each) for each in chosen}
            for packet in old.demux(*chosen):
                if packet.dts is not None:
                    packet.stream = copies[packet.stream_index]
                    new.mux(packet)
    parts = tmp_path / "parts.ts"
    parts.write_bytes(b"".join(each.read_bytes() for each in (silent, talking, silent)))
    with source(parts) as opened:
        assert len(frames(opened)) == 3 * clip.frames
        assert opened.take_damaged() == 1
