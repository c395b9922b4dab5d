"""Records into sidecars: one beside each file, and a new one for each segment of a recording."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from ..errors import VaultError
from ..evidence.sidecar_file import SUFFIX, append_record, write_magic


@dataclass(frozen=True, slots=True)
class Series:
    """Sidecars of a recording: CAMERA_TIME.bauta in its folder, each some epochs long."""

    folder: Path
    camera: str
    seconds: float

    def path(self, now: datetime) -> Path:
        """Named as the segments are."""
        stamp = now.strftime("%Y-%m-%dT%H-%M-%S.%f")[:-3] + "Z"
        return self.folder / f"{self.camera}_{stamp}{SUFFIX}"


class RecordFiles:
    """Opened with the first record. Used by the encode thread."""

    def __init__(self, paths: Sequence[Path], series: Series | None = None) -> None:
        self.paths = tuple(paths)
        self._series = series
        self._files: list[BinaryIO] = []
        self._part: BinaryIO | None = None  # of the series
        self._part_began: datetime | None = None

    def add(self, records: Sequence[bytes], begins_epoch: bool) -> None:
        """Written through at once: a killed process loses nothing. Raises VaultError."""
        if not self.paths and self._series is None:
            return
        try:
            if not self._files:
                self._files = [_opened(path) for path in self.paths]
            if self._series is not None and begins_epoch:
                self._next_part(self._series)
            for file in [*self._files, *([self._part] if self._part else [])]:
                for record in records:
                    append_record(file, record)
                file.flush()
        except OSError as error:
            raise VaultError(
                f"the sidecar {error.filename or ''} cannot be written: {error.strerror}"
            ) from None

    def close(self) -> None:
        """Idempotent."""
        for file in [*self._files, *([self._part] if self._part else [])]:
            file.close()
        self._files, self._part, self._part_began = [], None, None

    def _next_part(self, series: Series) -> None:
        """Epochs are not divided: whoever has a segment needs one sidecar or two."""
        now = datetime.now(UTC)
        if (
            self._part_began is not None
            and (now - self._part_began).total_seconds() < series.seconds
        ):
            return
        if self._part is not None:
            self._part.close()
        series.folder.mkdir(parents=True, exist_ok=True)
        self._part, self._part_began = _opened(series.path(now)), now


def _opened(path: Path) -> BinaryIO:
    file = path.open("wb")
    write_magic(file)
    return file
