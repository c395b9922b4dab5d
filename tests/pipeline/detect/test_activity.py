import numpy as np
import pytest

from pipeline.detect.activity import ActivityGate, thumbnail
from pipeline.frames import U8Array, YuvPlanes
from support.clips import head_patch, textured_background

SIZE = (1920, 1080)


def planes(luma: U8Array) -> YuvPlanes:
    half = (luma.shape[0] // 2, luma.shape[1] // 2)
    return YuvPlanes(luma, np.full(half, 128, np.uint8), np.full(half, 128, np.uint8))


def background() -> U8Array:
    return np.ascontiguousarray(textured_background(*SIZE, seed=1)[..., 1])


def noisy(luma: U8Array, seed: int, sigma: float = 6.0) -> U8Array:
    noise = np.random.default_rng(seed).normal(0, sigma, luma.shape)
    return np.clip(luma + noise, 0, 255).astype(np.uint8)


def with_face(luma: U8Array, x: int, y: int, face_px: int) -> U8Array:
    rgb, alpha, _ = head_patch(face_px)
    picture = luma.copy()
    height, width = rgb.shape[:2]
    under = picture[y : y + height, x : x + width]
    weight = alpha[..., 0]
    under[:] = np.rint(under * (1 - weight) + rgb[..., 1] * weight).astype(np.uint8)
    return picture


def looked_at(luma: U8Array) -> ActivityGate:
    gate = ActivityGate()
    thumb = thumbnail(planes(luma))
    assert gate.observe(thumb)  # nothing is known yet
    gate.looked(thumb)
    return gate


def test_sensor_noise_is_no_motion() -> None:
    empty = background()
    gate = looked_at(noisy(empty, 0))
    for seed in range(1, 20):
        assert not gate.observe(thumbnail(planes(noisy(empty, seed))))


@pytest.mark.parametrize("place", [(300, 300), (960, 500), (1501, 803), (3, 5)])
@pytest.mark.parametrize("face_px", [16, 24, 64])
def test_the_smallest_face_that_enters_is_motion(place: tuple[int, int], face_px: int) -> None:
    empty = background()
    gate = looked_at(noisy(empty, 0))

    assert gate.observe(thumbnail(planes(noisy(with_face(empty, *place, face_px), 1))))


def test_slow_drift_adds_up() -> None:
    """Each frame is compared with the one the network saw, not with the one before."""
    luma = np.full((360, 640), 60, np.uint8)
    gate = looked_at(luma)
    woke = [
        gate.observe(thumbnail(planes((luma + step).astype(np.uint8)))) for step in range(1, 15)
    ]
    assert woke[0] is False
    assert woke[-1] is True


def test_another_size_is_a_change() -> None:
    gate = looked_at(background())
    small = np.full((360, 640), 60, np.uint8)
    assert gate.observe(thumbnail(planes(small)))


def test_what_was_forgotten_counts_as_changed() -> None:
    empty = background()
    gate = looked_at(empty)
    assert not gate.observe(thumbnail(planes(empty)))
    gate.forget()
    assert gate.observe(thumbnail(planes(empty)))


@pytest.mark.parametrize("size", [(2, 2), (4, 1000), (1000, 4), (240, 136), (482, 272)])
def test_tiny_and_narrow_pictures_have_a_thumbnail(size: tuple[int, int]) -> None:
    thumb = thumbnail(planes(np.zeros((size[1], size[0]), np.uint8)))
    assert thumb.shape[1] >= 2 and thumb.shape[0] >= 2
    assert thumb.shape[1] <= 480
