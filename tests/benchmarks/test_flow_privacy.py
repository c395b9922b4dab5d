"""The judge of what is left to be seen sees it, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import _flow_privacy as privacy
from benchmarks import _flow_scenes
from benchmarks._flow_privacy import judge_scene, same_pores
from benchmarks._flow_runs import Shown, Written, gate_for, run_scene, settings_for, uncovered
from benchmarks._flow_scenes import (
    Actor,
    Pose,
    Scene,
    _with_pores,
    hard_scenes,
    without_pores,
)
from benchmarks._similarity import U8
from engines.train.data import FACE_PX
from pipeline.frames import FaceBox, FacePatch, FloatArray, YuvPlanes
from pipeline.protect.obfuscate import obfuscate

FPS = Fraction(25)
SIDE = 120
Twins = tuple[list[U8], list[U8]]


@pytest.fixture(scope="module")
def twins() -> Twins:
    """Two made faces: dark eyes and a mouth on something bright."""
    rng = np.random.default_rng(1)
    pairs = []
    for tone in (150, 190):
        face = np.full((FACE_PX, FACE_PX, 3), tone, np.uint8)
        for centre, radius in (((30, 52), 8), ((66, 52), 8), ((48, 90), 12)):
            cv2.circle(face, centre, radius, (60, 40, 40), -1)
        pairs.append(_with_pores(face, rng))
    return [one for one, _ in pairs], [other for _, other in pairs]


@pytest.fixture(autouse=True)
def backgrounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without recorded ones."""
    monkeypatch.setattr(_flow_scenes, "BACKGROUNDS", ("none.mp4",))
    _flow_scenes._background_pictures.cache_clear()


@pytest.fixture
def pores() -> FloatArray:
    noise = np.random.default_rng(2).standard_normal((SIDE, SIDE)).astype(np.float32)
    return np.asarray(6 * cv2.GaussianBlur(noise, (0, 0), 0.8), np.float32)


@pytest.fixture
def mask() -> NDArray[np.bool_]:
    ys, xs = np.mgrid[:SIDE, :SIDE] - SIDE / 2
    return np.asarray((xs / 45) ** 2 + (ys / 52) ** 2 <= 1)


def other_noise(scale: float) -> FloatArray:
    return np.asarray(scale * np.random.default_rng(3).standard_normal((SIDE, SIDE)), np.float32)


# --- pores ---


def test_an_open_face_is_seen(pores: FloatArray, mask: NDArray[np.bool_]) -> None:
    share, peak = same_pores(pores, pores, mask)
    assert share > 0.97 and peak > 0.9


@pytest.mark.parametrize("left", [0.5, 0.25])
def test_so_is_one_under_a_thin_veil(
    pores: FloatArray, mask: NDArray[np.bool_], left: float
) -> None:
    assert same_pores(pores, np.rint(left * pores), mask)[0] > 0.9


def test_and_one_that_has_been_moved_a_little(pores: FloatArray, mask: NDArray[np.bool_]) -> None:
    assert same_pores(pores, np.roll(pores, (2, -1), (0, 1)), mask)[0] > 0.9


def test_and_one_under_strange_texture(pores: FloatArray, mask: NDArray[np.bool_]) -> None:
    assert same_pores(pores, pores + other_noise(1), mask)[0] > 0.9


def test_one_open_corner_is_seen(pores: FloatArray, mask: NDArray[np.bool_]) -> None:
    left = np.zeros_like(pores)
    left[40:64, 40:64] = pores[40:64, 40:64]
    share, _ = same_pores(pores, left, mask)
    assert privacy.MOST_VISIBLE < share < 0.3


def test_what_lies_outside_the_face_is_not_the_faces(
    pores: FloatArray, mask: NDArray[np.bool_]
) -> None:
    left = np.where(mask, 0, pores).astype(np.float32)
    assert same_pores(pores, left, mask)[0] == 0


