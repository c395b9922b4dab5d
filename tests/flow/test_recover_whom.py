"""Whom `bauta recover` opens: never more people than those that were meant."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from pipeline.recover.clip_records import read_clip
from pipeline.recover.manifest import manifest_path, report_path, sha256_of
from pipeline.recover_request import NOTHING
from pipeline.vault import audit
from pipeline.vault.identity import Identity
from pipeline.vault.opening import open_epoch
from pipeline.vault.package import (
    Purpose,
    _made,
    make_disclosure,
    make_release,
    open_package,
)
from pipeline.vault.signing import fingerprint, officer_key
from support.flow import Done, bauta
from support.recovered import new_identity, seal_clip


@dataclass(frozen=True)
class Case:
    """Two people; two groups, of which one key each is needed; two epochs."""

    clip: Path
    people: dict[str, Identity]
    folder: Path

    def key(self, name: str) -> tuple[str, Path]:
        return "--key", self.folder / f"{name}.key"

    def purpose(self, maker: str, receiver: str, case: str = "16/26") -> Purpose:
        return Purpose(
            maker=self.people[maker],
            receiver=self.people[receiver].recipient,
            case=case,
            reason="asked for",
            clip_sha256=sha256_of(self.clip),
        )

    def release(
        self, path: Path, tracks: Sequence[int] | None, *, to: str = "dpo", case: str = "16/26"
    ) -> Path:
        epochs = read_clip(self.clip).epochs
        keys = [open_epoch(each.record, identities=[self.people["police"]]) for each in epochs]
        present = {each.record.epoch_id: (1, 2) for each in epochs}
        purpose = self.purpose("police", to, case)
        path.write_bytes(make_release(keys, "police", tracks, purpose, present=present))
        return path


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BAUTA_STATE", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Identity]]:
    folder = tmp_path_factory.mktemp("people")
    names = ("dpo", "police", "lawyer")
    return folder, {name: new_identity(folder, name)[0] for name in names}


@pytest.fixture(scope="module")
def one(people: tuple[Path, dict[str, Identity]]) -> Case:
    """One session."""
    folder, identities = people
    groups = {name: [identities[name]] for name in ("dpo", "police")}
    sealed = seal_clip(groups, faces=2, epochs=2, frames=8)
    return Case(sealed.clip.write(folder / "one.mp4"), identities, folder)


@pytest.fixture(scope="module")
def two(people: tuple[Path, dict[str, Identity]]) -> Case:
    """Two sessions, each of one epoch of 8 frames."""
    folder, identities = people
    groups = {name: [identities[name]] for name in ("dpo", "police")}
    sealed = seal_clip(groups, epochs=1, frames=8)
    sealed.clip.packets += seal_clip(groups, epochs=1, frames=8, seed=5).clip.packets
    return Case(sealed.clip.write(folder / "two.mp4"), identities, folder)


def recover(case: Case, dest: Path, *options: str | Path) -> Done:
    given = ("--case", "17/26", "--reason", "a test", "--json")
    return bauta("recover", case.clip, dest, *given, *options)


def entries() -> list[dict[str, Any]]:
    path = audit.audit_path()
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def manifest_of(dest: Path) -> dict[str, Any]:
    return cast(dict[str, Any], json.loads(manifest_path(dest).read_bytes()))


# --- one number, two people ---

TWO_PEOPLE = (
    "bauta: track 1 is in 2 sessions of this clip (0:00.0–0:00.2, 0:00.3–0:00.6), which are "
    "different people: give --from and --to inside one"
)


def test_a_track_of_two_sessions_is_refused(two: Case, tmp_path: Path) -> None:
    dest = tmp_path / "out.mp4"
    keys = (*two.key("dpo"), *two.key("police"))
    done = recover(two, dest, *keys, "--track", "1")
    assert done.code == 2 and done.error_line == TWO_PEOPLE
    assert not list(tmp_path.glob("out*")) and entries() == []
    done = recover(two, dest, *keys, "--track", "1", "--from", "0.33")
    assert done.code == 0 and done.result["recovered_frames"] == 7
    # everybody is everybody
    done = recover(two, tmp_path / "all.mp4", *keys)
    assert done.code == 0 and done.result["recovered_frames"] == 16


def test_a_release_of_two_sessions_is_refused(two: Case, tmp_path: Path) -> None:
    release, dest = two.release(tmp_path / "release", [1]), tmp_path / "out.mp4"
    given = (*two.key("dpo"), "--release", release)
    done = recover(two, dest, *given)
    assert done.code == 2 and done.error_line == TWO_PEOPLE
    done = recover(two, dest, *given, "--to", "0.3")
    assert done.code == 0 and done.result["recovered_frames"] == 8


def test_a_disclosure_opens_one_session(two: Case, tmp_path: Path) -> None:
    """Of both it is refused; of one it needs no times."""
    officers = [two.people["dpo"], two.people["police"]]
    keys = [open_epoch(e.record, identities=officers) for e in read_clip(two.clip).epochs]
    both, second = tmp_path / "both", tmp_path / "second"
    both.write_bytes(make_disclosure(keys, 1, two.purpose("dpo", "lawyer")))
    second.write_bytes(make_disclosure(keys[1:], 1, two.purpose("dpo", "lawyer")))
    dest = tmp_path / "out.mp4"
    done = recover(two, dest, *two.key("lawyer"), "--disclosure", both)
    assert done.code == 2 and done.error_line == TWO_PEOPLE
    done = recover(two, dest, *two.key("lawyer"), "--disclosure", second)
    assert done.code == 0 and done.result["recovered_frames"] == 8


# --- packages never open more than they are about ---


def test_releases_of_different_tracks_are_not_everybody(one: Case, tmp_path: Path) -> None:
    first = one.release(tmp_path / "a", [1])
    second = one.release(tmp_path / "b", [2])
    given = (*one.key("dpo"), *one.key("police"), "--release", first, "--release", second)
    dest = tmp_path / "out.mp4"
    done = recover(one, dest, *given)
    assert done.code == 2 and "about different tracks" in done.error_line
    assert not list(tmp_path.glob("out*")) and entries() == []
    done = recover(one, dest, *given, "--track", "2")
    assert done.code == 0 and done.result["tracks"] == [2]


@pytest.mark.parametrize("track", [(), ("--track", "1")])
def test_a_release_of_nobody_opens_nothing(
    track: tuple[str, ...], one: Case, tmp_path: Path
) -> None:
    """Whatever secrets are in it."""
    full = one.release(tmp_path / "full", None, to="police")

    found = list(open_package(full.read_bytes(), one.people["police"]).epochs.values())
    empty = tmp_path / "empty"
    empty.write_bytes(_made("release", found, (), one.purpose("police", "dpo")))
    dest = tmp_path / "out.mp4"
    done = recover(one, dest, *one.key("dpo"), "--release", empty, *track)
    wanted = (1, NOTHING) if track else (2, "or about none")
    assert done.code == wanted[0] and wanted[1] in done.error_line
    assert not list(tmp_path.glob("out*"))


@pytest.mark.parametrize("how", ["--release", "--disclosure"])
def test_a_package_that_stays_closed_is_not_everybody(
    how: str, one: Case, people: tuple[Path, dict[str, Identity]], tmp_path: Path
) -> None:
    """The keys would open all of the clip by themselves."""
    alone = seal_clip({"dpo": [one.people["dpo"]]}, epochs=1, frames=8)
    case = Case(alone.clip.write(tmp_path / "alone.mp4"), one.people, one.folder)
    foreign = one.release(tmp_path / "release", [1], to="lawyer")
    dest = tmp_path / "out.mp4"
    done = recover(case, dest, *case.key("dpo"), how, foreign)
    assert done.code == 1 and done.error_line == f"bauta: {NOTHING}"
    assert not list(tmp_path.glob("out*"))


def test_a_package_of_one_track_holds_no_other(one: Case, tmp_path: Path) -> None:

    full = one.release(tmp_path / "full", None, to="police")
    found = list(open_package(full.read_bytes(), one.people["police"]).epochs.values())
    narrow = tmp_path / "narrow"
    narrow.write_bytes(_made("release", found, (1,), one.purpose("police", "dpo")))
    given = (*one.key("dpo"), "--release", narrow)
    done = recover(one, tmp_path / "other.mp4", *given, "--track", "2")
    assert done.code == 1 and done.error_line == f"bauta: {NOTHING}"
    done = recover(one, tmp_path / "out.mp4", *given)
    assert done.code == 0 and done.result["tracks"] == [1]


# --- who made a package: whoever signed it ---


def test_texts_of_a_package_are_its_makers_words(one: Case, tmp_path: Path) -> None:
    evil = "\x1b[31m\n\x9b\u202e\ud800"
    release = one.release(tmp_path / "release", [1], case=evil)
    dest = tmp_path / "out.mp4"
    done = recover(one, dest, *one.key("dpo"), "--release", release)
    assert done.code == 0, done.err
    told = manifest_path(dest).read_text()
    assert all(letter.isprintable() or letter == "\n" for letter in told)
    (note,) = manifest_of(dest)["packages"]
    maker = fingerprint(officer_key(one.people["police"]).public)
    assert note["case"] == evil and note["maker_signing"] == maker
    claimed = one.people["police"].recipient.public
    page = report_path(dest).read_text()
    assert claimed not in told + page and f"signed by {maker}, who says: case" in page
    (entry,) = entries()
    (logged,) = entry["packages"]
    assert logged["maker"] == maker
    assert (entry["origin_verified"], entry["service"]) == (False, None)
