from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.evidence.group_record import parse_group_record
from pipeline.evidence.key_record import parse_key_record
from pipeline.recover.clip_records import read_clip
from pipeline.recover.origin import MOST_TAIL, Origin, check_origin
from pipeline.vault.signing import fingerprint
from support.evidence import (
    EvidenceClip,
    Packet,
    a_service_key,
    copied,
    flipped,
    make_evidence,
    with_another_picture,
    write_sidecar,
)

EPOCHS, FRAMES = 3, 20
PINNED = a_service_key().public


@pytest.fixture
def made() -> EvidenceClip:
    return copied(make_evidence(epochs=EPOCHS, frames=FRAMES))


def checked(clip: EvidenceClip, folder: Path, pinned: bytes | None = PINNED) -> Origin:
    return check_origin(read_clip(clip.write(folder / "clip.mp4")), pinned)


def said(origin: Origin) -> str:
    return "\n".join([*origin.unverified, *origin.incomplete])


# --- whole ---


@pytest.mark.parametrize("carrier", ["stream", "sidecar"])
@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_what_is_whole(codec: str, carrier: str, tmp_path: Path) -> None:
    made = make_evidence(codec=codec)  # type: ignore[arg-type]
    path = made.write(tmp_path / "clip.mkv", carrier=carrier)
    origin = check_origin(read_clip(path), PINNED)
    assert origin.is_whole and said(origin) == "" and origin.altered == ()
    assert origin.fingerprints == (fingerprint(PINNED),)
    assert all(item.is_verified and not item.lost_frames for item in origin.epochs)


def test_the_middle_of_a_session_is_whole(tmp_path: Path) -> None:
    made = make_evidence(epochs=5, says_last=False)
    cut = copied(made, made.packets[FRAMES : 3 * FRAMES])
    origin = checked(cut, tmp_path)
    # the record of the last four frames is in the packet after them
    assert origin.is_whole and origin.tail == FRAMES % 8


@pytest.mark.parametrize("tail", [1, 4])
def test_a_live_end_may_lack_a_record(tail: int, tmp_path: Path) -> None:
    made = make_evidence(says_last=False, tail=tail)
    origin = checked(made, tmp_path)
    assert origin.is_whole and origin.tail == 4


def test_an_epoch_too_short_for_a_record(tmp_path: Path) -> None:
    made = copied(make_evidence(says_last=False))
    origin = checked(copied(made, made.packets[: FRAMES + 3]), tmp_path)
    assert origin.is_whole and origin.tail == 3
    made.packets[FRAMES + 7].records = []
    for frames, is_whole in ((7, True), (8, False)):
        origin = checked(copied(made, made.packets[: FRAMES + frames]), tmp_path)
        assert (origin.is_complete, origin.tail) == (is_whole, 7 * is_whole)


def test_a_sidecar_that_holds_more_than_the_clip(tmp_path: Path) -> None:
    made = make_evidence(epochs=5)
    sidecar = write_sidecar(tmp_path / "s", made.records())
    bare = [Packet(item.packet) for item in made.packets]
    # also cut inside of epochs: what was cut off is nobody's loss
    for first, end in ((FRAMES, 3 * FRAMES), (FRAMES + 3, 3 * FRAMES - 5)):
        clip = replace(made, packets=bare[first:end])
        read = read_clip(clip.write(tmp_path / "clip.mp4"), sidecar)
        assert read.problems
        assert check_origin(read, PINNED).is_whole


# --- whose ---


def test_without_a_key_nothing_is_verified(made: EvidenceClip, tmp_path: Path) -> None:
    origin = checked(made, tmp_path, None)
    assert origin.unverified == ("no key is pinned",)
    assert origin.is_complete and origin.is_unaltered and not origin.is_whole


def test_a_foreign_key(made: EvidenceClip, tmp_path: Path) -> None:
    """Recipients' keys are public: anybody can make such a stream."""
    forged = make_evidence(service_key=a_service_key(2))
    origin = checked(forged, tmp_path)
    other = fingerprint(a_service_key(2).public)
    assert origin.unverified == (f"signed by another key, {other}",)
    assert origin.is_complete and not origin.is_whole


def test_one_foreign_epoch_among_others(made: EvidenceClip, tmp_path: Path) -> None:
    other = make_evidence(service_key=a_service_key(2))
    for at in range(FRAMES, 2 * FRAMES):
        made.packets[at].records = other.packets[at].records
    origin = checked(made, tmp_path)
    assert [item.is_verified for item in origin.epochs] == [True, False, True]
    assert "in 1 epoch, the first at 0:00.8" in origin.unverified[0]


