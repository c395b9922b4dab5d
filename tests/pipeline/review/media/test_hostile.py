"""What whoever can write into a folder of recordings may put there: refused, soon, in one line."""

from __future__ import annotations

import os
import random
import socket
import struct
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.errors import RecordingError
from pipeline.recover.clip_file import ClipFile, open_clip
from pipeline.review.media import fragments, playable, thumbnails
from pipeline.review.media.boxes import MOST_CHILDREN, MOST_TRACKS, parse_fragment, parse_header
from pipeline.review.media.fragments import read_fragments, read_header
from pipeline.review.media.plain_file import open_plain
from pipeline.review.media.playable import Playables
from pipeline.review.media.span import MOST_PIXELS, open_span, prepare_decoder
from pipeline.review.media.thumbnails import Thumbnails
from support.clips import make_clip
from support.hostile import box, with_picture_size
from support.recordings import HEIGHT, WIDTH, record, stream_of

CORNER = (0, 0, 8, 8)
SIZE = (WIDTH, HEIGHT)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    (path,) = record(tmp_path_factory.mktemp("recording"), stream_of(50), segment=60)
    return path


# --- what is no plain file ---


def test_nothing_but_a_plain_file_is_opened(recording: Path, tmp_path: Path) -> None:
    """Nobody writes into the pipe: who waited for that would wait here."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "link").symlink_to(recording)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
        for name in ("pipe", "link", "socket", "."):
            with pytest.raises(OSError, match="is not a plain file"):
                open_plain(tmp_path / name)
    with open_plain(recording) as file:
        assert file.read() == recording.read_bytes()
        assert not os.get_inheritable(file.fileno())


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv"])
def test_a_pipe_is_no_recording(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    os.mkfifo(path)
    for read in (read_fragments, read_header, Playables(tmp_path / "state").open):
        with pytest.raises(RecordingError, match=f"^{name}: is not a plain file$"):
            read(path)


def test_a_file_that_becomes_a_pipe(recording: Path, tmp_path: Path) -> None:
    """Between a look at it and the next."""
    path = tmp_path / "a.mp4"
    path.write_bytes(recording.read_bytes())
    known = read_fragments(path)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(RecordingError, match="not a plain file"), open_span(path, known, 0, 1):
        pytest.fail("was opened")


def test_a_copy_is_made_of_what_was_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The name leads to a pipe by the time libav opens it."""
    clip = make_clip(tmp_path / "a.mkv", frames=10, size=(320, 240), face_px=40).path
    real = open_clip

    def late(path: Path) -> AbstractContextManager[ClipFile]:
        clip.unlink()
        os.mkfifo(clip)
        return real(path)

    monkeypatch.setattr(playable, "open_clip", late)
    playable._remux(clip, tmp_path / "copy.mp4")
    assert sum(item.frames for item in read_fragments(tmp_path / "copy.mp4").fragments) == 10


# --- headers ---


def track(number: int) -> bytes:
    entries = box(b"stsd", bytes(8) + box(b"xxxx", b""))
    media = (
        box(b"mdhd", bytes(12) + struct.pack(">I", 1000)),
        box(b"hdlr", bytes(8) + b"soun"),
        box(b"minf", box(b"stbl", entries)),
    )
    head = box(b"tkhd", bytes(12) + struct.pack(">I", number))
    return box(b"trak", head + box(b"mdia", b"".join(media)))


def test_tracks_are_bounded() -> None:
    """Each run of a fragment is looked up in them."""
    tracks = [track(number) for number in range(1, MOST_TRACKS + 1)]
    assert len(parse_header(b"".join(tracks)).tracks) == MOST_TRACKS
    with pytest.raises(RecordingError, match="more than 64 tracks"):
        parse_header(b"".join([*tracks, track(MOST_TRACKS + 1)]))


