"""Interrupted in the middle: prompt, tidy, and what was written can be played."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest

from support.asserts import assert_faces_hidden
from support.clips import Clip, decode_all, luma
from support.flow import running_bauta, wait_for


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_stop_signal_leaves_a_playable_protected_file(
    number: signal.Signals, long_clip: Clip, tmp_path: Path
) -> None:
    out = tmp_path / "out.mkv"
    part = tmp_path / "out.mkv.part"
    # a look at every frame: some seconds of work
    with running_bauta("protect", long_clip.path, out, "--detect-every", "1", "--json") as run:
        wait_for("the first packets", part.exists)
        time.sleep(1.0)
        asked = time.monotonic()
        run.signal(number)
        code = run.ended(20)
        assert time.monotonic() - asked < 10
        assert code == 1, run.err
        assert "Traceback" not in run.err
    frames = decode_all(out)
    assert 10 < len(frames) < long_clip.frames
    before = decode_all(long_clip.path)
    for index, new in enumerate(frames):
        truth = long_clip.truth[index]
        assert_faces_hidden(luma(before[index]), luma(new), truth, where=f"frame {index}")


def test_kill_in_the_middle_leaves_no_finished_file(long_clip: Clip, tmp_path: Path) -> None:
    out = tmp_path / "out.ts"
    part = tmp_path / "out.ts.part"
    with running_bauta("protect", long_clip.path, out, "--detect-every", "1") as run:
        wait_for("the first bytes", lambda: part.exists() and part.stat().st_size > 0)
        run.signal(signal.SIGKILL)
        run.ended()
    assert not out.exists()
    frames = decode_all(part, damaged_ok=True)
    assert frames
    before = decode_all(long_clip.path)
    for index, new in enumerate(frames):
        assert_faces_hidden(luma(before[index]), luma(new), long_clip.truth[index])


def test_overwritten_file_stays_until_the_new_one_is_whole(long_clip: Clip, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    out.write_bytes(b"precious")
    part = tmp_path / "out.mp4.part"
    with running_bauta("protect", long_clip.path, out, "--overwrite", "--detect-every", "1") as run:
        wait_for("the first packets", part.exists)
        run.signal(signal.SIGKILL)
        run.ended()
    assert out.read_bytes() == b"precious"
