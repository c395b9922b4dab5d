"""Labelled stills, pans over them and recorded clips know where their faces are."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from benchmarks import _leak_recorded, clips
from benchmarks._leak_recorded import CLIPS, WITHOUT_FACES, recorded_clips, true_paths, truth_path
from benchmarks._leak_stills import MOST_STEP_PX, PAN_FRAMES, PAN_PX, still_clips
from benchmarks._leak_tracks import Track, linked, sightings_of
from benchmarks._leak_truth import LeakClip
from pipeline.frames import FloatArray, planes_of

GREY, WHITE = 60, 230


@pytest.fixture
def labelled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A set as the real ones are: white ellipses on grey, one face of each kind of doubt."""
    folder = tmp_path / "testdata"
    (folder / "faces").mkdir(parents=True)
    boxes: list[list[float]] = [
        [100, 60, 60, 80],
        [300, 200, 14, 16],
        [500, 300, 40, 50],
        [700, 400, 12, 20],
    ]
    squash = np.array([416 / 900, 416 / 600] * 2)
    small = (np.array(boxes) * squash).tolist()
    label = {"boxes_xywh_orig": boxes, "boxes_xywh_416": small, "orig_w": 900, "orig_h": 600}
    flags = {"invalid": [0, 0, 1, 0], "blur": [0, 2, 0, 1]}
    _write(folder, "widerface_val", (416, 416), small, label | flags)
    _write(
        folder, "facemask_853", (401, 300), boxes[:1], {"boxes_xywh": boxes[:1], "w": 401, "h": 300}
    )
    monkeypatch.setattr(clips, "testdata", lambda: folder)
    return folder


def _write(
    folder: Path, name: str, size_px: tuple[int, int], boxes: list[list[float]], label: object
) -> None:
    picture = np.full((size_px[1], size_px[0], 3), GREY, np.uint8)
    for x, y, w, h in boxes:
        centre, axes = (round(x + w / 2), round(y + h / 2)), (round(w / 2), round(h / 2))
        cv2.ellipse(picture, centre, axes, 0, 0, 360, (WHITE,) * 3, -1)
    data = cv2.imencode(".png", picture)[1].tobytes()
    with zipfile.ZipFile(folder / "faces" / f"{name}.zip", "w") as archive:
        archive.writestr("one.png", data)
    (folder / "faces" / f"{name}.json").write_text(json.dumps({"one.png": label}))


def _of(count: int, family: str) -> list[LeakClip]:
    found = [clip for clip in still_clips(count, 0) if isinstance(clip, LeakClip)]
    return [clip for clip in found if clip.family == family]


def test_a_stills_faces_lie_where_they_are_seen(labelled: Path) -> None:
    street, wider = _of(3, "stills")
    assert street.size_px == (400, 300) and wider.size_px == (900, 600)  # even; stretched back
    for clip in (street, wider):
        (image,) = clip.pictures()
        assert image.format.name == "yuv420p" and (image.width, image.height) == clip.size_px
        luma = planes_of(image).y
        face = clip.truths(0)[0]
        height, width = face.mask.shape
        inside = luma[face.y_px : face.y_px + height, face.x_px : face.x_px + width]
        assert np.mean(inside[face.mask] > 128) > 0.95
        assert np.mean(inside[~face.mask] < 128) > 0.7  # squashed boxes lie between pixels


def test_what_nobody_can_tell_is_doubtful(labelled: Path) -> None:
    _, wider = _of(3, "stills")
    # clear; heavily blurred and small; invalid; clear, but squashed to less than 8 px
    faces = wider.truths(0)
    assert [face.is_doubtful for face in faces] == [False, True, True, False]
    label = json.loads((labelled / "faces" / "widerface_val.json").read_text())
    label["one.png"]["boxes_xywh_416"][3] = [300, 250, 5, 12]
    (labelled / "faces" / "widerface_val.json").write_text(json.dumps(label))
    assert _of(3, "stills")[1].truths(0)[3].is_doubtful


def test_a_pans_truth_moves_with_its_pictures(labelled: Path) -> None:
    for clip in _of(3, "pans"):
        assert clip.size_px == PAN_PX and clip.frames == PAN_FRAMES
        corners = []
        for index, image in enumerate(clip.pictures()):
            luma = planes_of(image).y
            for face in clip.truths(index):
                height, width = face.mask.shape
                inside = luma[face.y_px : face.y_px + height, face.x_px : face.x_px + width]
                if face.size_px > 30:
                    assert np.mean(inside[face.mask] > 128) > 0.9
            corners += [face.box_xyxy_px[:2] for face in clip.truths(index) if face.person == 0]
        steps = np.abs(np.diff(corners, axis=0)).max(axis=1)
        assert 0 < steps.max() <= MOST_STEP_PX + 0.01


def test_pictures_are_new_each_time(labelled: Path) -> None:
    clip = _of(3, "stills")[0]
    (one,), (other,) = clip.pictures(), clip.pictures()
    planes_of(one).y[:] = 0
    assert planes_of(other).y.max() > 128


