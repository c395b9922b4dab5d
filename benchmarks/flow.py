"""Is protection that is carried along between keyframes as safe as obfuscation, calmer than fusion
in every frame, and cheaper?

Between keyframes of the protector proface-s the keyframe's protected pixels are moved by the
optical flow of the originals (IdentityMask). This measures what is left to be seen, what flickers,
what it costs, how often the network runs all the same, and what the motion is worth.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from engines import EngineError
from pipeline.build import build_service, shared_fusion
from pipeline.detect.service import DetectionService
from pipeline.in_band import KeyedFuser
from pipeline.protect import propagate
from pipeline.settings import DetectorSettings

from . import _flow_cost, _flow_motion, _flow_pictures, _flow_privacy, _flow_stability
from ._flow_clips import RECORDED, STREET, TALKING, beginning, recorded_path
from ._flow_runs import (
    MODEL,
    VARIANTS,
    BoxedClip,
    Shown,
    WatchedGate,
    gate_for,
    open_fuser,
    run_file,
    run_scene,
    scene_clip,
    settings_for,
    tracked_clip,
)
from ._flow_scenes import (
    FPS,
    Scene,
    calm_scenes,
    face_pictures,
    hard_scenes,
    one_face_scene,
    without_pores,
    write_file,
)
from ._flow_tables import (
    BETWEEN_COLUMNS,
    COLUMNS,
    COST_COLUMNS,
    NETWORK_COLUMNS,
    POSE_COLUMNS,
    PRIVACY_COLUMNS,
    STABILITY_COLUMNS,
)
from ._similarity import U8
from .report import Column, Report, Row, Table, Value, add_output_options, progress

PARTS = ("privacy", "stability", "cost", "network", "pose", "between")
MOST_STABILITY_RATIO = 0.5
MOST_COST_RATIO = 0.1
MOST_FLOW_MS = 1.5
NETWORK_SECONDS = 12.0  # of each clip, as far as it goes
MOST_RUNS = {TALKING: 1.5, STREET: 3.0}
COST_SCALES = (0.8, 1.45)  # squares of 112 and 192 px
POSE_FILTERS = (("blur", 0.05), ("blur", 0.1), ("median", 0.05))
FACES = 6


@dataclass(slots=True)
class Bench:
    """What all measures share."""

    report: Report
    quick: bool
    fuser: KeyedFuser
    service: DetectionService
    folder: Path
    pictures: tuple[list[U8], list[U8]]  # twins
    boxed: dict[str, BoxedClip] = field(default_factory=dict)

    def table(self, title: str, columns: Sequence[Column]) -> list[Row]:
        """A further table's rows, to be added to."""
        self.report.more.append(Table(title, columns))
        return self.report.more[-1].rows

    def figure(self, name: str, value: float | None, most: float | None = None) -> None:
        """One line of the first table; `most`: the target."""
        if value is None:
            return
        row: dict[str, Value] = {"figure": name, "value": float(value)}
        if most is not None:
            row |= {"target": f"≤ {most:g}", "reached": value <= most}
        self.report.rows.append(row)

    def calm(self) -> list[BoxedClip]:
        """Made clips of usual motion."""
        scenes = calm_scenes(without_pores(self.pictures), 1.4 if self.quick else 3)
        return [self._made(scene) for scene in (scenes[:1] if self.quick else scenes)]

    def _made(self, scene: Scene) -> BoxedClip:
        if scene.name not in self.boxed:
            self.boxed[scene.name] = scene_clip(scene, FPS)
        return self.boxed[scene.name]

    def recorded(self, kinds: Sequence[str] = (TALKING, STREET)) -> list[BoxedClip]:
        """Short pieces of recorded clips, faces as the product's tracker places them."""
        found = []
        for each in RECORDED[:1] if self.quick else RECORDED:
            path = recorded_path(each)
            if path is None or each.kind not in kinds:
                continue
            if each.name not in self.boxed:
                frames = 35 if self.quick else each.frames
                self.boxed[each.name] = tracked_clip(
                    path, each.name, self.service, frames, each.first
                )
            found.append(self.boxed[each.name])
        return found


# --- privacy ---


