"""Flow between two views of a face: known motion is found, and what is none is not believed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from pipeline.frames import MOTION_CELLS, FloatArray, U8Array
from pipeline.protect.flow import (
    CELLS,
    VIEW_PX,
    View,
    affine,
    face_weights,
    flow_between,
    sample,
    view_of,
)
from support.motion import textured

FACE = np.array([0.25, 0.2, 0.75, 0.8], np.float32)
WEIGHTS = face_weights(FACE)


def seen(luma: U8Array, square: tuple[int, int, int]) -> View | None:
    """A view whose face is where FACE is."""
    x, y, side = square
    return view_of(luma, square, np.array([x, y, x, y], np.float32) + FACE * side)


def shifted(luma: U8Array, x: float, y: float) -> U8Array:
    move = np.array([[1, 0, x], [0, 1, y]], np.float32)
    size = (luma.shape[1], luma.shape[0])
    return np.asarray(cv2.warpAffine(luma, move, size, borderMode=cv2.BORDER_REFLECT), np.uint8)


@pytest.mark.parametrize(("x", "y"), [(0.0, 0.0), (3.0, -2.0), (-7.5, 4.25)])
def test_a_known_shift_is_found(x: float, y: float) -> None:
    luma = textured((300, 300), seed=1)
    square = (50, 50, 192)
    before, now = seen(luma, square), seen(shifted(luma, x, y), square)
    assert before is not None and now is not None
    flow = flow_between(before, now, FACE, WEIGHTS)
    # from here to where it was: the other way
    off_px = np.abs(flow.moved * 192 - np.array([-x, -y])).max(axis=2)
    assert np.average(off_px, weights=WEIGHTS) < 0.6
    assert flow.disagreement < 0.005 and flow.residual < 0.1


def test_another_face_is_not_explained_by_motion() -> None:
    square = (50, 50, 192)
    before, now = (seen(textured((300, 300), seed=n), square) for n in (1, 2))
    assert before is not None and now is not None
    flow = flow_between(before, now, FACE, WEIGHTS)
    assert flow.disagreement > 0.015 or flow.residual > 0.6


def test_half_a_face_that_changed_is_a_residual() -> None:
    one, other = (textured((300, 300), seed=n) for n in (1, 2))
    masked = one.copy()
    masked[146:] = other[146:]
    square = (50, 50, 192)
    before, now = seen(one, square), seen(masked, square)
    assert before is not None and now is not None
    assert flow_between(before, now, FACE, WEIGHTS).residual > 0.4


def test_the_background_does_not_drag_the_face_along() -> None:
    """The face stands still in its views while all around it goes by at 12 px a frame."""
    wall, face = textured((400, 300), seed=1), textured((400, 300), seed=2)
    oval = np.zeros((300, 400), np.uint8)
    cv2.ellipse(oval, (146, 146), (52, 62), 0, 0, 360, 255, -1)
    square = (50, 50, 192)
    frames = [np.where(oval > 0, face, shifted(wall, 12.0 * n, 0)).astype(np.uint8) for n in (0, 1)]
    before, now = (seen(frame, square) for frame in frames)
    assert before is not None and now is not None
    flow = flow_between(before, now, FACE, WEIGHTS)
    assert np.average(np.abs(flow.moved * 192).max(axis=2), weights=WEIGHTS) < 0.5


def test_where_nothing_can_be_followed_nothing_is_claimed() -> None:
    flat = np.full((300, 300), 90, np.uint8)
    view = seen(flat, (50, 50, 192))
    assert view is not None
    flow = flow_between(view, view, FACE, WEIGHTS)
    assert flow.disagreement == float("inf") and not flow.moved.any()


def test_brighter_light_is_no_residual() -> None:
    luma = textured((300, 300), seed=3)
    square = (50, 50, 192)
    before = seen(luma, square)
    now = seen(np.clip(luma.astype(int) + 25, 0, 255).astype(np.uint8), square)
    assert before is not None and now is not None
    assert flow_between(before, now, FACE, WEIGHTS).residual < 0.1


@pytest.mark.parametrize("square", [(-40, -40, 120), (230, 240, 120), (-10, 0, 320)])
def test_a_view_goes_on_beyond_the_frames_edge(square: tuple[int, int, int]) -> None:
    luma = textured((300, 300), seed=4)
    view = seen(luma, square)
    assert view is not None and view.luma.shape == (VIEW_PX, VIEW_PX)
    assert view.luma.std() > 5


@pytest.mark.parametrize("square", [(-120, 0, 120), (294, 0, 120), (0, 300, 64), (500, 500, 2)])
def test_no_view_of_what_is_not_in_the_frame(square: tuple[int, int, int]) -> None:
    assert seen(textured((300, 300), seed=4), square) is None


def test_the_view_holds_a_copy_not_the_frame() -> None:
    """The frame is written into right afterwards."""
    luma = textured((300, 300), seed=5)
    view = seen(luma, (50, 50, VIEW_PX))
    assert view is not None
    kept = view.luma.copy()
    luma[:] = 0
    np.testing.assert_array_equal(view.luma, kept)


def test_an_affine_motion_is_fitted_exactly_and_outliers_are_not() -> None:
    turn = np.array([[0.02, -0.01], [0.015, 0.03]], np.float32)
    true: FloatArray = (CELLS @ turn.T + np.float32(0.01)).astype(np.float32)
    ones = np.ones((MOTION_CELLS, MOTION_CELLS), np.float32)
    np.testing.assert_allclose(affine(true, ones), true, atol=1e-5)
    spoiled = true.copy()
    spoiled[2, 3] += 0.3
    once = np.abs(affine(spoiled, ones) - true).mean()
    again = np.abs(affine(spoiled, ones, rounds=3) - true).mean()
    assert again < 0.5 * once


def test_sampling_a_grid_at_its_own_cells_gives_it_back() -> None:
    grid = np.random.default_rng(0).normal(size=(MOTION_CELLS, MOTION_CELLS, 2)).astype(np.float32)
    np.testing.assert_allclose(sample(grid, CELLS), grid, atol=1e-6)
    # also beyond the outermost centres: no number may come from nowhere
    assert np.isfinite(sample(grid, CELLS + np.float32(3))).all()


def test_weights_follow_the_face() -> None:
    assert WEIGHTS[4, 4] == 1 and WEIGHTS[0, 0] < 0.05
    tiny = face_weights(np.array([0.5, 0.5, 0.5, 0.5], np.float32))
    assert np.isfinite(tiny).all() and tiny.max() == 1
