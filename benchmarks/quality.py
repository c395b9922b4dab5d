"""How good protection and recovery are, and how bad recovery with a wrong key: beside the paper's
figures (PRO-Face S, tables I to III and V) and beside what was to be reached.

On 8-bit pictures, faces of people nobody trained on. The columns `float` are the same without
rounding and clipping, as the paper measures.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np

from engines import EngineError
from engines.bands import F32, U8
from engines.fusion import FusionModel, FusionSpec, WrongRecovery
from engines.train.obfuscators import PAPER_KINDS, Picture
from pipeline.vault.secret_map import face_secrets

from . import _fusion
from ._fusion import KINDS, WRONG_KINDS, Batch, Faces, Opener, Secrets, Subject
from ._sheets import contact_sheet
from ._similarity import F64, SsimReference, float_rgb_of, luma_of, psnr, rgb_of, ssim
from .report import Column, Report, Row, Table, add_output_options, progress

COLUMNS = (
    Column("obfuscator", "obfuscator"),
    Column("figure", "figure"),
    Column("psnr", "PSNR", 2),
    Column("ssim", "SSIM", 3),
    Column("luma_psnr", "luma", 2),
    Column("luma_ssim", "SSIM", 3),
    Column("float_psnr", "float", 2),
    Column("float_ssim", "SSIM", 3),
    Column("paper_psnr", "paper", 2),
    Column("paper_ssim", "SSIM", 3),
    Column("target", "target"),
    Column("reached", "reached"),
)
COST_COLUMNS = (
    Column("what", "what"),
    Column("faces", "faces"),
    Column("ms", "ms"),
    Column("ms_per_face", "ms/face", 2),
    Column("paper_ms", "paper ms"),
    Column("target", "target"),
    Column("reached", "reached"),
)

PROTECTED, RIGHT, WRONG = "protected", "right key", "wrong key"
MEAN = "mean of the paper's"
NOT_PROTECTED = "obfuscated instead"  # the right key on a face that was never fused

# PSNR and SSIM on LFW by figure and obfuscator, from the tables I, II and III. The paper's own
# means hold two face swaps more; a mean here is over these four.
PAPER: dict[WrongRecovery, dict[str, dict[str, tuple[float, float]]]] = {
    "randwr": {
        PROTECTED: {
            "blur": (46.64, 0.991),
            "pixelate": (44.1, 0.992),
            "median": (44.81, 0.991),
            "mask": (38.11, 0.975),
        },
        RIGHT: {
            "blur": (49.18, 0.998),
            "pixelate": (46.91, 0.997),
            "median": (44.36, 0.998),
            "mask": (42.2, 0.987),
        },
        WRONG: {
            "blur": (10.44, 0.179),
            "pixelate": (10.46, 0.183),
            "median": (10.45, 0.179),
            "mask": (10.39, 0.192),
        },
    },
    "obfswr": {
        PROTECTED: {
            "blur": (42.1, 0.974),
            "pixelate": (38.92, 0.979),
            "median": (40.3, 0.976),
            "mask": (31.69, 0.947),
        },
        RIGHT: {
            "blur": (37.7, 0.984),
            "pixelate": (38.82, 0.985),
            "median": (37.5, 0.984),
            "mask": (37.41, 0.98),
        },
        WRONG: {
            "blur": (24.57, 0.966),
            "pixelate": (28.57, 0.963),
            "median": (25.39, 0.96),
            "mask": (27.12, 0.955),
        },
    },
}
# On 8-bit pictures, means over the paper's obfuscators; a wrong key's are the most for RandWR.
TARGETS: dict[WrongRecovery, dict[str, tuple[float, float]]] = {
    "randwr": {PROTECTED: (42, 0.985), RIGHT: (42, 0.99), WRONG: (12, 0.2)},
    "obfswr": {PROTECTED: (38, 0.97), RIGHT: (37, 0.975), WRONG: (26, 0.95)},
}
PAPER_PARAMETERS = 1_070_000
PAPER_BATCH_MS = 14.0  # table V: 16 faces, blurred and protected, on an RTX 3090
TARGET_FACE_MS = 25.0  # light network, 2 cores
LIGHT_PARAMETERS = 400_000
SHEET_FACES = 6
LEAST_SCREEN_FACES = 10
JUDGED_AGAIN = 0.05  # of the keys: those that screening found worst


@dataclass(frozen=True, slots=True)
class Figure:
    """Means over faces."""

    psnr: float
    ssim: float
    luma_psnr: float
    luma_ssim: float
    float_psnr: float
    float_ssim: float


@dataclass(slots=True)
class KindResult:
    """Everything about one obfuscator."""

    figures: dict[str, Figure] = field(default_factory=dict)  # by figure or kind of wrong key
    sheet: list[tuple[str, U8]] = field(default_factory=list, repr=False)


def compared(found: F32, truth: tuple[U8, ...], spec: FusionSpec) -> Figure:
    """Bands that were never rounded, against 8-bit pictures."""
    layout = spec.layout
    picture = layout.to_picture(found)
    rgb, true_rgb = rgb_of(picture), rgb_of(truth)
    luma, true_luma = luma_of(picture), luma_of(truth)
    exact, true_exact = float_rgb_of(found, layout), float_rgb_of(layout.to_bands(truth), layout)
    return Figure(
        psnr=float(psnr(rgb, true_rgb).mean()),
        ssim=float(ssim(rgb, true_rgb).mean()),
        luma_psnr=float(psnr(luma, true_luma).mean()),
        luma_ssim=float(ssim(luma, true_luma).mean()),
        float_psnr=float(psnr(exact, true_exact).mean()),
        float_ssim=float(ssim(exact, true_exact).mean()),
    )


def wrong_truth(batch: Batch, spec: FusionSpec) -> tuple[U8, ...]:
    """What a wrong key's picture is compared with (section V-A3, c)."""
    return batch.obfuscated if spec.mode == "obfswr" else batch.original


