"""What opens of a clip: all of it with the keys, and nothing of what was touched since."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.evidence.body import TileItem
from pipeline.evidence.group_record import EntryKind, GroupRecord, parse_group_record
from pipeline.evidence.key_record import parse_key_record
from pipeline.frames import YuvPlanes
from pipeline.recover import evidence
from pipeline.recover.clip_records import ClipRecords, read_clip
from pipeline.recover.evidence import ClipTiles, FrameTiles, Opening
from pipeline.recover.gaps import (
    AT_END,
    NO_RECORD,
    NOT_DECODED,
    NOT_OPENED,
    NOT_SIGNED,
    OTHER_SIZE,
    TOO_MUCH,
    Gaps,
)
from pipeline.recover.signed import is_record_signed
from pipeline.recover.tile_decoder import TileDecoder
from pipeline.recover.video import Wanted
from pipeline.vault.identity import Identity
from pipeline.vault.opening import open_epoch
from support.evidence import KINDS, EvidenceClip, Packet
from support.recovered import Sealed, assert_same, new_identity, seal_clip


@dataclass(frozen=True)
class Made:
    sealed: Sealed
    identity: Identity
    folder: Path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tiles")


@pytest.fixture(scope="module")
def small(folder: Path) -> Made:
    """One epoch, one group, two faces."""
    identity, _ = new_identity(folder, "small")
    return Made(
        seal_clip({"dpo": [identity]}, epochs=1, frames=6, faces=2, overlap=True), identity, folder
    )


@pytest.fixture(scope="module")
def long(folder: Path) -> Made:
    """Two epochs of three groups."""
    identity, _ = new_identity(folder, "long")
    return Made(seal_clip({"dpo": [identity]}, frames=20, faces=2), identity, folder)


def tiles_of(
    made: Made,
    *,
    wanted: Wanted | None = None,
    pinned: bytes | None = None,
    identity: Identity | None = None,
) -> tuple[ClipTiles, ClipRecords]:
    """Of the clip as it is now."""
    clip = read_clip(made.sealed.clip.write(made.folder / "now.mkv"))
    identities = [identity or made.identity]
    openings = [
        Opening(
            epoch,
            open_epoch(epoch.record, identities=identities),
            is_record_signed(epoch.record, pinned),
        )
        for epoch in clip.epochs
    ]
    return ClipTiles(clip, openings, wanted or Wanted()), clip


def all_of(tiles: ClipTiles, clip: ClipRecords) -> list[FrameTiles]:
    return [tiles.at(frame.position) for frame in clip.frames]


def with_records(made: Made, change: Callable[[str, bytes], bytes | None]) -> Made:
    """A copy of the clip, each record as `change(kind, record)` has it; None leaves it out."""
    clip = made.sealed.clip
    packets = []
    for packet in clip.packets:
        kept = [change(KINDS[record[0]], record) for record in packet.records]
        packets.append(Packet(packet.packet, [record for record in kept if record is not None]))
    copy = EvidenceClip(clip.codec, clip.templates, packets, clip.service_key)
    return Made(Sealed(copy, parts=made.sealed.parts), made.identity, made.folder)


def assert_nothing(made: Made, **options: object) -> None:
    tiles, clip = tiles_of(made, **options)  # type: ignore[arg-type]
    assert not tiles.opens_anything()
    frames = all_of(tiles, clip)
    assert not any(frame.has_any for frame in frames)
    assert all(frame.missing for frame in frames)


# --- what opens ---


def test_tiles_are_those_that_were_sealed(long: Made) -> None:
    tiles, clip = tiles_of(long, pinned=long.sealed.clip.service_key.public)
    assert tiles.opens_anything()
    for found, sealed in zip(all_of(tiles, clip), long.sealed.tiles(), strict=True):
        assert not found.missing
        for tile, (item, pixels) in zip(found.tiles, sealed, strict=True):
            assert tile.item == item  # byte for byte what was sealed
            assert_same(tile.pixels, pixels)


def test_a_place_in_the_middle_is_opened_from_its_epochs_beginning(long: Made) -> None:
    tiles, _ = tiles_of(long)
    sealed = long.sealed.tiles()
    for position in (30, 33, 31, 39, 12):  # nearly in order; the last is of the epoch before
        found = tiles.at(position)
        assert [tile.item for tile in found.tiles] == [item for item, _ in sealed[position]]
        for tile, (_, pixels) in zip(found.tiles, sealed[position], strict=True):
            assert_same(tile.pixels, pixels)


def test_only_who_is_wanted_is_opened(small: Made) -> None:
    tiles, clip = tiles_of(small, wanted=Wanted(tracks=frozenset({2})))
    for frame in all_of(tiles, clip):
        assert [(tile.kind, tile.track) for tile in frame.tiles] == [(EntryKind.FACE, 2)]
    everything, _ = tiles_of(small)
    assert {tile.kind for tile in everything.at(0).tiles} == {EntryKind.FACE, EntryKind.SCENE}


def test_nothing_is_there_of_another_track_or_time(small: Made) -> None:
    for wanted in (Wanted(tracks=frozenset({9})), Wanted(from_seconds=60.0)):
        tiles, _ = tiles_of(small, wanted=wanted)
        assert not tiles.opens_anything()


def test_a_frame_without_a_face_is_no_gap(folder: Path) -> None:
    identity, _ = new_identity(folder, "empty")
    made = Made(seal_clip({"dpo": [identity]}, epochs=1, faces=0), identity, folder)
    tiles, clip = tiles_of(made)
    assert not tiles.opens_anything()
    assert not any(frame.missing or frame.has_any for frame in all_of(tiles, clip))


# --- what does not ---


def test_a_wrong_key_opens_nothing(long: Made) -> None:
    stranger, _ = new_identity(long.folder, "stranger")
    tiles, clip = tiles_of(long, identity=stranger)
    assert not tiles.opens_anything()
    for frame in all_of(tiles, clip):
        assert not frame.has_any and frame.missing == [(1, NOT_OPENED), (2, NOT_OPENED)]


def test_another_service_than_the_pinned_one(small: Made) -> None:
    tiles, clip = tiles_of(small, pinned=bytes(32))
    assert not tiles.opens_anything()
    for frame in all_of(tiles, clip):
        assert not frame.has_any and {why for _, why in frame.missing} == {NOT_SIGNED}


@pytest.mark.parametrize("kind", ["key", "group"])
@settings(max_examples=60)
@given(share=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_one_flipped_bit_anywhere(kind: str, small: Made, share: float, bit: int) -> None:
    def flipped(this: str, record: bytes) -> bytes:
        hurt = bytearray(record)
        if this == kind:
            hurt[int(share * len(hurt))] ^= 1 << bit
        return bytes(hurt)

    assert_nothing(with_records(small, flipped))


@pytest.mark.parametrize("part", ["signature", "seal", "digest", "head", "place", "count"])
def test_one_flipped_bit_in_each_part_of_a_group(part: str, small: Made) -> None:
    def flipped(kind: str, record: bytes) -> bytes:
        if kind == "key":
            return record
        parsed = parse_group_record(record)
        sealed = parsed.entries[0].sealed
        at = {
            "head": 17,
            "digest": 23 + 16,
            "count": 23 + 16 * len(parsed.head.digests) + 1,
            "place": 23 + 16 * len(parsed.head.digests) + 2 + 8,
            "seal": record.index(sealed) + len(sealed) - 1,
            "signature": len(record) - 1,
        }[part]
        hurt = bytearray(record)
        hurt[at] ^= 1
        return bytes(hurt)

    assert_nothing(with_records(small, flipped))
    assert_nothing(with_records(small, flipped), pinned=small.sealed.clip.service_key.public)


@pytest.mark.parametrize("kind", ["key", "group"])
@settings(max_examples=30)
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_record_cut_short(kind: str, small: Made, share: float) -> None:
    def cut(this: str, record: bytes) -> bytes:
        return record[: max(int(share * len(record)), 1)] if this == kind else record

    assert_nothing(with_records(small, cut))


def signed_again(made: Made, record: bytes, change: Callable[[GroupRecord], GroupRecord]) -> bytes:
    """As whoever has stolen the service's key could: the seals alone stand against it."""
    context = parse_key_record(made.sealed.clip.records("key")[0]).context
    changed = change(parse_group_record(record))
    return changed.signed(made.sealed.clip.service_key.sign(changed.to_sign(context))).encode()


