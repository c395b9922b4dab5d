from __future__ import annotations

import re
from pathlib import Path

import pytest

from pipeline.errors import SinkError
from pipeline.frames import EncodedPacket
from pipeline.publish.hls import HlsWriter
from pipeline.settings import HlsSettings
from pipeline.streams import StreamTemplates
from support.clips import decode_all

Made = tuple[StreamTemplates, list[EncodedPacket]]


def listed(folder: Path) -> list[str]:
    text = (folder / "index.m3u8").read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_playlist_has_segments_that_decode(stream: Made, tmp_path: Path) -> None:
    templates, packets = stream
    folder = tmp_path / "deep" / "hls"
    writer = HlsWriter("lobby", HlsSettings(dir=folder, segment=2, keep=3), templates)
    for packet in packets:
        writer.write(packet)

    live = listed(folder)  # while it runs: the last segment is still being written
    assert 1 <= len(live) <= 3
    assert "#EXT-X-ENDLIST" not in (folder / "index.m3u8").read_text(encoding="utf-8")
    writer.close()
    writer.close()

    names = listed(folder)
    assert len(names) == 3
    for name in names:
        frames = decode_all(folder / Path(name).name)
        assert len(frames) == 50
        assert frames[0].key_frame
    text = (folder / "index.m3u8").read_text(encoding="utf-8")
    assert [float(v) for v in re.findall(r"#EXTINF:([\d.]+)", text)] == pytest.approx([2.0] * 3)


def test_old_segments_go_away_and_no_half_ones_are_seen(stream: Made, tmp_path: Path) -> None:
    templates, packets = stream
    writer = HlsWriter("lobby", HlsSettings(dir=tmp_path, segment=1, keep=3), templates)
    for packet in packets:
        writer.write(packet)
        made = [path.name for path in tmp_path.iterdir() if path.suffix == ".ts"]
        assert len(made) <= 3 + 2
    writer.close()
    assert len(list(tmp_path.glob("*.ts"))) <= 3 + 2
    assert not list(tmp_path.glob("*.tmp"))


def test_a_playlist_names_no_folder_of_this_machine(stream: Made, tmp_path: Path) -> None:
    templates, packets = stream
    writer = HlsWriter("lobby", HlsSettings(dir=tmp_path, segment=2, keep=3), templates)
    for packet in packets[:100]:
        writer.write(packet)
    writer.close()
    assert str(tmp_path) not in (tmp_path / "index.m3u8").read_text(encoding="utf-8")


def test_a_folder_that_cannot_be_made(stream: Made, tmp_path: Path) -> None:
    (tmp_path / "hls").write_text("a file")
    with pytest.raises(SinkError, match=r"hls\.dir .*File exists"):
        HlsWriter("lobby", HlsSettings(dir=tmp_path / "hls"), stream[0])
