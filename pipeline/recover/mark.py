"""The line that is burnt into every recovered frame."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from ..frames import U8Array, YuvPlanes

MOVED = "MOVED FACE, "  # in front, where a narrow picture does not cut it off
UNVERIFIED = "ORIGIN UNVERIFIED, "
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def mark_text(case: str, *, is_origin_verified: bool = True) -> str:
    """What a recovered frame says of itself."""
    return ("" if is_origin_verified else UNVERIFIED) + f"RECOVERED case {case}"


def burn_in(planes: YuvPlanes, text: str) -> None:
    """A line of text on a dark bar at the bottom left, in place."""
    bar = _bar(text, planes.size_px)
    height, (bar_h, bar_w) = planes.size_px[1], bar.shape
    planes.y[height - bar_h :, :bar_w] = bar
    for chroma in (planes.u, planes.v):
        chroma[(height - bar_h) // 2 :, : bar_w // 2] = 128


@lru_cache(maxsize=8)  # the same for every frame of a clip
def _bar(text: str, size_px: tuple[int, int]) -> U8Array:
    """(h, w) luma, even."""
    width, height = size_px
    shown = text.encode("ascii", "replace").decode("ascii")
    scale = max(min(width, height) / 900, 0.3)
    (text_w, text_h), below = cv2.getTextSize(shown, _FONT, scale, 1)
    bar_h = min((text_h + below + 8) // 2 * 2, height)
    bar_w = min((text_w + 12) // 2 * 2, width)
    bar: U8Array = np.full((bar_h, bar_w), 24, np.uint8)
    cv2.putText(bar, shown, (6, bar_h - below - 2), _FONT, scale, 225, 1, cv2.LINE_AA)
    bar.setflags(write=False)
    return bar
