"""Live: from the camera's picture to the published packet, Bauta against decode+encode alone."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._live import (
    F64,
    CameraProcess,
    cameras,
    probed_preset,
    result_of,
    slope_of,
    start_contestant,
)
from .report import Column, Report, Row, add_output_options, progress

COLUMNS = (
    Column("what", "what"),
    Column("camera", "camera"),
    Column("preset", "preset"),
    Column("p50_ms", "p50 ms"),
    Column("p95_ms", "p95 ms"),
    Column("p99_ms", "p99 ms"),
    Column("worst_ms", "worst"),
    Column("slope_ms_per_minute", "ms/min", 2),
    Column("slope_error", "± SE", 2),
    Column("flat", "flat"),
    Column("frames_in", "in"),
    Column("published", "out"),
    Column("expected", "filmed"),
    Column("dropped", "dropped"),
    Column("obscured", "obscured"),
    Column("fused", "fused"),
    Column("carried", "carried"),
    Column("let_go", "let go"),
    Column("unreadable", "unread"),
    Column("inner_p50_ms", "inner p50"),
    Column("inner_p95_ms", "inner p95"),
    Column("cores_used", "cores", 2),
)
TARGET_ABOVE_LOOKAHEAD_MS = 60.0

Result = dict[str, Any]


def measure(options: argparse.Namespace, report: Report) -> None:
    """Blocks of both contestants on the same cameras."""
    preset = options.preset
    if preset == "auto":
        preset = probed_preset(options.size, options.fps, options.cameras)
        report.notes.append(f"the probe chose {preset}")
    results: dict[str, list[Result]] = {"relay": [], "bauta": []}
    with cameras(options.cameras, options.size, options.fps, options.faces) as filmed:
        urls = [camera.url for camera in filmed]
        blocks = max(1, round(options.seconds / options.block))
        for number in range(blocks):
            order = ["relay", "bauta"] if number % 2 == 0 else ["bauta", "relay"]
            for group in [order] if options.together else [[what] for what in order]:
                _run_block(group, urls, preset, options, filmed, results)
            progress(f"block {number + 1}/{blocks} done")
    for what, blocks_of_one in results.items():
        for index in range(options.cameras):
            report.rows.append(_row(what, index, preset, blocks_of_one, options.fps))
    report.notes += _verdicts(results, options)


def _run_block(
    group: list[str],
    urls: list[str],
    preset: str,
    options: argparse.Namespace,
    filmed: list[CameraProcess],
    results: dict[str, list[Result]],
) -> None:
    seconds = min(options.block, options.seconds)
    camera_cpu = sum(camera.cpu_seconds() for camera in filmed)
    running = [
        (
            what,
            start_contestant(
                what,
                urls,
                preset=preset,
                seconds=seconds,
                settle_seconds=options.settle,
                protector=options.protector,
            ),
        )
        for what in group
    ]
    for what, process in running:
        results[what].append(result_of(process, what))
    spent = sum(camera.cpu_seconds() for camera in filmed) - camera_cpu
    progress(f"{'+'.join(group)}: cameras themselves used {spent:.1f} CPU s")


def _series(results: list[Result], index: int) -> list[tuple[F64, F64]]:
    return [
        (
            np.array(result["cameras"][index]["at_seconds"], np.float64),
            np.array(result["cameras"][index]["latency_ms"], np.float64),
        )
        for result in results
    ]


def _row(what: str, index: int, preset: str, results: list[Result], fps: float) -> Row:
    series = _series(results, index)
    latency = np.concatenate([value for _, value in series])
    slope = slope_of(series)
    facts = [result["cameras"][index] for result in results]
    seconds = sum(result["seconds"] for result in results)

    def total(key: str) -> int | None:
        values = [each.get(key) for each in facts]
        return None if None in values else sum(values)

    def typical(key: str) -> float | None:
        values = [each[key] for each in facts if each.get(key) is not None]
        return float(np.median(values)) if values else None

    def share(percent: float) -> float | None:
        return float(np.percentile(latency, percent)) if latency.size else None

    return {
        "what": what,
        "camera": index,
        "preset": preset,
        "p50_ms": share(50),
        "p95_ms": share(95),
        "p99_ms": share(99),
        "worst_ms": share(100),
        "slope_ms_per_minute": slope.per_minute if slope else None,
        "slope_error": slope.standard_error if slope else None,
        "flat": slope.is_flat if slope else None,
        "frames_in": total("frames_in"),
        "published": total("published"),
        "expected": round(seconds * fps),
        "dropped": total("dropped"),
        "obscured": total("obscured"),
        "fused": total("fused"),
        "carried": total("carried"),
        "let_go": total("let_go"),
        "unreadable": total("unreadable"),
        "inner_p50_ms": typical("inner_p50_ms"),
        "inner_p95_ms": typical("inner_p95_ms"),
        "cores_used": sum(result["cpu_seconds"] for result in results) / seconds,
    }


def _verdicts(results: dict[str, list[Result]], options: argparse.Namespace) -> list[str]:
    lookahead_ms = results["bauta"][0]["lookahead_frames"] / options.fps * 1e3
    said = [f"look-ahead is {lookahead_ms:.0f} ms; cores: of the whole process, all cameras"]
    for index in range(options.cameras):
        ours = np.concatenate([value for _, value in _series(results["bauta"], index)])
        bare = np.concatenate([value for _, value in _series(results["relay"], index)])
        if not ours.size or not bare.size:
            said.append(f"camera {index}: no time code could be read")
            continue
        above = {p: np.percentile(ours, p) - np.percentile(bare, p) for p in (50, 95, 99)}
        limit = lookahead_ms + TARGET_ABOVE_LOOKAHEAD_MS
        said.append(
            f"camera {index}: bauta is {above[50]:+.0f} ms at p50, {above[95]:+.0f} at p95, "
            f"{above[99]:+.0f} at p99 over the relay; target at p95: at most {limit:.0f} "
            f"({'met' if above[95] <= limit else 'MISSED'})"
        )
        if options.together and (paired := _paired(results, index)) is not None:
            said.append(
                f"camera {index}: frame by frame the difference is {np.median(paired):.0f} ms at "
                f"p50, {np.percentile(paired, 95):.0f} at p95 ({len(paired)} frames)"
            )
    return said


def _paired(results: dict[str, list[Result]], index: int) -> F64 | None:
    """Differences of latency of the same picture, known by its time code."""
    differences: list[float] = []
    for ours, bare in zip(results["bauta"], results["relay"], strict=True):
        by_stamp = [
            {
                round(at * 1e3 - late): late
                for at, late in zip(each["at_seconds"], each["latency_ms"], strict=True)
            }
            for each in (ours["cameras"][index], bare["cameras"][index])
        ]
        differences += [
            late - by_stamp[1][t] for t, late in by_stamp[0].items() if t in by_stamp[1]
        ]
    return np.array(differences, np.float64) if differences else None


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="bauta bench latency", description=__doc__)
    parser.add_argument("--size", default="1280x720", help="of each camera (default: 1280x720)")
    parser.add_argument("--fps", type=float, default=25.0)
    parser.add_argument("--faces", type=int, default=3, help="in each picture, 0 to 5")
    parser.add_argument("--cameras", type=int, default=1, help="at once, in one process")
    parser.add_argument("--seconds", type=float, default=60.0, help="measured, for each contestant")
    parser.add_argument("--block", type=float, default=20.0, help="seconds before the other's turn")
    parser.add_argument("--settle", type=float, default=3.0, help="seconds not measured at starts")
    parser.add_argument("--together", action="store_true", help="both at once instead of by turns")
    parser.add_argument("--preset", default="auto", help="auto: what the probe chooses")
    parser.add_argument(
        "--protector", choices=("obfuscate", "proface-s"), default="obfuscate", help="of bauta"
    )
    add_output_options(parser)
    options = parser.parse_args(arguments)
    if options.cameras < 1 or options.seconds <= 0 or options.block <= 0:
        parser.error("--cameras, --seconds and --block must be positive")
    names = "size fps faces cameras seconds block together preset protector"
    settings = {key: getattr(options, key) for key in names.split()}
    report = Report("latency", COLUMNS, settings)
    try:
        measure(options, report)
    except RuntimeError as error:
        progress(f"latency: {error}")
        return 1
    report.finish(as_json=options.json, save_as=options.save_as)
    return 0


if __name__ == "__main__":
    sys.exit(main())
