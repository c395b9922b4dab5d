"""The rows of what `leaks` prints; benchmarks/README.md says what the columns mean."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ._leak_judge import (
    BANDS,
    HEADLINE_PX,
    THRESHOLDS_PX,
    Outcome,
    by_person,
    early_leaks,
    false_percent,
    longest_leak,
    never_found,
    tally,
)
from .report import Column, Row, Value

COLUMNS = (
    Column("contestant", "contestant"),
    Column("family", "family"),
    Column("condition", "condition"),
    Column("clips", "clips"),
    Column("frames", "frames"),
    Column("faces_20", ">= 20 px"),
    Column("leaked_12", "leaked >= 12 %", 2),
    Column("leaked_20", ">= 20 %", 2),
    Column("leaked_32", ">= 32 %", 2),
    Column("bare_12", "bare >= 12 %", 2),
    Column("bare_20", ">= 20 %", 2),
    Column("bare_32", ">= 32 %", 2),
    Column("early", "early"),
    Column("never", "never found"),
    Column("visits", "of visits"),
    Column("longest", "longest"),
    Column("false", "false cover %", 2),
    Column("strict", "strict %", 2),
    Column("curtains", "curtains"),
)
BAND_COLUMNS = (
    Column("contestant", "contestant"),
    Column("family", "family"),
    Column("band", "size px"),
    Column("faces", "faces"),
    Column("leaked", "leaked"),
    Column("leaked_percent", "leaked %", 2),
    Column("bare", "bare"),
    Column("bare_percent", "bare %", 2),
)
DEFACE_COLUMNS = (
    Column("contestant", "contestant"),
    Column("family", "family"),
    Column("condition", "condition"),
    Column("least", "size px >="),
    Column("faces", "faces"),
    Column("leaked", "leaked"),
    Column("leaked_percent", "leaked %", 2),
    Column("deface", "deface"),
    Column("deface_percent", "deface %", 2),
    Column("ratio", "deface / this", 1),
    Column("false", "false cover %", 2),
    Column("deface_false", "deface %", 2),
)
PEOPLE_COLUMNS = (
    Column("contestant", "contestant"),
    Column("clip", "clip"),
    Column("person", "person"),
    Column("size", "size px", 0),
    Column("faces", "frames"),
    Column("leaked", "leaked"),
    Column("bare", "bare"),
    Column("found", "found"),
    Column("first", "first leak"),
)
TARGET_COLUMNS = (
    Column("figure", "figure"),
    Column("value", "value", 3),
    Column("target", "target"),
    Column("reached", "reached"),
)
ALL = "all"
MOST_PEOPLE = 40

Groups = list[tuple[str, str, list[Outcome]]]


def groups_of(outcomes: Sequence[Outcome]) -> Groups:
    """(family, condition, outcomes): each condition, each family, and all of it."""
    groups: Groups = []
    for family in dict.fromkeys(each.family for each in outcomes):
        mine = [each for each in outcomes if each.family == family]
        conditions = list(dict.fromkeys(each.condition for each in mine))
        if len(conditions) > 1:
            for condition in conditions:
                chosen = [each for each in mine if each.condition == condition]
                groups.append((family, condition, chosen))
        groups.append((family, ALL, mine))
    if len({each.family for each in outcomes}) > 1:
        groups.append((ALL, ALL, list(outcomes)))
    return groups


def main_rows(results: Mapping[str, Sequence[Outcome]]) -> list[Row]:
    """A row for each contestant and group. deface saw single frames: no visits, no runs."""
    rows: list[Row] = []
    for name, outcomes in results.items():
        sees_all = name != "deface"
        for family, condition, chosen in groups_of(outcomes):
            tallies = {least: tally(chosen, least) for least in THRESHOLDS_PX}
            missed, visits = never_found(chosen)
            rows.append(
                {
                    "contestant": name,
                    "family": family,
                    "condition": condition,
                    "clips": len(chosen),
                    "frames": sum(len(each.covers) for each in chosen),
                    **{f"faces_{least}": each.faces for least, each in tallies.items()},
                    **{f"leaked_{least}": each.leaked_percent for least, each in tallies.items()},
                    **{f"bare_{least}": each.bare_percent for least, each in tallies.items()},
                    "early": early_leaks(chosen) if sees_all else None,
                    "early_12": early_leaks(chosen, 12) if sees_all else None,
                    "never": missed if sees_all else None,
                    "visits": visits if sees_all else None,
                    "longest": longest_leak(chosen) if sees_all else None,
                    "false": false_percent(chosen),
                    "strict": false_percent(chosen, strict=True),
                    "curtains": sum(len(each.curtains) for each in chosen),
                }
            )
    return rows


def band_rows(results: Mapping[str, Sequence[Outcome]]) -> list[Row]:
    """The families by the sizes of faces; a band without faces has no row."""
    rows: list[Row] = []
    for name, outcomes in results.items():
        for family, condition, chosen in groups_of(outcomes):
            if condition != ALL:
                continue
            for band, least, below in BANDS:
                counted = tally(chosen, least, below)
                if counted.faces:
                    rows.append(
                        {
                            "contestant": name,
                            "family": family,
                            "band": band,
                            "faces": counted.faces,
                            "leaked": counted.leaked,
                            "leaked_percent": counted.leaked_percent,
                            "bare": counted.bare,
                            "bare_percent": counted.bare_percent,
                        }
                    )
    return rows


def on_the_frames_of(outcomes: Sequence[Outcome], other: Sequence[Outcome]) -> list[Outcome]:
    """Of each clip the frames that the other contestant was run on."""
    looked = {each.clip: each.covers.keys() for each in other}
    return [each.only(looked[each.clip]) for each in outcomes if each.clip in looked]


def deface_rows(results: Mapping[str, Sequence[Outcome]]) -> list[Row]:
    """Each contestant and deface on the same frames."""
    theirs = results["deface"]
    rows: list[Row] = []
    for name, outcomes in results.items():
        if name == "deface":
            continue
        their_groups = groups_of(theirs)
        for (family, condition, mine), (_, _, other) in zip(
            groups_of(on_the_frames_of(outcomes, theirs)), their_groups, strict=True
        ):
            for least in THRESHOLDS_PX if condition == ALL else (HEADLINE_PX,):
                own, its = tally(mine, least), tally(other, least)
                if own.faces:
                    rows.append(
                        {
                            "contestant": name,
                            "family": family,
                            "condition": condition,
                            "least": least,
                            "faces": own.faces,
                            "leaked": own.leaked,
                            "leaked_percent": own.leaked_percent,
                            "deface": its.leaked,
                            "deface_percent": its.leaked_percent,
                            "ratio": times_fewer(own.leaked, its.leaked),
                            "false": false_percent(mine),
                            "deface_false": false_percent(other),
                        }
                    )
    return rows


def times_fewer(own: int, other: int) -> float | None:
    """None: neither leaks. One leak is assumed where there is none of its own: a lower bound."""
    return other / max(own, 1) if own or other else None


def people_rows(results: Mapping[str, Sequence[Outcome]]) -> list[Row]:
    """Who leaks most often, at HEADLINE_PX and above."""
    rows: list[dict[str, Value]] = []
    for name, outcomes in results.items():
        found: list[dict[str, Value]] = []
        for outcome in outcomes:
            for person, faces in by_person(outcome).items():
                counted = [each for each in faces if each.counts and each.size_px >= HEADLINE_PX]
                leaked = [each for each in counted if each.is_leaked]
                if leaked:
                    found.append(
                        {
                            "contestant": name,
                            "clip": outcome.clip,
                            "person": person,
                            "size": sum(each.size_px for each in leaked) / len(leaked),
                            "faces": len(counted),
                            "leaked": len(leaked),
                            "bare": sum(each.is_bare for each in leaked),
                            "found": any(each.is_found for each in faces),
                            "first": leaked[0].index,
                        }
                    )
        found.sort(key=lambda row: (-int(row["leaked"] or 0), -float(row["size"] or 0)))
        rows += found[:MOST_PEOPLE]
    return list(rows)


def target_rows(results: Mapping[str, Sequence[Outcome]], name: str) -> list[Row]:
    """The figures that the defaults are held to."""
    outcomes = results[name]
    leaked = tally(outcomes).leaked_percent
    early = early_leaks(outcomes)
    false = false_percent(outcomes)
    rows: list[Row] = [
        _target(f"leaked >= {HEADLINE_PX} px, %", leaked, "<= 0.5, then 0.1", 0.5),
        _target("early leaks", early, "0", 0),
        _target("false cover, %", false, "<= 3", 3),
    ]
    if "deface" in results:
        same = tally(on_the_frames_of(outcomes, results["deface"])).leaked
        ratio = times_fewer(same, tally(results["deface"]).leaked)
        rows.append(
            {
                "figure": "fewer leaks than deface, times",
                "value": ratio,
                "target": ">= 10, then 20",
                "reached": None if ratio is None else ratio >= 10,
            }
        )
    return rows


def _target(figure: str, value: float | None, target: str, most: float) -> Row:
    return {
        "figure": figure,
        "value": value,
        "target": target,
        "reached": None if value is None else value <= most,
    }
