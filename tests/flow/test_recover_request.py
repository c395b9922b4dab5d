"""`bauta recover --request`: exactly what was approved is opened, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pytest

from pipeline.evidence.group_record import EntryKind
from pipeline.recover.clip_records import read_clip
from pipeline.recover.manifest import manifest_path, report_path, sha256_of
from pipeline.recover_request import NOTHING
from pipeline.vault import audit
from pipeline.vault.identity import Identity
from pipeline.vault.opening import open_epoch
from pipeline.vault.package import Purpose, make_release
from pipeline.vault.request_file import utc_text, write_request
from pipeline.vault.signing import fingerprint
from support.evidence import STARTED_UTC_MS, a_service_key
from support.flow import Done, bauta
from support.recovered import Sealed, assert_same, new_identity, planes_in, seal_clip
from support.requests import a_request, console_key, write_console_pub, write_request_for

FRAMES = 8  # of an epoch
EXACT = ("--lossless", "--no-mark", "--json")


@dataclass(frozen=True)
class Case:
    """Two people whose faces overlap; three epochs in two sessions, the third of another person."""

    clip: Path
    first: Sealed
    second: Sealed
    people: dict[str, Identity]
    folder: Path
    epochs: tuple[bytes, ...]  # ids

    def key(self, name: str) -> tuple[str, Path]:
        return "--key", self.folder / f"{name}.key"


@pytest.fixture(autouse=True)
def state(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BAUTA_STATE", str(tmp_path / "state"))


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    folder = tmp_path_factory.mktemp("people")
    people = {name: new_identity(folder, name)[0] for name in ("dpo", "police", "other")}
    groups = {"dpo": [people["dpo"]], "police": [people["police"]]}
    first = seal_clip(groups, epochs=2, frames=FRAMES, overlap=True)
    packets = list(first.clip.packets)
    second = seal_clip(groups, epochs=1, frames=FRAMES, seed=5)
    first.clip.packets += second.clip.packets
    clip = first.clip.write(folder / "clip.mp4")
    first.clip.packets[:] = packets
    epochs = tuple(each.record.epoch_id for each in read_clip(clip).epochs)
    assert len(epochs) == 3
    return Case(clip, first, second, people, folder, epochs)


def recover(case: Case, dest: Path, request: Path, *options: str | Path) -> Done:
    return bauta("recover", case.clip, dest, "--request", request, *EXACT, *options)


def both(case: Case) -> tuple[str | Path, ...]:
    return (*case.key("dpo"), *case.key("police"))


def entries() -> list[dict[str, Any]]:
    path = audit.audit_path()
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def manifest_of(dest: Path) -> dict[str, Any]:
    return cast(dict[str, Any], json.loads(manifest_path(dest).read_bytes()))


def release(case: Case, maker: str, receiver: str, tracks: tuple[int, ...] | None) -> bytes:
    epochs = read_clip(case.clip).epochs
    purpose = Purpose(
        maker=case.people[maker],
        receiver=case.people[receiver].recipient,
        case="17/26",
        reason="approved",
        clip_sha256=sha256_of(case.clip),
    )
    keys = [open_epoch(each.record, identities=[case.people[maker]]) for each in epochs]
    present = {each.record.epoch_id: (1, 2) for each in epochs}
    return make_release(keys, maker, tracks, purpose, present=present)


def assert_shows(case: Case, dest: Path, tracks: Mapping[int, tuple[int, ...]]) -> None:
    """`tracks` by the number of the epoch; every pixel of every other is as in the clip."""
    protected, shown = planes_in(case.clip), planes_in(dest)
    assert len(shown) == len(protected) == 3 * FRAMES
    changed = 0
    for epoch in range(3):
        here = slice(epoch * FRAMES, (epoch + 1) * FRAMES)
        wanted = protected[here]
        if epoch in tracks:
            sealed = case.second if epoch == 2 else case.first
            at = 0 if epoch == 2 else epoch * FRAMES
            # all frames of the session are decoded: tile videos build on each other
            whole = protected[2 * FRAMES :] if epoch == 2 else protected[: 2 * FRAMES]
            wanted = sealed.expected(whole, tracks[epoch])[at : at + FRAMES]
            changed += any(
                (one.y != other.y).any() for one, other in zip(wanted, protected[here], strict=True)
            )
        for number, (one, other) in enumerate(zip(wanted, shown[here], strict=True)):
            assert_same(one, other, f"epoch {epoch} frame {number}")
    assert changed == len(tracks)


def test_exactly_the_pairs_of_the_selection_are_opened(case: Case, tmp_path: Path) -> None:
    """The keys open everything; track 1 is in all epochs, and in the last another person."""
    has_scene = any(
        entry.place.kind is EntryKind.SCENE
        for epoch in read_clip(case.clip).epochs
        for group in epoch.groups
        for entry in group.entries
    )
    assert has_scene
    chosen = {case.epochs[0]: frozenset({1}), case.epochs[1]: frozenset({2})}
    request = write_request_for(tmp_path / "r.bautareq", chosen)
    dest = tmp_path / "out.mp4"
    done = recover(case, dest, request, *both(case))
    assert done.code == 0, done.err
    assert_shows(case, dest, {0: (1,), 1: (2,)})
    assert done.result["scenes"] == 0 and done.result["tracks"] == [1, 2]
    assert done.result["gaps"] == []
    assert [note["epoch"] for note in manifest_of(dest)["epochs"]] == [
        epoch.hex() for epoch in case.epochs[:2]
    ]


def test_the_same_number_in_another_session(case: Case, tmp_path: Path) -> None:
    """Two people of one number may both be asked for; here the second alone is."""
    for chosen, shows in (([2], {2: (1,)}), ([1, 2], {1: (1,), 2: (1,)})):
        selection = {case.epochs[number]: frozenset({1}) for number in chosen}
        request = write_request_for(tmp_path / "r.bautareq", selection)
        dest = tmp_path / f"out{len(chosen)}.mp4"
        done = recover(case, dest, request, *both(case))
        assert done.code == 0, done.err
        assert_shows(case, dest, cast(Mapping[int, tuple[int, ...]], shows))


def test_no_secret_of_another_epoch_is_touched(
    case: Case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pipeline import recover_request

    opened = []

    def noting(record: Any, **given: Any) -> Any:
        opened.append(record.epoch_id)
        return open_epoch(record, **given)

    monkeypatch.setattr(recover_request, "open_epoch", noting)
    request = write_request_for(tmp_path / "r", {case.epochs[1]: frozenset({1})})
    assert recover(case, tmp_path / "out.mp4", request, *both(case)).code == 0
    assert opened == [case.epochs[1]]


# --- releases ---


def test_an_approvers_release_in_it_is_the_other_key(case: Case, tmp_path: Path) -> None:
    """It gives everybody; the selection is one person."""
    chosen = {case.epochs[0]: frozenset({2})}
    lock = write_request_for(
        tmp_path / "lock", chosen, releases=(release(case, "police", "dpo", None),)
    )
    dest = tmp_path / "out.mp4"
    done = recover(case, dest, lock, *case.key("dpo"))
    assert done.code == 0, done.err
    assert_shows(case, dest, {0: (2,)})
    assert done.result["request"] == {"id": "R-20261121-AB12", "verified": False, "lock": True}
    assert manifest_of(dest)["packages"][0]["what"] == "release"
    assert entries()[0]["request"]["approval"] == "lock"


@pytest.mark.parametrize("kind", ["none", "for another", "of another track"])
def test_a_missing_group_opens_nothing(kind: str, case: Case, tmp_path: Path) -> None:
    found = {
        "none": (),
        "for another": (release(case, "police", "other", None),),
        "of another track": (release(case, "police", "dpo", (2,)),),
    }[kind]
    request = write_request_for(tmp_path / "r", {case.epochs[0]: frozenset({1})}, releases=found)
    done = recover(case, tmp_path / "out.mp4", request, *case.key("dpo"))
    assert (done.code, done.error_line) == (1, f"bauta: {NOTHING}")
    assert not list(tmp_path.glob("out*"))
    assert len(entries()) == 1  # it was tried


def test_a_release_given_by_hand_counts_as_well(case: Case, tmp_path: Path) -> None:
    by_hand = tmp_path / "release"
    by_hand.write_bytes(release(case, "police", "dpo", (1,)))
    request = write_request_for(tmp_path / "r", {case.epochs[0]: frozenset({1, 2})})
    dest = tmp_path / "out.mp4"
    done = recover(case, dest, request, *case.key("dpo"), "--release", by_hand)
    assert done.code == 0, done.err
    assert_shows(case, dest, {0: (1,)})


# --- who signed it, and until when ---


def test_the_console_is_pinned(case: Case, tmp_path: Path) -> None:
    pub = write_console_pub(tmp_path / "console.pub")
    request = write_request_for(tmp_path / "r", {case.epochs[0]: frozenset({1})})
    dest = tmp_path / "out.mp4"
    done = recover(case, dest, request, *both(case), "--console", pub)
    assert done.code == 0 and "REQUEST" not in done.err
    note = manifest_of(dest)["request"]
    assert note["verdict"] == "REQUEST VERIFIED" and note["is_verified"]
    assert note["signer"] == fingerprint(console_key().public)
    assert (note["requested_by"], note["approved_by"]) == ("dana", "milo")
    assert (note["epochs"], note["epochs_in_clip"]) == (1, 1)
    page = report_path(dest).read_text()
    assert "REQUEST VERIFIED" in page and "approved by milo" in page
    assert "advice: no release" in page
    assert manifest_of(dest)["case"] == "17/26"
    (entry,) = entries()
    assert (entry["case"], entry["reason"]) == ("17/26", "theft, hall 3")
    assert entry["request"] == {
        "id": "R-20261121-AB12",
        "requested_by": "dana",
        "approved_by": "milo",
        "approval": "advice",
        "from": utc_text(STARTED_UTC_MS - 5000),
        "to": utc_text(STARTED_UTC_MS - 1),
        "signer": fingerprint(console_key().public),
        "verified": True,
        "sha256": sha256_of(request),
    }


def test_without_a_pin_it_says_so_everywhere(case: Case, tmp_path: Path) -> None:
    chosen = {case.epochs[0]: frozenset({1}), bytes(16): frozenset({1})}
    request = write_request_for(tmp_path / "r", chosen)
    dest = tmp_path / "out.mp4"
    done = recover(case, dest, request, *both(case))
    assert done.code == 0
    lines = [line for line in done.err.splitlines() if "ORIGIN" not in line]
    assert lines[0].startswith("bauta: REQUEST UNVERIFIED: ") and "--console" in lines[0]
    assert lines[1:] == [
        f"bauta: {case.clip} holds 1 of the 2 keyframe intervals that R-20261121-AB12 is about"
    ]
    assert manifest_of(dest)["request"]["verdict"] == "REQUEST UNVERIFIED"
    assert "REQUEST UNVERIFIED" in report_path(dest).read_text()
    assert entries()[0]["request"]["verified"] is False


def test_another_consoles_request_is_refused(case: Case, tmp_path: Path) -> None:
    pub = write_console_pub(tmp_path / "console.pub")
    chosen = {case.epochs[0]: frozenset({1})}
    request = write_request_for(tmp_path / "r", chosen, signer=a_service_key(3))
    done = recover(case, tmp_path / "out.mp4", request, *both(case), "--console", pub)
    assert done.code == 1 and "is not that console's request" in done.error_line
    assert not list(tmp_path.glob("out*")) and entries() == []


def test_an_expired_one_is_refused(case: Case, tmp_path: Path) -> None:
    expired = utc_text(STARTED_UTC_MS - 1000)
    chosen = {case.epochs[0]: frozenset({1})}
    old = a_request(approved_utc=utc_text(1), expires_utc=expired, selection=chosen)
    request = tmp_path / "r"
    request.write_bytes(write_request(old, console_key()))
    done = recover(case, tmp_path / "out.mp4", request, *both(case))
    assert done.code == 1 and f"expired at {expired}, and it is 20" in done.error_line
    assert not list(tmp_path.glob("out*")) and entries() == []


def test_an_altered_one_is_refused(case: Case, tmp_path: Path) -> None:
    request = write_request_for(tmp_path / "r", {case.epochs[0]: frozenset({1})})
    request.write_bytes(request.read_bytes().replace(b"[1]", b"[2]"))
    done = recover(case, tmp_path / "out.mp4", request, *both(case))
    assert done.code == 1
    assert done.error_line.endswith("a recovery request's signature does not fit: it was altered")
    assert not list(tmp_path.glob("out*")) and entries() == []


# --- wrong use ---


def test_a_clip_of_something_else_is_named(case: Case, tmp_path: Path) -> None:
    request = write_request_for(tmp_path / "r", {bytes(16): frozenset({1})})
    done = recover(case, tmp_path / "out.mp4", request, *both(case))
    assert done.code == 2
    assert "holds nothing that R-20261121-AB12 is about: that is camera gate-3" in done.error_line
    assert entries() == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--case", "1"), "--case is what"),
        (("--reason", "x"), "--reason is what"),
        (("--track", "0"), "--track is what"),
        (("--from", "0"), "--from is what"),
        (("--to", "9"), "--to is what"),
        (("--disclosure", "x"), "--disclosure is not for --request"),
        (("--in-band",), "--request is not for --in-band"),
    ],
)
def test_what_the_request_says_is_not_said_again(
    options: tuple[str, ...], told: str, case: Case, tmp_path: Path
) -> None:
    request = write_request_for(tmp_path / "r", {case.epochs[0]: frozenset({1})})
    exact = ("--json",) if "--in-band" in options else EXACT
    done = bauta(
        *("recover", case.clip, tmp_path / "out.mp4", "--request", request, *case.key("dpo")),
        *(*exact, *options),
    )
    assert done.code == 2 and told in done.error_line
    assert not list(tmp_path.glob("out*")) and entries() == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ((), "the following arguments are required: --case, --reason (or --request"),
        (("--case", "1"), "the following arguments are required: --reason (or --request"),
        (("--case", "1", "--reason", "x", "--console", "c"), "--console needs --request"),
    ],
)
def test_without_a_request(options: tuple[str, ...], told: str, case: Case, tmp_path: Path) -> None:
    done = bauta("recover", case.clip, tmp_path / "out.mp4", *case.key("dpo"), *options)
    assert done.code == 2 and told in done.error_line


@pytest.mark.parametrize("content", [None, b"", b"{}\n"])
def test_a_file_that_is_none(content: bytes | None, case: Case, tmp_path: Path) -> None:
    request = tmp_path / "r"
    if content is not None:
        request.write_bytes(content)
    done = recover(case, tmp_path / "out.mp4", request, *both(case))
    assert done.code == (2 if content is None else 1) and str(request) in done.error_line
