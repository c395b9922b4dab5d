"""A server that accepts and then says nothing: the writer gives up and its child is gone."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.errors import SinkError
from pipeline.frames import EncodedPacket
from pipeline.publish.push import PushWriter, is_network
from pipeline.streams import StreamTemplates

Made = tuple[StreamTemplates, list[EncodedPacket]]


@pytest.mark.parametrize(
    ("target", "network"),
    [
        ("rtsp://127.0.0.1/x", True),
        ("RTSPS://127.0.0.1/x", True),
        ("rtmp://127.0.0.1/x", True),
        ("srt://127.0.0.1:9000", True),
        ("out.mp4", False),
        ("/tmp/rtsp/out.mp4", False),
        ("rtsp", False),
        ("http://127.0.0.1/x", False),
        ("file:///tmp/x.mp4", False),
    ],
)
def test_what_is_pushed_to(target: str, network: bool) -> None:
    assert is_network(target) is network


@pytest.fixture
def silent() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0), backlog=8) as server:
        yield int(server.getsockname()[1])


def gone(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def write_for_ever(writer: PushWriter, stream: Made) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        for packet in stream[1][:20]:
            writer.write(packet)
        time.sleep(0.05)
    raise AssertionError("nobody noticed that the server takes nothing")


def test_a_silent_server_is_given_up(stream: Made, silent: int) -> None:
    url = f"rtsp://ops:hunter2@127.0.0.1:{silent}/x"
    writer = PushWriter(url, stream[0], silence_seconds=1.0)
    try:
        with pytest.raises(SinkError, match="the server took nothing for 1 s") as caught:
            write_for_ever(writer, stream)
        assert "hunter2" not in str(caught.value)
        shown = Path(f"/proc/{writer._child.pid}/cmdline").read_bytes()
        assert b"hunter2" not in shown and b"rtsp" not in shown
    finally:
        writer.close()
    writer.close()
    assert gone(writer._child.pid)


def test_a_server_that_is_not_there_says_why(stream: Made) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    url = f"rtsp://ops:hunter2@127.0.0.1:{port}/x"
    writer = None
    try:
        with pytest.raises(SinkError, match="Connection refused") as caught:
            writer = PushWriter(url, stream[0], silence_seconds=30.0)
            write_for_ever(writer, stream)
        assert "hunter2" not in str(caught.value)
    finally:
        if writer is not None:
            writer.close()
            assert gone(writer._child.pid)
