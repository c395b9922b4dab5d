from __future__ import annotations

import contextlib
import fcntl
import json
import multiprocessing
import os
import resource
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from io import FileIO
from pathlib import Path

import pyrage
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import VaultError
from pipeline.recover.log import log_recovery
from pipeline.vault import audit, audit_check, audit_line
from pipeline.vault.audit import Head
from pipeline.vault.audit_line import line_hash, parse_line
from pipeline.vault.identity import Identity
from pipeline.vault.signing import SigningKey, fingerprint, officer_key, public_line

ENTRIES = 5
NOBODY = 65534


def new_officer() -> SigningKey:
    return officer_key(Identity(str(pyrage.x25519.Identity.generate())))


@pytest.fixture(scope="module")
def officer() -> SigningKey:
    return new_officer()


def entry(n: int) -> dict[str, object]:
    return {"action": "recover in-band", "case": f"{n}/26", "reason": 'a "reason", ünïcode'}


def fill(path: Path, signer: SigningKey | None, count: int = ENTRIES) -> list[Head]:
    return [audit.append(path, entry(n), signer) for n in range(1, count + 1)]


def fill_older(path: Path, count: int) -> None:
    """As the versions before numbers and signatures wrote it."""
    before = audit.FIRST
    with path.open("ab") as file:
        for n in range(1, count + 1):
            fields = {**entry(n), "time": f"2026-01-0{n}T10:00:00.000+00:00", "before": before}
            line = json.dumps(fields, sort_keys=True, ensure_ascii=True).encode("ascii")
            before = line_hash(line)
            file.write(line + b"\n")


def add_many(path: str, count: int, secret: str) -> None:
    signer = officer_key(Identity(secret))
    for n in range(count):
        audit.append(Path(path), entry(n), signer)


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def first_fault(log: bytes, heads: Mapping[str, Head] | None = None) -> str:
    """The first of an examined log; it must not be whole."""
    faults = audit_check.examine(log, heads=heads).faults
    assert faults
    assert all("\n" not in fault for fault in faults)
    return faults[0]


# --- what is written ---


def test_every_line_is_numbered_signed_and_bound(tmp_path: Path, officer: SigningKey) -> None:
    path = tmp_path / "state" / "deep" / "audit.jsonl"
    assert audit.verify(path) == 0
    heads = fill(path, officer)
    assert audit.verify(path, signers=[officer.public]) == ENTRIES
    lines = [json.loads(line) for line in lines_of(path)]
    assert [line["n"] for line in lines] == [head.count for head in heads] == [1, 2, 3, 4, 5]
    assert [line["before"] for line in lines] == [audit.FIRST, *(head.hash for head in heads[:-1])]
    assert [line["case"] for line in lines] == [f"{n}/26" for n in range(1, 6)]
    assert all(line["time"].endswith("+00:00") for line in lines)
    assert {line["signer"] for line in lines} == {public_line(officer.public)}
    assert path.stat().st_mode & 0o077 == 0 and path.parent.stat().st_mode & 0o077 == 0


def test_without_a_key_a_line_says_so(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, None, 1)
    line = json.loads(path.read_text())
    assert line["signer"] is None and line["signature"] is None
    assert audit.check(path).unsigned == (1,)


def test_what_is_signed_is_what_the_page_says(tmp_path: Path, officer: SigningKey) -> None:
    """Checked with nothing of ours but the line itself: docs/audit.md."""
    from base64 import b64decode

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    path = tmp_path / "audit.jsonl"
    fill(path, officer, 1)
    fields = json.loads(path.read_text())
    signature = b64decode(fields.pop("signature"))
    signed = b"bauta/1 audit\n" + json.dumps(fields, sort_keys=True).encode("ascii")
    public = b64decode(fields["signer"].split()[1])[-32:]
    Ed25519PublicKey.from_public_bytes(public).verify(signature, signed)


@pytest.mark.parametrize("field", sorted(audit_line.RESERVED))
def test_what_a_line_says_itself_cannot_be_given(field: str, tmp_path: Path) -> None:
    with pytest.raises(VaultError, match=f"sets {field} itself"):
        audit.append(tmp_path / "audit.jsonl", {field: "x"})


@pytest.mark.parametrize("value", [float("inf"), float("nan"), b"x", {1: 1, "a": 2}])
def test_what_is_no_json_is_refused(value: object, tmp_path: Path, officer: SigningKey) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, officer, 1)
    with pytest.raises(VaultError, match="cannot be written as JSON"):
        audit.append(path, {"x": value}, officer)
    assert audit.verify(path) == 1


