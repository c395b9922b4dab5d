"""Sealed originals brought back by `bauta recover`: whole commands on real tile videos."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import av
import numpy as np
import pytest

from pipeline import recover_evidence
from pipeline.errors import SinkError
from pipeline.evidence.group_record import EntryKind
from pipeline.evidence.nal import Codec
from pipeline.recover import evidence_video
from pipeline.recover.clip_records import read_clip
from pipeline.recover.manifest import manifest_path, report_path, sha256_of
from pipeline.recover.video import RecoveredVideo
from pipeline.recover_request import NOTHING
from pipeline.vault import audit
from pipeline.vault.identity import Identity
from pipeline.vault.opening import open_epoch
from pipeline.vault.package import Purpose, make_disclosure, make_release
from pipeline.vault.signing import fingerprint, officer_key, public_line
from support.flow import Done, bauta
from support.recovered import (
    Sealed,
    assert_same,
    inside,
    new_identity,
    planes_in,
    seal_clip,
    with_tone,
    write_timed,
)
from support.tiles import psnr_db

EXACT = ("--lossless", "--no-mark")


@dataclass(frozen=True)
class Officer:
    identity: Identity
    key: Path


@dataclass(frozen=True)
class Case:
    """Two people side by side, one group of officers."""

    sealed: Sealed
    clip: Path
    dpo: Officer
    thief: Officer


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BAUTA_STATE", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evidence")


@pytest.fixture(scope="module")
def case(folder: Path) -> Case:
    dpo, thief = officer(folder, "dpo"), officer(folder, "thief")
    sealed = seal_clip({"dpo": [dpo.identity]}, faces=2, epochs=3)
    return Case(sealed, sealed.clip.write(folder / "case.mp4"), dpo, thief)


@dataclass(frozen=True)
class Two:
    """Two groups, two faces that overlap."""

    sealed: Sealed
    clip: Path
    dpo: Officer
    police: Officer
    lawyer: Officer


@pytest.fixture(scope="module")
def two(folder: Path) -> Two:
    dpo, police, lawyer = (officer(folder, name) for name in ("dpo2", "police", "lawyer"))
    groups = {"dpo": [dpo.identity], "police": [police.identity]}
    sealed = seal_clip(groups, faces=2, overlap=True)
    return Two(sealed, sealed.clip.write(folder / "two.mp4"), dpo, police, lawyer)


def officer(folder: Path, name: str) -> Officer:
    return Officer(*new_identity(folder, name))


def recover(clip: Path, dest: Path, *options: str | Path | Officer) -> Done:
    """An officer stands for `--key FILE`."""
    given: list[str | Path] = []
    for option in options:
        given += ["--key", option.key] if isinstance(option, Officer) else [option]
    return bauta(
        *("recover", clip, dest, "--case", "17/26", "--reason", "a test", "--json"), *given
    )


def assert_refused(done: Done, dest: Path) -> None:
    assert done.code == 1 and done.error_line == f"bauta: {NOTHING}"
    assert not list(dest.parent.glob(f"{dest.name}*"))


def manifest_of(dest: Path) -> dict[str, Any]:
    return cast(dict[str, Any], json.loads(manifest_path(dest).read_bytes()))


# --- what was sealed comes back ---


@pytest.mark.parametrize(
    ("codec", "ending"), [("h264", ".mp4"), ("h264", ".ts"), ("h265", ".mkv"), ("h265", ".mp4")]
)
def test_every_sealed_pixel_comes_back(
    codec: Codec, ending: str, case: Case, tmp_path: Path
) -> None:
    sealed = case.sealed
    if codec == "h265":
        sealed = seal_clip({"dpo": [case.dpo.identity]}, codec=codec)
    clip, dest = sealed.clip.write(tmp_path / f"clip{ending}"), tmp_path / f"out{ending}"
    service = sealed.clip.write_public(tmp_path / "service.pub")

    done = recover(clip, dest, case.dpo, "--service", service, *EXACT)

    assert done.code == 0 and not done.err, done.err
    found = planes_in(dest)
    for number, (want, got) in enumerate(zip(sealed.expected(planes_in(clip)), found, strict=True)):
        assert_same(want, got, f"frame {number}")
    assert done.result["recovered_frames"] == len(found) and done.result["gaps"] == []
    assert done.result["tracks"] == sorted(sealed.boxes[0])
    assert done.result["faces"] == sum(len(parts) for parts in sealed.parts)
    files = [dest, manifest_path(dest), report_path(dest)]
    assert sorted(tmp_path.glob("out*")) == sorted(files)
    assert {path.stat().st_mode & 0o777 for path in files} == {0o600}


def test_faces_are_the_cameras(case: Case, tmp_path: Path) -> None:
    """As sealed by default, also after the recovered video's own coding."""
    sealed = seal_clip({"dpo": [case.dpo.identity]}, epochs=1, face_px=140, size_px=(640, 480))
    clip = sealed.clip.write(tmp_path / "clip.mp4")
    for name, options in (("exact", EXACT), ("coded", ())):
        dest = tmp_path / f"{name}.mp4"
        assert recover(clip, dest, case.dpo, *options).code == 0
        for camera, found, boxes in zip(
            sealed.originals, planes_in(dest), sealed.boxes, strict=True
        ):
            face = inside(camera, boxes[1]).y, inside(found, boxes[1]).y
            print(name, psnr_db(*face))
            assert psnr_db(*face) >= 40
    protected = inside(planes_in(clip)[3], sealed.boxes[3][1]).y
    assert psnr_db(inside(sealed.originals[3], sealed.boxes[3][1]).y, protected) < 25


