"""What a camera sends, heard beside the service: the very pixels that the service decodes."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import av

from pipeline.evidence.nal import ANNEX_B, is_slice, split_nals

from .clips import luma
from .pendulum import Film

RUN_BYTES = 32  # of a row of pixels
START_BYTES = 64  # of a coded picture
LEAST_SHADES = 12  # in a run of pixels: what is plain is everywhere
STOP_SECONDS = 10.0

Named = Iterator[tuple[str, bytes]]


def live_memory_of(pid: int) -> Iterator[bytes]:
    """What the process can write, region by region, while it goes on. For who may (root)."""
    with Path(f"/proc/{pid}/mem").open("rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            where, rights, *_ = line.split()
            begin, end = (int(part, 16) for part in where.split("-"))
            if rights.startswith("rw"):
                try:
                    memory.seek(begin)
                    yield memory.read(end - begin)
                except OSError:  # it has just been given back
                    continue


class Tap(threading.Thread):
    """Takes the packets while the block lasts."""

    def __init__(self, url: str) -> None:
        super().__init__(daemon=True, name="tap")
        self._ending = threading.Event()
        self._container = av.open(url, options={"rtsp_transport": "tcp"}, timeout=10)
        self._packets: list[av.Packet[Any]] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def count(self) -> int:
        """Pictures so far."""
        return len(self._packets)

    def run(self) -> None:
        """The thread."""
        for packet in self._container.demux(video=0):
            if self._ending.is_set():
                break
            if packet.size:
                self._packets.append(packet)

    def stop(self) -> None:
        """What has come is kept. Idempotent."""
        self._ending.set()
        self.join(STOP_SECONDS)
        assert not self.is_alive()

    def coded(self) -> Named:
        """The begin of every coded slice."""
        for number, packet in enumerate(self._packets):
            for nal in split_nals(bytes(packet), ANNEX_B):
                if is_slice(nal, "h264") and len(nal) > START_BYTES:
                    yield f"coded picture {number}", nal[1 : 1 + START_BYTES]

    def faces(self, film: Film) -> Named:
        """Rows of pixels in the middle of each face of each picture."""
        frames = (frame for packet in self._packets for frame in packet.decode())
        for number, frame in enumerate(frames):
            picture = luma(frame)
            for x1, y1, x2, y2 in film.seen(picture).boxes:
                middle = (x1 + x2 - RUN_BYTES) // 2
                for row in picture[y1:y2, middle : middle + RUN_BYTES]:
                    if len(set(row.tolist())) >= LEAST_SHADES:
                        yield f"face of picture {number}", row.tobytes()
