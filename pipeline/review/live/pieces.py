"""What live pictures are handed on as: an init segment, then fragments of MP4."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class InitSegment:
    """What a decoder needs before the first fragment."""

    data: bytes = field(repr=False)  # ftyp and moov
    codec: str  # RFC 6381, such as avc1.42C01F
    width: int = 0  # pixels
    height: int = 0

    @property
    def mime(self) -> str:
        """As Media Source Extensions want it."""
        return f'video/mp4; codecs="{self.codec}"'


@dataclass(frozen=True, slots=True)
class Fragment:
    """One frame, or several in a row: moof and mdat of each."""

    data: bytes = field(repr=False)
    is_keyframe: bool  # of the first frame


@dataclass(frozen=True, slots=True)
class LiveStream:
    """What is live of one camera now."""

    init: InitSegment
    group: tuple[Fragment, ...] = field(repr=False)  # since the last keyframe, one a frame
