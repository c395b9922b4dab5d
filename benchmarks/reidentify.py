"""Who is still recognised? Every obfuscation, strength and keyed protector against three attacks.

naive: protected faces are sought among clear ones. parrot: among clear ones that the attacker hid
in the same way. restored: protected faces are first restored by what was learned on other people,
from one frame or from several of a video. What is judged is the protected region alone; beside it
stands what the whole crop gives away, with all that protection does not cover. And without
protection: how small is a face recognised?
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import get_args

import cv2

from engines import EngineError
from engines.train.data import FACE_PX
from pipeline.settings import ProtectSettings

from ._recognizers import Recognizer, open_recognizers
from ._reid_attacks import SLOW, WHOLE_GALLERIES, Attacker, Stage, targets_of
from ._reid_judge import PixelComparison
from ._reid_people import FACE_SHARE, People, find_people
from ._reid_protect import DEFAULT, STRENGTHS, Setting, all_settings
from ._reid_restore import Lesson, Restorer, learn
from ._reid_tables import (
    ATTACKS,
    COLUMNS,
    LEARNED_COLUMNS,
    SIZE_COLUMNS,
    SUMMARY_COLUMNS,
    Results,
    learned_rows,
    notes_of,
    plot,
    summary,
)
from ._sheets import contact_sheet
from .report import Report, Table, add_output_options, progress

OBFUSCATIONS = get_args(ProtectSettings.model_fields["obfuscation"].annotation)
MODELS = ("proface-s-video",)
SIZES_PX = (6, 8, 10, 12, 16, 20, 24, 32)


@dataclass
class _Learning:
    """The restoration, learned when it is first asked for."""

    people: People
    settings: Sequence[Setting]
    recognizers: Sequence[Recognizer]
    options: argparse.Namespace
    report: Report

    @cached_property
    def restorer(self) -> Restorer:
        """From the cache, or in some minutes."""
        options = self.options
        lesson = Lesson(crop_px=options.crop_px, steps=options.steps, seed=options.seed)
        targets = targets_of(self.settings, options.frames)
        found, note = learn(self.people.others, targets, lesson, self.recognizers)
        self.report.notes += [note] if note else []
        rows = learned_rows(found.errors)
        self.report.more.append(Table("learned", LEARNED_COLUMNS, rows))
        return found


def run(stages: Sequence[Stage], minutes: float | None) -> list[str]:
    """One after the other until time is up or somebody interrupts; a note on what is missing."""
    started = time.monotonic()
    for number, (name, attack) in enumerate(stages):
        seconds = time.monotonic() - started
        try:
            if minutes is not None and seconds > 60 * minutes:
                raise KeyboardInterrupt
            progress(f"{seconds:.0f} s: {name}")
            attack()
        except KeyboardInterrupt:
            missing = ", ".join(name for name, _ in stages[number:])
            return [f"no time for the last {len(stages) - number} of {len(stages)}: {missing}"]
    return []


def measure(
    people: People, recognizers: Sequence[Recognizer], options: argparse.Namespace, report: Report
) -> None:
    """All of it, as far as time goes."""
    results = Results()
    settings = all_settings(options.obfuscations, options.strengths, options.models)
    quick = [each for each in recognizers if each.name not in (*SLOW, PixelComparison.name)]
    learning = _Learning(people, settings, quick, options, report)
    stages: list[Stage] = []
    for is_slow in (False, True):
        known = [each for each in recognizers if (each.name in SLOW) == is_slow]
        attacker = Attacker(people, known, options, results, is_slow=is_slow)
        stages += attacker.stages(settings, lambda: learning.restorer)
    report.notes += run(stages, options.minutes)
    order = {setting.name: number for number, setting in enumerate(settings)}
    report.rows += sorted(results.rows, key=lambda row: order.get(str(row["setting"]), -1))
    learned = {target.setting for target in targets_of(settings, 1)}
    lines = summary(
        settings,
        results.rows,
        lambda setting: set(options.attacks) - (set() if setting in learned else {"restored"}),
    )
    report.more.append(Table("summary", SUMMARY_COLUMNS, lines))
    if results.sizes:
        report.more.append(Table("sizes", SIZE_COLUMNS, results.sizes))
    report.notes += [f"{', '.join(options.attacks)}: {note}" for note in notes_of(lines)]
    if options.sheet is not None:
        contact_sheet(results.sheet, options.sheet)
        report.notes.append(f"pictures: {options.sheet.name}")
    if options.plot is not None:
        try:
            plot(settings, lines, people.everybody.each, options.plot)
        except ImportError:
            report.notes.append("no plot: pip install matplotlib")


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The options, made smaller by --quick."""
    parser = argparse.ArgumentParser(prog="bauta bench reidentify", description=__doc__)
    parser.add_argument("--gallery", type=int, default=200, help="people in one; %(default)s")
    parser.add_argument(
        "--galleries", type=int, default=4, help="disjoint ones, if there are; %(default)s"
    )
    parser.add_argument(
        "--others", type=int, default=5000, help="pictures to learn an attack on; %(default)s"
    )
    parser.add_argument(
        "--obfuscations", nargs="+", choices=OBFUSCATIONS, default=list(OBFUSCATIONS), help="all"
    )
    parser.add_argument(
        "--strengths", nargs="+", type=float, default=list(STRENGTHS), help="%(default)s"
    )
    parser.add_argument(
        "--models", nargs="*", default=list(MODELS), metavar="NAME", help="%(default)s"
    )
    parser.add_argument(
        "--crop-px",
        type=int,
        choices=(32, 64, 112),
        default=FACE_PX,
        help=f"side of a crop when it is hidden; its face is {FACE_SHARE:.2f} of it; %(default)s",
    )
    parser.add_argument("--frames", type=int, default=8, help="of a video; %(default)s")
    parser.add_argument("--steps", type=int, default=400, help="of training; %(default)s")
    parser.add_argument(
        "--attacks", nargs="+", choices=ATTACKS, default=list(ATTACKS), help="all by default"
    )
    parser.add_argument(
        "--sizes", nargs="*", type=int, default=list(SIZES_PX), metavar="PX", help="%(default)s"
    )
    parser.add_argument(
        "--recognizers", nargs="+", metavar="NAME", help="dlib, mobilefacenet, pixels; all"
    )
    parser.add_argument("--threads", type=int, default=2, help="of the networks; %(default)s")
    parser.add_argument("--minutes", type=float, help="begin nothing new after them")
    parser.add_argument("--seed", type=int, default=0, help="%(default)s")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="pictures")
    parser.add_argument("--plot", type=Path, metavar="PNG", help="a file for each attack")
    parser.add_argument("--quick", action="store_true", help="few of everything: does it run?")
    add_output_options(parser)
    options = parser.parse_args(arguments)
    if options.quick:
        options.others, options.steps, options.frames, options.galleries = 500, 30, 2, 1
        options.strengths, options.models = [DEFAULT.strength], options.models[:1]
        options.sizes = options.sizes[::3]
        options.recognizers = options.recognizers or ["mobilefacenet", "pixels"]
    return options


