from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BautaError, NotAVideo, RecordError, SourceError, UsageError
from pipeline.evidence.group_record import GroupHead, GroupRecord, parse_group_record
from pipeline.evidence.key_record import parse_key_record
from pipeline.evidence.nal import Codec
from pipeline.recover.clip_records import ClipRecords, Epoch, read_clip
from pipeline.recover.epoch_match import (
    CarriedGroup,
    CarriedKey,
    Problems,
    place_by_digests,
    place_in_stream,
)
from support.clips import make_clip, not_a_video, truncate, zero_length
from support.evidence import (
    EvidenceClip,
    Packet,
    a_service_key,
    copied,
    flipped,
    make_evidence,
    make_evidence_clip,
    with_another_picture,
    write_sidecar,
)
from support.small_streams import remux

EPOCHS, FRAMES = 3, 20
CONTAINERS = {"mp4": ".mp4", "fragmented": ".mp4", "mkv": ".mkv", "ts": ".ts"}


@pytest.fixture
def made() -> EvidenceClip:
    return copied(make_evidence(epochs=EPOCHS, frames=FRAMES))


def written(clip: EvidenceClip, folder: Path, **how: str) -> ClipRecords:
    return read_clip(clip.write(folder / "clip.mp4", **how))  # type: ignore[arg-type]


def whole(epoch: Epoch, start: int, frames: int = FRAMES) -> bool:
    """All its frames where they were."""
    there = {counter: start + counter for counter in range(frames)}
    return (epoch.start, epoch.end, dict(epoch.positions)) == (start, start + frames, there)


def firsts(epoch: Epoch) -> list[int]:
    return [group.head.first for group in epoch.groups]


# --- carriers, containers, codecs ---


@pytest.mark.parametrize("codec", ["h264", "h265"])
@pytest.mark.parametrize("container", CONTAINERS)
def test_every_container_and_codec(codec: Codec, container: str, tmp_path: Path) -> None:
    clip = make_evidence(codec=codec, epochs=2)
    path = tmp_path / f"clip{CONTAINERS[container]}"
    clip.write(path, fragmented=container == "fragmented")
    read = read_clip(path)
    assert [whole(epoch, 20 * at) for at, epoch in enumerate(read.epochs)] == [True, True]
    assert [firsts(epoch) for epoch in read.epochs] == [[0, 8, 16]] * 2
    assert read.problems == () and read.carrier == "stream" and read.sidecar is None
    assert (read.codec, read.size_px, read.fps) == (codec, (160, 128), Fraction(25))
    assert read.clip_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert [frame.position for frame in read.frames] == list(range(40))
    assert read.seconds == pytest.approx([at / 25 for at in range(40)], abs=2e-3)
    assert [frame.is_keyframe for frame in read.frames] == [at % 20 == 0 for at in range(40)]
    assert [epoch.record for epoch in read.epochs] == clip.key_records()


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_a_remux_changes_nothing(codec: Codec, tmp_path: Path) -> None:
    path = make_evidence(codec=codec).write(tmp_path / "a.mp4")
    first = read_clip(path)
    for suffix in (".ts", ".mkv", ".mp4"):
        path = remux(path, tmp_path / f"b{suffix}")
        read = read_clip(path)
        assert [dict(epoch.positions) for epoch in read.epochs] == [
            dict(epoch.positions) for epoch in first.epochs
        ]
        assert [epoch.groups for epoch in read.epochs] == [epoch.groups for epoch in first.epochs]


@pytest.mark.parametrize("carrier", ["sidecar", "both"])
def test_a_sidecar_beside_the_clip(carrier: str, made: EvidenceClip, tmp_path: Path) -> None:
    read = written(made, tmp_path, carrier=carrier)
    assert [whole(epoch, FRAMES * at) for at, epoch in enumerate(read.epochs)] == [True] * EPOCHS
    # what the stream carries is taken first
    assert read.carrier == ("sidecar" if carrier == "sidecar" else "stream")
    assert read.problems == ()


