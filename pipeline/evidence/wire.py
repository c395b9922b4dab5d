"""Reads and writes the fields of a record. Bytes come from anywhere: nothing is believed."""

from __future__ import annotations

from ..errors import RecordError

MOST_TEXT_BYTES = 255


class Reader:
    """Takes fields off the front of some bytes. Every method raises RecordError where they end."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    @property
    def read(self) -> bytes:
        """All that was taken so far."""
        return self._data[: self._at]

    @property
    def left(self) -> int:
        """Bytes that are still there."""
        return len(self._data) - self._at

    def take(self, count: int) -> bytes:
        """`count` bytes."""
        if count > self.left:
            raise RecordError("a record is cut short")
        taken = self._data[self._at : self._at + count]
        self._at += count
        return taken

    def number(self, size_bytes: int) -> int:
        """Unsigned, big-endian."""
        return int.from_bytes(self.take(size_bytes), "big")

    def text(self) -> str:
        """A u8 length and UTF-8."""
        try:
            return self.take(self.number(1)).decode("utf-8")
        except UnicodeDecodeError:
            raise RecordError("a text in a record is not UTF-8") from None

    def end(self) -> None:
        """Nothing may be left."""
        if self.left:
            raise RecordError("a record is longer than it says")


def number(value: int, size_bytes: int) -> bytes:
    """Unsigned, big-endian. Raises RecordError where it does not fit."""
    try:
        return value.to_bytes(size_bytes, "big")
    except OverflowError:
        raise RecordError(f"{value} does not fit into {size_bytes} bytes") from None


def text(value: str) -> bytes:
    """A u8 length and UTF-8. Raises RecordError."""
    try:
        data = value.encode("utf-8")
    except UnicodeEncodeError:
        raise RecordError("a text of a record must be UTF-8") from None
    if len(data) > MOST_TEXT_BYTES:
        raise RecordError(f"a text of a record has at most {MOST_TEXT_BYTES} bytes")
    return number(len(data), 1) + data
