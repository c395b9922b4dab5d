"""What somebody without the key gets to see: wrong keys, no key, the protected picture itself, and
a jigsaw attack on the scrambled pieces; judged by SSIM and by recognizers, on clipped 8-bit
pictures.

A match is a recognizer's distance to the original below its threshold; intervals are Wilson's.
`chance` is the same output against the next person's original: a recognizer takes some noise for
some faces, and that is no leak. `nearest` is how often the own original is the nearest of all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engines import EngineError
from engines.bands import F32, U8
from engines.fusion import FusionModel, FusionSpec
from engines.train.data import load_faces, stack
from engines.train.obfuscators import PAPER_KINDS, Picture

from . import _fusion
from ._fusion import KINDS, WRONG_KINDS, Batch, Faces, Opener, Subject
from ._jigsaw import FacePrior, Fold, Solver, sorted_magnitudes
from ._recognizers import Recognizer, open_recognizers, rank_one
from ._sheets import contact_sheet
from ._similarity import F64, SsimReference, psnr, rgb_of, wilson
from .report import Column, Report, Row, Table, add_output_options, progress

SSIM_TARGET, SSIM_PERCENTILE = 0.2, 99
MATCH_TARGET = 0.01
SURE_KINDS = ("all bits", "zero key", "no secret")  # there is only one of each
RECOGNIZED_PER_KIND = 3  # wrong keys of each kind that slow recognizers see, for every face
SLOW = ("dlib",)
SHEET_FACES = 8
WORST_SHOWN = 24
ANYBODY = "another person"
ATTACK_FACES = {"prior": 2000, "guess": 2000, "correction": 2000}  # of people not attacked
CORRECTIONS = 1  # a second one gained nothing
ATTACK_KINDS = ("pixelate", "blur", "own-pixelate")


def columns(recognizers: Sequence[Recognizer]) -> list[Column]:
    """Four for each recognizer."""
    found = [
        Column("what", "what"),
        Column("outputs", "outputs"),
        Column("psnr", "PSNR", 2),
        Column("ssim", "SSIM", 3),
        Column("ssim_p99", "99 %", 3),
        Column("ssim_max", "max", 3),
        Column("ssim_chance_p99", "chance", 3),
    ]
    for each in recognizers:
        found += [
            Column(f"{each.name}_match", f"{each.name} %", 2),
            Column(f"{each.name}_interval", "95 %"),
            Column(f"{each.name}_chance", "chance %", 2),
            Column(f"{each.name}_rank1", "nearest %", 1),
        ]
    return [*found, Column("target", "target"), Column("reached", "reached")]


@dataclass(slots=True)
class Tally:
    """What was measured of one kind of output."""

    psnr: list[F64] = field(default_factory=list)
    ssim: list[F64] = field(default_factory=list)
    ssim_chance: list[F64] = field(default_factory=list)  # to somebody else
    distance: dict[str, list[F32]] = field(default_factory=dict)
    chance: dict[str, list[F32]] = field(default_factory=dict)  # distance to somebody else
    rank1: dict[str, list[NDArray[np.bool_]]] = field(default_factory=dict)

    def add(self, other: Tally) -> None:
        """Pool."""
        self.psnr += other.psnr
        self.ssim += other.ssim
        self.ssim_chance += other.ssim_chance
        for name in other.distance:
            self.distance.setdefault(name, []).extend(other.distance[name])
            self.chance.setdefault(name, []).extend(other.chance[name])
            self.rank1.setdefault(name, []).extend(other.rank1[name])


class Judge:
    """Compares pictures of the same faces with their originals."""

    def __init__(
        self, original_rgb: U8, identities: Sequence[str], recognizers: Sequence[Recognizer]
    ) -> None:
        self.recognizers = recognizers
        self._other = np.array([_next_person(identities, i) for i in range(len(identities))])
        self._rgb = original_rgb
        self._ssim = SsimReference.of(original_rgb)
        self._other_ssim = SsimReference.of(original_rgb[self._other])
        self._gallery = {each.name: each.embed(original_rgb) for each in recognizers}

    def judge(self, rgb: U8, *, slow: bool = True) -> Tally:
        """One picture of every face, in their order. Without `slow`, quick recognizers only."""
        tally = Tally([psnr(rgb, self._rgb)], [self._ssim.ssim(rgb)], [self._other_ssim.ssim(rgb)])
        for each in self.recognizers:
            if each.name in SLOW and not slow:
                continue
            found, gallery = each.embed(rgb), self._gallery[each.name]
            tally.distance[each.name] = [each.distance(found, gallery)]
            tally.chance[each.name] = [each.distance(found, gallery[self._other])]
            tally.rank1[each.name] = [rank_one(found, gallery, each)]
        return tally

    def among_each_other(self) -> Tally:
        """Everybody judged as the next person."""
        return self.judge(self._rgb[self._other])

    def row(self, what: str, tally: Tally) -> dict[str, str | float | int | bool | None]:
        """One line of the table."""
        similarity = np.concatenate(tally.ssim)
        row: dict[str, str | float | int | bool | None] = {
            "what": what,
            "outputs": len(similarity),
            "psnr": float(np.concatenate(tally.psnr).mean()),
            "ssim": float(similarity.mean()),
            "ssim_p99": float(np.percentile(similarity, SSIM_PERCENTILE)),
            "ssim_max": float(similarity.max()),
            "ssim_chance_p99": float(
                np.percentile(np.concatenate(tally.ssim_chance), SSIM_PERCENTILE)
            ),
        }
        for each in self.recognizers:
            if each.name not in tally.distance:
                continue
            distance = np.concatenate(tally.distance[each.name])
            hits, count = int((distance < each.threshold).sum()), len(distance)
            low, high = wilson(hits, count)
            row[f"{each.name}_judged"] = count
            row[f"{each.name}_match"] = 100 * hits / count
            row[f"{each.name}_interval"] = f"{100 * low:.1f}-{100 * high:.1f}"
            strangers = np.concatenate(tally.chance[each.name])
            row[f"{each.name}_chance"] = 100 * float((strangers < each.threshold).mean())
            row[f"{each.name}_rank1"] = 100 * float(np.concatenate(tally.rank1[each.name]).mean())
        return row


def _next_person(identities: Sequence[str], index: int) -> int:
    for step in range(1, len(identities)):
        other = (index + step) % len(identities)
        if identities[other] != identities[index]:
            return other
    return index


def wrong_kinds(count: int) -> list[str]:
    """The kinds of `count` wrong keys for a face: one of each that is unique, then by turns."""
    many = [kind for kind in WRONG_KINDS if kind not in SURE_KINDS]
    sure = list(SURE_KINDS[:count])
    return sure + _fusion.kinds_by_turns(many, count - len(sure))


# --- wrong keys ---


@dataclass(slots=True)
class Worst:
    """The outputs most like their originals: those to look at."""

    found: list[tuple[float, int, str, U8]] = field(default_factory=list, repr=False)

    def add(self, similarity: F64, kind: str, rgb: U8) -> None:
        """Keep the worst of these and of all before."""
        for index in np.argsort(-similarity)[:WORST_SHOWN]:
            face = int(index)
            self.found.append((float(similarity[face]), face, kind, rgb[face].copy()))
        self.found = sorted(self.found, key=lambda each: -each[0])[:WORST_SHOWN]


@dataclass(slots=True)
class WrongKeys:
    """Everything that wrong keys opened."""

    tallies: dict[str, Tally] = field(default_factory=dict)
    worst: Worst = field(default_factory=Worst)
    sheet: list[tuple[str, U8]] = field(default_factory=list, repr=False)


def try_wrong_keys(
    subject: Subject, opener: Opener, keys: Sequence[bytes], judge: Judge, count: int, seed: int
) -> WrongKeys:
    """`count` wrong keys for every face."""
    spec = subject.spec
    rng = np.random.default_rng([seed, 2])
    result = WrongKeys()
    seen: dict[str, int] = {}
    for number, kind in enumerate(wrong_kinds(count)):
        rgb = rgb_of(
            spec.layout.to_picture(opener.open(_fusion.wrong_secrets(kind, keys, spec, rng)))
        )
        turn = seen[kind] = seen.get(kind, 0) + 1
        tally = judge.judge(rgb, slow=turn <= RECOGNIZED_PER_KIND)
        result.tallies.setdefault(kind, Tally()).add(tally)
        result.worst.add(tally.ssim[0], kind, rgb)
        if turn == 1:
            result.sheet.append((kind, rgb[:SHEET_FACES]))
        if (number + 1) % 10 == 0:
            progress(f"wrong keys: {number + 1} of {count}")
    return result


def wrong_key_rows(result: WrongKeys, judge: Judge, spec: FusionSpec) -> list[Row]:
    """A row for each kind and one for all, with the target."""
    rows: list[Row] = [judge.row(kind, tally) for kind, tally in result.tallies.items()]
    everything = Tally()
    for tally in result.tallies.values():
        everything.add(tally)
    whole = judge.row("all wrong keys", everything)
    if spec.mode == "randwr":
        whole["target"] = f"SSIM {SSIM_PERCENTILE} % ≤ {SSIM_TARGET:g}, match ≤ {MATCH_TARGET:.0%}"
        matches = [whole[f"{each.name}_match"] for each in judge.recognizers]
        whole["reached"] = bool(
            np.percentile(np.concatenate(everything.ssim), SSIM_PERCENTILE) <= SSIM_TARGET
            and all(isinstance(m, float) and m <= 100 * MATCH_TARGET for m in matches)
        )
    return [*rows, whole]


# --- the protected picture itself ---


def protected_rows(
    subject: Subject, faces: Faces, kinds: Sequence[str], judge: Judge, seed: int
) -> list[Row]:
    """Per obfuscator: does the protected picture say more than the plain obfuscation?"""
    rows: list[Row] = []
    plain_all, sent_all = Tally(), Tally()
    for kind in kinds:
        progress(f"{kind}: protected against obfuscated")
        batch = _fusion.batch_of(faces.pictures, [kind] * len(faces), subject.spec)
        keys = _fusion.random_keys(len(faces), np.random.default_rng([seed, KINDS.index(kind)]))
        plain = judge.judge(rgb_of(batch.plain))
        sent = judge.judge(rgb_of(protected(subject, batch, keys)))
        rows += _compared(f"{kind}, obfuscated", f"{kind}, protected", plain, sent, judge)
        plain_all.add(plain)
        sent_all.add(sent)
    return rows + _compared("all, obfuscated", "all, protected", plain_all, sent_all, judge)


def _compared(
    plain_name: str, sent_name: str, plain: Tally, sent: Tally, judge: Judge
) -> list[Row]:
    plain_row, sent_row = judge.row(plain_name, plain), judge.row(sent_name, sent)
    sent_row["target"] = "match ≤ obfuscated"
    sent_row["reached"] = not any(
        _hits(sent, each) > _hits(plain, each) for each in judge.recognizers
    )
    return [plain_row, sent_row]


def _hits(tally: Tally, recognizer: Recognizer) -> int:
    return int((np.concatenate(tally.distance[recognizer.name]) < recognizer.threshold).sum())


def protected(subject: Subject, batch: Batch, keys: Sequence[bytes]) -> tuple[U8, ...]:
    """As it is sent."""
    secrets = _fusion.secrets_of(keys, subject.spec)
    return subject.spec.layout.to_picture(_fusion.protect_all(subject.model, batch, secrets))


# --- the jigsaw ---


def attack_rows(
    subject: Subject,
    faces: Faces,
    kinds: Sequence[str],
    recognizers: Sequence[Recognizer],
    options: argparse.Namespace,
) -> Iterator[tuple[list[Row], list[tuple[str, U8]]]]:
    """For each obfuscator: what is public, what can be guessed of it, what the pieces add."""
    spec = subject.spec
    layout = spec.layout
    judge = Judge(rgb_of(stack(faces.pictures, layout.planes)), faces.identities, recognizers)
    others = load_faces(_fusion.faces_file(), held_out=False)
    rng = np.random.default_rng([options.seed, 3])
    shares = {
        name: max(40, count // options.attack_divisor) for name, count in ATTACK_FACES.items()
    }
    order = [int(index) for index in rng.permutation(len(others))]
    prior_faces, order = order[: shares["prior"]], order[shares["prior"] :]
    known = [others.picture(index) for index in prior_faces]
    prior = FacePrior.fit(layout.to_bands(stack(known, layout.planes)))
    for kind in kinds:
        progress(f"{kind}: learning to attack")
        folds = []
        left = order
        for count in [shares["guess"]] + [shares["correction"]] * CORRECTIONS:
            chosen, left = left[:count], left[count:]
            folds.append(fold_of(subject, [others.picture(i) for i in chosen], kind, rng))
        batch = _fusion.batch_of(faces.pictures, [kind] * len(faces), spec)
        hidden = _fusion.payload_of(subject.model, batch.original, batch.obfuscated)
        whole = np.allclose(hidden, layout.to_bands(batch.original), atol=1e-3)
        solver = Solver.prepare(prior, folds, difference=not whole)
        attacked = fold_of(subject, faces.pictures, kind, rng)
        sent, pieces = attacked.public, attacked.pieces
        guess, placed = solver.solve(sent, pieces)
        shown = {
            f"{kind}, protected": sent,
            f"{kind}, guess without pieces": solver.guess(sent),
            f"{kind}, guess with pieces": guess,
            f"{kind}, pieces placed": placed,
        }
        rows: list[Row] = []
        sheet: list[tuple[str, U8]] = [("original", rgb_of(batch.original)[:SHEET_FACES])]
        for what, bands in shown.items():
            rgb = rgb_of(layout.to_picture(bands))
            rows.append(judge.row(what, judge.judge(rgb)))
            sheet.append((what.partition(", ")[2][:18], rgb[:SHEET_FACES]))
        yield rows, sheet


def fold_of(
    subject: Subject, pictures: Sequence[Picture], kind: str, rng: np.random.Generator
) -> Fold:
    """Faces protected under fresh keys, and what the network gives back without the order.

    A keyed model gives that only to whoever has the map: the attacker is given it.
    """
    model, layout = subject.model, subject.spec.layout
    found: list[list[F32]] = [[], [], []]
    for which in _fusion.in_batches(len(pictures)):
        some = pictures[which]
        batch = _fusion.batch_of(some, [kind] * len(some), subject.spec)
        keys = _fusion.random_keys(len(some), rng)
        sent = layout.to_bands(protected(subject, batch, keys))
        secrets = _fusion.secrets_of(keys, subject.spec)(slice(0, len(some)))
        parts = layout.to_bands(batch.original), sent, _fusion.pieces_of(model, sent, secrets)
        for group, bands in zip(found, parts, strict=True):
            group.append(bands)
    return Fold(*(np.concatenate(group) for group in found))


def fingerprint_rows(model: FusionModel, kinds: Sequence[str], seed: int) -> list[Row]:
    """Scrambling hides places and signs, not which magnitudes there are: whom do these betray?

    Of everybody who has two pictures, each is sought among the others': by the pieces' magnitudes,
    and, as the measure of what is public anyway, by the obfuscated picture.
    """
    held_out = load_faces(_fusion.faces_file(), held_out=True)
    by_person: dict[str, list[int]] = {}
    for index, identity in enumerate(held_out.identities):
        by_person.setdefault(identity, []).append(index)
    rng = np.random.default_rng([seed, 4])
    chosen = [rng.permutation(each)[:2] for each in by_person.values() if len(each) > 1]
    sides = [[int(pair[side]) for pair in chosen] for side in (0, 1)]
    rows: list[Row] = []
    for kind in kinds:
        pieces, public = [], []
        for side in sides:
            pictures = [held_out.picture(index) for index in side]
            batch = _fusion.batch_of(pictures, [kind] * len(side), model.spec)
            hidden = _fusion.payload_of(model, batch.original, batch.obfuscated)
            pieces.append(sorted_magnitudes(hidden))
            public.append(model.spec.layout.to_bands(batch.obfuscated))
        rows += [
            {
                "obfuscator": kind,
                "sought by": name,
                "people": len(chosen),
                "found": 100 * (_nearest_is_own(*both) + _nearest_is_own(*both[::-1])) / 2,
                "chance": 100 / len(chosen),
            }
            for name, both in (("pieces", pieces), ("obfuscated picture", public))
        ]
    return rows


def _nearest_is_own(probes: F32, gallery: F32) -> float:
    distance = np.stack(
        [np.abs(gallery - probe).reshape(len(gallery), -1).sum(axis=1) for probe in probes]
    )
    return float((distance.argmin(axis=1) == np.arange(len(probes))).mean())


FINGERPRINT_COLUMNS = (
    Column("obfuscator", "obfuscator"),
    Column("sought by", "sought by"),
    Column("people", "people"),
    Column("found", "nearest %"),
    Column("chance", "chance %"),
)


def measure(
    subject: Subject,
    options: argparse.Namespace,
    report: Report,
    recognizers: Sequence[Recognizer],
) -> None:
    """All of it."""
    spec, layout = subject.spec, subject.spec.layout
    faces = _fusion.held_out_faces(options.faces)
    kinds = _fusion.kinds_by_turns(options.obfuscators, len(faces))
    batch = _fusion.batch_of(faces.pictures, kinds, spec)
    keys = _fusion.random_keys(len(faces), np.random.default_rng([options.seed, 1]))
    sent = protected(subject, batch, keys)
    opener = Opener(subject.model, layout.to_bands(sent))
    judge = Judge(rgb_of(batch.original), faces.identities, recognizers)

    report.rows.append(judge.row(ANYBODY, judge.among_each_other()))
    right = rgb_of(layout.to_picture(opener.open(_fusion.secrets_of(keys, spec))))
    report.rows.append(judge.row("right key", judge.judge(right)))
    wrong = try_wrong_keys(subject, opener, keys, judge, options.wrong_keys, options.seed)
    report.rows += wrong_key_rows(wrong, judge, spec)
    report.rows += protected_rows(subject, faces, options.obfuscators, judge, options.seed)
    seen = [each.name for each in recognizers if each.name in SLOW]
    if seen:
        report.notes.append(
            f"{', '.join(seen)} saw {RECOGNIZED_PER_KIND} wrong keys of each kind for every face, "
            "the others all of them"
        )
    if options.sheet is not None:
        head = [
            ("original", rgb_of(batch.original)[:SHEET_FACES]),
            ("obfuscated", rgb_of(batch.obfuscated)[:SHEET_FACES]),
            ("protected", rgb_of(sent)[:SHEET_FACES]),
            ("right key", right[:SHEET_FACES]),
        ]
        save_sheet([*head, *wrong.sheet], options.sheet, "keys", report)
        worst = wrong.worst.found
        originals = rgb_of(batch.original)
        pairs: list[tuple[str, U8]] = []
        for start in range(0, len(worst), SHEET_FACES):
            some = worst[start : start + SHEET_FACES]
            pairs.append(("original", np.stack([originals[face] for _, face, _, _ in some])))
            pairs.append((f"worst {start + 1} on", np.stack([rgb for _, _, _, rgb in some])))
        save_sheet(pairs, options.sheet, "worst", report)
    if not options.no_attack:
        measure_attack(subject, options, report, recognizers)


def measure_attack(
    subject: Subject,
    options: argparse.Namespace,
    report: Report,
    recognizers: Sequence[Recognizer],
) -> None:
    """The jigsaw, where there is one to solve."""
    if not subject.spec.scrambled:
        report.notes.append("the model does not scramble: there is no jigsaw to solve")
        return
    table = Table("jigsaw", columns(recognizers))
    faces = _fusion.held_out_faces(options.attack_faces)
    attacked = attack_rows(subject, faces, options.attack_obfuscators, recognizers, options)
    for kind, (rows, sheet) in zip(options.attack_obfuscators, attacked, strict=True):
        table.rows.extend(rows)
        if options.sheet is not None:
            save_sheet(sheet, options.sheet, f"jigsaw-{kind}", report)
    report.more.append(table)
    rows = fingerprint_rows(subject.model, options.attack_obfuscators, options.seed)
    report.more.append(Table("fingerprint", FINGERPRINT_COLUMNS, rows))
    if subject.spec.keyed:
        report.notes.append("jigsaw: the attacker was given the secret map, not the order")


def save_sheet(columns: Sequence[tuple[str, U8]], base: Path, suffix: str, report: Report) -> None:
    """Beside the others, and named in the notes."""
    path = base.with_name(f"{base.stem}-{suffix}.png")
    contact_sheet(columns, path)
    report.notes.append(f"pictures: {path.name}")


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="bauta bench secrecy", description=__doc__)
    _fusion.add_model_options(parser)
    parser.add_argument("--faces", type=int, default=200, help="%(default)s")
    parser.add_argument("--wrong-keys", type=int, default=100, help="for each face; %(default)s")
    parser.add_argument(
        "--obfuscators",
        nargs="+",
        choices=KINDS,
        default=[*PAPER_KINDS, "own-pixelate"],
        help="%(default)s",
    )
    parser.add_argument("--attack-faces", type=int, default=100, help="%(default)s")
    parser.add_argument(
        "--attack-obfuscators",
        nargs="+",
        choices=KINDS,
        default=list(ATTACK_KINDS),
        help="%(default)s",
    )
    parser.add_argument("--no-attack", action="store_true", help="wrong keys only")
    parser.add_argument("--seed", type=int, default=0, help="of keys; %(default)s")
    parser.add_argument("--sheet", type=Path, metavar="PNG", help="pictures, several files")
    parser.add_argument("--quick", action="store_true", help="few of everything: does it run?")
    add_output_options(parser)
    options = parser.parse_args(arguments)
    options.attack_divisor = 1
    if options.quick:
        options.faces, options.wrong_keys = 10, 8
        options.attack_faces, options.attack_divisor = 6, 25
        options.attack_obfuscators = options.attack_obfuscators[:1]
    try:
        recognizers, missing = open_recognizers(options.threads)
        subject = _fusion.open_subject(options)
        spec = subject.spec
        report = Report(
            "secrecy",
            columns(recognizers),
            {
                "model": subject.name,
                "mode": spec.mode,
                "keyed": spec.keyed,
                "scrambled": spec.scrambled,
                "runtime": subject.model.runtime,
                "faces": options.faces,
                "wrong_keys": options.wrong_keys,
                "thresholds": {each.name: each.threshold for each in recognizers},
                "seed": options.seed,
            },
            notes=missing,
        )
        measure(subject, options, report, recognizers)
    except EngineError as error:
        print(f"bauta bench secrecy: {error}", file=sys.stderr)
        return 1
    report.finish(as_json=options.json, save_as=options.save_as)
    return 0


if __name__ == "__main__":
    sys.exit(main())
