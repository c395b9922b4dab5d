from __future__ import annotations

import json
import multiprocessing
import os
from pathlib import Path

import pytest

from pipeline.errors import VaultError
from pipeline.vault import audit


def entry(n: int) -> dict[str, object]:
    return {"action": "recover in-band", "case": f"{n}/26", "reason": 'a "reason", ünïcode'}


def add_many(path: str, count: int) -> None:
    for n in range(count):
        audit.append(Path(path), entry(n))


def test_every_line_is_bound_to_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "state" / "audit.jsonl"
    assert audit.verify(path) == 0
    hashes = [audit.append(path, entry(n)) for n in range(5)]
    assert audit.verify(path) == 5
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["before"] for line in lines] == [audit.FIRST, *hashes[:-1]]
    assert [line["case"] for line in lines] == [f"{n}/26" for n in range(5)]
    assert all(line["time"].endswith("+00:00") for line in lines)
    assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("change", ["edit", "take out", "swap", "put in"])
def test_what_was_changed_is_seen(tmp_path: Path, change: str) -> None:
    path = tmp_path / "audit.jsonl"
    for n in range(5):
        audit.append(path, entry(n))
    lines = path.read_text().splitlines(keepends=True)
    if change == "edit":
        lines[2] = lines[2].replace("2/26", "9/26")
    elif change == "take out":
        del lines[2]
    elif change == "swap":
        lines[2], lines[3] = lines[3], lines[2]
    else:
        lines.insert(2, lines[1])
    path.write_text("".join(lines))
    with pytest.raises(VaultError, match=r"line [34] does not follow from the one before"):
        audit.verify(path)


@pytest.mark.parametrize(
    "end", ["{", "{}\n", "[1]\n", "\xff\n", "[" * 5_000 + "\n", '{"before": 5}\n']
)
def test_a_damaged_end_is_not_written_over(tmp_path: Path, end: str) -> None:
    path = tmp_path / "audit.jsonl"
    audit.append(path, entry(0))
    with path.open("ab") as file:
        file.write(end.encode("latin-1"))
    before = path.read_bytes()
    with pytest.raises(VaultError, match="last line is damaged"):
        audit.append(path, entry(1))
    assert path.read_bytes() == before


def test_where_it_cannot_be_written_nothing_goes_on(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(VaultError, match="nothing is recovered without it"):
        audit.append(tmp_path / "file" / "audit.jsonl", entry(0))


def test_several_processes_write_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    context = multiprocessing.get_context("spawn")
    running = [context.Process(target=add_many, args=(str(path), 20)) for _ in range(3)]
    for process in running:
        process.start()
    for process in running:
        process.join(60)
    assert [process.exitcode for process in running] == [0, 0, 0]
    assert audit.verify(path) == 60


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
