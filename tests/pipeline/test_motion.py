"""`motion.move` fetches what an analytic picture has there; packed motions come from outside."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from pipeline.frames import MOTION_CELLS, Motion, U8Array, YuvPlanes, part_of
from pipeline.motion import MOST_BYTES, MOST_PX, as_grid, key_positions_px, move, pack, unpack

Floats = NDArray[np.float64]
Places = Callable[[Floats, Floats], tuple[Floats, Floats]]

FRAME_PX = (320, 240)
KEY = (96, 64, 120)
STILL = np.zeros((MOTION_CELLS, MOTION_CELLS, 2), np.float32)

evens = st.integers(-8_192, 8_192).map(lambda half: 2 * half)
squares = st.tuples(evens, evens, st.integers(1, 8_192).map(lambda half: 2 * half))
grids = arrays(np.int16, (MOTION_CELLS, MOTION_CELLS, 2)) | st.tuples(
    # smooth, as real ones are
    st.integers(-3_000, 3_000),
    arrays(np.int16, (MOTION_CELLS, MOTION_CELLS, 2), elements=st.integers(-3, 3)),
).map(lambda both: (both[1] + both[0]).astype(np.int16))
motions = st.builds(Motion, st.integers(0, 2**64 - 1), squares, squares, grids)


# --- packed ---


def same(one: Motion, other: Motion) -> bool:
    return (
        one.key_number == other.key_number
        and one.key_xys_px == other.key_xys_px
        and one.xys_px == other.xys_px
        and np.array_equal(one.grid, other.grid)
    )


@given(motions)
def test_what_was_packed_is_unpacked(motion: Motion) -> None:
    data = pack(motion)
    assert len(data) <= MOST_BYTES
    assert same(unpack(data), motion)


@given(st.binary(max_size=2 * MOST_BYTES))
def test_any_bytes_are_a_motion_or_a_value_error(data: bytes) -> None:
    try:
        unpack(data)
    except ValueError:
        return


@given(motions, st.data())
def test_changed_bytes_are_a_motion_or_a_value_error(motion: Motion, data: st.DataObject) -> None:
    packed = bytearray(pack(motion))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(packed) - 1))
        packed[place] ^= data.draw(st.integers(1, 255))
    try:
        unpack(bytes(packed))
    except ValueError:
        return


@given(motions, st.data())
def test_cut_or_longer_bytes_are_refused(motion: Motion, data: st.DataObject) -> None:
    packed = pack(motion)
    with pytest.raises(ValueError):
        unpack(packed[: data.draw(st.integers(0, len(packed) - 1))])
    with pytest.raises(ValueError):
        unpack(packed + data.draw(st.binary(min_size=1, max_size=MOST_BYTES)))


@pytest.mark.parametrize("off", [np.nan, np.inf, -np.inf, MOST_PX + 1.0, -MOST_PX - 1.0])
def test_what_is_no_motion_makes_no_grid(off: float) -> None:
    grid = STILL.copy()
    grid[3, 4, 1] = off
    with pytest.raises(ValueError, match="no motion"):
        as_grid(grid)


# --- moved ---


def picture(x: Floats, y: Floats, phase: float) -> Floats:
    """Smooth, at any place; levels change by at most 6 a pixel."""
    levels: Floats = 128 + 50 * np.sin(x / 13 + phase) * np.cos(y / 11)
    levels += 20 * np.sin((x + 2 * y) / 29)
    return levels


def at(xs: Floats, ys: Floats, phase: float) -> U8Array:
    return np.rint(picture(xs, ys, phase)).astype(np.uint8)


def centres(start: int, count: int, step: int) -> Floats:
    """Of samples `step` luma pixels wide, where pixel 0 of luma lies at 0."""
    return start + step * np.arange(count, dtype=np.float64) + (step - 1) / 2


def painted(x: int, y: int, width: int, height: int, places: Places) -> YuvPlanes:
    """A rectangle whose sample at (x, y) shows the picture's `places(x, y)`."""
    planes = []
    for step, phase in ((1, 0.0), (2, 1.0), (2, 2.0)):
        xs, ys = np.meshgrid(centres(x, width // step, step), centres(y, height // step, step))
        planes.append(at(*places(xs, ys), phase))
    return YuvPlanes(*planes)


def as_it_is(xs: Floats, ys: Floats) -> tuple[Floats, Floats]:
    return xs, ys


def motion_of(places: Places, here: tuple[int, int, int], key: tuple[int, int, int]) -> Motion:
    """The motion for an analytic one; exact but for the grid's steps where that is affine."""
    along = (np.arange(MOTION_CELLS) + 0.5) / MOTION_CELLS
    xs, ys = np.meshgrid(here[0] - 0.5 + here[2] * along, here[1] - 0.5 + here[2] * along)
    then: Floats = np.stack(places(xs, ys), axis=-1)
    plain = np.stack(
        np.meshgrid(key[0] - 0.5 + key[2] * along, key[1] - 0.5 + key[2] * along), axis=-1
    )
    return Motion(0, key, here, as_grid((then - plain).astype(np.float32)))


def affine(degrees: float, scale: float, shift: tuple[float, float]) -> Places:
    """From a place in this frame to the one in the keyframe, about the middle of KEY."""
    turn = np.deg2rad(degrees)
    cos, sin = np.cos(turn) / scale, np.sin(turn) / scale
    mx, my = KEY[0] + KEY[2] / 2, KEY[1] + KEY[2] / 2

    def places(xs: Floats, ys: Floats) -> tuple[Floats, Floats]:
        dx, dy = xs - mx - shift[0], ys - my - shift[1]
        return mx + cos * dx + sin * dy, my - sin * dx + cos * dy

    return places


SOURCE = painted(0, 0, *FRAME_PX, as_it_is)
WHOLE = np.full((FRAME_PX[1], FRAME_PX[0]), 255, np.uint8)


def test_without_motion_pixels_stay_as_they_are() -> None:
    motion = Motion(0, KEY, KEY, as_grid(STILL))
    rng = np.random.default_rng(0)
    noise = YuvPlanes(
        rng.integers(0, 256, (240, 320), np.uint8),
        rng.integers(0, 256, (120, 160), np.uint8),
        rng.integers(0, 256, (120, 160), np.uint8),
    )
    weight = rng.integers(1, 256, (240, 320), np.uint8)
    moved = move(noise, (0, 0), weight, motion, FRAME_PX)
    assert moved is not None and (moved.x_px, moved.y_px) == KEY[:2]
    x, y, side = KEY
    truth = part_of(noise, x, y, side, side)
    for old, new in zip(planes_in(truth), planes_in(moved.planes), strict=True):
        np.testing.assert_array_equal(old, new)
    np.testing.assert_array_equal(moved.weight, weight[y : y + side, x : x + side])


def planes_in(planes: YuvPlanes) -> tuple[U8Array, U8Array, U8Array]:
    return planes.y, planes.u, planes.v


@pytest.mark.parametrize(
    ("degrees", "scale", "shift"),
    [
        (0.0, 1.0, (8.0, -6.0)),
        (0.0, 1.0, (3.0, 5.0)),
        (0.0, 1.0, (0.5, -1.25)),
        (0.0, 1.2, (0.0, 0.0)),
        (0.0, 0.85, (-4.0, 2.0)),
        (10.0, 1.0, (0.0, 0.0)),
        (-15.0, 1.1, (6.5, 3.25)),
    ],
)
def test_a_known_motion_of_an_analytic_picture(
    degrees: float, scale: float, shift: tuple[float, float]
) -> None:
    places = affine(degrees, scale, shift)
    side = round(KEY[2] * scale / 2) * 2
    x = round((KEY[0] + KEY[2] / 2 + shift[0] - side / 2) / 2) * 2
    y = round((KEY[1] + KEY[2] / 2 + shift[1] - side / 2) / 2) * 2
    moved = move(SOURCE, (0, 0), WHOLE, motion_of(places, (x, y, side), KEY), FRAME_PX)
    assert moved is not None
    assert (moved.x_px, moved.y_px, *moved.planes.size_px) == (x, y, side, side)
    truth = painted(x, y, side, side, places)
    # half a cell at the edge has no cell beyond it to tell how the motion goes on
    edge = -(-side // (2 * MOTION_CELLS) // 2) * 2
    for step, old, new in zip((1, 2, 2), planes_in(truth), planes_in(moved.planes), strict=True):
        inner = slice(edge // step, -(edge // step))
        error = np.abs(old[inner, inner].astype(int) - new[inner, inner])
        # a sixteenth of a pixel by the grid, a half level of rounding twice; bilinear smoothing
        assert error.max() <= 3 and error.mean() < 0.6


def test_a_part_that_lies_elsewhere_is_fetched_alike() -> None:
    """`xy_px` is where the source lies; nothing is known beside it."""
    places = affine(5.0, 1.0, (7.0, -3.0))
    motion = motion_of(places, (104, 60, 120), KEY)
    whole = move(SOURCE, (0, 0), WHOLE, motion, FRAME_PX)
    part = part_of(SOURCE, 110, 80, 80, 90)
    moved = move(part, (110, 80), np.full((90, 80), 255, np.uint8), motion, FRAME_PX)
    assert whole is not None and moved is not None
    dx, dy = moved.x_px - whole.x_px, moved.y_px - whole.y_px
    width, height = moved.planes.size_px
    assert width < 120 and height < 120
    inside = moved.weight == 255
    assert inside.mean() > 0.7
    same_place = whole.planes.y[dy : dy + height, dx : dx + width]
    # counted from another origin, a place may be rounded to the next step
    assert np.abs(moved.planes.y[inside].astype(int) - same_place[inside]).max() <= 1
    xs, ys = np.meshgrid(np.arange(width) + moved.x_px, np.arange(height) + moved.y_px)
    x, y = places(xs.astype(np.float64), ys.astype(np.float64))
    beside = (x < 108) | (x > 191) | (y < 78) | (y > 171)
    assert not moved.weight[beside].any()


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (-60, 64),
        (FRAME_PX[0] - 60, 64),
        (96, -60),
        (96, FRAME_PX[1] - 60),
        (-118, -118),
        (318, 238),
    ],
)
def test_what_hangs_out_of_the_frame_is_cut_off(x: int, y: int) -> None:
    def places(xs: Floats, ys: Floats) -> tuple[Floats, Floats]:
        return xs - x + KEY[0], ys - y + KEY[1]

    moved = move(SOURCE, (0, 0), WHOLE, motion_of(places, (x, y, 120), KEY), FRAME_PX)
    assert moved is not None
    width, height = moved.planes.size_px
    assert moved.x_px == max(x, 0) and moved.y_px == max(y, 0)
    assert moved.x_px + width == min(x + 120, FRAME_PX[0])
    assert moved.y_px + height == min(y + 120, FRAME_PX[1])
    assert (moved.weight == 255).all()
    truth = painted(moved.x_px, moved.y_px, width, height, places)
    for old, new in zip(planes_in(truth), planes_in(moved.planes), strict=True):
        assert np.abs(old.astype(int) - new).max() <= 1


@pytest.mark.parametrize("hang", [(-40, 64), (250, 64), (96, -40), (96, 180)])
def test_a_keyframe_that_hung_out_knows_nothing_there(hang: tuple[int, int]) -> None:
    key = (*hang, 120)
    here = (100, 60, 120)

    def places(xs: Floats, ys: Floats) -> tuple[Floats, Floats]:
        return xs - here[0] + key[0], ys - here[1] + key[1]

    moved = move(SOURCE, (0, 0), WHOLE, motion_of(places, here, key), FRAME_PX)
    assert moved is not None
    left, top = max(key[0], 0) - key[0], max(key[1], 0) - key[1]
    assert (moved.x_px, moved.y_px) == (here[0] + left, here[1] + top)
    assert moved.planes.size_px == (
        min(key[0] + 120, FRAME_PX[0]) - max(key[0], 0),
        min(key[1] + 120, FRAME_PX[1]) - max(key[1], 0),
    )


@pytest.mark.parametrize("place", [(-120, 64), (320, 64), (96, -120), (96, 240), (-900, 9_000)])
def test_wholly_outside_is_nothing(place: tuple[int, int]) -> None:
    motion = Motion(0, KEY, (*place, 120), as_grid(STILL))
    assert move(SOURCE, (0, 0), WHOLE, motion, FRAME_PX) is None


def test_nothing_known_is_nothing() -> None:
    motion = Motion(0, KEY, KEY, as_grid(STILL))
    assert move(SOURCE, (0, 0), np.zeros_like(WHOLE), motion, FRAME_PX) is None
    far = Motion(0, KEY, KEY, as_grid(np.full_like(STILL, MOST_PX)))
    assert move(SOURCE, (0, 0), WHOLE, far, FRAME_PX) is None


def test_places_are_pixels_of_the_keyframe() -> None:
    x, y = key_positions_px(Motion(0, (10, 20, 40), (0, 0, 80), as_grid(STILL)))
    assert x.shape == y.shape == (80, 80)
    places = np.dstack([x, y])
    # a pixel here is half a one there, and their outer edges meet
    np.testing.assert_allclose(places[0, 0], (9.75, 19.75))
    np.testing.assert_allclose(places[-1, -1], (49.25, 59.25))


@pytest.mark.parametrize("chroma", [False, True])
def test_a_part_of_the_positions_is_that_of_the_whole(chroma: bool) -> None:
    grid = np.random.default_rng(1).integers(-400, 400, (9, 9, 2)).astype(np.int16)
    motion = Motion(0, (10, 20, 44), (-30, 8, 86), grid)
    part = (slice(3, 31), slice(20, 43))
    whole = key_positions_px(motion, (4, 6), chroma=chroma)
    for axis, found in enumerate(key_positions_px(motion, (4, 6), chroma=chroma, part=part)):
        np.testing.assert_array_equal(found, whole[axis][part])
