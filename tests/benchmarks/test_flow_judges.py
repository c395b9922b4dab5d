"""Change between frames, motion against its truth, targets: judged without a network."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import _flow_stability as stability
from benchmarks._flow_cost import Times, Usage
from benchmarks._flow_motion import Moved, motion_error, of_age
from benchmarks._flow_scenes import Pose
from benchmarks._flow_stability import Changes, affine_places, change_between, kind_of
from pipeline.frames import MOTION_CELLS, Motion, Square, YuvPlanes

SIDE = 96


@pytest.fixture
def texture() -> NDArray[np.uint8]:
    noise = np.random.default_rng(5).standard_normal((240, 320)).astype(np.float32)
    soft = cv2.GaussianBlur(noise, (0, 0), 4)
    return np.clip(128 + 400 * soft, 0, 255).astype(np.uint8)


def moved(texture: NDArray[np.uint8], pose: Pose) -> NDArray[np.uint8]:
    """The texture laid into a frame; centres of pixels at halves."""
    to_frame = pose.affine()
    to_frame[:, 2] += to_frame[:, :2] @ np.array([0.5, 0.5]) - 0.5
    frame = cv2.warpAffine(texture, to_frame, (320, 240), borderMode=cv2.BORDER_REFLECT)
    return np.asarray(frame, np.uint8)


POSES = (
    (Pose(150, 120), Pose(153, 122)),
    (Pose(150, 120), Pose(150.5, 119.25)),
    (Pose(150, 120, 1.0, 0), Pose(151, 120, 1.0, 3)),
    (Pose(150, 120, 1.0, 0), Pose(150, 120, 1.06, 0)),
)


@pytest.mark.parametrize(("before", "now"), POSES)
def test_what_only_moves_does_not_change(
    texture: NDArray[np.uint8], before: Pose, now: Pose
) -> None:
    there, here = moved(texture, before), moved(texture, now)
    then_square, now_square = Square(100, 70, SIDE), Square(104, 72, SIDE)
    places = affine_places(now.affine(), before.affine(), now_square, then_square)
    cut = [
        frame[s.y_px : s.y_px + SIDE, s.x_px : s.x_px + SIDE]
        for frame, s in ((there, then_square), (here, now_square))
    ]
    change = change_between(cut[0], cut[1], places)
    assert change is not None and change < 1.5
    still = affine_places(now.affine(), now.affine(), now_square, then_square)
    unmoved = change_between(cut[0], cut[1], still)
    if now.scale == 1 and abs(now.x_px - before.x_px) > 2:
        assert unmoved is not None and unmoved > 3 * change


def test_flow_of_the_originals_finds_the_same(texture: NDArray[np.uint8]) -> None:
    before, now = POSES[0]
    half = np.full((120, 160), 128, np.uint8)
    frames = [YuvPlanes(moved(texture, pose), half, half) for pose in (before, now)]
    squares = Square(104, 72, SIDE), Square(100, 70, SIDE)
    found = stability.flow_places(frames[0], frames[1], squares[0], squares[1])
    true = affine_places(now.affine(), before.affine(), squares[0], squares[1])
    assert found is not None
    assert np.abs(found - true)[8:-8, 8:-8].mean() < 0.3
    far = Square(300 // 2 * 2 - 80, 72, 32)
    assert stability.flow_places(frames[0], frames[1], Square(0, 72, 32), far) is None


def test_flicker_is_a_change(texture: NDArray[np.uint8]) -> None:
    one = texture[:SIDE, :SIDE]
    other = np.clip(one.astype(int) + np.where(np.arange(SIDE) % 2, 6, -6), 0, 255)
    along = np.arange(SIDE, dtype=np.float32)
    places = np.stack(np.meshgrid(along, along), axis=-1)
    assert change_between(one, one, places) == 0
    change = change_between(one, other.astype(np.uint8), places)
    assert change == pytest.approx(6, abs=0.3)
    assert change_between(one, one, places + np.float32(200)) is None  # nothing in common


def test_every_pair_of_frames_is_of_one_kind() -> None:
    assert kind_of("carried", "fused") == kind_of("plain", "fused") == "keyframe"
    assert kind_of("fused", "carried") == "carried"
    assert kind_of("carried", "plain") == kind_of("fused", "plain") == "let go"
    assert kind_of("plain", "plain") == "plain"
    changes = Changes([("carried", 1.0), ("carried", 2.0), ("keyframe", 9.0)])
    assert changes.mean() == 4 and changes.mean("carried") == 1.5
    assert changes.mean("let go") is None and changes.share("keyframe") == pytest.approx(1 / 3)


def test_a_motion_is_judged_by_where_it_fetches_from() -> None:
    """Squares that were laid right need no grid; a grid of one pixel is one pixel off."""
    then, now = Pose(100, 100), Pose(140, 110)
    nothing = np.zeros((MOTION_CELLS, MOTION_CELLS, 2), np.int16)
    right = Motion(0, (40, 40, 120), (80, 50, 120), nothing)
    box = now.box()
    width = float((box[2:] - box[:2]).max())
    assert motion_error(right, then.affine(), now.affine(), box) == pytest.approx(0, abs=1e-4)
    off = Motion(0, (40, 40, 120), (80, 50, 120), nothing + np.array([8, 0], np.int16))
    found = motion_error(off, then.affine(), now.affine(), box)
    assert found == pytest.approx(1 / width, rel=0.01)
    larger = Pose(140, 110, 2.0)
    twice = Motion(0, (40, 40, 120), (20, -10, 240), nothing)
    error = motion_error(twice, then.affine(), larger.affine(), larger.box())
    assert error == pytest.approx(0, abs=1e-4)


def test_the_oldest_stand_for_all_that_are_older() -> None:
    found = [Moved(age, 30, 0.9, 20, None, 100) for age in (1, 5, 23, 24, 40)]
    assert [each.age for each in of_age(found, 24)] == [23, 24, 40]
    assert [each.age for each in of_age(found, 5)] == [5]
    assert of_age(found, 12) == []


def test_runs_are_counted_by_faces_that_can_be_fused() -> None:
    usage = Usage(fps=25, face_frames=1000, fusable=250, fused=15, carried=200)
    assert usage.runs_per_second == pytest.approx(1.5)
    assert usage.share(usage.carried) == pytest.approx(0.8)


def test_times_are_medians() -> None:
    times = Times(carry=[1.0, 3.0, 9.0])
    assert times.median("carry") == 3 and np.isnan(times.median("fuse"))
