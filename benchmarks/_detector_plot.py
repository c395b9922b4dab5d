"""The front: how many faces a look finds, against what it costs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from ._leak_pictures import BARS, text_on, write_png
from ._similarity import U8

WIDTH_PX, PANEL_PX, LEGEND_LINE_PX = 980, 400, 18
_LEFT_PX, _RIGHT_PX, _TOP_PX, _BOTTOM_PX = 52, 24, 36, 44  # margins of a panel
_STEPS = 4  # of an axis
_NICE = (1, 1.2, 1.6, 2, 3, 4, 5, 6, 8, 10)  # they quarter well


@dataclass(frozen=True, slots=True)
class Point:
    """One look at one threshold."""

    name: str
    min_score: float
    cpu_ms: float
    recalls: tuple[float | None, ...]  # a panel each


def front_plot(points: Sequence[Point], panels: Sequence[str], path: Path) -> None:
    """A PNG: a panel for each recall; points of the least threshold are filled."""
    names = list(dict.fromkeys(point.name for point in points))
    scores = sorted({point.min_score for point in points})
    rows = (len(names) + 1) // 2 + 1
    paper = np.full((PANEL_PX + rows * LEGEND_LINE_PX + 12, WIDTH_PX, 3), 255, np.uint8)
    for place, title in enumerate(panels):
        room = WIDTH_PX // len(panels)
        _panel(paper, points, place, title, (place * room, (place + 1) * room))
    for number, name in enumerate(names):
        column, row = divmod(number, rows - 1)
        at = (_LEFT_PX + column * WIDTH_PX // 2, PANEL_PX + 12 + row * LEGEND_LINE_PX)
        _mark(paper, (at[0], at[1] - 4), number, is_filled=True)
        text_on(paper, f"{_letter(number)}  {name}", (at[0] + 12, at[1]), 0.42)
    said = ", ".join(
        f"{'filled' if score == scores[0] else 'hollow'}: score above {score:g}" for score in scores
    )
    text_on(paper, said, (_LEFT_PX - 4, PANEL_PX + 12 + (rows - 1) * LEGEND_LINE_PX), 0.42)
    write_png(paper, path)


def nice_ceiling(value: float) -> float:
    """The end of an axis: one of _NICE times a power of ten."""
    power = math.pow(10, math.floor(math.log10(max(value, 1e-9))))
    return next((step * power for step in _NICE if step * power >= value), 10 * power)


def _panel(
    paper: U8, points: Sequence[Point], place: int, title: str, span_px: tuple[int, int]
) -> None:
    shown = [(point, recall) for point in points if (recall := point.recalls[place]) is not None]
    left, right = span_px[0] + _LEFT_PX, span_px[1] - _RIGHT_PX
    top, bottom = _TOP_PX, PANEL_PX - _BOTTOM_PX
    text_on(paper, title, (left, 20), 0.5)
    if not shown:
        text_on(paper, "no such faces", (left + 20, (top + bottom) // 2), 0.5)
        return
    most_ms = nice_ceiling(1.05 * max(point.cpu_ms for point, _ in shown))
    least = max(0, math.floor(min(recall for _, recall in shown) * 20 - 0.2)) / 20

    def across(ms: float) -> int:
        return round(left + (right - left) * ms / most_ms)

    def up(recall: float) -> int:
        return round(bottom - (bottom - top) * (recall - least) / (1 - least))

    for step in range(_STEPS + 1):
        recall, ms = least + (1 - least) * step / _STEPS, most_ms * step / _STEPS
        cv2.line(paper, (left, up(recall)), (right, up(recall)), (225, 225, 225), 1)
        text_on(paper, f"{recall:.2f}", (span_px[0] + 14, up(recall) + 4))
        text_on(paper, f"{ms:g}", (across(ms) - 8, bottom + 16))
    text_on(paper, "CPU ms a look", (right - 90, bottom + 32))
    names = list(dict.fromkeys(point.name for point in points))
    filled = min(point.min_score for point in points)
    for point, recall in shown:
        number, at = names.index(point.name), (across(point.cpu_ms), up(recall))
        _mark(paper, at, number, is_filled=point.min_score == filled)
        text_on(paper, _letter(number), (at[0] + 7, at[1] - 5), 0.42)


def _mark(paper: U8, at: tuple[int, int], number: int, *, is_filled: bool) -> None:
    colour = BARS[number % len(BARS)]
    cv2.circle(paper, at, 5, colour, -1 if is_filled else 1, cv2.LINE_AA)


def _letter(number: int) -> str:
    return chr(ord("a") + number)
