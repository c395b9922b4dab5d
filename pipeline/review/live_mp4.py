"""The protected stream for browsers: fragmented MP4, one fragment a frame.

This is the side of the cameras' process: sink thread -> LiveMp4Writer -> LiveOutlet.
"""

from __future__ import annotations

import copy
from collections import deque
from typing import Protocol

from ..errors import SinkError
from ..frames import EncodedPacket
from ..publish.mux import Muxer
from ..streams import StreamTemplates
from .live.pieces import Fragment, InitSegment

FRAGMENT_PER_FRAME = {
    "movflags": "frag_every_frame+empty_moov+default_base_moof+skip_trailer",
    "flush_packets": "1",
}
ENDED = "the stream has ended"
_BOX_HEADER_BYTES = 8  # 32-bit size, four letters
_LARGEST_BOX_BYTES = 64_000_000


class LiveOutlet(Protocol):
    """Where one camera's fragments go; nothing in it may wait."""

    def begin(self, init: InitSegment) -> None:
        """A new stream."""
        ...

    def publish(self, fragment: Fragment) -> None:
        """Its next frame."""
        ...

    def end(self, reason: str) -> None:
        """It is over."""
        ...


class LiveMp4Writer:
    """Muxes one stream for a `LiveOutlet`. Sound is left out: the page is muted."""

    def __init__(self, outlet: LiveOutlet, templates: StreamTemplates) -> None:
        """Raises SinkError."""
        self._outlet = outlet
        self._boxes = BoxReader()
        self._keyframes: deque[bool] = deque()  # of packets whose fragment is still to come
        self._header: list[bytes] = []
        self._moof: bytes | None = None
        self._closed = False
        self._size_px = (templates.video.width, templates.video.height)
        video_only = copy.copy(templates)
        video_only.audio = None
        self._muxer = Muxer(
            self._boxes, video_only, format="mp4", options=FRAGMENT_PER_FRAME, name="live view"
        )

    def write(self, packet: EncodedPacket) -> None:
        """See Writer. A frame's fragment comes with the next frame, when its length is known."""
        if packet.kind != "video":
            return
        self._keyframes.append(packet.is_keyframe)
        self._muxer.write(packet)
        self._hand_on()

    def close(self) -> None:
        """See Writer: the last frame goes out, and the viewers are told that it was the last."""
        if self._closed:
            return
        self._closed = True
        try:
            self._muxer.close()
            self._hand_on()
        finally:
            self._outlet.end(ENDED)

    def _hand_on(self) -> None:
        for kind, data in self._boxes.take():
            if kind in (b"ftyp", b"moov"):
                self._header.append(data)
                if kind == b"moov":
                    init = InitSegment(b"".join(self._header), _codec(data), *self._size_px)
                    self._outlet.begin(init)
            elif kind == b"moof":
                self._moof = data
            elif kind == b"mdat" and self._moof is not None:
                is_keyframe = self._keyframes.popleft() if self._keyframes else False
                self._outlet.publish(Fragment(self._moof + data, is_keyframe))
                self._moof = None


class BoxReader:
    """A file to write to that gives back whole top-level MP4 boxes."""

    def __init__(self) -> None:
        self._pending = bytearray()

    def write(self, data: bytes) -> int:
        """Called by libav, with pieces of any size."""
        self._pending += data
        return len(data)

    def take(self) -> list[tuple[bytes, bytes]]:
        """(kind, whole box) in order. Raises SinkError for what cannot be a box."""
        boxes = []
        while len(self._pending) >= _BOX_HEADER_BYTES:
            size = int.from_bytes(self._pending[:4], "big")
            if not _BOX_HEADER_BYTES <= size <= _LARGEST_BOX_BYTES:
                raise SinkError(f"live view: a box of {size} bytes is not one of fragmented MP4")
            if len(self._pending) < size:
                break
            boxes.append((bytes(self._pending[4:8]), bytes(self._pending[:size])))
            del self._pending[:size]
        return boxes


def _codec(moov: bytes) -> str:
    """The codec string of the only track. Raises SinkError where browsers could not play it."""
    start = moov.find(b"avcC")
    if start < 0:
        raise SinkError("live view: only H.264 plays in browsers; set encode.codec to h264")
    profile, constraints, level = moov[start + 5 : start + 8]  # after the version
    return f"avc1.{profile:02X}{constraints:02X}{level:02X}"