def test_a_recovery_is_logged_with_what_it_was_made_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, officer: SigningKey
) -> None:
    monkeypatch.setenv("BAUTA_STATE", str(tmp_path / "state"))
    clip = tmp_path / "clip.mp4"
    clip.write_bytes(b"a clip")
    head = log_recovery("recover", clip=clip, sidecar=clip, signer=officer, case="17/26")
    assert head == audit.check(audit.audit_path(), signers=[officer.public]).head
    log_recovery("recover", clip=clip, sidecar=None, case="18/26")
    one, two = (json.loads(line) for line in lines_of(audit.audit_path()))
    assert one["clip"] == "clip.mp4" and one["case"] == "17/26" and one["user"]
    assert one["clip_sha256"] == one["sidecar_sha256"] == line_hash(b"a clip")
    assert two["sidecar_sha256"] is None and two["signer"] is None


# --- what was changed is named ---


def test_no_byte_can_be_changed(tmp_path: Path, officer: SigningKey) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, officer)
    log = bytearray(path.read_bytes())
    place = 1
    for at, byte in enumerate(log):
        log[at] = byte ^ (1 << at % 7)
        fault = first_fault(bytes(log))
        log[at] = byte
        assert fault.startswith(f"entry {place} "), (at, fault)
        assert "was altered" in fault
        place += byte == ord("\n")
    assert not audit_check.examine(bytes(log)).faults


def test_no_byte_of_unsigned_entries_can_be_changed_but_the_last(tmp_path: Path) -> None:
    """Nothing follows the last one: a manifest binds it."""
    path = tmp_path / "audit.jsonl"
    head = fill(path, None)[-1]
    log = bytearray(path.read_bytes())
    for at, byte in enumerate(log):
        log[at] = byte ^ 1
        assert "entry" in first_fault(bytes(log), heads={"m.json": head})
        log[at] = byte


SIGNED_AND_NOT = pytest.mark.parametrize("signed", [True, False])


@SIGNED_AND_NOT
@pytest.mark.parametrize("place", range(1, ENTRIES + 1))
def test_a_removed_entry_is_named(
    place: int, signed: bool, tmp_path: Path, officer: SigningKey
) -> None:
    path = tmp_path / "audit.jsonl"
    head = fill(path, officer if signed else None)[-1]
    lines = lines_of(path)
    del lines[place - 1]
    fault = first_fault(b"".join(lines), heads={"m.json": head})
    if place == ENTRIES:
        assert fault.startswith("m.json: entry 5 is missing") and fault.endswith("cut off")
    else:
        assert fault.startswith(f"entry {place} was removed: entry {place + 1} (")
        assert json.loads(lines[place - 1])["time"] in fault


def test_several_removed_entries_are_named(tmp_path: Path, officer: SigningKey) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, officer)
    lines = lines_of(path)
    fault = first_fault(b"".join([lines[0], *lines[3:]]))
    assert fault.startswith("entries 2-3 were removed: entry 4 (") and "after entry 1 (" in fault


@SIGNED_AND_NOT
@pytest.mark.parametrize("place", range(1, ENTRIES))
def test_swapped_neighbours_are_named(
    place: int, signed: bool, tmp_path: Path, officer: SigningKey
) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, officer if signed else None)
    lines = lines_of(path)
    lines[place - 1], lines[place] = lines[place], lines[place - 1]
    time = json.loads(lines[place])["time"]
    fault = f"entry {place} ({time}) was moved: entry {place + 1} stands before it"
    assert first_fault(b"".join(lines)) == fault


@SIGNED_AND_NOT
@pytest.mark.parametrize("copied", range(ENTRIES))
def test_an_inserted_copy_is_named(
    copied: int, signed: bool, tmp_path: Path, officer: SigningKey
) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, officer if signed else None)
    for at in range(ENTRIES + 1):
        lines = lines_of(path)
        lines.insert(at, lines[copied])
        # beside its original either of them is the copy: the second is named
        place = at + 2 if at == copied else at + 1
        fault = first_fault(b"".join(lines))
        assert fault.startswith(f"entry {place} (") and "was inserted" in fault, (at, fault)


