"""Small pictures of people, cut out of the protected recordings. No key is near."""

from __future__ import annotations

import hashlib
import os
import threading
import time
from pathlib import Path

import av
import av.error
import cv2
import numpy as np

from ...errors import RecordingError
from ...frames import U8Array
from ...recover.contact_sheet import square_around
from .folder import PRIVATE_DIR, entries_of, make_room, private_file, remove
from .playable import Playables
from .span import open_span, prepare_decoder

SIDE_PX = 240
QUALITY = 80
MOST_DECODES = 2  # at a time: the cameras need this machine as well
MOST_BYTES = 256 << 20  # about 25,000 of them
_MOST_PACKETS = 4096  # of one group of pictures: more than a minute of it
_MOST_SECONDS = 20.0  # of decoding
_ROOM_EVERY = 256  # writes

Box = tuple[int, int, int, int]


class Thumbnails:
    """JPEGs, kept in `state_dir`/thumbnails; the oldest are deleted where there are too many."""

    def __init__(
        self,
        state_dir: Path,
        *,
        playables: Playables | None = None,
        most_bytes: int = MOST_BYTES,
    ) -> None:
        self._folder = state_dir / "thumbnails"
        self._playables = playables or Playables(state_dir)
        self._most_bytes = most_bytes
        self._decoding = threading.Semaphore(MOST_DECODES)
        self._lock = threading.Lock()
        self._writes = 0

    def jpeg(self, path: Path, seconds: float, box_xywh_px: Box) -> bytes:
        """A square around the box, as it was so many seconds after the recording's first frame.

        Raises RecordingError, also where the recording is gone.
        """
        kept = self._file(path, seconds, box_xywh_px)
        if not path.is_file():
            raise RecordingError(f"{path.name}: is gone")
        try:
            return kept.read_bytes()
        except OSError:
            with self._decoding:
                picture = self._picture(path, seconds)
        square, _ = square_around(picture, box_xywh_px, SIDE_PX)
        _, data = cv2.imencode(".jpg", square, [cv2.IMWRITE_JPEG_QUALITY, QUALITY])
        jpeg = data.tobytes()
        self._keep(kept, jpeg)
        return jpeg

    def forget(self, path: Path) -> None:
        """The recording was deleted: what was cut out of it goes as well. Never raises."""
        remove(self._folder / _name(path))
        self._playables.forget(path)

    def _picture(self, path: Path, seconds: float) -> U8Array:
        """(H, W, 3) BGR: the last frame that begins by then."""
        readable, known = self._playables.open(path)
        first = known.key_before(seconds)
        end = first + 1
        while end < len(known.fragments) and known.fragments[end].seconds <= seconds:
            end += 1
        half_frame = 0.5 / known.fps if known.fps else 0.0
        shown: av.VideoFrame | None = None
        until = time.monotonic() + _MOST_SECONDS
        with open_span(readable, known, first, end) as container:
            video = container.streams.video[0]
            prepare_decoder(video)
            for number, packet in enumerate(container.demux(video)):
                if number >= _MOST_PACKETS or time.monotonic() > until:
                    raise RecordingError(f"{path.name}: to decode the picture there takes too long")
                try:
                    frames = packet.decode()
                except av.error.InvalidDataError:
                    continue
                for frame in frames:
                    assert isinstance(frame, av.VideoFrame)
                    if shown is not None and (frame.time or 0.0) > seconds + half_frame:
                        return _bgr(shown)
                    shown = frame
            if shown is None:
                raise RecordingError(f"{path.name}: the picture there cannot be decoded")
            return _bgr(shown)

    def _file(self, path: Path, seconds: float, box: Box) -> Path:
        key = f"{round(seconds * 1000)} {box}".encode()
        return self._folder / _name(path) / f"{hashlib.sha256(key).hexdigest()[:32]}.jpg"

    def _keep(self, file: Path, jpeg: bytes) -> None:
        """It is only a cache: where it cannot be written there is none."""
        with self._lock:
            self._writes += 1
            if self._writes % _ROOM_EVERY == 1:
                make_room(entries_of(self._folder), self._most_bytes)
        try:
            file.parent.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
            unfinished = private_file(file.with_suffix(f".{threading.get_ident()}"))
            unfinished.write_bytes(jpeg)
            unfinished.replace(file)
        except OSError:
            return


def _name(recording: Path) -> str:
    return hashlib.sha256(os.fsencode(recording)).hexdigest()[:32]


def _bgr(frame: av.VideoFrame) -> U8Array:
    return np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