def measure_kind(subject: Subject, faces: Faces, kind: str, seed: int) -> KindResult:
    """One obfuscator: protected, right key, every kind of wrong key."""
    model, spec = subject.model, subject.spec
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    batch = _fusion.batch_of(faces.pictures, [kind] * len(faces), spec)
    keys = _fusion.random_keys(len(faces), rng)
    right = _fusion.secrets_of(keys, spec)
    bands = _fusion.protect_all(model, batch, right)
    sent = spec.layout.to_picture(bands)
    result = KindResult()
    result.figures[PROTECTED] = compared(bands, batch.obfuscated, spec)

    opener = Opener(model, spec.layout.to_bands(sent))
    opened = opener.open(right)
    figure = compared(opened, batch.original, spec)
    # the paper recovers from what was never rounded
    exact = compared(Opener(model, bands).open(right), batch.original, spec)
    result.figures[RIGHT] = _with_float(figure, exact)
    result.sheet = [
        (title, rgb_of(picture)[:SHEET_FACES])
        for title, picture in (
            ("original", batch.original),
            (kind, batch.obfuscated),
            (PROTECTED, sent),
            (RIGHT, spec.layout.to_picture(opened)),
        )
    ]
    for name in WRONG_KINDS:
        found = opener.open(_fusion.wrong_secrets(name, keys, spec, rng))
        result.figures[name] = compared(found, wrong_truth(batch, spec), spec)
        result.sheet.append((name, rgb_of(spec.layout.to_picture(found))[:SHEET_FACES]))
    result.figures[WRONG] = mean_figure([result.figures[name] for name in WRONG_KINDS])
    unfused = Opener(model, spec.layout.to_bands(batch.obfuscated)).open(right)
    result.figures[NOT_PROTECTED] = compared(unfused, wrong_truth(batch, spec), spec)
    result.sheet.append((NOT_PROTECTED, rgb_of(spec.layout.to_picture(unfused))[:SHEET_FACES]))
    return result


def _with_float(figure: Figure, exact: Figure) -> Figure:
    return Figure(
        figure.psnr,
        figure.ssim,
        figure.luma_psnr,
        figure.luma_ssim,
        exact.float_psnr,
        exact.float_ssim,
    )


def mean_figure(figures: Sequence[Figure]) -> Figure:
    """Field by field."""
    names = Figure.__slots__
    return Figure(*(statistics.fmean(getattr(each, name) for each in figures) for name in names))


