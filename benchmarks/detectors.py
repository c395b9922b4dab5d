"""Which detector finds how many faces, at which threshold, at what cost."""

from __future__ import annotations

import argparse
import logging
import os
import statistics
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from engines import EngineError
from pipeline.detect.suppress import iou
from pipeline.frames import Detections, planes_of

from . import clips
from ._pictures import Picture, PictureSet, all_sets, detector_at
from .report import Column, Report, Row, add_output_options, progress

COLUMNS = (
    Column("pictures", "pictures"),
    Column("detector", "detector"),
    Column("input", "input"),
    Column("min_score", "score >", 2),
    Column("true_faces", "faces"),
    Column("found", "found"),
    Column("recall", "recall", 3),
    Column("false_per_picture", "false/picture", 2),
    Column("prepare_ms", "prep ms"),
    Column("run_ms", "run ms"),
    Column("cpu_ms", "CPU ms"),
)
DETECTORS = (
    ("centerface", (640, 384)),
    ("centerface", (960, 544)),
    ("yunet", (640, 384)),
    ("yunet", (960, 544)),
)
SCORES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6)
MATCH = 0.3  # intersection over union from which a box has found a face
WARM_UP_RUNS = 3


@dataclass(slots=True)
class Measured:
    """One detector over one set, everything above the lowest threshold."""

    found: list[Detections] = field(default_factory=list)
    prepare_ms: list[float] = field(default_factory=list)
    run_ms: list[float] = field(default_factory=list)
    cpu_ms: list[float] = field(default_factory=list)


def look_at(name: str, size_px: tuple[int, int], pictures: list[Picture], threads: int) -> Measured:
    """Every picture once, one at a time. Raises EngineError."""
    detector = detector_at(name, size_px, SCORES[0], threads)
    planes = [planes_of(picture.image) for picture in pictures]
    for _ in range(WARM_UP_RUNS):
        detector.detect([detector.prepare(planes[0])])
    measured = Measured()
    for each in planes:
        cpu, started = time.process_time(), time.perf_counter()
        prepared = detector.prepare(each)
        between = time.perf_counter()
        measured.found.append(detector.detect([prepared])[0])
        ended = time.perf_counter()
        measured.prepare_ms.append((between - started) * 1e3)
        measured.run_ms.append((ended - between) * 1e3)
        measured.cpu_ms.append((time.process_time() - cpu) * 1e3)
    detector.close()
    return measured


def matched(found: Detections, picture: Picture) -> tuple[int, int]:
    """(true faces found, boxes that show no face); each box finds at most one face."""
    overlaps = iou(found.box_xyxy_px, picture.truth_xyxy_px)  # (found, truth)
    hits = 0
    free = np.ones(overlaps.shape[1], bool)
    used = np.zeros(overlaps.shape[0], bool)
    for flat in np.argsort(-overlaps, axis=None, kind="stable"):
        row, column = divmod(int(flat), overlaps.shape[1])
        if overlaps[row, column] < MATCH:
            break
        if free[column] and not used[row]:
            free[column], used[row] = False, True
            hits += 1
    # a second box on a face that was found is no false alarm
    on_a_face = overlaps.max(axis=1, initial=0.0) >= MATCH
    return hits, int(np.count_nonzero(~on_a_face))


def rows_of(
    pictures: PictureSet, name: str, size_px: tuple[int, int], measured: Measured
) -> list[Row]:
    """One row a threshold."""
    rows: list[Row] = []
    true_faces = sum(len(picture.truth_xyxy_px) for picture in pictures.pictures)
    for least in SCORES:
        hits = false = 0
        for found, picture in zip(measured.found, pictures.pictures, strict=True):
            # greedy suppression only ever loses to surer boxes: filtering later changes nothing
            hit, wrong = matched(found.take(found.score > least), picture)
            hits, false = hits + hit, false + wrong
        rows.append(
            {
                "pictures": pictures.name,
                "detector": name,
                "input": f"{size_px[0]}x{size_px[1]}",
                "min_score": least,
                "true_faces": true_faces,
                "found": hits,
                "recall": hits / max(true_faces, 1),
                "false_per_picture": false / len(pictures.pictures),
                "prepare_ms": statistics.median(measured.prepare_ms),
                "run_ms": statistics.median(measured.run_ms),
                "cpu_ms": statistics.median(measured.cpu_ms),
            }
        )
    return rows


def measure(options: argparse.Namespace, report: Report) -> None:
    """Every detector on every set; what is missing becomes a note."""
    unopened: set[str] = set()
    for pictures in all_sets(options.pictures):
        if isinstance(pictures, str):
            report.notes.append(pictures)
            continue
        report.notes.append(
            f"{pictures.name}: {len(pictures.pictures)} pictures, truth: {pictures.truth}"
        )
        for name, size_px in DETECTORS:
            progress(f"{pictures.name}: {name} {size_px[0]}x{size_px[1]}")
            try:
                measured = look_at(name, size_px, pictures.pictures, options.threads)
            except EngineError as error:
                if name not in unopened:
                    report.notes.append(f"{name} left out: {error}")
                unopened.add(name)
                continue
            report.rows += rows_of(pictures, name, size_px, measured)


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="bauta bench detectors", description=__doc__)
    parser.add_argument("--pictures", type=int, default=150, help="most of each set")
    parser.add_argument("--threads", type=int, default=0, help="of the network; 0: its own choice")
    add_output_options(parser)
    options = parser.parse_args(arguments)
    if options.pictures < 1:
        parser.error("--pictures must be at least 1")
    logging.getLogger("pipeline").setLevel(logging.ERROR)  # odd-sided stills are cropped silently
    if "BAUTA_MODELS" not in os.environ and (folder := clips.testdata()) is not None:
        os.environ["BAUTA_MODELS"] = str(folder / "weights")
    report = Report("detectors", COLUMNS, {"pictures": options.pictures, "match_iou": MATCH})
    measure(options, report)
    report.finish(as_json=options.json, save_as=options.save_as)
    return 0


if __name__ == "__main__":
    sys.exit(main())
