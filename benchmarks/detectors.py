"""Which look at a picture finds how many faces of which size, at which threshold, at what cost."""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from numpy.typing import NDArray

from engines import EngineError
from pipeline.detect.detector import EngineDetector

from ._detector_int8 import int8_looks
from ._detector_judge import IS_HEADLINE, MATCH, SMALLEST, Tally, tally
from ._detector_looks import (
    LOOKS,
    Look,
    Seen,
    View,
    look_through,
    opened,
    product_looks,
    together,
)
from ._detector_plot import Point, front_plot
from ._leak_judge import BANDS, HEADLINE_PX
from ._pictures import PictureSet, all_sets, testdata_weights
from .report import Column, Report, Row, Table, add_output_options, progress

HEADLINE = f"{HEADLINE_PX}+"
RECALLS = tuple(
    Column(name, f"{name} px", 3) for name in (*(name for name, _, _ in BANDS), HEADLINE)
)
COLUMNS = (
    Column("pictures", "pictures"),
    Column("look", "look"),
    Column("preset", "preset"),
    Column("min_score", "score >", 2),
    *RECALLS,
    Column("false_per_picture", "false/picture", 2),
    Column("ms", "ms"),
    Column("cpu_ms", "CPU ms"),
)
FRONT = (
    Column("look", "look"),
    Column("preset", "preset"),
    Column("min_score", "score >", 2),
    Column(SMALLEST, f"{SMALLEST} px", 3),
    Column(HEADLINE, f"{HEADLINE} px", 3),
    Column("false_per_picture", "false/picture", 2),
    Column("ms", "ms"),
    Column("cpu_ms", "CPU ms"),
)
SCORES = (0.07, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
FRONT_SCORES = (0.07, 0.2)  # what is covered by default, and what is somebody
LEAST_FACES = 10  # of a set's band: fewer say nothing about a mean


@dataclass(slots=True)
class Account:
    """One look over all sets."""

    tallies: dict[float, list[Tally]] = field(default_factory=dict)  # by threshold, a set each
    ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)

    def add(self, seen: Seen, tallies: Mapping[float, Tally]) -> None:
        """One set more."""
        for least, each in tallies.items():
            self.tallies.setdefault(least, []).append(each)
        self.ms += seen.ms
        self.cpu_ms += seen.cpu_ms


def rows_of(
    pictures: PictureSet, look: Look, preset: str, seen: Seen, tallies: Mapping[float, Tally]
) -> list[Row]:
    """One row a threshold."""
    return [
        {
            "pictures": pictures.name,
            "look": look.name,
            "preset": preset,
            "min_score": least,
            **each.recalls(),
            "false_per_picture": each.false_boxes / each.pictures,
            "ms": statistics.median(seen.ms),
            "cpu_ms": statistics.median(seen.cpu_ms),
        }
        for least, each in tallies.items()
    ]


def front_rows(accounts: Mapping[Look, Account], presets: Mapping[Look, str]) -> list[Row]:
    """Recalls and false boxes are means over the sets: each counts alike, however large."""
    return [
        {
            "look": look.name,
            "preset": presets.get(look, ""),
            "min_score": least,
            SMALLEST: mean_recall(account.tallies[least], ~IS_HEADLINE),
            HEADLINE: mean_recall(account.tallies[least], IS_HEADLINE),
            "false_per_picture": statistics.fmean(
                each.false_boxes / each.pictures for each in account.tallies[least]
            ),
            "ms": statistics.median(account.ms),
            "cpu_ms": statistics.median(account.cpu_ms),
        }
        for look, account in accounts.items()
        for least in FRONT_SCORES
    ]


def mean_recall(tallies: Sequence[Tally], is_wanted: NDArray[np.bool_]) -> float | None:
    """Over the sets that have enough such faces; None: no set has."""
    recalls = [
        recall
        for each in tallies
        if each.faces[is_wanted].sum() >= LEAST_FACES
        and (recall := each.recall(is_wanted)) is not None
    ]
    return statistics.fmean(recalls) if recalls else None


