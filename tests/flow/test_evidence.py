"""Files protected with evidence, and what those who hold keys make of them. All parts are real."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipeline.evidence.sidecar_file import read_records
from pipeline.frames import YuvPlanes
from pipeline.recover.manifest import manifest_path
from pipeline.vault import audit
from support.clips import Clip, decode_all, make_clip
from support.evidence_flow import (
    CASE,
    EXACT,
    PASSPHRASE,
    Officer,
    assert_nothing_opened,
    audited,
    copied_to,
    crossing_clip,
    manifest_of,
    new_officer,
    opened_epochs,
    opened_faces,
    recover,
    recovered,
    sealed_faces,
    sealed_for,
    stream_of,
    verified,
    with_keys,
)
from support.flow import assert_no_face, bauta, protect, truth_service
from support.recovered import assert_same, inside, planes_in
from support.tiles import psnr_db

ENDINGS = (".mp4", ".mkv", ".ts")


@dataclass(frozen=True)
class Office:
    """Two groups and what they have to do with: nobody's key is ever given to `protect`."""

    state: Path
    dpo: Officer
    police: Officer
    lawyer: Officer

    @property
    def both(self) -> tuple[Officer, Officer]:
        return self.dpo, self.police

    @property
    def service(self) -> Path:
        return self.state / "service.pub"


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    folder = tmp_path_factory.mktemp("office")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("BAUTA_STATE", str(folder / "state"))
        patch.delenv("BAUTA_PASSPHRASE", raising=False)
        officers = [new_officer(folder, name) for name in ("dpo", "police", "lawyer")]
        yield Office(folder / "state", *officers)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Two people side by side; two keyframe intervals and a little."""
    path = tmp_path_factory.mktemp("clips") / "people.mp4"
    return make_clip(path, frames=21, fps=10, faces=2, face_px=64, size=(480, 270))


# --- there and back ---


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_all_faces_open_again_and_the_picture_is_none_the_worse(
    codec: str, office: Office, people: Clip, tmp_path: Path
) -> None:
    bare = tmp_path / "bare.mp4"
    protect(people.path, bare, "--codec", codec)
    pictures = planes_in(bare)
    for ending in ENDINGS:
        out, back = tmp_path / f"out{ending}", tmp_path / f"back{ending}"
        sealed = protect(people.path, out, "--codec", codec, *sealed_for(*office.both))["evidence"]
        assert sealed["epochs"] == 2 and sealed["alarm"] is None and not sealed["unsealed_frames"]

        found = planes_in(out)
        for one, other in zip(pictures, found, strict=True):
            assert_same(one, other)
        assert verified(out, office.service)["frames_without_record_at_end"] == 0
        result = recovered(out, back, *office.both, "--service", office.service, *EXACT)
        assert opened_faces(result) == sealed["faces"] == sealed_faces(out) == 2 * people.frames
        assert result["gaps"] == [] and result["recovered_frames"] == people.frames
        assert_shown(people, planes_in(back))
    assert_no_face(people, bare)
    # nobody opens it alone
    assert_nothing_opened(recover(out, tmp_path / "alone.mp4", office.dpo))
    assert_nothing_opened(recover(out, tmp_path / "alone.mp4", office.police, office.lawyer))


def assert_shown(clip: Clip, found: list[YuvPlanes], *, db: float = 35.0) -> None:
    """Every face as the camera had it."""
    for number, (camera, shown) in enumerate(zip(planes_in(clip.path), found, strict=True)):
        for box in clip.truth[number]:
            x1, y1, x2, y2 = (int(v) // 2 * 2 for v in box)
            place = x1, y1, x2, y2
            assert psnr_db(inside(camera, place).y, inside(shown, place).y) >= db, number


@pytest.mark.slow
@pytest.mark.parametrize("codec", ["h264", "h265"])
def test_a_sidecar_leaves_the_stream_as_it_was(
    codec: str, office: Office, people: Clip, tmp_path: Path
) -> None:
    bare, beside, both = (tmp_path / f"{name}.mp4" for name in ("bare", "beside", "both"))
    options = ("--codec", codec, *sealed_for(*office.both))
    protect(people.path, bare, "--codec", codec)
    protect(people.path, beside, "--evidence", "sidecar", *options)
    protect(people.path, both, "--evidence", "both", *options)

    assert stream_of(beside) == stream_of(bare)
    assert all(not records for _, records in stream_of(beside))
    twice = stream_of(both)
    assert [nals for nals, _ in twice] == [nals for nals, _ in stream_of(bare)]
    in_stream = [record for _, records in twice for record in records]
    assert read_records(sidecar_of(both)) == in_stream != []

    stripped = copied_to(both, tmp_path / "stripped.mkv", with_records=False)
    assert all(not records for _, records in stream_of(stripped))
    for clip, given in (
        (beside, ()),
        (both, ()),
        (both, ("--sidecar", sidecar_of(both))),
        (stripped, ("--sidecar", sidecar_of(both))),
    ):
        back = tmp_path / f"{clip.stem}-{len(given)}.mp4"
        result = recovered(clip, back, *office.both, *given)
        assert opened_faces(result) == 2 * people.frames and result["gaps"] == []
        assert verified(clip, office.service, *given)["whole"]
    assert_nothing_opened(recover(stripped, tmp_path / "none.mp4", *office.both))


def sidecar_of(clip: Path) -> Path:
    return Path(f"{clip}.bauta")


@pytest.mark.slow
def test_copied_and_cut_it_stays_whole(office: Office, people: Clip, tmp_path: Path) -> None:
    """From container to container and from an IDR picture on, as ffmpeg copies."""
    out = tmp_path / "out.mp4"
    protect(people.path, out, *sealed_for(*office.both))
    first, second = (item.epoch for item in opened_epochs(out))
    previous = out
    for ending in (".mkv", ".ts", ".mp4"):
        previous = copied_to(previous, tmp_path / f"copied{ending}")
        assert verified(previous, office.service)["whole"]
    cut = copied_to(out, tmp_path / "cut.ts", first=second.start)
    assert verified(cut, office.service)["whole"] and first.end == second.start
    for clip, frames in ((previous, people.frames), (cut, second.end - second.start)):
        result = recovered(clip, tmp_path / f"{clip.stem}-back.mp4", *office.both)
        assert opened_faces(result) == 2 * frames and result["gaps"] == []


@pytest.mark.slow
def test_a_key_behind_a_passphrase(people: Clip, tmp_path: Path, office: Office) -> None:
    guarded = new_officer(tmp_path, "court", passphrase=PASSPHRASE)
    assert b"AGE-SECRET-KEY" not in guarded.key.read_bytes()
    out = tmp_path / "out.mp4"
    protect(people.path, out, *sealed_for(office.dpo, guarded))
    result = recovered(out, tmp_path / "back.mp4", office.dpo, guarded)
    assert opened_faces(result) == 2 * people.frames
    forgotten = Officer("court", guarded.key, "something else")
    done = recover(out, tmp_path / "none.mp4", office.dpo, forgotten)
    assert done.code == 1 and "wrong passphrase" in done.error_line
    assert PASSPHRASE not in done.error_line and not (tmp_path / "none.mp4").exists()


# --- two people who overlap and cross ---


@dataclass(frozen=True)
class Meeting:
    """Of whom `tracks` has the numbers, in the order of the truth's boxes."""

    clip: Clip
    out: Path
    tracks: tuple[int, int]
    camera: list[YuvPlanes]
    protected: list[YuvPlanes]


