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
from ..presence import SUFFIX as PRESENCE_SUFFIX
from ..presence import PresenceHeader, RecordingSession, presence_path
from ..runtime.ratelimit import RateLimitedLog
from ..settings import RecordSettings
from ..streams import StreamTemplates, first_frame_note
from .mux import FRAGMENTED_MP4, Muxer
from .presence import PresenceWriter
from .sidecar import SidecarWriter, sidecar_path

_log = logging.getLogger(__name__)
# what lies beside a segment goes with it; the longer endings first
PRUNED = (f".mp4{SIDECAR_SUFFIX}", f".mp4{PRESENCE_SUFFIX}", ".mp4")
_DEFAULT_FPS = 25.0
# Players show segments one after the other without a gap: the frames' own clock tells best where
# the next one begins. It is led back to the wall clock in steps that are shorter than a frame.
_MOST_APART_MS = 1000
_STEP_MS = 25
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
        session: RecordingSession | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`session`: beside each segment is noted who is in it; None: it is not.

        `now` is the wall clock in seconds. Raises SinkError.
        """
        self._camera = camera
        self._settings = settings
        self._templates = templates
        self._now = now
        self._muxer: Muxer | None = None
        self._sidecar: SidecarWriter | None = None
        self._session = session
        self._presence: PresenceWriter | None = None
        self._quiet_presence = RateLimitedLog(_log, every_seconds=3600.0)
        self._path: Path | None = None
        self._started_seconds = 0.0
        self._start_ms = 0  # the same on the wall clock
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
        if self._presence is not None:
            self._presence.write(packet)
        if packet.kind == "video":
            self._next_frame = packet.frame + 1 if packet.frame >= 0 else -1

    def close(self) -> None:
        """See Writer."""
        if self._presence is not None:
            self._presence.close()
        if self._muxer is not None and self._sidecar is not None:
            self._sidecar.close()
            self._muxer.close()

    def _next_segment(self, seconds: float, frame: int) -> None:
        follows = self._muxer is not None and frame == self._next_frame >= 0
        self.close()
        self._prune()
        wall = self._now()
        self._start_ms = self._begins_ms(wall, seconds, follows=follows)
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
        if self._session is not None:
            facts = self._facts(self._session)
            self._presence = PresenceWriter(
                presence_path(self._path), facts, quiet=self._quiet_presence
            )
        self._started_seconds = seconds

    def _prune(self) -> None:
        """Delete what the configuration says is too old or too much, oldest first."""
        try:
            start = f"{self._camera}_"
            segments: dict[str, list[Path]] = {}
            for ending in PRUNED:
                for path in self._settings.dir.glob(f"{start}*{ending}"):
                    stamp = path.name.removeprefix(start).removesuffix(ending)
                    # camera `a` leaves those of camera `a_b` alone
                    if _STAMP.fullmatch(stamp):
                        segments.setdefault(stamp, []).append(path)
            facts = {
                stamp: [path.stat() for path in paths] for stamp, paths in sorted(segments.items())
            }
            if self._settings.retention is not None:
                oldest = self._now() - self._settings.retention
                for stamp in list(facts):
                    if max(stat.st_mtime for stat in facts[stamp]) < oldest:
                        _delete(segments[stamp])
                        del facts[stamp]
            if self._settings.max_size is not None:
                sizes = {stamp: sum(stat.st_size for stat in facts[stamp]) for stamp in facts}
                total = sum(sizes.values())
                for stamp, size in sizes.items():
                    if total <= self._settings.max_size:
                        break
                    total -= size
                    _delete(segments[stamp])
        except OSError as error:
            # keeping too much is better than recording nothing
            _log.warning("recording of %s: old segments cannot be deleted: %s", self._camera, error)

    def _begins_ms(self, wall: float, seconds: float, *, follows: bool) -> int:
        """The segment's start. `follows`: nothing is missing between it and the one before."""
        wall_ms = int(wall * 1000)
        counted_ms = self._start_ms + round((seconds - self._started_seconds) * 1000)
        if not follows or abs(wall_ms - counted_ms) > _MOST_APART_MS:
            return wall_ms
        return counted_ms + min(max(wall_ms - counted_ms, -_STEP_MS), _STEP_MS)

    def _facts(self, session: RecordingSession) -> PresenceHeader:
        video = self._templates.video
        return PresenceHeader(
            camera=self._camera,
            session=session.id,
            start_ms=self._start_ms,
            fps=float(video.codec_context.framerate or _DEFAULT_FPS),
            width=video.codec_context.width,
            height=video.codec_context.height,
            evidence=session.has_evidence,
            codec=session.codec,
        )


def _delete(segment: list[Path]) -> None:
    """With what lies beside it; the recording last: what is left over of it still has a name."""
    for path in segment:
        path.unlink(missing_ok=True)
        _log.info("%s deleted: retention", path.name)
