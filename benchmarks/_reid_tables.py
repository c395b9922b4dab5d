"""What `reidentify` prints: a line for each attack, and one for each setting."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ._reid_judge import FAILS, HOLDS, UNCLEAR, Found, PixelComparison, limit_of, worst_of
from ._reid_protect import Setting
from ._reid_restore import Errors
from ._sheets import line_plot
from ._similarity import U8, wilson
from .report import Column, Row, Value, progress

ATTACKS = ("naive", "parrot", "restored")
CLEAR = "clear"
SHEET_FACES = 8

COLUMNS = (
    Column("setting", "setting"),
    Column("attack", "attack"),
    Column("recognizer", "recognizer"),
    Column("probes", "probes"),
    Column("rank1", "region: rank-1 %"),
    Column("interval", "95 %"),
    Column("chance", "chance %"),
    Column("limit", "limit %"),
    Column("verdict", "verdict"),
    Column("match", "match %"),
    Column("match_interval", "95 %"),
    Column("match_chance", "chance %"),
    Column("whole_probes", "probes"),
    Column("whole_rank1", "whole crop: rank-1 %"),
    Column("whole_interval", "95 %"),
)
SUMMARY_COLUMNS = (
    Column("setting", "setting"),
    *(
        column
        for attack in ATTACKS
        for column in (Column(f"{attack}_rank1", f"{attack} %"), Column(f"{attack}_95", "95 %"))
    ),
    *(Column(attack, attack) for attack in ATTACKS),
    Column("verdict", "all"),
    Column("whole_naive", "whole crop: naive %"),
    Column("whole_parrot", "parrot %"),
    Column("pixels_rank1", "pixels %"),
)
SIZE_COLUMNS = (
    Column("size_px", "face px"),
    Column("recognizer", "recognizer"),
    Column("probes", "probes"),
    Column("rank1", "rank-1 %"),
    Column("interval", "95 %"),
    Column("chance", "chance %"),
    Column("match", "match %"),
    Column("match_chance", "chance %"),
    Column("parrot_rank1", "both small: rank-1 %"),
)
LEARNED_COLUMNS = (
    Column("target", "learned for, frames"),
    Column("mean_face", "mean face: levels off"),
    Column("guess", "linear"),
    Column("net", "network"),
)


@dataclass(slots=True)
class Results:
    """All that was found, and pictures of it."""

    rows: list[Row] = field(default_factory=list)
    sizes: list[Row] = field(default_factory=list)
    sheet: list[tuple[str, U8]] = field(default_factory=list, repr=False)

    def add(self, setting: str, attack: str, found: Found, whole: Found | None = None) -> None:
        """One line."""
        row = row_of(setting, attack, found, whole)
        self.rows.append(row)
        beside = "" if whole is None else f", whole crop {100 * whole.rank1:.1f} %"
        progress(
            f"  {setting}, {attack}, {found.recognizer}: rank-1 {100 * found.rank1:.1f} % "
            f"({row['interval']}){beside}"
        )

    def show(self, title: str, pictures: U8) -> None:
        """On the contact sheet."""
        self.sheet.append((title[-18:], pictures[:SHEET_FACES]))


def row_of(setting: str, attack: str, found: Found, whole: Found | None = None) -> dict[str, Value]:
    """`found` in the region alone; `whole`: with what is beside it."""
    limit = limit_of(attack, found.gallery)
    probes = len(found.own_match)
    return {
        "setting": setting,
        "attack": attack,
        "recognizer": found.recognizer,
        "probes": probes,
        "rank1": 100 * found.rank1,
        "interval": percent(found.interval),
        "chance": 100 / found.gallery,
        "limit": 100 * limit,
        "verdict": None if setting == CLEAR else found.verdict(limit),
        "match": 100 * float(found.own_match.mean()),
        "match_interval": percent(wilson(int(found.own_match.sum()), probes)),
        "match_chance": 100 * float(found.other_match.mean()),
        "whole_probes": None if whole is None else len(whole.own_match),
        "whole_rank1": None if whole is None else 100 * whole.rank1,
        "whole_interval": None if whole is None else percent(whole.interval),
    }


def percent(interval: tuple[float, float]) -> str:
    """For people."""
    return "-".join(f"{100 * value:.1f}" for value in interval)


def size_row(size_px: int, found: Sequence[Found]) -> Row:
    """Among clear pictures, and among small ones."""
    clear, small = found
    row = row_of(CLEAR, "naive", clear)
    return {**row, "size_px": size_px, "parrot_rank1": 100 * small.rank1}


def learned_rows(errors: Mapping[str, Errors]) -> list[Row]:
    """How far off a restoration is, by target: see Errors."""
    return [{"target": name, **asdict(each)} for name, each in errors.items()]


def summary(
    settings: Sequence[Setting], rows: Sequence[Row], wanted: Callable[[Setting], Collection[str]]
) -> list[Row]:
    """A line for each setting: the strongest recognizer and the worst verdict, attack by attack.

    Nothing holds before all attacks that are `wanted` were tried. See PixelComparison for why it
    does not judge.
    """
    is_alone = all(row["recognizer"] == PixelComparison.name for row in rows)
    found: list[Row] = []
    for setting in settings:
        line: dict[str, Value] = {"setting": setting.name}
        verdicts = []
        of_setting = [row for row in rows if row["setting"] == setting.name]
        by_pixels = [row for row in of_setting if row["recognizer"] == PixelComparison.name]
        if by_pixels:
            line["pixels_rank1"] = max(_share(row) for row in by_pixels)
        judging = [row for row in of_setting if is_alone or row not in by_pixels]
        for kind in ATTACKS:
            own = [row for row in judging if str(row["attack"]).startswith(kind)]
            if own:
                strongest = max(own, key=_share)
                line[f"{kind}_rank1"] = strongest["rank1"]
                line[f"{kind}_95"] = strongest["interval"]
                line[kind] = worst_of([str(row["verdict"]) for row in own])
                verdicts.append(str(line[kind]))
            whole = [row for row in own if row["whole_rank1"] is not None]
            if whole:
                line[f"whole_{kind}"] = max(float(row["whole_rank1"] or 0) for row in whole)
        worst = worst_of(verdicts) if verdicts else None
        is_complete = all(kind in line for kind in wanted(setting))
        line["verdict"] = worst if is_complete or worst == FAILS else None
        found.append(line)
    return found


def _share(row: Row) -> float:
    return float(row["rank1"] or 0)


def notes_of(lines: Sequence[Row]) -> list[str]:
    """What the summary comes to."""
    found = []
    for verdict in (HOLDS, UNCLEAR):
        names = [str(line["setting"]) for line in lines if line["verdict"] == verdict]
        found.append(f"{verdict}: {', '.join(names) or 'none'}")
    for line in lines:
        if line["setting"] == "solid" and line.get("whole_parrot") is not None:
            found.append(
                "what is beside the region (hair, clothes, place), with plain grey over the face: "
                f"rank-1 {line['whole_naive']:.1f} % naive, {line['whole_parrot']:.1f} % parrot"
            )
    return found


def plot(settings: Sequence[Setting], lines: Sequence[Row], gallery: int, path: Path) -> None:
    """Rank-1 of the strongest recognizer over strength. Raises ImportError without matplotlib."""
    by_name = {line["setting"]: line for line in lines}
    for kind in ATTACKS:
        series: dict[str, list[tuple[float, float]]] = {}
        for setting in settings:
            value = by_name[setting.name].get(f"{kind}_rank1")
            if setting.model is None and setting.strength is not None and value is not None:
                points = series.setdefault(setting.obfuscation, [])
                points.append((setting.strength, float(value)))
        if not series:
            continue
        strengths = [at for points in series.values() for at, _ in points]
        limit = 100 * limit_of(kind, gallery)
        line_plot(
            series,
            path.with_name(f"{path.stem}-{kind}.png"),
            title=f"Recognised after protection: {kind}",
            x_label="strength: smallest detail left, in face widths",
            y_label="rank-1, %",
            marks=("limit", [(min(strengths), limit), (max(strengths), limit)]),
        )
