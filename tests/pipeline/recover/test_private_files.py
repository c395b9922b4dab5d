"""What shows people is written into files of its writer alone, whatever was at their names."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import pytest

from pipeline.recover.video import RecoveredVideo, write_private


def test_a_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere, path = tmp_path / "elsewhere", tmp_path / "a.part"
    elsewhere.write_text("theirs")
    path.symlink_to(elsewhere)
    write_private(path, b"mine")
    assert elsewhere.read_text() == "theirs"
    assert path.read_bytes() == b"mine" and not path.is_symlink()
    assert path.stat().st_mode & 0o777 == 0o600


def test_somebody_elses_open_file_gets_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.part"
    path.write_text("theirs")
    path.chmod(0o666)
    with path.open("rb") as held:
        write_private(path, b"mine")
        assert held.read() == b"theirs"
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("is_link", [True, False])
def test_neither_does_the_video(is_link: bool, tmp_path: Path) -> None:
    elsewhere, part = tmp_path / "elsewhere", tmp_path / "out.mp4.part"
    elsewhere.write_text("theirs")
    part.symlink_to(elsewhere) if is_link else part.hardlink_to(elsewhere)
    video = RecoveredVideo(tmp_path / "out.mp4", "mp4", Fraction(25), None)
    image = av.VideoFrame(64, 64, "yuv420p")
    for plane in image.planes:
        plane.update(bytes(plane.buffer_size))
    image.pts, image.time_base = 0, Fraction(1, 25)
    video.write(image)
    video.close()
    assert elsewhere.read_text() == "theirs"
    assert (tmp_path / "out.mp4").stat().st_mode & 0o777 == 0o600
