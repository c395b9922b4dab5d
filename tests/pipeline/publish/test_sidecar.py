"""Evidence beside files and segments: written with the packets it belongs to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from pipeline.errors import SinkError
from pipeline.evidence.sidecar_file import read_records
from pipeline.frames import EncodedPacket
from pipeline.publish.file import FileWriter
from pipeline.publish.segments import SegmentWriter
from pipeline.publish.sidecar import SidecarWriter
from pipeline.settings import RecordSettings
from pipeline.streams import StreamTemplates

Encoded = tuple[StreamTemplates, list[EncodedPacket]]


def with_records(packets: Sequence[EncodedPacket]) -> list[EncodedPacket]:
    """A key record with each IDR, another with each eighth packet."""
    made = []
    for n, packet in enumerate(packets):
        records = [b"key %d" % n] if packet.is_keyframe else []
        records += [b"group %d" % n] if n % 8 == 7 else []
        made.append(replace(packet, records=tuple(records)))
    return made


def test_a_file_gets_its_sidecar_with_its_name(stream: Encoded, tmp_path: Path) -> None:
    templates, packets = stream
    writer = FileWriter(tmp_path / "out.mp4", templates)
    given = with_records(packets)
    for packet in given[:60]:
        writer.write(packet)
    part = tmp_path / "out.mp4.part.bauta"
    assert read_records(part)  # at once: a killed process loses nothing
    for packet in given[60:]:
        writer.write(packet)
    writer.close()
    writer.close()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.mp4", "out.mp4.bauta"]
    assert read_records(tmp_path / "out.mp4.bauta") == [r for p in given for r in p.records]


def test_without_evidence_there_is_no_sidecar(stream: Encoded, tmp_path: Path) -> None:
    templates, packets = stream
    writer = FileWriter(tmp_path / "out.mp4", templates)
    for packet in packets:
        writer.write(packet)
    writer.close()
    assert [path.name for path in tmp_path.iterdir()] == ["out.mp4"]


def test_each_segment_has_its_own_and_they_go_together(stream: Encoded, tmp_path: Path) -> None:
    templates, packets = stream
    now = 1_790_000_000.0
    settings = RecordSettings(dir=tmp_path, segment=3.0, retention=3600)
    writer = SegmentWriter("lobby", settings, templates, now=lambda: now)
    given = with_records(packets)
    for packet in given:
        now += 0.04
        writer.write(packet)
    writer.close()
    clips = sorted(tmp_path.glob("*.mp4"))
    sidecars = [path.with_name(path.name + ".bauta") for path in clips]
    assert len(clips) > 1 and sorted(tmp_path.glob("*.bauta")) == sidecars
    found = [read_records(path) for path in sidecars]
    assert [record for each in found for record in each] == [r for p in given for r in p.records]
    assert all(each[0].startswith(b"key") for each in found)  # epochs are not divided
    # and retention takes both
    now += 2 * 3600 + 10 * 365 * 86_400
    again = SegmentWriter("lobby", settings, templates, now=lambda: now)
    again.write(given[0])
    again.close()
    left = sorted(path.name for path in tmp_path.iterdir())
    assert len(left) == 2 and left[1] == left[0] + ".bauta"


def test_what_cannot_be_written_is_the_sinks_error(stream: Encoded, tmp_path: Path) -> None:
    _, packets = stream
    writer = SidecarWriter(tmp_path / "missing" / "x.bauta")
    with pytest.raises(SinkError, match=r"x\.bauta: No such file"):
        writer.write(with_records(packets)[0])
    assert not writer.close()