def test_a_stolen_service_key_moves_no_seal(small: Made) -> None:
    """An entry under another track, another place, another frame."""

    def moved(field: str, value: object) -> Made:
        def change(record: GroupRecord) -> GroupRecord:
            entry, *_ = record.entries
            place = replace(entry.place, **{field: value})  # type: ignore[arg-type]
            return replace(record, entries=(replace(entry, place=place),))

        return with_records(
            small,
            lambda kind, data: data if kind == "key" else signed_again(small, data, change),
        )

    for field, value in (("track", 7), ("presence", 0b11), ("box_xywh_px", (0, 0, 8, 8))):
        tiles, clip = tiles_of(moved(field, value))
        assert not tiles.opens_anything(), field
        assert {why for f in all_of(tiles, clip) for _, why in f.missing} == {NOT_OPENED}


def test_a_missing_group_ends_what_builds_on_it(long: Made) -> None:
    seen: list[bytes] = []

    def without_second(kind: str, record: bytes) -> bytes | None:
        if kind == "group":
            seen.append(record)
        return None if kind == "group" and len(seen) == 2 else record

    tiles, clip = tiles_of(with_records(long, without_second))
    frames = all_of(tiles, clip)
    sealed = long.sealed.tiles()
    for position, frame in enumerate(frames):
        if 8 <= position < 16:
            assert frame.missing == [(None, NO_RECORD)]
        elif 16 <= position < 20:
            assert frame.missing == [(1, NOT_DECODED), (2, NOT_DECODED)]
        else:
            assert not frame.missing
            for tile, (_, pixels) in zip(frame.tiles, sealed[position], strict=True):
                assert_same(tile.pixels, pixels)