def test_a_named_sidecar_goes_before_the_stream(made: EvidenceClip, tmp_path: Path) -> None:
    path = made.write(tmp_path / "clip.mp4")
    first = made.packets[:FRAMES]
    sidecar = write_sidecar(tmp_path / "s", [r for packet in first for r in packet.records])
    read = read_clip(path, sidecar)
    assert len(read.epochs) == 1 and read.carrier == "sidecar" and read.sidecar == sidecar


def test_a_clip_without_records(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.mp4", frames=5, faces=0).path
    read = read_clip(path)
    assert read.is_without_records and read.problems == () and len(read.frames) == 5


def test_a_bare_stream_has_times_by_its_rate(tmp_path: Path) -> None:
    path = make_clip(tmp_path / "clip.264", frames=10, faces=0).path
    assert read_clip(path).seconds == pytest.approx([at / 25 for at in range(10)])


# --- cuts ---


def test_a_cut_at_an_idr(tmp_path: Path) -> None:
    """The clip begins with the last record of the epoch before: that is no problem."""
    made = make_evidence(says_last=False)
    cut = copied(made, made.packets[FRAMES:])
    assert cut.packets[0].kinds() == ["group", "key"]
    read = written(cut, tmp_path)
    assert [whole(epoch, FRAMES * at) for at, epoch in enumerate(read.epochs)] == [True, True]
    assert read.problems == ()


def test_the_last_group_may_come_with_the_next_epoch(tmp_path: Path) -> None:
    read = written(make_evidence(says_last=False), tmp_path)
    assert [firsts(epoch) for epoch in read.epochs] == [[0, 8, 16]] * EPOCHS
    assert all(whole(epoch, FRAMES * at) for at, epoch in enumerate(read.epochs))


def test_a_cut_inside_an_epoch(made: EvidenceClip, tmp_path: Path) -> None:
    read = written(copied(made, made.packets[5:]), tmp_path)
    assert [epoch.start for epoch in read.epochs] == [15, 35]
    assert read.problems == (f"3 × {Problems.UNPLACED}",)


# --- what happens to frames ---


def test_a_lost_frame(made: EvidenceClip, tmp_path: Path) -> None:
    del made.packets[FRAMES + 5]
    _, epoch, after = written(made, tmp_path).epochs
    assert dict(epoch.positions) == {
        counter: FRAMES + counter - (counter > 5) for counter in range(FRAMES) if counter != 5
    }
    assert whole(after, 2 * FRAMES - 1)


def test_a_lost_frame_that_carried_a_record(made: EvidenceClip, tmp_path: Path) -> None:
    assert made.packets[FRAMES + 7].kinds() == ["group"]
    del made.packets[FRAMES + 7]
    _, epoch, _ = written(made, tmp_path).epochs
    assert firsts(epoch) == [8, 16]
    # the key record itself speaks of the first frame
    assert dict(epoch.positions) == {0: FRAMES} | {c: FRAMES + c - 1 for c in range(8, FRAMES)}


def test_an_altered_frame(made: EvidenceClip, tmp_path: Path) -> None:
    made.packets[11] = with_another_picture(made.packets[11])
    epoch = written(made, tmp_path).epochs[0]
    assert dict(epoch.positions) == {counter: counter for counter in range(FRAMES) if counter != 11}


def test_an_altered_idr_leaves_the_rest(made: EvidenceClip, tmp_path: Path) -> None:
    made.packets[FRAMES] = with_another_picture(made.packets[FRAMES])
    read = written(made, tmp_path)
    assert whole(read.epochs[0], 0)
    positions = {counter: FRAMES + counter for counter in range(1, FRAMES)}
    assert dict(read.epochs[1].positions) == positions and read.problems == ()


def test_a_lost_idr_takes_its_epoch(made: EvidenceClip, tmp_path: Path) -> None:
    del made.packets[FRAMES]
    first, last = written(made, tmp_path).epochs
    assert dict(first.positions) == {counter: counter for counter in range(FRAMES)}
    assert whole(last, 2 * FRAMES - 1)


def test_doubled_frames(made: EvidenceClip, tmp_path: Path) -> None:
    for at in (FRAMES + 9, FRAMES):  # also the one with the key record
        made.packets.insert(at, made.packets[at])
    read = written(made, tmp_path)
    assert len(read.epochs) == EPOCHS and len(read.epochs[1].positions) == FRAMES
    frames = read.frames
    for epoch in read.epochs:
        for group in epoch.groups:
            for counter, digest in enumerate(group.head.digests, start=group.head.first):
                assert frames[epoch.positions[counter]].digest == digest
    assert whole(read.epochs[2], 2 * FRAMES + 2)


def test_an_epoch_that_is_there_twice_has_its_frames_once(
    made: EvidenceClip, tmp_path: Path
) -> None:
    made.packets += made.packets[:FRAMES]
    read = written(made, tmp_path)
    assert [epoch.start for epoch in read.epochs] == [0, FRAMES, 2 * FRAMES]
    assert read.epochs[-1].end == 3 * FRAMES
    assert read.problems == (f"1 × {Problems.REPEATED}", f"3 × {Problems.UNPLACED}")


def test_a_still_picture(tmp_path: Path) -> None:
    """The epochs are coded to the same bytes: only their order tells which is which."""
    made = make_evidence(still=True)
    digests = {record.digest for record in made.key_records()}
    assert len(digests) == 1
    for carrier in ("stream", "sidecar"):
        read = written(made, tmp_path, carrier=carrier)
        assert [whole(epoch, FRAMES * at) for at, epoch in enumerate(read.epochs)] == [True] * 3
        assert [epoch.record for epoch in read.epochs] == made.key_records()


def test_a_still_picture_with_a_lost_frame(tmp_path: Path) -> None:
    made = copied(make_evidence(still=True))
    del made.packets[FRAMES + 4]
    for carrier in ("stream", "sidecar"):
        read = written(made, tmp_path, carrier=carrier)
        assert whole(read.epochs[0], 0)
        assert set(read.epochs[1].positions) == set(range(FRAMES)) - {4}
        assert whole(read.epochs[2], 2 * FRAMES - 1)


# --- what happens to records ---


def test_exchanged_records_of_an_epoch(made: EvidenceClip, tmp_path: Path) -> None:
    """Which packet carried it does not matter."""
    made.packets[7].records, made.packets[15].records = (
        made.packets[15].records,
        made.packets[7].records,
    )
    read = written(made, tmp_path)
    assert whole(read.epochs[0], 0) and read.problems == ()


def test_exchanged_records_of_two_epochs(made: EvidenceClip, tmp_path: Path) -> None:
    here, there = made.packets[7], made.packets[FRAMES + 7]
    here.records, there.records = there.records, here.records
    read = written(made, tmp_path)
    assert [firsts(epoch) for epoch in read.epochs] == [[8, 16], [8, 16], [0, 8, 16]]
    assert all(set(epoch.positions) == {0, *range(8, FRAMES)} for epoch in read.epochs[:2])
    assert read.problems == (f"2 × {Problems.UNPLACED}",)


def test_a_replayed_group(made: EvidenceClip, tmp_path: Path) -> None:
    made.packets[FRAMES + 3].records += made.packets[7].records
    read = written(made, tmp_path)
    assert [whole(epoch, FRAMES * at) for at, epoch in enumerate(read.epochs)] == [True] * EPOCHS
    assert read.problems == (f"1 × {Problems.UNPLACED}",)


@pytest.mark.parametrize("with_groups", [False, True])
def test_a_replayed_key_record_ends_no_epoch(
    with_groups: bool, made: EvidenceClip, tmp_path: Path
) -> None:
    made.packets[FRAMES + 3].records.append(made.packets[0].records[0])
    if with_groups:
        made.packets[FRAMES + 5].records += made.packets[7].records
    read = written(made, tmp_path)
    assert [whole(epoch, FRAMES * at) for at, epoch in enumerate(read.epochs)] == [True] * EPOCHS
    assert read.problems[0] == f"1 × {Problems.REPEATED}"


def test_a_foreign_key_record_ends_no_epoch(made: EvidenceClip, tmp_path: Path) -> None:
    other = make_evidence(epochs=1, seed=7, service_key=a_service_key(9))
    made.packets[FRAMES + 3].records.append(other.records("key")[0])
    read = written(made, tmp_path)
    assert [whole(epoch, FRAMES * at) for at, epoch in enumerate(read.epochs)] == [True] * EPOCHS


def test_a_damaged_record_is_one_problem(made: EvidenceClip, tmp_path: Path) -> None:
    records = made.packets[7].records
    records[0] = records[0][:40]
    made.packets[9].records = [b"\x09" + bytes(50)]
    read = written(made, tmp_path)
    assert firsts(read.epochs[0]) == [8, 16]
    assert read.problems == (f"2 × {Problems.DAMAGED}",)


def test_a_damaged_key_record(made: EvidenceClip, tmp_path: Path) -> None:
    made.packets[FRAMES].records = [made.packets[FRAMES].records[0][:100]]
    read = written(made, tmp_path)
    assert [epoch.start for epoch in read.epochs] == [0, 2 * FRAMES]
    assert dict(read.epochs[0].positions) == {counter: counter for counter in range(FRAMES)}
    assert read.problems == (f"1 × {Problems.DAMAGED}", f"3 × {Problems.UNPLACED}")


def forged(record: bytes, **changes: object) -> bytes:
    group = parse_group_record(record)
    return replace(group, head=replace(group.head, **changes)).encode()  # type: ignore[arg-type]


@pytest.mark.parametrize("is_first", [False, True])
def test_of_two_for_the_same_frames_the_signed_one(
    is_first: bool, made: EvidenceClip, tmp_path: Path
) -> None:
    real = made.packets[15].records[0]
    fake = forged(real, digests=tuple(bytes((at,)) * 16 for at in range(8)))
    made.packets[15].records = [fake, real] if is_first else [real, fake]
    read = written(made, tmp_path)
    assert whole(read.epochs[0], 0) and read.problems == (f"1 × {Problems.UNPLACED}",)
    assert read.epochs[0].groups[1] == parse_group_record(real)


@pytest.mark.parametrize("first", [2**32 - 1, 2**32 - 8, 2**31])
def test_counters_of_any_size(first: int, made: EvidenceClip, tmp_path: Path) -> None:
    made.packets[7].records.append(forged(made.packets[7].records[0], first=first))
    assert whole(written(made, tmp_path).epochs[0], 0)


def test_a_damaged_packet_fits_nothing(tmp_path: Path) -> None:
    made = make_evidence(epochs=1)
    path = made.write(tmp_path / "clip.mp4")
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(video=0) if packet.size]
    at = data.index(bytes(packets[3]))
    data[at : at + 4] = b"\xff\xff\xff\xff"  # a NAL unit of 4 GiB
    path.write_bytes(data)
    read = read_clip(path)
    assert 3 not in read.epochs[0].positions and len(read.epochs[0].positions) == FRAMES - 1
    assert read.problems == (f"1 × {Problems.BROKEN}",)


