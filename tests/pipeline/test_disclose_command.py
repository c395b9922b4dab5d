"""`bauta disclose` and `bauta keys release` on clips with sealed records."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import support.evidence
from pipeline.evidence.group_record import EntryKind
from pipeline.recover.clip_records import ClipRecords, read_clip
from pipeline.vault import audit
from pipeline.vault.epoch_keys import open_entry
from pipeline.vault.identity import Identity, create_identity
from pipeline.vault.opening import open_epoch
from pipeline.vault.package import Package, open_package
from pipeline.vault.signing import fingerprint, officer_key, public_line
from support.evidence import Walk, a_service_key, flipped, make_evidence, make_evidence_clip
from support.flow import Done, bauta
from support.people import group_of

# three epochs of 20 frames at 25 a second: 0, 0.8 and 1.6 s
WALKS = (
    Walk(1, 0, 59, (20, 20, 40, 48)),
    Walk(2, 0, 25, (60, 20, 40, 48)),
    Walk(1, 0, 59, (30, 20, 20, 20), kind=EntryKind.SCENE),
)
CASE = ("--case", "117/26", "--reason", "court order")


@dataclass(frozen=True)
class Scene:
    """A folder with keys and a clip, sealed for the dpo and two of three of the police."""

    folder: Path
    clip: Path
    people: dict[str, Identity]

    def path(self, name: str) -> Path:
        return self.folder / name

    def keys(self, *names: str) -> list[str]:
        return [part for name in names for part in ("--key", f"{self.folder}/{name}.key")]

    def disclose(self, *names: str, more: tuple[str | Path, ...] = ("--track", "2")) -> Done:
        dest = self.path("x.disclosure")
        receiver = self.path("lawyer.pub")
        return bauta(
            "disclose", self.clip, dest, *self.keys(*names), *more, "--for", receiver, *CASE
        )

    def release(self, *names: str, more: tuple[str | Path, ...] = (), to: str = "dpo") -> Done:
        dest, receiver = self.path("x.release"), self.path(f"{to}.pub")
        return bauta(
            *("keys", "release", self.clip, dest),
            *(*self.keys(*names), *more, "--for", receiver, *CASE),
        )

    def package(self, name: str, receiver: str) -> Package:
        return open_package(self.path(name).read_bytes(), self.people[receiver])

    def entries(self) -> list[dict[str, Any]]:
        path = audit.audit_path()
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


@pytest.fixture
def scene(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Scene:
    monkeypatch.setenv("BAUTA_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("BAUTA_PASSPHRASE", raising=False)
    names = ("dpo", "p1", "p2", "p3", "lawyer", "stranger")
    people = {name: create_identity(tmp_path / f"{name}.key", None) for name in names}
    police = [people[name] for name in ("p1", "p2", "p3")]
    groups = [group_of("dpo", [people["dpo"]]), group_of("police", police, 2)]
    monkeypatch.setattr(support.evidence, "recipient_groups", lambda _: groups)
    made = make_evidence_clip(tmp_path / "clip.mp4", tracks=WALKS)
    made.write_public(tmp_path / "service.pub")
    return Scene(tmp_path, tmp_path / "clip.mp4", people)


def opened(
    clip: ClipRecords, package: Package, *identities: Identity
) -> dict[int, set[tuple[str, int]]]:
    """Epoch to (kind, track) of the entries that really open."""
    found: dict[int, set[tuple[str, int]]] = {}
    for number, epoch in enumerate(clip.epochs):
        keys = open_epoch(epoch.record, identities=identities, packages=[package])
        for group in epoch.groups:
            for entry in group.entries:
                key = keys.key_for(entry.place.kind, entry.place.track)
                if key is not None:
                    plain = open_entry(key, keys.context, group.head, entry)
                    assert plain.startswith(b"no picture")
                    found.setdefault(number, set()).add((entry.place.kind.name, entry.place.track))
    return found


def test_one_person_for_a_third_party(scene: Scene) -> None:
    more = ("--track", "2", "--service", scene.path("service.pub"))
    done = scene.disclose("dpo", "p1", "p3", more=more)
    assert done.code == 0 and not done.err
    dest = scene.path("x.disclosure")
    assert "track 2 in 2 of 2 keyframe intervals" in done.out
    assert scene.people["lawyer"].recipient.public in done.out
    assert dest.stat().st_mode & 0o777 == 0o600
    package = scene.package("x.disclosure", "lawyer")
    clip = read_clip(scene.clip)
    assert opened(clip, package) == {0: {("FACE", 2)}, 1: {("FACE", 2)}}
    assert (package.case, package.reason, package.clip_sha256) == (
        *("117/26", "court order"),
        hashlib.sha256(scene.clip.read_bytes()).hexdigest(),
    )
    (entry,) = scene.entries()
    assert audit.verify(audit.audit_path()) == 1
    signers = [officer_key(scene.people[name]) for name in ("dpo", "p1", "p3")]
    assert entry["opened_by"] == [fingerprint(key.public) for key in signers]
    assert entry["signer"].split()[1] in scene.path("dpo.pub").read_text()
    assert (entry["action"], entry["clip"], entry["clip_sha256"]) == (
        *("disclose", "clip.mp4"),
        package.clip_sha256,
    )
    assert (entry["tracks"], entry["from_seconds"], entry["to_seconds"]) == ([2], 0.0, None)
    assert (entry["case"], entry["reason"]) == ("117/26", "court order")
    assert (entry["groups"], entry["epochs"]) == (["dpo", "police"], 2)
    assert entry["receiver"] == scene.people["lawyer"].recipient.public
    assert entry["package_sha256"] == hashlib.sha256(dest.read_bytes()).hexdigest()
    for secret in (one.secret for one in scene.people.values()):
        assert secret not in done.out + audit.audit_path().read_text()


@pytest.mark.parametrize(
    ("span", "epochs"),
    [
        ((), {0, 1, 2}),
        (("--from", "0.9"), {1, 2}),
        (("--to", "0.7"), {0}),
        (("--from", "0.7", "--to", "0.9"), {0, 1}),
        (("--from", "0:01", "--to", "0:01"), {1}),
        (("--from", "100"), {2}),
    ],
)
def test_the_time_that_was_asked_for(scene: Scene, span: tuple[str, ...], epochs: set[int]) -> None:
    done = scene.disclose("dpo", "p1", "p2", more=("--track", "1", *span))
    assert done.code == 0, done.err
    found = opened(read_clip(scene.clip), scene.package("x.disclosure", "lawyer"))
    assert set(found) == epochs and set().union(*found.values()) == {("FACE", 1)}


@pytest.mark.parametrize("names", [("dpo",), ("p1", "p2"), ("dpo", "p1"), ("stranger",)])
def test_without_all_groups_nothing_is_written(scene: Scene, names: tuple[str, ...]) -> None:
    done = scene.disclose(*names)
    assert done.code == 1 and "nothing opened" in done.error_line
    assert not scene.path("x.disclosure").exists() and scene.entries() == []


def test_a_release_for_another_groups_officer(scene: Scene) -> None:
    done = scene.release("p2", "p3", more=("--track", "2"))
    assert done.code == 0 and "what police has of tracks 2 in 2 of 2" in done.out
    package = scene.package("x.release", "dpo")
    assert (package.what, package.tracks) == ("release", (2,))
    assert package.maker_public == officer_key(scene.people["p2"]).public
    clip = read_clip(scene.clip)
    assert opened(clip, package) == {}
    both = {0: {("FACE", 2)}, 1: {("FACE", 2)}}
    assert opened(clip, package, scene.people["dpo"]) == both
    (entry,) = scene.entries()
    assert (entry["action"], entry["tracks"], entry["groups"]) == ("release", [2], ["police"])
    signers = [officer_key(scene.people[name]) for name in ("p2", "p3")]
    assert entry["opened_by"] == [fingerprint(key.public) for key in signers]
    # with it the dpo alone discloses
    more = ("--track", "2", "--release", scene.path("x.release"))
    assert scene.disclose("dpo", more=more).code == 0
    assert opened(clip, scene.package("x.disclosure", "lawyer")) == both
    entry = scene.entries()[-1]
    assert entry["releases_by"] == [fingerprint(package.maker_public)]
    assert entry["opened_by"] == [fingerprint(officer_key(scene.people["dpo"]).public)]
    assert audit.verify(audit.audit_path()) == 2
    # but not another person
    done = scene.disclose("dpo", more=("--track", "1", *more[2:], "--overwrite"))
    assert done.code == 1 and "nothing opened" in done.error_line


def test_a_release_of_everything(scene: Scene) -> None:
    done = scene.release("dpo", to="p1")
    assert done.code == 0 and "what dpo has of all tracks in 3 of 3" in done.out
    package = scene.package("x.release", "p1")
    police = [scene.people["p1"], scene.people["p2"]]
    faces, scenes = {("FACE", 1), ("FACE", 2)}, {("SCENE", 1)}
    found = opened(read_clip(scene.clip), package, *police)
    assert found == {0: faces | scenes, 1: faces | scenes, 2: {("FACE", 1)} | scenes}
    assert scene.entries()[0]["tracks"] == "all"


def test_fewer_than_the_threshold_release_nothing(scene: Scene) -> None:
    for names in (("p1",), ("p1", "stranger")):
        done = scene.release(*names)
        assert done.code == 1 and "nothing opened" in done.error_line
    assert not scene.path("x.release").exists() and scene.entries() == []


def test_keys_of_several_groups_say_which(scene: Scene) -> None:
    done = scene.release("dpo", "p1", "p2")
    assert done.code == 2 and "dpo, police: say one with --group" in done.error_line
    done = scene.release("dpo", "p1", "p2", more=("--group", "police"))
    assert done.code == 0 and "what police has" in done.out
    signers = [officer_key(scene.people[name]).public for name in ("p1", "p2")]
    assert scene.package("x.release", "dpo").maker_public == signers[0]
    assert scene.entries()[-1]["opened_by"] == [fingerprint(signer) for signer in signers]
    done = scene.release("dpo", more=("--group", "police", "--overwrite"))
    assert done.code == 1 and "nothing opened" in done.error_line


def test_where_the_log_cannot_be_written_nothing_is(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene.path("blocked").write_text("")
    monkeypatch.setenv("BAUTA_STATE", str(scene.path("blocked") / "state"))
    for done in (scene.disclose("dpo", "p1", "p2"), scene.release("dpo")):
        assert done.code == 1 and "cannot be written" in done.error_line
    assert not scene.path("x.disclosure").exists() and not scene.path("x.release").exists()


def test_what_exists_is_not_replaced_unasked(scene: Scene) -> None:
    dest = scene.path("x.disclosure")
    dest.write_text("mine")
    dest.chmod(0o644)
    done = scene.disclose("dpo", "p1", "p2")
    assert done.code == 2 and "add --overwrite" in done.error_line
    assert dest.read_text() == "mine" and scene.entries() == []
    assert scene.disclose("dpo", "p1", "p2", more=("--track", "2", "--overwrite")).code == 0
    assert scene.package("x.disclosure", "lawyer").what == "disclosure"
    assert dest.stat().st_mode & 0o777 == 0o600
    assert not [path for path in scene.folder.iterdir() if path.name.endswith(".part")]


@pytest.mark.parametrize("name", ["clip.mp4", "dpo.key", "lawyer.pub"])
def test_what_is_read_is_never_written_over(scene: Scene, name: str) -> None:
    before = scene.path(name).read_bytes()
    keys = scene.keys("dpo", "p1", "p2")
    more = ("--track", "2", "--for", str(scene.path("lawyer.pub")), *CASE, "--overwrite")
    done = bauta("disclose", scene.clip, scene.path(name), *keys, *more)
    assert done.code == 2 and "is what is read" in done.error_line
    assert scene.path(name).read_bytes() == before


def test_a_sidecar_does_as_well(scene: Scene) -> None:
    make_evidence_clip(scene.path("bare.mp4"), tracks=WALKS, carrier="sidecar")
    bare = Scene(scene.folder, scene.path("bare.mp4"), scene.people)
    assert bare.disclose("dpo", "p1", "p2").code == 0
    entry = scene.entries()[-1]
    beside = scene.path("bare.mp4.bauta")
    assert entry["sidecar_sha256"] == hashlib.sha256(beside.read_bytes()).hexdigest()
    beside.rename(scene.path("elsewhere"))
    done = bare.disclose("dpo", "p1", "p2", more=("--track", "2", "--overwrite"))
    assert done.code == 2 and "nothing is sealed there" in done.error_line
    more = ("--track", "2", "--overwrite", "--sidecar", scene.path("elsewhere"))
    assert bare.disclose("dpo", "p1", "p2", more=more).code == 0


WRONG: dict[str, tuple[tuple[str, ...], int, str]] = {
    "no such person": (("--track", "9"), 2, "nothing is sealed there of what was asked for"),
    "nobody at that time": (("--track", "2", "--from", "1.7"), 2, "nothing is sealed there"),
    "backwards": (("--track", "2", "--from", "2", "--to", "1"), 2, "must not be later"),
    "no track": ((), 2, "--track"),
    "a secret key for the receiver": (("--track", "2", "--for", "{}/dpo.key"), 2, "a secret key"),
    "no receiver": (("--track", "2", "--for", "{}/none.pub"), 2, "No such file"),
    "no release": (("--track", "2", "--release", "{}/none"), 2, "No such file"),
    "a release that is none": (("--track", "2", "--release", "{}/dpo.pub"), 1, "for none of the"),
    "an empty case": (("--track", "2", "--case", " "), 2, "must say something"),
    "no sidecar": (("--track", "2", "--sidecar", "{}/none"), 2, "No such file"),
}


@pytest.mark.parametrize("what", WRONG)
def test_wrong_use_is_one_line(scene: Scene, what: str) -> None:
    options, code, message = WRONG[what]
    given = [option.format(scene.folder) for option in options]
    keys = scene.keys("dpo", "p1", "p2")
    given = ["--for", str(scene.path("lawyer.pub")), *CASE, *given]
    done = bauta("disclose", scene.clip, scene.path("x.disclosure"), *keys, *given)
    assert done.code == code and message in done.error_line
    assert not scene.path("x.disclosure").exists() and scene.entries() == []


def test_a_disclosure_is_no_release(scene: Scene) -> None:
    assert scene.disclose("dpo", "p1", "p2").code == 0
    disclosed = scene.path("x.disclosure").rename(scene.path("y"))
    done = scene.disclose("lawyer", more=("--track", "2", "--release", disclosed))
    assert done.code == 2 and "only a release" in done.error_line


# --- whose the clip is ---


def hand_on(scene: Scene, how: str, *more: str | Path) -> Done:
    """Track 2, by the keys that are needed for it."""
    given = ("--track", "2", *more)
    if how == "disclose":
        return scene.disclose("dpo", "p1", "p2", more=given)
    return scene.release("dpo", more=given, to="p1")


@pytest.mark.parametrize("how", ["disclose", "release"])
def test_the_origin_is_judged_as_recover_does(scene: Scene, how: str) -> None:
    done = hand_on(scene, how)
    assert done.code == 0 and "ORIGIN UNVERIFIED" in done.error_line
    service = scene.path("service.pub")
    done = hand_on(scene, how, "--service", service, "--overwrite")
    assert done.code == 0 and not done.err
    unsure, sure = scene.entries()
    assert (unsure["origin_verified"], unsure["service"]) == (False, None)
    known = fingerprint(a_service_key().public)
    assert (sure["origin_verified"], sure["service"]) == (True, known)
    stranger = scene.path("other.pub")
    stranger.write_text(public_line(a_service_key(7).public))
    done = hand_on(scene, how, "--service", stranger, "--overwrite")
    assert done.code == 2 and "not as the service signs it" in done.error_line
    assert len(scene.entries()) == 2


@pytest.mark.parametrize("how", ["disclose", "release"])
def test_epochs_of_another_service_are_left_out(scene: Scene, how: str) -> None:
    made = make_evidence(tracks=WALKS, epochs=1)
    forged = make_evidence(tracks=WALKS, epochs=1, service_key=a_service_key(7), seed=3)
    made.packets += forged.packets
    made.write(scene.clip)
    done = hand_on(scene, how, "--service", scene.path("service.pub"))
    assert done.code == 0 and "in 1 of 1 keyframe intervals" in done.out
    assert "left out: 1 keyframe interval" in done.error_line
    name, receiver = ("x.disclosure", "lawyer") if how == "disclose" else ("x.release", "p1")
    (epoch_id,) = scene.package(name, receiver).epochs
    assert epoch_id == made.key_records()[0].epoch_id


@pytest.mark.parametrize("how", ["disclose", "release"])
def test_groups_that_nobody_signed_name_no_track(scene: Scene, how: str) -> None:
    made = make_evidence(tracks=WALKS)
    for at in made.where("group")[:3]:  # all of the first epoch
        made.packets[at].records[-1] = flipped(made.packets[at].records[-1], -1)
    made.write(scene.clip)
    done = hand_on(scene, how)
    assert done.code == 0 and "in 1 of 1 keyframe intervals" in done.out
    done = hand_on(scene, how, "--to", "0.7", "--overwrite")
    assert done.code == 2 and "nothing is sealed there" in done.error_line


def test_a_key_record_that_nobody_signed_is_not_used(scene: Scene) -> None:
    made = make_evidence(tracks=WALKS, epochs=1)
    made.packets[0].records[0] = flipped(made.packets[0].records[0], -1)
    made.write(scene.clip)
    done = scene.release("dpo")
    assert done.code == 2 and "not as the service signs it" in done.error_line


# --- one number, two people ---


@pytest.mark.parametrize("how", ["disclose", "release"])
@pytest.mark.parametrize("cut", [False, True])
def test_a_track_of_two_sessions_is_two_people(scene: Scene, how: str, cut: bool) -> None:
    """Also where the second is cut out of the middle of its session."""
    made, other = make_evidence(tracks=WALKS, epochs=1), make_evidence(tracks=WALKS, seed=4)
    made.packets += other.packets[20:] if cut else other.packets[:20]
    made.write(scene.clip)
    done = hand_on(scene, how)
    assert done.code == 2 and done.error_line == (
        "bauta: track 2 is in 2 sessions of this clip (0:00.0–0:00.7, 0:00.8–0:01.5), which are "
        "different people: give --from and --to inside one"
    )
    assert scene.entries() == [] and not list(scene.folder.glob("x.*"))
    done = hand_on(scene, how, "--from", "0.9", "--to", "1.5")
    assert done.code == 0 and "in 1 of 1 keyframe intervals" in done.out
    assert hand_on(scene, how, "--to", "0.7", "--overwrite").code == 0


# --- names from anybody ---

EVIL = "dpo\x1b[31m\x07\n\x9b2J\u202e"


def test_names_do_not_steer_the_terminal(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    groups = [group_of(EVIL, [scene.people["dpo"]]), group_of("x\x9b31m", [scene.people["p1"]])]
    monkeypatch.setattr(support.evidence, "recipient_groups", lambda _: groups)
    make_evidence_clip(scene.clip, tracks=WALKS)
    for done in (
        scene.disclose("stranger"),
        scene.disclose("dpo", "p1"),
        scene.release("dpo"),
        scene.release("dpo", "p1", more=("--overwrite",)),
        scene.release("dpo", more=("--for", "no\x1b[31m\udcff", "--overwrite")),
    ):
        told = done.out + done.err
        assert told and all(letter.isprintable() or letter == "\n" for letter in told)
        assert len(told.splitlines()) <= 2
    assert "what dpo?[31m???2J? has" in scene.release("dpo", more=("--overwrite",)).out