def test_a_cut_off_end_is_noticed_by_the_manifest_alone(
    tmp_path: Path, officer: SigningKey
) -> None:
    path = tmp_path / "audit.jsonl"
    heads = fill(path, officer)
    lines = lines_of(path)
    for kept in range(ENTRIES):
        path.write_bytes(b"".join(lines[:kept]))
        assert audit.verify(path, signers=[officer.public]) == kept
        for head in heads[:kept]:
            assert audit.verify(path, heads={"m.json": head}) == kept
        with pytest.raises(VaultError, match=rf"m\.json: entry {ENTRIES} is missing .* cut off"):
            audit.verify(path, heads={"m.json": heads[-1]})


def test_a_log_without_its_last_line_feed(tmp_path: Path, officer: SigningKey) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, officer, 2)
    fault = first_fault(path.read_bytes()[:-1])
    assert fault.startswith("entry 2 (") and fault.endswith("the end of its line is missing")


def test_a_rewritten_log_is_noticed_by_manifest_and_officer(
    tmp_path: Path, officer: SigningKey
) -> None:
    """Whoever can write the file can make a whole log of it under a key of their own."""
    thief = new_officer()
    head = fill(tmp_path / "old.jsonl", officer)[2]
    path = tmp_path / "audit.jsonl"
    fill(path, thief)
    assert audit.verify(path) == ENTRIES
    with pytest.raises(VaultError, match=r"m\.json: entry 3 .* another one: the log was rewritten"):
        audit.verify(path, heads={"m.json": head})
    report = audit.check(path, signers=[officer.public])
    assert report.faults == (
        f"entries 1-5 are signed by {fingerprint(thief.public)}, which is none of the officers",
    )


def test_an_entry_exchanged_by_its_officer_is_named(tmp_path: Path, officer: SigningKey) -> None:
    """Both signatures fit; the hash does not."""
    path, other = tmp_path / "audit.jsonl", tmp_path / "other.jsonl"
    fill(path, officer)
    fill(other, officer, 1)
    other.write_bytes(lines_of(path)[0])
    audit.append(other, entry(9), officer)
    lines = lines_of(path)
    lines[1] = lines_of(other)[1]
    fault = first_fault(b"".join(lines))
    assert fault.startswith("entry 2 (") and "altered or exchanged" in fault


@pytest.mark.parametrize("place", range(1, ENTRIES))
def test_an_altered_unsigned_entry_is_named(place: int, tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, None)
    lines = lines_of(path)
    lines[place - 1] = lines[place - 1].replace(b"/26", b"/27")
    fault = first_fault(b"".join(lines))
    assert fault.startswith(f"entry {place} (") and "was altered" in fault


def test_unsigned_entries_after_the_last_signature_are_a_fault(
    tmp_path: Path, officer: SigningKey
) -> None:
    path = tmp_path / "audit.jsonl"
    for signer in (None, officer, None, officer, None, None):
        audit.append(path, entry(1), signer)
    assert audit.verify(path) == 6
    report = audit.check(path, signers=[officer.public])
    assert report.unsigned == (1, 3, 5, 6)
    assert len(report.faults) == 1 and report.faults[0].startswith("entries 5-6 are unsigned")
    assert report.remarks == ("entries 1, 3 are unsigned; signed entries that follow bind them",)


def test_a_signature_cannot_be_taken_off_in_the_middle(tmp_path: Path, officer: SigningKey) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, officer)
    lines = lines_of(path)
    fields = json.loads(lines[2]) | {"signer": None, "signature": None}
    lines[2] = json.dumps(fields, sort_keys=True).encode() + b"\n"
    fault = first_fault(b"".join(lines))
    assert fault.startswith("entry 3 (") and "entry 4 holds another hash" in fault


SPELLINGS = {
    "a blank": (b'": "', b'":  "'),
    "no blank": (b'": "', b'":"'),
    "another escape": (b"\\u00fc", b"\\u00FC"),
    "no escape": (b"\\u00fc", "ü".encode()),
    "a key twice": (b'{"action"', b'{"action": "none", "action"'),
    "a blank at the end": (b"}", b"} "),
    "a number": (b'"n": 1', b'"n": 1.0'),
    "a truth": (b'"n": 1', b'"n": true'),
}


@SIGNED_AND_NOT
@pytest.mark.parametrize("change", SPELLINGS)
def test_another_spelling_of_the_same_is_an_alteration(
    change: str, signed: bool, tmp_path: Path, officer: SigningKey
) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, officer if signed else None, 1)
    old, new = SPELLINGS[change]
    log = path.read_bytes()
    assert old in log
    fault = first_fault(log.replace(old, new, 1))
    assert fault == "entry 1 was altered: its line is damaged"