# --- sidecars ---


def test_a_clip_cut_out_of_a_session_with_the_sidecar_of_all(tmp_path: Path) -> None:
    made = make_evidence(epochs=5)
    path = copied(made, made.packets[FRAMES : 3 * FRAMES]).write(tmp_path / "clip.mp4")
    read = read_clip(path, write_sidecar(tmp_path / "all.bauta", made.records()))
    assert [epoch.record for epoch in read.epochs] == made.key_records()[1:3]
    assert [whole(epoch, FRAMES * at) for at, epoch in enumerate(read.epochs)] == [True, True]
    assert read.problems == (f"3 × {Problems.ELSEWHERE}",) == (read.elsewhere,)


def stripped(clip: EvidenceClip) -> EvidenceClip:
    return replace(clip, packets=[Packet(item.packet) for item in clip.packets])


def test_a_sidecar_and_frames_that_went_wrong(made: EvidenceClip, tmp_path: Path) -> None:
    sidecar = write_sidecar(tmp_path / "s", made.records())
    bare = stripped(made)
    bare.packets[FRAMES] = with_another_picture(bare.packets[FRAMES])
    bare.packets.insert(45, bare.packets[44])
    del bare.packets[7]
    path = bare.write(tmp_path / "clip.mkv")
    first, second, third = read_clip(path, sidecar).epochs
    assert set(first.positions) == set(range(FRAMES)) - {7} and first.end == second.start
    assert set(second.positions) == set(range(1, FRAMES)) and second.start == FRAMES - 1
    assert set(third.positions) == set(range(FRAMES)) and third.end == 60


