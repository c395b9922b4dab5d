"""What `bauta demo` makes for itself, and keeps when told to."""

from __future__ import annotations

import re
from contextlib import ExitStack
from pathlib import Path

import pytest

from pipeline.demo import CAMERA, _folder, camera_settings, plan_of, site_of
from pipeline.errors import UsageError
from pipeline.sealing import load_groups


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_the_folder_goes_unless_it_is_kept(tmp_path: Path) -> None:
    with ExitStack() as stack:
        gone = _folder(stack, None)
        assert gone.stat().st_mode & 0o77 == 0
    assert not gone.exists()

    with ExitStack() as stack:
        kept = _folder(stack, tmp_path / "a" / "demo")
        before = files_of(kept)
    assert sorted(before) == [
        *("approver.key", "approver.pub", "officer.key", "officer.pub"),
        *("service.key", "service.pub"),
    ]
    with ExitStack() as stack:
        assert _folder(stack, tmp_path / "a" / "demo") == kept
    assert files_of(kept) == before  # keys are never replaced: there are recordings for them
    with ExitStack() as stack, pytest.raises(UsageError, match="--keep"):
        _folder(stack, kept / "officer.key")


def test_both_groups_are_needed_to_open(tmp_path: Path) -> None:
    with ExitStack() as stack:
        folder = _folder(stack, tmp_path / "demo")
    groups, problems = load_groups(site_of(folder).recipients)
    assert problems == []
    assert [(group.name, group.threshold) for group in groups] == [("approver", 1), ("officer", 1)]
    camera = camera_settings("rtsp://127.0.0.1:1/live", folder)
    assert camera.record is not None and camera.record.dir == folder / "recordings"
    assert camera.evidence is not None


def test_accounts_and_bounds_of_its_console(tmp_path: Path) -> None:
    one, two = plan_of(tmp_path, 0), plan_of(tmp_path, 8080)
    assert [(account.name, account.roles) for account in one.demo] == [
        ("guard", ("viewer", "requester")),
        ("approver", ("viewer", "approver")),
        ("admin", ("viewer", "admin")),
    ]
    passwords = [account.password for account in (*one.demo, *two.demo)]
    assert len(set(passwords)) == 6
    assert all(re.fullmatch(r"[a-z2-9]{4}(-[a-z2-9]{4}){2}", word) for word in passwords)
    assert (one.cameras, one.settings.address) == ((CAMERA,), "127.0.0.1")
    assert one.state_dir == tmp_path / "state"
    for port in (-1, 65536):
        with pytest.raises(UsageError, match="--port must be between"):
            plan_of(tmp_path, port)
