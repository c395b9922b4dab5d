"""Records beside files and recordings."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from pipeline.errors import VaultError
from pipeline.evidence.sidecar_file import read_records
from pipeline.seal import sidecars
from pipeline.seal.sidecars import RecordFiles, Series


class Clock(datetime):
    """Stands still until it is moved."""

    at = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)

    @classmethod
    def now(cls, tz: object = None) -> datetime:  # type: ignore[override]
        return cls.at


@pytest.fixture(autouse=True)
def clock(monkeypatch: pytest.MonkeyPatch) -> type[Clock]:
    monkeypatch.setattr(sidecars, "datetime", Clock)
    Clock.at = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
    return Clock


def test_a_file_has_every_record_as_soon_as_it_is_there(tmp_path: Path) -> None:
    path = tmp_path / "out.mp4.bauta"
    files = RecordFiles([path])
    assert not path.exists()
    files.add([b"key"], True)
    assert read_records(path) == [b"key"]  # not closed yet: a killed process loses nothing
    files.add([b"group", b"other"], False)
    assert read_records(path) == [b"key", b"group", b"other"]
    files.close()
    files.close()
    assert read_records(path) == [b"key", b"group", b"other"]


def test_a_recording_gets_a_new_one_with_each_segment_and_epochs_stay_whole(
    tmp_path: Path, clock: type[Clock]
) -> None:
    folder = tmp_path / "recordings"
    files = RecordFiles([], Series(folder, "lobby", 60))
    for minute in range(3):
        for _ in range(3):
            files.add([b"key %d" % minute], True)
            files.add([b"group %d" % minute], False)
            clock.at += timedelta(seconds=20)
    files.close()
    found = {path.name: read_records(path) for path in sorted(folder.iterdir())}
    assert found == {
        f"lobby_2026-11-21T12-0{minute}-00.000Z.bauta": [b"key %d" % minute, b"group %d" % minute]
        * 3
        for minute in range(3)
    }


def test_nowhere_to_write_writes_nothing(tmp_path: Path) -> None:
    RecordFiles([]).add([b"key"], True)
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_written_is_said_in_one_line(tmp_path: Path) -> None:
    files = RecordFiles([tmp_path / "missing" / "out.bauta"])
    with pytest.raises(VaultError, match=r"out\.bauta cannot be written: No such file"):
        files.add([b"key"], True)
    files.close()
