"""Decode and encode a file as `bauta recover` does, and nothing else: its baseline."""

from __future__ import annotations

import sys
from pathlib import Path

import av

from pipeline.recover.video import CRF


def main(clip: str, target: str) -> int:
    """Threads as libav chooses them, preset and CRF of recovered files."""
    with av.open(clip) as given, av.open(target, "w") as made:
        stream = given.streams.video[0]
        stream.thread_type = "AUTO"
        out = made.add_stream("libx264", rate=stream.average_rate)
        assert isinstance(out, av.VideoStream)
        out.width, out.height, out.pix_fmt = stream.width, stream.height, "yuv420p"
        out.codec_context.max_b_frames = 0
        out.codec_context.options = {"preset": "veryfast", "crf": str(CRF)}
        for frame in given.decode(stream):
            frame.pict_type = av.video.frame.PictureType.NONE
            made.mux(out.encode(frame))
        made.mux(out.encode(None))
    return 0 if Path(target).stat().st_size else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2]))