def measure_privacy(bench: Bench) -> None:
    """Every hard scene, with true boxes and through the whole path."""
    rows = bench.table("privacy", PRIVACY_COLUMNS)
    seconds = 1.6 if bench.quick else 3.0
    modes: dict[str, Counter[str]] = {}
    for number in range(1 if bench.quick else 2):
        twins = [hard_scenes(pictures, number, seconds) for pictures in bench.pictures]
        for scene, twin in zip(*twins, strict=True):
            ways = ["true boxes", "whole path"]
            if bench.quick:
                ways = ways[: 1 + (scene.name in ("pan 400 px/s", "crossing"))]
            elif number == 0:
                ways.append("whole path, live")
            for way in ways:
                tally = _judged(bench, scene, twin, way)
                rows.append(_privacy_row(way, scene.name, tally))
                totals = modes.setdefault(way, Counter())
                totals["bare"] += len(tally.bad())
                totals["pores"] += len(tally.shown())
                totals["ghosts"] += tally.ghosts
                totals.update(f"why {each.cause}" for each in tally.found if each.cause)
        progress(f"privacy: set {number} of faces done")
    for way, totals in modes.items():
        bench.figure(f"faces more than 1 % bare, {way}", totals["bare"], 0)
        for cause in ("propagation", "box off", "not found yet", "missed"):
            if way != "true boxes":
                bench.figure(f"  of these: {cause}", totals[f"why {cause}"])
        bench.figure(f"faces whose pores show, {way}", totals["pores"], 0)


def _judged(bench: Bench, scene: Scene, twin: Scene, way: str) -> _flow_privacy.Tally:
    defaults = {"detect_every": 4, "lookahead": 3} if way.endswith("live") else {}
    settings = settings_for("propagated", **defaults)
    gates = [gate_for(settings, bench.fuser) for _ in range(2)]
    if way == "true boxes":
        runs = [run_scene(each, gate, FPS) for each, gate in zip((scene, twin), gates, strict=True)]
        return _flow_privacy.judge_scene(scene, *runs)

    def run(which: int, each: Scene, gate: WatchedGate) -> Iterator[Shown]:
        path = bench.folder / f"twin{which}.mp4"
        write_file(each, path)
        return run_file(path, gate, settings, bench.service)

    files = [run(i, each, gates[i]) for i, each in enumerate((scene, twin))]
    return _flow_privacy.judge_scene(scene, *files)


def _privacy_row(mode: str, scene: str, tally: _flow_privacy.Tally) -> Row:
    found = tally.found
    alone = [each.alone for each in found if each.alone is not None]
    causes = Counter(each.cause for each in found if each.cause)
    let_go = [
        f"{reason}: {' '.join(str(at) for at, why in tally.let_go_at if why == reason)}"
        for reason in tally.let_go
    ]
    return {
        "mode": mode,
        "scene": scene,
        "faces": len(found),
        "carried": sum(each.state == "carried" for each in found),
        "fused": sum(each.state == "fused" for each in found),
        "worst": 100 * max((each.uncovered for each in found), default=0.0),
        "bare": len(tally.bad()),
        "pores": len(tally.shown()),
        "peak": max((each.peak for each in found), default=0.0),
        "sees": 100 * float(np.median(tally.sensitivity)) if tally.sensitivity else None,
        "alone": 100 * max(alone) if alone else None,
        "ghosts": tally.ghosts,
        "causes": ", ".join(f"{why} {count}" for why, count in causes.items()) or "-",
        "let_go": "; ".join(let_go) or "-",
        "bare_at": " ".join(str(each.index) for each in tally.bad()),
    }


# --- stability ---


def measure_stability(bench: Bench) -> None:
    """Change between frames, motion taken out."""
    rows = bench.table("stability", STABILITY_COLUMNS)
    groups = [("made", bench.calm()), *((clip.name, [clip]) for clip in bench.recorded())]
    for name, group in groups:
        pooled: dict[tuple[str, str], _flow_stability.Changes] = {}
        for clip in group:
            for key, changes in _flow_stability.measure(clip, bench.fuser).items():
                pooled.setdefault(key, _flow_stability.Changes()).found += changes.found
        for coding in (_flow_stability.UNCODED, _flow_stability.CODED):
            by = {variant: pooled[variant, coding] for variant in VARIANTS}
            carried = by["propagated"]
            means = {variant: each.mean() for variant, each in by.items()}
            ratio = _ratio(means["propagated"], means["every frame"])
            rows.append(
                {
                    "clip": name,
                    "coding": coding,
                    "pairs": len(carried.found),
                    "propagated": means["propagated"],
                    "every": means["every frame"],
                    "plain": means["plain"],
                    "ratio": ratio,
                    "of_plain": _ratio(means["propagated"], means["plain"]),
                    "carried": carried.mean("carried"),
                    "keyframe": carried.mean("keyframe"),
                    "let_go": carried.mean("let go"),
                    "carried_share": 100 * carried.share("carried"),
                }
            )
            bench.figure(f"change of fusing every frame, {name}, {coding}", ratio, 0.5)
        progress(f"stability: {name} done")


