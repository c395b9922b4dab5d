"""A playlist and short segments in a folder, for any web server."""

from __future__ import annotations

from ..errors import SinkError
from ..frames import EncodedPacket
from ..settings import HlsSettings
from ..streams import StreamTemplates
from .mux import Muxer


class HlsWriter:
    """Writes DIR/index.m3u8 and its segments; old segments are deleted."""

    def __init__(self, camera: str, settings: HlsSettings, templates: StreamTemplates) -> None:
        """Raises SinkError."""
        try:
            settings.dir.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SinkError(f"hls.dir {settings.dir}: {error.strerror}") from error
        self._muxer = Muxer(
            str(settings.dir / "index.m3u8"),
            templates,
            format="hls",
            options={
                "hls_time": f"{settings.segment:g}",
                "hls_list_size": str(settings.keep),
                # temp_file: a reader never sees half a segment
                "hls_flags": "delete_segments+independent_segments+temp_file",
                "hls_segment_filename": str(settings.dir / "segment%06d.ts"),
            },
            name=f"HLS of {camera}",
        )

    def write(self, packet: EncodedPacket) -> None:
        """See Writer."""
        self._muxer.write(packet)

    def close(self) -> None:
        """See Writer."""
        self._muxer.close()