@pytest.mark.parametrize("scale", [0.0, 1.0, 20.0])
def test_strange_texture_alone_is_nothing(
    pores: FloatArray, mask: NDArray[np.bool_], scale: float
) -> None:
    share, peak = same_pores(pores, other_noise(scale), mask)
    assert share == 0 and peak < 0.4


def test_pixelation_leaves_no_pores(pores: FloatArray, mask: NDArray[np.bool_]) -> None:
    base = 128 + 20 * np.sin(np.arange(SIDE) / 9)[None, :]
    shown = []
    for sign in (1, -1):
        y = np.clip(base + sign * pores, 0, 255).astype(np.uint8)
        half = np.full((SIDE // 2, SIDE // 2), 128, np.uint8)
        shown.append(obfuscate(YuvPlanes(y, half, half), "pixelate", 20.0))
    left = shown[0].y.astype(np.float32) - shown[1].y.astype(np.float32)
    share, peak = same_pores(pores, left, mask)
    assert share == 0 and peak < 0.4


# --- weights ---


def patch_at(x: int, y: int, alpha: NDArray[np.uint8]) -> FacePatch:
    height, width = alpha.shape
    half = np.full((height // 2, width // 2), 128, np.uint8)
    planes = YuvPlanes(np.zeros(alpha.shape, np.uint8), half, half)
    return FacePatch(1, x, y, planes, alpha, np.zeros(4, np.float32))


def test_only_full_weights_cover() -> None:
    face = np.ones((10, 10), bool)
    half = np.full((10, 6), 255, np.uint8)
    thin = np.full((10, 4), 249, np.uint8)
    written = [
        Written(patch_at(18, 30, half), half, True),  # hangs out to the left
        Written(patch_at(24, 30, thin), thin, True),
    ]
    assert uncovered(face, 20, 30, written[:1], 250) == 60
    assert uncovered(face, 20, 30, written, 250) == 60
    assert uncovered(face, 20, 30, written, 249) == 20
    assert uncovered(face, 20, 30, [], 250) == 100
    assert uncovered(face, 60, 30, written, 0) == 100


# --- scenes through the gate ---


def scenes_of(twins: Twins, name: str, seconds: float = 0.4) -> tuple[Scene, Scene]:
    one, other = (
        next(s for s in hard_scenes(pictures, 0, seconds) if s.name == name) for pictures in twins
    )
    return one, other


def plain_run(scene: Scene) -> Iterator[Shown]:
    return run_scene(scene, gate_for(settings_for("plain"), None), FPS)


@pytest.mark.parametrize("name", ["pan 400 px/s", "crossing", "bar passes", "edges"])
def test_plain_obfuscation_of_true_boxes_shows_nothing(twins: Twins, name: str) -> None:
    scene, twin = scenes_of(twins, name)
    tally = judge_scene(scene, plain_run(scene), plain_run(twin))
    assert tally.found and not tally.bad() and not tally.shown()
    assert np.median(tally.sensitivity) > 0.9
    assert {each.state for each in tally.found} == {"plain"}


def test_a_face_without_a_box_is_found_bare_by_both(twins: Twins) -> None:
    scene, twin = (replace(s, actors=s.actors) for s in scenes_of(twins, "gentle"))

    def blind(which: Scene) -> Iterator[Shown]:
        gate = gate_for(settings_for("plain"), None)
        for shown in run_scene(which, gate, FPS):
            index = shown.index
            yield (
                shown
                if index < 3
                else replace(
                    shown,
                    protected=shown.original,
                    seen=replace(shown.seen, faces=[], written=[]),
                )
            )

    tally = judge_scene(scene, blind(scene), blind(twin))
    assert [each.index for each in tally.bad()] == list(range(3, scene.frames))
    assert len(tally.shown()) == scene.frames - 3
    assert {each.cause for each in tally.bad()} == {"missed"}
    assert {each.state for each in tally.bad()} == {"none"}


def test_an_original_inside_a_patch_is_found_though_weights_say_covered(twins: Twins) -> None:
    scene, twin = scenes_of(twins, "gentle")

    def leaking(which: Scene) -> Iterator[Shown]:
        return (replace(shown, protected=shown.original) for shown in plain_run(which))

    tally = judge_scene(scene, leaking(scene), leaking(twin))
    assert not tally.bad() and len(tally.shown()) == scene.frames
    assert {each.cause for each in tally.shown()} == {"shown by plain"}


def test_a_twin_that_was_missed_is_not_held_against_a_patch(twins: Twins) -> None:
    scene, twin = scenes_of(twins, "gentle")

    def missed(which: Scene) -> Iterator[Shown]:
        for shown in plain_run(which):
            seen = replace(shown.seen, faces=[], written=[])
            yield replace(shown, protected=shown.original, seen=seen)

    tally = judge_scene(scene, plain_run(scene), missed(twin))
    assert not tally.bad() and not tally.shown()
    assert {each.cause for each in tally.found} == {privacy.TWIN}
    turned = judge_scene(scene, missed(scene), plain_run(twin))
    assert len(turned.bad()) == len(turned.shown()) == scene.frames


def test_a_box_that_is_off_is_told_from_one_that_is_missing(twins: Twins) -> None:
    scene, twin = scenes_of(twins, "gentle")

    class Off(Scene):
        def boxes(self, index: int) -> list[FaceBox]:
            return [
                FaceBox(face.track_id, face.box_xyxy_px + np.float32(45), 0.0)
                for face in Scene.boxes(self, index)
            ]

    def off(which: Scene) -> Off:
        return Off(which.name, which.frames, which.actors, which.backgrounds)

    tally = judge_scene(off(scene), plain_run(off(scene)), plain_run(off(twin)))
    assert {each.cause for each in tally.bad()} == {"box off"}
    assert len(tally.bad()) == scene.frames


# --- the truth itself ---


@pytest.mark.parametrize("pose", [Pose(400, 300), Pose(500, 200, 1.6, 25), Pose(20, 350, 0.8, -10)])
def test_masks_are_where_the_face_is_drawn(twins: Twins, pose: Pose) -> None:
    scene = Scene("one", 1, (Actor(1, without_pores(twins)[0], lambda _: pose),))
    (truth,) = scene.truths(0)
    changed = scene.render(0).y.astype(int) - Scene("none", 1, ()).render(0).y
    height, width = truth.mask.shape
    inside = changed[truth.y_px : truth.y_px + height, truth.x_px : truth.x_px + width]
    assert (np.abs(inside[truth.mask]) > 4).mean() > 0.9
    x1, y1, x2, y2 = truth.box_xyxy_px
    assert truth.x_px == max(int(np.floor(x1)), 0) and truth.y_px == int(np.floor(y1))
    assert x2 - x1 > width - 2 and y2 - y1 > height - 2
    assert truth.mask.any(axis=0).sum() > width - 4 and truth.mask.any(axis=1).sum() > height - 4


def test_what_stands_before_a_face_is_not_its(twins: Twins) -> None:
    scene, _ = scenes_of(twins, "crossing", 2.0)
    apart, together = scene.truths(0), scene.truths(21)
    assert [round(truth.visible, 1) for truth in apart] == [1.0, 1.0]
    assert min((truth.visible for truth in together), default=0.0) < 0.9
    assert (
        len(scene.boxes(25)) == 2 and len(scene.truths(25)) == 1
    )  # a perfect tracker knows of both


def test_scenes_are_the_same_every_time(twins: Twins) -> None:
    scene, twin = scenes_of(twins, "camera shakes")
    assert (scene.render(3).y == scene.render(3).y).all()
    assert scene.poses(3) == twin.poses(3)
    differ = np.abs(scene.render(3).y.astype(int) - twin.render(3).y) > 2
    (truth,) = scene.truths(3)
    rows, columns = np.nonzero(differ)
    margin = 0.6 * FACE_PX
    x, y = (truth.box_xyxy_px[:2] + truth.box_xyxy_px[2:]) / 2
    assert rows.size and np.abs(columns - x).max() < margin and np.abs(rows - y).max() < margin