def test_boxes_in_a_box_are_bounded() -> None:
    header = parse_header(track(1))
    run = box(b"traf", box(b"tfhd", struct.pack(">II", 0, 99)))
    assert list(parse_fragment(run * MOST_CHILDREN, header)) == []
    with pytest.raises(RecordingError, match="more than 4096 boxes"):
        list(parse_fragment(run * (MOST_CHILDREN + 1), header))


def test_what_takes_too_long_ends_there(recording: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fragments, "_MOST_CPU_SECONDS", -1.0)
    known = read_fragments(recording)
    assert known.problem == "the recording is damaged: to find its fragments takes too long"
    assert known.fragments == ()


def test_fragments_kept_in_memory_are_bounded(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(playable, "_MOST_KEPT_FRAGMENTS", 5)  # each has two
    playables = Playables(tmp_path / "state")
    for number in range(4):
        copy = tmp_path / f"{number}.mp4"
        copy.write_bytes(recording.read_bytes())
        playables.open(copy)
    assert [path.name for path in playables._known] == ["2.mp4", "3.mp4"]


# --- pictures ---


@pytest.mark.parametrize(
    ("said", "coded"),
    [((8192, 8192), (8192, 8192)), ((16000, 16000), (16000, 16000)), (SIZE, (8192, 8192))],
    ids=["both", "both-larger", "the-pictures-alone"],
)
def test_huge_pictures_are_not_decoded(
    recording: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    said: tuple[int, int],
    coded: tuple[int, int],
) -> None:
    """A few kilobytes would take a gigabyte; libav keeps silent about it."""
    path = tmp_path / "a.mp4"
    path.write_bytes(with_picture_size(recording.read_bytes(), said, coded))
    with pytest.raises(RecordingError, match=r"too many to be shown|cannot be decoded"):
        Thumbnails(tmp_path).jpeg(path, 0.5, CORNER)
    assert capfd.readouterr() == ("", "")


def test_a_size_that_cameras_have_is_decoded(recording: Path, tmp_path: Path) -> None:
    """So that the test above refuses the size, and not what else is odd in that file."""
    path = tmp_path / "a.mp4"
    path.write_bytes(with_picture_size(recording.read_bytes(), SIZE, (640, 480)))
    assert Thumbnails(tmp_path)._picture(path, 0.5).shape == (480, 640, 3)
    assert MOST_PIXELS >= 7680 * 4320


def test_other_codecs_are_not_decoded(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "a.mp4", frames=10, size=(320, 240), face_px=40, codec="mjpeg")
    with pytest.raises(RecordingError, match="mjpeg"):
        Thumbnails(tmp_path / "state").jpeg(clip.path, 0.1, CORNER)


def test_a_group_without_end_is_given_up(
    recording: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(thumbnails, "_MOST_PACKETS", 10)
    shown = Thumbnails(tmp_path)
    assert shown.jpeg(recording, 5 / 25, CORNER)
    with pytest.raises(RecordingError, match="takes too long"):
        shown.jpeg(recording, 24 / 25, CORNER)


def test_a_decoder_is_told_its_limit(recording: Path) -> None:
    with open_span(recording, read_fragments(recording), 0, 1) as container:
        video = container.streams.video[0]
        prepare_decoder(video)
        assert video.codec_context.options == {"max_pixels": str(MOST_PIXELS)}


@given(seed=st.integers(0, 2**32), flips=st.integers(1, 30))
@settings(max_examples=60, deadline=None)
def test_any_byte_of_it_may_be_another(
    recording: Path, tmp_path_factory: pytest.TempPathFactory, seed: int, flips: int
) -> None:
    """A picture, or the one named error."""
    data, chosen = bytearray(recording.read_bytes()), random.Random(seed)
    for _ in range(flips):
        data[chosen.randrange(len(data) if seed % 2 else 900)] = chosen.randrange(256)
    folder = tmp_path_factory.mktemp("flipped")
    path = folder / "a.mp4"
    path.write_bytes(data)
    try:
        assert Thumbnails(folder).jpeg(path, 0.5, CORNER)[:2] == b"\xff\xd8"
    except RecordingError as error:
        assert "\n" not in str(error)