def _ratio(value: float | None, of: float | None) -> float | None:
    return None if value is None or not of else value / of


# --- cost ---


def measure_cost(bench: Bench) -> None:
    """Milliseconds a face."""
    rows = bench.table("cost", COST_COLUMNS)
    frames = 40 if bench.quick else 150
    for scale in COST_SCALES:
        scene = one_face_scene(bench.pictures[0][0], scale, frames)
        times = _flow_cost.time_clip(scene_clip(scene, FPS))
        value = {
            name: times.median(name) for name in ("carry", "flow", "fuse", "network", "obfuscate")
        }
        ratio = value["carry"] / value["fuse"]
        plain = value.pop("obfuscate")
        rows.append({"side": times.side_px, "plain": plain, "ratio": ratio, **value})
        bench.figure(f"carry/fuse, {times.side_px} px", ratio, MOST_COST_RATIO)
        bench.figure(f"flow alone, ms, {times.side_px} px", value["flow"], MOST_FLOW_MS)
    progress("cost: done")


# --- network runs ---


def measure_network(bench: Bench) -> None:
    """Whole sessions: how often the network runs for a face."""
    rows = bench.table("network", NETWORK_COLUMNS)
    worker = shared_fusion(MODEL)
    pooled: dict[tuple[str, str], list[_flow_cost.Usage]] = {}
    for name, kind, path in _network_files(bench):
        for settings in ("file", "live"):
            usage = _flow_cost.run_session(
                path,
                bench.folder / "session.mp4",
                bench.service,
                worker,
                live_defaults=settings == "live",
            )
            pooled.setdefault((kind, settings), []).append(usage)
            plain = usage.fusable - usage.fused - usage.carried
            rows.append(
                {
                    "clip": name,
                    "settings": settings,
                    "frames": usage.frames,
                    "faces": usage.face_frames,
                    "fusable": usage.fusable,
                    "runs": usage.runs_per_second,
                    "carried": 100 * usage.share(usage.carried),
                    "fused": 100 * usage.share(usage.fused),
                    "plain": 100 * usage.share(plain),
                    "obscured": usage.obscured,
                    "keyframes": _listed(usage.counts.keyframes),
                    "let_go": _listed(usage.counts.not_carried),
                }
            )
        progress(f"network: {name} done")
    for (kind, settings), usages in pooled.items():
        seconds = sum(usage.fusable / usage.fps for usage in usages)
        runs = sum(usage.fused for usage in usages) / max(seconds, 1e-9)
        bench.figure(f"network runs per face and second, {kind}, {settings}", runs, MOST_RUNS[kind])


def _network_files(bench: Bench) -> list[tuple[str, str, Path]]:
    found = []
    for each in RECORDED[1:3] if bench.quick else RECORDED:
        path = recorded_path(each)
        if path is None:
            continue
        if path.suffix == ".264":
            found.append((each.name, each.kind, path))  # short, and packets without time stamps
        else:
            found.append((each.name, each.kind, beginning(path, NETWORK_SECONDS)))
    if not found:
        seconds = 2.0 if bench.quick else 6.0
        scenes = calm_scenes(bench.pictures[0], seconds)[:2]
        for scene, kind in zip(scenes, (TALKING, STREET), strict=False):
            path = bench.folder / f"{scene.name}.mp4"
            write_file(scene, path)
            found.append((scene.name, kind, path))
    return found


def _listed(counts: Mapping[str, int]) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    return ", ".join(f"{name} {count}" for name, count in ordered) or "-"


# --- motion ---


