"""Pictures to look at: what no figure shows."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from ._similarity import U8

GAP_PX = 2
TITLE_PX = 18
_PAPER, _INK = 255, 0


def contact_sheet(columns: Sequence[tuple[str, U8]], path: Path) -> None:
    """A PNG: a column per title, a row per face. Pictures (N, H, W, 3) RGB of one size."""
    height, width = columns[0][1].shape[1:3]
    strips = []
    for title, pictures in columns:
        cell = np.full((height + GAP_PX, width + GAP_PX, 3), _PAPER, np.uint8)
        cells = []
        for picture in pictures:
            cell[:height, :width] = picture
            cells.append(cell.copy())
        strips.append(np.concatenate([_title(title, width + GAP_PX), *cells]))
    sheet = np.concatenate(strips, axis=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    if not cv2.imwrite(str(path), cv2.cvtColor(sheet, cv2.COLOR_RGB2BGR)):
        raise OSError(f"{path}: cannot be written")


def _title(text: str, width: int) -> U8:
    band = np.full((TITLE_PX, width, 3), _PAPER, np.uint8)
    cv2.putText(
        band, text, (2, TITLE_PX - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.36, (_INK,) * 3, 1, cv2.LINE_AA
    )
    return band
