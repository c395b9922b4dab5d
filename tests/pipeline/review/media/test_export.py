"""Exports: the same packets on one clock, and the evidence that opens from them."""

from __future__ import annotations

import os
import time
import zipfile
from pathlib import Path

import av
import pytest

from pipeline.errors import RecordingError
from pipeline.evidence.nal import Codec
from pipeline.evidence.sidecar_file import read_records
from pipeline.recover.clip_records import ClipRecords, read_clip
from pipeline.recover.origin import MOST_TAIL, Origin, check_origin
from pipeline.review.media.cutting import CHANGED
from pipeline.review.media.export import KEPT_SECONDS, Export, Exports
from pipeline.streams import first_frame_note
from support.clips import make_clip
from support.evidence import FPS, make_evidence
from support.evidence_flow import CASE
from support.flow import bauta
from support.recordings import (
    START,
    START_MS,
    OnDisk,
    Recorder,
    on_disk,
    one_who_walks,
    record,
    record_evidence,
    stream_of,
)
from support.recovered import Sealed, new_identity, planes_in, seal_clip, with_tone
from support.tiles import psnr_db


def packets_in(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def seconds_in(path: Path) -> list[float]:
    with av.open(str(path)) as container:
        return [float(frame.time or 0) for frame in container.decode(video=0)]


def unpacked(export: Export, folder: Path) -> Path:
    """The clip, with what lies beside it."""
    if export.path.suffix != ".zip":
        return export.path
    with zipfile.ZipFile(export.path) as archive:
        assert {one.compress_type for one in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.testzip() is None
        archive.extractall(folder)
    (clip,) = folder.glob("*.mp4")
    return clip


# --- what is in it ---


@pytest.mark.parametrize(
    ("from_seconds", "to_seconds", "first", "end"),
    [
        (0.0, 8.0, 0, 200),
        (0.0, 0.1, 0, 25),
        (1.5, 2.2, 25, 75),  # over a cut
        (3.0, 5.0, 75, 125),
        (2.96, 5.04, 50, 150),
        (7.9, 100.0, 175, 200),
        (-100.0, 100.0, 0, 200),
    ],
)
def test_it_goes_from_keyframe_to_keyframe_over_segments(
    tmp_path: Path, from_seconds: float, to_seconds: float, first: int, end: int
) -> None:
    stream = stream_of(200, one_who_walks)
    segments = record(tmp_path / "rec", stream, segment=2)
    assert len(segments) == 4
    whole = [data for path in segments for data in packets_in(path)]

    from_ms, to_ms = (START_MS + round(s * 1000) for s in (from_seconds, to_seconds))
    export = Exports(tmp_path / "state").make(on_disk(segments), from_ms, to_ms, "lobby")
    assert export.path.suffix == ".mp4" and export.stopped is None
    assert packets_in(export.path) == whole[first:end]
    assert seconds_in(export.path) == pytest.approx([n / 25 for n in range(end - first)], abs=1e-4)
    assert (export.start_ms, export.end_ms) == (START_MS + first * 40, START_MS + end * 40)
    assert export.bytes == export.path.stat().st_size


def test_its_name_says_what_it_is(tmp_path: Path) -> None:
    segments = record(tmp_path / "rec", stream_of(100), segment=2)
    exports = Exports(tmp_path / "state")
    made = exports.make(on_disk(segments), START_MS, START_MS + 9000, "lobby", owner="guard")
    assert made.name == made.path.name == "lobby_2027-01-15T08-00-00Z_4s.mp4"
    assert made.owner == "guard" and exports.get(made.id) == made
    odd = exports.make(on_disk(segments), START_MS, START_MS + 900, "../a b\n")
    assert odd.name == "a_b_2027-01-15T08-00-00Z_1s.mp4"
    assert odd.path.is_relative_to(tmp_path / "state" / "exports")


def test_nobody_else_may_read_it(tmp_path: Path) -> None:
    segments = record(tmp_path / "rec", stream_of(50), segment=2)
    made = Exports(tmp_path / "state").make(on_disk(segments), START_MS, START_MS + 900, "lobby")
    assert made.path.stat().st_mode & 0o777 == 0o600
    assert made.path.parent.stat().st_mode & 0o777 == 0o700


def test_a_header_comes_first_for_players_that_download(tmp_path: Path) -> None:
    segments = record(tmp_path / "rec", stream_of(50), segment=2)
    made = Exports(tmp_path / "state").make(on_disk(segments), START_MS, START_MS + 900, "lobby")
    data = made.path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")


def test_the_place_in_the_session_is_told(tmp_path: Path) -> None:
    segments = record(tmp_path / "rec", stream_of(200), segment=2)
    exports = Exports(tmp_path / "state")

    def comment(chosen: list[OnDisk], from_seconds: float) -> str:
        from_ms = START_MS + round(from_seconds * 1000)
        made = exports.make(chosen, from_ms, START_MS + 8000, "lobby")
        with av.open(str(made.path)) as container:
            return container.metadata.get("comment", "")

    sources = on_disk(segments)
    assert comment(sources, 0.0) == first_frame_note(0)
    assert comment(sources, 3.5) == first_frame_note(75)
    # frames are missing in between: who counts them would go wrong
    assert comment([sources[0], sources[2]], 0.0) == ""


def test_a_gap_in_time_is_closed(tmp_path: Path) -> None:
    stream = stream_of(50)
    first = record(tmp_path / "a", stream, segment=2)
    second = record(tmp_path / "b", stream, segment=2, start=START + 60)
    made = Exports(tmp_path / "state").make(
        on_disk([*second, *first]), START_MS, START_MS + 62_000, "lobby"
    )
    assert seconds_in(made.path) == pytest.approx([n / 25 for n in range(100)], abs=1e-4)
    assert (made.start_ms, made.end_ms) == (START_MS, START_MS + 62_000)


def test_another_picture_format_ends_it(tmp_path: Path) -> None:
    first = record(tmp_path / "a", stream_of(50), segment=2)
    other = make_clip(tmp_path / "b.mp4", frames=25, size=(320, 240), face_px=40).path
    sources = [*on_disk(first), OnDisk(str(other), START_MS + 2000)]
    made = Exports(tmp_path / "state").make(sources, START_MS, START_MS + 9000, "lobby")
    assert made.stopped == CHANGED
    assert packets_in(made.path) == packets_in(first[0])
    assert made.end_ms == START_MS + 2000


def test_a_file_that_grows_gives_what_is_whole(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "rec", stream_of(200), segment=4)
    recorder.write(160)
    segments = sorted((tmp_path / "rec").glob("*.mp4"))
    made = Exports(tmp_path / "state").make(on_disk(segments), START_MS, START_MS + 60_000, "lobby")
    assert len(packets_in(made.path)) == 150  # of the sixth second only the header is there
    recorder.write()
    recorder.close()
    whole = [data for path in segments for data in packets_in(path)]
    assert packets_in(made.path) == whole[:150]


def test_sound_goes_along(tmp_path: Path) -> None:
    clip = make_evidence(epochs=3, frames=25)
    plain = clip.write(tmp_path / "plain.mp4")
    paths = [with_tone(plain, tmp_path / f"{name}.mp4") for name in "ab"]
    sources = [OnDisk(str(path), START_MS + number * 3000) for number, path in enumerate(paths)]
    made = Exports(tmp_path / "state").make(sources, START_MS, START_MS + 6000, "lobby")
    with av.open(str(made.path)) as container:
        times = [
            float(packet.pts * packet.time_base)
            for packet in container.demux(audio=0)
            if packet.size and packet.pts is not None and packet.time_base is not None
        ]
    assert times == sorted(set(times)) and len(times) == pytest.approx(6 * 48_000 / 1024, abs=6)
    assert times[-1] == pytest.approx(6.0, abs=0.1)
    assert len(packets_in(made.path)) == 150


def test_h265_can_be_exported(tmp_path: Path) -> None:
    segments = record(tmp_path / "rec", stream_of(60, codec="h265"), segment=1)
    made = Exports(tmp_path / "state").make(on_disk(segments), START_MS, START_MS + 9000, "lobby")
    assert packets_in(made.path) == [data for path in segments for data in packets_in(path)]


# --- evidence ---


def assert_whole(clip: ClipRecords, pinned: bytes, *, tail: bool) -> Origin:
    origin = check_origin(clip, pinned)
    assert origin.is_verified and origin.is_unaltered, (origin.unverified, origin.altered)
    assert origin.is_complete, origin.incomplete
    assert origin.tail <= (MOST_TAIL if tail else 0)
    return origin


@pytest.mark.parametrize("codec", ["h264", "h265"])
@pytest.mark.parametrize("carrier", ["stream", "sidecar", "both"])
def test_every_epoch_is_there_with_its_frames(tmp_path: Path, carrier: str, codec: Codec) -> None:
    clip = make_evidence(epochs=6, frames=25, codec=codec, size_px=(192, 128))
    segments = record_evidence(tmp_path / "rec", clip, segment=2, carrier=carrier)
    assert len(segments) == 3
    made = Exports(tmp_path / "state").make(
        on_disk(segments), START_MS + 1000, START_MS + 5000, "gate-3"
    )
    path = unpacked(made, tmp_path / "out")
    assert (made.path.suffix == ".zip") == (carrier != "stream")
    read = read_clip(path)
    assert read.carrier == ("sidecar" if carrier == "sidecar" else "stream")
    assert len(read.frames) == 100
    assert [len(epoch.positions) for epoch in read.epochs] == [25] * 4
    assert [epoch.record.sequence for epoch in read.epochs] == [1, 2, 3, 4]
    assert read.problems == ()
    assert_whole(read, clip.service_key.public, tail=False)
    # byte for byte, with what they carry
    whole = [data for segment in segments for data in packets_in(segment)]
    assert packets_in(path) == whole[25:125]


def test_the_sidecar_has_the_records_of_its_epochs_alone(tmp_path: Path) -> None:
    clip = make_evidence(epochs=6, frames=25)
    segments = record_evidence(tmp_path / "rec", clip, segment=2, carrier="sidecar")
    made = Exports(tmp_path / "state").make(
        on_disk(segments), START_MS + 2000, START_MS + 3000, "gate-3"
    )
    assert made.name.endswith("_1s.zip")
    path = unpacked(made, tmp_path / "out")
    records = read_records(Path(f"{path}.bauta"))
    expected = [r for packet in clip.packets[50:75] for r in packet.records]
    assert records == expected and len(records) > 2


def test_the_record_of_the_last_frames_may_lie_beside_the_next_segment(tmp_path: Path) -> None:
    """Live, an epoch's last record may come with the frame after it."""
    clip = make_evidence(epochs=4, frames=21, says_last=False)
    segments = record_evidence(tmp_path / "rec", clip, segment=0.84, carrier="sidecar")
    assert len(segments) == 4
    exports = Exports(tmp_path / "state")
    sources = on_disk(segments)
    alone = exports.make(sources[:2], START_MS, START_MS + 1680, "gate-3")
    with_next = exports.make(sources[:3], START_MS, START_MS + 1680, "gate-3")
    pinned = clip.service_key.public
    tails = []
    for name, made in (("alone", alone), ("next", with_next)):
        read = read_clip(unpacked(made, tmp_path / name))
        assert len(read.frames) == 42
        tails.append(assert_whole(read, pinned, tail=True).tail)
    assert tails[0] > 0 and tails[1] == 0


def test_a_broken_sidecar_is_not_left_out_in_silence(tmp_path: Path) -> None:
    clip = make_evidence(epochs=2, frames=25)
    (path,) = record_evidence(tmp_path / "rec", clip, segment=60, carrier="sidecar")
    Path(f"{path}.bauta").write_bytes(b"nothing of ours")
    with pytest.raises(RecordingError, match="its evidence cannot be taken along"):
        Exports(tmp_path / "state").make(on_disk([path]), START_MS, START_MS + 900, "gate-3")
    assert not list((tmp_path / "state" / "exports").iterdir())


@pytest.mark.parametrize("carrier", ["stream", "sidecar"])
def test_a_face_opens_from_an_export(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, carrier: str
) -> None:
    """By `bauta recover`, with an officer's key: as filmed."""
    monkeypatch.setenv("BAUTA_STATE", str(tmp_path / "audit"))
    officer, key = new_identity(tmp_path, "dpo")
    sealed: Sealed = seal_clip({"dpo": [officer]}, epochs=3, frames=12)
    segments = record_evidence(
        tmp_path / "rec", sealed.clip, segment=24 / FPS, carrier=carrier, fps=FPS
    )
    assert len(segments) == 2
    made = Exports(tmp_path / "state").make(
        on_disk(segments), START_MS + 500, START_MS + 1400, "gate-3"
    )
    clip = unpacked(made, tmp_path / "out")
    opened = tmp_path / "opened.mp4"
    done = bauta(
        *("recover", clip, opened, "--key", key, *CASE, "--json", "--lossless", "--no-mark")
    )
    assert done.code == 0, done.err
    assert done.result["recovered_frames"] == 24
    pictures = planes_in(opened)
    assert len(pictures) == 24
    for shown, filmed, boxes in zip(
        pictures, sealed.originals[12:], sealed.boxes[12:], strict=True
    ):
        x1, y1, x2, y2 = boxes[1]
        assert psnr_db(filmed.y[y1:y2, x1:x2], shown.y[y1:y2, x1:x2]) > 35


# --- bounds ---


def test_what_cannot_be_exported_says_why(tmp_path: Path) -> None:
    segments = on_disk(record(tmp_path / "rec", stream_of(50), segment=2))
    exports = Exports(tmp_path / "state", most_bytes=2000)
    with pytest.raises(RecordingError, match="choose a shorter time"):
        exports.make(segments, START_MS, START_MS + 900, "lobby")
    with pytest.raises(RecordingError, match="must end after it begins"):
        exports.make(segments, START_MS, START_MS, "lobby")
    exports = Exports(tmp_path / "state")
    with pytest.raises(RecordingError, match="nothing was recorded"):
        exports.make(segments, START_MS + 50_000, START_MS + 60_000, "lobby")
    with pytest.raises(RecordingError, match="nothing was recorded"):
        exports.make([], START_MS, START_MS + 900, "lobby")
    gone = [OnDisk(str(tmp_path / "gone.mp4"), START_MS)]
    with pytest.raises(RecordingError, match=r"gone\.mp4"):
        exports.make(gone, START_MS, START_MS + 900, "lobby")


def test_they_are_gone_after_an_hour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    segments = on_disk(record(tmp_path / "rec", stream_of(50), segment=2))
    exports = Exports(tmp_path / "state")
    made = exports.make(segments, START_MS, START_MS + 900, "lobby")
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + KEPT_SECONDS - 10)
    assert exports.get(made.id) == made
    monkeypatch.setattr(time, "time", lambda: now + KEPT_SECONDS + 10)
    assert exports.get(made.id) is None
    assert not made.path.exists() and not made.path.parent.exists()
    assert exports.get("../../etc") is None


def test_what_an_earlier_process_left_goes_as_well(tmp_path: Path) -> None:
    left = tmp_path / "state" / "exports" / ("ab" * 16)
    left.mkdir(parents=True)
    (left / "a.mp4").write_bytes(b"x")
    for path in (left / "a.mp4", left):
        os.utime(path, (time.time() - KEPT_SECONDS - 10,) * 2)
    young = left.with_name("cd" * 16)
    young.mkdir()
    Exports(tmp_path / "state").sweep()
    assert not left.exists() and young.exists()


def test_the_oldest_make_room(tmp_path: Path) -> None:
    segments = on_disk(record(tmp_path / "rec", stream_of(50), segment=2))
    size = Exports(tmp_path / "other").make(segments, START_MS, START_MS + 900, "lobby").bytes
    exports = Exports(tmp_path / "state", most_total_bytes=round(size * 2.7))
    made = []
    for number in range(3):
        made.append(exports.make(segments, START_MS, START_MS + 900, "lobby"))
        for path in (made[-1].path, made[-1].path.parent):
            os.utime(path, (time.time() - 100 + number,) * 2)
    assert [exports.get(one.id) is not None for one in made] == [False, True, True]
    assert not made[0].path.exists() and made[2].path.exists()
