from __future__ import annotations

import errno
import io
import os
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import av.error
import pytest

from pipeline.errors import SinkError
from pipeline.frames import EncodedPacket
from pipeline.publish import mux
from pipeline.publish.mux import Muxer
from pipeline.streams import StreamTemplates
from support.clips import decode_all

Made = tuple[StreamTemplates, list[EncodedPacket]]


@pytest.mark.parametrize("ending", ["mp4", "mkv", "ts", "mov"])
def test_packets_come_back_as_they_went_in(stream: Made, tmp_path: Path, ending: str) -> None:
    templates, packets = stream
    path = tmp_path / f"out.{ending}"
    muxer = Muxer(str(path), templates)
    for packet in packets:
        muxer.write(packet)
    muxer.close()

    with av.open(str(path)) as container:
        assert not container.streams.audio
        shown = [frame.pts for frame in container.decode(video=0)]
        time_base = container.streams.video[0].time_base
    assert time_base is not None
    times = [float(pts * time_base) for pts in shown if pts is not None]
    # MPEG-TS starts late by its muxer's own delay; the distances are ours
    assert [time - times[0] for time in times] == pytest.approx(
        [float(packet.pts * packet.time_base) for packet in packets], abs=0.001
    )


def test_sound_without_a_stream_for_it_is_left_out(stream: Made, tmp_path: Path) -> None:
    templates, packets = stream
    path = tmp_path / "out.mkv"
    muxer = Muxer(str(path), templates)
    for packet in packets[:5]:
        muxer.write(packet)
        muxer.write(replace(packet, kind="audio"))
    muxer.close()
    assert len(decode_all(path)) == 5


def test_closing_twice_is_closing_once(stream: Made, tmp_path: Path) -> None:
    templates, packets = stream
    muxer = Muxer(str(tmp_path / "out.mp4"), templates)
    muxer.write(packets[0])
    muxer.close()
    muxer.close()
    with pytest.raises(SinkError):
        muxer.write(packets[1])


def test_a_folder_that_is_not_there(stream: Made, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="recording of lobby: No such file or directory"):
        # libav opens with the first packet
        Muxer(str(tmp_path / "none" / "out.mp4"), stream[0], name="recording of lobby").write(
            stream[1][0]
        )


def test_errors_hold_no_credentials(stream: Made, tmp_path: Path) -> None:
    url = f"{tmp_path}/none/rtsp://ops:hunter2@10.0.0.9/x.mp4"
    with pytest.raises(SinkError) as caught:
        Muxer(url, stream[0], name=url).write(stream[1][0])
    assert "hunter2" not in str(caught.value)
    assert caught.value.__cause__ is None and caught.value.__suppress_context__


class FullDisk(io.BytesIO):
    """Takes a little, and then has no room."""

    room = 20_000

    def write(self, data: Any) -> int:
        written = super().write(data)
        if self.tell() > self.room:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return written


def test_a_target_that_raises_is_a_sink_error(stream: Made) -> None:
    templates, packets = stream
    muxer = Muxer(FullDisk(), templates, format="mpegts", name="recording of lobby")
    with pytest.raises(SinkError, match="recording of lobby: "):
        for packet in packets:
            muxer.write(packet)


@pytest.mark.parametrize(
    ("number", "said"),
    [(errno.ENOSPC, "the disk is full"), (errno.EACCES, "may not be written")],
)
def test_what_an_operator_can_do_something_about(number: int, said: str) -> None:
    assert said in mux._reason(av.error.FFmpegError(number, "x"))


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own with room for 64 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)],
        capture_output=True,
        check=False,
    )
    if mounted.returncode:
        pytest.skip("mounting needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_said(stream: Made, tiny_disk: Path) -> None:
    templates, packets = stream
    muxer = Muxer(str(tiny_disk / "out.ts"), templates, name="recording of lobby")
    with pytest.raises(SinkError, match="recording of lobby: the disk is full"):
        for packet in packets:
            muxer.write(packet)
        muxer.close()
    with suppress(SinkError):
        muxer.close()  # and the file is let go of: `tiny_disk` could not be taken away else
