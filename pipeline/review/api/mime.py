"""The exact media type of recordings, as browsers ask for it, without reading each file."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterable
from pathlib import Path

from ...errors import RecordingError
from ..media.fragments import read_header
from ..store.recordings import Segment
from .errors import ApiError
from .file_answer import close, open_inside

MOST = 1024
UNKNOWN = "video/mp4"


class Mimes:
    """All files of one run of a camera are alike: the first of each is read. Any thread."""

    def __init__(self) -> None:
        self._known: OrderedDict[tuple[str, str, str, int, int], str] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, segment: Segment, folders: Iterable[Path]) -> str:
        """`video/mp4` alone where it must be copied into an MP4 first, or cannot be read."""
        if Path(segment.path).suffix != ".mp4":
            return UNKNOWN
        key = (segment.camera, segment.session, segment.codec, segment.width, segment.height)
        with self._lock:
            if (known := self._known.get(key)) is not None:
                return known
        try:
            close(open_inside(segment.path, folders))
            mime = read_header(Path(segment.path)).mime
        except (ApiError, RecordingError):
            return UNKNOWN
        with self._lock:
            self._known[key] = mime
            while len(self._known) > MOST:
                self._known.popitem(last=False)
        return mime