def test_a_torn_sidecar(made: EvidenceClip, tmp_path: Path) -> None:
    path = stripped(made).write(tmp_path / "clip.mp4")
    sidecar = write_sidecar(tmp_path / "clip.mp4.bauta", made.records())
    sidecar.write_bytes(sidecar.read_bytes()[:-10])
    read = read_clip(path)
    assert [firsts(epoch) for epoch in read.epochs] == [[0, 8, 16], [0, 8, 16], [0, 8]]


def test_a_sidecar_of_another_clip(made: EvidenceClip, tmp_path: Path) -> None:
    path = stripped(made).write(tmp_path / "clip.mp4")
    other = make_evidence(seed=5)
    sidecar = write_sidecar(tmp_path / "other.bauta", other.records())
    with pytest.raises(UsageError, match="of another clip"):
        read_clip(path, sidecar)


def test_a_sidecar_that_is_none(made: EvidenceClip, tmp_path: Path) -> None:
    path = made.write(tmp_path / "clip.mp4")
    with pytest.raises(RecordError, match="no sidecar"):
        read_clip(path, path)
    with pytest.raises(UsageError, match="No such file"):
        read_clip(path, tmp_path / "none")


def test_a_sidecar_with_an_epoch_twice(made: EvidenceClip, tmp_path: Path) -> None:
    path = stripped(made).write(tmp_path / "clip.mp4")
    records = [*made.records(), *made.records("key")]
    read = read_clip(path, write_sidecar(tmp_path / "s", records))
    assert all(whole(epoch, FRAMES * at) for at, epoch in enumerate(read.epochs))
    assert read.problems == (f"3 × {Problems.REPEATED}",)


