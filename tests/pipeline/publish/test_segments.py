from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import av
import pytest

from pipeline.errors import SinkError
from pipeline.frames import EncodedPacket
from pipeline.publish.segments import SegmentWriter
from pipeline.settings import RecordSettings
from pipeline.streams import StreamTemplates, first_frame_note, first_frame_of

Made = tuple[StreamTemplates, list[EncodedPacket]]
ROOT = Path(__file__).resolve().parents[3]
START = 1_800_000_000.25  # 2027-01-15T08:00:00.250Z


class Wall:
    """A wall clock that the test turns."""

    def __init__(self) -> None:
        self.seconds = START

    def __call__(self) -> float:
        return self.seconds


def writer(
    folder: Path, stream: Made, wall: Wall, camera: str = "lobby", **settings: object
) -> SegmentWriter:
    record = RecordSettings.model_validate({"dir": folder, "segment": 2} | settings)
    return SegmentWriter(camera, record, stream[0], now=wall)


def write_all(recording: SegmentWriter, stream: Made, wall: Wall) -> None:
    for packet in stream[1]:
        wall.seconds = START + float(packet.pts * packet.time_base)
        recording.write(packet)
    recording.close()


def files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.mp4"))


def decoded(path: Path) -> list[tuple[float, bool]]:
    with av.open(str(path)) as container:
        return [(float(frame.time or 0), frame.key_frame) for frame in container.decode(video=0)]


def test_segments_are_cut_at_keyframes_by_stream_time(stream: Made, tmp_path: Path) -> None:
    wall = Wall()
    write_all(writer(tmp_path / "rec", stream, wall), stream, wall)

    made = files(tmp_path / "rec")
    assert [len(decoded(path)) for path in made] == [50] * 5  # 10 s at 25, cut every 2 s
    for path in made:
        assert decoded(path)[0][1], "a segment starts with a keyframe"


def test_a_segment_ends_with_the_next_keyframe(stream: Made, tmp_path: Path) -> None:
    """1.5 s is between two keyframes: the cut waits."""
    wall = Wall()
    write_all(writer(tmp_path, stream, wall, segment=1.5), stream, wall)
    assert [len(decoded(path)) for path in files(tmp_path)] == [50] * 5


def test_names_say_camera_and_time_and_sort(stream: Made, tmp_path: Path) -> None:
    wall = Wall()
    write_all(writer(tmp_path, stream, wall), stream, wall)
    names = [path.name for path in files(tmp_path)]

    assert names[0] == "lobby_2027-01-15T08-00-00.250Z.mp4"
    assert names[1] == "lobby_2027-01-15T08-00-02.250Z.mp4"
    assert all(re.fullmatch(r"lobby_[0-9T.-]+Z\.mp4", name) for name in names)
    by_age = sorted(tmp_path.iterdir(), key=lambda path: path.stat().st_mtime_ns)
    assert [path.name for path in by_age] == names


def old_file(folder: Path, name: str, age_seconds: float, size: int = 1_000) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(bytes(size))
    os.utime(path, (START - age_seconds, START - age_seconds))
    return path


def test_retention_by_age(stream: Made, tmp_path: Path) -> None:
    older = old_file(tmp_path, "lobby_2027-01-14T07-59-00.000Z.mp4", 86_500)
    young = old_file(tmp_path, "lobby_2027-01-14T09-00-00.000Z.mp4", 82_800)
    wall = Wall()
    recording = writer(tmp_path, stream, wall, retention="1d")
    recording.write(stream[1][0])
    recording.close()
    assert not older.exists()
    assert young.exists()


def test_retention_by_size_takes_the_oldest(stream: Made, tmp_path: Path) -> None:
    made = [
        old_file(tmp_path, f"lobby_2027-01-1{day}T00-00-00.000Z.mp4", 0, 400_000)
        for day in range(4)
    ]
    wall = Wall()
    recording = writer(tmp_path, stream, wall, max_size="1MB")
    recording.write(stream[1][0])
    recording.close()
    assert [path.exists() for path in made] == [False, False, True, True]


def test_retention_goes_on_while_recording(stream: Made, tmp_path: Path) -> None:
    wall = Wall()
    recording = writer(tmp_path, stream, wall, segment=1, max_size=60_000)
    write_all(recording, stream, wall)
    made = files(tmp_path)
    assert 1 <= len(made) < 10
    # the one that was open when the rest was counted comes on top
    assert sum(path.stat().st_size for path in made[:-1]) <= 60_000
    assert made[-1].name > "lobby_2027-01-15T08-00-09"


