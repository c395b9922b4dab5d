"""The detectors benchmark counts faces and false boxes as its words say."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from benchmarks import _pictures, clips
from benchmarks._detector_judge import IS_HEADLINE, SMALLEST, Tally, matched, tally
from benchmarks._detector_looks import LOOKS, Look, Seen, View, product_looks, together
from benchmarks._detector_plot import Point, front_plot, nice_ceiling
from benchmarks._leak_stills import Still
from benchmarks._leak_truth import LeakClip, TrueFace, face_of_box
from benchmarks._pictures import Picture, of_still, picture_of, sampled
from benchmarks.detectors import HEADLINE, LEAST_FACES, Account, front_rows, mean_recall
from pipeline.frames import Detections, ShapeError

SIZE_PX = (320, 240)


def _picture(*boxes: tuple[float, ...], doubtful: tuple[int, ...] = ()) -> Picture:
    is_doubtful = np.array([place in doubtful for place in range(len(boxes))], bool)
    image = av.VideoFrame(*SIZE_PX, "yuv420p")
    return Picture(image, np.array(boxes, np.float32).reshape(-1, 4), is_doubtful)


def _found(*boxes: tuple[float, ...], scores: tuple[float, ...] | None = None) -> Detections:
    score = np.array(scores or [0.9] * len(boxes), np.float32)
    landmarks = np.zeros((len(boxes), 5, 2), np.float32)
    return Detections(np.array(boxes, np.float32).reshape(-1, 4), landmarks, score)


# --- judging ---


def test_a_box_finds_one_face_at_most() -> None:
    picture = _picture((10, 10, 50, 50), (20, 10, 60, 50))
    is_found, wrong = matched(_found((14, 10, 54, 50)), picture)
    assert is_found.tolist() == [True, False] and wrong == 0


def test_a_second_box_on_a_face_is_no_false_one() -> None:
    is_found, wrong = matched(
        _found((10, 10, 50, 50), (14, 14, 54, 54), (25, 25, 35, 35), (200, 100, 240, 140)),
        _picture((10, 10, 50, 50)),
    )
    assert is_found.tolist() == [True]
    assert wrong == 1  # the one far away; the small one lies in the face


def test_doubtful_faces_count_on_neither_side_and_take_no_box() -> None:
    picture = _picture((10, 10, 50, 50), (12, 10, 52, 50), doubtful=(1,))
    is_found, wrong = matched(_found((12, 10, 52, 50)), picture)
    assert is_found.tolist() == [True, False] and wrong == 0
    assert tally([_found()], [picture], 0.1).faces.sum() == 1


def test_boxes_are_compared_inside_the_picture() -> None:
    is_found, _ = matched(_found((0, 0, 20, 40)), _picture((-40, 0, 20, 40)))
    assert is_found.tolist() == [True]


@pytest.mark.parametrize(("boxes", "wrong"), [((), 0), (((10, 10, 50, 50),), 1)])
def test_a_picture_without_faces(boxes: tuple[tuple[float, ...], ...], wrong: int) -> None:
    is_found, false_boxes = matched(_found(*boxes), _picture())
    assert is_found.shape == (0,) and false_boxes == wrong


def test_the_tally_goes_by_size_and_threshold() -> None:
    picture = _picture((0, 0, 14, 14), (50, 0, 75, 25), (100, 0, 140, 40), (150, 0, 250, 100))
    found = _found(
        (0, 0, 14, 14), (50, 0, 75, 25), (150, 0, 250, 100), (280, 0, 300, 20),
        scores=(0.15, 0.3, 0.9, 0.15),
    )  # fmt: skip
    low, high = (tally([found], [picture], least) for least in (0.1, 0.2))
    assert low.faces.tolist() == high.faces.tolist() == [1, 1, 1, 1]
    assert low.found.tolist() == [1, 1, 0, 1] and high.found.tolist() == [0, 1, 0, 1]
    assert (low.false_boxes, high.false_boxes) == (1, 0)
    assert low.recalls() == {
        "12-20": 1.0, "20-32": 1.0, "32-64": 0.0, "64+": 1.0, HEADLINE: pytest.approx(2 / 3)
    }  # fmt: skip


def test_no_faces_of_a_size_is_no_recall() -> None:
    assert tally([_found()], [_picture()], 0.1).recalls()[HEADLINE] is None


# --- looks ---


def test_every_preset_of_the_product_is_compared() -> None:
    presets = product_looks()
    assert set(presets.values()) <= set(LOOKS)
    assert presets["thorough"].name == "centerface 640x384 + 1280x736"


def test_looks_have_names_of_their_own() -> None:
    names = [look.name for look in LOOKS]
    assert len(set(names)) == len(names)
    mixed = Look((View("centerface", (640, 384)), View("yunet", (640, 384))))
    assert mixed.name == "centerface 640x384 + yunet 640x384"


def test_a_look_of_two_views_finds_what_either_finds_and_pays_for_both() -> None:
    far, near = (0.0, 0.0, 20.0, 20.0), (100.0, 0.0, 180.0, 80.0)
    one = Seen([_found(far, near, scores=(0.3, 0.5))], [2.0], [3.0])
    other = Seen([_found(near, scores=(0.8,))], [20.0], [30.0])
    both = together([one, other])
    assert both.found[0].score.tolist() == pytest.approx([0.8, 0.3])
    assert both.ms == [22.0] and both.cpu_ms == [33.0]
    assert together([one]) is one


# --- pictures ---


def test_small_hidden_and_doubtful_faces_are_doubtful() -> None:
    faces = [
        face_of_box(number, np.array(box, np.float32), SIZE_PX, is_doubtful=doubtful)
        for number, (box, doubtful) in enumerate(
            [
                ((10, 10, 50, 50), False),
                ((10, 60, 50, 100), True),
                ((100, 10, 110, 20), False),  # below 12 px
                ((-35, 100, 5, 140), False),  # nearly out
            ]
        )
    ]
    known = [face for face in faces if face is not None]
    picture = picture_of(av.VideoFrame(*SIZE_PX, "yuv420p"), known)
    assert picture.is_doubtful.tolist() == [False, True, True, True]
    assert picture.size_px[0] == pytest.approx(40)


def test_boxes_and_doubts_belong_together() -> None:
    with pytest.raises(ShapeError):
        Picture(av.VideoFrame(*SIZE_PX, "yuv420p"), np.zeros((2, 4), np.float32), np.zeros(1, bool))


def test_frames_are_spread_over_the_clip() -> None:
    def pictures() -> list[av.VideoFrame]:
        return [av.VideoFrame(*SIZE_PX, "yuv420p") for _ in range(10)]

    def truths(index: int) -> list[TrueFace]:
        face = face_of_box(0, np.array([index, 0, index + 30, 30], np.float32), SIZE_PX)
        return [] if face is None else [face]

    clip = LeakClip(
        "one", "made", "", 10, SIZE_PX, Fraction(25), lambda: iter(pictures()), truths
    )  # fmt: skip
    assert [picture.box_xyxy_px[0, 0] for picture in sampled(clip, 2)] == [2, 7]
    assert len(list(sampled(clip, 99))) == 10


def test_a_still_is_made_narrower_with_its_boxes_and_never_enlarged() -> None:
    rgb = np.zeros((600, 900, 3), np.uint8)
    still = Still(
        "one", (900, 600), np.array([[90, 60, 180, 150]], np.float32), [False], lambda: rgb
    )
    narrow = of_still(still, 450)
    assert (narrow.image.width, narrow.image.height) == (450, 300)
    assert narrow.box_xyxy_px.tolist() == [[45, 30, 90, 75]]
    assert of_still(still, 2000).image.width == of_still(still).image.width == 900


def test_without_test_data_notes_say_what_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clips, "testdata", lambda: None)
    told = [*_pictures.still_sets(5), *_pictures.recorded_sets(5)]
    assert len(told) == 4 and all("BAUTA_TESTDATA" in str(one) for one in told)


# --- the front ---


def _tally(faces: int, found: int) -> Tally:
    return Tally(np.array([0, faces, 0, 0]), np.array([0, found, 0, 0]), 3, 2)


def test_every_set_counts_alike_and_too_small_ones_do_not() -> None:
    tallies = [_tally(1000, 1000), _tally(LEAST_FACES, LEAST_FACES // 2), _tally(1, 0)]
    assert mean_recall(tallies, IS_HEADLINE) == pytest.approx(0.75)
    assert mean_recall(tallies, ~IS_HEADLINE) is None


def test_the_front_has_a_row_for_each_look_and_threshold() -> None:
    account = Account()
    tallies = {least: _tally(20, 10) for least in (0.07, 0.2)}
    account.add(Seen([], [1.0, 3.0, 50.0], [2.0, 4.0, 60.0]), tallies)
    first, second = front_rows({LOOKS[0]: account}, {LOOKS[0]: "fast"})
    assert (first["min_score"], second["min_score"]) == (0.07, 0.2)
    assert first[HEADLINE] == 0.5 and first[SMALLEST] is None
    assert first["ms"] == 3.0 and first["cpu_ms"] == 4.0 and first["preset"] == "fast"
    assert first["false_per_picture"] == 1.5


@pytest.mark.parametrize(("value", "end"), [(0.9, 1), (1, 1), (31, 40), (405, 500), (99, 100)])
def test_axes_end_at_round_numbers(value: float, end: float) -> None:
    assert nice_ceiling(value) == pytest.approx(end)


def test_the_plot_shows_what_there_is(tmp_path: Path) -> None:
    points = [Point("a", 0.1, 10.0, (0.9, None)), Point("a", 0.2, 10.0, (0.7, None))]
    front_plot(points, ("large", "small"), tmp_path / "docs" / "front.png")
    picture = cv2.imread(str(tmp_path / "docs" / "front.png"))
    assert picture is not None
    coloured = np.ptp(picture.astype(int), axis=2) > 60
    assert coloured[:400, :490].any() and not coloured[:400, 490:].any()
