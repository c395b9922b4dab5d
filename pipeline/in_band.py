"""In-band recovery in one session: the clip key, the fuser that uses it, and the sidecars.

The key is in memory only, and only here; the protect stage gets a fuser and no key.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from .errors import SidecarError
from .frames import CarriedFace, FusedFace, Square, U8Array
from .fusion_worker import FusionWorker
from .publish.push import is_network
from .settings import CameraSettings
from .vault.clip_key import ClipKey
from .vault.secret_map import face_key, face_secrets
from .vault.sidecar import SUFFIX, FrameLine, Header, SidecarWriter

LIVE_TIMEOUT_SECONDS = 2.0  # the stream stands still meanwhile
FILE_TIMEOUT_SECONDS = 60.0
_log = logging.getLogger(__name__)

Picture = tuple[U8Array, ...]


class KeyedFuser:
    """A `FaceFuser`: every face of every keyframe under a key of its own."""

    def __init__(self, worker: FusionWorker, clip_key: ClipKey, *, live: bool) -> None:
        self.side_multiple_px = worker.spec.layout.side_multiple_px
        self._worker = worker
        self._clip_key = clip_key
        self._timeout_seconds = LIVE_TIMEOUT_SECONDS if live else FILE_TIMEOUT_SECONDS

    def fuse(
        self, original: Picture, obfuscated: Picture, number: int, squares: Sequence[Square]
    ) -> Picture:
        """See FaceFuser. Raises EngineError."""
        keys = [face_key(self._clip_key.key, number, square.xys_px) for square in squares]
        side = squares[0].side_px
        secrets = face_secrets(keys, self._worker.spec, (side, side))
        return self._worker.protect(
            original, obfuscated, secrets, timeout_seconds=self._timeout_seconds
        )


@dataclass(frozen=True, slots=True)
class ModelName:
    """Which model the recovery will need."""

    name: str
    sha256: str = field(repr=False)  # of its recovering half


class Sidecars:
    """The same lines into every sidecar of a session. Used by the encode thread."""

    def __init__(
        self, camera: str, paths: Sequence[Path], model: ModelName, clip_key: ClipKey, *, live: bool
    ) -> None:
        """`live`: a sidecar that cannot be written is given up with a warning, else it raises."""
        self._camera = camera
        self.paths = tuple(paths)
        self._model = model
        self._clip_key = clip_key
        self._live = live
        self._writers: list[SidecarWriter] | None = None
        self._frames = 0

    def note(
        self,
        *,
        number: int,
        pts_seconds: float,
        size_px: tuple[int, int],
        fused: tuple[FusedFace, ...],
        carried: tuple[CarriedFace, ...],
    ) -> None:
        """The next frame goes to the encoder. Raises SidecarError where the source is a file.

        What was carried from a keyframe that never came here is noted as well: recovery counts it.
        """
        if self._writers is None:
            self._writers = self._open(size_px)
        if fused or carried:
            line = FrameLine(self._frames, number, pts_seconds, fused, carried)
            for writer in list(self._writers):
                try:
                    writer.add(line)
                except SidecarError as error:
                    self._writers.remove(writer)
                    self._give_up(error)
        self._frames += 1

    def close(self) -> None:
        """Idempotent. Never raises: what counts has been written."""
        for writer in self._writers or []:
            try:
                writer.close(self._frames)
            except SidecarError as error:
                _log.warning("%s: %s", self._camera, error)
        self._writers = []

    def _open(self, size_px: tuple[int, int]) -> list[SidecarWriter]:
        header = Header(
            self._model.name,
            self._model.sha256,
            datetime.now(UTC).isoformat(timespec="milliseconds"),
            size_px,
            self._clip_key.record(),
        )
        writers = []
        for path in self.paths:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                writers.append(SidecarWriter(path, header, self._clip_key.key))
            except OSError as error:
                self._give_up(SidecarError(f"{path}: {error.strerror}"))
            except SidecarError as error:
                self._give_up(error)
        return writers

    def _give_up(self, error: SidecarError) -> None:
        if not self._live:
            raise error
        _log.error("%s: %s; these faces cannot be recovered any more", self._camera, error)


def sidecar_paths(camera: CameraSettings) -> list[Path]:
    """Beside each file, and one per session in the folder of the recordings."""
    paths = [Path(target + SUFFIX) for target in camera.publish if not is_network(target)]
    if camera.record is not None:
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H-%M-%S.%f")[:-3] + "Z"
        paths.append(camera.record.dir / f"{camera.id}_{stamp}{SUFFIX}")
    return paths