@pytest.fixture(scope="module")
def meeting(office: Office, tmp_path_factory: pytest.TempPathFactory) -> Meeting:
    folder = tmp_path_factory.mktemp("meeting")
    clip, out = crossing_clip(folder / "crossing.mp4"), folder / "out.mp4"
    with truth_service(clip) as service, pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipeline.protect_command.build_service", lambda _: service)
        protect(clip.path, out, *sealed_for(*office.both))
    (opened,) = opened_epochs(out)
    places = [entry.place for entry in opened.epoch.groups[0].entries]
    # there, the one is on the left and the other on the right
    left, right = (place.track for place in sorted(places, key=lambda place: place.box_xywh_px))
    return Meeting(clip, out, (left, right), planes_in(clip.path), planes_in(out))


def box_of(clip: Clip, number: int, person: int) -> tuple[slice, slice]:
    x1, y1, x2, y2 = (int(v) for v in clip.truth[number][person])
    return slice(y1, y2), slice(x1, x2)


def assert_one_alone(meeting: Meeting, found: list[YuvPlanes], person: int) -> None:
    """That person as the camera had them, and of the other's face nothing at all."""
    other = 1 - person
    for number, (camera, hidden, shown) in enumerate(
        zip(meeting.camera, meeting.protected, found, strict=True)
    ):
        theirs = box_of(meeting.clip, number, other)
        assert np.array_equal(shown.y[theirs], hidden.y[theirs]), f"frame {number}"
        whole_cells = tuple(slice(s.start // 2, -(-s.stop // 2)) for s in theirs)
        for one, before in ((shown.u, hidden.u), (shown.v, hidden.v)):
            assert np.array_equal(one[whole_cells], before[whole_cells]), f"frame {number}"
        alone = np.zeros(shown.y.shape, np.bool_)
        alone[box_of(meeting.clip, number, person)] = True
        # cells of 2 x 2 pixels are given as a whole
        alone[tuple(slice(s.start - 1, s.stop + 1) for s in theirs)] = False
        assert alone.any()
        assert psnr_db(camera.y[alone], shown.y[alone]) >= 35, f"frame {number}"


def test_their_boxes_meet(meeting: Meeting) -> None:
    """Else the tests below prove nothing."""
    first, second = np.stack(meeting.clip.truth).transpose(1, 0, 2)
    assert first[0, 2] < second[0, 0] and first[-1, 0] > second[-1, 2]
    shared = np.minimum(first[:, 2:], second[:, 2:]) - np.maximum(first[:, :2], second[:, :2])
    assert ((shared > 20).all(axis=1)).sum() > 5
    assert meeting.tracks[0] != meeting.tracks[1]


@pytest.mark.slow
@pytest.mark.parametrize("person", [0, 1])
def test_a_disclosure_shows_one_of_two_who_cross(
    person: int, meeting: Meeting, office: Office, tmp_path: Path
) -> None:
    track = str(meeting.tracks[person])
    package = tmp_path / "one.disclosure"
    receiver = ("--for", office.lawyer.pub)
    made = with_keys(
        *("disclose", meeting.out, package, "--track", track, *receiver, *CASE), *office.both
    )
    assert made.code == 0, made.err
    seen, own = tmp_path / "seen.mp4", tmp_path / "own.mp4"
    result = recovered(meeting.out, seen, "--disclosure", package, office.lawyer, *EXACT)
    assert result["tracks"] == [int(track)] and result["scenes"] == 0 and result["gaps"] == []
    assert_one_alone(meeting, planes_in(seen), person)
    # those who hold all keys and ask for one person see the same
    result = recovered(meeting.out, own, "--track", track, *office.both, *EXACT)
    assert result["scenes"] == 0
    for one, other in zip(planes_in(seen), planes_in(own), strict=True):
        assert_same(one, other)
    asks_for_other = ("--track", str(meeting.tracks[1 - person]))
    none = tmp_path / "none.mp4"
    assert_nothing_opened(
        recover(meeting.out, none, "--disclosure", package, office.lawyer, *asks_for_other)
    )
    assert not none.exists()


@pytest.mark.slow
def test_all_keys_show_both_also_where_they_meet(
    meeting: Meeting, office: Office, tmp_path: Path
) -> None:
    back = tmp_path / "back.mp4"
    result = recovered(meeting.out, back, *office.both, *EXACT)
    assert result["scenes"] > 5 and result["gaps"] == []
    found = planes_in(back)
    assert_shown(meeting.clip, found)
    for number, (camera, shown) in enumerate(zip(meeting.camera, found, strict=True)):
        one, other = (meeting.clip.truth[number][person] for person in (0, 1))
        x1, y1 = np.maximum(one[:2], other[:2]).astype(int)
        x2, y2 = np.minimum(one[2:], other[2:]).astype(int)
        if min(x2 - x1, y2 - y1) >= 8:
            both = slice(y1, y2), slice(x1, x2)
            assert psnr_db(camera.y[both], shown.y[both]) >= 33, f"frame {number}"


# --- what does not open ---


@dataclass(frozen=True)
class Brief:
    """One key record and one group record, beside the clip."""

    clip: Path
    sidecar: bytes


@pytest.fixture(scope="module")
def brief(office: Office, tmp_path_factory: pytest.TempPathFactory) -> Brief:
    folder = tmp_path_factory.mktemp("brief")
    source = make_clip(folder / "source.mp4", frames=8, face_px=64, size=(320, 240))
    out = folder / "out.mp4"
    sealed = protect(source.path, out, "--evidence", "sidecar", *sealed_for(*office.both))
    assert sealed["evidence"]["faces"] == 8
    assert len(read_records(sidecar_of(out))) == 2
    return Brief(out, sidecar_of(out).read_bytes())


def test_a_bit_flipped_anywhere_opens_nothing(
    office: Office, brief: Brief, tmp_path: Path
) -> None:
    sidecar, none = tmp_path / "flipped.bauta", tmp_path / "none.mp4"
    given = ("--sidecar", sidecar, *office.both)
    sidecar.write_bytes(brief.sidecar)
    recovered(brief.clip, tmp_path / "back.mp4", *given)
    random = np.random.default_rng(3)
    begin = len(b"bauta/1 sidecar\n") + 4
    for at in sorted({begin, len(brief.sidecar) - 1, *random.integers(begin, len(brief.sidecar), 30)}):
        hurt = bytearray(brief.sidecar)
        hurt[at] ^= 1 << int(random.integers(8))
        sidecar.write_bytes(hurt)
        before = audit.audit_path().read_bytes().count(b"\n")
        done = recover(brief.clip, none, *given)
        assert_nothing_opened(done)
        assert audit.audit_path().read_bytes().count(b"\n") <= before + 1
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            *("back.mp4", "back.mp4.manifest.json", "back.mp4.report.html", "flipped.bauta")
        ], at


# --- the log ---


def test_the_log_holds_all_of_it_and_notices_one_byte(
    office: Office, brief: Brief, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAUTA_STATE", str(tmp_path / "state"))
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(brief.clip.read_bytes())
    sidecar_of(clip).write_bytes(brief.sidecar)
    whole, apart, seen = (tmp_path / f"{name}.mp4" for name in ("whole", "apart", "seen"))
    release, disclosure = tmp_path / "a.release", tmp_path / "a.disclosure"
    one = ("--track", "1", *CASE)

    recovered(clip, whole, *office.both)
    for_dpo, for_lawyer = ("--for", office.dpo.pub), ("--for", office.lawyer.pub)
    assert with_keys("keys", "release", clip, release, *one, *for_dpo, office.police).code == 0
    recovered(clip, apart, "--release", release, office.dpo)
    assert with_keys("disclose", clip, disclosure, *one, *for_lawyer, *office.both).code == 0
    recovered(clip, seen, "--disclosure", disclosure, office.lawyer)
    assert_nothing_opened(recover(clip, tmp_path / "none.mp4", office.police))

    log = audit.audit_path()
    entries = [json.loads(line) for line in log.read_bytes().splitlines()]
    done = ["recover", "release", "recover", "disclose", "recover", "recover"]
    assert [entry["action"] for entry in entries] == done
    assert [manifest_of(dest)["audit"]["count"] for dest in (whole, apart, seen)] == [1, 3, 5]
    manifests = [manifest_path(dest) for dest in (whole, apart, seen)]
    assert audited(*manifests).code == 0
    officers = [f"--officer={one.pub}" for one in (office.dpo, office.police, office.lawyer)]
    assert bauta("audit", "verify", *officers).code == 0
    assert bauta("audit", "verify", *officers[:2]).code == 1
    for text in (office.dpo.identity.secret, office.police.identity.secret):
        assert text not in log.read_text() + whole.with_suffix(".mp4.manifest.json").read_text()

    data = log.read_bytes()
    starts = [0, *itertools.accumulate(len(line) for line in data.splitlines(keepends=True))]
    for number, (begin, end) in enumerate(itertools.pairwise(starts), start=1):
        at = data.index(b"17/26", begin, end)
        log.write_bytes(data[:at] + b"18/26" + data[at + 5 :])
        told = audited()
        assert told.code == 1
        assert told.out.startswith(f"entry {number} ") and "was altered" in told.out
    last = data.splitlines(keepends=True)
    log.write_bytes(b"".join(last[:4]))
    assert audited().code == 0  # by itself nothing tells that its end is gone
    assert "entry 5 is missing" in audited(*manifests).out
