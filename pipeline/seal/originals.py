"""Where originals wait, from the gate until their frame is encoded. In memory alone, and few."""

from __future__ import annotations

import threading

from ..frames import FrameOriginals

DEPTH = 32  # frames: more than may wait between the gate and the encoder


class Originals:
    """Filled by the protect thread, emptied by the encode thread, in the order of frames."""

    def __init__(self) -> None:
        self._waiting: dict[int, FrameOriginals] = {}
        self._lock = threading.Lock()

    def keep(self, originals: FrameOriginals) -> None:
        """A frame has left the gate. The oldest goes where nobody came for it."""
        with self._lock:
            self._waiting[originals.number] = originals
            while len(self._waiting) > DEPTH:
                del self._waiting[next(iter(self._waiting))]

    def take(self, number: int) -> FrameOriginals | None:
        """Those of one frame; what is older belongs to frames that were dropped."""
        with self._lock:
            found = self._waiting.pop(number, None)
            for older in [key for key in self._waiting if key < number]:
                del self._waiting[older]
            return found

    def forget(self) -> None:
        """The stream has ended or pauses."""
        with self._lock:
            self._waiting.clear()