def test_only_our_own_segments_are_deleted(stream: Made, tmp_path: Path) -> None:
    others = [
        old_file(tmp_path, name, 10**7)
        for name in (
            "lobby_2_2026-01-14T07-59-00.000Z.mp4",  # a camera called lobby_2
            "garden_2026-01-14T07-59-00.000Z.mp4",
            "lobby_holiday.mp4",
            "lobby_2026-01-14T07-59-00.000Z.txt",
            "lobby.mp4",
        )
    ]
    wall = Wall()
    recording = writer(tmp_path, stream, wall, retention="1d", max_size=1)
    recording.write(stream[1][0])
    recording.close()
    assert [path.name for path in others if not path.exists()] == []


def test_without_limits_nothing_is_deleted(stream: Made, tmp_path: Path) -> None:
    old = old_file(tmp_path, "lobby_2001-01-01T00-00-00.000Z.mp4", 10**8)
    wall = Wall()
    write_all(writer(tmp_path, stream, wall), stream, wall)
    assert old.exists()


def test_what_cannot_be_deleted_does_not_end_the_recording(
    stream: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    old_file(tmp_path, "lobby_2027-01-01T00-00-00.000Z.mp4", 10**7)

    def stuck(_self: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", stuck)
    wall = Wall()
    recording = writer(tmp_path, stream, wall, retention="1d")
    recording.write(stream[1][0])
    recording.close()
    assert "old segments cannot be deleted" in caplog.text


def test_a_folder_that_cannot_be_made(stream: Made, tmp_path: Path) -> None:
    (tmp_path / "rec").write_text("a file")
    with pytest.raises(SinkError, match=r"record\.dir .*File exists"):
        writer(tmp_path / "rec", stream, Wall())


def test_closing_before_the_first_packet(stream: Made, tmp_path: Path) -> None:
    recording = writer(tmp_path, stream, Wall())
    recording.close()
    recording.close()
    assert files(tmp_path) == []


CHILD = """
import sys, time
from fractions import Fraction
from pathlib import Path
import av, numpy as np
from pipeline.compose.gate import Gate, Zones
from pipeline.encode.encoder import Encoder
from pipeline.frames import RawFrame
from pipeline.publish.segments import SegmentWriter
from pipeline.settings import EncodeSettings, RecordSettings

gate = Gate("lobby", lambda planes, faces: [])

def frame(index):
    i420 = np.random.default_rng(index).integers(40, 200, (144, 128), np.uint8)
    image = av.VideoFrame.from_ndarray(i420, format="yuv420p")
    return gate.protect(RawFrame(image, index, index * 3600, Fraction(1, 90000), 1), [], Zones())

encoder = Encoder(EncodeSettings(gop=2.0), encoder="libx264", preset="ultrafast",
                  first=frame(0), fps=Fraction(25), live=True)
writer = SegmentWriter("lobby", RecordSettings(dir=Path(sys.argv[1])), encoder.templates)
for index in range(140):
    for packet in encoder.encode(frame(index)):
        writer.write(packet)
print("written", flush=True)
time.sleep(600)
"""


def test_a_killed_recording_can_be_played(tmp_path: Path) -> None:
    """140 frames at 25 a second; at most the last fragment, one second, is lost."""
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE
    )
    try:
        assert child.stdout is not None
        with child.stdout as said:
            assert said.readline() == b"written\n"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait(30)

    (path,) = files(tmp_path)
    frames = decoded(path)
    assert len(frames) >= 140 - 25
    assert frames[0][1]


def first_frame(path: Path) -> int | None:
    with av.open(str(path)) as container:
        return first_frame_of(container.metadata.get("comment", ""))


def test_each_segment_says_with_which_frame_it_begins(stream: Made, tmp_path: Path) -> None:
    wall = Wall()
    write_all(writer(tmp_path, stream, wall), stream, wall)
    assert [first_frame(path) for path in files(tmp_path)] == [0, 50, 100, 150, 200]


def test_where_frames_were_dropped_a_new_segment_begins(stream: Made, tmp_path: Path) -> None:
    """Else who counts frames in the file would be wrong behind the gap."""
    wall = Wall()
    templates, packets = stream
    kept = [packet for packet in packets if not 60 <= packet.frame < 75]  # to the next keyframe
    write_all(writer(tmp_path, (templates, kept), wall, segment=60), (templates, kept), wall)
    assert [first_frame(path) for path in files(tmp_path)] == [0, 75]
    assert [len(decoded(path)) for path in files(tmp_path)] == [60, 175]


@pytest.mark.parametrize(
    "comment",
    [
        "",
        "bauta first-frame ",
        "bauta first-frame -1",
        "bauta first-frame 1x",
        "bauta first-frame 1\n",
        "my bauta first-frame 1",
        "bauta first-frame " + "9" * 40,
        "bauta first-frame ٣",
    ],
)
def test_other_comments_say_nothing(comment: str) -> None:
    assert first_frame_of(comment) is None
    assert first_frame_of(first_frame_note(12)) == 12