@pytest.mark.parametrize("number", [0, -1, 10**9 + 1, 10**4_200])
def test_a_number_out_of_range_is_no_entrys(number: int) -> None:
    assert parse_line(SOME_LINE[:-1].replace(b'"n": 1', b'"n": %d' % number)) is None


# --- logs of before ---


def test_an_older_log_is_gone_on_with(tmp_path: Path, officer: SigningKey) -> None:
    path = tmp_path / "audit.jsonl"
    fill_older(path, 3)
    assert audit.verify(path) == 3
    head = audit.append(path, entry(4), officer)
    assert head.count == 4 and json.loads(lines_of(path)[3])["n"] == 4
    report = audit.check(path, signers=[officer.public])
    assert report.faults == () and report.unsigned == (1, 2, 3)
    assert report.remarks == ("entries 1-3 are unsigned; signed entries that follow bind them",)


@pytest.mark.parametrize("change", ["alter", "remove", "move", "insert", "first"])
def test_changes_of_an_older_log_are_named(
    change: str, tmp_path: Path, officer: SigningKey
) -> None:
    path = tmp_path / "audit.jsonl"
    fill_older(path, 4)
    audit.append(path, entry(5), officer)
    lines = lines_of(path)
    if change == "alter":
        lines[1] = lines[1].replace(b"2/26", b"7/26")
        start, what = "entry 2 (", "was altered"
    elif change == "remove":
        del lines[1]
        start, what = "entry 1 (", "what followed it was removed"
    elif change == "move":
        lines[1], lines[2] = lines[2], lines[1]
        start, what = "entry 2 (", "was moved"
    elif change == "insert":
        lines.insert(3, lines[0])
        start, what = "entry 4 (", "was inserted"
    else:
        del lines[0]
        start, what = "entry 1 (", "what stood before it was removed"
    fault = first_fault(b"".join(lines))
    assert fault.startswith(start) and what in fault


def test_an_entry_without_a_number_does_not_follow_numbered_ones(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    head = fill(path, None, 2)[-1]
    fields = {"time": "2026-01-01T00:00:00.000+00:00", "before": head.hash}
    with path.open("ab") as file:
        file.write(json.dumps(fields, sort_keys=True).encode() + b"\n")
    fault = first_fault(path.read_bytes())
    assert fault.startswith("entry 3 (") and fault.endswith("was altered: it has no number")
    with pytest.raises(VaultError, match="damaged at its end"):
        audit.append(path, entry(3))


# --- closed where it cannot be written ---


@pytest.mark.parametrize(
    "end", ["{", "{}\n", "[1]\n", "\xff\n", "[" * 5_000 + "\n", '{"before": 5}\n', "\n"]
)
def test_a_damaged_end_is_not_written_over(end: str, tmp_path: Path, officer: SigningKey) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, officer, 1)
    with path.open("ab") as file:
        file.write(end.encode("latin-1"))
    before = path.read_bytes()
    with pytest.raises(VaultError, match=r"damaged at its end.*nothing is recovered"):
        audit.append(path, entry(2), officer)
    assert path.read_bytes() == before


Change = Callable[[list[bytes]], list[bytes]]
ENDS: dict[str, Change] = {
    "an altered last entry": lambda lines: [*lines[:-1], lines[-1].replace(b"5/26", b"6/26")],
    "a removed entry": lambda lines: [*lines[:1], *lines[2:]],
    "the one before the last altered": lambda lines: [
        *lines[:3],
        lines[3].replace(b"4/26", b"6/26"),
        lines[4],
    ],
    "the last two swapped": lambda lines: [*lines[:3], lines[4], lines[3]],
    "no line feed": lambda lines: [*lines[:4], lines[4][:-1]],
}


@pytest.mark.parametrize("change", ENDS)
def test_what_does_not_verify_at_its_end_is_not_gone_on_with(
    change: str, tmp_path: Path, officer: SigningKey
) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, officer)
    path.write_bytes(b"".join(ENDS[change](lines_of(path))))
    before = path.read_bytes()
    with pytest.raises(VaultError, match="damaged at its end"):
        audit.append(path, entry(6), officer)
    assert path.read_bytes() == before


