"""A voice is dropped by default; where it is kept, it is the same sound at the same time."""

from __future__ import annotations

from pathlib import Path

import av
import pytest

from support.clips import Clip, decode_all
from support.flow import assert_no_face, protect, seconds_of


def audio_packets(path: Path) -> list[tuple[float, bytes]]:
    """(seconds, data) of the first audio stream; empty where there is none."""
    with av.open(str(path)) as container:
        if not container.streams.audio:
            return []
        return [
            (float(packet.pts * packet.time_base), bytes(packet))
            for packet in container.demux(container.streams.audio[0])
            if packet.pts is not None and packet.size
        ]


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".ts"])
def test_sound_is_dropped_by_default(ending: str, talking_clip: Clip, tmp_path: Path) -> None:
    out = tmp_path / f"out{ending}"
    protect(talking_clip.path, out)
    with av.open(str(out)) as container:
        assert [stream.type for stream in container.streams] == ["video"]


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".ts"])
def test_kept_sound_is_the_same_and_in_step(
    ending: str, talking_clip: Clip, tmp_path: Path
) -> None:
    out = tmp_path / f"out{ending}"
    protect(talking_clip.path, out, "--keep-audio")
    assert_no_face(talking_clip, out)
    before, after = audio_packets(talking_clip.path), audio_packets(out)
    if ending == ".ts":
        # MPEG-TS carries AAC with a header of its own before each packet
        after = [(time, data[7:]) for time, data in after]
    # what the coder says before the first picture (here: its run-up, 21 ms) has no place to go
    before = before[len(before) - len(after) :]
    assert len(after) >= 91 and before[0][0] <= 0.0
    assert [data for _, data in after] == [data for _, data in before]
    shift = seconds_of(decode_all(out))[0] - seconds_of(decode_all(talking_clip.path))[0]
    moved = [float(a - b - shift) for (a, _), (b, _) in zip(after, before, strict=True)]
    assert max(abs(seconds) for seconds in moved) < 0.002


def test_keeping_the_sound_of_a_silent_film_is_no_error(clip: Clip, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    protect(clip.path, out, "--keep-audio")
    assert audio_packets(out) == []
    assert_no_face(clip, out)