def test_lossless_faces_are_identical(case: Case, tmp_path: Path) -> None:
    sealed = seal_clip({"dpo": [case.dpo.identity]}, epochs=1, detail="lossless")
    clip, dest = sealed.clip.write(tmp_path / "clip.mkv"), tmp_path / "out.mkv"
    assert recover(clip, dest, case.dpo, *EXACT).code == 0
    for camera, found, boxes in zip(sealed.originals, planes_in(dest), sealed.boxes, strict=True):
        assert_same(inside(camera, boxes[1]), inside(found, boxes[1]))


def test_between_keyframes_faces_are_moved_and_said_to_be(case: Case, tmp_path: Path) -> None:
    sealed = seal_clip({"dpo": [case.dpo.identity]}, epochs=2, detail="keyframes")
    clip, dest = sealed.clip.write(tmp_path / "clip.mp4"), tmp_path / "out.mp4"
    moved = [any(part.kind is EntryKind.MOTION for part in parts) for parts in sealed.parts]
    done = recover(clip, dest, case.dpo, "--lossless")
    assert done.code == 0 and done.result["gaps"] == []
    assert done.result["moved"] == sum(moved) > done.result["faces"] > 0
    shown = planes_in(dest)
    for camera, found, boxes, is_moved in zip(
        sealed.originals, shown, sealed.boxes, moved, strict=True
    ):
        inner = tuple(v + d for v, d in zip(boxes[1], (8, 8, -8, -8), strict=True))
        psnr = psnr_db(inside(camera, inner).y, inside(found, inner).y)  # type: ignore[arg-type]
        assert psnr > (24 if is_moved else 38)
    # the mark of a moved face is the longer one
    bars = [int((found.y[-8] < 60).sum()) for found in shown]
    assert min(b for b, m in zip(bars, moved, strict=True) if m) > max(
        b for b, m in zip(bars, moved, strict=True) if not m
    )


@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_pictures_in_another_order_than_their_packets(
    codec: Codec, case: Case, tmp_path: Path
) -> None:
    sealed = seal_clip({"dpo": [case.dpo.identity]}, codec=codec, bframes=3, frames=16)
    order = [item.packet.pts for item in sealed.clip.packets]
    assert order != sorted(order)
    clip, dest = write_timed(sealed, tmp_path / "clip.mp4"), tmp_path / "out.mp4"
    done = recover(clip, dest, case.dpo, *EXACT)
    assert done.code == 0 and done.result["gaps"] == []
    by_packet = [planes_in(clip)[pts] for pts in order]
    found = planes_in(dest)
    for want, pts in zip(sealed.expected(by_packet), order, strict=True):
        assert_same(want, found[pts], f"frame {pts}")


# --- who ---


def test_one_track_and_a_stretch_of_time(case: Case, tmp_path: Path) -> None:
    dest = tmp_path / "out.mp4"
    done = recover(
        case.clip, dest, case.dpo, "--track", "2", "--from", "0.2", "--to", "0.8", *EXACT
    )
    assert done.code == 0 and done.result["tracks"] == [2]
    protected = planes_in(case.clip)
    wanted = case.sealed.expected(protected, [2])
    for number, found in enumerate(planes_in(dest)):
        is_asked = 0.2 <= number / 25 <= 0.8
        assert_same(wanted[number] if is_asked else protected[number], found, f"frame {number}")
    assert done.result["recovered_frames"] == 16
    asked = manifest_of(dest)["asked_for"]
    assert asked == {"tracks": [2], "from_seconds": 0.2, "to_seconds": 0.8}
    # of the third epoch, whose time was not asked for, nothing was opened
    assert len(manifest_of(dest)["epochs"]) == 2


