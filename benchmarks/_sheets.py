"""Pictures to look at: what no figure shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
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
    rows = max(len(pictures) for _, pictures in columns)
    strips = []
    for title, pictures in columns:
        cells = np.full((rows, height + GAP_PX, width + GAP_PX, 3), _PAPER, np.uint8)
        cells[: len(pictures), :height, :width] = pictures
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


def line_plot(
    series: Mapping[str, Sequence[tuple[float, float]]],
    path: Path,
    *,
    title: str,
    x_label: str,
    y_label: str,
    marks: tuple[str, Sequence[tuple[float, float]]],
) -> None:
    """A PNG of lines, and points to reach. Raises ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")  # no display is needed
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for name, points in series.items():
        axes.plot(*zip(*points, strict=True), label=name, marker="o", markersize=3, linewidth=1)
    axes.plot(*zip(*marks[1], strict=True), "k*", label=marks[0])
    axes.set(title=title, xlabel=x_label, ylabel=y_label)
    axes.grid(visible=True, alpha=0.3)
    axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
