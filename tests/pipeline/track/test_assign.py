import numpy as np
import pytest

from pipeline.frames import FloatArray
from pipeline.track.assign import FAR, assign, distances, doubtful, pair_costs


def squares(*places: tuple[float, float, float]) -> FloatArray:
    """(x, y, side) to boxes."""
    return np.array([(x, y, x + s, y + s) for x, y, s in places], np.float32).reshape(-1, 4)


def costs(tracks: FloatArray, found: FloatArray, reach: float = 1.0) -> FloatArray:
    return pair_costs(distances(tracks, found), reach)


def test_cost_is_the_distance_in_face_sizes() -> None:
    cost = costs(squares((0, 0, 40)), squares((0, 0, 40), (20, 0, 40), (0, 40, 40), (60, 0, 40)))
    np.testing.assert_allclose(cost, [[0, 0.5, 1.0, FAR]])


def test_reach_is_per_track_and_box() -> None:
    tracks, found = squares((0, 0, 40), (0, 0, 40)), squares((60, 0, 40))
    apart = distances(tracks, found)
    assert pair_costs(apart, np.array([[1.0], [2.0]], np.float32))[:, 0].tolist() == [FAR, 1.5]
    assert pair_costs(apart, np.full((2, 1), 1.4, np.float32)).tolist() == [[FAR], [FAR]]


@pytest.mark.parametrize(("side", "near"), [(40, True), (79, True), (81, False), (19, False)])
def test_a_face_does_not_double_its_size(side: float, near: bool) -> None:
    at = 20 - side / 2
    cost = costs(squares((0, 0, 40)), squares((at, at, side)))
    assert (cost[0, 0] < FAR) == near


@pytest.mark.parametrize(("tracks", "found"), [(0, 0), (0, 2), (2, 0)])
def test_nobody_and_nothing(tracks: int, found: int) -> None:
    cost = costs(squares(*[(0, 0, 9)] * tracks), squares(*[(0, 0, 9)] * found))
    assert cost.shape == (tracks, found)
    assert assign(cost) == []


def test_assignment_is_the_cheapest_in_sum() -> None:
    """Greedy would take 0.1 first and leave a pair out of reach."""
    cost = np.array([[0.2, 0.1], [FAR, 0.3]], np.float32)
    assert assign(cost) == [(0, 0), (1, 1)]


def test_pairs_out_of_reach_are_left_out() -> None:
    cost = np.array([[FAR, FAR], [0.5, FAR]], np.float32)
    assert assign(cost) == [(1, 0)]


# --- doubt ---


def guesses(
    apart: list[list[float]],
    pairs: list[tuple[int, int]],
    *,
    unsure: float = 0.0,
    roams: list[float] | None = None,
) -> list[tuple[int, int]]:
    table = np.array(apart, np.float32)
    roaming = np.array(roams or [0.0] * len(table), np.float32)
    return doubtful(table, pairs, np.full(len(table), unsure, np.float32), roaming)


@pytest.mark.parametrize(
    ("mine", "other", "doubt"),
    [(0.5, 0.5, True), (0.5, 0.62, True), (0.5, 0.63, False), (0.0, 0.18, True), (0.0, 0.2, False)],
)
def test_a_second_track_or_box_that_fits_about_as_well_is_doubt(
    mine: float, other: float, doubt: bool
) -> None:
    assert bool(guesses([[mine], [other]], [(0, 0)])) is doubt
    assert bool(guesses([[mine, other]], [(0, 0)])) is doubt


def test_a_lone_track_is_no_doubt() -> None:
    assert guesses([[0.9]], [(0, 0)]) == []


def test_an_unseen_face_that_may_have_come_out_here_is_doubt() -> None:
    """Unless the box is where the track was expected: it would hide whoever stands there."""
    beside = [[0.65], [0.9]]
    assert guesses(beside, [(0, 0)], roams=[0.0, 1.0]) == [(0, 0)]
    assert guesses(beside, [(0, 0)], roams=[0.0, 0.8]) == []
    assert guesses([[0.3], [0.9]], [(0, 0)], roams=[0.0, 1.0]) == []
    assert guesses([[0.3], [0.9]], [(0, 0)], roams=[0.0, 1.0], unsure=0.35) == [(0, 0)]


def test_a_face_seen_once_may_have_gone_to_any_box_near_by() -> None:
    two = [[0.2, 0.7], [FAR, 0.1]]
    pairs = [(0, 0), (1, 1)]
    assert guesses(two, pairs, roams=[0.8, 0.0]) == [(0, 0)]
    assert guesses(two, pairs, roams=[0.6, 0.0]) == []