def test_two_groups_need_a_key_of_each(two: Two, tmp_path: Path) -> None:
    dest = tmp_path / "out.mp4"
    for alone in (two.dpo, two.police, two.lawyer):
        assert_refused(recover(two.clip, dest, alone), dest)
    done = recover(two.clip, dest, two.dpo, two.police, two.lawyer, *EXACT)
    assert done.code == 0 and done.result["scenes"] > 0
    for want, got in zip(two.sealed.expected(planes_in(two.clip)), planes_in(dest), strict=True):
        assert_same(want, got)
    keys = manifest_of(dest)["keys"]
    assert keys == [
        {
            "age": one.identity.recipient.public,
            "signing": fingerprint(officer_key(one.identity).public),
            "used": one is not two.lawyer,
        }
        for one in (two.dpo, two.police, two.lawyer)
    ]


@pytest.mark.parametrize("tracks", [None, [1]])
def test_one_key_and_the_other_groups_release(
    tracks: Sequence[int] | None, two: Two, tmp_path: Path
) -> None:
    release, dest = tmp_path / "release", tmp_path / "out.mp4"
    epochs = read_clip(two.clip).epochs
    release.write_bytes(
        make_release(
            [open_epoch(epoch.record, identities=[two.police.identity]) for epoch in epochs],
            "police",
            tracks,
            purpose(two, two.police, two.dpo),
            present={epoch.record.epoch_id: (1, 2) for epoch in epochs},
        )
    )
    done = recover(two.clip, dest, two.dpo, "--release", release, *EXACT)
    assert done.code == 0 and done.result["gaps"] == []
    epoch = manifest_of(dest)["epochs"][0]
    assert epoch["opened_by"] == ["dpo"] and epoch["released_by"] == ["police"]
    wanted = two.sealed.expected(planes_in(two.clip), tracks)
    for want, got in zip(wanted, planes_in(dest), strict=True):
        assert_same(want, got)
    # made for another officer it is worth nothing
    other = tmp_path / "other.mp4"
    assert_refused(recover(two.clip, other, two.lawyer, "--release", release), other)


def purpose(two: Two, maker: Officer, receiver: Officer) -> Purpose:
    return Purpose(
        maker=maker.identity,
        receiver=receiver.identity.recipient,
        case="16/26",
        reason="asked for",
        clip_sha256=sha256_of(two.clip),
    )


def disclosed(two: Two, track: int, path: Path) -> Path:
    keys = [
        open_epoch(epoch.record, identities=[two.dpo.identity, two.police.identity])
        for epoch in read_clip(two.clip).epochs
    ]
    path.write_bytes(make_disclosure(keys, track, purpose(two, two.dpo, two.lawyer)))
    return path


@pytest.mark.parametrize("track", [1, 2])
def test_a_disclosure_opens_that_person_and_nobody_else(
    track: int, two: Two, tmp_path: Path
) -> None:
    package, dest = disclosed(two, track, tmp_path / "package"), tmp_path / "out.mp4"
    done = recover(two.clip, dest, "--disclosure", package, two.lawyer, *EXACT)
    assert done.code == 0 and done.result["tracks"] == [track] and done.result["scenes"] == 0
    protected, found = planes_in(two.clip), planes_in(dest)
    other = 3 - track
    for number, want in enumerate(two.sealed.expected(protected, [track])):
        assert_same(want, found[number])
        box = two.sealed.boxes[number][other]
        assert_same(inside(protected[number], box), inside(found[number], box))
        own = inside(found[number], two.sealed.boxes[number][track])
        assert not np.array_equal(
            own.y, inside(protected[number], two.sealed.boxes[number][track]).y
        )
    (note,) = manifest_of(dest)["packages"]
    assert (note["what"], note["case"], note["tracks"]) == ("disclosure", "16/26", [track])
    assert note["maker_signing"] == fingerprint(officer_key(two.dpo.identity).public)
    assert "maker_age" not in note
    # asking for the other one is of no use, and neither is the key alone
    wrong = tmp_path / "wrong.mp4"
    options = ("--disclosure", package, two.lawyer, "--track", str(other))
    assert_refused(recover(two.clip, wrong, *options), wrong)
    assert_refused(recover(two.clip, wrong, two.lawyer), wrong)
    assert_refused(recover(two.clip, wrong, "--disclosure", package, two.dpo), wrong)