def rows_of(results: dict[str, KindResult], mode: WrongRecovery) -> list[Row]:
    """Three rows per obfuscator; the mean over the paper's with every kind of wrong key."""
    rows = [
        figure_row(kind, name, result.figures[name], mode, target=False)
        for kind, result in results.items()
        for name in (PROTECTED, RIGHT, WRONG)
    ]
    ours = [results[kind] for kind in PAPER_KINDS if kind in results]
    if len(ours) == len(PAPER_KINDS):
        rows += [
            figure_row(
                MEAN,
                name,
                mean_figure([each.figures[name] for each in ours]),
                mode,
                target=name != NOT_PROTECTED,  # its key is the right one
            )
            for name in ours[0].figures
        ]
    return rows


def figure_row(kind: str, name: str, figure: Figure, mode: WrongRecovery, *, target: bool) -> Row:
    """One figure beside the paper's; beside what was to be reached with `target`."""
    group = name if name in (PROTECTED, RIGHT) else WRONG
    published = PAPER[mode][group]
    paper: tuple[float, float] | None = published.get(kind)
    if kind == MEAN:
        psnrs, ssims = zip(*published.values(), strict=True)
        paper = statistics.fmean(psnrs), statistics.fmean(ssims)
    row: dict[str, str | float | bool | None] = {
        "obfuscator": kind,
        "figure": name,
        **{each: getattr(figure, each) for each in Figure.__slots__},
        "paper_psnr": paper[0] if paper else None,
        "paper_ssim": paper[1] if paper else None,
    }
    if target:
        row |= judged(figure.psnr, figure.ssim, group, mode)
    return row


def judged(psnr_db: float, ssim_share: float, group: str, mode: WrongRecovery) -> Row:
    """The target's text, and whether it was reached."""
    wish_psnr, wish_ssim = TARGETS[mode][group]
    at_most = group == WRONG and mode == "randwr"
    if at_most:
        reached = psnr_db <= wish_psnr and ssim_share <= wish_ssim
    else:
        reached = psnr_db >= wish_psnr and ssim_share >= wish_ssim
    sign = "≤" if at_most else "≥"
    return {"target": f"{sign} {wish_psnr:g} / {wish_ssim:g}", "reached": reached}


# --- many wrong keys ---


@dataclass(slots=True)
class KeyScores:
    """The mean over faces of what each wrong key opens."""

    psnr: F64
    ssim: F64
    faces: int  # that each key was tried on
    judged_again: int = 0  # keys tried on more faces than that; 0: none had to be

    def worst(self, mode: WrongRecovery) -> tuple[float, float]:
        """PSNR and SSIM of the worst key: nearest to the face, or farthest from the obfuscation."""
        pick: Callable[[F64], np.float64] = np.max if mode == "randwr" else np.min
        return float(pick(self.psnr)), float(pick(self.ssim))


@dataclass(slots=True)
class KeyTrial:
    """The same faces opened by one wrong key after the other."""

    opener: Opener
    truth_rgb: U8 = field(repr=False)
    reference: list[SsimReference] = field(default_factory=list, repr=False)

    def __post_init__(self) -> None:
        whole = slice(0, len(self.truth_rgb))
        self.reference = [
            SsimReference.of(self.truth_rgb[each]) for each in _fusion.in_batches(whole.stop)
        ]

    def score(self, secrets: Secrets, faces: int) -> tuple[float, float]:
        """Mean PSNR and SSIM over the first `faces`, clipped, 8 bits."""
        layout = self.opener.spec.layout
        psnrs, ssims = [], []
        for which, reference in zip(
            _fusion.in_batches(len(self.truth_rgb)), self.reference, strict=True
        ):
            if which.start >= faces:
                break
            rgb = rgb_of(layout.to_picture(self.opener.open(secrets, which)))
            psnrs.append(psnr(rgb, self.truth_rgb[which]))
            ssims.append(reference.ssim(rgb))
        return float(np.concatenate(psnrs).mean()), float(np.concatenate(ssims).mean())


