"""`CLIP.bauta`: the stream's records in a file (docs/evidence-format.md, section 2)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from ..errors import RecordError, UsageError
from .key_record import MOST_RECORD_BYTES
from .wire import number

SUFFIX = ".bauta"
MAGIC = b"bauta/1 sidecar\n"
_LENGTH_BYTES = 4


def write_magic(file: BinaryIO) -> None:
    """What a new file begins with. Raises OSError."""
    file.write(MAGIC)


def append_record(file: BinaryIO, record: bytes) -> None:
    """In one write. Raises RecordError for a record that is empty or too long, and OSError.

    Never after what another process left: its last record may be torn, and whatever follows that
    would be read as its end.
    """
    if not 1 <= len(record) <= MOST_RECORD_BYTES:
        raise RecordError(f"a record has 1 to {MOST_RECORD_BYTES} bytes, got {len(record)}")
    file.write(number(len(record), _LENGTH_BYTES) + record)


def read_records(path: Path) -> list[bytes]:
    """All records, in order. A last one that is torn is left out: its writer was stopped.

    Raises UsageError where the file cannot be read, RecordError where it is no sidecar.
    """
    try:
        with path.open("rb") as file:
            return list(_records(file, path))
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror}") from None


def sidecar_beside(clip: Path) -> Path | None:
    """CLIP.bauta, if it exists."""
    path = Path(f"{clip}{SUFFIX}")
    with suppress(OSError):  # such as a name that is too long: then there is none
        if path.is_file():
            return path
    return None


def _records(file: BinaryIO, path: Path) -> Iterator[bytes]:
    magic = file.read(len(MAGIC))
    if not MAGIC.startswith(magic):  # a shorter one was torn
        raise RecordError(f"{path} is no sidecar of bauta: it does not begin with its name")
    while len(length := file.read(_LENGTH_BYTES)) == _LENGTH_BYTES:
        size = int.from_bytes(length, "big")
        if not 1 <= size <= MOST_RECORD_BYTES:
            raise RecordError(f"{path} is damaged: it says a record has {size} bytes")
        record = file.read(size)
        if len(record) < size:
            return
        yield record