def test_a_disclosure_is_bound_to_its_clip(two: Two, tmp_path: Path) -> None:
    package, dest = disclosed(two, 1, tmp_path / "package"), tmp_path / "out.mp4"
    groups = {"dpo": [two.dpo.identity], "police": [two.police.identity]}
    other = seal_clip(groups, faces=2, overlap=True).clip.write(tmp_path / "other.mp4")
    assert_refused(recover(other, dest, "--disclosure", package, two.lawyer), dest)


# --- nothing opens, and nobody is told why ---


def test_a_wrong_key(case: Case, tmp_path: Path) -> None:
    dest = tmp_path / "out.mp4"
    assert_refused(recover(case.clip, dest, case.thief), dest)
    assert audit.verify(audit.audit_path()) == 1  # the attempt is on record
    entry = json.loads(audit.audit_path().read_text())
    assert entry["keys"] == [case.thief.identity.recipient.public]


def damaged(sealed: Sealed, how: str, other: Sealed) -> Sealed:
    """A clip of one epoch and one group, attacked."""
    clip = sealed.clip
    (key_at,), (group_at,) = clip.where("key"), clip.where("group")
    records = {key_at: clip.records("key"), group_at: clip.records("group")}
    foreign = {"key": other.clip.records("key"), "group": other.clip.records("group")}
    if how == "records of another camera":
        records = {key_at: foreign["key"], group_at: foreign["group"]}
    elif how == "swapped group":
        records[group_at] = foreign["group"]
    elif how == "swapped key record":
        records[key_at] = foreign["key"]
    elif how == "truncated group":
        records[group_at] = [clip.records("group")[0][:-1]]
    elif how == "truncated key record":
        records[key_at] = [clip.records("key")[0][:-40]]
    elif how == "no key record":
        records[key_at] = []
    elif how == "no group":
        records[group_at] = []
    elif how == "no records":
        records = {}
    for at, packet in enumerate(clip.packets):
        packet.records = list(records.get(at, []))
    if how == "other pictures":  # under intact records
        for mine, theirs in zip(clip.packets, other.clip.packets, strict=True):
            mine.packet = theirs.packet
    return sealed


@pytest.mark.parametrize(
    "how",
    [
        "records of another camera",
        "swapped group",
        "swapped key record",
        "truncated group",
        "truncated key record",
        "no key record",
        "no group",
        "other pictures",
    ],
)
@pytest.mark.parametrize("carrier", ["stream", "sidecar"])
def test_attacked_records_open_nothing(how: str, carrier: str, case: Case, tmp_path: Path) -> None:
    groups = {"dpo": [case.dpo.identity]}
    sealed = seal_clip(groups, epochs=1, frames=6)
    other = seal_clip(groups, epochs=1, frames=6, camera="gate-4", seed=3)
    clip = damaged(sealed, how, other).clip.write(tmp_path / "clip.mp4", carrier=carrier)
    dest = tmp_path / "out.mp4"
    assert_refused(recover(clip, dest, case.dpo), dest)


def test_what_anybody_can_see_is_said_before_a_key_is_tried(case: Case, tmp_path: Path) -> None:
    sealed = seal_clip({"dpo": [case.dpo.identity]}, epochs=1, frames=6)
    clip, dest = sealed.clip.write(tmp_path / "clip.mp4"), tmp_path / "out.mp4"
    bare = damaged(sealed, "no records", sealed).clip.write(tmp_path / "bare.mp4")
    for done, said in (
        (recover(bare, dest, case.dpo), "holds no records of bauta/1"),
        (recover(clip, dest, case.dpo, "--track", "99", "--track", "98"), "(98, 99)"),
        (recover(clip, dest, case.dpo, "--from", "1:00"), "after the end"),
    ):
        assert done.code == 2 and said in done.error_line
        assert not dest.exists()