def measure(options: argparse.Namespace, report: Report) -> None:
    """Every look on every set; what is missing becomes a note."""
    with TemporaryDirectory(prefix="bauta-detectors-") as folder:
        looks = LOOKS
        if options.int8:
            try:
                looks += int8_looks(Path(folder))
            except EngineError as error:
                report.notes.append(str(error))
        _measure(looks, options, report)


def _measure(looks: Sequence[Look], options: argparse.Namespace, report: Report) -> None:
    presets = {look: preset for preset, look in product_looks().items()}
    accounts: dict[Look, Account] = {}
    unopened: set[str] = set()
    for pictures in all_sets(options.pictures):
        if isinstance(pictures, str):
            report.notes.append(pictures)
            continue
        report.notes.append(_told(pictures))
        views = dict.fromkeys(view for look in looks for view in look.views)
        by_view = _seen(views, pictures, options.threads, report, unopened)
        for look in looks:
            if any(view not in by_view for view in look.views):
                continue
            seen = together([by_view[view] for view in look.views])
            tallies = {least: tally(seen.found, pictures.pictures, least) for least in SCORES}
            report.rows += rows_of(pictures, look, presets.get(look, ""), seen, tallies)
            accounts.setdefault(look, Account()).add(seen, tallies)
    front = Table("all sets", FRONT, front_rows(accounts, presets))
    report.more.append(front)
    if options.plot:
        points = [_point(row) for row in front.rows]
        panels = (f"recall of faces >= {HEADLINE_PX} px", f"recall of faces of {SMALLEST} px")
        front_plot(points, panels, options.plot)


def _seen(
    views: Iterable[View],
    pictures: PictureSet,
    threads: int,
    report: Report,
    unopened: set[str],
) -> dict[View, Seen]:
    """Every view that opens; each model that does not is told of once."""
    with ExitStack() as stack:
        detectors: dict[View, EngineDetector] = {}
        for view in views:
            if view.network in unopened:
                continue
            try:
                detector = opened(view, SCORES[0], threads)
            except EngineError as error:
                report.notes.append(f"{view.network} left out: {error}")
                unopened.add(view.network)
                continue
            stack.callback(detector.close)
            detectors[view] = detector
        progress(f"{pictures.name}: {len(pictures.pictures)} pictures, {len(detectors)} views")
        return look_through(detectors, pictures.pictures)


def _told(pictures: PictureSet) -> str:
    counts = tally([], [], 0).faces
    for picture in pictures.pictures:
        sizes = picture.size_px[~picture.is_doubtful]
        counts = counts + [((sizes >= least) & (sizes < most)).sum() for _, least, most in BANDS]
    by_band = ", ".join(
        f"{count} of {name}" for count, (name, _, _) in zip(counts, BANDS, strict=True)
    )
    return (
        f"{pictures.name}: {len(pictures.pictures)} pictures, faces: {by_band} px; "
        f"truth: {pictures.truth}"
    )


def _point(row: Row) -> Point:
    preset = f" ({row['preset']})" if row["preset"] else ""
    recalls = tuple(_number(row[band]) for band in (HEADLINE, SMALLEST))
    return Point(
        f"{row['look']}{preset}",
        _number(row["min_score"]) or 0,
        _number(row["cpu_ms"]) or 0,
        recalls,
    )


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) else None


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="bauta bench detectors", description=__doc__)
    parser.add_argument("--pictures", type=int, default=200, help="most of each set")
    parser.add_argument("--threads", type=int, default=0, help="of the network; 0: its own choice")
    parser.add_argument("--int8", action="store_true", help="quantized by NNCF, too; a minute more")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="PNG: recall against cost")
    add_output_options(parser)
    options = parser.parse_args(arguments)
    if options.pictures < 1:
        parser.error("--pictures must be at least 1")
    logging.getLogger("pipeline").setLevel(logging.ERROR)  # odd-sided stills are cropped silently
    if "BAUTA_MODELS" not in os.environ and (weights := testdata_weights()) is not None:
        os.environ["BAUTA_MODELS"] = weights
    report = Report("detectors", COLUMNS, {"pictures": options.pictures, "match_iou": MATCH})
    measure(options, report)
    report.finish(as_json=options.json, save_as=options.save_as)
    return 0


if __name__ == "__main__":
    sys.exit(main())