def test_where_it_cannot_be_written_nothing_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    (tmp_path / "folder.jsonl").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    for place in ("file/audit.jsonl", "folder.jsonl"):
        with pytest.raises(VaultError, match="nothing is recovered without it"):
            audit.append(tmp_path / place, entry(1))
    for use in (lambda path: audit.append(path, entry(1)), audit.check):
        with pytest.raises(VaultError, match="is not a file"):
            use(tmp_path / "pipe.jsonl")


@contextlib.contextmanager
def as_nobody() -> Iterator[Path]:
    """A folder of their own, and this process without root's rights."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o777)
        if os.geteuid() != 0:
            yield folder
            return
        os.seteuid(NOBODY)
        try:
            yield folder
        finally:
            os.seteuid(0)


def test_a_read_only_file_and_folder(officer: SigningKey) -> None:
    with as_nobody() as folder:
        path = folder / "state" / "audit.jsonl"
        fill(path, officer, 1)
        path.chmod(0o400)
        with pytest.raises(VaultError, match="cannot be written: Permission denied"):
            audit.append(path, entry(2), officer)
        assert audit.verify(path) == 1
        path.chmod(0)
        with pytest.raises(VaultError, match="cannot be read: Permission denied"):
            audit.verify(path)
        path.unlink()
        path.parent.chmod(0o500)
        with pytest.raises(VaultError, match="cannot be written: Permission denied"):
            audit.append(path, entry(1), officer)
        assert not path.exists()
        path.parent.chmod(0o700)


@pytest.mark.parametrize("room", [0, 1, 100, 300])
def test_a_full_disk_leaves_no_half_line(room: int, tmp_path: Path, officer: SigningKey) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, officer, 2)
    before = path.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) + room, limits[1]))
    try:
        with pytest.raises(VaultError, match="cannot be written: File too large"):
            audit.append(path, entry(3), officer)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == before
    assert audit.append(path, entry(3), officer).count == 3
    assert audit.verify(path) == 3


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    mount = tmp_path / "disk"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=16k", "none", str(mount)],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("may not mount a small disk here")
    yield mount
    subprocess.run(["umount", str(mount)], check=True, capture_output=True)


def test_a_really_full_disk(small_disk: Path, officer: SigningKey) -> None:
    path = small_disk / "audit.jsonl"
    with pytest.raises(VaultError, match="No space left on device"):
        for _ in range(1_000):
            audit.append(path, entry(1), officer)
    assert 5 < audit.verify(path) < 100


def test_a_disk_that_fails_to_sync(
    tmp_path: Path, officer: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state" / "audit.jsonl"
    synced = []

    def fail(handle: int) -> None:
        synced.append(Path(f"/proc/self/fd/{handle}").readlink())
        if len(synced) == 3:  # the file, its folder, and the folder above that
            raise OSError(5, "Input/output error")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fail)
        with pytest.raises(VaultError, match="cannot be written: Input/output error"):
            audit.append(path, entry(1), officer)
    assert synced == [path, path.parent, tmp_path]
    assert path.read_bytes() == b""
    assert audit.append(path, entry(1), officer).count == 1


# --- several at once ---


@pytest.mark.slow
@pytest.mark.untimed
def test_several_processes_write_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "state" / "audit.jsonl"
    identity = Identity(str(pyrage.x25519.Identity.generate()))
    context = multiprocessing.get_context("spawn")
    running = [
        context.Process(target=add_many, args=(str(path), 50, identity.secret)) for _ in range(2)
    ]
    for process in running:
        process.start()
    seen = 0
    while any(process.is_alive() for process in running):
        found = audit.verify(path)  # never half a line
        assert found >= seen
        seen = found
    assert [process.exitcode for process in running] == [0, 0]
    assert audit.verify(path, signers=[officer_key(identity).public]) == 100


def test_a_log_moved_aside_by_another_is_not_written_to(
    tmp_path: Path, officer: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While this one waited for the lock: its entry belongs into the new log."""
    path, aside = tmp_path / "audit.jsonl", tmp_path / "aside.jsonl"
    fill(path, officer, 2)
    flock = fcntl.flock

    def slow(file: FileIO, how: int) -> None:
        if not aside.exists():
            path.rename(aside)
        flock(file, how)

    monkeypatch.setattr(fcntl, "flock", slow)
    assert audit.append(path, entry(1), officer).count == 1
    assert audit.verify(aside) == 2 and audit.verify(path) == 1


