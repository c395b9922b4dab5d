"""The judge of the motion benchmark: what it knows is true, and what is wrong is called wrong."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from benchmarks import _motion_scenes
from benchmarks._motion_doubt import Said, best_thresholds, carried_psnr
from benchmarks._motion_grid import affine, cells_of, composed, face_weights, places_px, sample
from benchmarks._motion_judge import error_px, judge, judge_drift, true_grid
from benchmarks._motion_methods import FaceLucasKanade, Product, Sight, sight_of, view
from benchmarks._motion_scenes import FRAMES, KINDS, Pose, Scene, made_scene, pose_at
from pipeline.frames import MOTION_CELLS, FloatArray, U8Array
from pipeline.protect import flow


@pytest.fixture(scope="module")
def face() -> U8Array:
    """Blobs that look the same nowhere."""
    rng = np.random.default_rng(3)
    coarse = rng.uniform(40, 210, (14, 14)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (112, 112), interpolation=cv2.INTER_CUBIC)).astype(
        np.uint8
    )


@pytest.fixture(scope="module")
def made(face: U8Array) -> dict[str, Scene]:
    """Over made backgrounds, whatever this machine has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_motion_scenes, "BACKGROUNDS", ("none.mp4",))
        return {kind: made_scene(kind, face, 0) for kind in ("walk", "zoom", "talk")}


class Known:
    """A method that was told, and may lie."""

    name = "known"
    view_px = 0

    def __init__(self, scene: Scene, lie: float = 0.0) -> None:
        self._scene, self._lie, self._frame = scene, lie, 0

    def grid(self, before: Sight, now: Sight) -> FloatArray:
        """Of the frames, one after the other."""
        self._frame = self._frame % (FRAMES - 1) + 1
        found = true_grid(self._scene, self._frame, self._frame - 1)
        found[..., 0] += np.float32(self._lie)
        return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_way_there_and_back_ends_where_it_began(kind: str) -> None:
    one, other = pose_at(kind, 3, 0.9, 1), pose_at(kind, 20, 0.9, 1)
    points = np.random.default_rng(0).uniform(150, 450, (50, 2)).astype(np.float32)
    there = other.places(one.texels(points))
    assert np.abs(one.places(other.texels(there)) - points).max() < 0.01


def test_a_known_warp_has_the_known_error() -> None:
    turned = Pose(100, 80, 1.2, 0.3, jaw=4)
    texels = np.array([[30, 30], [56, 98]], np.float32)
    assert np.allclose(turned.texels(turned.places(texels)), texels, atol=0.01)
    # the mouth goes down by what the jaw says, elsewhere nothing moves
    still, mouth = (turned.places(texels) - Pose(100, 80, 1.2, 0.3).places(texels)).tolist()
    assert np.hypot(*still) < 0.1 and 3 < np.hypot(*mouth) < 6.5


def test_true_motion_has_no_error_and_a_lie_has_its_own(made: dict[str, Scene]) -> None:
    scene = made["walk"]
    side = np.float32(scene.square(4)[2])
    truth = true_grid(scene, 5, 4)
    assert np.median(error_px(scene, 5, 4, truth * side)) < 0.05
    wrong = truth + np.array((0.05, 0), np.float32)
    assert np.median(error_px(scene, 5, 4, wrong * side)) == pytest.approx(0.05 * side, rel=0.02)


def test_a_wrong_field_is_judged_wrong_and_worse_when_added_up(made: dict[str, Scene]) -> None:
    scene = made["walk"]
    honest, lying = (judge(Known(scene, lie), [scene]) for lie in (0.0, 0.005))
    far = [float(np.median(np.concatenate(each.far["walk"]))) for each in (honest, lying)]
    one = [float(np.median(np.concatenate(each.one))) for each in (honest, lying)]
    assert one[0] < 0.1 and far[0] < 1
    assert one[1] == pytest.approx(0.5 * _motion_scenes.VIEW_SIDES, rel=0.15)  # % of the width
    assert far[1] > 15 * one[1]


def test_what_is_found_is_near_the_truth(made: dict[str, Scene]) -> None:
    for scene in made.values():
        errors = judge(FaceLucasKanade(), [scene])
        assert np.median(np.concatenate(errors.one)) < 0.5 and not errors.lost


def test_the_decoders_vectors_follow_the_camera(face: U8Array) -> None:
    rng = np.random.default_rng(1)
    coarse = rng.uniform(30, 220, (60, 100)).astype(np.float32)
    wide = cv2.resize(coarse, (800, 360), interpolation=cv2.INTER_CUBIC)
    frames = [
        np.clip(wide[:, 8 * n : 8 * n + 640], 16, 235).astype(np.uint8).copy() for n in range(5)
    ]
    luma, vectors = _motion_scenes.through_camera(frames)
    assert len(luma) == 5 and vectors[0] is None and vectors[3] is not None
    middle = vectors[3][20:70, 20:130].reshape(-1, 2)
    assert np.nanmedian(middle, axis=0).tolist() == [8, 0]


