"""The newest protected picture of a camera as PNG, decoded from its live stream when asked for."""

from __future__ import annotations

import io
import threading

import av
import av.error
import cv2

from .hub import LiveHub
from .pieces import Fragment, InitSegment


class Snapshots:
    """Of all cameras; each keyframe is decoded once, however many ask. For threads."""

    def __init__(self, hub: LiveHub) -> None:
        self._hub = hub
        self._lock = threading.Lock()  # decoding takes a core: one at a time
        self._made: dict[str, tuple[Fragment, bytes]] = {}

    def png(self, camera: str) -> bytes | None:
        """The last keyframe, at most one GOP old; None while nothing is live."""
        stream = self._hub.stream(camera)
        if stream is None or not stream.group:
            return None
        keyframe = stream.group[0]
        with self._lock:
            made = self._made.get(camera)
            if made is not None and made[0] is keyframe:
                return made[1]
            png = picture_as_png(stream.init, keyframe)
            if png is not None:
                self._made[camera] = (keyframe, png)
            return png


def picture_as_png(init: InitSegment, keyframe: Fragment) -> bytes | None:
    """The only picture of a keyframe's fragment; None where it cannot be decoded."""
    try:
        with av.open(io.BytesIO(init.data + keyframe.data), "r", format="mp4") as container:
            for frame in container.decode(video=0):
                done, encoded = cv2.imencode(".png", frame.to_ndarray(format="bgr24"))
                return encoded.tobytes() if done else None
    except (av.error.FFmpegError, ValueError):
        return None
    return None
