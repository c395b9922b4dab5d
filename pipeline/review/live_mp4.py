"""The protected stream for browsers: fragmented MP4, one fragment a frame, any number of viewers.

sink thread -> LiveMp4Writer -> LiveMp4 -> one bounded queue per viewer

A viewer first gets the init segment and the fragments since the last keyframe, so that a picture
stands at once. A viewer that lags is dropped to the next keyframe; nobody waits for it.
"""

from __future__ import annotations

import copy
import threading
import time
from collections import deque
from dataclasses import dataclass, field

from ..errors import SinkError
from ..frames import EncodedPacket
from ..publish.mux import Muxer
from ..streams import StreamTemplates

VIEWER_FRAGMENTS = 150  # 6 s at 25 frames a second: more would only be old pictures
VIEWER_BYTES = 16_000_000
GROUP_BYTES = 16_000_000  # a group that outgrows this is no longer kept for new viewers
FRAGMENT_PER_FRAME = {
    "movflags": "frag_every_frame+empty_moov+default_base_moof+skip_trailer",
    "flush_packets": "1",
}
_BOX_HEADER_BYTES = 8  # 32-bit size, four letters
_LARGEST_BOX_BYTES = 64_000_000


@dataclass(frozen=True, slots=True)
class InitSegment:
    """What a decoder needs before the first fragment."""

    data: bytes = field(repr=False)  # ftyp and moov
    codec: str  # RFC 6381, such as avc1.42C01F

    @property
    def mime(self) -> str:
        """As Media Source Extensions want it."""
        return f'video/mp4; codecs="{self.codec}"'


@dataclass(frozen=True, slots=True)
class Fragment:
    """One frame: moof and mdat."""

    data: bytes = field(repr=False)
    is_keyframe: bool


class Viewer:
    """One client's queue. `LiveMp4` fills it, the client's thread empties it."""

    def __init__(self, init: InitSegment) -> None:
        self.init = init
        self.dropped = 0  # fragments
        self._queue: deque[Fragment] = deque()
        self._bytes = 0
        self._needs_keyframe = True
        self._ended = False
        self._condition = threading.Condition()

    def offer(self, fragment: Fragment) -> None:
        """Queue a fragment; never waits. A full queue starts over at the next keyframe."""
        with self._condition:
            full = len(self._queue) >= VIEWER_FRAGMENTS or self._bytes >= VIEWER_BYTES
            if full:
                self.dropped += len(self._queue)
                self._queue.clear()
                self._bytes = 0
                self._needs_keyframe = True
            if self._needs_keyframe and not fragment.is_keyframe:
                self.dropped += 1
                return
            self._needs_keyframe = False
            self._queue.append(fragment)
            self._bytes += len(fragment.data)
            self._condition.notify_all()

    def take(self, timeout_seconds: float) -> list[Fragment]:
        """Everything that waits; empty at the end. Raises TimeoutError where nothing came."""
        deadline = time.monotonic() + timeout_seconds
        with self._condition:
            while not self._queue and not self._ended:
                if (left := deadline - time.monotonic()) <= 0:
                    raise TimeoutError
                self._condition.wait(left)
            waiting = list(self._queue)
            self._queue.clear()
            self._bytes = 0
            return waiting

    def end(self) -> None:
        """No more fragments: `take` gives what is left, then nothing."""
        with self._condition:
            self._ended = True
            self._condition.notify_all()


class LiveMp4:
    """Hands the stream of one camera to its viewers. Outlives the writers that feed it."""

    def __init__(self) -> None:
        self._init: InitSegment | None = None
        self._group: list[Fragment] = []  # since the last keyframe
        self._group_bytes = 0
        self._viewers: set[Viewer] = set()
        self._closed = False
        self._changed = threading.Condition()

    @property
    def viewers(self) -> int:
        """How many are connected."""
        return len(self._viewers)

    def open_writer(self, templates: StreamTemplates) -> LiveMp4Writer:
        """For a `Sink`. Raises SinkError."""
        return LiveMp4Writer(self, templates)

    def begin(self, init: InitSegment) -> None:
        """A new stream: viewers of the one before must connect again."""
        with self._changed:
            self._end_viewers()
            if self._closed:
                return
            self._init = init
            self._group, self._group_bytes = [], 0
            self._changed.notify_all()

    def publish(self, fragment: Fragment) -> None:
        """To every viewer; never waits."""
        with self._changed:
            if fragment.is_keyframe:
                self._group, self._group_bytes = [], 0
            if fragment.is_keyframe or self._group:
                self._group.append(fragment)
                self._group_bytes += len(fragment.data)
            if self._group_bytes > GROUP_BYTES:
                self._group, self._group_bytes = [], 0
            for viewer in self._viewers:
                viewer.offer(fragment)

    def join(self, timeout_seconds: float) -> Viewer:
        """A new viewer, from the last keyframe on. Raises TimeoutError where nothing is live."""
        deadline = time.monotonic() + timeout_seconds
        with self._changed:
            while self._init is None:
                left = deadline - time.monotonic()
                if left <= 0 or self._closed:
                    raise TimeoutError
                self._changed.wait(left)
            viewer = Viewer(self._init)
            for fragment in self._group:
                viewer.offer(fragment)
            self._viewers.add(viewer)
            return viewer

    def leave(self, viewer: Viewer) -> None:
        """Idempotent."""
        viewer.end()
        with self._changed:
            self._viewers.discard(viewer)

    def end(self) -> None:
        """The stream has ended; another may begin."""
        with self._changed:
            self._end_viewers()
            self._init = None
            self._group, self._group_bytes = [], 0

    def close(self) -> None:
        """For good: whoever waits is told so. Idempotent."""
        with self._changed:
            self._closed = True
            self._end_viewers()
            self._init = None
            self._changed.notify_all()

    def _end_viewers(self) -> None:
        for viewer in self._viewers:
            viewer.end()
        self._viewers.clear()


class LiveMp4Writer:
    """Muxes one stream into a `LiveMp4`. Sound is left out: the page is muted."""

    def __init__(self, live: LiveMp4, templates: StreamTemplates) -> None:
        """Raises SinkError."""
        self._live = live
        self._boxes = BoxReader()
        self._keyframes: deque[bool] = deque()  # of packets whose fragment is still to come
        self._header: list[bytes] = []
        self._moof: bytes | None = None
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
        try:
            self._muxer.close()
            self._hand_on()
        finally:
            self._live.end()

    def _hand_on(self) -> None:
        for kind, data in self._boxes.take():
            if kind in (b"ftyp", b"moov"):
                self._header.append(data)
                if kind == b"moov":
                    self._live.begin(InitSegment(b"".join(self._header), _codec(data)))
            elif kind == b"moof":
                self._moof = data
            elif kind == b"mdat" and self._moof is not None:
                is_keyframe = self._keyframes.popleft() if self._keyframes else False
                self._live.publish(Fragment(self._moof + data, is_keyframe))
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
