"""Is a protected face still found? Rank-1 in a gallery, and the match one to one; chance beside.

`rank-1`: the nearest of the gallery is the person's own picture; chance is one in the gallery. A
picture that is as near to several says nothing and is not found.
`match`: the distance to the own picture lies below the recognizer's threshold; chance is the same
distance to the next person's. Intervals are Wilson's, 95 %. A rank-1 share holds while it is at
most the limit; it fails where its whole interval lies above, and is unclear between.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from ._recognizers import Recognizer
from ._reid_people import Lineup
from ._similarity import F32, U8, wilson

CHANCE_MARGIN = 0.01  # naive and parrot: rank-1 at most so much above chance
RESTORED_MOST = 0.05
HOLDS, UNCLEAR, FAILS = "holds", "unclear", "fails"


@dataclass(frozen=True, slots=True)
class Found:
    """What one recognizer made of one set of probes."""

    recognizer: str
    gallery: int
    own_nearest: NDArray[np.bool_] = field(repr=False)  # (P,)
    own_match: NDArray[np.bool_] = field(repr=False)
    other_match: NDArray[np.bool_] = field(repr=False)  # the next person's

    @property
    def rank1(self) -> float:
        """Share."""
        return float(self.own_nearest.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """Of `rank1`."""
        return wilson(int(self.own_nearest.sum()), len(self.own_nearest))

    def verdict(self, limit: float) -> str:
        """See the module."""
        if self.rank1 <= limit:
            return HOLDS
        return FAILS if self.interval[0] > limit else UNCLEAR


def limit_of(attack: str, gallery: int) -> float:
    """The largest rank-1 share that holds."""
    return RESTORED_MOST if attack.startswith("restored") else 1 / gallery + CHANCE_MARGIN


def worst_of(verdicts: Sequence[str]) -> str:
    """One word for several."""
    return max(verdicts, key=(HOLDS, UNCLEAR, FAILS).index)


class PixelComparison:
    """No network: pictures of 14x14 px, correlated.

    It finds the same day and place at least as well as the same face. So it is shown, and judges
    only where there is no recognizer.
    """

    name = "pixels"
    # 1 - correlation. Of pairs of 1,000 random pictures of LFW about one in a thousand lies below;
    # a few of these pairs are of one person.
    threshold = 0.14
    _SIDE_PX = 14

    def embed(self, rgb: U8) -> F32:
        """See Recognizer."""
        size = (self._SIDE_PX, self._SIDE_PX)
        small = np.stack([cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in rgb])
        flat = small.reshape(len(rgb), -1).astype(np.float32)
        flat -= flat.mean(axis=1, keepdims=True)
        lengths = np.linalg.norm(flat, axis=1, keepdims=True)
        return np.asarray(flat / np.maximum(lengths, 1e-3), np.float32)

    def distance(self, first: F32, second: F32) -> F32:
        """See Recognizer."""
        return np.asarray(1 - (first * second).sum(axis=-1), np.float32)


class Judge:
    """Looks for protected people in their galleries."""

    def __init__(self, lineup: Lineup, recognizers: Sequence[Recognizer]) -> None:
        """`lineup.known`: the clear pictures as the attacker has them."""
        self.lineup, self.recognizers = lineup, recognizers
        self._known = {each.name: embedded(lineup.known, each) for each in recognizers}

    def find(
        self, probes: U8, recognizer: Recognizer, galleries: Sequence[U8 | None] = (None,)
    ) -> list[Found]:
        """All probes of the line-up, hidden somehow, in other pictures of `known`; None: in it."""
        found = embedded(probes, recognizer)
        return [
            compared(
                found,
                self._known[recognizer.name] if each is None else embedded(each, recognizer),
                self.lineup,
                recognizer,
            )
            for each in galleries
        ]

    def find_vectors(self, probes: F32, recognizer: Recognizer) -> Found:
        """(P, D) that somebody made without a picture, among the clear ones."""
        return compared(probes, self._known[recognizer.name], self.lineup, recognizer)


def embedded(pictures: U8, recognizer: Recognizer) -> F32:
    """(N, D); a picture that is everybody's is looked at once."""
    if all(np.array_equal(each, pictures[0]) for each in pictures[1:]):
        return np.repeat(recognizer.embed(pictures[:1]), len(pictures), axis=0)
    return recognizer.embed(pictures)


def compared(probes: F32, known: F32, lineup: Lineup, recognizer: Recognizer) -> Found:
    """(P, D) with (N, D), each probe with its own gallery alone."""
    places = lineup.owner % lineup.each
    starts = lineup.owner - places
    nearest, own, other = [], [], []
    for probe, start, place in zip(probes, starts, places, strict=True):
        gallery = known[start : start + lineup.each]
        distances = recognizer.distance(np.broadcast_to(probe, gallery.shape), gallery)
        # somebody just as near may be the one that is chosen: equal pictures tell nothing
        nearest.append(int((distances <= distances[place]).sum()) == 1)
        own.append(distances[place] < recognizer.threshold)
        other.append(distances[(place + 1) % lineup.each] < recognizer.threshold)
    return Found(
        recognizer.name,
        lineup.each,
        np.array(nearest, np.bool_),
        np.array(own, np.bool_),
        np.array(other, np.bool_),
    )
