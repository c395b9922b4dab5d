import cv2
import numpy as np
import pytest

from pipeline.frames import YuvPlanes
from pipeline.protect.obfuscate import FILTERS, GREY, obfuscate
from support.asserts import HIDDEN_MOST, face_visible
from support.clips import U8Array, head_patch

NAMES = ["pixelate", "solid", "blur", "median", "noise", "mask"]
DETERMINISTIC = ["pixelate", "solid", "blur", "median", "mask"]


def planes(height: int, width: int, seed: int = 0) -> YuvPlanes:
    rng = np.random.default_rng(seed)
    half = (height // 2, width // 2)
    return YuvPlanes(
        rng.integers(0, 256, (height, width), np.uint8),
        rng.integers(0, 256, half, np.uint8),
        rng.integers(0, 256, half, np.uint8),
    )


def face(face_px: int) -> tuple[YuvPlanes, np.ndarray[tuple[int, ...], np.dtype[np.float32]]]:
    rgb, _, box = head_patch(face_px)
    even = np.ascontiguousarray(rgb[: rgb.shape[0] // 2 * 2, : rgb.shape[1] // 2 * 2])
    height, width = even.shape[:2]
    i420 = np.asarray(cv2.cvtColor(even, cv2.COLOR_RGB2YUV_I420), np.uint8)
    quarter = height // 2 * (width // 2)
    chroma = i420[height:].reshape(-1)
    half = (height // 2, width // 2)
    return YuvPlanes(
        i420[:height], chroma[:quarter].reshape(half), chroma[quarter:].reshape(half)
    ), box


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("detail_px", [0.5, 2.0, 7.3, 40.0, 500.0])
@pytest.mark.parametrize("size", [(2, 2), (2, 64), (64, 2), (4, 6), (8, 8), (30, 22), (64, 48)])
def test_every_size_has_an_obfuscation(name: str, detail_px: float, size: tuple[int, int]) -> None:
    hidden = obfuscate(planes(*size), name, detail_px)
    assert hidden.y.shape == size
    assert hidden.u.shape == hidden.v.shape == (size[0] // 2, size[1] // 2)
    assert hidden.y.dtype == hidden.u.dtype == hidden.v.dtype == np.uint8


@pytest.mark.parametrize("name", NAMES)
def test_the_original_is_only_read(name: str) -> None:
    original = planes(48, 40)
    before = [plane.copy() for plane in (original.y, original.u, original.v)]
    for plane in (original.y, original.u, original.v):
        plane.flags.writeable = False

    hidden = obfuscate(original, name, 8.0)

    for plane, old in zip((original.y, original.u, original.v), before, strict=True):
        np.testing.assert_array_equal(plane, old)
    for made in (hidden.y, hidden.u, hidden.v):
        assert not np.shares_memory(made, original.y)


@pytest.mark.parametrize("name", ["solid", "mask"])
def test_what_is_drawn_holds_nothing_of_the_original(name: str) -> None:
    one, other = (obfuscate(planes(60, 50, seed), name, 8.0) for seed in (1, 2))
    for a, b in ((one.y, other.y), (one.u, other.u), (one.v, other.v)):
        np.testing.assert_array_equal(a, b)


def test_solid_is_grey() -> None:
    hidden = obfuscate(planes(8, 8), "solid", 2.0)
    levels = [np.unique(plane).tolist() for plane in (hidden.y, hidden.u, hidden.v)]
    assert levels == [[level] for level in GREY]


@pytest.mark.parametrize("detail_px", [4.0, 8.0, 13.0, 25.0])
def test_pixelate_shows_no_cell_smaller_than_it_may(detail_px: float) -> None:
    """At most width / detail cells across: counted by the columns that differ."""
    hidden = obfuscate(planes(104, 80), "pixelate", detail_px)
    for plane, detail in ((hidden.y, detail_px), (hidden.u, detail_px / 2)):
        columns = 1 + int((np.diff(plane.astype(int), axis=1) != 0).any(axis=0).sum())
        rows = 1 + int((np.diff(plane.astype(int), axis=0) != 0).any(axis=1).sum())
        assert columns <= plane.shape[1] / detail
        assert rows <= plane.shape[0] / detail


@pytest.mark.parametrize("name", ["pixelate", "blur", "median"])
def test_a_larger_detail_leaves_less(name: str) -> None:
    original, _ = face(96)
    left = [
        float(obfuscate(original, name, share * 96).y.astype(np.float64).std())
        for share in (0.05, 0.25, 1.0)
    ]
    assert left[0] > left[1] > left[2]


@pytest.mark.parametrize("name", [name for name in NAMES if name != "blur"])
@pytest.mark.parametrize("face_px", [32, 64, 120])
def test_at_the_default_strength_no_face_is_visible(name: str, face_px: int) -> None:
    original, box = face(face_px)
    hidden = obfuscate(original, name, 0.25 * face_px)
    assert face_visible(original.y, hidden.y, box) < HIDDEN_MOST
    assert face_visible(original.y, original.y, box) > 0.99  # the measure has teeth


def test_noise_is_fresh_every_time() -> None:
    original = planes(64, 64)
    one, other = (obfuscate(original, "noise", 8.0).y for _ in range(2))
    assert (one != other).any()


def test_noise_keeps_nothing_but_the_mean() -> None:
    """Two pictures of one mean cannot be told apart: left bright, right bright."""
    split: U8Array = np.full((64, 64), 60, np.uint8)
    split[:, :32] = 180
    half = np.full((32, 32), 128, np.uint8)
    lean = [
        float(hidden[:, :32].mean() - hidden[:, 32:].mean())
        for hidden in (
            obfuscate(YuvPlanes(split, half, half), "noise", 8.0).y.astype(np.float64)
            for _ in range(40)
        )
    ]
    # 32 cells of sigma 24 a side: the difference of means has sigma 6, of 40 draws 0.95
    assert abs(float(np.mean(lean))) < 6


@pytest.mark.parametrize("name", DETERMINISTIC)
def test_the_same_picture_is_hidden_the_same_way(name: str) -> None:
    """A still scene does not flicker, and costs the encoder nothing."""
    one, other = (obfuscate(planes(64, 48), name, 10.0).y for _ in range(2))
    np.testing.assert_array_equal(one, other)


def test_an_unknown_name_is_no_obfuscation() -> None:
    with pytest.raises(KeyError):
        obfuscate(planes(8, 8), "none", 2.0)


def test_the_names_are_the_configured_ones() -> None:
    assert sorted([*FILTERS, "solid", "mask"]) == sorted(NAMES)