# --- files that are no clips ---


def no_picture(path: Path) -> Path:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=48_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        frame.sample_rate = 48_000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def test_files_that_are_no_clips(tmp_path: Path) -> None:
    wrong: Sequence[tuple[Path, type[BautaError], str]] = (
        (tmp_path / "none.mp4", UsageError, "no such file"),
        (tmp_path, UsageError, "is not a file"),
        (not_a_video(tmp_path / "a.mp4"), NotAVideo, "is not a video"),
        (zero_length(tmp_path / "b.mp4"), NotAVideo, "is not a video"),
        (no_picture(tmp_path / "c.mp4"), NotAVideo, "no video stream"),
        (make_clip(tmp_path / "d.mkv", codec="mjpeg", frames=3).path, SourceError, "is mjpeg"),
    )
    for path, error, message in wrong:
        with pytest.raises(error, match=message) as caught:
            read_clip(path)
        assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def test_a_clip_that_breaks_off(made: EvidenceClip, tmp_path: Path) -> None:
    path = made.write(tmp_path / "clip.ts")
    truncate(path, tmp_path / "half.ts", keep=0.6)
    read = read_clip(tmp_path / "half.ts")
    assert whole(read.epochs[0], 0) and 20 < len(read.frames) < 60


# --- hostile ---


def test_records_without_end() -> None:
    """Thousands of records for the same frames: the work must not be their product."""
    made = make_evidence(epochs=1)
    key, group = made.key_records()[0], made.group_records()[0]
    frames = 30_000
    digests = [key.digest] * frames
    keys = [CarriedKey(at, key) for at in range(0, frames, 2)]
    groups = [CarriedGroup(at, group) for at in range(0, frames, 3)]
    problems = Problems()
    epochs = place_in_stream(digests, keys, groups, problems)
    assert len(epochs) == 1 and len(problems.lines) == 2
    epochs = place_by_digests(digests, keys, groups, Problems())
    assert len(epochs) == 1


