"""The parameters of a protected stream, from which encode and publish open containers."""

from __future__ import annotations

import av


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
