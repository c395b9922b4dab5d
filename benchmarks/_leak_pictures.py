"""Leaks to look at: the source beside what came out, and shares by size as bars.

The sheets show faces of the test data: they are for looking, never to be committed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from pipeline.frames import FloatArray, YuvPlanes

from ._leak_judge import FaceFrame
from ._leak_runs import CoveredFrame, rgb_of_any
from ._leak_truth import TrueFace
from ._sheets import GAP_PX
from ._similarity import U8

CELL_PX = 144
ROOM = 2.6  # of the longer side of the face's box
CAPTION_PX = 30
PAIRS_ACROSS = 4
MOST = 48
MOST_OF_A_CLIP = 4  # one picture of a crowd would fill the sheet
_FRAME_COLOUR = (60, 220, 60)  # RGB, around the true box
BARS = (
    (40, 90, 170),
    (90, 160, 220),
    (200, 90, 60),
    (120, 120, 120),
    (150, 110, 180),
    (230, 180, 60),
    (70, 150, 90),
)
_FONT = cv2.FONT_HERSHEY_SIMPLEX


@dataclass(frozen=True, slots=True)
class Cell:
    """One leaked face."""

    rank: float
    caption: tuple[str, str]
    before: U8 = field(repr=False)  # (CELL, CELL, 3) RGB
    after: U8 = field(repr=False)


class WorstLeaks:
    """The worst frame of each person, and of those the worst: large and bare first."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._cells: dict[tuple[str, int], Cell] = {}

    def offer(self, clip: str, face: FaceFrame, truth: TrueFace, frame: CoveredFrame) -> None:
        """A leaked face-frame."""
        key = (clip, face.person)
        rank = (1 - face.covered) * face.size_px
        rivals = [key] if key in self._cells else self._rivals(clip)
        if rivals:
            least = min(rivals, key=lambda other: self._cells[other].rank)
            if rank <= self._cells[least].rank:
                return
            del self._cells[least]
        self._cells[key] = Cell(
            rank,
            (clip, f"frame {face.index}, {face.size_px:.0f} px, {100 * face.covered:.0f} %"),
            around(frame.original, truth.box_xyxy_px),
            around(frame.shown, truth.box_xyxy_px),
        )

    def _rivals(self, clip: str) -> list[tuple[str, int]]:
        """Of whom one must go for another person of the clip; none while there is room."""
        of_clip = [key for key in self._cells if key[0] == clip]
        if len(of_clip) >= MOST_OF_A_CLIP:
            return of_clip
        return list(self._cells) if len(self._cells) >= self._most else []

    def save(self, path: Path) -> bool:
        """False: there is nothing to be seen."""
        cells = sorted(self._cells.values(), key=lambda cell: -cell.rank)
        if not cells:
            return False
        blocks = [_block(cell) for cell in cells]
        blocks += [np.full_like(blocks[0], 255)] * (-len(blocks) % PAIRS_ACROSS)
        rows = [
            np.concatenate(blocks[first : first + PAIRS_ACROSS], axis=1)
            for first in range(0, len(blocks), PAIRS_ACROSS)
        ]
        write_png(np.concatenate(rows), path)
        return True


def around(planes: YuvPlanes, box_xyxy_px: FloatArray) -> U8:
    """(CELL, CELL, 3) RGB: the face and some room, always as large; its true box drawn."""
    centre = (box_xyxy_px[:2] + box_xyxy_px[2:]) / 2
    side = max(float((box_xyxy_px[2:] - box_xyxy_px[:2]).max()) * ROOM, 8.0)
    scale = CELL_PX / side
    to_cell = np.array(
        [
            [scale, 0, CELL_PX / 2 - scale * float(centre[0])],
            [0, scale, CELL_PX / 2 - scale * float(centre[1])],
        ]
    )
    rgb = rgb_of_any(planes)
    if scale < 1:  # what is sampled next would skip pixels
        rgb = np.asarray(cv2.GaussianBlur(rgb, (0, 0), 0.4 / scale), np.uint8)
    cell = np.ascontiguousarray(cv2.warpAffine(rgb, to_cell, (CELL_PX, CELL_PX)), np.uint8)
    x1, y1, x2, y2 = np.rint(
        (box_xyxy_px.reshape(2, 2) @ to_cell[:, :2]).ravel() + np.tile(to_cell[:, 2], 2)
    ).astype(int)
    cv2.rectangle(cell, (int(x1), int(y1)), (int(x2), int(y2)), _FRAME_COLOUR, 1)
    return cell


def _block(cell: Cell) -> U8:
    pair = np.concatenate([cell.before, cell.after], axis=1)
    band = np.full((CAPTION_PX, pair.shape[1], 3), 255, np.uint8)
    for line, text in enumerate(cell.caption):
        text_on(band, text, (2, 12 + 13 * line))
    block = np.concatenate([pair, band])
    return np.pad(block, ((0, GAP_PX), (0, 4 * GAP_PX), (0, 0)), constant_values=255)


def bar_plot(
    series: Mapping[str, Sequence[float | None]], groups: Sequence[str], path: Path, title: str
) -> None:
    """A PNG: a group of bars for each size, a bar for each contestant; None: no such faces."""
    width, height, left, top, bottom = 900, 420, 60, 48, 360
    paper = np.full((height, width, 3), 255, np.uint8)
    most = max((value or 0.0 for values in series.values() for value in values), default=0.0)
    most = max(most, 1.0) * 1.1
    text_on(paper, title, (left, 20), 0.5)
    for step in range(5):
        y = round(bottom - (bottom - top) * step / 4)
        cv2.line(paper, (left, y), (width - 20, y), (225, 225, 225), 1)
        text_on(paper, f"{most * step / 4:.1f} %", (6, y + 4))
    room = (width - 20 - left) / len(groups)
    entry = (width - left) // max(len(series), 4)  # of the legend
    thick = room * 0.8 / max(len(series), 1)
    for place, (name, values) in enumerate(series.items()):
        colour = BARS[place % len(BARS)]
        text_on(paper, name, (left + 24 + entry * place, height - 12), 0.42)
        at = (left + 4 + entry * place, height - 22)
        cv2.rectangle(paper, at, (at[0] + 14, at[1] + 10), colour, -1)
        for group, value in enumerate(values):
            x = round(left + room * (group + 0.1) + thick * place)
            if value is None:
                text_on(paper, "-", (x + 4, bottom - 4))
                continue
            y = round(bottom - (bottom - top) * value / most)
            cv2.rectangle(paper, (x, y), (round(x + thick - 3), bottom), colour, -1)
            text_on(paper, f"{value:.2f}", (x, y - 4))
    for group, label in enumerate(groups):
        text_on(paper, label, (round(left + room * (group + 0.1)), bottom + 18), 0.45)
    write_png(paper, path)


def text_on(paper: U8, text: str, at: tuple[int, int], scale: float = 0.36) -> None:
    cv2.putText(paper, text, at, _FONT, scale, (0, 0, 0), 1, cv2.LINE_AA)


def write_png(picture: U8, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR)):
        raise OSError(f"{path}: cannot be written")
