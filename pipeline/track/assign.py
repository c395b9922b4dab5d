"""Boxes to tracks: the cheapest one-to-one assignment, and which pairs are in doubt."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..frames import FloatArray

FAR = 1e3  # cost of a pair that is out of reach: never chosen while any other is left
REACH = 1.0  # face sizes between expected and found centre beyond which they are two faces
FIRST_REACH = 2.0  # the same while a track's motion is not known yet: people cross close by
SIZE_RATIO = 2.0  # a face does not double its size between two looks
DOUBT = 1.25  # a second track this close to the best one makes the match a guess


def pair_costs(track_xyxy: FloatArray, reach: FloatArray, found_xyxy: FloatArray) -> FloatArray:
    """(T, 4), (T,), (N, 4) to (T, N): distance of centres in face sizes, FAR where out of reach.

    Centre distance, not overlap: small faces that move by their own width between two looks
    do not overlap at all.
    """
    if not len(track_xyxy) or not len(found_xyxy):
        return np.zeros((len(track_xyxy), len(found_xyxy)), np.float32)
    track_size, found_size = _size(track_xyxy), _size(found_xyxy)
    centre_t = (track_xyxy[:, :2] + track_xyxy[:, 2:]) / 2
    centre_f = (found_xyxy[:, :2] + found_xyxy[:, 2:]) / 2
    distance = np.linalg.norm(centre_t[:, None] - centre_f[None], axis=2)
    mean_size = (track_size[:, None] + found_size[None]) / 2
    ratio = np.maximum(
        track_size[:, None] / found_size[None], found_size[None] / track_size[:, None]
    )
    cost: FloatArray = (distance / mean_size).astype(np.float32)
    cost[(cost > reach[:, None]) | (ratio > SIZE_RATIO)] = FAR
    return cost


def _size(box_xyxy: FloatArray) -> FloatArray:
    sides = np.maximum(box_xyxy[:, 2:] - box_xyxy[:, :2], 1.0)
    size: FloatArray = np.sqrt(sides[:, 0] * sides[:, 1]).astype(np.float32)
    return size


def assign(costs: FloatArray) -> list[tuple[int, int]]:
    """(track, found) pairs of least total cost, none out of reach."""
    rows, columns = linear_sum_assignment(costs)
    return [
        (int(row), int(column))
        for row, column in zip(rows, columns, strict=True)
        if costs[row, column] < FAR
    ]


def is_doubtful(costs: FloatArray, track: int, found: int) -> bool:
    """True where another track fits this box about as well: ids must never swap people."""
    others = np.delete(costs[:, found], track)
    if not len(others):
        return False
    best = max(float(costs[track, found]), 0.15)  # closer than this no second track can be near
    return bool(others.min() < best * DOUBT)