def test_without_the_test_data_there_is_a_portrait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "testdata", lambda: None)
    found = list(still_clips(6, 0))
    assert sum(isinstance(one, str) for one in found) == 1
    assert {one.family for one in found if isinstance(one, LeakClip)} == {"stills", "pans"}
    assert all(isinstance(one, str) for one in recorded_clips(10))


# --- tracks ---


def _seen(
    x: float, names: tuple[str, ...] = ("centerface", "yunet")
) -> list[tuple[str, FloatArray]]:
    row = np.array([[x, 100, x + 40, 150, 0.9]], np.float32)
    return [(name, row) for name in names]


def test_detectors_that_agree_make_a_sure_track() -> None:
    found = {frame: _seen(100 + 2 * frame) for frame in range(0, 40, 5)}
    found |= {0: _seen(100, ("yunet",)), 35: _seen(170, ("yunet",))}
    (track,) = linked(found, [], 5)
    assert track.is_agreed and track.sure_frames == (5, 30)


def test_one_detector_alone_is_doubted() -> None:
    found = {frame: _seen(100, ("yunet",)) for frame in range(0, 40, 5)}
    (track,) = linked(found, [], 5)
    assert not track.is_agreed and track.sure_frames is None


def test_a_fast_walker_is_one_track_and_a_cut_ends_it() -> None:
    found = {frame: _seen(20 * frame) for frame in range(0, 30, 3)}  # more than a width each
    assert len(linked(found, [], 3)) == 1
    assert [track.frames[0] for track in linked(found, [12], 3)] == [0, 12]


def test_a_box_beside_the_way_is_left_out() -> None:
    track = Track()
    for frame in range(0, 30, 5):
        seen = _seen(124, ("yunet",)) if frame == 15 else _seen(100)
        track.add(frame, sightings_of(seen)[0])
    assert 15 not in track.without_strays().frames


# --- the committed truth ---


def test_every_verdict_is_on_a_track_and_says_why() -> None:
    names = {clip.name: clip for clip in CLIPS}
    verdicts = json.loads(_leak_recorded.VERDICTS.read_text(encoding="utf-8"))
    for name, each in verdicts.items():
        tracks = json.loads(truth_path(names[name]).read_text(encoding="utf-8"))["tracks"]
        known = {track["track"] for track in tracks}
        for verdict in each:
            assert verdict["track"] in known, (name, verdict)
            assert verdict["is"] in ("face", "no face", "doubtful") and verdict["why"]


@pytest.mark.parametrize(
    "clip", [c for c in CLIPS if truth_path(c).is_file()], ids=lambda c: c.name
)
def test_a_truth_file_is_whole(clip: _leak_recorded.RecordedClip) -> None:
    kept = json.loads(truth_path(clip).read_text(encoding="utf-8"))
    assert kept["file"] == clip.file and kept["looked_every"] == clip.every
    for path in true_paths(clip):
        assert (np.diff(path.frames) > 0).all()
        assert path.frames[0] >= 0 and path.frames[-1] < kept["frames"]
        sides = path.box_xyxy_px[:, 2:] - path.box_xyxy_px[:, :2]
        assert (sides > 0).all()
        ends = [frame for first, last, _ in path.spans for frame in (first, last)]
        assert ends == sorted(ends)


def test_a_face_is_drawn_out_between_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_leak_recorded, "TRUTH", tmp_path)
    monkeypatch.setattr(_leak_recorded, "VERDICTS", tmp_path / "verdicts.json")
    boxes = [[0, 10, 20, 50, 70], [10, 30, 20, 70, 70], [20, 50, 20, 90, 70]]
    track = {"track": 3, "sure_frames": [0, 10], "frame_xyxy_px": boxes}
    (tmp_path / "street.json").write_text(json.dumps({"tracks": [track]}))
    verdict = {"track": 3, "is": "no face", "why": "hand", "first": 15}
    (tmp_path / "verdicts.json").write_text(json.dumps({"street": [verdict]}))
    (path,) = true_paths(CLIPS[0])
    face = path.face(5, (200, 200))
    assert face is not None and not face.is_doubtful
    assert face.box_xyxy_px.tolist() == [20, 20, 60, 70]
    later = path.face(12, (200, 200))
    assert later is not None and later.is_doubtful
    assert path.face(15, (200, 200)) is None and path.face(21, (200, 200)) is None


def test_recorded_clips_have_the_frames_they_say() -> None:
    found = [clip for clip in recorded_clips(4) if isinstance(clip, LeakClip)]
    if not found:
        pytest.skip("no test data")
    av.logging.set_level(None)
    for clip in found:
        images = list(clip.pictures())
        assert len(images) == clip.frames <= 4
        assert {(image.width, image.height) for image in images} == {clip.size_px}
        assert {image.format.name for image in images} == {"yuv420p"}
        assert not (clip.name in WITHOUT_FACES and clip.truths(0))
