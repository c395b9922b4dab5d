"""The sidecar: what was appended is read, whatever its writer left; nothing else passes for one."""

from __future__ import annotations

import io
import os
import tracemalloc
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import RecordError, UsageError
from pipeline.evidence.key_record import MOST_RECORD_BYTES
from pipeline.evidence.sidecar_file import (
    MAGIC,
    append_record,
    read_records,
    sidecar_beside,
    write_magic,
)
from support.records import a_group_record, a_key_record, filler

RECORDS = [a_key_record().encode(), a_group_record().encode(), b"\0", filler(1, 300_000)]


def sidecar(folder: Path, records: list[bytes]) -> Path:
    path = folder / "clip.mp4.bauta"
    with path.open("wb") as file:
        write_magic(file)
        for record in records:
            append_record(file, record)
    return path


def test_the_bytes_are_as_the_format_says() -> None:
    file = io.BytesIO()
    write_magic(file)
    append_record(file, b"one")
    append_record(file, b"\0\0")
    assert file.getvalue() == b"bauta/1 sidecar\n\0\0\0\3one\0\0\0\2\0\0"


@pytest.mark.parametrize("count", range(len(RECORDS) + 1))
def test_records_come_back_in_order(count: int, tmp_path: Path) -> None:
    assert read_records(sidecar(tmp_path, RECORDS[:count])) == RECORDS[:count]


def test_the_largest_record_comes_back(tmp_path: Path) -> None:
    records = [filler(1, MOST_RECORD_BYTES), b"next"]
    assert read_records(sidecar(tmp_path, records)) == records


@pytest.mark.parametrize("size", [0, MOST_RECORD_BYTES + 1])
def test_a_record_of_no_size_is_not_written(size: int) -> None:
    file = io.BytesIO()
    with pytest.raises(RecordError, match="a record has 1 to"):
        append_record(file, bytes(size))
    assert file.getvalue() == b""


def test_a_record_is_one_write() -> None:
    """A process that ends between two writes would leave a length without its record."""

    class Counting(io.BytesIO):
        writes = 0

        def write(self, data: object) -> int:
            self.writes += 1
            return super().write(data)  # type: ignore[arg-type]

    file = Counting()
    append_record(file, RECORDS[0])
    assert file.writes == 1


def test_a_torn_last_record_is_left_out(tmp_path: Path) -> None:
    records = [b"first", b"second", b"the last"]
    whole = sidecar(tmp_path, records).read_bytes()
    ends = [len(MAGIC), len(MAGIC) + 9, len(MAGIC) + 19, len(whole)]
    path = tmp_path / "torn.bauta"
    for size in range(len(whole) + 1):
        path.write_bytes(whole[:size])
        there = sum(size >= end for end in ends[1:])
        assert read_records(path) == records[:there], size


@pytest.mark.parametrize(
    "content",
    [
        b"bauta/2 sidecar\n\0\0\0\1a",
        b"bauta/1 sidecar\r\n\0\0\0\1a",
        b"\0\0\0\1a",
        b"b\0",
        b'{"some": "json"}\n',
    ],
)
def test_another_file_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "clip.bauta"
    path.write_bytes(content)
    with pytest.raises(RecordError, match=r"clip\.bauta is no sidecar"):
        read_records(path)


@pytest.mark.parametrize("size", [0, MOST_RECORD_BYTES + 1, 2**32 - 1])
def test_a_length_of_no_record_is_damage(size: int, tmp_path: Path) -> None:
    path = sidecar(tmp_path, [b"first"])
    with path.open("ab") as file:
        file.write(size.to_bytes(4, "big") + b"more")
    with pytest.raises(RecordError, match=r"clip\.mp4\.bauta is damaged"):
        read_records(path)


def test_a_length_costs_no_memory_by_itself(tmp_path: Path) -> None:
    path = sidecar(tmp_path, [])
    with path.open("ab") as file:
        file.write((2**32 - 1).to_bytes(4, "big") + b"more")
    tracemalloc.start()
    try:
        with pytest.raises(RecordError):
            read_records(path)
        assert tracemalloc.get_traced_memory()[1] < 2 * 2**20
    finally:
        tracemalloc.stop()


def test_what_cannot_be_read_is_a_usage_error(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"none\.bauta: No such file"):
        read_records(tmp_path / "none.bauta")
    with pytest.raises(UsageError, match="Is a directory"):
        read_records(tmp_path)


@given(st.binary(max_size=300), st.booleans())
def test_any_file_is_records_or_a_record_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes, with_magic: bool
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.bauta"
    path.write_bytes(MAGIC * with_magic + data)
    with suppress(RecordError):
        assert all(read_records(path))


# --- where it is ---


def test_it_is_beside_the_clip(tmp_path: Path) -> None:
    clip = tmp_path / "clip.mp4"
    assert sidecar_beside(clip) is None
    (tmp_path / "clip.mp4.bauta").mkdir()
    assert sidecar_beside(clip) is None, "a folder"
    (tmp_path / "clip.mp4.bauta").rmdir()
    path = sidecar(tmp_path, [])
    assert sidecar_beside(clip) == path
    assert sidecar_beside(tmp_path / "clip.mkv") is None
    assert sidecar_beside(tmp_path / "clip") is None


def test_a_name_with_no_room_for_the_ending_has_none(tmp_path: Path) -> None:
    longest = os.pathconf(tmp_path, "PC_NAME_MAX")
    assert sidecar_beside(tmp_path / ("x" * longest)) is None
    assert sidecar_beside(Path()) is None