def test_a_line_that_is_being_written_is_no_damage(
    tmp_path: Path, officer: SigningKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "audit.jsonl"
    fill(path, officer, 2)
    *_, last = lines_of(path)
    asked = threading.Event()
    found: list[int] = []
    flock = fcntl.flock

    def watched(file: FileIO, how: int) -> None:
        asked.set()
        flock(file, how)

    with path.open("r+b", buffering=0) as writer:
        flock(writer, fcntl.LOCK_EX)
        writer.truncate(path.stat().st_size - len(last) + 20)
        monkeypatch.setattr(fcntl, "flock", watched)
        reader = threading.Thread(target=lambda: found.append(audit.verify(path)))
        reader.start()
        assert asked.wait(20) and not found
        writer.seek(0, os.SEEK_END)
        writer.write(last[20:])
    reader.join(20)
    assert found == [2]


def test_threads_write_one_chain(tmp_path: Path, officer: SigningKey) -> None:
    path = tmp_path / "audit.jsonl"
    running = [threading.Thread(target=fill, args=(path, officer, 20)) for _ in range(3)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)
    assert audit.verify(path, signers=[officer.public]) == 60


# --- bytes from anywhere ---

SOME_LINE = (
    b'{"before": "' + b"0" * 64 + b'", "n": 1, "signature": null, "signer": null, '
    b'"time": "2026-01-01T00:00:00.000+00:00"}\n'
)
JSON_VALUE = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 10**12),
    st.floats(),
    st.text(),
    st.lists(st.text(), max_size=2),
)
ODD_LINE = st.dictionaries(
    st.sampled_from(["n", "before", "time", "signer", "signature", "case"]), JSON_VALUE
).map(lambda fields: (json.dumps(fields, sort_keys=True) + "\n").encode())
NUMBERED = st.integers(1, 10**12).map(lambda n: SOME_LINE.replace(b'"n": 1', b'"n": %d' % n))


@given(st.lists(st.one_of(st.just(SOME_LINE), ODD_LINE, NUMBERED, st.binary(max_size=80))))
def test_any_bytes_as_a_log(tmp_path: Path, pieces: list[bytes]) -> None:
    log = b"".join(pieces)
    path = tmp_path / "audit.jsonl"
    path.write_bytes(log)
    head = Head(3, audit.FIRST)
    for asked in ({}, {"signers": [bytes(32)]}, {"heads": {"m": head}}):
        with contextlib.suppress(VaultError):
            audit.verify(path, **asked)
    with contextlib.suppress(VaultError):
        audit.append(path, entry(1))
        assert path.read_bytes().startswith(log)


def test_what_is_generated_reaches_the_chain() -> None:
    assert parse_line(SOME_LINE[:-1]) is not None
    assert audit_check.examine(SOME_LINE).faults == ()


@pytest.mark.parametrize(
    ("count", "digest"),
    [(0, "0" * 64), (True, "0" * 64), (1.0, "0" * 64), (1, "0" * 63), (1, "G" * 64), (1, None)],
)
def test_a_head_is_checked(count: object, digest: object) -> None:
    with pytest.raises(VaultError):
        Head(count, digest)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "signature",
    ["", "AAAA", "A" * 86 + "==", "A" * 85 + "B==", 5, None],
)
def test_a_signature_has_one_spelling(signature: object, officer: SigningKey) -> None:
    fields = json.loads(SOME_LINE) | {
        "signer": public_line(officer.public),
        "signature": signature,
    }
    line = parse_line(json.dumps(fields, sort_keys=True).encode())
    if signature == "A" * 86 + "==":
        assert line is not None and not line.is_intact
    else:
        assert line is None


@pytest.mark.parametrize(
    ("places", "text"), [([], ""), ([4], "4"), ([1, 2, 3, 7], "1-3, 7"), ([1, 3, 4], "1, 3-4")]
)
def test_places_in_words(places: list[int], text: str) -> None:
    assert audit_check.ranges(places) == text


def test_the_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BAUTA_STATE", str(tmp_path / "a"))
    assert audit.audit_path() == tmp_path / "a" / "audit.jsonl"
    monkeypatch.delenv("BAUTA_STATE")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "b"))
    assert audit.audit_path() == tmp_path / "b" / "bauta" / "audit.jsonl"
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "c"))
    assert audit.audit_path() == tmp_path / "c" / ".local" / "state" / "bauta" / "audit.jsonl"
    assert os.environ["HOME"]
