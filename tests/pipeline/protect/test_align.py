import inspect
import math
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy.special import ndtr
from skimage.transform import SimilarityTransform

from pipeline.errors import ProtectionError
from pipeline.frames import ShapeError, U8Array, YuvPlanes
from pipeline.protect.align import (
    TEMPLATE,
    Similarity,
    align,
    crop_aligned,
    paste_aligned,
    umeyama,
)
from support.clips import head_patch, textured_background

Points = NDArray[np.float64]
WIDTH, HEIGHT = 320, 240


def similarity(scale: float, degrees: float, shift_x: float, shift_y: float) -> Similarity:
    angle = math.radians(degrees)
    return Similarity(scale * math.cos(angle), scale * math.sin(angle), shift_x, shift_y)


def placed(face_px: float, degrees: float, x: float, y: float) -> Similarity:
    """Frame to template, for a face whose square is `face_px` wide and has its middle at (x, y)."""
    turned = similarity(112 / face_px, degrees, 0, 0)
    u, v = turned.apply(np.array([x, y]))
    return Similarity(turned.a, turned.b, 56 - u, 56 - v)


def planes_of(rgb: U8Array) -> YuvPlanes:
    height, width = (side // 2 * 2 for side in rgb.shape[:2])
    i420 = np.asarray(cv2.cvtColor(rgb[:height, :width].copy(), cv2.COLOR_RGB2YUV_I420), np.uint8)
    half, quarter = (height // 2, width // 2), height // 2 * (width // 2)
    chroma = i420[height:].reshape(-1)
    return YuvPlanes(
        i420[:height].copy(), chroma[:quarter].reshape(half), chroma[quarter:].reshape(half)
    )


@lru_cache(maxsize=1)
def scene() -> U8Array:
    """A head in a textured picture."""
    picture = textured_background(WIDTH, HEIGHT)
    rgb, alpha, _ = head_patch(80)
    height, width = min(rgb.shape[0], HEIGHT), rgb.shape[1]
    part = picture[:height, 80 : 80 + width]
    part[...] = np.rint(rgb[:height] * alpha[:height] + part * (1 - alpha[:height])).astype(
        np.uint8
    )
    picture.flags.writeable = False
    return picture


def each(planes: YuvPlanes) -> list[tuple[U8Array, int]]:
    return [(planes.y, 1), (planes.u, 2), (planes.v, 2)]


def copy_of(planes: YuvPlanes) -> YuvPlanes:
    return YuvPlanes(planes.y.copy(), planes.u.copy(), planes.v.copy())


def psnr(one: U8Array, other: U8Array) -> float:
    error = float(((one.astype(float) - other.astype(float)) ** 2).mean())
    return 10 * math.log10(255**2 / max(error, 1e-9))


scales = st.floats(0.02, 50)
degrees = st.floats(-180, 180)
shifts = st.floats(-4000, 4000)
similarities = st.builds(similarity, scales, degrees, shifts, shifts)
# at least partly in the frame
placements = st.builds(
    placed, st.floats(20, 400), degrees, st.floats(10, WIDTH - 10), st.floats(10, HEIGHT - 10)
)


# --- the fit ---


@given(similarities)
def test_the_fit_recovers_a_similarity_exactly(truth: Similarity) -> None:
    """Landmarks that are the template under a similarity: its inverse is found."""
    landmarks = truth.apply(TEMPLATE)
    assume(truth.scale * 24 > 1.1)  # the template's spread; smaller faces are refused
    found = align(landmarks)

    back = truth.inverse()
    tolerance = 1e-9 * max(1.0, abs(back.shift_x), abs(back.shift_y))
    assert found.a == pytest.approx(back.a, rel=1e-9, abs=1e-9 * back.scale)
    assert found.b == pytest.approx(back.b, rel=1e-9, abs=1e-9 * back.scale)
    assert found.shift_x == pytest.approx(back.shift_x, abs=tolerance)
    assert found.shift_y == pytest.approx(back.shift_y, abs=tolerance)
    np.testing.assert_allclose(found.apply(landmarks), TEMPLATE, atol=1e-7)


@given(similarities)
def test_an_inverse_goes_back(truth: Similarity) -> None:
    points = TEMPLATE * 7 - 300
    there = truth.apply(points)
    np.testing.assert_allclose(truth.inverse().apply(there), points, atol=1e-6 * (1 + 1 / 0.02))


def test_detectors_landmarks_are_float32() -> None:
    truth = similarity(1.7, 12, 640, 360)
    found = align(truth.apply(TEMPLATE).astype(np.float32))
    np.testing.assert_allclose(found.apply(truth.apply(TEMPLATE)), TEMPLATE, atol=1e-3)


noises = st.lists(st.tuples(st.floats(-8, 8), st.floats(-8, 8)), min_size=5, max_size=5).map(
    np.array
)


@given(similarities, noises)
def test_noisy_landmarks_are_fitted_like_skimage_does(truth: Similarity, noise: Points) -> None:
    """scikit-image solves the same equations for any dimension."""
    source = truth.apply(TEMPLATE + noise)
    assume(np.std(source) > 0.5)
    found, explained = umeyama(source, TEMPLATE)
    other = SimilarityTransform.from_estimate(source, TEMPLATE)

    np.testing.assert_allclose(found.apply(source), other(source), atol=1e-6)
    left = ((found.apply(source) - TEMPLATE) ** 2).sum(axis=1).mean()
    total = ((TEMPLATE - TEMPLATE.mean(axis=0)) ** 2).sum(axis=1).mean()
    assert explained == pytest.approx(1 - left / total, abs=1e-9)


@given(noises, st.integers(0, 3), st.sampled_from([-1e-3, 1e-3]))
def test_no_neighbour_fits_better(noise: Points, which: int, step: float) -> None:
    source = TEMPLATE * 1.3 + noise + 40
    found, _ = umeyama(source, TEMPLATE)
    values = [found.a, found.b, found.shift_x, found.shift_y]
    values[which] += step
    best, worse = (
        float(((fit.apply(source) - TEMPLATE) ** 2).sum()) for fit in (found, Similarity(*values))
    )
    assert best <= worse + 1e-9


@settings(max_examples=25)
@given(noises, degrees)
def test_mirrored_points_get_the_best_rotation_not_a_reflection(
    noise: Points, angle: float
) -> None:
    source = similarity(1.5, angle, 100, 50).apply((TEMPLATE + noise) * [-1, 1])
    try:
        found, _ = umeyama(source, TEMPLATE)
    except ProtectionError:
        return  # nothing but a point fits
    left = float(((found.apply(source) - TEMPLATE) ** 2).sum())
    centre = source.mean(axis=0)
    for turn in np.arange(0, 360, 10.0):
        for scale in found.scale * np.array([0.8, 1.0, 1.25]):
            trial = similarity(float(scale), float(turn), 0, 0)
            u, v = TEMPLATE.mean(axis=0) - trial.apply(centre)
            trial = Similarity(trial.a, trial.b, float(u), float(v))
            assert left <= float(((trial.apply(source) - TEMPLATE) ** 2).sum()) + 1e-6


# --- what cannot be aligned ---


def face() -> Points:
    return similarity(1.3, 5, 200, 100).apply(TEMPLATE)


def with_one(value: float) -> Points:
    points = face()
    points[3, 1] = value
    return points


BAD: dict[str, tuple[NDArray[Any], str]] = {
    "unknown": (np.full((5, 2), np.nan, np.float32), "unknown"),
    "one unknown": (with_one(np.nan), "unknown"),
    "infinite": (with_one(np.inf), "unknown"),
    "a world away": (with_one(1e300), "unknown"),
    "one place": (np.full((5, 2), 7.0), "in one place"),
    "nearly one place": (face() * 1e-3, "in one place"),
    "hardly apart": (face() * 1e-200, "alignment"),
    "one line": (face() * [1, 0.0], "on one line"),
    "nearly one line": (face() @ np.diag([1.0, 0.01]), "on one line"),
    "mirrored": (face() * [-1, 1], "frontal"),
    "eyes swapped": (face()[[1, 0, 2, 3, 4]], "frontal"),
    "too few": (face()[:4], "landmarks"),
    "flat": (face().reshape(-1), "landmarks"),
}


@pytest.mark.parametrize("name", BAD)
def test_landmarks_that_align_nothing_are_one_clear_error(name: str) -> None:
    landmarks, words = BAD[name]
    with pytest.raises(ProtectionError, match=words) as caught:
        align(landmarks)
    assert len(str(caught.value).splitlines()) == 1


@settings(max_examples=200)
@given(
    st.lists(
        st.one_of(st.floats(), st.sampled_from([0.0, 1.0, -1e9, 1e9, 1e-160, 5e-324])),
        min_size=10,
        max_size=10,
    )
)
def test_any_ten_numbers_align_or_raise_that_error(values: list[float]) -> None:
    try:
        found = align(np.array(values).reshape(5, 2))
    except ProtectionError:
        return
    assert np.isfinite([found.a, found.b, found.shift_x, found.shift_y]).all()
    assert found.scale > 0


@pytest.mark.parametrize("values", [(0, 0, 1, 1), (math.nan, 0, 0, 0), (1, 0, math.inf, 0)])
def test_no_similarity_without_a_scale(values: tuple[float, float, float, float]) -> None:
    with pytest.raises(ProtectionError):
        Similarity(*values)


def test_a_square_outside_of_the_frame_is_refused() -> None:
    planes = planes_of(scene())
    outside = placed(80, 0, WIDTH + 60, 50)
    with pytest.raises(ProtectionError, match="outside"):
        crop_aligned(planes, outside)
    with pytest.raises(ProtectionError, match="outside"):
        paste_aligned(planes, crop_aligned(planes, placed(80, 0, 90, 90)), outside)


def test_sizes_must_fit() -> None:
    planes = planes_of(scene())
    where = placed(80, 0, 100, 100)
    with pytest.raises(ShapeError, match="multiple of 2"):
        crop_aligned(planes, where, 63)
    with pytest.raises(ShapeError, match="square"):
        paste_aligned(planes.y, planes.y[:40, :60], where)
    assert crop_aligned(planes.y, where, 63).shape == (63, 63)
    assert crop_aligned(scene(), where, 64).shape == (64, 64, 3)


# --- crop ---


def test_an_upright_crop_at_scale_1_is_a_slice() -> None:
    """Nothing is off by half a pixel: even offsets keep every sample of every plane."""
    planes = planes_of(scene())
    crop = crop_aligned(planes, Similarity(1, 0, -80, -40))
    for (made, _), (plane, parts) in zip(each(crop), each(planes), strict=True):
        x, y, side = 80 // parts, 40 // parts, 112 // parts
        np.testing.assert_array_equal(made, plane[y : y + side, x : x + side])


@pytest.mark.parametrize("factor", [2, 3, 4])
def test_a_large_face_is_averaged_not_skipped(factor: int) -> None:
    """Fine noise ends as its mean; picking every n-th sample would keep all of it."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 256, (112 * factor, 112 * factor), np.uint8)
    crop = crop_aligned(noise, Similarity(1 / factor, 0, 0, 0))
    blocks = noise.reshape(112, factor, 112, factor).mean(axis=(1, 3))
    np.testing.assert_allclose(crop, blocks, atol=0.51)


@settings(max_examples=30)
@given(placements)
def test_cropping_reads_only(where: Similarity) -> None:
    planes = planes_of(scene())
    for plane, _ in each(planes):
        plane.flags.writeable = False
    crop = crop_aligned(planes, where, 96)
    assert crop.size_px == (96, 96)
    for (made, _), (plane, _) in zip(each(crop), each(planes), strict=True):
        assert made.dtype == np.uint8 and not np.shares_memory(made, plane)


def edge(size: tuple[int, int], parts: int, normal: Points, offset: float, high: int) -> U8Array:
    """(h, w) 60 before a line and `high` behind it, as soft as 4:2:0 chroma can carry."""
    width, height = size[0] // parts, size[1] // parts
    x, y = ((np.arange(length) + 0.5) * parts for length in (width, height))
    behind = y[:, None] * normal[1] + x[None, :] * normal[0] - offset  # luma pixels
    return np.asarray(np.rint(60 + (high - 60) * ndtr(behind / 2.0)), np.uint8)


def edge_px(plane: U8Array, parts: int, high: int) -> Points:
    """Per row, where the edge crosses it in luma pixels: from how much lies before it."""
    share = (high - plane.astype(float)) / (high - 60)
    first = share[:, 0] > 0.5
    length = share.sum(axis=1)
    return np.asarray(np.where(first, length, share.shape[1] - length) * parts)


@settings(max_examples=50)
@given(
    st.floats(30, 420),
    degrees,
    st.floats(-25, 25),
    st.floats(-12, 12),
    st.floats(-1, 1),
    st.floats(-1, 1),
)
def test_colour_stays_at_the_luma_edge(
    face_px: float, turn: float, lean: float, aside: float, dx: float, dy: float
) -> None:
    """A colour and a brightness edge that are one in the frame are within half a pixel in a crop.

    Chroma samples are centred between luma pixels, as 4:2:0 is read here.
    The edge leans by `lean` from the crop's vertical and lies `aside` from its middle.
    """
    size = (480, 480)
    where = placed(face_px, turn, 240 + dx, 240 + dy)
    angle = math.radians(lean - turn)  # in the frame: the crop is turned by `turn`
    normal = np.array([math.cos(angle), math.sin(angle)])
    offset = float(normal @ [240 + dx, 240 + dy]) + aside * face_px / 112
    luma, u, v = (
        edge(size, parts, normal, offset, high) for parts, high in ((1, 180), (2, 200), (2, 140))
    )
    crop = crop_aligned(YuvPlanes(luma, u, v), where)

    rows = slice(8, -8)
    luma_edge = edge_px(crop.y, 1, 180).reshape(-1, 2).mean(axis=1)  # two rows to a chroma row
    for plane, high in ((crop.u, 200), (crop.v, 140)):
        apart = (edge_px(plane, 2, high) - luma_edge)[rows]
        assert np.abs(apart).max() < 0.5
        assert abs(apart.mean()) < 0.2  # and no shift that all rows share


# --- paste ---


@settings(max_examples=50)
@given(placements, st.sampled_from([64, 112, 160]), st.sampled_from([0.0, 4.0, 15.0]))
def test_pasting_changes_nothing_outside_of_the_square(
    where: Similarity, size_px: int, feather_px: float
) -> None:
    before = planes_of(scene())
    after = copy_of(before)
    black = YuvPlanes(
        np.zeros((size_px, size_px), np.uint8),
        np.zeros((size_px // 2, size_px // 2), np.uint8),
        np.zeros((size_px // 2, size_px // 2), np.uint8),
    )
    paste_aligned(after, black, where, feather_px=feather_px)

    for (old, parts), (new, _) in zip(each(before), each(after), strict=True):
        y, x = (np.mgrid[: old.shape[0], : old.shape[1]] + 0.5) * parts
        inside = where.apply(np.stack([x, y], -1))
        depth = np.minimum(inside, 112 - inside).min(axis=-1) / where.scale  # frame pixels
        np.testing.assert_array_equal(new[depth <= 0], old[depth <= 0])
        assert (new[depth > feather_px + 0.01] == 0).all()
        if feather_px:
            soft = (depth > 0) & (depth < feather_px)
            share = 1 - depth[soft] / feather_px
            np.testing.assert_allclose(new[soft], old[soft] * share, atol=0.6)


@settings(max_examples=40)
@given(st.floats(80, 140), degrees, st.floats(100, 220), st.floats(90, 150))
def test_a_round_trip_keeps_the_picture(face_px: float, turn: float, x: float, y: float) -> None:
    where = placed(face_px, turn, x, y)
    before = planes_of(scene())
    after = copy_of(before)
    crop = crop_aligned(before, where)
    paste_aligned(after, crop, where)
    again = crop_aligned(after, where)

    for (one, _), (other, parts) in zip(each(crop), each(again), strict=True):
        assert psnr(one, other) > 30, parts
    for (old, _), (new, parts) in zip(each(before), each(after), strict=True):
        assert psnr(old, new) > 30, parts


def test_an_even_upright_round_trip_is_exact() -> None:
    before = planes_of(scene())
    after = copy_of(before)
    where = Similarity(1, 0, -80, -40)
    paste_aligned(after, crop_aligned(before, where), where)
    for (old, _), (new, _) in zip(each(before), each(after), strict=True):
        np.testing.assert_array_equal(old, new)


@settings(max_examples=20)
@given(placements)
def test_a_picture_is_treated_like_its_planes(where: Similarity) -> None:
    picture = scene()
    crop = crop_aligned(picture, where)
    for channel in range(3):
        np.testing.assert_array_equal(
            crop[:, :, channel], crop_aligned(picture[:, :, channel].copy(), where)
        )
    after = picture.copy()
    paste_aligned(after, np.zeros_like(crop), where)
    alone = picture[:, :, 1].copy()
    paste_aligned(alone, np.zeros_like(crop[:, :, 1]), where)
    np.testing.assert_array_equal(after[:, :, 1], alone)


def test_a_crop_that_does_not_fit_writes_nothing() -> None:
    before = planes_of(scene())
    after = copy_of(before)
    wrong = YuvPlanes(
        np.zeros((64, 32), np.uint8), np.zeros((32, 16), np.uint8), np.zeros((32, 16), np.uint8)
    )
    with pytest.raises(ShapeError):
        paste_aligned(after, wrong, placed(80, 0, 100, 100))
    for (old, _), (new, _) in zip(each(before), each(after), strict=True):
        np.testing.assert_array_equal(old, new)


def test_the_template_cannot_be_written() -> None:
    with pytest.raises(ValueError, match="read-only"):
        TEMPLATE[0, 0] = 0
    assert "1991" in (inspect.getdoc(umeyama) or "")