def many_wrong_keys(
    subject: Subject, faces: Faces, count: int, seconds: float, seed: int
) -> KeyScores:
    """Random keys, every one tried on every face where the time allows it.

    Otherwise every key is tried on a share of the faces, and the worst of them again on all.
    """
    model, spec = subject.model, subject.spec
    rng = np.random.default_rng([seed, 1000])
    kinds = _fusion.kinds_by_turns(PAPER_KINDS, len(faces))
    batch = _fusion.batch_of(faces.pictures, kinds, spec)
    right = _fusion.secrets_of(_fusion.random_keys(len(faces), rng), spec)
    sent = spec.layout.to_picture(_fusion.protect_all(model, batch, right))
    trial = KeyTrial(Opener(model, spec.layout.to_bands(sent)), rgb_of(wrong_truth(batch, spec)))
    wrong = _fusion.random_keys(count, rng)

    def score(key: bytes, on: int) -> tuple[float, float]:
        return trial.score(_fusion.shared_secret(key, spec), on)

    score(wrong[0], len(faces))  # not timed: the first run also prepares
    started = time.perf_counter()
    score(wrong[0], len(faces))
    per_key = time.perf_counter() - started
    screened = screen_faces(len(faces), per_key * count, seconds)
    found = []
    for index, key in enumerate(wrong):
        found.append(score(key, screened))
        if (index + 1) % max(1, count // 10) == 0:
            progress(f"wrong keys: {index + 1} of {count}, on {screened} faces each")
    scores = KeyScores(
        np.array([each[0] for each in found]), np.array([each[1] for each in found]), screened
    )
    if screened < len(faces):
        _judge_again(scores, lambda index: score(wrong[index], len(faces)), spec.mode)
    return scores


def screen_faces(faces: int, whole_seconds: float, allowed_seconds: float) -> int:
    """How many faces each key is tried on: all where time allows, in whole runs of the network."""
    if whole_seconds <= allowed_seconds:
        return faces
    share = int(faces * allowed_seconds / whole_seconds) // _fusion.BATCH * _fusion.BATCH
    return min(faces, max(LEAST_SCREEN_FACES, share))


def _judge_again(
    scores: KeyScores, again: Callable[[int], tuple[float, float]], mode: WrongRecovery
) -> None:
    """The worst keys by either measure, on all faces."""
    count = max(1, round(JUDGED_AGAIN * len(scores.psnr) / 2))
    sign = -1 if mode == "randwr" else 1
    worst = {int(i) for by in (scores.psnr, scores.ssim) for i in np.argsort(sign * by)[:count]}
    for index in sorted(worst):
        scores.psnr[index], scores.ssim[index] = again(index)
    scores.judged_again = len(worst)


def key_rows(scores: KeyScores, mode: WrongRecovery) -> list[Row]:
    """The mean and the worst of all wrong keys."""
    count = len(scores.psnr)
    worst_psnr, worst_ssim = scores.worst(mode)
    mean = {"psnr": float(scores.psnr.mean()), "ssim": float(scores.ssim.mean())}
    worst = {"psnr": worst_psnr, "ssim": worst_ssim}
    return [
        {"obfuscator": "mixed", "figure": f"{count} random keys, mean", **mean},
        {
            "obfuscator": "mixed",
            "figure": f"{count} random keys, worst",
            **worst,
            **judged(worst_psnr, worst_ssim, WRONG, mode),
        },
    ]


# --- cost ---


def cost_rows(subject: Subject, faces: Faces, runs: int) -> list[Row]:
    """What a face costs, alone and in a batch of 16; parameters."""
    spec, model = subject.spec, subject.model
    light = subject.parameters <= LIGHT_PARAMETERS
    rows: list[Row] = [
        {
            "what": f"parameters: {subject.parameters}",
            "target": f"≤ {PAPER_PARAMETERS}",
            "reached": subject.parameters <= PAPER_PARAMETERS,
        }
    ]
    rng = np.random.default_rng(0)
    for count in (1, _fusion.BATCH):
        pictures = [faces.pictures[i % len(faces)] for i in range(count)]
        batch = _fusion.batch_of(pictures, ["blur"] * count, spec)
        keys = _fusion.random_keys(count, rng)
        side = batch.original[0].shape[-1]
        secrets = face_secrets(keys, spec, (side, side))
        sent = model.protect(batch.original, batch.obfuscated, secrets)

        works: dict[str, Callable[[], object]] = {
            "protect": partial(model.protect, batch.original, batch.obfuscated, secrets),
            "blur, secrets, protect": partial(_protect_from_planes, model, pictures, keys),
            "recover": partial(model.recover, sent, secrets),
        }
        for what, work in works.items():
            ms = median_ms(work, runs)
            row: dict[str, str | float | bool | None] = {
                "what": what,
                "faces": count,
                "ms": ms,
                "ms_per_face": ms / count,
            }
            if count == _fusion.BATCH and what.startswith("blur"):
                row["paper_ms"] = PAPER_BATCH_MS
            if count == 1 and what == "protect" and light:
                row |= {"target": f"≤ {TARGET_FACE_MS:g} ms", "reached": ms <= TARGET_FACE_MS}
            rows.append(row)
    return rows


def _protect_from_planes(
    model: FusionModel, pictures: Sequence[Picture], keys: Sequence[bytes]
) -> None:
    """Everything that protecting takes, as the paper times it, and the keys' derivation."""
    batch = _fusion.batch_of(pictures, ["blur"] * len(pictures), model.spec)
    side = batch.original[0].shape[-1]
    secrets = face_secrets(keys, model.spec, (side, side))
    model.protect(batch.original, batch.obfuscated, secrets)


def median_ms(work: Callable[[], object], runs: int) -> float:
    """After three runs that do not count."""
    times = []
    for run in range(runs + 3):
        started = time.perf_counter()
        work()
        if run >= 3:
            times.append((time.perf_counter() - started) * 1e3)
    return statistics.median(times)


def measure(subject: Subject, options: argparse.Namespace, report: Report) -> None:
    """All of it."""
    faces = _fusion.held_out_faces(options.faces)
    started = time.monotonic()
    results: dict[str, KindResult] = {}
    for kind in options.obfuscators:
        progress(f"{kind}: {len(faces)} faces")
        results[kind] = measure_kind(subject, faces, kind, options.seed)
    mode = subject.spec.mode
    report.rows += rows_of(results, mode)
    report.more.append(Table("cost", COST_COLUMNS, cost_rows(subject, faces, options.runs)))
    if options.wrong_keys:
        left = options.minutes * 60 - (time.monotonic() - started)
        scores = many_wrong_keys(subject, faces, options.wrong_keys, left, options.seed)
        report.rows += key_rows(scores, mode)
        if scores.judged_again:
            report.notes.append(
                f"each random key was tried on {scores.faces} faces; the {scores.judged_again} "
                f"worst of them again on all {len(faces)}; --minutes gives it more time"
            )
    if options.sheet is not None:
        for kind, result in results.items():
            path = options.sheet.with_name(f"{options.sheet.stem}-{kind}.png")
            contact_sheet(result.sheet, path)
            report.notes.append(f"pictures: {path.name}")
    people = len(set(faces.identities))
    report.notes.append(f"{len(faces)} faces of {people} people, none of them trained on")
    if mode == "obfswr":
        report.notes.append("ObfsWR: a wrong key's picture is compared with the obfuscated one")


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="bauta bench quality", description=__doc__)
    _fusion.add_model_options(parser)
    parser.add_argument("--faces", type=int, default=100, help="%(default)s")
    parser.add_argument(
        "--obfuscators", nargs="+", choices=KINDS, default=list(KINDS), help="all by default"
    )
    parser.add_argument("--wrong-keys", type=int, default=1000, help="random ones; %(default)s")
    parser.add_argument(
        "--minutes", type=float, default=18, help="most that it may take, about; %(default)s"
    )
    parser.add_argument("--runs", type=int, default=20, help="of each timing; %(default)s")
    parser.add_argument("--seed", type=int, default=0, help="of keys; %(default)s")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="pictures, a file per obfuscator")
    parser.add_argument("--quick", action="store_true", help="12 faces, 20 keys: does it run?")
    add_output_options(parser)
    options = parser.parse_args(arguments)
    if options.quick:
        options.faces, options.wrong_keys, options.runs = 12, 20, 3
    if options.faces < 1:
        parser.error("--faces must be at least 1")
    try:
        subject = _fusion.open_subject(options)
        spec = subject.spec
        report = Report(
            "quality",
            COLUMNS,
            {
                "model": subject.name,
                "mode": spec.mode,
                "planes": spec.layout.planes,
                "levels": spec.layout.levels,
                "keyed": spec.keyed,
                "scrambled": spec.scrambled,
                "depth": spec.depth,
                "growth": spec.growth,
                "runtime": subject.model.runtime,
                "threads": options.threads,
                "faces": options.faces,
                "wrong_keys": options.wrong_keys,
                "seed": options.seed,
            },
        )
        measure(subject, options, report)
    except EngineError as error:
        print(f"bauta bench quality: {error}", file=sys.stderr)
        return 1
    report.finish(as_json=options.json, save_as=options.save_as)
    return 0


if __name__ == "__main__":
    sys.exit(main())