def test_the_pinned_key_named_over_a_foreign_signature(made: EvidenceClip, tmp_path: Path) -> None:
    record = replace(parse_key_record(made.packets[0].records[0]), camera="gate-4")
    made.packets[0].records[0] = record.signed(a_service_key(2).sign(record.to_sign)).encode()
    origin = checked(made, tmp_path)
    assert not origin.epochs[0].is_verified and not origin.is_whole
    assert "the key record's signature does not hold" in said(origin)
    # its groups are bound to what the record said before
    assert origin.epochs[0].uncovered == tuple(range(FRAMES))


def bits_of(record: bytes) -> list[int]:
    return [*range(0, len(record), max(len(record) // 40, 1)), len(record) - 1]


@pytest.mark.parametrize("kind", ["key", "group"])
def test_a_flipped_bit_anywhere_in_a_record(kind: str, tmp_path: Path) -> None:
    """Sampled all over the record: its fields, its entries, its signature."""
    made = make_evidence(epochs=2)
    at = made.where(kind)[1]
    place = made.packets[at].kinds().index(kind)
    record = made.packets[at].records[place]
    signature_begins = len(record) - 64
    for bit in bits_of(record):
        changed = copied(made)
        changed.packets[at].records[place] = flipped(record, bit, 1 << bit % 8)
        origin = checked(changed, tmp_path)
        assert not origin.is_whole, f"byte {bit} of {len(record)}"
        assert not (origin.is_complete and origin.is_verified), f"byte {bit}"
        if bit >= signature_begins:
            assert "signature does not hold" in said(origin)


def test_an_unsigned_group_speaks_of_no_frame(made: EvidenceClip, tmp_path: Path) -> None:
    made.packets[15].records[0] = flipped(made.packets[15].records[0], -1)
    origin = checked(made, tmp_path)
    assert origin.epochs[0].uncovered == tuple(range(8, 16))
    assert "no signed record speaks of frames 8–15 (0:00.3–0:00.6)" in origin.incomplete
    assert origin.is_unaltered  # nothing says so


def test_groups_of_another_epoch_under_its_id(made: EvidenceClip, tmp_path: Path) -> None:
    """A group record is bound to the whole key record, not to its id alone."""
    group = parse_group_record(made.packets[FRAMES + 15].records[0])
    own = parse_group_record(made.packets[15].records[0])
    moved = replace(group, head=replace(group.head, epoch_id=own.head.epoch_id))
    made.packets[15].records[0] = moved.encode()
    origin = checked(made, tmp_path)
    assert not origin.is_verified and origin.epochs[0].uncovered == tuple(range(8, 16))


# --- as it was ---


@pytest.mark.parametrize("at", [0, 5, FRAMES, 2 * FRAMES - 1, 3 * FRAMES - 1])
def test_an_altered_frame_is_named(at: int, made: EvidenceClip, tmp_path: Path) -> None:
    made.packets[at] = with_another_picture(made.packets[at])
    origin = checked(made, tmp_path)
    assert origin.altered == (at,) and origin.is_verified and origin.is_complete
    assert not origin.is_whole


def test_frames_that_changed_places(made: EvidenceClip, tmp_path: Path) -> None:
    first, second = made.packets[FRAMES + 3], made.packets[FRAMES + 4]
    made.packets[FRAMES + 3], made.packets[FRAMES + 4] = second, first
    origin = checked(made, tmp_path)
    assert not origin.is_unaltered and set(origin.altered) <= {FRAMES + at for at in (3, 4, 5)}


def test_a_frame_put_in(made: EvidenceClip, tmp_path: Path) -> None:
    made.packets.insert(12, Packet(made.packets[50].packet))
    assert checked(made, tmp_path).altered == (12,)


def test_a_doubled_frame(made: EvidenceClip, tmp_path: Path) -> None:
    made.packets.insert(12, Packet(made.packets[12].packet))
    assert checked(made, tmp_path).altered in ((12,), (13,))


# --- all of it ---


def test_lost_frames_are_counted(made: EvidenceClip, tmp_path: Path) -> None:
    del made.packets[FRAMES + 3 : FRAMES + 6]
    origin = checked(made, tmp_path)
    assert [item.lost_frames for item in origin.epochs] == [0, 3, 0]
    assert "3 frames were taken out or lost, the first in the epoch at 0:00.8" in origin.incomplete
    assert origin.is_unaltered and origin.is_verified


def test_an_altered_frame_beside_a_lost_one(made: EvidenceClip, tmp_path: Path) -> None:
    made.packets[5] = with_another_picture(made.packets[5])
    del made.packets[6]
    origin = checked(made, tmp_path)
    assert origin.altered == (5,) and origin.epochs[0].lost_frames == 1


def test_a_removed_group_record(made: EvidenceClip, tmp_path: Path) -> None:
    made.packets[15].records = []
    origin = checked(made, tmp_path)
    assert origin.epochs[0].missing_groups == 1
    assert origin.epochs[0].uncovered == tuple(range(8, 16))
    assert "records of groups are missing in 1 place" in said(origin)
    assert origin.is_verified and origin.is_unaltered


def test_a_removed_group_with_its_frames(made: EvidenceClip, tmp_path: Path) -> None:
    del made.packets[8:16]
    origin = checked(made, tmp_path)
    assert origin.epochs[0].lost_frames == 8 and origin.epochs[0].missing_groups == 1


@pytest.mark.parametrize("says_last", [False, True])
def test_the_end_of_an_epoch_removed(says_last: bool, tmp_path: Path) -> None:
    """The key record after it says how long it was."""
    made = copied(make_evidence(says_last=says_last))
    del made.packets[16:FRAMES]
    made.packets[16].records = made.packets[16].records[-1:]
    origin = checked(made, tmp_path)
    assert origin.epochs[0].lost_frames == 4 and origin.epochs[0].missing_groups == 1


def test_a_tail_is_normal_at_the_end_alone(tmp_path: Path) -> None:
    made = copied(make_evidence(says_last=False))
    made.packets[FRAMES].records = made.packets[FRAMES].records[-1:]
    origin = checked(made, tmp_path)
    assert origin.epochs[0].uncovered == tuple(range(16, FRAMES)) and not origin.is_complete


def test_a_tail_has_a_length(made: EvidenceClip, tmp_path: Path) -> None:
    """More frames than wait for a record were not waiting."""
    last = 2 * FRAMES
    made.packets[-1].records = []
    assert checked(made, tmp_path).tail == 4
    made.packets[last + 15].records = []
    origin = checked(made, tmp_path)
    assert origin.tail == 0 and len(origin.epochs[-1].uncovered) == 12 > MOST_TAIL


def test_no_tail_after_what_was_said_to_be_the_last(made: EvidenceClip, tmp_path: Path) -> None:
    made.packets.append(Packet(made.packets[5].packet))
    origin = checked(made, tmp_path)
    assert origin.epochs[-1].uncovered == (3 * FRAMES,) and not origin.is_complete


@pytest.mark.parametrize("with_frames", [False, True])
def test_a_removed_epoch(with_frames: bool, made: EvidenceClip, tmp_path: Path) -> None:
    if with_frames:
        del made.packets[FRAMES : 2 * FRAMES]
        at = "0:00.8"
    else:
        for packet in made.packets[FRAMES : 2 * FRAMES]:
            packet.records = []
        at = "0:01.6"
    origin = checked(made, tmp_path)
    assert f"1 epoch was taken out or lost before {at}" in origin.incomplete
    assert origin.is_verified and origin.is_complete is False


def test_exchanged_epochs(made: EvidenceClip, tmp_path: Path) -> None:
    made.packets = [*made.packets[FRAMES : 2 * FRAMES], *made.packets[:FRAMES]]
    origin = checked(made, tmp_path)
    assert not origin.is_complete and "before 0:00.8" in said(origin)


def test_a_replayed_epoch(made: EvidenceClip, tmp_path: Path) -> None:
    made.packets += made.packets[:FRAMES]
    origin = checked(made, tmp_path)
    assert f"no epoch is known for frames {3 * FRAMES}–{4 * FRAMES - 1}" in said(origin)
    assert origin.is_verified and not origin.is_whole


def test_two_sessions_in_one_clip(made: EvidenceClip, tmp_path: Path) -> None:
    made.packets += make_evidence(epochs=1, seed=3).packets
    origin = checked(made, tmp_path)
    told = "a new session begins, and nothing tells what was before 0:02.4"
    assert origin.incomplete == (told,)


def test_another_camera_in_the_clip(made: EvidenceClip, tmp_path: Path) -> None:
    made.packets += make_evidence(epochs=1, seed=3, camera="door\x1b[2J").packets
    origin = checked(made, tmp_path)
    assert "the camera is another one (door?[2J) before 0:02.4" in origin.incomplete


def test_frames_before_the_first_epoch(made: EvidenceClip, tmp_path: Path) -> None:
    origin = checked(copied(made, made.packets[15:]), tmp_path)
    assert "no epoch is known for frames 0–4 (0:00.0–0:00.1)" in origin.incomplete


def test_a_forged_length_costs_nothing(made: EvidenceClip, tmp_path: Path) -> None:
    """By whoever holds the service's key, even."""
    key = a_service_key()
    record = replace(parse_key_record(made.packets[FRAMES].records[-1]), previous_frames=2**32 - 1)
    made.packets[FRAMES].records = [record.signed(key.sign(record.to_sign)).encode()]
    origin = checked(made, tmp_path)
    assert origin.epochs[0].lost_frames == 2**32 - 1 - FRAMES


def test_a_clip_without_records(made: EvidenceClip, tmp_path: Path) -> None:
    bare = replace(made, packets=[Packet(item.packet) for item in made.packets])
    origin = checked(bare, tmp_path)
    assert origin.unverified == ("there are no records",) and not origin.is_complete
