from math import lcm

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from pipeline.frames import FaceBox, FacePatch, ShapeError, Square, U8Array, YuvPlanes
from pipeline.protect.choose import make_patches
from pipeline.protect.square import (
    LEAST_SIDE_PX,
    MOST_SIDE_PX,
    STEP_PX,
    opaque_box,
    ring_alpha,
    ring_around,
    square_around,
)
from pipeline.settings import ProtectSettings

WIDTH, HEIGHT = 640, 360


def blank(width: int = WIDTH, height: int = HEIGHT) -> YuvPlanes:
    half = (height // 2, width // 2)
    return YuvPlanes(
        np.zeros((height, width), np.uint8), np.zeros(half, np.uint8), np.zeros(half, np.uint8)
    )


def patch_of(
    box: tuple[float, float, float, float],
    frame_px: tuple[int, int] = (WIDTH, HEIGHT),
    **settings: object,
) -> FacePatch | None:
    protect = ProtectSettings.model_validate({"obfuscation": "solid"} | settings)
    face = FaceBox(1, np.array(box, np.float32), 0.0)
    patches = make_patches(blank(*frame_px), [face], protect)
    return patches[0] if patches else None


boxes = st.tuples(
    st.floats(-120, 700), st.floats(-120, 400), st.floats(4, 420), st.floats(4, 420)
).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))
frames = st.tuples(st.integers(8, 400), st.integers(8, 300)).map(lambda s: (2 * s[0], 2 * s[1]))


@settings(max_examples=300)
@given(
    boxes, frames, st.sampled_from([2, 4, 8]), st.sampled_from(["ellipse", "box"]), st.floats(1, 2)
)
def test_a_square_is_on_the_grid_in_the_frame_and_over_the_face(
    box: tuple[float, float, float, float],
    frame_px: tuple[int, int],
    multiple: int,
    shape: str,
    grow: float,
) -> None:
    patch = patch_of(box, frame_px, shape=shape, grow=grow)
    assume(patch is not None)
    assert patch is not None
    square = square_around(patch, frame_px, multiple)
    if not isinstance(square, Square):
        assert square in ("too small", "too large", "no room")
        return
    x, y, side = square.xys_px
    assert x % 2 == y % 2 == 0
    assert side % 4 == side % multiple == 0
    assert LEAST_SIDE_PX <= side <= MOST_SIDE_PX
    assert x >= 0 and x + side <= frame_px[0] and y >= 0 and y + side <= frame_px[1]
    # everything that the patch replaces for good, and with it the face as far as it is seen
    rows, columns = np.nonzero(patch.alpha == 255)
    assert x <= patch.x_px + columns.min() and patch.x_px + columns.max() < x + side
    assert y <= patch.y_px + rows.min() and patch.y_px + rows.max() < y + side
    x1, y1 = max(round(box[0]), 0), max(round(box[1]), 0)
    x2, y2 = min(round(box[2]), frame_px[0]), min(round(box[3]), frame_px[1])
    if x1 < x2 and y1 < y2:
        assert x <= x1 + 1 and x2 - 1 <= x + side and y <= y1 + 1 and y2 - 1 <= y + side
    # no larger than it must be: one step
    least = max(np.ptp(rows), np.ptp(columns)) + 1
    assert side < least + 2 + lcm(STEP_PX, multiple)


def test_sides_come_in_steps_where_there_is_room() -> None:
    sides = set()
    for width in np.linspace(30, 200, 60):
        patch = patch_of((300, 40, 300 + width, 40 + width))
        assert patch is not None
        square = square_around(patch, (WIDTH, HEIGHT), 4)
        assert isinstance(square, Square)
        sides.add(square.side_px)
    assert all(side % STEP_PX == 0 for side in sides)
    assert len(sides) < 20  # so that faces share runs of the network


def test_a_face_in_the_middle_of_nowhere_is_in_the_middle_of_its_square() -> None:
    patch = patch_of((300, 150, 350, 200))
    assert patch is not None
    square = square_around(patch, (WIDTH, HEIGHT), 4)
    assert isinstance(square, Square)
    assert abs(square.x_px + square.side_px / 2 - 325) <= 2
    assert abs(square.y_px + square.side_px / 2 - 175) <= 2


