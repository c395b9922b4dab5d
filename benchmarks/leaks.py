"""Which faces the protected picture still shows: the product against known truth, beside deface.

Made scenes with exact truth, labelled stills and slow pans over them, and recorded clips whose
truth is in `truth/`. Under results/: the JSON, bars by size, sheets of the worst leaks.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import get_args

from pipeline.build import build_service
from pipeline.config import load_settings
from pipeline.detect.service import DetectionService
from pipeline.errors import SettingsError
from pipeline.frames import YuvPlanes
from pipeline.settings import DetectorSettings

from ._leak_deface import DefaceRun
from ._leak_judge import BANDS, COVERED, Outcome, tally
from ._leak_made import made_clips
from ._leak_pictures import WorstLeaks, bar_plot
from ._leak_recorded import recorded_clips
from ._leak_runs import (
    Contestant,
    CoveredFrame,
    ProductRun,
    contestants_of_defaults,
    own_planes,
    repeatable,
    through,
)
from ._leak_stills import still_clips
from ._leak_tables import (
    BAND_COLUMNS,
    COLUMNS,
    DEFACE_COLUMNS,
    PEOPLE_COLUMNS,
    TARGET_COLUMNS,
    band_rows,
    deface_rows,
    main_rows,
    on_the_frames_of,
    people_rows,
    target_rows,
)
from ._leak_truth import LEAST_VISIBLE, Family, LeakClip
from .report import Report, Table, add_output_options, progress

RESULTS = Path(__file__).resolve().parent / "results"
FAMILIES: tuple[Family, ...] = get_args(Family)
DEFACE = "deface"
WAITING_FRAMES = 256  # more than any contestant holds back


@dataclass(frozen=True, slots=True)
class Size:
    """How much is measured."""

    made_frames: int
    stills: int
    recorded_frames: int | None  # of each clip; None: all
    deface_every: int  # frames: it is slow, and looks at each for itself


DEFAULT = Size(made_frames=100, stills=150, recorded_frames=250, deface_every=10)
QUICK = Size(made_frames=25, stills=24, recorded_frames=40, deface_every=20)


@dataclass(slots=True)
class Race:
    """Every contestant over the same pictures, which are drawn or decoded once."""

    contestants: Sequence[Contestant]
    deface_every: int | None  # None: left out
    outcomes: dict[str, list[Outcome]] = field(default_factory=dict)
    worst: dict[str, WorstLeaks] = field(default_factory=dict)
    _services: dict[DetectorSettings, DetectionService] = field(default_factory=dict)
    _deface: DefaceRun | None = None

    def __post_init__(self) -> None:
        """Raises SettingsError where a detector cannot be had."""
        for each in self.contestants:
            if each.detector not in self._services:
                self._services[each.detector] = build_service(each.detector)
        names = [each.name for each in self.contestants]
        if self.deface_every is not None:
            self._deface = DefaceRun()
            names.append(DEFACE)
        self.outcomes = {name: [] for name in names}
        self.worst = {name: WorstLeaks() for name in names}

    def close(self) -> None:
        """End the detectors."""
        for service in self._services.values():
            service.close()

    def run(self, clip: LeakClip) -> None:
        """One clip."""
        truths = lru_cache(maxsize=WAITING_FRAMES)(clip.truths)
        outcomes = {name: Outcome.of(clip) for name in self.outcomes}

        def take(name: str, frame: CoveredFrame) -> None:
            there = truths(frame.index)
            faces = outcomes[name].add(
                frame.index,
                there,
                frame.covered,
                frame.found_xyxy_px,
                is_curtain=frame.is_curtain,
            )
            where = {truth.person: truth for truth in there}
            for face in faces:
                if face.is_leaked:
                    self.worst[name].offer(clip.name, face, where[face.person], frame)

        def originals() -> Iterator[YuvPlanes]:
            for index, image in enumerate(clip.pictures()):
                original = own_planes(image)
                if self._deface and self.deface_every and index % self.deface_every == 0:
                    take(DEFACE, self._deface.look(index, original))
                yield original

        runs = {
            each.name: ProductRun(each, self._services[each.detector], clip.fps)
            for each in self.contestants
        }
        for name, frame in through(runs, originals()):
            take(name, frame)
        for name, outcome in outcomes.items():
            self.outcomes[name].append(outcome)


def clips_of(families: Sequence[Family], size: Size, seed: int) -> Iterator[LeakClip | str]:
    """One after the other; a note for each that is left out."""
    if "made" in families:
        yield from made_clips(size.made_frames, seed)
    if "stills" in families or "pans" in families:
        for clip in still_clips(size.stills, seed):
            if isinstance(clip, str) or clip.family in families:
                yield clip
    if "recorded" in families:
        yield from recorded_clips(size.recorded_frames)


def contestants_of(presets: Sequence[Path]) -> list[Contestant]:
    """The defaults, and each settings file by its name. Raises SettingsError."""
    contestants = contestants_of_defaults()
    for path in presets:
        settings = load_settings(path)
        if not settings.cameras:
            raise SettingsError(f"{path}: names no camera, so it says nothing of protection")
        detector = repeatable(settings.detector)
        contestants.append(Contestant(path.stem, detector, settings.cameras[0].protect))
    return contestants


def measure(race: Race, options: argparse.Namespace, size: Size, report: Report) -> None:
    """Every clip; what is missing becomes a note."""
    seconds: dict[str, float] = {}
    last = time.monotonic()
    told = ""
    for clip in clips_of(options.families, size, options.seed):
        if isinstance(clip, str):
            report.notes.append(clip)
            continue
        told_now = f"{clip.family}: {clip.name}" if clip.frames > 1 else clip.family
        if told_now != told:  # not every still
            progress(told := told_now)
        race.run(clip)
        now = time.monotonic()  # making the clip is part of it
        seconds[clip.family] = seconds.get(clip.family, 0.0) + now - last
        last = now
    parts = ", ".join(f"{family} {each:.0f} s" for family, each in seconds.items())
    report.notes.append(f"took {sum(seconds.values()):.0f} s: {parts}")


def tell(race: Race, report: Report) -> None:
    """The tables."""
    results = race.outcomes
    report.rows += main_rows(results)
    report.more.append(Table("bands", BAND_COLUMNS, band_rows(results)))
    if DEFACE in results:
        title = f"every {race.deface_every}th frame, beside deface"
        report.more.append(Table(title, DEFACE_COLUMNS, deface_rows(results)))
    report.more.append(Table("people", PEOPLE_COLUMNS, people_rows(results)))
    first = race.contestants[0].name
    report.more.append(Table(f"targets, {first}", TARGET_COLUMNS, target_rows(results, first)))


def save_pictures(race: Race, name: str, report: Report) -> None:
    """Bars by size on the frames that all have seen, and each contestant's worst leaks."""
    results = race.outcomes
    if DEFACE in results:
        results = {
            name: on_the_frames_of(outcomes, results[DEFACE]) for name, outcomes in results.items()
        }
    shares = {
        name: [tally(outcomes, least, below).leaked_percent for _, least, below in BANDS]
        for name, outcomes in results.items()
    }
    path = RESULTS / f"{name}-bands.png"
    bar_plot(shares, [f"{band} px" for band, _, _ in BANDS], path, "leaked face-frames by size")
    report.notes.append(f"plot: {path.name}")
    for contestant, worst in race.worst.items():
        path = RESULTS / f"{name}-worst-{contestant}.png"
        if worst.save(path):
            report.notes.append(f"worst leaks: {path.name}")


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="bauta bench leaks", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="a few minutes: rough figures")
    parser.add_argument("--families", nargs="+", choices=FAMILIES, default=FAMILIES)
    parser.add_argument(
        "--presets",
        nargs="+",
        type=Path,
        default=[],
        metavar="YAML",
        help="settings files, each a contestant: its detector and its first camera's protect",
    )
    parser.add_argument("--no-deface", action="store_true", help="leave deface out: it is slow")
    parser.add_argument("--seed", type=int, default=7, help="of made clips and of the stills' draw")
    add_output_options(parser)
    options = parser.parse_args(arguments)
    logging.getLogger("pipeline").setLevel(logging.ERROR)  # odd-sided stills are cropped silently
    size = QUICK if options.quick else DEFAULT
    try:
        contestants = contestants_of(options.presets)
        race = Race(contestants, None if options.no_deface else size.deface_every)
    except SettingsError as error:
        parser.error(str(error))
    settings = {
        "covered": COVERED,
        "least_visible": LEAST_VISIBLE,
        "made_frames": size.made_frames,
        "stills": size.stills,
        "recorded_frames": size.recorded_frames,
        "deface_every": race.deface_every,
        "seed": options.seed,
        "contestants": {
            each.name: {
                "detector": each.detector.model_dump(mode="json"),
                "protect": each.protect.model_dump(mode="json"),
            }
            for each in contestants
        },
    }
    report = Report("leaks", COLUMNS, settings)
    try:
        measure(race, options, size, report)
    finally:
        race.close()
    tell(race, report)
    save_pictures(race, options.save_as or report.name, report)
    report.finish(as_json=options.json, save_as=options.save_as)
    return 0


if __name__ == "__main__":
    sys.exit(main())
