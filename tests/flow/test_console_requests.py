"""From asking to the face: the commands at a real console, and the officer's own machine."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline.recover.manifest import manifest_path
from pipeline.vault import audit
from pipeline.vault.request_file import read_request
from pipeline.vault.signing import load_public
from support.console import PEOPLE, Console, running_console
from support.flow import Done, bauta
from support.index import START_MS
from support.recorded import CAMERA, FRAMES, LATER_MS, LENGTH_MS, Recorded, record
from support.recovered import assert_same, inside, planes_in
from support.tiles import psnr_db

START = "2026-11-18T11:06:40.000+00:00"
END = "2026-11-18T11:06:40.639+00:00"
WHOLE = ("--camera", CAMERA, "--from", START, "--to", END)
CASE = ("--case", "17/26", "--reason", "theft, hall 3")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Console, Recorded]]:
    folder = tmp_path_factory.mktemp("site")
    recorded = record(folder / "recordings")
    with running_console(folder, recorded=False, cameras=()) as console:
        yield console, recorded


@pytest.fixture
def console(site: tuple[Console, Recorded]) -> Console:
    return site[0]


@pytest.fixture
def recorded(site: tuple[Console, Recorded]) -> Recorded:
    return site[1]


@pytest.fixture
def say(console: Console, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A command by one of the console's people."""

    def call(who: str, *command: str | Path, as_json: bool = True) -> Done:
        monkeypatch.setenv("BAUTA_PASSWORD", PEOPLE[who].password)
        more = ("--json",) if as_json else ()
        return bauta(*command, "--server", console.origin, "--user", who, *more)

    return call


def done(result: Done) -> Any:
    assert result.code == 0, result.err
    return json.loads(result.out)


@pytest.mark.slow
@pytest.mark.untimed
def test_from_asking_to_the_face(
    console: Console, recorded: Recorded, say: Any, tmp_path: Path
) -> None:
    """Two people; one is asked for, with the approver's release. Nobody else is shown."""
    people = done(say("guard", "recordings", "people", "--camera", CAMERA, "--sort", "time"))
    asked = {one["track"]: one["id"] for one in people["people"] if one["start_ms"] < LATER_MS}
    assert people["total"] == 3 and set(asked) == {1, 2}
    new = done(say("guard", "requests", "new", *WHOLE, "--person", str(asked[2]), *CASE))
    assert (new["state"], new["may"]) == ("pending", ["withdraw", "clip"])

    # the approver looks at it, and gives what only they have, for this person and officer
    clip = tmp_path / "clip.mp4"
    done(say("chief", "requests", "clip", new["id"], clip))
    release = tmp_path / "two.release"
    made = bauta(
        *("keys", "release", clip, release, "--key", recorded.approver_key, "--track", "2"),
        *("--for", recorded.key.with_suffix(".pub"), *CASE),
    )
    assert made.code == 0, made.err
    approved = done(
        say("chief", "requests", "approve", new["id"], "--release", release, "--note", "yes")
    )
    assert (approved["state"], approved["is_lock"]) == ("approved", True)
    shown = say("chief", "requests", "show", new["id"], as_json=False)
    assert "carries a key release (unchecked until the officer opens it)" in shown.out

    # the officer's machine: a clip, a file, a key
    done(say("guard", "requests", "file", new["id"], tmp_path))
    done(say("guard", "requests", "clip", new["id"], clip, "--overwrite"))
    file, pub = tmp_path / f"{new['id']}.bautareq", console.plan.own_dir / "console.pub"
    request, signer = read_request(file.read_bytes())
    assert signer == load_public(pub)
    assert request.selection == dict.fromkeys(recorded.epochs[:2], frozenset({2}))
    dest = tmp_path / "opened.mp4"
    opened = bauta(
        *("recover", clip, dest, "--request", file, "--console", pub, "--key", recorded.key),
        *("--lossless", "--no-mark", "--json"),
    )
    assert opened.code == 0, opened.err
    assert opened.result["tracks"] == [2] and opened.result["gaps"] == []
    assert opened.result["request"] == {"id": new["id"], "verified": True, "lock": True}

    # every pixel: the recording with the one person's tiles in it
    (sealed, _), protected, shown = recorded.sealed, planes_in(recorded.first), planes_in(dest)
    assert len(shown) == 2 * FRAMES
    for number, wanted in enumerate(sealed.expected(protected, [2])):
        assert_same(wanted, shown[number], f"frame {number}")
        boxes, original = sealed.boxes[number], sealed.originals[number]
        assert psnr_db(inside(shown[number], boxes[2]).y, inside(original, boxes[2]).y) > 35
        assert psnr_db(inside(shown[number], boxes[1]).y, inside(original, boxes[1]).y) < 20

    told = [json.loads(line) for line in audit.audit_path().read_text().splitlines()]
    assert [
        (one["action"], one["user"])
        for one in told
        if one["action"] in ("request", "approve", "request-file")
    ] == [("request", "guard"), ("approve", "chief"), ("request-file", "guard")]
    assert told[-1]["action"] == "recover" and told[-1]["request"]["id"] == new["id"]
    manifest = json.loads(manifest_path(dest).read_bytes())
    assert manifest["request"]["approved_by"] == "chief"
    assert manifest["audit"]["count"] == len(told)
    assert bauta("audit", "verify", "--manifest", manifest_path(dest)).code == 0


def ask(say: Any) -> str:
    people = done(say("guard", "recordings", "people", "--camera", CAMERA))["people"]
    first = min(people, key=lambda one: (one["start_ms"], one["track"]))
    new = say("guard", "requests", "new", *WHOLE, "--person", str(first["id"]), *CASE)
    return str(done(new)["id"])


