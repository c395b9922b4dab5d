from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.errors import SinkError
from pipeline.frames import EncodedPacket
from pipeline.publish.file import FORMATS, FileWriter, file_format
from pipeline.streams import StreamTemplates
from support.clips import decode_all

Made = tuple[StreamTemplates, list[EncodedPacket]]


@pytest.mark.parametrize("ending", [*FORMATS, ".MP4"])
def test_a_file_has_its_name_only_when_it_is_whole(
    stream: Made, tmp_path: Path, ending: str
) -> None:
    templates, packets = stream
    path = tmp_path / f"out{ending}"
    path.write_bytes(b"older")
    writer = FileWriter(path, templates)
    for packet in packets[:50]:
        writer.write(packet)
    assert path.read_bytes() == b"older"
    assert [item.name for item in tmp_path.iterdir() if item != path] == [f"out{ending}.part"]

    writer.close()
    writer.close()

    assert [item.name for item in tmp_path.iterdir()] == [f"out{ending}"]
    assert len(decode_all(path)) == 50


@pytest.mark.parametrize("name", ["out.avi", "out", "out.mp4.txt", ".mp4"])
def test_an_unknown_ending_names_the_known(stream: Made, tmp_path: Path, name: str) -> None:
    with pytest.raises(SinkError, match=r"must be one of \.mp4, \.mkv, \.ts, \.mov"):
        file_format(tmp_path / name)
    with pytest.raises(SinkError):
        FileWriter(tmp_path / name, stream[0])
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_failed_keeps_the_ending_part(
    stream: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    templates, packets = stream
    writer = FileWriter(tmp_path / "out.mkv", templates)
    writer.write(packets[0])

    def full(_packet: EncodedPacket) -> None:
        raise SinkError("out.mkv: the disk is full")

    monkeypatch.setattr(writer._muxer, "write", full)
    with pytest.raises(SinkError):
        writer.write(packets[1])
    writer.close()

    assert [item.name for item in tmp_path.iterdir()] == ["out.mkv.part"]


def test_a_folder_that_is_not_there(stream: Made, tmp_path: Path) -> None:
    with pytest.raises(SinkError, match="No such file or directory"):
        FileWriter(tmp_path / "none" / "out.mp4", stream[0]).write(stream[1][0])


def test_a_name_that_became_a_folder(stream: Made, tmp_path: Path) -> None:
    writer = FileWriter(tmp_path / "out.mkv", stream[0])
    writer.write(stream[1][0])
    (tmp_path / "out.mkv").mkdir()
    with pytest.raises(SinkError, match=r"out\.mkv"):
        writer.close()
