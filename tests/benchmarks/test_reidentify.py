"""Re-identification on made people: what is hidden, how it is judged, and that restoring learns."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import reidentify
from benchmarks._reid_attacks import Attacker, View, decides, targets_of
from benchmarks._reid_judge import (
    FAILS,
    HOLDS,
    UNCLEAR,
    Found,
    PixelComparison,
    compared,
    limit_of,
    worst_of,
)
from benchmarks._reid_people import FACE_SHARE, Lineup, People, made_people, shrunk
from benchmarks._reid_protect import (
    NEUTRAL,
    STRENGTHS,
    Protector,
    Setting,
    all_settings,
    region_alone,
)
from benchmarks._reid_restore import Lesson, Target, learn
from benchmarks._reid_tables import ATTACKS, Results, notes_of, row_of, summary
from pipeline.protect.obfuscate import GREY

MIDDLE = (slice(40, 90), slice(30, 70))  # of the face, in a crop


@pytest.fixture(scope="module")
def people() -> People:
    return made_people(6, 40, seed=0)


def found(hits: int, of: int) -> Found:
    own = np.arange(of) < hits
    return Found("one", 200, own, own, np.zeros(of, bool))


# --- judging ---


def test_a_share_holds_fails_or_is_unclear() -> None:
    limit = limit_of("parrot", 200)
    assert limit == pytest.approx(0.015)
    assert limit_of("restored 8 frames", 200) == 0.05
    assert found(3, 266).verdict(limit) == HOLDS
    assert found(6, 266).verdict(limit) == UNCLEAR  # 2.3 %, 1.0 to 4.8
    assert found(30, 266).verdict(limit) == FAILS
    assert worst_of([HOLDS, FAILS, UNCLEAR]) == FAILS


def lineup_of(probes: int, owner: list[int], each: int) -> Lineup:
    blank = np.zeros((1, 112, 112, 3), np.uint8)
    known = np.repeat(blank, max(each, max(owner) // each * each + each), axis=0)
    return Lineup(known, np.repeat(blank, probes, axis=0), np.array(owner), each)


def test_the_nearest_must_be_the_own_and_nearer_than_anybody_else() -> None:
    gallery = np.eye(4, dtype=np.float32)
    probes = np.array([gallery[0], gallery[2], gallery.sum(axis=0) / 2], np.float32)
    result = compared(probes, gallery, lineup_of(3, [0, 1, 2], 4), PixelComparison())
    # found; taken for another; as near to everybody, as two equal masks are
    assert result.own_nearest.tolist() == [True, False, False]
    assert result.own_match.tolist() == [True, False, False]
    assert result.other_match.tolist() == [False, True, False]


def test_nobody_is_looked_for_in_another_gallery() -> None:
    known = np.eye(4, dtype=np.float32)
    # as like the first of the first gallery as anything can be, and a little like his own picture
    probe = np.array([known[0] + 0.1 * known[3]], np.float32)
    two = compared(probe, known, lineup_of(1, [3], 2), PixelComparison())
    one = compared(probe, known, lineup_of(1, [3], 4), PixelComparison())
    assert (two.gallery, two.own_nearest.tolist()) == (2, [True])
    assert (one.gallery, one.own_nearest.tolist()) == (4, [False])


def test_a_part_of_a_lineup_keeps_whole_galleries_and_first_probes() -> None:
    lineup = lineup_of(5, [0, 1, 2, 0, 3], 2)
    assert lineup.galleries == 2
    part = lineup.part(1, probes_of_one=1)
    assert (part.galleries, part.owner.tolist(), len(part.probes)) == (1, [0, 1], 2)


@pytest.mark.parametrize("name", ["solid", "mask"])
def test_the_region_alone_tells_nothing_of_a_solid_face(people: People, name: str) -> None:
    (pixels,) = recognizers = [PixelComparison()]
    view = View.of(people.everybody, recognizers, alone=True)
    (clear,) = view.find_clear()[pixels.name]
    assert clear.rank1 > 0.7  # the control
    protector = Protector(Setting(name), crop_px=112, seed=0)
    lineup = people.everybody
    hidden = replace(
        lineup, probes=protector.hide(lineup.probes), known=protector.hide(lineup.known)
    )
    naive, parrot = view.find(hidden)[pixels.name]
    assert parrot.rank1 == 0
    assert naive.rank1 <= 1 / 6  # one picture for all is nearest to one of them


def test_a_setting_is_as_strong_as_its_weakest_row() -> None:
    setting = Setting("blur", 0.25)
    rows = [
        row_of(setting.name, "naive", found(0, 266), found(9, 266)),
        row_of(setting.name, "restored", found(2, 266)),
        row_of(setting.name, "restored 8 frames", found(60, 266)),
        row_of(setting.name, "naive", Found("pixels", 200, *[np.ones(266, bool)] * 3)),
    ]
    (line,) = summary([setting], rows, lambda _: ATTACKS[:1])
    assert (line["naive"], line["restored"], line["verdict"]) == (HOLDS, FAILS, FAILS)
    assert line["whole_naive"] == pytest.approx(900 / 266)
    assert line["pixels_rank1"] == 100  # shown, not judged
    assert notes_of([{**line, "verdict": HOLDS}])[0] == "holds: blur 0.25"
    (alone,) = summary([setting], rows[-1:], lambda _: ATTACKS[:1])
    assert alone["naive"] == FAILS  # unless there is nothing else
    (partly,) = summary([setting], rows[:1], lambda _: ATTACKS)
    assert (partly["naive"], partly["verdict"]) == (HOLDS, None)  # two attacks are missing


# --- hiding ---


def test_solid_leaves_nothing_of_the_face_and_something_beside_it(people: People) -> None:
    hidden = Protector(Setting("solid"), crop_px=112, seed=0).hide(people.everybody.probes)
    spread = hidden[(slice(None), *MIDDLE)].reshape(-1, 3).std(axis=0)
    assert spread.max() < 1
    luma = round((GREY[0] - 16) * 255 / 219)
    assert abs(int(hidden[0, 60, 50, 1]) - luma) <= 2
    assert np.abs(hidden[:, 2:8, -6:].astype(int) - people.everybody.probes[:, 2:8, -6:]).mean() < 6


@pytest.mark.parametrize("crop_px", [32, 64, 112])
def test_solid_alone_is_one_picture_for_all(people: People, crop_px: int) -> None:
    hidden = region_alone(
        Protector(Setting("solid"), crop_px=crop_px, seed=0).hide(people.everybody.probes)
    )
    assert np.array_equal(hidden, np.broadcast_to(hidden[0], hidden.shape))
    moving = Protector(Setting("solid"), crop_px=crop_px, seed=0)
    first, second = (moving.hide_in_motion(people.everybody.probes[i : i + 1], 2) for i in (0, 1))
    assert np.isin(first, [NEUTRAL, *np.unique(hidden)]).mean() > 0.9
    assert first.std() < 20 and second.std() < 20


def test_the_region_alone_keeps_the_face(people: People) -> None:
    shown = region_alone(people.everybody.probes)
    assert np.array_equal(shown[:, 20:, 15:85], people.everybody.probes[:, 20:, 15:85])
    assert (shown[:, :6, -6:] == NEUTRAL).all()
    assert 0.7 < (shown[0] == people.everybody.probes[0]).all(axis=-1).mean() < 0.95


def test_pixelation_is_coarser_at_more_strength(people: People) -> None:
    def detail(strength: float) -> float:
        hidden = Protector(Setting("pixelate", strength), crop_px=112, seed=0).hide(
            people.everybody.probes
        )
        return float(np.abs(np.diff(hidden[(slice(None), *MIDDLE)].astype(int), axis=2)).mean())

    assert detail(0.1) > detail(0.5)


def test_moving_faces_repeat_by_the_seed_and_differ_from_still_ones(people: People) -> None:
    setting = Setting("pixelate", 0.25)
    first, again = (
        Protector(setting, crop_px=112, seed=3).hide_in_motion(people.everybody.probes[:2], 3)
        for _ in range(2)
    )
    assert np.array_equal(first, again)
    assert not np.array_equal(
        first, Protector(setting, crop_px=112, seed=3).hide(people.everybody.probes[:2])
    )


@pytest.mark.parametrize("crop_px", [32, 64, 112])
def test_a_fused_face_follows_its_obfuscation(people: People, crop_px: int) -> None:
    one = people.everybody.probes[:1]
    plain = Protector(Setting("pixelate", 0.25), crop_px=crop_px, seed=0).hide(one).astype(float)
    fused = Protector(Setting("pixelate", 0.25, "proface-s-video"), crop_px=crop_px, seed=0).hide(
        one
    )
    off = np.abs(fused - plain)[(slice(None), *MIDDLE)].mean()
    assert 0.1 < off < 20


def test_strength_says_nothing_of_a_mask() -> None:
    chosen = all_settings(("pixelate", "mask"), STRENGTHS, ("proface-s-video",))
    keyed = ["proface-s-video: pixelate 0.25", "proface-s-video: mask"]
    assert [each.name for each in chosen[-3:]] == ["mask", *keyed]
    assert len(chosen) == len(STRENGTHS) + 3
    decisive = ["pixelate 0.25", "pixelate 1", "mask", *keyed]
    assert [each.name for each in chosen if decides(each)] == decisive


def test_an_attack_is_learned_for_whatever_is_made_of_the_face() -> None:
    chosen = all_settings(("pixelate", "noise", "mask"), STRENGTHS, ("proface-s-video",))
    learned = [each.name for each in targets_of(chosen, 8)]
    assert learned == [
        "pixelate 0.1 x1",
        "pixelate 0.25 x1",
        "noise 0.25 x1",
        "proface-s-video: pixelate 0.25 x1",
        "proface-s-video: noise 0.25 x1",
        "proface-s-video: mask x1",  # not the mask alone: nothing of the face is in it
        "pixelate 0.1 x8",
        "pixelate 0.25 x8",
    ]


def test_a_size_is_that_of_the_face_and_not_of_the_crop(people: People) -> None:
    size_px = FACE_SHARE * 112
    assert size_px**2 == pytest.approx(78 * 96)
    same = shrunk(people.everybody.probes, size_px).astype(int)
    assert np.abs(same - people.everybody.probes).max() == 0
    assert (
        np.abs(shrunk(people.everybody.probes, 8).astype(int) - people.everybody.probes).mean() > 3
    )


class Slow(PixelComparison):
    name = "dlib"


def test_a_slow_recognizer_sees_what_decides_and_only_regions(people: People) -> None:
    options = reidentify.parsed(["--attacks", "naive", "parrot", "--sizes", "12"])
    results = Results()
    attacker = Attacker(people, [Slow()], options, results, is_slow=True)
    settings = [Setting("pixelate", 0.25), Setting("blur", 0.25), Setting("solid")]
    stages = list(attacker.stages(settings, lambda: pytest.fail("nothing is restored")))
    assert [name for name, _ in stages] == ["clear", "pixelate 0.25", "solid"]
    for _, attack in stages:
        attack()
    seen = [(row["setting"], row["attack"], row["whole_rank1"]) for row in results.rows]
    assert seen == [
        ("clear", "naive", None),
        ("pixelate 0.25", "naive", None),
        ("pixelate 0.25", "parrot", None),
        ("solid", "naive", None),
        ("solid", "parrot", None),
    ]
    assert not results.sheet  # the fast ones have shown it


# --- restoring ---


def test_restoring_learns_and_is_kept(
    people: People, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torch")
    monkeypatch.setenv("BAUTA_BENCH_CACHE", str(tmp_path))
    target = Target(Setting("blur", 0.25))
    lesson = Lesson(crop_px=112, steps=3, seed=0)
    recognizer = PixelComparison()
    restorer, note = learn(people.others, [target], lesson, [recognizer])
    assert note is None and restorer.has_net
    errors = restorer.errors[target.name]
    assert errors.net is not None and max(errors.guess, errors.net) < errors.mean_face
    seen = target.seen(people.everybody.probes, crop_px=112, seed=0)

    def error(pictures: NDArray[Any]) -> float:
        return float(np.abs(pictures.astype(float) - truth).mean())

    truth = region_alone(people.everybody.probes)
    anybody = np.broadcast_to(region_alone(people.others).mean(axis=0), seen.shape)
    assert error(restorer.guess(seen, target)) < 0.95 * error(anybody)
    restored = restorer.restore(seen, target)
    assert error(restored) < 0.95 * error(anybody)
    vectors = restorer.vectors(seen, target, recognizer)
    view = View.of(people.everybody, [recognizer], alone=True)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(1, abs=1e-5)
    assert view.judge.find_vectors(vectors, recognizer).rank1 > 1 / 6  # a mild blur
    again, _ = learn(people.others, [target], lesson, [recognizer])
    assert len(list(tmp_path.iterdir())) == 1
    assert np.array_equal(again.restore(seen, target), restored)
    assert np.array_equal(again.vectors(seen, target, recognizer), vectors)
    assert again.errors == restorer.errors


def test_it_runs_without_test_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("BAUTA_TESTDATA", str(tmp_path))
    monkeypatch.setenv("BAUTA_BENCH_CACHE", str(tmp_path))
    monkeypatch.setattr("benchmarks.report._HERE", tmp_path)
    few = "--obfuscations blur solid --strengths 0.25 --models --sizes 12 --frames 1"
    learned = "--recognizers pixels --others 30 --steps 2"
    assert reidentify.main([*few.split(), *learned.split()]) == 0
    printed = capsys.readouterr().out
    assert "24 made people" in printed and "blur 0.25" in printed
    assert reidentify.main([*few.split(), *learned.split(), "--minutes", "0"]) == 0
    assert "no time for the last" in capsys.readouterr().out
