"""Who is in a recording, as a whole session notes it: the same people that its evidence has."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pipeline.build import build_evidence
from pipeline.presence import Interval, PresenceHeader, parse_line, presence_path
from pipeline.recover.clip_records import read_clip
from pipeline.recover.clip_tracks import tracks_of
from pipeline.sealing import Site
from pipeline.session import CameraSession
from pipeline.settings import EvidenceSettings, GroupSettings
from support.clips import decode_all, make_clip
from support.flow import PATIENCE_S, settings_for, truth_service
from support.recovered import new_identity


@pytest.mark.slow
@pytest.mark.untimed
def test_the_lines_beside_a_recording_name_the_tracks_of_its_evidence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAUTA_STATE", str(tmp_path / "state"))
    clip = make_clip(
        tmp_path / "in.mp4",
        frames=50,
        size=(480, 270),
        faces=2,
        face_px=64,
        enter_at=10,
        leave_at=42,
    )
    new_identity(tmp_path, "dpo")
    recipients = {"dpo": GroupSettings(keys=[tmp_path / "dpo.pub"])}
    (tmp_path / "state").mkdir()
    with truth_service(clip) as service:
        sessions = []
        for number in range(2):
            camera, detector = settings_for(
                clip.path,
                record={"dir": str(tmp_path / f"rec{number}"), "segment": 60},
                encode={"gop": "1s"},
            )
            camera = camera.model_copy(update={"evidence": EvidenceSettings()})
            evidence = build_evidence(camera, Site("North", recipients))
            session = CameraSession(camera, detector=detector, service=service, evidence=evidence)
            session.start()
            assert session.wait(PATIENCE_S)
            sessions.append(tmp_path / f"rec{number}")
    headers = []
    for folder in sessions:
        (recording,) = folder.glob("*.mp4")
        lines = [parse_line(line) for line in presence_path(recording).read_bytes().splitlines()]
        header, intervals = lines[0], lines[1:]
        assert isinstance(header, PresenceHeader)
        headers.append(header)
        assert (header.camera, header.evidence, header.codec) == ("cam", True, "h264")
        assert (header.width, header.height, header.fps) == (480, 270, 25.0)
        assert sum(one.frames for one in intervals if isinstance(one, Interval)) == 50
        assert len(decode_all(recording)) == 50

        sealed = {track.track: track for track in tracks_of(read_clip(recording))}
        shown: dict[int, int] = {}
        for one in intervals:
            assert isinstance(one, Interval) and one.obscured == 0
            for span in one.tracks:
                shown[span.track] = shown.get(span.track, 0) + span.frames
                # where the face really is: its truth lies around the middle of the box
                x, y, width, height = span.box_xywh_px
                truth = clip.truth[min(round(span.best_seconds * 25), 49)]
                if len(truth):
                    middle = np.array([x + width / 2, y + height / 2])
                    centres = (truth[:, :2] + truth[:, 2:]) / 2
                    assert np.abs(centres - middle).max(axis=1).min() < 16
        assert set(shown) == set(sealed)
        # what is held after a face was lost is sealed as well, but nobody is seen there
        assert all(0.6 * sealed[n].frames <= shown[n] <= sealed[n].frames for n in shown), shown
        assert len(shown) == 2 and min(shown.values()) >= 25
    assert headers[0].session != headers[1].session