def test_an_approval_without_a_release_is_advice(say: Any) -> None:
    asked = ask(say)
    said = say("chief", "requests", "approve", asked, as_json=False)
    assert said.code == 0 and "this approval is advice" in said.error_line
    assert "  state:        approved\n" in said.out and "you may:      file, clip" in said.out


def test_refusing_and_withdrawing(say: Any) -> None:
    refused, withdrawn = ask(say), ask(say)
    assert done(say("chief", "requests", "refuse", refused, "--note", "no"))["state"] == "refused"
    assert done(say("guard", "requests", "withdraw", withdrawn))["state"] == "withdrawn"
    listed = done(say("guard", "requests", "list", "--state", "refused"))["requests"]
    assert refused in {one["id"] for one in listed} and {one["state"] for one in listed} == {
        "refused"
    }
    said = say("chief", "requests", "approve", refused)
    assert said.code == 1
    assert said.error_line == (
        f"bauta: {refused} is refused: only a pending request can be approved"
    )
    table = say("chief", "requests", "list", as_json=False).out.splitlines()
    heads = "id state camera start length people case who asks until"
    assert table[0].split() == heads.split()
    assert any(line.startswith(f"{withdrawn}  withdrawn  {CAMERA}") for line in table)
    assert "note:         no" in say("guard", "requests", "show", refused, as_json=False).out


@pytest.mark.parametrize(
    ("who", "command", "told"),
    [
        ("chief", ("show", "R-AAAAAAAA"), "there is no such request"),
        ("looker", ("new", *WHOLE, "--person", "1", *CASE), "role"),
        ("guard", ("new", *WHOLE, "--person", "99", *CASE), "there is no person 99"),
        ("guard", ("approve", "R-AAAAAAAA"), "role"),
    ],
)
def test_what_is_not_allowed_is_one_line(
    who: str, command: tuple[str, ...], told: str, say: Any
) -> None:
    said = say(who, "requests", *command)
    assert said.code == 1 and said.out == "" and told in said.error_line


def test_a_file_only_of_approved_ones(say: Any, tmp_path: Path) -> None:
    asked = ask(say)
    said = say("guard", "requests", "file", asked, tmp_path)
    assert said.code == 1 and "only an approved one has a file" in said.error_line
    assert list(tmp_path.iterdir()) == []


# --- recordings ---


def test_recordings(say: Any, recorded: Recorded) -> None:
    (day,) = done(say("guard", "recordings", "days"))["days"]
    assert [(one["id"], one["people"]) for one in day["cameras"]] == [(CAMERA, 3)]
    span = ("--camera", CAMERA, "--from", START, "--to", "2026-11-18T11:07:00+00:00")
    segments = done(say("guard", "recordings", "list", *span))["segments"]
    assert [one["start_ms"] for one in segments] == [START_MS, LATER_MS]
    assert all(one["evidence"] for one in segments)
    shown = say("guard", "recordings", "list", *span, as_json=False).out.splitlines()
    assert len(shown) == 3 and shown[1].split()[-2:] == ["h264", "yes"]
    people = say("guard", "recordings", "people", "--limit", "2", as_json=False).out
    assert people.splitlines()[-1] == "2 of 3; more with --limit N"


def test_pages_of_people_are_joined(say: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("pipeline.client_commands.LARGEST_PAGE", 2)
    found = done(say("guard", "recordings", "people"))
    assert len({one["id"] for one in found["people"]}) == 3 and found["next"] is None


def test_an_export(say: Any, recorded: Recorded, tmp_path: Path) -> None:
    made = done(say("chief", "recordings", "export", tmp_path, *WHOLE))
    path = Path(made["dest"])
    assert path.parent == tmp_path and path.suffix == ".mp4"
    assert path.stat().st_mode & 0o777 == 0o600
    assert made["start_ms"] == START_MS and made["end_ms"] == START_MS + LENGTH_MS
    for one, other in zip(planes_in(path), planes_in(recorded.first), strict=True):
        assert_same(one, other)
    again = say("chief", "recordings", "export", path, *WHOLE)
    assert again.code == 2 and again.error_line.endswith("add --overwrite to replace it")
    into = say("chief", "recordings", "export", tmp_path, *WHOLE)
    assert into.code == 2 and "exists" in into.error_line
    other = say("chief", "recordings", "export", tmp_path / "a.zip", *WHOLE)
    assert other.code == 2 and "is a .mp4 file; name it so" in other.error_line
    assert sorted(tmp_path.iterdir()) == [path]


def test_cameras(say: Any) -> None:
    """There are recordings of one, and no live pictures."""
    (camera,) = done(say("guard", "cameras"))
    assert (camera["id"], camera["state"]) == (CAMERA, "recorded")
    assert say("guard", "cameras", as_json=False).out.splitlines()[1].split()[:2] == [
        CAMERA,
        "recorded",
    ]


def test_a_wrong_password(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BAUTA_PASSWORD", "not the password")
    said = bauta("cameras", "--server", console.origin, "--user", "guard")
    assert said.code == 1  # the console, which runs here as well, has logged it
    assert said.err.splitlines()[-1] == "bauta: the name or the password is wrong"
    assert "not the password" not in said.err


def test_the_session_ends_with_the_command(console: Console, say: Any) -> None:
    from sqlalchemy import func, select

    from pipeline.review.store.tables import SESSIONS

    done(say("guard", "cameras"))
    with console.database() as database, database.read() as connection:
        assert connection.execute(select(func.count()).select_from(SESSIONS)).scalar() == 0
