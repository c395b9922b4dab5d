"""Thumbnails show the frame they are asked for, and only what the recording shows."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from pipeline.errors import RecordingError
from pipeline.frames import U8Array
from pipeline.review.media.playable import Playables
from pipeline.review.media.span import Spliced
from pipeline.review.media.thumbnails import SIDE_PX, Thumbnails
from support.clips import decode_all, make_clip
from support.recordings import HEIGHT, WIDTH, Recorder, one_who_walks, record, stream_of

WHOLE = (0, 0, WIDTH, HEIGHT)
CORNER = (0, 0, 8, 8)


def decoded(jpeg: bytes) -> U8Array:
    assert jpeg[:2] == b"\xff\xd8"
    picture = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert picture is not None and picture.shape == (SIDE_PX, SIDE_PX, 3)
    return np.asarray(picture, np.uint8)


def shade(jpeg: bytes) -> float:
    """Of the corner that counts frames."""
    return float(np.median(decoded(jpeg)[20:100, 20:100, 1]))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("recording")
    (path,) = record(folder, stream_of(100, one_who_walks, gop=2.0), segment=60)
    return path


@pytest.mark.parametrize("index", [0, 1, 24, 25, 49, 50, 73, 99])
def test_the_frame_is_the_one_asked_for(recording: Path, tmp_path: Path, index: int) -> None:
    expected = decode_all(recording)[index].to_ndarray(format="bgr24")
    np.testing.assert_array_equal(Thumbnails(tmp_path)._picture(recording, index / 25), expected)


def test_a_time_after_the_end_shows_the_last(recording: Path, tmp_path: Path) -> None:
    thumbnails = Thumbnails(tmp_path)
    late = shade(thumbnails.jpeg(recording, 3600.0, CORNER))
    assert late == pytest.approx(shade(thumbnails.jpeg(recording, 99 / 25, CORNER)), abs=1)


def test_the_person_is_in_the_middle_and_hidden(recording: Path, tmp_path: Path) -> None:
    """The solid patch of the protection, on the picture's grey."""
    picture = decoded(Thumbnails(tmp_path).jpeg(recording, 40 / 25, (40, 20, 30, 40)))
    middle = picture[110:130, 110:130].astype(int)
    assert np.abs(middle - np.median(middle)).max() <= 12
    assert picture[120, 5].astype(int) != pytest.approx(middle[10, 10], abs=8)


@pytest.mark.parametrize("box", [(5000, 10, 20, 20), (10, 5000, 20, 20), (0, 0, 65536, 65536)])
def test_a_box_outside_of_the_picture(
    recording: Path, tmp_path: Path, box: tuple[int, int, int, int]
) -> None:
    decoded(Thumbnails(tmp_path).jpeg(recording, 1.0, box))


