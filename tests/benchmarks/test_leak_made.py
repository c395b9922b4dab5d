"""The truth of the made clips is what is drawn, whatever turns, hides or leaves."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks import _flow_scenes
from benchmarks._flow_scenes import CENTRE_PX, DETAIL, HALF_PX, Pose
from benchmarks._leak_actors import (
    Layer,
    Person,
    Thing,
    body_sprite,
    hand_sprite,
    head_sprite,
    pole_sprite,
)
from benchmarks._leak_camera import FPS, Camera, MadeScene
from benchmarks._leak_made import made_clips
from benchmarks._leak_stage import FACE_SIZE_PX
from benchmarks._leak_truth import LeakClip, Mask, TrueFace
from benchmarks._similarity import U8
from engines.train.data import FACE_PX

WHITE, DARK = 235, 10  # of a face, and all around it
BRIGHT = 122  # luma half way between them
SIZE = (640, 360)
CLEAR = Camera(SIZE, noise_levels=0.0)


@pytest.fixture(autouse=True, scope="module")
def backgrounds() -> Iterator[None]:
    """Made ones, the same on every machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_flow_scenes, "BACKGROUNDS", ("none.mp4",))
        _flow_scenes._background_pictures.cache_clear()
        yield
    _flow_scenes._background_pictures.cache_clear()


@pytest.fixture(scope="module")
def marked() -> U8:
    """White inside the ellipse of the face, black outside."""
    side = DETAIL * FACE_PX
    x, y = np.meshgrid(np.arange(side) + 0.5, np.arange(side) + 0.5)
    across, down = (
        (at / DETAIL - mid) / half for at, mid, half in zip((x, y), CENTRE_PX, HALF_PX, strict=True)
    )
    return (
        np.where((across**2 + down**2 <= 1)[..., None], WHITE, DARK).repeat(3, 2).astype(np.uint8)
    )