def measure_between(bench: Bench) -> None:
    """A keyframe's original, moved: the most that recovery can have between keyframes."""
    rows = bench.table("between", BETWEEN_COLUMNS)
    hard = hard_scenes(without_pores(bench.pictures), 0, 1.4 if bench.quick else 3)
    chosen = [s for s in hard if s.name.startswith(("turn", "nearer", "pan", "camera"))]
    made = [*bench.calm(), *(scene_clip(scene, FPS) for scene in chosen[: 1 if bench.quick else 4])]
    for clip in [*made, *bench.recorded()]:
        found = list(_flow_motion.between(clip, bench.fuser))
        for age in _flow_motion.AGES:
            some = _flow_motion.of_age(found, age)
            if not some:
                continue
            off = [each.off for each in some if each.off is not None]
            rows.append(
                {
                    "clip": clip.name,
                    "age": age,
                    "faces": len(some),
                    "psnr": float(np.mean([each.psnr for each in some])),
                    "ssim": float(np.mean([each.ssim for each in some])),
                    "still": float(np.mean([each.still_psnr for each in some])),
                    "off": 100 * float(np.mean(off)) if off else None,
                    "bytes": float(np.median([each.bytes for each in some])),
                    "most": max(each.bytes for each in some),
                }
            )
        if found:
            size = float(np.median([each.bytes for each in found]))
            bench.figure(f"motion, bytes a face and frame, {clip.name}", size)
    progress("between: done")


def measure_pose(bench: Bench) -> None:
    """Landmarks before and after, in face widths."""
    rows = bench.table("pose", POSE_COLUMNS)
    finders: list[_flow_motion.LandmarkFinder] = [_flow_motion.Detector5()]
    try:
        finders.append(_flow_motion.Dlib68())
    except EngineError as error:
        bench.report.notes.append(f"pose: {error}")
    for clip in [*bench.calm()[:1], *bench.recorded((TALKING,))[:1]]:
        for obfuscation, strength in POSE_FILTERS[: 1 if bench.quick else None]:
            found = _flow_motion.pose_errors(clip, bench.fuser, finders, obfuscation, strength)
            for finder in finders:
                by = {variant: found.get((finder.name, variant)) for variant in VARIANTS}
                means = [
                    100 * float(np.mean(e.found)) if e and e.found else None for e in by.values()
                ]
                carried = by["propagated"]
                rows.append(
                    {
                        "clip": clip.name,
                        "obfuscation": f"{obfuscation} {strength:g}",
                        "landmarks": finder.name,
                        "faces": len(carried.found) if carried else 0,
                        "propagated": means[0],
                        "every": means[1],
                        "plain": means[2],
                        "lost": sum(e.lost for e in by.values() if e),
                    }
                )
    progress("pose: done")


MEASURES = {
    "privacy": measure_privacy,
    "stability": measure_stability,
    "cost": measure_cost,
    "network": measure_network,
    "pose": measure_pose,
    "between": measure_between,
}


def save_pictures(bench: Bench, sheet: Path | None, clip: Path | None) -> None:
    """For people's eyes."""
    shown = [*bench.recorded((TALKING,))[:1], *bench.calm()[:1]]
    if sheet is not None:
        _flow_pictures.save_sheet(shown, bench.fuser, sheet)
        bench.report.notes.append(f"pictures: {sheet.name}")
    if clip is not None:
        _flow_pictures.save_clip(shown, bench.fuser, clip)
        bench.report.notes.append(f"clip: {clip.name}")


def thresholds() -> dict[str, float]:
    """Of the propagation that was measured."""
    names = [name for name in vars(propagate) if name.startswith(("MOST_", "LEAST_"))]
    return {name: float(getattr(propagate, name)) for name in names}


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="bauta bench flow", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART",
                        help=f"of {', '.join(PARTS)} (default: all)")  # fmt: skip
    parser.add_argument("--quick", action="store_true", help="few and short clips: does it run?")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="pictures, side by side")
    parser.add_argument("--clip", type=Path, metavar="MP4", help="the same, moving")
    add_output_options(parser)
    options = parser.parse_args(arguments)
    started = time.monotonic()
    settings = {"model": MODEL, "parts": options.parts, "quick": options.quick}
    report = Report("flow", COLUMNS, {**settings, "thresholds": thresholds()})
    try:
        with ExitStack() as stack:
            pictures, note = face_pictures(FACES)
            report.notes += [note] if note else []
            report.notes += [
                f"{each.name}: left out, no {each.file}; set BAUTA_TESTDATA"
                for each in RECORDED
                if recorded_path(each) is None
            ]
            service = build_service(DetectorSettings())
            stack.callback(service.close)
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bauta-flow-")))
            bench = Bench(report, options.quick, open_fuser(), service, folder, pictures)
            for part in options.parts:
                MEASURES[part](bench)
            save_pictures(bench, options.sheet, options.clip)
    except EngineError as error:
        print(f"bauta bench flow: {error}", file=sys.stderr)
        return 1
    progress(f"flow: {time.monotonic() - started:.0f} s")
    report.finish(as_json=options.json, save_as=options.save_as)
    return 0


if __name__ == "__main__":
    sys.exit(main())
