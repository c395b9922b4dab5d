"""Files protected with evidence, and what those who hold keys make of them. All parts are real."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from pipeline.evidence.sidecar_file import read_records
from pipeline.recover.manifest import manifest_path
from pipeline.vault import audit
from support.clips import Clip, make_clip
from support.evidence_flow import (
    CASE,
    EXACT,
    PASSPHRASE,
    Office,
    Officer,
    an_office,
    assert_nothing_opened,
    assert_shown_as_filmed,
    audited,
    copied_to,
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
from support.flow import assert_no_face, bauta, protect
from support.recovered import assert_same, planes_in

ENDINGS = (".mp4", ".mkv", ".ts")


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    with an_office(tmp_path_factory.mktemp("office")) as office:
        yield office


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Two people side by side; a keyframe interval and the beginning of the next."""
    path = tmp_path_factory.mktemp("clips") / "people.mp4"
    return make_clip(path, frames=24, fps=10, faces=2, face_px=64, size=(480, 270))


# --- there and back ---


@pytest.mark.slow
@pytest.mark.untimed
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
        assert opened_faces(result) == sealed["faces"] == sealed_faces(out)
        assert result["faces"] == 2 * people.frames  # besides what is nobody's
        assert result["gaps"] == [] and result["recovered_frames"] == people.frames
        assert_shown_as_filmed(people, planes_in(back))
    assert_no_face(people, bare)
    # nobody opens it alone
    assert_nothing_opened(recover(out, tmp_path / "alone.mp4", office.dpo))
    assert_nothing_opened(recover(out, tmp_path / "alone.mp4", office.police, office.lawyer))


@pytest.mark.slow
@pytest.mark.untimed
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
        assert result["faces"] == 2 * people.frames and result["gaps"] == []
        assert verified(clip, office.service, *given)["whole"]
    done = recover(stripped, tmp_path / "none.mp4", *office.both)
    assert done.code == 2 and "holds no records" in done.error_line


def sidecar_of(clip: Path) -> Path:
    return Path(f"{clip}.bauta")


@pytest.mark.slow
@pytest.mark.untimed
def test_copied_and_cut_it_stays_whole(office: Office, people: Clip, tmp_path: Path) -> None:
    """From container to container and from an IDR picture on, as ffmpeg copies."""
    out = tmp_path / "out.mp4"
    protect(people.path, out, *sealed_for(*office.both))
    first, second = (item.epoch for item in opened_epochs(out))
    previous = out
    for ending in (".mkv", ".ts", ".mp4"):
        previous = copied_to(previous, tmp_path / f"copied{ending}")
        assert verified(previous, office.service)["whole"]
    assert first.end == second.start
    cut = copied_to(out, tmp_path / "cut.ts", first=second.start)
    assert verified(cut, office.service)["whole"]
    for clip, frames in ((previous, people.frames), (cut, second.end - second.start)):
        result = recovered(clip, tmp_path / f"{clip.stem}-back.mp4", *office.both)
        assert result["faces"] == 2 * frames and result["gaps"] == []


@pytest.mark.slow
@pytest.mark.untimed
def test_lossless_is_the_camera_bit_by_bit(office: Office, people: Clip, tmp_path: Path) -> None:
    out, back = tmp_path / "out.mp4", tmp_path / "back.mp4"
    protect(people.path, out, "--detail", "lossless", *sealed_for(*office.both))
    recovered(out, back, *office.both, *EXACT)
    assert_shown_as_filmed(people, planes_in(back), db=math.inf)


@pytest.mark.slow
@pytest.mark.untimed
def test_a_key_behind_a_passphrase(people: Clip, tmp_path: Path, office: Office) -> None:
    guarded = new_officer(tmp_path, "court", passphrase=PASSPHRASE)
    assert b"AGE-SECRET-KEY" not in guarded.key.read_bytes()
    out = tmp_path / "out.mp4"
    protect(people.path, out, *sealed_for(office.dpo, guarded))
    result = recovered(out, tmp_path / "back.mp4", office.dpo, guarded)
    assert result["faces"] == 2 * people.frames
    forgotten = Officer("court", guarded.key, "something else")
    done = recover(out, tmp_path / "none.mp4", office.dpo, forgotten)
    assert done.code == 1 and "wrong passphrase" in done.error_line
    assert PASSPHRASE not in done.error_line and not (tmp_path / "none.mp4").exists()


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


def test_records_with_a_bit_flipped_or_cut_short_open_nothing(
    office: Office, brief: Brief, tmp_path: Path
) -> None:
    sidecar, none = tmp_path / "hurt.bauta", tmp_path / "none.mp4"
    given = ("--sidecar", sidecar, *office.both)
    sidecar.write_bytes(brief.sidecar)
    key_record, _ = read_records(sidecar)
    recovered(brief.clip, tmp_path / "back.mp4", *given)
    there = sorted(path.name for path in tmp_path.iterdir())
    random = np.random.default_rng(3)
    begin, length = len(b"bauta/1 sidecar\n") + 4, len(brief.sidecar)
    hurt = []
    for at in (begin, length - 1, *random.integers(begin, length, 30)):
        changed = bytearray(brief.sidecar)
        changed[at] ^= 1 << int(random.integers(8))
        hurt.append(bytes(changed))
    of_group = begin + len(key_record)
    hurt += [brief.sidecar[:end] for end in (length - 1, *random.integers(of_group, length, 8))]
    for data in hurt:
        sidecar.write_bytes(data)
        entries = lines_of_log()
        assert_nothing_opened(recover(brief.clip, none, *given))
        assert sorted(path.name for path in tmp_path.iterdir()) == there
        assert lines_of_log() - entries in (0, 1)  # none where there is nothing to try
    sidecar.write_bytes(brief.sidecar[: of_group - 1])  # anybody can see that none is left
    assert recover(brief.clip, none, *given).code == 2 and not none.exists()


def test_a_wrong_key_leaves_a_line_in_the_log_and_nothing_else(
    office: Office, brief: Brief, tmp_path: Path
) -> None:
    for given in ((office.lawyer,), (office.dpo,), (office.police, office.lawyer)):
        entries = lines_of_log()
        assert_nothing_opened(recover(brief.clip, tmp_path / "none.mp4", *given))
        assert lines_of_log() == entries + 1 and not list(tmp_path.iterdir())


def lines_of_log() -> int:
    return audit.audit_path().read_bytes().count(b"\n")


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
