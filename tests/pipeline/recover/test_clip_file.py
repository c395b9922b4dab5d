"""What players show, records must be of: other containers and further streams are told."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import av
import pytest

from pipeline.errors import NotAVideo
from pipeline.recover.clip_records import read_clip
from support.evidence import EvidenceClip, make_evidence
from support.flow import bauta
from support.recovered import with_tone


@pytest.fixture
def clip() -> EvidenceClip:
    return make_evidence(epochs=2, frames=10)


def twice(path: Path, dest: Path) -> Path:
    """The same pictures as two video streams."""
    with av.open(str(path)) as source, av.open(str(dest), "w") as target:
        copies = [target.add_stream_from_template(source.streams.video[0]) for _ in range(2)]
        for packet in list(source.demux(video=0)):
            data, pts, is_key = bytes(packet), packet.pts, packet.is_keyframe
            for copy in copies if data else ():
                again = av.Packet(data)
                again.pts, again.dts, again.time_base = pts, packet.dts, packet.time_base
                again.stream, again.is_keyframe = copy, is_key
                target.mux(again)
    return dest


@pytest.mark.parametrize("text", ["ffconcat version 1.0\nfile {0}\n", "#EXTM3U\n#EXTINF:2,\n{0}\n"])
def test_a_list_of_files_is_no_clip(text: str, clip: EvidenceClip, tmp_path: Path) -> None:
    inner = clip.write(tmp_path / "inner.mp4")
    path = tmp_path / "list.mp4"
    path.write_text(text.format(inner.name))
    with pytest.raises(NotAVideo, match=r"list\.mp4: is no(t a video| MP4)"):
        read_clip(path)
    done = bauta("verify", path)
    assert done.code != 0 and done.error_line.startswith("bauta: ")


def test_two_video_streams_are_told(clip: EvidenceClip, tmp_path: Path) -> None:
    path = twice(clip.write(tmp_path / "one.mp4"), tmp_path / "two.mp4")
    service = clip.write_public(tmp_path / "service.pub")
    assert bauta("verify", tmp_path / "one.mp4", "--service", service).code == 0
    done = bauta("verify", path, "--service", service)
    assert done.code == 1 and "complete: no: the file holds 2 video streams" in done.out


@pytest.mark.parametrize("skip", [0, 5])
def test_frames_that_an_edit_list_hides_are_told(
    skip: int, clip: EvidenceClip, tmp_path: Path
) -> None:
    path = clip.write(tmp_path / "clip.mp4")
    data = bytearray(path.read_bytes())
    at = data.index(b"elst") + 4
    assert int.from_bytes(data[at + 4 : at + 8], "big") == 1  # an edit: duration, start, speed
    with av.open(str(path)) as file:
        ticks_a_frame = int(1 / file.streams.video[0].time_base / 25)  # type: ignore[operator]
    data[at + 12 : at + 16] = (skip * ticks_a_frame).to_bytes(4, "big")
    path.write_bytes(data)
    read = read_clip(path)
    told = f"the file shows {20 - skip} of the 20 frames it holds (an edit list)"
    assert read.problems == ((told,) if skip else ())


@pytest.mark.parametrize("has_audio", [False, True])
def test_sound_is_not_covered(has_audio: bool, clip: EvidenceClip, tmp_path: Path) -> None:
    path = clip.write(tmp_path / "clip.mp4")
    if has_audio:
        path = with_tone(path, tmp_path / "tone.mp4")
    done = bauta("verify", path, "--service", clip.write_public(tmp_path / "service.pub"))
    assert done.code == 0
    assert ("sound: not covered: the records are of pictures alone" in done.out) == has_audio


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg binary")
def test_another_picture_size_is_told(clip: EvidenceClip, tmp_path: Path) -> None:
    path, cropped = clip.write(tmp_path / "clip.mp4"), tmp_path / "cropped.mp4"
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-c", "copy"]
    subprocess.run([*command, "-bsf:v", "h264_metadata=crop_right=32", str(cropped)], check=True)
    found = read_clip(cropped)
    assert found.size_px == (128, 128)
    assert any("pictures of another size" in problem for problem in found.problems)
    assert not any(epoch.positions for epoch in found.epochs)
    assert bauta("verify", cropped).code == 1