def somebody(picture: U8, pose: Pose, degrees: float = 0.0, number: int = 1) -> Person:
    body = body_sprite(picture, np.random.default_rng(number), near=True)
    dark = np.zeros_like(body.levels[0])  # nothing of the body is to be taken for the face
    dark[..., 3] = body.levels[0][..., 3]
    levels = [dark]
    for _ in body.levels[1:]:
        half = tuple(side // 2 for side in levels[-1].shape[1::-1])
        levels.append(np.asarray(cv2.resize(levels[-1], half, interpolation=cv2.INTER_AREA)))
    return Person(
        number,
        head_sprite(picture),
        type(body)(tuple(levels), body.corner, body.detail),
        lambda _: pose,
        (lambda _: degrees) if degrees else None,
    )


def scene_of(*cast: Layer, camera: Camera = CLEAR, frames: int = 3) -> MadeScene:
    """Before a dark wall."""
    wall = Thing(pole_sprite(2 * SIZE[0], SIZE[1], DARK), lambda _: np.eye(2, 3))
    return MadeScene("test", "", frames, camera, (wall, *cast))


def shown(scene: MadeScene, face: TrueFace) -> Mask:
    """Which pixels of the face's rectangle are bright."""
    rows, columns = face.mask.shape
    luma = scene.render(0)[: scene.camera.size_px[1]]
    part = luma[face.y_px : face.y_px + rows, face.x_px : face.x_px + columns]
    return np.asarray(part > BRIGHT)


def agreement(one: Mask, other: Mask) -> float:
    return float((one & other).sum()) / float((one | other).sum())


@pytest.mark.parametrize("degrees", [0.0, 30.0, -60.0])
@pytest.mark.parametrize(
    "pose",
    [
        Pose(320, 180, 1.0),
        Pose(300.4, 170.7, 2.3, 12),
        Pose(200.3, 90.6, 0.3, -20),
        Pose(6, 200, 0.8),
        Pose(630, 20, 1.1, 10),
        Pose(320, 350, 0.9),
    ],
)
def test_the_mask_is_the_face_that_is_drawn(marked: U8, pose: Pose, degrees: float) -> None:
    scene = scene_of(somebody(marked, pose, degrees))
    (face,) = scene.truths(0)
    assert agreement(face.mask, shown(scene, face)) > (0.95 if pose.scale > 0.5 else 0.85)
    inside = (pose.x_px - 50 * pose.scale > 0) and pose.x_px + 50 * pose.scale < SIZE[0]
    inside &= 55 * pose.scale < pose.y_px < SIZE[1] - 55 * pose.scale
    assert (face.visible > 0.98) is inside
    if inside:  # the rectangle is no larger than the face
        assert max(int((~face.mask.any(axis=axis)).sum()) for axis in (0, 1)) <= 2
    if degrees == pose.degrees == 0:
        assert face.size_px == pytest.approx(FACE_SIZE_PX * pose.scale, rel=0.01)
        np.testing.assert_allclose(face.box_xyxy_px, pose.box(), atol=0.1)


def test_a_turned_face_is_squeezed_on_its_far_side(marked: U8) -> None:
    (straight,) = scene_of(somebody(marked, Pose(320, 180))).truths(0)
    (turned,) = scene_of(somebody(marked, Pose(320, 180), 60)).truths(0)
    left, right = (float(turned.box_xyxy_px[n] - straight.box_xyxy_px[n]) for n in (0, 2))
    assert left > 8 and 0 < right < 8


def test_half_a_face_is_half_visible(marked: U8) -> None:
    (face,) = scene_of(somebody(marked, Pose(0, 180))).truths(0)
    assert face.visible == pytest.approx(0.5, abs=0.01) and face.x_px == 0
    assert face.box_xyxy_px[0] < -30
    assert not scene_of(somebody(marked, Pose(-60, 180))).truths(0)


@pytest.mark.parametrize("what", ["pole", "hand", "person"])
def test_what_stands_before_a_face_hides_it(marked: U8, what: str) -> None:
    black = np.full_like(marked, DARK)
    place = np.array([[1.0, 0.0, 310.0], [0.0, 1.0, 0.0]])
    low = np.array([[1.0, 0.0, 330.0], [0.0, 1.0, 240.0]])
    things: dict[str, Layer] = {
        "pole": Thing(pole_sprite(30, SIZE[1], 60), lambda _: place),
        "hand": Thing(hand_sprite(black), lambda _: low),
        "person": somebody(black, Pose(360, 190, 0.8), number=2),
    }
    scene = scene_of(somebody(marked, Pose(320, 180)), things[what])
    face = scene.truths(0)[0]
    assert 0.3 < face.visible < 0.9
    assert agreement(face.mask, shown(scene, face)) > 0.95


def test_who_is_wholly_hidden_is_not_there(marked: U8) -> None:
    scene = scene_of(somebody(marked, Pose(320, 180, 0.3)), somebody(marked, Pose(320, 180), 0, 2))
    assert [face.person for face in scene.truths(0)] == [2]


def test_motion_blurs_the_picture_and_not_the_truth(marked: U8) -> None:
    person = somebody(marked, Pose(0, 0))
    quick = Person(1, person.head, person.body, lambda index: Pose(320 + 30 * index, 180, 0.8))
    scene = scene_of(quick)
    (face,) = scene.truths(0)
    assert face.visible > 0.98
    assert agreement(face.mask, shown(scene, face)) > 0.8  # its sides are half as bright
    luma = scene.render(0)[180, 250:390].astype(int)
    assert np.abs(np.diff(luma)).max() < 60  # no hard edge along its way


def test_the_shake_moves_everything(marked: U8) -> None:
    camera = Camera(SIZE, noise_levels=0.0, shake=lambda index: (10.0 * index, -5.0 * index))
    scene = scene_of(somebody(marked, Pose(320, 180)), camera=camera)
    (before,), (after,) = scene.truths(0), scene.truths(2)
    np.testing.assert_allclose(after.box_xyxy_px - before.box_xyxy_px, [20, -10, 20, -10], atol=0.1)
    at, then = (scene.render(n)[: SIZE[1]].astype(int) for n in (0, 2))
    assert np.abs(at[60:300, 100:500] - then[50:290, 120:520]).mean() < 2


# --- clips ---


def test_each_call_gives_new_pictures_that_are_the_same(marked: U8) -> None:
    camera = Camera(SIZE, gamma=1.4, gain=0.6, noise_levels=6, focus_px=lambda _: 1.0)
    clip = scene_of(somebody(marked, Pose(320, 180)), camera=camera).clip()
    first = [image.to_ndarray() for image in clip.pictures()]
    for image in clip.pictures():
        np.frombuffer(image.planes[0], np.uint8)[:] = 0  # type: ignore[call-overload]
    again = [image.to_ndarray() for image in clip.pictures()]
    assert len(first) == clip.frames
    assert all((one == other).all() for one, other in zip(first, again, strict=True))
    assert (first[0] != first[1]).mean() > 0.5  # the sensor's noise


def test_a_coded_clip_is_made_once_and_looks_poor(
    marked: U8, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BAUTA_BENCH_CACHE", str(tmp_path))
    person = somebody(marked, Pose(320, 180))
    clean, poor = (
        scene_of(person, camera=Camera(SIZE, noise_levels=4, crf=crf), frames=6)
        for crf in (None, 38)
    )
    pictures = [[image.to_ndarray() for image in poor.clip().pictures()] for _ in range(2)]
    (file,) = tmp_path.glob("*.mp4")
    assert file.stat().st_size < 30_000 and len(pictures[0]) == 6
    assert all((one == other).all() for one, other in zip(*pictures, strict=True))
    (face,) = poor.truths(0)
    original = clean.render(3)[: SIZE[1]].astype(int)
    assert 1 < np.abs(pictures[0][3][: SIZE[1]] - original).mean() < 12
    part = pictures[0][3][face.y_px :, face.x_px :][: face.mask.shape[0], : face.mask.shape[1]]
    assert agreement(face.mask, part > BRIGHT) > 0.9


@pytest.fixture(scope="module")
def clips() -> list[LeakClip]:
    return [clip for clip in made_clips(25, 0) if isinstance(clip, LeakClip)]


def test_all_sizes_and_conditions_are_there(clips: list[LeakClip]) -> None:
    conditions = {clip.condition for clip in clips}
    wanted = {"day", "dusk", "blur", "compression", "occlusion", "profile", "edges", "small"}
    assert wanted <= conditions
    assert len({clip.name for clip in clips}) == len(clips)
    sizes = [face.size_px for clip in clips for face in clip.truths(12) if face.visible > 0.9]
    assert 11.5 < min(sizes) < 14 and 150 < max(sizes) <= 205
    bands = np.histogram(sizes, (11, 20, 32, 64, 300))[0]
    assert (bands >= 10).all(), bands


def test_truths_lie_in_their_frames(clips: list[LeakClip]) -> None:
    for clip in clips:
        width, height = clip.size_px
        for index in (0, 11, 24):
            faces = clip.truths(index)
            assert len({face.person for face in faces}) == len(faces)
            for face in faces:
                rows, columns = face.mask.shape
                assert face.x_px + columns <= width and face.y_px + rows <= height
                assert 0 < face.visible <= 1 and face.mask.any()


def test_people_leave_and_come_back_at_the_edges(clips: list[LeakClip]) -> None:
    (clip,) = (clip for clip in clips if clip.name == "in and out")
    seen = [{face.person: face.visible for face in clip.truths(n)} for n in range(clip.frames)]
    for person in set().union(*seen):
        shares = [frame.get(person, 0.0) for frame in seen]
        assert min(shares) == 0 and max(shares) > 0.95
        assert any(0.3 < share < 0.7 for share in shares)


def test_who_walks_past_is_a_face_farther_in_three_frames(clips: list[LeakClip]) -> None:
    (clip,) = (clip for clip in clips if clip.name == "passing by")
    places: dict[int, list[tuple[float, float]]] = {}
    for index in range(clip.frames):
        for face in clip.truths(index):
            middle = float(face.box_xyxy_px[0] + face.box_xyxy_px[2]) / 2
            places.setdefault(face.person, []).append((middle, face.size_px))
    steps = [
        abs(after[0] - before[0]) / before[1]
        for way in places.values()
        for before, after in itertools.pairwise(way)
    ]
    assert len(places) >= 4
    assert np.median(steps) == pytest.approx(1 / 3, rel=0.05)


def test_a_seed_repeats_a_clip_and_another_does_not(clips: list[LeakClip]) -> None:
    def first(seed: int) -> LeakClip:
        return next(clip for clip in made_clips(25, seed) if isinstance(clip, LeakClip))

    again, other = first(0), first(1)
    for index in (0, 24):
        pairs = zip(clips[0].truths(index), again.truths(index), strict=True)
        assert all((one.mask == same.mask).all() for one, same in pairs)
    pictures = [next(clip.pictures()).to_ndarray() for clip in (clips[0], again, other)]
    assert (pictures[0] == pictures[1]).all()
    assert (pictures[0] != pictures[2]).mean() > 0.05
    assert clips[0].fps == FPS and math.isclose(again.size_px[0] / again.size_px[1], 16 / 9)