def test_replayed_records_give_their_own_frames_alone(case: Case, tmp_path: Path) -> None:
    """All of the first epoch's once more in the second, whose own are gone."""
    sealed = seal_clip({"dpo": [case.dpo.identity]}, epochs=2, frames=8)
    first, second = sealed.clip.packets[:8], sealed.clip.packets[8:]
    for packet, again in zip(second, first, strict=True):
        packet.records = list(again.records)
    clip, dest = sealed.clip.write(tmp_path / "clip.mp4"), tmp_path / "out.mp4"
    done = recover(clip, dest, case.dpo, *EXACT)
    assert done.code == 0 and done.result["recovered_frames"] == 8
    protected = planes_in(clip)
    wanted = sealed.expected(protected)[:8] + protected[8:]
    for want, got in zip(wanted, planes_in(dest), strict=True):
        assert_same(want, got)
    assert any("no record fits" in gap and "frames 8–15" in gap for gap in done.result["gaps"])
    # the first epoch cut off, there is nothing that its records fit
    sealed.clip.packets = second
    cut, dest = sealed.clip.write(tmp_path / "cut.mp4"), tmp_path / "none.mp4"
    assert_refused(recover(cut, dest, case.dpo), dest)


def test_a_damaged_group_costs_what_builds_on_it(case: Case, tmp_path: Path) -> None:
    sealed = seal_clip({"dpo": [case.dpo.identity]}, epochs=3, frames=20)
    at = 20 + 15  # the second epoch's second group, frames 28 to 35
    (record,) = sealed.clip.packets[at].records
    hurt = bytearray(record)
    hurt[len(hurt) // 2] ^= 1
    sealed.clip.packets[at].records = [bytes(hurt)]
    clip, dest = sealed.clip.write(tmp_path / "clip.mp4"), tmp_path / "out.mp4"
    done = recover(clip, dest, case.dpo, *EXACT)
    assert done.code == 0
    protected = planes_in(clip)
    wanted = sealed.expected(protected)
    wanted[28:40] = protected[28:40]
    for number, (want, got) in enumerate(zip(wanted, planes_in(dest), strict=True)):
        assert_same(want, got, f"frame {number}")
    assert done.result["gaps"] == [
        "frames 28–35 (0:01.1–0:01.4), track 1: the record is not as the service signed it",
        "frames 36–39 (0:01.4–0:01.5), track 1: an earlier part of this face is missing, or it is "
        "damaged",
    ]
    assert "not recovered: frames 28" in done.err


def test_a_cut_at_an_idr(case: Case, tmp_path: Path) -> None:
    cut, dest = tmp_path / "cut.mkv", tmp_path / "out.mkv"
    with av.open(str(case.clip)) as source, av.open(str(cut), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        for packet in [p for p in source.demux(video=0) if p.size][12:]:
            packet.stream = stream
            target.mux(packet)
    done = recover(cut, dest, case.dpo, *EXACT)
    assert done.code == 0 and done.result["gaps"] == []
    wanted = case.sealed.expected(planes_in(case.clip))[12:]
    for want, got in zip(wanted, planes_in(dest), strict=True):
        assert_same(want, got)


def test_a_clip_whose_middle_cannot_be_decoded(case: Case, tmp_path: Path) -> None:
    """A frame that is lost on the way is a gap, and the rest keeps its places."""
    packets = case.sealed.clip.packets
    try:
        case.sealed.clip.packets = packets[:5] + packets[6:]
        clip = case.sealed.clip.write(tmp_path / "clip.mp4")
    finally:
        case.sealed.clip.packets = packets
    dest = tmp_path / "out.mp4"
    done = recover(clip, dest, case.dpo, *EXACT)
    assert done.code == 0
    protected = planes_in(clip)
    places = [*range(5), *range(6, 36)]
    tiles = case.sealed.expected(planes_in(case.clip))
    found = planes_in(dest)
    for got, shown, place in zip(found, protected, places, strict=True):
        box = case.sealed.boxes[place][1]
        assert_same(inside(got, box), inside(tiles[place], box))
        assert not np.array_equal(inside(got, box).y, inside(shown, box).y)


# --- origin ---


def test_a_pinned_service(case: Case, tmp_path: Path) -> None:
    service = case.sealed.clip.write_public(tmp_path / "service.pub")
    stranger = tmp_path / "stranger.pub"
    stranger.write_text(public_line(officer_key(case.thief.identity).public) + "\n")
    unsure, sure, none = (tmp_path / f"{name}.mp4" for name in ("unsure", "sure", "none"))

    assert "ORIGIN UNVERIFIED" in recover(case.clip, unsure, case.dpo, "--lossless").error_line
    done = recover(case.clip, sure, case.dpo, "--service", service, "--lossless")
    assert done.code == 0 and not done.err
    assert_refused(recover(case.clip, none, case.dpo, "--service", stranger), none)

    origins = [manifest_of(dest)["origin"] for dest in (unsure, sure)]
    assert [origin["verdict"] for origin in origins] == [
        "ORIGIN UNVERIFIED",
        "ORIGIN VERIFIED",
    ]
    assert b"ORIGIN UNVERIFIED" in report_path(unsure).read_bytes()
    assert b"ORIGIN UNVERIFIED" not in report_path(sure).read_bytes()
    # in the mark as well: a longer bar
    bars = [int((planes_in(dest)[3].y[-8] < 60).sum()) for dest in (unsure, sure)]
    assert bars[0] > bars[1] * 1.4 > 50


def test_an_epoch_of_another_service_is_not_opened(case: Case, tmp_path: Path) -> None:
    groups = {"dpo": [case.dpo.identity]}
    ours = seal_clip(groups, epochs=1, frames=8)
    theirs = seal_clip(groups, epochs=1, frames=8, service_seed=2, seed=5)
    service = ours.clip.write_public(tmp_path / "service.pub")
    ours.clip.packets += theirs.clip.packets
    clip, dest = ours.clip.write(tmp_path / "clip.mp4"), tmp_path / "out.mp4"
    done = recover(clip, dest, case.dpo, "--service", service, *EXACT)
    assert done.code == 0 and done.result["recovered_frames"] == 8
    (gap,) = done.result["gaps"]
    assert gap.startswith("frames 8–15") and "not as the service signed it" in gap
    protected = planes_in(clip)
    for want, got in zip(protected[8:], planes_in(dest)[8:], strict=True):
        assert_same(want, got)
    first, second = manifest_of(dest)["epochs"]
    assert first["opened_by"] == ["dpo"] and first["origin"] == "signed by the service"
    assert second["opened_by"] == second["released_by"] == [] and "another key" in second["origin"]


# --- what is written ---


def test_the_mark_is_in_every_frame_unless_it_is_left_out(case: Case, tmp_path: Path) -> None:
    marked, plain = tmp_path / "marked.mp4", tmp_path / "plain.mp4"
    assert recover(case.clip, marked, case.dpo, "--lossless").code == 0
    assert recover(case.clip, plain, case.dpo, *EXACT).code == 0
    for shown, bare in zip(planes_in(marked), planes_in(plain), strict=True):
        assert (shown.y[-14:, :120] < 60).mean() > 0.5
        assert_same(inside(shown, (0, 0, 320, 200)), inside(bare, (0, 0, 320, 200)))
    entries = [json.loads(line) for line in audit.audit_path().read_text().splitlines()]
    for dest, entry, is_marked in zip((marked, plain), entries, (True, False), strict=True):
        video = manifest_of(dest)["video"]
        assert entry["marked"] is is_marked and video["marked"] is is_marked


@pytest.mark.parametrize("ending", [".mp4", ".mkv", ".ts"])
def test_audio_is_copied_or_dropped(ending: str, case: Case, tmp_path: Path) -> None:
    clip = with_tone(case.clip, tmp_path / "clip.mp4")
    kept, dropped = tmp_path / f"kept{ending}", tmp_path / f"dropped{ending}"
    done = recover(clip, kept, case.dpo)
    assert done.code == 0 and done.result["recovered_frames"] == 36
    assert recover(clip, dropped, case.dpo, "--drop-audio").code == 0
    assert sound_of(kept) == sound_of(clip) and len(sound_of(clip)) > 50
    with av.open(str(dropped)) as container:
        assert not container.streams.audio
    for dest, has in ((kept, True), (dropped, False)):
        video = manifest_of(dest)["video"]
        assert video["audio"] is has


def test_audio_that_does_not_fit_is_one_line(case: Case, tmp_path: Path) -> None:
    clip, dest = with_tone(case.clip, tmp_path / "clip.mov", "pcm_mulaw"), tmp_path / "out.mp4"
    done = recover(clip, dest, case.dpo)
    assert done.code == 1 and "holds no pcm_mulaw" in done.error_line
    assert not list(tmp_path.glob("out*"))
    assert recover(clip, dest, case.dpo, "--drop-audio").code == 0


def sound_of(path: Path) -> list[bytes]:
    """The audio packets' bytes, without the header that a transport stream gives each."""
    with av.open(str(path)) as container:
        in_ts = container.format.name == "mpegts"
        return [bytes(p)[7 if in_ts else 0 :] for p in container.demux(audio=0) if p.size]


def test_a_rerun_that_fails_leaves_the_earlier_stills(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stills = tmp_path / "faces"
    options = (case.dpo, "--stills", stills, "--overwrite")
    assert recover(case.clip, tmp_path / "out.mp4", *options).code == 0
    before = {path.name: path.read_bytes() for path in stills.iterdir()}
    assert before

    def fail(*_: object) -> None:
        raise SinkError("the disk is full")

    for owner, name in ((recover_evidence, "_write_stills"), (RecoveredVideo, "close")):
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, fail)
            assert recover(case.clip, tmp_path / "out.mp4", *options).code != 0
        assert {path.name: path.read_bytes() for path in stills.iterdir()} == before


def test_two_video_streams_are_refused(case: Case, tmp_path: Path) -> None:
    path, dest = tmp_path / "two.mp4", tmp_path / "out.mp4"
    with av.open(str(case.clip)) as source, av.open(str(path), "w") as target:
        first, second = (target.add_stream_from_template(source.streams.video[0]) for _ in range(2))
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = first if packet.is_keyframe else second
                target.mux(packet)
    done = recover(path, dest, case.dpo)
    assert done.code == 1 and "holds 2 video streams" in done.error_line
    assert not list(tmp_path.glob("out*")) and not audit.audit_path().exists()


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="no ffmpeg binary")
def test_a_cropped_clip_is_refused(case: Case, tmp_path: Path) -> None:
    cropped, dest = tmp_path / "cropped.mp4", tmp_path / "out.mp4"
    command = ["ffmpeg", "-v", "error", "-i", str(case.clip), "-c", "copy"]
    subprocess.run([*command, "-bsf:v", "h264_metadata=crop_right=32", str(cropped)], check=True)
    done = recover(cropped, dest, case.dpo)
    assert done.code == 1 and "it was sealed at" in done.error_line
    assert not list(tmp_path.glob("out*"))


def test_names_that_are_not_utf_8(case: Case, tmp_path: Path) -> None:
    clip = tmp_path / os.fsdecode(b"clip\xf8.mp4")
    shutil.copyfile(case.clip, clip)
    dest = tmp_path / os.fsdecode(b"out\xf8.mp4")
    done = bauta(
        *("recover", clip, dest, "--key", case.dpo.key),
        *("--case", os.fsdecode(b"17\xf8"), "--reason", os.fsdecode(b"\xf8")),
    )
    assert done.code == 0, done.err
    manifest = manifest_of(dest)
    assert manifest["clip"]["name"] == clip.name and manifest["reason"] == "\udcf8"
    assert report_path(dest).exists()


def test_stills_for_the_file(case: Case, tmp_path: Path) -> None:
    dest, stills = tmp_path / "out.mp4", tmp_path / "faces"
    done = recover(case.clip, dest, case.dpo, "--stills", stills)
    assert done.code == 0 and done.result["stills"] == 2
    names = sorted(path.name for path in stills.iterdir())
    assert len(names) == 4 and {name[:7] for name in names} == {"track-1", "track-2"}
    assert {path.stat().st_mode & 0o777 for path in stills.iterdir()} == {0o600}
    assert recover(case.clip, tmp_path / "b.mp4", case.dpo, "--stills", stills).code == 2


def test_the_manifest_says_what_went_in_and_out(case: Case, tmp_path: Path) -> None:
    clip, dest = tmp_path / "clip.mp4", tmp_path / "out.mkv"
    case.sealed.clip.write(clip, carrier="sidecar")
    done = recover(clip, dest, case.dpo)
    assert done.code == 0, done.err
    fields = manifest_of(dest)
    assert fields["clip"] == {"name": "clip.mp4", "sha256": sha256_of(clip)}
    sidecar = Path(f"{clip}.bauta")
    assert fields["sidecar"] == {"name": sidecar.name, "sha256": sha256_of(sidecar)}
    assert fields["output"] == {"name": "out.mkv", "sha256": sha256_of(dest)}
    assert (fields["case"], fields["reason"]) == ("17/26", "a test")
    line = audit.audit_path().read_bytes().splitlines()[-1]
    assert fields["audit"] == done.result["audit"]
    assert (
        json.loads(line)["signer"].split()[1]
        == public_line(officer_key(case.dpo.identity).public).split()[1]
    )
    secret = case.dpo.identity.secret
    for path in (manifest_path(dest), report_path(dest), audit.audit_path()):
        assert secret not in path.read_text()


# --- failures leave nothing ---


def test_no_log_no_recovery(case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAUTA_STATE", str(case.clip))  # a file where a folder must be
    dest = tmp_path / "out.mp4"
    opened: list[object] = []
    monkeypatch.setattr(recover_evidence, "openings_of", opened.append)
    done = recover(case.clip, dest, case.dpo)
    assert done.code == 1 and "nothing is recovered without it" in done.error_line
    assert not list(tmp_path.glob("out*")) and not opened


@pytest.mark.parametrize("exists", [False, True])
def test_what_breaks_off_leaves_nothing_behind(
    exists: bool, case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dest = tmp_path / "out.mp4"
    names = [dest, manifest_path(dest), report_path(dest)]
    if exists:
        for path in names:
            path.write_text("mine")
    laid: list[int] = []

    def lay(planes: object, here: object) -> bool:
        laid.append(1)
        if len(laid) > 20:
            raise KeyboardInterrupt
        return False

    monkeypatch.setattr(evidence_video, "lay", lay)
    assert recover(case.clip, dest, case.dpo, "--overwrite").code == 1
    assert len(laid) == 21
    if exists:
        assert all(path.read_text() == "mine" for path in names)
    assert sorted(tmp_path.glob("out*")) == (sorted(names) if exists else [])


USAGE: Mapping[str, tuple[tuple[str, ...], str]] = {
    "no key": ((), "who opens it?"),
    "password": (("--password-from-env",), "--password-from-env needs --in-band"),
    "search": (("--key", "KEY", "--search"), "--search needs --in-band"),
    "first frame": (("--key", "KEY", "--first-frame", "0"), "--first-frame needs --in-band"),
    "in-band": (("--key", "KEY", "--in-band", "--lossless"), "--lossless is not for --in-band"),
    "two in-band": (("--key", "KEY", "--key", "KEY", "--in-band"), "needs one --key"),
    "two for a package": (
        ("--key", "KEY", "--key", "KEY", "--disclosure", "KEY"),
        "opened by one --key",
    ),
    "no package": (("--key", "KEY", "--disclosure", "none"), "none: No such file"),
    "no sidecar": (("--key", "KEY", "--sidecar", "none"), "none: No such file"),
    "no service": (("--key", "KEY", "--service", "none"), "none: No such file"),
    "a secret for a service": (("--key", "KEY", "--service", "KEY"), "holds a secret key"),
    "backwards": (("--key", "KEY", "--from", "2", "--to", "1"), "must not be later"),
    "no such key": (("--key", "none"), "none: No such file"),
    "no case": (("--key", "KEY", "--case", " "), "--case and --reason"),
}


@pytest.mark.parametrize("name", USAGE)
def test_wrong_use_is_one_line(name: str, case: Case, tmp_path: Path) -> None:
    options, message = USAGE[name]
    dest = tmp_path / "out.mp4"
    given = [str(case.dpo.key) if option == "KEY" else option for option in options]
    done = recover(case.clip, dest, *given)
    assert done.code == 2 and message in done.error_line
    assert not list(tmp_path.glob("out*")) and not audit.audit_path().exists()


@pytest.mark.parametrize("which", [0, 1, 2])
def test_nothing_is_replaced_unasked(which: int, case: Case, tmp_path: Path) -> None:
    dest = tmp_path / "out.mp4"
    path = (dest, manifest_path(dest), report_path(dest))[which]
    path.write_text("mine")
    done = recover(case.clip, dest, case.dpo)
    assert done.code == 2 and f"{path} exists" in done.error_line
    assert path.read_text() == "mine"
    assert recover(case.clip, dest, case.dpo, "--overwrite").code == 0
    assert path.stat().st_size > 100 and path.stat().st_mode & 0o777 == 0o600


def test_a_sidecar_of_another_clip(case: Case, tmp_path: Path) -> None:
    other = seal_clip({"dpo": [case.dpo.identity]}, epochs=1, seed=9)
    other.clip.write(tmp_path / "other.mp4", carrier="sidecar")
    clip, dest = tmp_path / "clip.mp4", tmp_path / "out.mp4"
    shutil.copyfile(case.clip, clip)
    options = (case.dpo, "--sidecar", tmp_path / "other.mp4.bauta")
    assert_refused(recover(clip, dest, *options), dest)