# --- gaps, told ---


def test_gaps_are_ranges_of_frames() -> None:
    gaps = Gaps()
    for position in (3, 4, 5, 9):
        gaps.add([position], NOT_DECODED, 2)
        gaps.add([position], NOT_DECODED, 2)
    gaps.add(range(8), NO_RECORD)
    gaps.add([], NOT_SIGNED)
    seconds = [number / 25 for number in range(10)]
    told = [(gap.track, gap.first_frame, gap.last_frame, gap.why) for gap in gaps.listed(seconds)]
    assert told == [(None, 0, 7, NO_RECORD), (2, 3, 5, NOT_DECODED), (2, 9, 9, NOT_DECODED)]
    assert str(gaps.listed(seconds)[1]) == f"frames 3–5 (0:00.1–0:00.2), track 2: {NOT_DECODED}"
    assert str(gaps.listed(seconds)[2]).startswith("frame 9 (0:00.3–0:00.3)")


@pytest.mark.parametrize(("first", "why"), [(13, AT_END), (12, NO_RECORD)])
def test_the_last_frames_of_a_cut_clip_are_not_called_damaged(first: int, why: str) -> None:
    """A record of eight frames comes with the last of them: it is missed by seven at most."""
    gaps = Gaps()
    gaps.add(range(first, 20), NO_RECORD)
    gaps.add([3], NO_RECORD)
    gaps.add([19], NOT_SIGNED)
    told = [gap.why for gap in gaps.listed([float(number) for number in range(20)])]
    assert told == [NO_RECORD, why, NOT_SIGNED]


# --- made up to cost, by whoever has the recipients' public keys ---


