"""The seal stage: which record is where, what is in it, and what happens when something fails."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.video.frame import PictureType

from pipeline.errors import VaultError
from pipeline.evidence.body import TileItem, parse_motions, parse_tiles
from pipeline.evidence.group_record import EntryKind, GroupRecord, parse_group_record
from pipeline.evidence.key_record import KeyRecord, parse_key_record
from pipeline.evidence.nal import Framing, slice_digest, split_nals
from pipeline.evidence.sei import records_in
from pipeline.frames import EncodedPacket, FrameOriginals, OriginalTile, YuvPlanes
from pipeline.seal.epoch import Scene
from pipeline.seal.sealer import SealCounts, Sealer, SealPlan
from pipeline.vault.epoch import RecipientGroup
from pipeline.vault.epoch_keys import open_entry
from pipeline.vault.identity import Identity, create_identity
from pipeline.vault.opening import open_epoch
from pipeline.vault.signing import SigningKey, is_signed, service_key

FPS, GOP = 25, 10
SIZE = (64, 48)
PLAN = SealPlan(
    scene=Scene("head-office", "lobby", SIZE, "default"),
    codec="h264",
    epoch_seconds=GOP / FPS,
    frame_seconds=1 / FPS,
    key_every_seconds=None,
    live=False,
    in_stream=True,
    beside=False,
)


class SaysWhich:
    """A tile encoder whose packets name the track and count."""

    def __init__(self) -> None:
        self.count = 0

    def encode(self, tile: OriginalTile) -> TileItem:
        self.count += 1
        packet = f"track {tile.track_id} packet {self.count}".encode()
        return TileItem(self.count == 1, tile.xywh_px, packet)

    def close(self) -> None:
        self.count = -1


@pytest.fixture
def identity(tmp_path: Path) -> Identity:
    return create_identity(tmp_path / "dpo.key", None)


@pytest.fixture
def key(tmp_path: Path) -> SigningKey:
    return service_key(tmp_path / "service.key")


def packets(
    frames: int, idr: Callable[[int], bool] = lambda n: n % GOP == 0
) -> list[EncodedPacket]:
    context = av.CodecContext.create("libx264", "w")
    assert isinstance(context, av.VideoCodecContext)
    context.width, context.height = SIZE
    context.pix_fmt, context.time_base = "yuv420p", Fraction(1, FPS)
    context.options = {
        "preset": "ultrafast",
        "tune": "zerolatency",
        "forced-idr": "1",
        "x264-params": "scenecut=0:repeat-headers=1:keyint=infinite",
    }
    made = []
    random = np.random.default_rng(1)
    for n in range(frames):
        picture = av.VideoFrame.from_ndarray(
            random.integers(0, 255, (SIZE[1] * 3 // 2, SIZE[0]), np.uint8), format="yuv420p"
        )
        picture.pts = n
        picture.pict_type = PictureType.I if idr(n) else PictureType.P
        made += [bytes(packet) for packet in context.encode(picture)]
    return [
        EncodedPacket("video", data, n, n, 1, Fraction(1, FPS), idr(n), frame=n)
        for n, data in enumerate(made)
    ]


def tile(track: int, x: int = 8) -> OriginalTile:
    planes = YuvPlanes(*(np.zeros(shape, np.uint8) for shape in ((16, 16), (8, 8), (8, 8))))
    return OriginalTile(track, x, 8, planes)


def originals(number: int, *tracks: int, scenes: Sequence[int] = ()) -> FrameOriginals:
    return FrameOriginals(number, tuple(map(tile, tracks)), tuple(map(tile, scenes)))


class Bench:
    """A sealer and what it took."""

    def __init__(
        self,
        key: SigningKey,
        identity: Identity,
        plan: SealPlan = PLAN,
        open_encoder: Callable[[], SaysWhich] = SaysWhich,
    ) -> None:
        self.groups: list[RecipientGroup] | VaultError = [
            RecipientGroup("dpo", 1, (identity.recipient,))
        ]
        self.counts = SealCounts()
        self.sealer = Sealer(
            plan,
            load_groups=self.load,
            key=key,
            open_encoder=open_encoder,
            counts=self.counts,
            now=lambda: 1_700_000_000.5,
        )

    def load(self) -> list[RecipientGroup]:
        if isinstance(self.groups, VaultError):
            raise self.groups
        return self.groups

    def run(
        self, given: Sequence[EncodedPacket], of: Callable[[int], FrameOriginals | None]
    ) -> list[EncodedPacket]:
        return [*self.steps(given, of)]

    def steps(
        self, given: Sequence[EncodedPacket], of: Callable[[int], FrameOriginals | None]
    ) -> Iterator[EncodedPacket]:
        for packet in given:
            self.sealer.begin(
                packet.frame,
                is_idr=packet.is_keyframe,
                seconds=packet.pts / FPS,
                originals=of(packet.frame),
            )
            yield from self.sealer.take(packet)
        yield from self.sealer.finish()


def records(packet: EncodedPacket) -> list[KeyRecord | GroupRecord]:
    found: list[KeyRecord | GroupRecord] = []
    for data in records_in(split_nals(packet.data, Framing(0)), "h264"):
        found.append(parse_key_record(data) if data[0] == 1 else parse_group_record(data))
    return found


def frames_of(record: KeyRecord | GroupRecord) -> str:
    if isinstance(record, KeyRecord):
        return f"key {record.sequence}"
    head = record.head
    last = " last" if head.is_last else ""
    return f"{head.first}-{head.first + len(head.digests) - 1}{last}"


def layout(out: Sequence[EncodedPacket]) -> dict[int, list[str]]:
    return {p.frame: [frames_of(r) for r in records(p)] for p in out if records(p)}


def test_a_file_has_every_frame_in_a_group_and_every_group_in_its_own_epoch(
    key: SigningKey, identity: Identity
) -> None:
    given = packets(23)
    out = Bench(key, identity).run(given, lambda n: originals(n, 1))
    assert [p.frame for p in out] == list(range(23))
    assert layout(out) == {
        0: ["key 0"],
        7: ["0-7"],
        9: ["8-9 last"],
        10: ["key 1"],
        17: ["0-7"],
        19: ["8-9 last"],
        20: ["key 2"],
        22: ["0-2 last"],
    }


def test_epochs_name_the_one_before_and_its_length(key: SigningKey, identity: Identity) -> None:
    out = Bench(key, identity).run(packets(23), lambda n: originals(n, 1))
    first, second, third = (r for p in out for r in records(p) if isinstance(r, KeyRecord))
    assert (first.previous_id, first.previous_frames) == (bytes(16), 0)
    assert (second.previous_id, second.previous_frames) == (first.epoch_id, 10)
    assert (third.previous_id, third.previous_frames) == (second.epoch_id, 10)
    assert len({first.epoch_id, second.epoch_id, third.epoch_id}) == 3
    assert first.started_utc_ms == 1_700_000_000_500
    assert (first.site, first.camera) == ("head-office", "lobby")


def test_digests_and_signatures_hold(key: SigningKey, identity: Identity) -> None:
    given = packets(12)
    out = Bench(key, identity).run(given, lambda n: originals(n, 1))
    digests = [slice_digest(split_nals(p.data, Framing(0)), "h264") for p in given]
    context, start = b"", 0
    for packet in out:
        for record in records(packet):
            if isinstance(record, KeyRecord):
                context, start = record.context, packet.frame
                assert record.digest == digests[start]
                assert is_signed(key.public, record.signature, record.to_sign)
            else:
                first = start + record.head.first
                assert list(record.head.digests) == digests[first:][: len(record.head.digests)]
                assert is_signed(key.public, record.signature, record.to_sign(context))


def test_what_was_coded_is_what_opens(key: SigningKey, identity: Identity) -> None:
    def of(n: int) -> FrameOriginals:  # track 2 comes with frame 3, track 1 goes after frame 5
        tracks = [track for track, there in ((1, n <= 5), (2, n >= 3)) if there]
        return originals(n, *tracks, scenes=[1] if n == 4 else [])

    out = Bench(key, identity).run(packets(8), of)
    key_record, group = (record for packet in out for record in records(packet))
    assert isinstance(key_record, KeyRecord) and isinstance(group, GroupRecord)
    keys = open_epoch(key_record, identities=[identity])
    found = {}
    for entry in group.entries:
        entry_key = keys.key_for(entry.place.kind, entry.place.track)
        assert entry_key is not None
        plain = open_entry(entry_key, key_record.context, group.head, entry)
        items = parse_tiles(plain)
        found[entry.place.kind, entry.place.track] = (
            entry.place.offsets,
            [item.packet for item in items],
        )
    assert found == {
        (EntryKind.FACE, 1): (tuple(range(6)), [b"track 1 packet %d" % n for n in range(1, 7)]),
        (EntryKind.FACE, 2): ((3, 4, 5, 6, 7), [b"track 2 packet %d" % n for n in range(1, 6)]),
        (EntryKind.SCENE, 1): ((4,), [b"track 1 packet 1"]),
    }


def test_tile_videos_begin_anew_with_each_epoch(key: SigningKey, identity: Identity) -> None:
    out = Bench(key, identity).run(packets(20), lambda n: originals(n, 1))
    starts = []
    for packet in out:
        for record in records(packet):
            if isinstance(record, KeyRecord):
                keys, context = open_epoch(record, identities=[identity]), record.context
            else:
                (entry,) = record.entries
                entry_key = keys.key_for(EntryKind.FACE, 1)
                assert entry_key is not None
                items = parse_tiles(open_entry(entry_key, context, record.head, entry))
                starts.append([item.starts_video for item in items])
    assert starts == [[True] + [False] * 7, [False] * 2] * 2


def test_live_packets_are_never_held_back(key: SigningKey, identity: Identity) -> None:
    bench = Bench(key, identity, replace(PLAN, live=True))
    taken = []
    for packet in packets(20):
        bench.sealer.begin(
            packet.frame, is_idr=packet.is_keyframe, seconds=packet.pts / FPS, originals=None
        )
        taken.append([p.frame for p in bench.sealer.take(packet)])
    assert taken == [[n] for n in range(20)]
    bench.sealer.finish()


def test_live_the_end_of_an_epoch_is_foreseen(key: SigningKey, identity: Identity) -> None:
    bench = Bench(key, identity, replace(PLAN, live=True))
    out = bench.run(packets(22), lambda n: originals(n, 1))
    assert layout(out) == {
        0: ["key 0"],
        7: ["0-7"],
        9: ["8-9"],
        10: ["key 1"],
        17: ["0-7"],
        19: ["8-9"],
        20: ["key 2"],
    }


def test_live_an_unforeseen_end_comes_with_the_next_frame(
    key: SigningKey, identity: Identity
) -> None:
    given = packets(12, idr=lambda n: n in (0, 5))
    out = Bench(key, identity, replace(PLAN, live=True)).run(given, lambda n: originals(n, 1))
    assert layout(out)[5] == ["0-4 last", "key 1"]


def test_a_pause_ends_the_epoch_and_loses_no_record(key: SigningKey, identity: Identity) -> None:
    bench = Bench(key, identity, replace(PLAN, live=True))
    given, out = packets(9, idr=lambda n: n in (0, 5)), []
    for packet in given:
        if packet.frame == 5:
            epoch = bench.sealer._epoch
            bench.sealer.pause()
            assert bench.sealer._epoch is None
            assert epoch is not None
            with pytest.raises(VaultError, match="ended"):
                epoch._secrets.key_for(EntryKind.FACE, 1)
        bench.sealer.begin(
            packet.frame, is_idr=packet.is_keyframe, seconds=0, originals=originals(packet.frame, 1)
        )
        out += bench.sealer.take(packet)
    assert layout(out) == {0: ["key 0"], 5: ["0-4 last", "key 1"]}
    bench.sealer.pause()
    bench.sealer.pause()
    bench.sealer.finish()


def test_a_frame_that_was_dropped_on_the_way_moves_nothing(
    key: SigningKey, identity: Identity
) -> None:
    bench = Bench(key, identity)
    given = packets(10)
    for packet in given:  # the encoder gives nothing for frame 4
        bench.sealer.begin(
            packet.frame, is_idr=packet.is_keyframe, seconds=0, originals=originals(packet.frame, 1)
        )
    out = [p for packet in given if packet.frame != 4 for p in bench.sealer.take(packet)]
    out += bench.sealer.finish()
    (group, rest) = (r for p in out for r in records(p) if isinstance(r, GroupRecord))
    digests = [slice_digest(split_nals(p.data, Framing(0)), "h264") for p in given if p.frame != 4]
    assert [*group.head.digests, *rest.head.digests] == digests


def test_a_frame_without_originals_is_in_its_group_all_the_same(
    key: SigningKey, identity: Identity
) -> None:
    out = Bench(key, identity).run(packets(8), lambda n: None if n < 6 else originals(n, 1))
    (group,) = (r for p in out for r in records(p) if isinstance(r, GroupRecord))
    assert len(group.head.digests) == 8
    assert [entry.place.offsets for entry in group.entries] == [(6, 7)]


def test_for_a_sidecar_records_go_beside_and_the_packets_stay_as_they_were(
    key: SigningKey, identity: Identity
) -> None:
    given = packets(12)
    out = Bench(key, identity, replace(PLAN, in_stream=False, beside=True)).run(
        given, lambda n: originals(n, 1)
    )
    assert [p.data for p in out] == [p.data for p in given]
    kinds = {p.frame: [record[0] for record in p.records] for p in out if p.records}
    assert kinds == {0: [1], 7: [2], 9: [2], 10: [1], 11: [2]}


def test_both_carriers_have_the_same_bytes(key: SigningKey, identity: Identity) -> None:
    out = Bench(key, identity, replace(PLAN, beside=True)).run(
        packets(12), lambda n: originals(n, 1)
    )
    for packet in out:
        in_stream = records_in(split_nals(packet.data, Framing(0)), "h264")
        assert tuple(in_stream) == packet.records


# --- what fails ---


def test_recipients_of_no_use_are_an_alarm_until_the_next_epoch_can_be_sealed(
    key: SigningKey, identity: Identity
) -> None:
    bench = Bench(key, identity)
    good, bench.groups = bench.groups, VaultError("recipients.dpo cannot be used: gone")
    alarms, out = [], []
    given = packets(30)
    for packet in given:
        if packet.frame == 15:
            bench.groups = good
        bench.sealer.begin(
            packet.frame, is_idr=packet.is_keyframe, seconds=0, originals=originals(packet.frame, 1)
        )
        out += bench.sealer.take(packet)
        alarms.append(bench.counts.alarm)
    out += bench.sealer.finish()
    assert alarms == ["recipients.dpo cannot be used: gone"] * 20 + [None] * 10
    assert [p.data for p in out[:20]] == [p.data for p in given[:20]]
    assert list(layout(out)) == [20, 27, 29]
    assert bench.counts.unsealed_frames == 20


def test_where_it_is_to_be_dark_a_clear_frame_is_withheld_from_the_very_first(
    key: SigningKey, identity: Identity
) -> None:
    bench = Bench(key, identity, replace(PLAN, live=True))
    good = bench.groups
    went, out = [], []
    for packet in packets(16, idr=lambda n: n in (0, 6, 9, 13)):
        if packet.frame in (6, 13):
            bench.groups = VaultError("gone") if packet.frame == 6 else good
        if bench.sealer.begin(
            packet.frame,
            is_idr=packet.is_keyframe,
            seconds=0,
            originals=None,
            withhold=packet.frame < 9,  # then it is dark, and goes out
        ):
            went.append(packet.frame)
            out += bench.sealer.take(packet)
    bench.sealer.finish()
    assert went == [*range(6), *range(9, 16)]
    assert bench.counts.withheld_frames == 3 and bench.counts.unsealed_frames == 4
    assert layout(out) == {0: ["key 0"], 9: ["0-5 last"], 13: ["key 1"]}
    assert bench.counts.alarm is None


def test_changed_recipients_count_from_the_next_epoch(
    key: SigningKey, identity: Identity, tmp_path: Path
) -> None:
    other = create_identity(tmp_path / "other.key", None)
    bench = Bench(key, identity)
    out = []
    for packet in packets(20):
        if packet.frame == 4:
            bench.groups = [RecipientGroup("dpo", 1, (other.recipient,))]
        bench.sealer.begin(packet.frame, is_idr=packet.is_keyframe, seconds=0, originals=None)
        out += bench.sealer.take(packet)
    out += bench.sealer.finish()
    first, second = (r for p in out for r in records(p) if isinstance(r, KeyRecord))
    opens = [
        [bool(open_epoch(r, identities=[who]).opened_by) for who in (identity, other)]
        for r in (first, second)
    ]
    assert opens == [[True, False], [False, True]]


def test_a_tile_codec_that_raises_loses_one_frame_and_nothing_else(
    key: SigningKey, identity: Identity
) -> None:
    class Raises(SaysWhich):
        def encode(self, tile: OriginalTile) -> TileItem:
            if tile.x_px == 20:
                raise RuntimeError("no")
            return super().encode(tile)

    def of(n: int) -> FrameOriginals:
        return FrameOriginals(n, (tile(1, 20 if n == 3 else 8),), ())

    bench = Bench(key, identity, open_encoder=Raises)
    out = bench.run(packets(8), of)
    (group,) = (r for p in out for r in records(p) if isinstance(r, GroupRecord))
    assert group.entries[0].place.offsets == (0, 1, 2, 4, 5, 6, 7)
    assert bench.counts.unsealed_frames == 1
    assert bench.counts.alarm == "a face could not be coded: RuntimeError"
    key_record = next(r for p in out for r in records(p) if isinstance(r, KeyRecord))
    entry_key = open_epoch(key_record, identities=[identity]).key_for(EntryKind.FACE, 1)
    assert entry_key is not None
    plain = open_entry(entry_key, key_record.context, group.head, group.entries[0])
    # what follows a lost packet could not be decoded: the video begins anew
    starts = [item.starts_video for item in parse_tiles(plain)]
    assert starts == [True, False, False, True, False, False, False]


# --- detail keyframes ---


def test_between_keyframes_there_is_motion_from_the_tile_before(
    key: SigningKey, identity: Identity
) -> None:
    plan = replace(PLAN, key_every_seconds=0.16)  # four frames

    def of(n: int) -> FrameOriginals:
        return FrameOriginals(100 + n, (tile(1, 8 + 2 * n),), ())

    out = Bench(key, identity, plan).run(packets(8), of)
    key_record, group = (record for packet in out for record in records(packet))
    assert isinstance(key_record, KeyRecord) and isinstance(group, GroupRecord)
    keys = open_epoch(key_record, identities=[identity])
    by_kind = {}
    for entry in group.entries:
        entry_key = keys.key_for(entry.place.kind, 1)
        assert entry_key is not None
        by_kind[entry.place.kind] = (
            entry.place.offsets,
            open_entry(entry_key, key_record.context, group.head, entry),
        )
    offsets, plain = by_kind[EntryKind.FACE]
    assert offsets == (0, 4)
    assert [item.starts_video for item in parse_tiles(plain)] == [True, True]
    offsets, plain = by_kind[EntryKind.MOTION]
    assert offsets == (1, 2, 3, 5, 6, 7)
    motions = parse_motions(plain)
    assert [m.key_number for m in motions] == [0, 0, 0, 4, 4, 4]
    assert [m.xys_px[0] - m.key_xys_px[0] for m in motions] == [2, 4, 6, 2, 4, 6]