def chosen_recognizers(options: argparse.Namespace) -> tuple[list[Recognizer], list[str]]:
    """Those that are wanted and to be had."""
    found, missing = open_recognizers(options.threads)
    found.append(PixelComparison())
    if options.recognizers:
        found = [each for each in found if each.name in options.recognizers]
        missing = [note for note in missing if note.partition(" ")[0] in options.recognizers]
    if not found:
        raise EngineError("; ".join(missing) or "no recognizer of that name")
    return found, missing


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    options = parsed(arguments)
    cv2.setNumThreads(1)  # its pictures are small
    try:
        people, note = find_people(options.gallery, options.galleries, options.others, options.seed)
        recognizers, missing = chosen_recognizers(options)
        report = Report(
            "reidentify",
            COLUMNS,
            {
                "gallery": people.everybody.each,
                "galleries": people.everybody.galleries,
                "galleries_whole": min(WHOLE_GALLERIES, people.everybody.galleries),
                "held_out_probes": len(people.held_out.probes),
                "others": len(people.others),
                "faces_of": people.source,
                "crop_px": options.crop_px,
                "frames": options.frames,
                "steps": options.steps,
                "grow": DEFAULT.grow,
                "shape": DEFAULT.shape,
                "thresholds": {each.name: each.threshold for each in recognizers},
                "seed": options.seed,
            },
            notes=missing + ([note] if note else []),
        )
        measure(people, recognizers, options, report)
    except EngineError as error:
        print(f"bauta bench reidentify: {error}", file=sys.stderr)
        return 1
    report.finish(as_json=options.json, save_as=options.save_as)
    return 0


if __name__ == "__main__":
    sys.exit(main())
