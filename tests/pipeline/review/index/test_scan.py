"""Which files are recordings, and whose by their names."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pipeline.review.index.scan import Found, has_changed, list_folder, look_again, named
from support.recordings import START_MS

NOW_NS = 2_000_000_000_000_000_000


def test_recordings_and_folders_but_no_links(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mkv", "a.mp4.tracks", "a.mp4.bauta", ".hidden.mp4", "c.txt", "d.ts"):
        (tmp_path / name).write_bytes(b"12345")
    (tmp_path / "inner").mkdir()
    (tmp_path / ".hidden").mkdir()
    (tmp_path / "link.mp4").symlink_to(tmp_path / "a.mp4")
    (tmp_path / "elsewhere").symlink_to("/")
    (tmp_path / "folder.mp4").mkdir()
    listing = list_folder(tmp_path, NOW_NS)

    assert set(listing.files) == {"a.mp4", "b.mkv"}
    found = listing.files["a.mp4"]
    assert found == Found(tmp_path / "a.mp4", 5, (tmp_path / "a.mp4").stat().st_mtime_ns)
    assert {path.name for path in listing.folders} == {"inner", "folder.mp4"}


def test_a_folder_that_did_not_change_is_known_by_its_mark(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").write_bytes(b"1")
    listing = list_folder(tmp_path, time.time_ns() + 10_000_000_000)
    assert not has_changed(tmp_path, listing)
    (tmp_path / "a.mp4").write_bytes(b"12")  # only grew
    assert not has_changed(tmp_path, listing)
    (tmp_path / "b.mp4").write_bytes(b"1")
    assert has_changed(tmp_path, listing)


def test_what_changed_just_now_is_looked_at_again(tmp_path: Path) -> None:
    """A second file within the same tick of the clock would leave no trace."""
    listing = list_folder(tmp_path, tmp_path.stat().st_mtime_ns + 1_000_000)
    assert has_changed(tmp_path, listing)


def test_what_did_not_change_is_kept(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4", "c.mp4"):
        (tmp_path / name).write_bytes(b"1")
    before = list_folder(tmp_path, NOW_NS)
    (tmp_path / "a.mp4").write_bytes(b"12")
    (tmp_path / "c.mp4").unlink()
    (tmp_path / "d.mp4").write_bytes(b"123")
    after = list_folder(tmp_path, NOW_NS, before)
    assert after.files == list_folder(tmp_path, NOW_NS).files
    assert {name: found.bytes for name, found in after.files.items()} == {
        "a.mp4": 2,
        "b.mp4": 1,
        "d.mp4": 3,
    }
    assert after.files["b.mp4"] is before.files["b.mp4"]


def test_a_folder_that_is_gone_has_changed(tmp_path: Path) -> None:
    folder = tmp_path / "a"
    folder.mkdir()
    listing = list_folder(folder, time.time_ns() + 10_000_000_000)
    folder.rmdir()
    assert has_changed(folder, listing)
    with pytest.raises(OSError, match="No such file"):
        list_folder(folder, NOW_NS)


def test_one_file_again(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    assert look_again(path) is None
    path.write_bytes(b"123")
    os.utime(path, ns=(5, 7))
    assert look_again(path) == Found(path, 3, 7)
    assert look_again(tmp_path) is None
    (tmp_path / "b.mp4").symlink_to(path)
    assert look_again(tmp_path / "b.mp4") is None


@pytest.mark.parametrize(
    ("name", "camera"),
    [
        ("lobby_2027-01-15T08-00-00.250Z.mp4", "lobby"),
        ("a_b-c.1_2027-01-15T08-00-00.250Z.mp4", "a_b-c.1"),
        ("lobby_2026-01-01T00-00-00.000Z_2027-01-15T08-00-00.250Z.mp4", None),
        ("lobby.mp4", None),
        ("lobby_2027-01-15T08-00-00.250Z.mkv", None),
        ("lobby_2027-13-15T08-00-00.250Z.mp4", None),
        ("lobby_2027-01-15T08-00-00.250.mp4", None),
        ("_2027-01-15T08-00-00.250Z.mp4", None),
        ("lo bby_2027-01-15T08-00-00.250Z.mp4", None),
        ("lobby_1900-01-15T08-00-00.250Z.mp4", None),
    ],
)
def test_names(name: str, camera: str | None) -> None:
    expected = None if camera is None else (camera, START_MS)
    if name.startswith("lobby_2026"):  # a camera may be called so
        expected = ("lobby_2026-01-01T00-00-00.000Z", START_MS)
    assert named(Path("/rec") / name) == expected
