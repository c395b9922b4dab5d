"""Targets, tallies and shares of time, without a network."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import codec, quality, secrecy
from benchmarks._fusion import WRONG_KINDS
from benchmarks._similarity import F32, U8
from benchmarks.quality import PAPER, PROTECTED, RIGHT, WRONG, Figure, KeyScores


def figure(psnr: float, ssim: float) -> Figure:
    return Figure(psnr, ssim, psnr, ssim, psnr, ssim)


def test_the_papers_means_are_those_of_the_issue() -> None:
    """43.4 and 45.7 dB RandWR, 38.3 and 37.9 ObfsWR, wrong key 26.4 dB."""
    means = {
        (mode, name): np.mean([pair[0] for pair in PAPER[mode][name].values()])
        for mode in PAPER
        for name in (PROTECTED, RIGHT, WRONG)
    }
    assert means["randwr", PROTECTED] == pytest.approx(43.4, abs=0.05)
    assert means["randwr", RIGHT] == pytest.approx(45.7, abs=0.05)
    assert means["obfswr", PROTECTED] == pytest.approx(38.3, abs=0.05)
    assert means["obfswr", RIGHT] == pytest.approx(37.9, abs=0.05)
    assert means["obfswr", WRONG] == pytest.approx(26.4, abs=0.05)


def test_a_target_needs_both_measures() -> None:
    assert quality.judged(42.1, 0.99, PROTECTED, "randwr")["reached"] is True
    assert quality.judged(42.1, 0.98, PROTECTED, "randwr")["reached"] is False
    assert quality.judged(11.0, 0.1, WRONG, "randwr")["reached"] is True
    assert quality.judged(13.0, 0.1, WRONG, "randwr")["reached"] is False
    assert quality.judged(27.0, 0.96, WRONG, "obfswr")["reached"] is True
    assert quality.judged(20.0, 0.96, WRONG, "obfswr")["reached"] is False


def test_an_obfuscated_picture_in_place_of_the_protected_has_no_target() -> None:
    names = (PROTECTED, RIGHT, WRONG, "one bit", quality.NOT_PROTECTED)
    result = quality.KindResult({name: figure(40, 0.9) for name in names})
    rows = quality.rows_of(dict.fromkeys(PAPER["randwr"][WRONG], result), "randwr")
    means = {row["figure"]: row for row in rows if row["obfuscator"] == quality.MEAN}
    assert "target" not in means[quality.NOT_PROTECTED]
    assert means[PROTECTED]["target"] == "≥ 42 / 0.985"
    assert means["one bit"]["reached"] is False


def test_a_mean_over_other_obfuscators_is_not_compared_with_the_paper() -> None:
    result = quality.KindResult({name: figure(40, 0.9) for name in (PROTECTED, RIGHT, WRONG)})
    rows = quality.rows_of({"blur": result, "own-blur": result}, "randwr")
    assert {row["obfuscator"] for row in rows} == {"blur", "own-blur"}
    assert [row["paper_psnr"] for row in rows] == [46.64, 49.18, 10.44, None, None, None]


def test_the_worst_key_is_the_nearest_to_the_face_or_farthest_from_the_obfuscation() -> None:
    scores = KeyScores(np.array([9.0, 11.0]), np.array([0.05, 0.02]), 100)
    assert scores.worst("randwr") == (11.0, 0.05)
    assert scores.worst("obfswr") == (9.0, 0.02)


def test_keys_see_fewer_faces_only_where_time_is_short() -> None:
    assert quality.screen_faces(100, 500, 600) == 100
    assert quality.screen_faces(100, 1200, 600) == 48
    assert quality.screen_faces(100, 1e6, 600) == quality.LEAST_SCREEN_FACES
    assert quality.screen_faces(100, 1e6, -1) == quality.LEAST_SCREEN_FACES
    assert quality.screen_faces(4, 1e6, 1) == 4


def test_every_kind_of_wrong_key_is_tried() -> None:
    kinds = secrecy.wrong_kinds(100)
    assert len(kinds) == 100 and set(kinds) == set(WRONG_KINDS)
    assert kinds.count("zero key") == kinds.count("all bits") == 1
    assert kinds.count("one bit") > 30
    assert secrecy.wrong_kinds(2) == ["all bits", "zero key"]


class MeanColour:
    """Recognizes the mean colour, and no face."""

    name = "mean colour"
    threshold = 4.0

    def embed(self, rgb: U8) -> F32:
        return np.asarray(rgb.mean(axis=(1, 2)), np.float32)

    def distance(self, first: F32, second: F32) -> F32:
        return np.asarray(np.linalg.norm(first - second, axis=-1), np.float32)


def test_a_judge_tells_own_matches_from_chance() -> None:
    flat = np.zeros((3, 24, 24, 3), np.uint8)
    originals = flat + np.array([40, 120, 200], np.uint8)[:, None, None, None]
    judge = secrecy.Judge(originals, list("abc"), [MeanColour()])
    own = judge.row("own", judge.judge(originals + np.uint8(1)))
    assert own["mean colour_match"] == 100 and own["mean colour_chance"] == 0
    assert own["mean colour_rank1"] == 100 and own["outputs"] == 3
    strangers = judge.row("strangers", judge.among_each_other())
    assert strangers["mean colour_match"] == 0 and strangers["mean colour_rank1"] == 0


def test_the_next_person_is_another_person() -> None:
    identities = list("aabb")
    others = [secrecy._next_person(identities, index) for index in range(4)]
    assert all(identities[other] != identities[index] for index, other in enumerate(others))


def test_the_worst_outputs_are_kept() -> None:
    worst = secrecy.Worst()
    pictures = np.zeros((3, 4, 4, 3), np.uint8)
    worst.add(np.array([0.1, 0.3, 0.2]), "one bit", pictures)
    worst.add(np.array([0.5, 0.0, 0.25]), "all bits", pictures)
    assert [round(each[0], 2) for each in worst.found[:4]] == [0.5, 0.3, 0.25, 0.2]
    assert worst.found[0][1:3] == (0, "all bits")


def test_codec_targets_are_for_moving_clips() -> None:
    rows: list[dict[str, object]] = [
        {"clips": "made", "codec": "8 bits", "crf": None, "luma": 40.0, "protected": 31.5},
        {
            "clips": "made",
            "codec": "x264",
            "crf": 23,
            "luma": 30.5,
            "bits": 1.6,
            "dlib": 96.0,
        },
        {"clips": "stills", "codec": "x264", "crf": 23, "luma": 20.0, "bits": 9.0},
    ]
    found = {str(row["what"]): row["reached"] for row in codec.target_rows(rows)}
    assert found == {
        "protected, dB to the obfuscated": True,
        "luma, x264 CRF 23": True,
        "bits of plain, x264 CRF 23": False,
        "match by dlib %, x264 CRF 23": True,
    }
