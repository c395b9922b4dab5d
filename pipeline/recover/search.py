"""Where was a face fused? Without a sidecar's line only trying tells: a face's key is bound to its
place, so every place but the right one gives noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from engines.fusion import FusionModel

from ..frames import Square, YuvPlanes
from .in_band import LEAST_LIKENESS, Progress, likeness, open_squares

REACH_PX = 24  # to each side of where it is looked for
SIDE_STEP_PX = 16  # sides come in steps (`protect.square.STEP_PX`)
SIDE_REACH_PX = 24  # steps that are tried: two or three
MOST_TRIES = 20_000
SURE = 0.55  # a likeness that noise does not reach in so many tries; below, all are tried
_BATCH = 8


@dataclass(frozen=True, slots=True)
class Found:
    """The place that opened best."""

    square: Square
    likeness: float  # see in_band.likeness

    @property
    def is_face(self) -> bool:
        """False: nothing opened anywhere."""
        return self.likeness >= LEAST_LIKENESS


def search(
    planes: YuvPlanes,
    around: Square,
    key_of: Callable[[Square], bytes],
    model: FusionModel,
    *,
    reach_px: int = REACH_PX,
    progress: Progress = lambda _done, _of: None,
) -> Found | None:
    """The square near `around` that opens with its own key; None where none lies inside the frame.

    The nearest are tried first, and a sure face ends it. At most MOST_TRIES places. Of squares
    below 48 px the right one may not stand out from the noise of all others.
    """
    places = candidates(around, planes.size_px, reach_px)
    block_px = model.spec.layout.side_multiple_px
    best: Found | None = None
    done = 0
    for batch in _of_one_side(places):
        keys = [key_of(square) for square in batch]
        for square, face in zip(batch, open_squares(planes, batch, keys, model), strict=True):
            score = likeness(face.y, block_px)
            if best is None or score > best.likeness:
                best = Found(square, score)
        done += len(batch)
        progress(done, len(places))
        if best is not None and best.likeness >= SURE:
            break
    return best


def candidates(around: Square, frame_px: tuple[int, int], reach_px: int) -> list[Square]:
    """Even places and stepped sides near `around`, the nearest first."""
    least = max(around.side_px - SIDE_REACH_PX, SIDE_STEP_PX)
    first = -(-least // SIDE_STEP_PX) * SIDE_STEP_PX
    sides = {around.side_px, *range(first, around.side_px + SIDE_REACH_PX + 1, SIDE_STEP_PX)}
    shifts = range(-(reach_px // 2) * 2, reach_px + 1, 2)
    found: list[tuple[int, Square]] = []
    for side in sides:
        # another side about the same middle
        grown = (around.side_px - side) // 4 * 2
        for dx in shifts:
            for dy in shifts:
                x, y = around.x_px + grown + dx, around.y_px + grown + dy
                if x < 0 or y < 0 or x + side > frame_px[0] or y + side > frame_px[1]:
                    continue
                away = max(abs(dx), abs(dy)) + abs(side - around.side_px)
                found.append((away, Square(x, y, side)))
    found.sort(key=lambda item: item[0])
    return [square for _, square in found[:MOST_TRIES]]


def _of_one_side(places: Sequence[Square]) -> Iterator[Sequence[Square]]:
    """Batches in about the same order: one run of the network takes one side."""
    for start in range(0, len(places), 4 * _BATCH):
        chunk = places[start : start + 4 * _BATCH]
        for side in sorted({square.side_px for square in chunk}):
            same = [square for square in chunk if square.side_px == side]
            for first in range(0, len(same), _BATCH):
                yield same[first : first + _BATCH]
