"""Protected with a key, recovered with it: whole runs around a scripted model, quick and exact."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.detect.service import DetectionService
from pipeline.fusion_worker import FusionWorker
from pipeline.protect.fuse import MOST_FAILURES
from pipeline.session import CameraSession
from pipeline.settings import FILE_PROTECT
from pipeline.status import camera_status
from pipeline.vault import audit
from pipeline.vault.clip_key import new_clip_key, open_with_password
from pipeline.vault.secret_map import face_key
from pipeline.vault.sidecar import FrameLine, read_header, read_lines
from support.asserts import assert_faces_shown, face_visible
from support.clips import Clip, decode_all, luma, make_clip
from support.flow import (
    PATIENCE_S,
    Done,
    assert_hidden_anywhere,
    assert_no_face,
    bauta,
    pictures_of,
    session_on,
    settings_for,
    wait_for,
)
from support.fusion import (
    PASSWORD,
    Array,
    Script,
    scripted_in_band,
    use_scripted_models,
)

PROTECT = {"protector": "proface-s"}
LOSSLESS = {"crf": 0}
MOST_ERROR_LEVELS = 8.0


@pytest.fixture(autouse=True)
def scripted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    use_scripted_models(monkeypatch)
    monkeypatch.setenv("BAUTA_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("BAUTA_PASSPHRASE", PASSWORD)


@pytest.fixture(scope="module")
def two_faces(tmp_path_factory: pytest.TempPathFactory) -> Clip:
    """Three seconds, two faces that move; the second is there from the start as well."""
    return make_clip(tmp_path_factory.mktemp("clips") / "two.mp4", frames=75, faces=2, face_px=64)


def protected(clip: Clip, dest: Path, *options: str) -> Done:
    done = bauta(
        *("protect", clip.path, dest, "--protector", "proface-s", "--crf", "0", "--json"), *options
    )
    assert done.code == 0, done.err
    return done


def recover(clip: Path, dest: Path, *options: str | Path) -> Done:
    return bauta(
        *("recover", clip, dest, "--in-band", "--case", "17/26", "--reason", "a test", "--json"),
        *options,
    )


def lines_of(dest: Path) -> list[FrameLine]:
    """Those of keyframes."""
    sidecar = dest.with_name(dest.name + ".inband.jsonl")
    key = open_with_password(read_header(sidecar).keys, PASSWORD)
    return [line for line in read_lines(sidecar, key) if line.faces]


# --- files ---


def test_a_file_there_and_back(two_faces: Clip, tmp_path: Path) -> None:
    out, back, stills = tmp_path / "out.mp4", tmp_path / "back.mp4", tmp_path / "stills"
    result = protected(two_faces, out, "--password-from-env").result
    assert_no_face(two_faces, out)
    lines = lines_of(out)
    # every IDR frame (each two seconds), and each second
    assert [line.frame for line in lines] == [0, 25, 50]
    assert all(line.number == line.frame for line in lines)
    assert result["fused_faces"] == 6 and result["not_fused_because"] == {}
    assert result["sidecars"] == [f"{out}.inband.jsonl"]

    done = recover(out, back, "--password-from-env", "--stills", stills)

    assert done.code == 0, done.err
    assert done.result["opened"] == 6 and done.result["not_opened"] == 0
    originals, shown, hidden = (
        [luma(frame) for frame in decode_all(path)] for path in (two_faces.path, back, out)
    )
    assert len(shown) == two_faces.frames
    for line in lines:
        for face in line.faces:
            x, y, side = face.square.xys_px
            at = slice(y, y + side), slice(x, x + side)
            truth, found = originals[line.frame][at].astype(int), shown[line.frame][at]
            assert np.abs(truth - found).mean() < MOST_ERROR_LEVELS
    # between them the faces are moved as their protection was; how well, is for the flow's tests
    assert done.result["carried"] > 130 and done.result["without_keyframe"] == 0
    for index in (1, 3, 26, 28, 51, 53):
        assert_faces_shown(originals[index], shown[index], two_faces.truth[index])
    # the mark is in every frame, at the bottom left, and nothing else has changed
    for index in (0, 1, 40, 74):
        assert np.abs(shown[index][-10:, :60].astype(int) - hidden[index][-10:, :60]).mean() > 20
        assert np.abs(shown[index][:60].astype(int) - hidden[index][:60]).mean() < 3
    assert len(list(stills.iterdir())) == 6
    assert {path.stat().st_mode & 0o777 for path in (back, *stills.iterdir())} == {0o600}
    assert audit.verify(audit.audit_path()) == 1
    entry = json.loads(audit.audit_path().read_text())
    assert (entry["case"], entry["reason"], entry["opened_by"]) == ("17/26", "a test", "password")
    assert PASSWORD not in audit.audit_path().read_text() and PASSWORD not in done.err


def test_keyframes_in_the_file_are_where_faces_are_fused(two_faces: Clip, tmp_path: Path) -> None:
    """A recorder that cuts at an IDR frame can still recover."""
    out = tmp_path / "out.mp4"
    protected(two_faces, out, "--password-from-env")
    idr = [n for n, frame in enumerate(decode_all(out)) if frame.key_frame]
    assert idr == [0, 50]
    assert set(idr) <= {line.frame for line in lines_of(out) if len(line.faces) == 2}


def test_a_face_that_comes_later_is_fused_in_its_first_frame(tmp_path: Path) -> None:
    clip = make_clip(tmp_path / "enter.mp4", frames=60, enter_at=20, leave_at=50)
    out = tmp_path / "out.mp4"
    protected(clip, out, "--password-from-env")
    first = lines_of(out)[0].frame
    assert 20 - FILE_PROTECT["lookahead"] <= first <= 20  # hidden before it is seen
    assert_no_face(clip, out)


@pytest.mark.parametrize("ending", [".mkv", ".ts"])
def test_other_containers_count_frames_alike(ending: str, two_faces: Clip, tmp_path: Path) -> None:
    out = tmp_path / f"out{ending}"
    protected(two_faces, out, "--password-from-env")
    done = recover(out, tmp_path / f"back{ending}", "--password-from-env")
    assert done.result["opened"] == 6


def test_one_person_of_two(two_faces: Clip, tmp_path: Path) -> None:
    out, back = tmp_path / "out.mp4", tmp_path / "back.mp4"
    protected(two_faces, out, "--password-from-env")
    lines = lines_of(out)
    wanted = lines[0].faces[0].track_id
    done = recover(out, back, "--password-from-env", "--track", str(wanted))
    assert done.result["tracks"] == [wanted] and done.result["opened"] == 3
    shown, originals = pictures_of(back), pictures_of(two_faces.path)
    for face in lines[0].faces:
        x, y, side = face.square.xys_px
        box = np.array([x, y, x + side, y + side], np.float32)
        seen = face_visible(originals[0], shown[0], box)
        assert seen > 0.7 if face.track_id == wanted else seen < 0.35


def test_a_stretch_of_time(two_faces: Clip, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    protected(two_faces, out, "--password-from-env")
    done = recover(
        out, tmp_path / "b.mp4", "--password-from-env", "--from", "0:00.5", "--to", "1.5"
    )
    assert done.result["opened"] == 2 and done.result["frames"] == 75


def test_a_cut_with_its_offset(two_faces: Clip, tmp_path: Path) -> None:
    out, cut = tmp_path / "out.mp4", tmp_path / "cut.mkv"
    protected(two_faces, out, "--password-from-env")
    with av.open(str(out)) as source, av.open(str(cut), "w") as dest:
        stream = dest.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        for packet in packets[50:]:
            packet.stream = stream
            dest.mux(packet)
    sidecar = Path(f"{out}.inband.jsonl")
    options = ("--password-from-env", "--sidecar", sidecar)
    done = recover(cut, tmp_path / "back.mp4", *options, "--first-frame", "50")
    assert done.result["opened"] == 2
    # without it the clip's frames are taken for others, and nothing but noise opens: left out
    done = recover(cut, tmp_path / "wrong.mp4", *options)
    assert done.code == 1 and done.result["opened"] == 0 and done.result["not_opened"] == 2
    assert "--first-frame" in done.err
    assert len(pictures_of(tmp_path / "wrong.mp4")) == 25


def test_the_search_needs_no_place(two_faces: Clip, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    protected(two_faces, out, "--password-from-env")
    (true, _) = lines_of(out)[1].faces
    x, y, side = true.square.xys_px
    sidecar = Path(f"{out}.inband.jsonl")
    sidecar.write_bytes(sidecar.read_bytes().splitlines(keepends=True)[0])
    done = recover(
        *(out, tmp_path / "back.mp4", "--password-from-env", "--search", "--frame", "25"),
        *("--around", f"{x + 5},{y - 6},{side - 10}", "--reach", "14"),
    )
    assert done.code == 0, done.err
    assert done.result["opened"] == 1
    assert f"frame 25: ({x}, {y}, {side}) opened" in done.err
    shown, original = pictures_of(tmp_path / "back.mp4")[25], pictures_of(two_faces.path)[25]
    at = slice(y, y + side), slice(x, x + side)
    assert np.abs(original[at].astype(int) - shown[at]).mean() < MOST_ERROR_LEVELS


# --- keys ---


def test_keys_for_two_officers(two_faces: Clip, tmp_path: Path) -> None:
    for name in ("dpo", "police", "thief"):
        done = bauta("keys", "new", tmp_path / f"{name}.key", "--no-passphrase")
        assert done.code == 0 and "AGE-SECRET" not in done.out + done.err
        shown = bauta("keys", "show", tmp_path / f"{name}.key")
        assert shown.out == bauta("keys", "show", tmp_path / f"{name}.pub").out
        assert shown.out.startswith("age1")
    out = tmp_path / "out.mp4"
    recipients = [f"--recipient={tmp_path / name}.pub" for name in ("dpo", "police")]
    protected(two_faces, out, *recipients)
    for name in ("dpo", "police"):
        done = recover(out, tmp_path / f"{name}.mp4", "--key", tmp_path / f"{name}.key")
        assert done.code == 0 and done.result["opened"] == 6
    done = recover(out, tmp_path / "thief.mp4", "--key", tmp_path / "thief.key")
    assert done.code == 1
    assert "this key does not open the clip" in done.error_line
    assert not (tmp_path / "thief.mp4").exists()
    done = recover(out, tmp_path / "thief.mp4", "--password-from-env")
    assert done.code == 1 and "give --key FILE" in done.error_line
    assert audit.verify(audit.audit_path()) == 2  # of what was opened, and of nothing else


def test_a_wrong_password_is_one_line(
    two_faces: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.mp4"
    protected(two_faces, out, "--password-from-env")
    monkeypatch.setenv("BAUTA_PASSPHRASE", PASSWORD + "r")
    done = recover(out, tmp_path / "back.mp4", "--password-from-env")
    assert done.code == 1 and done.error_line == "bauta: wrong password"
    assert not (tmp_path / "back.mp4").exists() and not audit.audit_path().exists()


def test_without_a_key_the_clip_is_protected_for_good_and_that_is_said(
    two_faces: Clip, tmp_path: Path
) -> None:
    out = tmp_path / "out.mp4"
    done = protected(two_faces, out)
    assert "no one can ever recover" in done.err
    assert list(tmp_path.glob("*.jsonl")) == []
    assert done.result["sidecars"] == [] and done.result["fused_faces"] == 6


def test_an_altered_sidecar_is_one_line(two_faces: Clip, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    protected(two_faces, out, "--password-from-env")
    sidecar = Path(f"{out}.inband.jsonl")
    sidecar.write_bytes(sidecar.read_bytes().replace(b'"track":1', b'"track":3', 1))
    done = recover(out, tmp_path / "back.mp4", "--password-from-env")
    assert done.code == 1 and "line 2 is not as it was written" in done.error_line
    assert not (tmp_path / "back.mp4").exists() and not audit.audit_path().exists()


def test_no_log_no_recovery(
    two_faces: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out.mp4"
    protected(two_faces, out, "--password-from-env")
    monkeypatch.setenv("BAUTA_STATE", str(out))  # a file where a folder must be
    done = recover(out, tmp_path / "back.mp4", "--password-from-env")
    assert done.code == 1 and "nothing is recovered without it" in done.error_line
    assert not list(tmp_path.glob("back*"))


USAGE = {
    "no case": (("--case", " "), "--case and --reason"),
    "long case": (("--case", "x" * 80), "at most 60 characters"),
    "no key": ((), "who opens it?"),
    "search without a frame": (("--password-from-env", "--search"), "--search needs --frame"),
    "dest is clip": (("--overwrite",), "the same file"),
    "dest exists": ((), "exists; add --overwrite"),
    "no sidecar": (("--password-from-env", "--sidecar", "none"), "none: No such file"),
    "bad time": (("--from", "soon"), "must be a time such as"),
    "bad number": (("--first-frame", "-1"), "must be a whole number"),
}


@pytest.mark.parametrize("case", USAGE)
def test_wrong_use_is_one_line(case: str, two_faces: Clip, tmp_path: Path) -> None:
    options, message = USAGE[case]
    out = tmp_path / "out.mp4"
    if case != "no sidecar":
        protected(two_faces, out, "--password-from-env")
    else:
        out.write_bytes(two_faces.path.read_bytes())
    dest = out if case == "dest is clip" else tmp_path / "back.mp4"
    if case == "dest exists":
        dest.write_text("mine")
    done = recover(out, dest, *options)
    assert done.code in (1, 2) and message in done.error_line
    assert not audit.audit_path().exists()


def test_a_scaled_clip_is_refused(two_faces: Clip, tmp_path: Path) -> None:
    out, small = tmp_path / "out.mp4", tmp_path / "small.mkv"
    protected(two_faces, out, "--password-from-env")
    with av.open(str(small), "w") as dest:
        stream = dest.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 320, 180, "yuv420p"
        for frame in decode_all(out)[:5]:
            dest.mux(stream.encode(frame.reformat(width=320, height=180)))
        dest.mux(stream.encode(None))
    sidecar = Path(f"{out}.inband.jsonl")
    done = recover(small, tmp_path / "b.mp4", "--password-from-env", "--sidecar", sidecar)
    assert done.code == 1 and "protected at 640x360" in done.error_line
    assert not list(tmp_path.glob("b.mp4*"))


# --- an engine that fails in mid-stream ---


def test_an_engine_that_raises_in_mid_stream_shows_nobody(
    service: DetectionService, two_faces: Clip, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    script = Script()

    def after_the_second(run: int, inputs: Mapping[str, Array]) -> dict[str, Array] | None:
        if run == 3:
            raise MemoryError
        return {"out": np.full_like(inputs["y"], np.nan)} if run > 3 else None

    script.fault = after_the_second
    out = tmp_path / "out.mp4"
    camera, detector = settings_for(
        two_faces.path, [out], protect=PROTECT | {"keyframe_every": 0.2}, encode=LOSSLESS
    )
    in_band = scripted_in_band(camera, worker=FusionWorker(script.open))
    with caplog.at_level(logging.WARNING):
        session = CameraSession(camera, detector=detector, service=service, in_band=in_band)
        session.start()
        assert session.wait(PATIENCE_S)
    assert not session.redactions()
    assert_no_face(two_faces, out)
    assert len(lines_of(out)) == 2  # what was fused before, and nothing that was not
    assert sum("switched off" in record.message for record in caplog.records) == 1
    status = camera_status("cam", session)
    assert status.fused == 4
    assert MOST_FAILURES <= status.not_fused["the engine failed"] <= 2 * MOST_FAILURES
    assert "4 fused" in session_line(session)


def session_line(session: CameraSession) -> str:
    session.counts.to_state("up")
    return camera_status("cam", session).as_line()


# --- sessions that share, cameras, recordings ---


def test_sessions_share_one_model_and_no_key(
    service: DetectionService, two_faces: Clip, tmp_path: Path
) -> None:
    from pipeline import build

    cameras = [
        settings_for(two_faces.path, [tmp_path / f"{n}.mp4"], protect=PROTECT, encode=LOSSLESS)
        for n in range(2)
    ]
    built = [build.build_in_band(c, live=False, password=PASSWORD) for c, _ in cameras]
    sessions = [
        CameraSession(camera, detector=detector, service=service, in_band=in_band)
        for (camera, detector), in_band in zip(cameras, built, strict=True)
    ]
    assert len(build._fusion_workers) == 1
    assert sum(thread.name == "fusion" for thread in threading.enumerate()) >= 1
    for session in sessions:
        session.start()
    assert all(session.wait(PATIENCE_S) for session in sessions)
    keys = set()
    for n in range(2):
        out = tmp_path / f"{n}.mp4"
        assert_no_face(two_faces, out)
        lines = lines_of(out)
        assert len(lines) == 3
        header = read_header(Path(f"{out}.inband.jsonl"))
        clip_key = open_with_password(header.keys, PASSWORD)
        keys |= {
            face_key(clip_key, line.number, face.square.xys_px)
            for line in lines
            for face in line.faces
        }
    assert len(keys) == 2 * 6  # no two faces anywhere share one


def test_a_camera_without_recipients_says_so_at_the_start(
    service: DetectionService, two_faces: Clip, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        caplog.at_level(logging.WARNING),
        session_on(service, two_faces.path, protect=PROTECT) as session,
    ):
        assert session.in_band is not None and session.in_band.sidecars is None
    assert sum("no one can ever recover" in record.message for record in caplog.records) == 1


def test_segments_of_a_recording_find_their_place(
    service: DetectionService, tmp_path: Path
) -> None:
    """Each is recovered on its own, with the one sidecar of the session beside it."""
    clip = make_clip(tmp_path / "clip.mp4", frames=100, faces=1)
    bauta("keys", "new", tmp_path / "dpo.key", "--no-passphrase")
    folder = tmp_path / "record"
    protect = PROTECT | {"recipients": [str(tmp_path / "dpo.pub")]}
    with session_on(
        *(service, clip.path),
        record={"dir": str(folder), "segment": 1.0},
        protect=protect,
        encode=LOSSLESS | {"gop": 1.0},
    ) as session:
        assert session.wait(PATIENCE_S)
    segments = sorted(folder.glob("*.mp4"))
    assert len(segments) == 4 and len(list(folder.glob("cam_*.inband.jsonl"))) == 1
    originals = pictures_of(clip.path)
    for number, segment in enumerate(segments):
        back = tmp_path / f"{number}.mp4"
        done = recover(segment, back, "--key", tmp_path / "dpo.key")
        assert done.code == 0, done.err
        assert done.result["frames"] == 25 and done.result["opened"] >= 1
        at = 25 * number
        assert_faces_shown(originals[at], pictures_of(back)[0], clip.truth[at])


@pytest.mark.slow
def test_a_live_camera_is_recovered_from_its_recording(
    service: DetectionService, looped_clip: Clip, tmp_path: Path
) -> None:
    from support.rtsp_server import rtsp_camera

    folder = tmp_path / "record"
    with rtsp_camera(looped_clip.path) as camera:
        settings, detector = settings_for(
            camera.url,
            record={"dir": str(folder), "segment": 60},
            protect=PROTECT,
            encode=LOSSLESS | {"preset": "ultrafast"},
        )
        in_band = scripted_in_band(settings, key=new_clip_key(password=PASSWORD), live=True)
        session = CameraSession(settings, detector=detector, service=service, in_band=in_band)
        session.start()
        try:
            wait_for("four seconds of film", lambda: session.counts.frames_out > 100)
        finally:
            session.stop(PATIENCE_S)
    (recording,) = folder.glob("*.mp4")
    assert session.keyed_counts.fused >= 3
    assert_hidden_anywhere(looped_clip, pictures_of(recording)[::3])
    done = recover(recording, tmp_path / "back.mp4", "--password-from-env")
    assert done.code == 0, done.err
    # whatever was dropped on the way: each line names the frame that is really there
    assert done.result["opened"] == session.keyed_counts.fused or session.protected.dropped
    assert done.result["not_opened"] == 0