def test_only_what_is_needed_is_read(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    real = Spliced.read

    def counted(self: Spliced, size: int = -1) -> bytes:
        data = real(self, size)
        reads.append(len(data))
        return data

    monkeypatch.setattr(Spliced, "read", counted)
    Thumbnails(tmp_path).jpeg(recording, 2.2, CORNER)
    assert 0 < sum(reads) < recording.stat().st_size * 0.45


def test_it_is_decoded_once_and_kept_private(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    thumbnails = Thumbnails(tmp_path)
    first = thumbnails.jpeg(recording, 1.0, CORNER)
    monkeypatch.setattr(Thumbnails, "_picture", lambda *_: pytest.fail("decoded again"))
    assert Thumbnails(tmp_path).jpeg(recording, 1.0, CORNER) == first
    (file,) = (tmp_path / "thumbnails").rglob("*.jpg")
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700


def test_a_recording_that_is_gone_shows_nothing(recording: Path, tmp_path: Path) -> None:
    copy = tmp_path / "a.mp4"
    copy.write_bytes(recording.read_bytes())
    thumbnails = Thumbnails(tmp_path / "state")
    thumbnails.jpeg(copy, 1.0, CORNER)
    copy.unlink()
    with pytest.raises(RecordingError, match="gone"):
        thumbnails.jpeg(copy, 1.0, CORNER)
    thumbnails.forget(copy)
    assert not list((tmp_path / "state").rglob("*.jpg"))
    thumbnails.forget(copy)


def test_the_cache_is_bounded(recording: Path, tmp_path: Path) -> None:
    copies = []
    for number in range(3):
        copies.append(tmp_path / f"{number}.mp4")
        copies[-1].write_bytes(recording.read_bytes())
    folder = tmp_path / "state" / "thumbnails"
    one = len(Thumbnails(tmp_path / "state").jpeg(copies[0], 0.0, CORNER))
    (made,) = folder.iterdir()
    os.utime(made, (1, 1))
    os.utime(next(made.iterdir()), (1, 1))
    Thumbnails(tmp_path / "state").jpeg(copies[1], 0.0, CORNER)
    Thumbnails(tmp_path / "state", most_bytes=one + one // 2).jpeg(copies[2], 0.0, CORNER)
    assert not made.exists() and len(list(folder.iterdir())) == 2


def test_a_file_that_grows(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path, stream_of(150, gop=2.0), segment=60)
    recorder.write(80)
    (path,) = tmp_path.glob("*.mp4")
    thumbnails = Thumbnails(tmp_path / "state")
    before = shade(thumbnails.jpeg(path, 55 / 25, CORNER))
    recorder.write()
    recorder.close()
    after = shade(thumbnails.jpeg(path, 140 / 25, CORNER))
    assert after - before == pytest.approx(85 * 255 / 219, abs=5)


def test_at_most_two_are_decoded_at_a_time(recording: Path, tmp_path: Path) -> None:
    thumbnails = Thumbnails(tmp_path)
    most, now, lock = 0, 0, threading.Lock()
    real, met = thumbnails._picture, threading.Event()

    def counted(path: Path, seconds: float) -> U8Array:
        nonlocal most, now
        with lock:
            now += 1
            most = max(most, now)
        met.wait(0.05)
        picture = real(path, seconds)
        with lock:
            now -= 1
        return picture

    thumbnails._picture = counted  # type: ignore[method-assign]
    threads = [
        threading.Thread(target=thumbnails.jpeg, args=(recording, index / 25, CORNER))
        for index in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == 2


# --- what must be copied first ---


def test_a_file_with_its_index_at_the_end_is_copied_once(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", frames=60, size=(320, 240), face_px=40, gop=25, audio=True)
    playables = Playables(tmp_path / "state")
    copy, known = playables.open(clip.path)
    assert copy != clip.path and copy.is_relative_to(tmp_path / "state" / "playable")
    assert known.is_fragmented and known.is_finished
    assert sum(item.frames for item in known.fragments) == 60
    assert "mp4a.40.2" in known.mime
    inode = copy.stat().st_ino
    again, _ = playables.open(clip.path)
    assert again == copy and copy.stat().st_ino == inode
    assert copy.stat().st_mode & 0o777 == 0o600
    playables.forget(clip.path)
    assert not copy.exists()
    # and it can be had again
    assert playables.open(clip.path)[0].exists()


def test_matroska_is_copied_and_its_packets_are_the_same(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mkv", frames=30, size=(320, 240), face_px=40)
    copy, known = Playables(tmp_path / "state").open(clip.path)
    packets = []
    for path in (clip.path, copy):
        with av.open(str(path)) as container:
            packets.append([bytes(p) for p in container.demux(video=0) if p.size])
    assert packets[0] == packets[1] and len(packets[0]) == 30
    assert known.refusal is None


def test_copies_are_bounded(tmp_path: Path) -> None:
    one = make_clip(tmp_path / "a.mp4", frames=30, size=(320, 240), face_px=40).path
    other = make_clip(tmp_path / "b.mp4", frames=30, size=(320, 240), face_px=40, seed=1).path
    room = round(one.stat().st_size * 1.5)
    playables = Playables(tmp_path / "state", most_bytes=room)
    first, _ = playables.open(one)
    second, _ = playables.open(other)
    assert second.exists() and not first.exists()
    with pytest.raises(RecordingError, match="too large"):
        Playables(tmp_path / "state", most_bytes=1000).open(one)


def test_what_is_no_video_says_so(tmp_path: Path) -> None:
    path = tmp_path / "a.mkv"
    path.write_bytes(b"nothing to see" * 100)
    with pytest.raises(RecordingError, match=r"a\.mkv"):
        Playables(tmp_path / "state").open(path)
    assert not list((tmp_path / "state").rglob("*.part"))