def test_grids_of_nine_cells_are_the_products() -> None:
    rng = np.random.default_rng(5)
    grid = rng.normal(0, 0.02, (MOTION_CELLS, MOTION_CELLS, 2)).astype(np.float32)
    box = np.array((0.2, 0.1, 0.7, 0.8), np.float32)
    weights = flow.face_weights(box)
    assert np.allclose(face_weights(box, MOTION_CELLS), weights)
    assert np.allclose(cells_of(MOTION_CELLS), flow.CELLS)
    assert np.allclose(sample(grid, flow.CELLS + grid), flow.sample(grid, flow.CELLS + grid))
    luma = rng.integers(0, 255, (200, 200)).astype(np.uint8)
    square, box = (-20, 40, 130), np.array([10, 60, 90, 150], np.float32)
    product = flow.view_of(luma, square, box)
    assert product is not None
    mine = flow.evened(view(luma, square, flow.VIEW_PX), flow.in_view(box, square))
    assert np.array_equal(product.luma, mine)


def test_the_affine_part_goes_on_beyond_the_grid() -> None:
    cells = cells_of(MOTION_CELLS)
    growing = ((cells - 0.5) * 0.04).astype(np.float32)
    off = np.zeros_like(growing)
    bent = off
    for _ in range(20):
        off = composed(off, growing, 100, apart=True)
        bent = composed(bent, growing, 100)
    exact = (cells - 0.5) * 100 * (1.04**20 - 1)
    assert np.abs(off - exact).max() < 0.05 < np.abs(bent - exact).max()
    assert np.allclose(affine(growing, np.ones((9, 9), np.float32)), growing, atol=1e-5)


def test_places_are_counted_as_the_product_counts_them() -> None:
    off = np.zeros((MOTION_CELLS, MOTION_CELLS, 2), np.float32)
    point = np.array([[10.0, 20.0]], np.float32)
    assert places_px(off, (4, 6, 40), (0, 0, 40), point).tolist() == [[14, 26]]
    # the middle of the first of two pixels becomes the middle of the first four
    assert places_px(off, (0, 0, 80), (0, 0, 40), point).tolist() == [[20.5, 40.5]]


def test_fetching_again_and_again_blurs(made: dict[str, Scene]) -> None:
    once, again = (
        judge_drift([made["walk"]], cv2.INTER_LINEAR, again=each) for each in (False, True)
    )
    assert again.sharp[24][0] < 0.7 * once.sharp[24][0]
    assert again.psnr[24][0] < once.psnr[24][0]


def test_the_product_doubts_another_picture(made: dict[str, Scene]) -> None:
    method, calm, wrong = Product(), Said(), Said()
    before, now = (sight_of(made["walk"], frame) for frame in (4, 5))
    calm.ask(method, before, now)
    noise = np.random.default_rng(0).integers(16, 235, now.luma.shape).astype(np.uint8)
    wrong.ask(method, before, Sight(noise, None, now.box, now.xys_px))
    assert wrong.residual[0] > 2 * calm.residual[0]
    assert wrong.disagreement[0] > 2 * calm.disagreement[0]
    disagreement, residual = best_thresholds([calm], [wrong], 0.0)
    assert calm.accepted(disagreement, residual) == 1
    assert wrong.accepted(disagreement, residual) == 0


def test_what_the_network_is_trained_on_is_true(face: U8Array) -> None:
    pytest.importorskip("torch")
    from benchmarks._motion_network import VIEW_PX, made_pair

    half = VIEW_PX // 2
    places = cells_of(half) * half - np.float32(0.5)
    explained, still = [], []
    for seed in range(12):
        pair = made_pair([face, np.ascontiguousarray(face[::-1])], np.random.default_rng(seed))
        now, before = (
            np.asarray(cv2.resize(each, (half, half), interpolation=cv2.INTER_AREA), np.float32)
            for each in (pair.now, pair.before)
        )
        moved = _motion_scenes.fetch(before, (places + pair.way_px / 2).astype(np.float32))
        heavy = pair.weight == 1
        explained.append(np.abs(moved - now)[heavy].mean())
        still.append(np.abs(before - now)[heavy].mean())
    assert np.mean(explained) < 0.6 * np.mean(still)


def test_a_recorded_face_is_carried_by_what_was_found(made: dict[str, Scene]) -> None:
    scene = made["walk"]
    sights = [sight_of(scene, frame) for frame in range(FRAMES)]
    by_box, by_flow = (carried_psnr(method, sights, 25)[24] for method in (None, FaceLucasKanade()))
    assert len(by_flow) == 1 and by_flow[0] > by_box[0] + 1


def test_thresholds_that_nothing_meets_refuse_everything() -> None:
    restless = Said([np.inf], [np.inf])
    assert best_thresholds([restless], [restless], 0.0) == (0.0, 0.0)
