"""One file: written beside its name as .part, and renamed when it can be played."""

from __future__ import annotations

from pathlib import Path

from ..errors import SinkError
from ..frames import EncodedPacket
from ..streams import StreamTemplates
from .mux import Muxer
from .sidecar import SidecarWriter, sidecar_path

FORMATS = {".mp4": "mp4", ".mkv": "matroska", ".ts": "mpegts", ".mov": "mov"}


def file_format(path: Path) -> str:
    """libav's name of the container. Raises SinkError for an unknown ending."""
    try:
        return FORMATS[path.suffix.lower()]
    except KeyError:
        raise SinkError(
            f"{path}: the ending must be one of {', '.join(FORMATS)}, got {path.suffix or 'none'}"
        ) from None


class FileWriter:
    """A finished file; a partial one keeps the ending .part."""

    def __init__(self, path: Path, templates: StreamTemplates) -> None:
        """Raises SinkError where the folder is missing or may not be written."""
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._muxer = Muxer(str(self._part), templates, format=file_format(path), name=str(path))
        self._sidecar_part = sidecar_path(self._part)
        self._sidecar = SidecarWriter(self._sidecar_part)
        self._failed = self._closed = False

    def write(self, packet: EncodedPacket) -> None:
        """See Writer."""
        try:
            self._muxer.write(packet)
            self._sidecar.write(packet)
        except SinkError:
            self._failed = True
            raise

    def close(self) -> None:
        """See Writer: the file gets its name."""
        if self._closed:
            return
        self._closed = True
        try:
            self._muxer.close()
            has_sidecar = self._sidecar.close()
            if not self._failed:
                self._part.replace(self._path)
                if has_sidecar:
                    self._sidecar_part.replace(sidecar_path(self._path))
        except OSError as error:
            raise SinkError(f"{self._path}: {error.strerror}") from error
