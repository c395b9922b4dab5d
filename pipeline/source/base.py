"""What every source gives: a description, then frames and audio packets in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Protocol

import av

from ..frames import EncodedPacket


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What is known once a source has been opened."""

    width_px: int  # of the first picture, as the stream says
    height_px: int
    fps: Fraction  # nominal; 25 where the stream does not say
    time_base: Fraction  # of the frames' pts
    live: bool
    frames_total: int | None  # as the container says; None where it does not
    duration_seconds: float | None
    codec: str
    audio: av.AudioStream | None = field(default=None, repr=False)  # only where audio is kept


@dataclass(frozen=True, slots=True)
class DecodedFrame:
    """A picture as the decoder gave it: any format, any size, pts perhaps missing."""

    image: av.VideoFrame = field(repr=False)
    pts: int | None
    captured_ns: int


class Source(Protocol):
    """An opened source; use it with `with`."""

    info: SourceInfo

    def read(self) -> Iterator[DecodedFrame | EncodedPacket]:
        """Pictures and kept audio until the end. Raises SourceError where it breaks off."""
        ...

    def take_damaged(self) -> int:
        """Damaged packets skipped since the last call."""
        ...

    def close(self) -> None:
        """Idempotent."""
        ...