def test_thousands_of_epochs_that_are_not_there() -> None:
    key = make_evidence(epochs=1).key_records()[0]
    others = [replace(key, epoch_id=at.to_bytes(16, "big")) for at in range(5000)]
    keys = [CarriedKey(at, record) for at, record in enumerate(others)]
    digests = [bytes(16)] * 5000
    assert place_in_stream(digests, keys, [], Problems()) == ()
    assert place_by_digests(digests, keys, [], Problems()) == ()


FEW_DIGESTS = [bytes((value,)) * 16 for value in range(3)]
ANY_GROUP = st.builds(
    lambda epoch, first, digests, last: GroupRecord(
        GroupHead(bytes((epoch,)) * 16, first, tuple(digests), last), ()
    ),
    st.integers(1, 3),
    st.sampled_from([0, 1, 3, 8, 2**32 - 1]),
    st.lists(st.sampled_from(FEW_DIGESTS), min_size=1, max_size=8),
    st.booleans(),
)


@given(
    st.lists(st.sampled_from([*FEW_DIGESTS, b""]), min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(0, 29), st.integers(1, 3), st.sampled_from(FEW_DIGESTS))),
    st.lists(st.tuples(st.integers(0, 29), ANY_GROUP)),
)
def test_whatever_records_say(
    digests: list[bytes],
    some_keys: list[tuple[int, int, bytes]],
    some_groups: list[tuple[int, GroupRecord]],
) -> None:
    like = parse_key_record(make_evidence(epochs=1).records("key")[0])
    keys = [
        CarriedKey(at, replace(like, epoch_id=bytes((epoch,)) * 16, digest=digest))
        for at, epoch, digest in sorted(some_keys)
        if at < len(digests)
    ]
    groups = [
        CarriedGroup(at, group)
        for at, group in sorted(some_groups, key=lambda item: item[0])
        if at < len(digests)
    ]
    for place in (place_in_stream, place_by_digests):
        end = 0
        for epoch in place(digests, keys, groups, Problems()):
            assert end <= epoch.start < epoch.end <= len(digests)
            end = epoch.end
            recorded = {0: epoch.record.digest}
            for group in epoch.groups:
                recorded |= dict(enumerate(group.head.digests, start=group.head.first))
            pairs = sorted(epoch.positions.items())
            assert all(epoch.start <= at < epoch.end for _, at in pairs)
            assert all(digests[at] == recorded[counter] for counter, at in pairs)
            assert [at for _, at in pairs] == sorted({at for _, at in pairs})


def test_made_and_written_at_once(tmp_path: Path) -> None:
    made = make_evidence_clip(tmp_path / "a.mp4", epochs=1)
    assert flipped(b"ab", -1) == b"ac"
    assert read_clip(tmp_path / "a.mp4").epochs[0].record == made.key_records()[0]


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg binary")
def test_an_epoch_shown_with_other_parameter_sets_gives_no_frame(tmp_path: Path) -> None:
    """An edited header crops the picture: a face would lie on somebody else's shoulders."""
    clip = make_evidence(epochs=2, frames=10)
    path = clip.write(tmp_path / "clip.mp4")
    assert all(len(epoch.positions) == 10 for epoch in read_clip(path).epochs)
    cropped = tmp_path / "cropped.mp4"
    command = ["ffmpeg", "-v", "error", "-i", str(path), "-c", "copy"]
    command += ["-bsf:v", "h264_metadata=crop_left=16:crop_right=0", str(cropped)]
    subprocess.run(command, check=True)
    found = read_clip(cropped)
    assert [dict(epoch.positions) for epoch in found.epochs] == [{}, {}]
    assert any("parameter sets" in problem for problem in found.problems)
