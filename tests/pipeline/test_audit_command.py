from __future__ import annotations

import json
from pathlib import Path

import pyrage
import pytest

from pipeline.vault import audit
from pipeline.vault.audit import Head
from pipeline.vault.identity import Identity
from pipeline.vault.signing import SigningKey, fingerprint, officer_key, public_line
from support.flow import bauta

REASON = "court order 4 Js 12"


@pytest.fixture(autouse=True)
def log(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("BAUTA_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "120")
    return audit.audit_path()


def new_officer(tmp_path: Path, name: str) -> SigningKey:
    """With NAME.pub as `bauta keys new` leaves it."""
    key = officer_key(Identity(str(pyrage.x25519.Identity.generate())))
    (tmp_path / f"{name}.pub").write_text(f"age1…\n{public_line(key.public)}\n", encoding="utf-8")
    return key


@pytest.fixture
def officer(tmp_path: Path) -> SigningKey:
    return new_officer(tmp_path, "dpo")


def entry(n: int, **more: object) -> dict[str, object]:
    return {
        "action": "recover",
        "clip": f"lobby_{n}.mp4",
        "case": f"{n}/26",
        "reason": REASON,
        "user": "jane",
        "tracks": [n, n + 1],
        **more,
    }


def fill(log: Path, officer: SigningKey | None, count: int = 3) -> list[Head]:
    return [audit.append(log, entry(n), officer) for n in range(1, count + 1)]


def manifest(path: Path, head: Head) -> Path:
    said = {"audit": {"count": head.count, "hash": head.hash}, "case": "1/26"}
    path.write_text(json.dumps(said))
    return path


# --- show ---


def test_the_table(log: Path, officer: SigningKey) -> None:
    fill(log, officer, 1)
    audit.append(log, entry(2, tracks="all"))
    done = bauta("audit", "show")
    assert done.code == 0 and not done.err
    head, one, reason, signed, two, _, unsigned = (line.rstrip() for line in done.out.splitlines())
    assert head.split() == ["n", "time", "(UTC)", "action", "clip", "tracks", "case", "who"]
    time = json.loads(log.read_text().splitlines()[0])["time"][:19].split("T")
    assert one.split() == ["1", *time, "recover", "lobby_1.mp4", "1,", "2", "1/26", "jane"]
    assert reason.strip() == REASON
    assert signed.strip() == f"signed by {fingerprint(officer.public)}"
    assert two.split()[5] == "all" and unsigned.strip() == "unsigned"
    assert [line.index("recover") for line in (one, two)] == [head.index("action")] * 2


@pytest.mark.parametrize("columns", ["20", "40", "80"])
def test_a_narrow_terminal(
    columns: str, log: Path, officer: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Folded, and nothing is lost."""
    monkeypatch.setenv("COLUMNS", columns)
    clip = "a_long_name_of_a_clip_from_the_lobby.mp4"
    audit.append(log, entry(1, clip=clip), officer)
    done = bauta("audit", "show")
    start = done.out.splitlines()[0].index("clip")
    shown = "".join(line[start:].split("  ")[0] for line in done.out.splitlines()[1:])
    assert shown.startswith(clip)
    assert max(map(len, done.out.splitlines())) <= max(int(columns), 60)
    for letters in ("1/26", "jane"):
        assert letters in done.out


def test_one_case_and_the_newest(log: Path, officer: SigningKey) -> None:
    fill(log, officer, 4)
    audit.append(log, entry(9, case="2/26"), officer)

    def shown(*options: str) -> list[int]:
        entries = bauta("audit", "show", "--json", *options).result["entries"]
        return [line["n"] for line in entries]

    assert shown() == [1, 2, 3, 4, 5]
    assert shown("--case", " 2/26 ") == [2, 5]
    assert shown("--last", "2") == [4, 5]
    assert shown("--last", "1", "--case", "2/26") == [5]
    assert shown("--last", "99") == [1, 2, 3, 4, 5]
    assert shown("--case", "none") == []
    assert "no recovery of the case none" in bauta("audit", "show", "--case", "none").out


def test_as_json(log: Path, officer: SigningKey) -> None:
    head = fill(log, officer)[-1]
    result = bauta("audit", "show", "--json", "--last", "1").result
    assert result["audit"] == {"count": head.count, "hash": head.hash}
    assert result["whole"] is True and result["faults"] == []
    (last,) = result["entries"]
    assert last["hash"] == head.hash and last["state"] == "signed" and last["tracks"] == [3, 4]
    assert last["signed_by"] == fingerprint(officer.public)


def test_an_empty_log(log: Path) -> None:
    done = bauta("audit", "show")
    assert done.code == 0 and "no recovery is logged" in done.out
    assert bauta("audit", "show", "--json").result["audit"] is None
    done = bauta("audit", "verify")
    assert done.code == 0 and "no entry" in done.out
    assert not log.parent.exists()  # looking leaves nothing behind


def test_a_log_that_is_not_whole_is_shown_and_that_is_said(log: Path, officer: SigningKey) -> None:
    fill(log, officer, 4)
    lines = log.read_bytes().splitlines(keepends=True)
    lines[1] = lines[1].replace(b"2/26", b"7/26")
    lines[2] = b"\xff\n"
    log.write_bytes(b"".join(lines))
    done = bauta("audit", "show")
    assert done.code == 0 and "NOT as it was written: entry 2 (" in done.error_line
    assert "SIGNATURE WRONG" in done.out and "DAMAGED" in done.out and "4/26" in done.out
    assert done.out.count("signed by") == 2  # a signature that does not fit is nobody's
    entries = json.loads(bauta("audit", "show", "--json").out)["entries"]
    states = [line["state"] for line in entries]
    assert states == ["signed", "wrong signature", "damaged", "signed"]
    assert entries[1]["signed_by"] is None


def test_what_is_shown_cannot_steer_the_terminal(log: Path) -> None:
    odd = "x\x1b[2J\u202e[bold]\udc80\n"
    audit.append(log, entry(1, clip=odd, reason=odd, case=odd, action=odd, user=5, tracks={"a": 1}))
    out = bauta("audit", "show").out
    assert "\x1b" not in out and "\u202e" not in out and "\udc80" not in out
    assert r"x\x1b[2J\u202e[bold]\udc80\n" in out


# --- verify ---


def test_a_whole_log(log: Path, tmp_path: Path, officer: SigningKey) -> None:
    audit.append(log, entry(0))
    heads = fill(log, officer)
    files = [manifest(tmp_path / f"{head.count}.manifest.json", head) for head in heads]
    manifests = [word for file in files for word in ("--manifest", str(file))]
    done = bauta("audit", "verify", *manifests, "--officer", tmp_path / "dpo.pub")
    assert done.code == 0 and not done.err
    first, signed, unsigned = done.out.splitlines()
    assert first.startswith(f"{log}: whole, 4 entries, the last of ")
    assert first.endswith(f"head {heads[-1].hash}")
    assert signed == f"signed by {fingerprint(officer.public)}: 3 entries"
    assert unsigned == "entry 1 is unsigned; signed entries that follow bind them"
    assert "unsigned: 1" in bauta("audit", "verify").out.splitlines()


def test_one_edited_byte(log: Path, officer: SigningKey) -> None:
    fill(log, officer)
    log.write_bytes(log.read_bytes().replace(b"lobby_2", b"lobby_8"))
    done = bauta("audit", "verify")
    time = json.loads(log.read_bytes().splitlines()[1])["time"]
    fault, verdict = done.out.splitlines()
    assert done.code == 1 and not done.err
    assert fault == f"entry 2 ({time}) was altered: its signature does not fit"
    assert "NOT as it was written" in verdict


def test_cut_off_and_rewritten(log: Path, tmp_path: Path, officer: SigningKey) -> None:
    heads = fill(log, officer)
    last, first = manifest(tmp_path / "b.json", heads[2]), manifest(tmp_path / "a.json", heads[0])
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:2]))
    done = bauta("audit", "verify", "--manifest", first, "--manifest", last)
    assert done.code == 1 and len(done.out.splitlines()) == 2
    assert f"{last}: entry 3 is missing from the log: it ends after entry 2, cut off" in done.out
    log.unlink()
    assert bauta("audit", "verify").code == 0
    done = bauta("audit", "verify", "--manifest", last)
    assert done.code == 1 and "it is empty, cut off" in done.out
    fill(log, officer)
    done = bauta("audit", "verify", "--manifest", last)
    assert done.code == 1 and "the log was rewritten" in done.out


def test_nobody_but_the_officers_may_sign(log: Path, tmp_path: Path, officer: SigningKey) -> None:
    other = new_officer(tmp_path, "police")
    fill(log, officer, 2)
    audit.append(log, entry(3), other)
    audit.append(log, entry(4))
    assert bauta("audit", "verify").code == 0
    done = bauta("audit", "verify", "--officer", tmp_path / "dpo.pub")
    assert done.code == 1
    stranger, tail, _ = done.out.splitlines()
    assert stranger.startswith(f"entry 3 is signed by {fingerprint(other.public)}, which is none")
    assert tail.startswith("entry 4 is unsigned, and no officer")
    both = ("--officer", tmp_path / "dpo.pub", "--officer", tmp_path / "police.pub")
    done = bauta("audit", "verify", *both)
    assert done.code == 1 and done.out.startswith("entry 4 is unsigned")
    audit.append(log, entry(5), officer)
    assert bauta("audit", "verify", *both).code == 0


NO_MANIFEST = {
    "no JSON": "{",
    "no object": "[]",
    "nothing of the log": "{}",
    "no head": '{"audit": 5}',
    "no count": '{"audit": {"hash": "' + "0" * 64 + '"}}',
    "a count below 1": '{"audit": {"count": 0, "hash": "' + "0" * 64 + '"}}',
    "no hash": '{"audit": {"count": 1, "hash": "abc"}}',
    "deep": "[" * 50_000,
    "not text": "\xff\xfe\x00",
}


@pytest.mark.parametrize("case", NO_MANIFEST)
def test_a_file_that_is_no_manifest(case: str, tmp_path: Path) -> None:
    file = tmp_path / "m.json"
    file.write_bytes(NO_MANIFEST[case].encode("latin-1"))
    done = bauta("audit", "verify", "--manifest", file)
    assert done.code == 2 and "is no manifest of a recovery" in done.error_line


WRONG = {
    "no action": (("audit",), "required"),
    "no manifest": (("audit", "verify", "--manifest", "{}/none.json"), "No such file"),
    "no officer": (("audit", "verify", "--officer", "{}/none.pub"), "No such file"),
    "no public key": (("audit", "verify", "--officer", "{}/age.pub"), "ssh-ed25519"),
    "none at all": (("audit", "show", "--last", "0"), "from 1 on"),
    "no number": (("audit", "show", "--last", "two"), "from 1 on"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_use_is_one_line(case: str, tmp_path: Path) -> None:
    arguments, message = WRONG[case]
    (tmp_path / "age.pub").write_text("age1\n")
    done = bauta(*(argument.format(tmp_path) for argument in arguments))
    assert done.code == 2 and message in done.error_line


@pytest.mark.parametrize("action", ["show", "verify"])
def test_a_log_that_cannot_be_read_is_one_line(action: str, log: Path) -> None:
    log.mkdir(parents=True)
    done = bauta("audit", action)
    assert done.code == 1 and done.error_line.startswith(f"bauta: the audit log {log}")
