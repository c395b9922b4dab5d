"""The shipped models on real parts: protected through a real encoder, recovered from the file."""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pytest

from pipeline.build import fusion_entry, open_fusion_model
from pipeline.detect.service import DetectionService
from pipeline.frames import YuvPlanes, planes_of
from pipeline.recover.in_band import looks_like_a_face, open_squares
from pipeline.session import CameraSession
from pipeline.vault.clip_key import open_with_identity, open_with_password
from pipeline.vault.identity import load_identity
from pipeline.vault.secret_map import face_key
from pipeline.vault.sidecar import read_header, read_lines
from support.asserts import assert_faces_shown, face_visible
from support.clips import Clip, decode_all, make_clip
from support.flow import assert_no_face, bauta, pictures_of, settings_for, wait_for
from support.rtsp_server import rtsp_camera

PASSWORD = "correct horse battery"
MODEL = "proface-s-video"


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("BAUTA_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BAUTA_PASSPHRASE", PASSWORD)


@pytest.fixture(scope="module")
def two_faces(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    return make_clip(tmp_path_factory.mktemp("clips") / "two.mp4", frames=60, faces=2, face_px=72)


def psnr_db(one: YuvPlanes, other: YuvPlanes) -> float:
    """Of luma."""
    error = float(((one.y.astype(np.float64) - other.y) ** 2).mean())
    return 10 * float(np.log10(255**2 / error))


@pytest.mark.slow
@pytest.mark.untimed
@pytest.mark.parametrize(
    ("codec", "crf", "least_db"),
    # luma, the lowest of the clip's six faces; when written it was 36.6, 35.1, 32.7 and 31.9
    [("h264", 0, 33), ("h264", 18, 31), ("h264", 23, 28), ("h265", 23, 27)],
)
def test_there_and_back_through_a_codec(
    codec: str, crf: int, least_db: float, two_faces: Clip, tmp_path: Path
) -> None:
    out, back = tmp_path / "out.mp4", tmp_path / "back.mp4"
    done = bauta(
        *("protect", two_faces.path, out, "--protector", "proface-s", "--password-from-env"),
        *("--codec", codec, "--crf", str(crf), "--json"),
    )
    assert done.code == 0, done.err
    assert done.result["fused_faces"] == 6 and done.result["not_fused_because"] == {}
    assert_no_face(two_faces, out)

    done = bauta(
        *("recover", out, back, "--in-band", "--password-from-env"),
        *("--case", "1", "--reason", "a test", "--json"),
    )
    assert done.code == 0, done.err
    assert done.result["opened"] == 6 and done.result["not_opened"] == 0
    originals, shown, hidden = (decode_all(path) for path in (two_faces.path, back, out))
    sidecar = Path(f"{out}.inband.jsonl")
    header = read_header(sidecar)
    assert header.model_sha256 == fusion_entry(MODEL).recover_sha256
    clip_key = open_with_password(header.keys, PASSWORD)
    for line in read_lines(sidecar, clip_key):
        for face in line.faces:
            truth, found, protected = (
                face.square.of(planes_of(frames[line.frame]))
                for frames in (originals, shown, hidden)
            )
            assert psnr_db(truth, found) > least_db
            whole = np.array([0, 0, *truth.y.shape], np.float32)
            assert_faces_shown(truth.y.copy(), found.y.copy(), whole, least=0.6)
            assert face_visible(truth.y.copy(), protected.y.copy(), whole) < 0.2
    # moved to the frame behind it, a keyframe's face is still a face
    assert done.result["carried"] > 100 and done.result["without_keyframe"] == 0
    for index in (1, 26):
        old, new = planes_of(originals[index]).y, planes_of(shown[index]).y
        assert_faces_shown(old, new, two_faces.truth[index], least=0.6)


def test_wrong_keys_open_noise(two_faces: Clip, tmp_path: Path) -> None:
    """One bit, and everything: for the key, the frame's number and the place."""
    out = tmp_path / "out.mp4"
    bauta(
        *("protect", two_faces.path, out, "--protector", "proface-s", "--password-from-env"),
        *("--crf", "0"),
    )
    sidecar = Path(f"{out}.inband.jsonl")
    clip_key = open_with_password(read_header(sidecar).keys, PASSWORD)
    line = next(read_lines(sidecar, clip_key))
    square = line.faces[0].square
    planes = planes_of(decode_all(out)[line.frame])
    truth = square.of(planes_of(decode_all(two_faces.path)[line.frame])).y.copy()
    one_bit = bytes([clip_key[0] ^ 1]) + clip_key[1:]
    model = open_fusion_model(MODEL, recover=True)
    try:

        def opened(keys: list[bytes]) -> list[YuvPlanes]:
            return [open_squares(planes, [square], [key], model)[0] for key in keys]

        (right,) = opened([face_key(clip_key, line.number, square.xys_px)])
        assert looks_like_a_face(right.y, 4)
        x, y, side = square.xys_px
        wrong = opened(
            [
                face_key(one_bit, line.number, square.xys_px),
                face_key(clip_key, line.number + 1, square.xys_px),
                face_key(clip_key, line.number, (x + 2, y, side)),
                bytes(32),
                *(np.random.default_rng(n).bytes(32) for n in range(8)),
            ]
        )
    finally:
        model.close()
    whole = np.array([0, 0, side, side], np.float32)
    for face in wrong:
        assert not looks_like_a_face(face.y, 4)
        assert face_visible(truth, face.y, whole) < 0.1


def test_a_model_that_is_not_there_is_one_line(two_faces: Clip, tmp_path: Path) -> None:
    for name in ("no-such-model", "centerface"):
        done = bauta(
            *("protect", two_faces.path, tmp_path / "out.mp4", "--protector", "proface-s"),
            *("--fusion-model", name),
        )
        assert done.code == 2
        assert (
            done.error_line.startswith("bauta: protect.fusion_model:") and name in done.error_line
        )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_live_camera(
    service: DetectionService,
    looped_clip: Clip,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Real time on a busy machine: what is fused is recovered, and the stream does not wait."""
    bauta("keys", "new", tmp_path / "dpo.key", "--no-passphrase")
    folder = tmp_path / "record"
    with rtsp_camera(looped_clip.path) as camera, caplog.at_level(logging.WARNING):
        settings, detector = settings_for(
            camera.url,
            record={"dir": str(folder), "segment": 60},
            protect={"protector": "proface-s", "recipients": [str(tmp_path / "dpo.pub")]},
            encode={"preset": "ultrafast"},
        )
        session = CameraSession(settings, detector=detector, service=service)
        session.start()
        try:
            wait_for("four seconds of film", lambda: session.counts.frames_out > 100)
        finally:
            session.stop(40)
    assert not [record for record in caplog.records if "switched off" in record.message]
    (recording,) = folder.glob("*.mp4")
    (sidecar,) = folder.glob("*.inband.jsonl")
    assert session.keyed_counts.fused >= 2
    identity = load_identity(tmp_path / "dpo.key", lambda: "")
    clip_key = open_with_identity(read_header(sidecar).keys, identity)
    lines = list(read_lines(sidecar, clip_key))
    assert sum(len(line.faces) for line in lines) == session.keyed_counts.fused
    assert max(line.frame for line in lines) < len(pictures_of(recording))
    done = bauta(
        *("recover", recording, tmp_path / "back.mp4", "--in-band"),
        *("--key", tmp_path / "dpo.key", "--case", "1", "--reason", "a test", "--json"),
    )
    assert done.code == 0, done.err
    assert done.result["opened"] >= 0.8 * session.keyed_counts.fused
