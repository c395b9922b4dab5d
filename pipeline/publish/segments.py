"""Recordings in segments: fragmented MP4, cut at an IDR, deleted by age and size.

A killed process loses at most the last fragment (one second). A full disk stops the recording, not
the camera: the sink reports it and tries again.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from ..errors import SinkError
from ..evidence.sidecar_file import SUFFIX as SIDECAR_SUFFIX
from ..frames import EncodedPacket
from ..settings import RecordSettings
from ..streams import StreamTemplates, first_frame_note
from .mux import FRAGMENTED_MP4, Muxer
from .sidecar import SidecarWriter, sidecar_path

_log = logging.getLogger(__name__)
PRUNED = (".mp4", f".mp4{SIDECAR_SUFFIX}")  # a segment's evidence goes with it
_NAME = "%Y-%m-%dT%H-%M-%S"
_STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}Z")


class SegmentWriter:
    """Writes DIR/CAMERA_YYYY-MM-DDTHH-MM-SS.mmmZ.mp4, one after the other."""

    def __init__(
        self,
        camera: str,
        settings: RecordSettings,
        templates: StreamTemplates,
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`now` is the wall clock in seconds. Raises SinkError."""
        self._camera = camera
        self._settings = settings
        self._templates = templates
        self._now = now
        self._muxer: Muxer | None = None
        self._sidecar: SidecarWriter | None = None
        self._path: Path | None = None
        self._started_seconds = 0.0
        self._next_frame = -1
        try:
            settings.dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"record.dir {settings.dir}: {error.strerror}") from error

    def write(self, packet: EncodedPacket) -> None:
        """See Writer."""
        seconds = float(packet.pts * packet.time_base)
        at_cut = packet.kind == "video" and packet.is_keyframe
        is_full = seconds - self._started_seconds >= self._settings.segment - 1e-3
        # Where frames were dropped, counting them would go wrong from here on.
        if self._muxer is None or (at_cut and (is_full or packet.frame > self._next_frame >= 0)):
            self._next_segment(seconds, packet.frame)
        assert self._muxer is not None and self._sidecar is not None
        self._muxer.write(packet)
        self._sidecar.write(packet)
        if packet.kind == "video":
            self._next_frame = packet.frame + 1 if packet.frame >= 0 else -1

    def close(self) -> None:
        """See Writer."""
        if self._muxer is not None and self._sidecar is not None:
            self._sidecar.close()
            self._muxer.close()

    def _next_segment(self, seconds: float, frame: int) -> None:
        self.close()
        self._prune()
        wall = self._now()
        stamp = datetime.fromtimestamp(wall, UTC).strftime(_NAME) + f".{int(wall % 1 * 1000):03d}Z"
        self._path = self._settings.dir / f"{self._camera}_{stamp}.mp4"
        self._muxer = Muxer(
            str(self._path),
            self._templates,
            format="mp4",
            options=FRAGMENTED_MP4,
            name=f"recording of {self._camera}",
            # a sidecar counts the frames of the whole session
            metadata={"comment": first_frame_note(frame)} if frame >= 0 else None,
        )
        self._sidecar = SidecarWriter(sidecar_path(self._path))
        self._started_seconds = seconds

    def _prune(self) -> None:
        """Delete what the configuration says is too old or too much, oldest first."""
        try:
            start = f"{self._camera}_"
            files = sorted(
                path
                for ending in PRUNED
                for path in self._settings.dir.glob(f"{start}*{ending}")
                # camera `a` leaves those of camera `a_b` alone
                if _STAMP.fullmatch(path.name.removeprefix(start).removesuffix(ending))
            )
            sizes = {path: path.stat().st_size for path in files}
            if self._settings.retention is not None:
                oldest = self._now() - self._settings.retention
                for path in [path for path in files if path.stat().st_mtime < oldest]:
                    _delete(path)
                    del sizes[path]
            if self._settings.max_size is not None:
                total = sum(sizes.values())
                for path in list(sizes):
                    if total <= self._settings.max_size:
                        break
                    total -= sizes[path]
                    _delete(path)
        except OSError as error:
            # keeping too much is better than recording nothing
            _log.warning("recording of %s: old segments cannot be deleted: %s", self._camera, error)


def _delete(path: Path) -> None:
    path.unlink(missing_ok=True)
    _log.info("%s deleted: retention", path.name)
