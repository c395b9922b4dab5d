"""A run's history as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")  # no display is needed
from matplotlib import pyplot

LINES = {
    "protected_db": "protected, to the obfuscated face",
    "recovered_db": "recovered with the right key, to the original",
    "wrong_db": "wrong key, to what it should show",
}


def draw_curve(history: Sequence[dict[str, float]], path: Path, title: str) -> None:
    """PSNR in dB over the steps, as a PNG."""
    figure, axes = pyplot.subplots(figsize=(8, 4.5), layout="constrained")
    for key, label in LINES.items():
        points = [(entry["step"], entry[key]) for entry in history if key in entry]
        if points:
            axes.plot(*zip(*points, strict=True), label=label, linewidth=1)
    axes.set(title=title, xlabel="step", ylabel="PSNR of a training batch, dB", ylim=(5, 55))
    axes.grid(visible=True, alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=100)
    pyplot.close(figure)
