"""Pictures of two made scenes: cut, moved, lit. Recorded clips: benchmarks/scenes.py."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.detect.scene_change import SceneChange, SceneWatch
from pipeline.frames import U8Array
from support.clips import head_patch, textured_background

WIDTH, HEIGHT = 240, 135
MARGIN = 40


def scene(seed: int) -> U8Array:
    """(H + margins, W + margins) luma with faces and edges in it."""
    size = (WIDTH + 2 * MARGIN, HEIGHT + 2 * MARGIN)
    picture = np.ascontiguousarray(textured_background(*size, seed=seed)[..., 1])
    rng = np.random.default_rng(seed)
    rgb, alpha, _ = head_patch(24)
    height, width = rgb.shape[:2]
    for _ in range(3):
        x, y = int(rng.integers(0, size[0] - width)), int(rng.integers(0, size[1] - height))
        under = picture[y : y + height, x : x + width]
        under[:] = np.rint(under * (1 - alpha[..., 0]) + rgb[..., 1] * alpha[..., 0])
    return picture


def view(picture: U8Array, x: int = 0, y: int = 0, *, zoom: float = 1.0) -> U8Array:
    """What a camera that has moved by (x, y) thumbnail pixels sees; 3 are 16 at 1280 wide."""
    side_w, side_h = round(WIDTH / zoom), round(HEIGHT / zoom)
    left, top = MARGIN + x + (WIDTH - side_w) // 2, MARGIN + y + (HEIGHT - side_h) // 2
    part = picture[top : top + side_h, left : left + side_w]
    return np.asarray(cv2.resize(part, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR), np.uint8)


def lit(picture: U8Array, gain: float, offset: float = 0.0) -> U8Array:
    return np.asarray(np.clip(picture * gain + offset, 0, 255), np.uint8)


def noisy(picture: U8Array, seed: int) -> U8Array:
    noise = np.random.default_rng(seed).normal(0, 2, picture.shape)
    return np.asarray(np.clip(picture + noise, 0, 255), np.uint8)


def changes(*thumbs: U8Array) -> list[SceneChange]:
    watch = SceneWatch()
    return [watch.observe(noisy(thumb, seed)) for seed, thumb in enumerate(thumbs)][1:]


@pytest.mark.parametrize("seed", range(8))
def test_another_scene_of_the_same_light_is_a_cut(seed: int) -> None:
    one, other = view(scene(seed)), view(scene(seed + 100))
    like_one = (other - other.mean()) / other.std() * one.std() + one.mean()
    assert changes(one, lit(like_one.astype(np.float32), 1.0)) == [SceneChange.CUT]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("x", "y"), [(3, 0), (6, 3), (0, -9), (15, 0), (-24, 4)])
def test_a_camera_that_pans_or_shakes_is_no_cut(seed: int, x: int, y: int) -> None:
    """3 px are 400 px a second at 1280x720, 25 frames/s; 24 are a whipped camera."""
    picture = scene(seed)
    seen = changes(view(picture), view(picture, x, y), view(picture, x // 2, y // 2))
    assert SceneChange.CUT not in seen


@pytest.mark.parametrize("zoom", [1.03, 1.1])
def test_a_zoom_is_no_cut(zoom: float) -> None:
    picture = scene(1)
    assert SceneChange.CUT not in changes(view(picture), view(picture, zoom=zoom), view(picture))


@pytest.mark.parametrize(("gain", "offset"), [(1.0, 50), (1.5, 0), (0.4, 0), (0.5, 90)])
def test_light_is_no_cut_and_is_told_from_motion(gain: float, offset: float) -> None:
    picture = view(scene(2))
    seen = changes(picture, lit(picture, gain, offset), picture)
    assert seen == [SceneChange.LIGHT] * 2


def test_a_lamp_in_half_of_the_room_is_no_cut() -> None:
    picture = view(scene(3))
    lamp = picture.copy()
    lamp[:, :120] = lit(picture[:, :120], 1.0, 80)
    assert changes(picture, lamp) == [SceneChange.LIGHT]


def test_noise_and_a_passer_by_change_little() -> None:
    picture = view(scene(4))
    passed = picture.copy()
    passed[40:80, 100:130] = 200
    assert changes(picture, picture, passed) == [SceneChange.LITTLE] * 2


def test_a_fade_and_a_dissolve_are_no_cuts() -> None:
    one, other = view(scene(5)), view(scene(6))
    dissolve = [lit(one * (1 - n / 12) + other * (n / 12), 1.0) for n in range(13)]
    fade = [lit(other, n / 12) for n in range(12, 2, -1)]
    assert SceneChange.CUT not in changes(*dissolve)
    assert SceneChange.CUT not in changes(*fade)


def test_black_between_two_scenes_is_a_cut_both_ways() -> None:
    """Nothing is found again: in doubt it is a cut."""
    black = np.full((HEIGHT, WIDTH), 16, np.uint8)
    seen = changes(view(scene(7)), black, black, view(scene(8)))
    assert seen == [SceneChange.CUT, SceneChange.LITTLE, SceneChange.CUT]


def test_the_first_frame_follows_nothing_and_another_size_is_a_cut() -> None:
    watch = SceneWatch()
    assert watch.observe(view(scene(9))) is SceneChange.LITTLE
    assert watch.observe(view(scene(9))[:100]) is SceneChange.CUT


@pytest.mark.parametrize("shape", [(2, 2), (1000, 4), (4, 300), (24, 24), (9, 128)])
def test_tiny_and_narrow_pictures_break_nothing(shape: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    watch = SceneWatch()
    for _ in range(4):
        watch.observe(rng.integers(0, 255, shape, np.uint8))


@pytest.mark.parametrize("seed", range(6))
def test_a_flash_that_burns_most_of_it_out_is_no_cut_either_way(seed: int) -> None:
    """What is left of the picture is found in the one before, not the other way round."""
    picture = view(scene(seed))
    assert changes(picture, lit(picture, 1.5, 120), picture) == [SceneChange.LIGHT] * 2