def motions_in(folder: Path) -> Made:
    identity, _ = new_identity(folder, "moving")
    sealed = seal_clip({"dpo": [identity]}, epochs=1, frames=10, faces=1, detail="keyframes")
    return Made(sealed, identity, folder)


def count_decoded(monkeypatch: pytest.MonkeyPatch) -> list[TileItem]:
    decoded: list[TileItem] = []
    decode = TileDecoder.decode

    def counted(self: TileDecoder, item: TileItem) -> YuvPlanes | None:
        decoded.append(item)
        return decode(self, item)

    monkeypatch.setattr(TileDecoder, "decode", counted)
    return decoded


def test_what_covers_more_than_a_picture_can_is_listed(
    small: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    sealed = small.sealed.tiles()
    tiles, clip = tiles_of(small)
    width, height = clip.size_px
    sizes = [item.box_xywh_px[2] * item.box_xywh_px[3] for item, _ in sealed[0]]
    monkeypatch.setattr(evidence, "_SPARE_PX", 0)
    monkeypatch.setattr(evidence, "MOST_COVER", (sizes[0] + 1) / (width * height))
    decoded = count_decoded(monkeypatch)
    first, *_ = all_of(tiles, clip)
    assert [tile.item for tile in first.tiles] == [sealed[0][0][0]]
    assert [why for _, why in first.missing] == [TOO_MUCH] * (len(sizes) - 1)
    assert len(decoded) <= len(clip.frames)


def test_frames_are_decoded_as_they_are_asked_for(
    small: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    decoded = count_decoded(monkeypatch)
    tiles, _ = tiles_of(small)
    tiles.at(1)
    assert len(decoded) == sum(len(frame) for frame in small.sealed.tiles()[:2])


@pytest.mark.parametrize("most", ["MOST_VIDEOS", "MOST_VIDEO_COVER"])
def test_tile_videos_are_not_without_end(
    most: str, small: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence, "_SPARE_PX", 0)
    tiles, clip = tiles_of(small)
    monkeypatch.setattr(evidence, most, 1 if most == "MOST_VIDEOS" else 0.001)
    for frame in all_of(tiles, clip):
        assert len(frame.tiles) == (most == "MOST_VIDEOS")
        assert frame.missing and {why for _, why in frame.missing} == {NOT_DECODED}


def test_a_motion_larger_than_a_picture_is_listed(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = motions_in(folder)
    tiles, clip = tiles_of(made)
    assert any(frame.moved for frame in all_of(tiles, clip))
    tiles, clip = tiles_of(made)
    monkeypatch.setattr(evidence, "MOST_SIDES", 0.01)
    frames = all_of(tiles, clip)
    assert not any(frame.moved for frame in frames)
    assert {why for frame in frames for _, why in frame.missing} == {TOO_MUCH}


def test_the_first_of_eight_moved_faces_stays_in_its_rectangle(folder: Path) -> None:
    made = motions_in(folder)
    tiles, clip = tiles_of(made, wanted=Wanted(tracks=frozenset({1})))
    frames = all_of(tiles, clip)
    places = [
        (group.head.first + entry.place.offsets[0], entry.place.box_xywh_px)
        for group in clip.epochs[0].groups
        for entry in group.entries
        if entry.place.kind is EntryKind.MOTION
    ]
    assert places
    for at, box in places:
        assert [moved.within_px for moved in frames[at].moved] == [box]
        assert [track for track, _ in frames[at].claims] == [1]


def test_a_clip_of_another_size_opens_nothing(small: Made) -> None:
    tiles, clip = tiles_of(small)
    (epoch,) = clip.epochs
    opening = Opening(epoch, open_epoch(epoch.record, identities=[small.identity]), True)
    other = ClipTiles(replace(clip, size_px=(64, 64)), [opening], Wanted())
    assert tiles.opens_anything() and not other.opens_anything()
    assert [other.at(0).missing, other.at(0).has_any] == [[(None, OTHER_SIZE)], False]