@pytest.mark.parametrize(
    ("box", "why"),
    [
        ((100, 100, 112, 112), "too small"),
        ((150, 20, 480, 340), "no room"),  # 445 px of it to hide, in a frame 360 px high
    ],
)
def test_what_has_no_square(box: tuple[float, float, float, float], why: str) -> None:
    patch = patch_of(box)
    assert patch is not None
    assert square_around(patch, (WIDTH, HEIGHT), 4) == why


def test_a_face_at_the_edge_has_the_square_of_what_is_seen_of_it() -> None:
    patch = patch_of((-50, 100, 6, 160))
    assert patch is not None
    square = square_around(patch, (WIDTH, HEIGHT), 4)
    hard = opaque_box(patch)
    assert isinstance(square, Square) and hard is not None
    assert square.x_px == hard[0] == 0
    assert hard[2] <= square.side_px


def test_a_huge_face_is_too_large() -> None:
    patch = patch_of((300, 100, 900, 700), (1920, 1080))
    assert patch is not None
    assert square_around(patch, (1920, 1080), 4) == "too large"


def test_a_patch_that_hides_nothing_has_no_square() -> None:
    empty: U8Array = np.full((64, 64), 254, np.uint8)
    patch = FacePatch(1, 0, 0, blank(64, 64), empty, np.zeros(4, np.float32))
    assert opaque_box(patch) is None
    assert square_around(patch, (WIDTH, HEIGHT), 4) == "too small"


@settings(max_examples=200)
@given(boxes, frames)
def test_the_soft_edge_lies_outside_of_the_square(
    box: tuple[float, float, float, float], frame_px: tuple[int, int]
) -> None:
    patch = patch_of(box, frame_px)
    assume(patch is not None)
    assert patch is not None
    square = square_around(patch, frame_px, 4)
    assume(isinstance(square, Square))
    assert isinstance(square, Square)
    x, y, width, height = rectangle = ring_around(square, patch, frame_px)
    assert x % 2 == y % 2 == width % 2 == height % 2 == 0
    assert x >= 0 and y >= 0 and x + width <= frame_px[0] and y + height <= frame_px[1]
    alpha = ring_alpha(square, rectangle)
    assert alpha.shape == (height, width)
    left, top, side = square.x_px - x, square.y_px - y, square.side_px
    assert (alpha[top : top + side, left : left + side] == 255).all()
    outside = np.ones(alpha.shape, np.bool_)
    outside[top : top + side, left : left + side] = False
    assert (alpha[outside] < 255).all()
    # it falls off: no step at the rectangle's edge
    if left >= 4:
        assert alpha[top + side // 2, 0] <= 255 / 4
        assert (np.diff(alpha[top + side // 2, : left + 1].astype(int)) >= 0).all()
    # and no pixel of the plain patch lies beyond it
    assert x <= patch.x_px and patch.x_px + patch.alpha.shape[1] <= x + width
    assert y <= patch.y_px and patch.y_px + patch.alpha.shape[0] <= y + height


@pytest.mark.parametrize(
    ("x", "y", "side"), [(1, 0, 32), (0, 3, 32), (-2, 0, 32), (0, 0, 30), (0, 0, 0), (0, 0, -4)]
)
def test_a_square_off_the_grid_cannot_be_made(x: int, y: int, side: int) -> None:
    with pytest.raises(ShapeError):
        Square(x, y, side)


def test_a_square_outside_of_the_frame_has_no_pixels() -> None:
    with pytest.raises(ShapeError, match="does not lie in a frame of 64x64"):
        Square(40, 0, 32).of(blank(64, 64))


@given(
    st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 12)),
    st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(1, 12)),
)
def test_overlap_is_a_shared_pixel(one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    first, second = (Square(2 * x, 2 * y, 4 * s) for x, y, s in (one, other))
    seen = np.zeros((140, 140), np.uint8)
    for square in (first, second):
        x, y, side = square.xys_px
        seen[y : y + side, x : x + side] += 1
    assert first.overlaps(second) == second.overlaps(first) == bool((seen == 2).any())
