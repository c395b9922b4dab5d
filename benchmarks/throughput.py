"""Frames a second on files: decode+encode alone, Bauta, and deface, in one run."""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import clips
from ._file_worker import DETECTORS
from .clips import Clip
from .report import Column, Report, Row, add_output_options, progress

COLUMNS = (
    Column("clip", "clip"),
    Column("preset", "preset"),
    Column("what", "what"),
    Column("frames", "frames"),
    Column("frames_per_second", "frames/s"),
    Column("cpu_ms_per_frame", "CPU ms/frame"),
    Column("peak_rss_mb", "peak MB", 0),
    Column("start_seconds", "start s"),
    Column("mbit_per_second", "Mbit/s"),
    Column("ratio_to_bare", "of bare", 2),
    Column("ratio_to_bare_min", "least", 2),
    Column("ratio_to_deface", "x deface"),
    Column("faces_per_frame", "faces", 1),
    Column("looks_per_frame", "looks/frame", 2),
    Column("runs_per_face_second", "runs/face s", 2),
    Column("carried_share", "carried", 2),
    Column("obscured", "obscured"),
)
WARM_UP_FRAMES = 25

Result = dict[str, Any]


def run_worker(what: str, clip: Clip, preset: str, protector: str = "obfuscate") -> Result:
    """One contestant in a process of its own. Raises RuntimeError with what it said."""
    command = [sys.executable, "-m", "benchmarks._file_worker", what, str(clip.path)]
    done = subprocess.run(
        [*command, "--preset", preset, "--protector", protector],
        cwd=Path(__file__).resolve().parents[1],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{what} on {clip.name} failed: {done.stderr.strip()[-2000:]}")
    result: Result = json.loads(done.stdout.splitlines()[-1])
    result["frames_per_second"] = result["frames"] / result["seconds"]
    return result


def measure(
    clip: Clip,
    preset: str,
    *,
    rounds: int,
    deface_frames: int,
    protector: str = "obfuscate",
    detectors: Sequence[str] = (),
) -> tuple[list[Row], list[str]]:
    """The rows of one clip and one preset, and what is to be said about them."""
    short = clips.cut(clip, deface_frames) if deface_frames else None
    warm_up = clips.cut(clip, WARM_UP_FRAMES)
    ours = ["bauta", *(f"bauta {detector}" for detector in detectors)]
    contestants = ["bare", *ours, *(["deface"] if short else [])]
    for what in ("bare", "bauta"):
        run_worker(what, warm_up, preset, protector)
    results: dict[str, list[Result]] = {what: [] for what in contestants}
    for number in range(rounds):
        # the order turns each round: whoever runs later does not always meet the warmer machine
        for what in contestants if number % 2 == 0 else reversed(contestants):
            piece = short if what == "deface" and short else clip
            result = run_worker(what, piece, preset, protector)
            results[what].append(result)
            progress(
                f"{clip.name} {preset} round {number + 1}/{rounds} {what}: "
                f"{result['frames_per_second']:.1f} frames/s"
            )
    rows = [_row(clip, preset, what, results) for what in contestants]
    return rows, _notes(clip, results)


def _row(clip: Clip, preset: str, what: str, results: dict[str, list[Result]]) -> Row:
    mine = results[what]
    to_bare = _ratios(mine, results["bare"])
    to_deface = _ratios(mine, results.get("deface", []))
    seconds_of_video = mine[0]["frames"] / _fps(clip)
    return {
        "clip": clip.name,
        "preset": preset if what != "deface" else "its own",
        "what": what,
        "frames": mine[0]["frames"],
        "frames_per_second": _median(mine, "frames_per_second"),
        "cpu_ms_per_frame": statistics.median(
            each["cpu_seconds"] / each["frames"] * 1e3 for each in mine
        ),
        "peak_rss_mb": max(each["peak_rss_mb"] for each in mine),
        "start_seconds": _median(mine, "start_seconds"),
        "mbit_per_second": mine[0]["bytes"] * 8 / 1e6 / seconds_of_video,
        "ratio_to_bare": statistics.median(to_bare),
        "ratio_to_bare_min": min(to_bare),
        "ratio_to_deface": statistics.median(to_deface) if to_deface else None,
        "faces_per_frame": mine[0].get("faces_per_frame"),
        "looks_per_frame": (
            mine[0]["looks"] / mine[0]["frames"] if mine[0].get("looks") is not None else None
        ),
        "runs_per_face_second": (
            mine[0]["fused"] / mine[0]["faces"] * _fps(clip) if mine[0].get("faces") else None
        ),
        "carried_share": mine[0]["carried"] / mine[0]["faces"] if mine[0].get("faces") else None,
        "obscured": max((each.get("obscured") or 0 for each in mine), default=0),
    }


def _ratios(mine: list[Result], theirs: list[Result]) -> list[float]:
    """Round by round: what disturbs the machine disturbs both."""
    return [
        a["frames_per_second"] / b["frames_per_second"] for a, b in zip(mine, theirs, strict=False)
    ]


def _median(results: list[Result], key: str) -> float:
    return float(statistics.median(each[key] for each in results))


def _fps(clip: Clip) -> float:
    import av

    with av.open(str(clip.path)) as container:
        return float(container.streams.video[0].average_rate or clips.FPS)


def _notes(clip: Clip, results: dict[str, list[Result]]) -> list[str]:
    notes = []
    if results.get("deface"):
        first = results["deface"][0]
        notes.append(
            f"{clip.name}: deface ran on {first['frames']} frames, backend {first['backend']}, "
            "memory without its two ffmpeg processes"
        )
    for what, each in results.items():
        if what != "deface" and any(r["frames"] != clip.frames for r in each):
            counts = sorted({r["frames"] for r in each})
            notes.append(f"{clip.name}: {what} wrote {counts} frames of {clip.frames}")
    return notes


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="bauta bench throughput", description=__doc__)
    parser.add_argument(
        "--clips", nargs="+", choices=clips.ALL, default=list(clips.ALL), metavar="CLIP",
        help=f"of {', '.join(clips.ALL)} (default: all)",
    )  # fmt: skip
    parser.add_argument("--seconds", type=float, default=60.0, help="length of each clip")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--preset", nargs="+", default=["veryfast"], help="veryfast is what files get by default"
    )
    parser.add_argument("--no-deface", action="store_true", help="leave the slow one out")
    parser.add_argument(
        "--deface-frames", type=int, default=25, help="length of its piece (default: 25)"
    )
    parser.add_argument(
        "--protector", choices=("obfuscate", "proface-s"), default="obfuscate", help="of bauta"
    )
    parser.add_argument(
        "--detector-presets", nargs="+", choices=DETECTORS, default=[],
        help="of bauta, besides what files get",
    )  # fmt: skip
    add_output_options(parser)
    options = parser.parse_args(arguments)
    if options.rounds < 1 or options.seconds <= 0:
        parser.error("--rounds and --seconds must be positive")
    settings = {
        "clips": options.clips,
        "seconds": options.seconds,
        "rounds": options.rounds,
        "presets": options.preset,
        "protector": options.protector,
        "detector_presets": options.detector_presets,
    }
    report = Report("throughput", COLUMNS, settings)
    found, missing = clips.find_clips(options.clips, options.seconds)
    report.notes += missing
    deface_frames = 0 if options.no_deface else options.deface_frames
    if deface_frames and report.machine["deface"] is None:
        report.notes.append("deface is not installed: left out")
        deface_frames = 0
    try:
        for clip in found:
            for preset in options.preset:
                rows, notes = measure(
                    clip,
                    preset,
                    rounds=options.rounds,
                    deface_frames=deface_frames,
                    protector=options.protector,
                    detectors=options.detector_presets,
                )
                report.rows += rows
                report.notes += notes
    except RuntimeError as error:
        progress(f"throughput: {error}")
        return 1
    report.finish(as_json=options.json, save_as=options.save_as)
    return 0


if __name__ == "__main__":
    sys.exit(main())
