"""Boxes to tracks: the cheapest one-to-one assignment, and which pairs are in doubt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from ..frames import FloatArray

FAR = 1e3  # cost of a pair that is out of reach: never chosen while any other is left
# All distances in face sizes, all found with benchmarks/crossings.py and five recorded clips.
FIRST_REACH = 2.0  # from where it was seen once to where it is found: people cross close by
REACH = 1.0  # the same once the motion is known, from where it is expected ...
LEAST_REACH = 0.4  # ... but no more than this, and what it can have turned aside since
WEAK_REACH = 0.4  # half hidden faces come out beside those who hide them, and are found weakly
SIZE_RATIO = 2.0  # a face does not double its size between two looks
DOUBT = 1.25  # a second track or box this close to the best one makes the match a guess
NEAR = 0.15  # closer than this no second face can be near
CLEAR = 0.6  # two faces closer than this hide each other: nearer to one it is not the other
AWAY = 0.6  # by which an unseen face may be off its expected place at once ...
TURN = 0.02  # ... and times the square of the frames unseen: people stop and turn (25 frames/s)


def distances(track_xyxy: FloatArray, found_xyxy: FloatArray) -> FloatArray:
    """(T, 4), (N, 4) to (T, N): distance of centres in face sizes, FAR where sizes do not fit.

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
    apart: FloatArray = (distance / mean_size).astype(np.float32)
    apart[ratio > SIZE_RATIO] = FAR
    return apart


def pair_costs(apart: FloatArray, reach: FloatArray | float) -> FloatArray:
    """`apart` (T, N), FAR where it is beyond `reach`: one, (T, 1) or (T, N)."""
    return np.where(apart <= reach, apart, FAR).astype(np.float32)


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


def doubtful(
    apart: FloatArray,
    pairs: Sequence[tuple[int, int]],
    unsure: FloatArray,
    roams: FloatArray,
) -> list[tuple[int, int]]:
    """Those of `pairs` (track, found) in which the box may as well be somebody else's.

    `apart` (T, N) is `distances`; rows beyond those that were assigned are faces that are
    somewhere unseen. (T,) each, in face sizes: `unsure` is how well a face's place was foretold,
    `roams` how far from it the face may be, 0 where it was found without doubt elsewhere.
    """
    guesses = []
    may_be = apart < roams[:, None]
    for row, column in pairs:
        own = float(apart[row, column])
        others = np.delete(np.arange(apart.shape[0]), row)
        elsewhere = np.delete(np.arange(apart.shape[1]), column)
        nearest = min([*apart[others, column], *apart[row, elsewhere]], default=FAR)
        if (
            nearest < max(own, NEAR) * DOUBT
            or may_be[row, elsewhere].any()
            # whoever comes out of hiding does so beside the one in front, not in its place
            or (own > CLEAR - unsure[row] and may_be[others, column].any())
        ):
            guesses.append((row, column))
    return guesses
