"""Frames that never reach us: what is shown around the hole is hidden all the same.

A face goes on moving while nobody looks. Its places before and after the hole must both be known
from looks of their own, not from a line drawn between two looks that lie further apart.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from support.asserts import assert_faces_hidden
from support.clips import Clip, decode_all, luma, make_clip
from support.flow import LossySource, is_curtain, pictures_of, run_file, truth_service


@pytest.fixture(scope="module")
def walk(clip_dir: Path) -> Clip:
    """One face that crosses the picture and comes back."""
    return make_clip(clip_dir / "walk.mp4", frames=100, face_px=50)


@pytest.mark.parametrize("first", [20, 21, 22, 23])
@pytest.mark.parametrize("length", [1, 8, 25])
def test_hole_in_the_stream_uncovers_nobody(
    first: int, length: int, walk: Clip, tmp_path: Path
) -> None:
    lost = range(first, first + length)
    source = LossySource(walk, lost)
    out = tmp_path / "out.mkv"
    with truth_service(walk) as service:
        session = run_file(service, walk, out, open_source=lambda _: source)
    assert not session.gate.redactions
    before, after = [luma(frame) for frame in decode_all(walk.path)], pictures_of(out)
    assert len(after) == len(source.kept) == 100 - length
    for index, shown in zip(source.kept, after, strict=True):
        assert not is_curtain(shown)
        assert_faces_hidden(before[index], shown, walk.truth[index], where=f"frame {index}")
