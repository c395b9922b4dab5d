"""The evidence beside a file: `FILE.bauta`, with the records that its packets carry."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from ..errors import SinkError
from ..evidence.sidecar_file import SUFFIX, append_record, write_magic
from ..frames import EncodedPacket


def sidecar_path(path: Path) -> Path:
    """Where the evidence of a file is."""
    return path.with_name(path.name + SUFFIX)


class SidecarWriter:
    """Opened with the first record: without evidence there is no such file."""

    def __init__(self, path: Path) -> None:
        """`path` is the sidecar's own."""
        self._path = path
        self._file: BinaryIO | None = None

    def write(self, packet: EncodedPacket) -> None:
        """Through to the system at once: a killed process loses nothing. Raises SinkError."""
        if not packet.records:
            return
        try:
            if self._file is None:
                self._file = self._path.open("wb")
                write_magic(self._file)
            for record in packet.records:
                append_record(self._file, record)
            self._file.flush()
        except OSError as error:
            raise SinkError(f"{self._path}: {error.strerror}") from None

    def close(self) -> bool:
        """Whether there is such a file. Idempotent. Raises SinkError."""
        if self._file is None:
            return False
        try:
            self._file.close()
        except OSError as error:
            raise SinkError(f"{self._path}: {error.strerror}") from None
        return True
