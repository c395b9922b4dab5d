"""Is this another scene than in the frame before, or did only the camera or the light change?

In three steps, each for what the one before leaves open: how much changed against the contrast of
the picture; whether the squares of one picture are found again in the other, moved a little and
under any light; and, for fast pans, the same after the whole picture was moved into place. In
doubt it is a cut: what is carried along by motion must never be carried into another scene.
Fades and dissolves are no cuts: from frame to frame the picture is always found again.
"""

from __future__ import annotations

import enum
from typing import cast

import cv2
import numpy as np

from ..frames import U8Array

WIDTH_PX = 128  # at 1280 pixels' width, one of these is ten of the picture
SQUARE_PX = 24  # a fifth of the width: in another scene nothing that large is found again
SEARCH_PX = 8  # 2000 pixels a second at 1280 wide and 25 frames a second; zoom and shake too
LEAST_TEXTURE = 2.0  # variance in levels; flatter squares match anything or nothing
MOST_WEIGHT = 400.0  # variance: one hard edge must not outvote the rest of the picture
# The three below: benchmarks/scenes.py
LEAST_CHANGE = 0.3  # mean change over the contrast; spliced cuts of equal light have 0.54 at least
LEAST_FOUND = 0.5  # share of the texture that is found again; below it the scene is another
LEAST_FOUND_SHIFTED = 0.7  # of the part that both show: less to go by
LIGHT_SHARE = 0.7  # of the change, what is left when averaged over SHADE_PX
SHADE_PX = 16
_LEAST_CONTRAST = 8.0  # levels: the noise of a dark picture is no change
_SURE_SHIFT = 0.1  # response of the phase correlation


class SceneChange(enum.Enum):
    """From one frame to the next."""

    LITTLE = "little"
    MOVE = "move"  # the camera, or much of the picture
    LIGHT = "light"  # a flash, a lamp, a step of the exposure
    CUT = "cut"  # another scene


class SceneWatch:
    """Asked once per frame, in order."""

    def __init__(self) -> None:
        self._previous: U8Array | None = None

    def observe(self, thumb: U8Array) -> SceneChange:
        """`thumb` is activity.thumbnail of the frame."""
        current = _shrunk(thumb)
        previous, self._previous = self._previous, current
        if previous is None:
            return SceneChange.LITTLE
        if previous.shape != current.shape:
            return SceneChange.CUT
        return compare(previous, current)


def compare(previous: U8Array, current: U8Array) -> SceneChange:
    """Two small pictures of one size, WIDTH_PX wide at most."""
    changed = cv2.mean(cv2.absdiff(previous, current))[0]
    contrast = min(_deviation(previous), _deviation(current))
    if changed < LEAST_CHANGE * max(contrast, _LEAST_CONTRAST):
        return SceneChange.LITTLE
    # both ways: what a flash burns out is not found in it, but it is found in what was before
    if (
        max(_found_again(previous, current), _found_again(current, previous)) < LEAST_FOUND
        and _found_after_shift(previous, current) < LEAST_FOUND_SHIFTED
    ):
        return SceneChange.CUT
    difference = current.astype(np.float32) - previous
    coarse = (max(1, current.shape[1] // SHADE_PX), max(1, current.shape[0] // SHADE_PX))
    shade = cv2.resize(difference, coarse, interpolation=cv2.INTER_AREA)
    # motion brightens one side of everything and darkens the other; light does not
    is_light = float(np.abs(shade).mean()) > LIGHT_SHARE * changed
    return SceneChange.LIGHT if is_light else SceneChange.MOVE


def _shrunk(thumb: U8Array) -> U8Array:
    height, width = thumb.shape
    if width <= WIDTH_PX:
        return thumb
    size = (WIDTH_PX, max(1, round(height * WIDTH_PX / width)))
    return cast(U8Array, cv2.resize(thumb, size, interpolation=cv2.INTER_AREA))


def _deviation(picture: U8Array) -> float:
    return float(cv2.meanStdDev(picture)[1][0, 0])


def _found_again(where: U8Array, what: U8Array) -> float:
    """0 to 1: share of `what`'s texture that is in `where`, whatever its gain and offset."""
    height, width = what.shape
    side = min(SQUARE_PX, height, width)
    top, left = height % side // 2, width % side // 2
    found = total = 0.0
    for y in range(top, height - side + 1, side):
        for x in range(left, width - side + 1, side):
            square = what[y : y + side, x : x + side]
            variance = _deviation(square) ** 2
            if variance < LEAST_TEXTURE:
                continue
            area = where[
                max(y - SEARCH_PX, 0) : y + side + SEARCH_PX,
                max(x - SEARCH_PX, 0) : x + side + SEARCH_PX,
            ]
            best = cv2.minMaxLoc(cv2.matchTemplate(area, square, cv2.TM_CCOEFF_NORMED))[1]
            weight = min(variance, MOST_WEIGHT)
            total += weight
            if 0.0 < best <= 1.001:  # flat areas give NaN or infinity
                found += weight * best**2
    return found / total if total else 0.0


def _found_after_shift(previous: U8Array, current: U8Array) -> float:
    """`_found_again` where both overlap once the whole picture is moved; 0 if it is not clear."""
    height, width = current.shape
    if min(height, width) < 2 * SQUARE_PX:
        return 0.0
    window = cv2.createHanningWindow((width, height), cv2.CV_32F)
    shift, response = cv2.phaseCorrelate(
        previous.astype(np.float32), current.astype(np.float32), window
    )
    x, y = round(shift[0]), round(shift[1])
    if response < _SURE_SHIFT or abs(x) > width // 2 or abs(y) > height // 2:
        return 0.0
    before = previous[max(-y, 0) : height - max(y, 0), max(-x, 0) : width - max(x, 0)]
    after = current[max(y, 0) : height + min(y, 0), max(x, 0) : width + min(x, 0)]
    return _found_again(before, after)
