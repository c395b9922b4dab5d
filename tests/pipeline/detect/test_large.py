from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.detect.large import GROWING_PX, LARGE_SCORE, least_score, without_large_phantoms
from pipeline.frames import Detections, FloatArray


def squares(*sides_px: float) -> FloatArray:
    return np.array([(10, 20, 10 + side, 20 + side) for side in sides_px], np.float32)


def test_small_boxes_need_what_the_settings_say() -> None:
    least = least_score(squares(4, 20, GROWING_PX[0]), 0.05)
    np.testing.assert_allclose(least, 0.05, rtol=1e-5)


def test_large_ones_must_be_surer() -> None:
    middle = float(np.sqrt(GROWING_PX[0] * GROWING_PX[1]))
    least = least_score(squares(middle, GROWING_PX[1], 600), 0.05)
    np.testing.assert_allclose(least, [0.1, LARGE_SCORE, LARGE_SCORE], rtol=1e-4)


@given(st.floats(1, 2000), st.floats(1, 2000), st.floats(0.01, 0.99))
def test_it_only_grows_with_size_and_never_below_the_settings(
    one: float, other: float, min_score: float
) -> None:
    small, large = least_score(squares(*sorted((one, other))), min_score)
    assert min_score - 1e-6 <= small <= large + 1e-6
    assert large <= max(min_score, LARGE_SCORE) + 1e-6


@pytest.mark.parametrize(("score", "kept"), [(0.19, 1), (0.21, 2)])
def test_what_is_too_large_for_its_score_goes(score: float, kept: int) -> None:
    marks = np.zeros((2, 5, 2), np.float32)
    found = Detections(squares(300, 30), marks, np.full(2, score, np.float32))
    assert len(without_large_phantoms(found, 0.05)) == kept


def test_nobody_found() -> None:
    assert len(without_large_phantoms(Detections.empty(), 0.05)) == 0


def test_a_wild_box_needs_the_most() -> None:
    wild = np.array([[-1e30, -1e30, 1e30, 1e30]], np.float32)
    np.testing.assert_allclose(least_score(wild, 0.05), LARGE_SCORE, rtol=1e-4)
