import numpy as np
import pytest

from pipeline.frames import FloatArray
from pipeline.track.assign import FAR, assign, is_doubtful, pair_costs


def squares(*places: tuple[float, float, float]) -> FloatArray:
    """(x, y, side) to boxes."""
    return np.array([(x, y, x + s, y + s) for x, y, s in places], np.float32).reshape(-1, 4)


def costs(tracks: FloatArray, found: FloatArray, reach: float = 1.0) -> FloatArray:
    return pair_costs(tracks, np.full(len(tracks), reach, np.float32), found)


def test_cost_is_the_distance_in_face_sizes() -> None:
    cost = costs(squares((0, 0, 40)), squares((0, 0, 40), (20, 0, 40), (0, 40, 40), (60, 0, 40)))
    np.testing.assert_allclose(cost, [[0, 0.5, 1.0, FAR]])


def test_reach_is_per_track() -> None:
    tracks, found = squares((0, 0, 40), (0, 0, 40)), squares((60, 0, 40))
    cost = pair_costs(tracks, np.array([1.0, 2.0], np.float32), found)
    assert cost[:, 0].tolist() == [FAR, 1.5]


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


@pytest.mark.parametrize(
    ("mine", "other", "doubtful"),
    [(0.5, 0.5, True), (0.5, 0.62, True), (0.5, 0.63, False), (0.0, 0.18, True), (0.0, 0.2, False)],
)
def test_a_second_track_as_close_is_doubt(mine: float, other: float, doubtful: bool) -> None:
    cost = np.array([[FAR, mine], [FAR, other], [FAR, FAR]], np.float32)
    assert is_doubtful(cost, 0, 1) is doubtful


def test_alone_there_is_no_doubt() -> None:
    assert not is_doubtful(np.array([[0.9]], np.float32), 0, 0)
