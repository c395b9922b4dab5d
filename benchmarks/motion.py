"""Which optical flow, at which size, with which grid? For a face's motion from frame to frame.

Faces of people whom nothing was trained on move over recorded pictures in ways that are known at
every pixel, with a camera's noise and its coding. Errors are in percent of the face's width.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Sequence

import av
import cv2
import numpy as np

from engines import EngineError
from pipeline.frames import MOTION_CELLS, FloatArray, U8Array
from pipeline.protect.propagate import MOST_DISAGREEMENT, MOST_RESIDUAL

from ._motion_doubt import (
    HARMED,
    PERCENTILES,
    UNSOUND,
    Doubting,
    RecordedPairs,
    Said,
    added_up,
    best_thresholds,
    carried_psnr,
    recorded,
    sound,
    unsound,
)
from ._motion_grid import pooled
from ._motion_judge import (
    DRIFT_FRAMES,
    HOW,
    Cells,
    Errors,
    judge,
    judge_cells,
    judge_drift,
    true_grid,
)
from ._motion_methods import (
    PRESETS,
    VIEW_SIZES_PX,
    DecoderVectors,
    Dis,
    FaceLucasKanade,
    Farneback,
    LucasKanade,
    Method,
    Network,
    Product,
    halved,
    sight_of,
)
from ._motion_scenes import FRAMES, KINDS, Scene, faces_luma, scenes
from .report import Column, Report, Row, Table, add_output_options, progress

CELLS = (1, 3, 5, 9, 17, 96)
DENSE_PX = 96
MOST_REFUSED = 0.005  # of the sound frames of any kind: twelve in a hundred keyframes' seconds

METHODS = (
    Column("method", "method"),
    Column("one_px", "1 frame px", 3),
    Column("one", "%", 3),
    Column("one_90", "90 %", 3),
    Column("far_px", "24 frames px", 2),
    Column("far", "%", 2),
    Column("far_90", "90 %", 2),
    Column("ms", "ms", 2),
    Column("lost", "lost"),
)
BY_KIND = (Column("method", "method"), *(Column(kind, kind, 2) for kind in KINDS))
GRID = (
    Column("motion", "motion"),
    Column("cells", "cells"),
    Column("one", "1 frame %", 3),
    Column("one_90", "90 %", 3),
    Column("far", "24 frames %", 2),
    Column("far_90", "90 %", 2),
    Column("psnr_one", "PSNR 1"),
    Column("psnr_far", "PSNR 24"),
    Column("packed", "bytes"),
)
DRIFT = (
    Column("way", "way"),
    Column("how", "samples"),
    *(Column(f"sharp_{frame}", f"sharp {frame} %", 0) for frame in DRIFT_FRAMES),
    *(Column(f"psnr_{frame}", f"PSNR {frame}") for frame in DRIFT_FRAMES),
)
DOUBT = (
    Column("method", "method"),
    Column("pairs", "pairs"),
    Column("count", "n"),
    *(Column(f"disagreement_{at}", f"dis. {at} %", 4) for at in PERCENTILES),
    *(Column(f"residual_{at}", f"res. {at} %", 3) for at in PERCENTILES),
)
CARRIED = (
    Column("clip", "clip"),
    Column("frames", "frames"),
    Column("method", "method"),
    *(Column(f"psnr_{frame}", f"PSNR {frame}") for frame in DRIFT_FRAMES),
)
SOUND = "sound, "


def methods_of(minutes: float, notes: list[str]) -> list[Method]:
    """All of them; the network only where it was trained."""
    found: list[Method] = [
        Product(),
        FaceLucasKanade(),
        FaceLucasKanade(view_px=128, window_px=15),
        FaceLucasKanade(view_px=64, window_px=9),
        *(LucasKanade(side) for side in VIEW_SIZES_PX[1:]),
        *(Dis(preset, side) for preset in PRESETS for side in VIEW_SIZES_PX),
        Dis("ultrafast", 96, "DIS ultrafast 96, finest 1, averaged", finest=1, averaged=True),
        Dis("ultrafast", 96, "the same, finest 0", finest=0, averaged=True),
        Farneback(96),
        DecoderVectors(),
    ]
    if minutes <= 0:
        notes.append("the network was left out: --train-minutes 0")
        return found
    try:
        from ._motion_network import VIEW_PX, opened, trained

        runtime, run = opened(trained(minutes))
        found.append(Network(run, VIEW_PX, f"network, {minutes:g} min ({runtime})"))
    except ImportError as error:
        notes.append(f"the network was left out: {error.name} is not installed")
    except EngineError as error:
        notes.append(f"the network was left out: {error}")
    return found


def method_row(method: Method, errors: Errors) -> Row:
    """Medians and 90th percentiles over all pixels of all faces."""
    one, far = (
        np.concatenate(errors.one),
        np.concatenate([each for kind in errors.far.values() for each in kind]),
    )
    return {
        "method": method.name,
        "one_px": float(np.median(np.concatenate(errors.one_px))),
        "one": float(np.median(one)),
        "one_90": float(np.percentile(one, 90)),
        "far_px": float(np.median(np.concatenate(errors.far_px))),
        "far": float(np.median(far)),
        "far_90": float(np.percentile(far, 90)),
        "ms": float(np.median(errors.cpu_ms)),
        "lost": errors.lost,
    }


def kind_row(method: Method, errors: Errors) -> Row:
    """After 24 frames, medians."""
    return {
        "method": method.name,
        **{kind: float(np.median(np.concatenate(each))) for kind, each in errors.far.items()},
    }


def dense_finder() -> Callable[[Scene, int, int], FloatArray]:
    """The best dense flow here, both directions, pooled to any number of cells."""
    dis = Dis("ultrafast", DENSE_PX, finest=0)
    known: dict[tuple[int, int], FloatArray] = {}

    def find(scene: Scene, frame: int, count: int) -> FloatArray:
        if (id(scene), frame) not in known:
            there, here = (sight_of(scene, each).view(DENSE_PX) for each in (frame - 1, frame))
            both = dis.dense(there, here), dis.dense(here, there)
            known[id(scene), frame] = halved(*(pooled(each, DENSE_PX) for each in both))
        return pooled(known[id(scene), frame] * np.float32(DENSE_PX), count)

    return find


def face_finder() -> Callable[[Scene, int, int], FloatArray]:
    """Lucas-Kanade on the face; it knows no other number of cells."""
    method = FaceLucasKanade()

    def find(scene: Scene, frame: int, count: int) -> FloatArray:
        found = method.grid(sight_of(scene, frame - 1), sight_of(scene, frame))
        return np.zeros((count, count, 2), np.float32) if found is None else found

    return find


def grid_rows(of: Sequence[Scene]) -> list[Row]:
    """Each number of cells, with the motion as it is and as it is found."""
    dense, face = dense_finder(), face_finder()
    rows: list[Row] = []

    def true(scene: Scene, frame: int, count: int) -> FloatArray:
        return true_grid(scene, frame, frame - 1, count)

    for name, find in (("true", true), ("found by DIS", dense)):
        for count in CELLS:
            rigid = count == 1
            title = {1: "affine", DENSE_PX: "dense"}.get(count, f"{count} x {count}")
            cells = judge_cells(find, MOTION_CELLS if rigid else count, of, rigid=rigid)
            rows.append(_grid_row(name, title, cells))
    side = f"{MOTION_CELLS} x {MOTION_CELLS}"
    for name, find, own in (("true", true, False), ("found by Lucas-Kanade", face, True)):
        for apart in (False, True):
            if own or apart:
                cells = judge_cells(find, MOTION_CELLS, of, own=own, apart=apart)
                rows.append(_grid_row(name, side + (", affine apart" if apart else ""), cells))
    return rows


def _grid_row(name: str, cells: str, found: Cells) -> Row:
    one, far = np.concatenate(found.one), np.concatenate(found.far)
    return {
        "motion": name,
        "cells": cells,
        "one": float(np.median(one)),
        "one_90": float(np.percentile(one, 90)),
        "far": float(np.median(far)),
        "far_90": float(np.percentile(far, 90)),
        "psnr_one": float(np.mean(found.psnr_one)),
        "psnr_far": float(np.mean(found.psnr_far)),
        "packed": round(float(np.mean(found.packed))),
    }


def drift_rows(of: Sequence[Scene]) -> list[Row]:
    """Scenes that keep their scale: elsewhere sharpness means another thing."""
    kept = [scene for scene in of if scene.kind != "zoom"]
    rows: list[Row] = []
    for again in (False, True):
        for how, flag in HOW.items():
            found = judge_drift(kept, flag, again=again)
            rows.append(
                {
                    "way": "frame by frame" if again else "from the keyframe",
                    "how": how,
                    **{f"sharp_{at}": float(np.mean(found.sharp[at])) for at in DRIFT_FRAMES},
                    **{f"psnr_{at}": float(np.mean(found.psnr[at])) for at in DRIFT_FRAMES},
                }
            )
    return rows


def carried_rows(clips: Sequence[RecordedPairs]) -> list[Row]:
    """Recorded faces, whose true motion nobody knows: is what was carried what is seen?"""
    rows: list[Row] = []
    methods: tuple[tuple[str, Doubting | None], ...] = (
        ("its box alone", None),
        ("product", Product()),
        ("Lucas-Kanade on the face", FaceLucasKanade()),
    )
    for clip in clips:
        chain = clip.chain()
        if len(chain) < FRAMES:
            continue
        for name, method in methods:
            found = carried_psnr(method, chain, FRAMES - 1)
            rows.append(
                {
                    "clip": clip.name,
                    "frames": len(chain),
                    "method": name,
                    **{f"psnr_{at}": float(np.mean(found[at])) for at in DRIFT_FRAMES},
                }
            )
    return rows


def doubt_tables(
    of: Sequence[Scene], faces: Sequence[U8Array], clips: Sequence[RecordedPairs], every: int
) -> list[Table]:
    """What is said about each kind of pair, and what thresholds make of it."""
    doubt = Table("doubt", DOUBT)
    refused = Table(
        "thresholds",
        (
            Column("method", "method"),
            Column("which", "thresholds"),
            Column("disagreement", "disagreement", 3),
            Column("residual", "residual", 2),
            Column("made", "refused: made %", 2),
            Column("recorded", "recorded %", 2),
            *(Column(kind, f"accepted: {kind} %") for kind in (*UNSOUND, *HARMED)),
        ),
    )
    methods: tuple[Doubting, ...] = (Product(), FaceLucasKanade())
    for method in methods:
        calm, sums = sound(method, of)
        said = {SOUND + "made": calm}
        films = Said()
        for clip in clips:
            one = said[SOUND + clip.name] = Said()
            for before, now in clip.pairs:
                one.ask(method, before, now)
            films.disagreement += one.disagreement
            films.residual += one.residual
        said |= {kind: each for kind, each in unsound(method, of, faces, every).items()}
        doubt.rows.extend(_doubt_row(method.name, kind, each) for kind, each in said.items())
        doubt.rows.append(_doubt_row(method.name, "made, 24 frames added up", Said(sums, [])))
        long = [added_up(method, clip.chain()) for clip in clips]
        drifts = Said([drift for each in long for drift in each], [])
        if drifts.disagreement:
            doubt.rows.append(_doubt_row(method.name, "recorded, 24 frames added up", drifts))
        quiet = [each for each in (calm, films) if each.residual]
        wrong = [said[kind] for kind in UNSOUND if said[kind].residual]
        for which, limits in (
            ("as they are", (MOST_DISAGREEMENT, MOST_RESIDUAL)),
            ("0.5 % refused", best_thresholds(quiet, wrong, MOST_REFUSED)),
            ("2 % refused", best_thresholds(quiet, wrong, 4 * MOST_REFUSED)),
        ):
            refused.rows.append(
                {
                    "method": method.name,
                    "which": which,
                    "disagreement": limits[0],
                    "residual": limits[1],
                    "made": 100 * (1 - calm.accepted(*limits)),
                    "recorded": 100 * (1 - films.accepted(*limits)) if films.residual else None,
                    **{
                        kind: 100 * said[kind].accepted(*limits) if said[kind].residual else None
                        for kind in (*UNSOUND, *HARMED)
                    },
                }
            )
    return [doubt, refused]


def _doubt_row(method: str, kind: str, said: Said) -> Row:
    row: dict[str, str | float | int] = {
        "method": method,
        "pairs": kind,
        "count": len(said.disagreement),
    }
    for name, values in (("disagreement", said.disagreement), ("residual", said.residual)):
        if values:
            # the nearest that was measured: between a number and infinity there is nothing
            found = np.percentile(values, PERCENTILES, method="nearest")
            row |= {f"{name}_{at}": float(x) for at, x in zip(PERCENTILES, found, strict=True)}
    return row


def main(arguments: Sequence[str] | None = None) -> int:
    """Without the test data: one face, made backgrounds, no network."""
    parser = argparse.ArgumentParser(prog="bauta bench motion", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one scene of each kind")
    parser.add_argument("--scenes", type=int, metavar="N", help="of each kind; 4")
    parser.add_argument(
        "--train-minutes", type=float, default=0.0, metavar="N", help="of our own network; 0: none"
    )
    parser.add_argument("--seed", type=int, default=0)
    add_output_options(parser)
    options = parser.parse_args(arguments)
    each = options.scenes or (1 if options.quick else 4)
    cv2.setNumThreads(1)  # all costs are those of one core
    av.logging.set_level(None)
    logging.disable(logging.INFO)
    report = Report(
        "motion",
        METHODS,
        {
            "scenes": each,
            "kinds": KINDS,
            "frames": FRAMES,
            "seed": options.seed,
            "train_minutes": options.train_minutes,
        },
    )
    faces, note = faces_luma(each * len(KINDS), options.seed)
    if note:
        report.notes.append(note)
    methods = methods_of(options.train_minutes, report.notes)
    started = time.monotonic()
    of = list(scenes(faces, each, options.seed))
    progress(f"{len(of)} scenes made in {time.monotonic() - started:.0f} s")
    by_kind = Table("24 frames, % of the face's width, by motion", BY_KIND)
    for method in methods:
        errors = judge(method, of)
        report.rows.append(method_row(method, errors))
        by_kind.rows.append(kind_row(method, errors))
        progress(f"{method.name}: {errors.frames} frames")
    report.more += [by_kind, Table("grid", GRID, grid_rows(of))]
    progress("grid: done")
    report.more.append(Table("drift", DRIFT, drift_rows(of)))
    progress("drift: done")
    clips = []
    for found in recorded(26 if options.quick else 151):
        if isinstance(found, str):
            report.notes.append(found)
        else:
            clips.append(found)
    report.more.append(Table("carried", CARRIED, carried_rows(clips)))
    report.more += doubt_tables(of, faces, clips, 12 if options.quick else 3)
    report.finish(as_json=options.json, save_as=options.save_as)
    return 0


if __name__ == "__main__":
    sys.exit(main())
