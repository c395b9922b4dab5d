"""The parameters of a protected stream, from which encode and publish open containers, and the
note by which a recording knows its place in the session.
"""

from __future__ import annotations

import re

import av

_FIRST_FRAME = "bauta first-frame "


def first_frame_note(frame: int) -> str:
    """The comment of a file that begins in the middle of a session: which frame it begins with."""
    return f"{_FIRST_FRAME}{frame}"


def first_frame_of(comment: str) -> int | None:
    """The inverse; None for any other comment."""
    match = re.fullmatch(re.escape(_FIRST_FRAME) + r"(\d{1,15})", comment, re.ASCII)
    return int(match[1]) if match else None


class StreamTemplates:
    """Codec parameters of the output's video and, where it is kept, audio.

    They live in a container of their own that is never written: libav copies parameters from
    stream to stream, and a camera's stream is gone after a reconnect.
    """

    def __init__(self, container: av.container.OutputContainer, video: av.VideoStream) -> None:
        self._container = container
        self.video = video
        self.audio: av.AudioStream | None = None

    def add_audio(self, stream: av.AudioStream) -> None:
        """Keep the source's audio parameters. Call it before the first packet is encoded."""
        self.audio = self._container.add_stream_from_template(stream)
