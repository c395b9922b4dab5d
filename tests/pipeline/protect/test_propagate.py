"""What is carried along holds nothing of the original, follows the face, and stops in doubt."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from dataclasses import replace
from fractions import Fraction
from functools import partial

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.build import build_keyed
from pipeline.compose.gate import Gate, ProtectedFrame, Zones
from pipeline.frames import FaceBox, FloatArray, RawFrame, Square, U8Array, YuvPlanes, planes_of
from pipeline.motion import move
from pipeline.protect import propagate
from pipeline.protect.choose import make_patches
from pipeline.protect.flow import View
from pipeline.protect.fuse import Picture
from pipeline.protect.propagate import Propagation
from pipeline.settings import ProtectSettings
from support.asserts import assert_faces_hidden, face_visible
from support.motion import FACE_PX, Placed, painted

SIZE_PX = (640, 360)
FPS = 25
FACE = Placed()


class Fuser:
    """A network that adds a texture to the obfuscation; told to, it fails."""

    side_multiple_px = 4

    def __init__(self) -> None:
        self.runs = 0
        self.broken = False

    def fuse(
        self, original: Picture, obfuscated: Picture, number: int, squares: Sequence[Square]
    ) -> Picture:
        self.runs += 1
        if self.broken:
            raise RuntimeError
        texture = np.random.default_rng(number).integers(-6, 7, obfuscated[0].shape)
        return (obfuscated[0] + texture).astype(np.uint8), obfuscated[1]


class Stage:
    """Gate and overlay, fed with painted pictures."""

    def __init__(self, *, size_px: tuple[int, int] = SIZE_PX, **protect: object) -> None:
        chosen = ProtectSettings.model_validate(
            {"protector": "proface-s", "fusions_per_second": 1_000} | protect
        )
        self.fuser = Fuser()
        self.overlay = build_keyed("lobby", chosen, self.fuser, live=False)
        self.gate = Gate(
            "lobby", partial(make_patches, settings=chosen), overlay=self.overlay, gop_seconds=100
        )
        self.number = 0
        self.size_px = size_px

    def show(
        self,
        *faces: Placed,
        boxes: Sequence[FaceBox] | None = None,
        picture: YuvPlanes | None = None,
        follows_cut: bool = False,
        seconds: float | None = None,
    ) -> ProtectedFrame:
        picture = picture or painted(*faces, size_px=self.size_px)
        seconds = self.number / FPS if seconds is None else seconds
        frame = raw(picture, self.number, seconds)
        self.number += 1
        found = [face.box for face in faces] if boxes is None else list(boxes)
        return self.gate.protect(frame, found, Zones(), follows_cut=follows_cut)

    @property
    def let_go(self) -> dict[str, int]:
        return dict(self.overlay.counts.not_carried)


def raw(picture: YuvPlanes, number: int, seconds: float) -> RawFrame:
    i420 = np.concatenate([plane.ravel() for plane in (picture.y, picture.u, picture.v)])
    height, width = picture.y.shape
    import av

    image = av.VideoFrame.from_ndarray(i420.reshape(height * 3 // 2, width), format="yuv420p")
    return RawFrame(image, number, round(seconds * 90_000), Fraction(1, 90_000), 0)


def luma(frame: ProtectedFrame) -> U8Array:
    return planes_of(frame.image).y.copy()


def carried(frame: ProtectedFrame) -> bool:
    assert frame.redacted is None
    return bool(frame.carried)


# --- it follows the face ---


def test_the_protection_moves_with_the_face() -> None:
    stage = Stage(carry_texture=True)
    key = luma(stage.show(FACE))
    for step in range(1, 12):
        frame = stage.show(FACE.at(x_px=320 + 6 * step, y_px=180 + 2 * step))
        assert carried(frame) and not frame.fused
        shown = luma(frame)
        here = shown[150 + 2 * step : 210 + 2 * step, 290 + 6 * step : 350 + 6 * step]
        then = key[150:210, 290:350]
        # flat cells of 20 px with hard edges: a pixel beside the way would show
        assert np.abs(here.astype(int) - then).mean() < 3, step
    assert stage.let_go == {}


@pytest.mark.parametrize(
    "step",
    [
        lambda n: FACE.at(turn_degrees=1.2 * n),  # 30 degrees a second
        lambda n: FACE.at(scale=2 ** (n / 25)),  # twice the size in a second
        lambda n: FACE.at(scale=2 ** (-n / 25), x_px=320 - 3 * n),
        lambda n: FACE.at(x_px=150 + 16 * n),  # 400 px a second
    ],
    ids=["turn", "grow", "shrink", "pan"],
)
def test_fast_motion_is_followed_or_fused_anew_and_hidden(step: Callable[[int], Placed]) -> None:
    stage = Stage()
    shown = 0
    for n in range(20):
        face = step(n)
        before = painted(face)
        frame = stage.show(face)
        assert frame.redacted is None
        shown += carried(frame) or bool(frame.fused)
        assert_faces_hidden(before.y, luma(frame), face.box.box_xyxy_px[None], where=f"frame {n}")
    assert shown >= 12  # not the plain obfuscation all the time


def test_nothing_of_a_later_frame_is_in_what_is_carried() -> None:
    """The keyframe is plain grey: so is all that comes after it, whatever the camera shows."""
    stage = Stage(obfuscation="solid")
    grey = stage.show(FACE)
    (square,) = (face.square for face in grey.fused)
    assert np.ptp(square.of(planes_of(grey.image)).y.astype(int)) <= 12  # the texture
    for n in range(1, 20):
        frame = stage.show(FACE.at(x_px=320 + 5 * n, turn_degrees=0.5 * n))
        assert carried(frame)
        (motion,) = (face.motion for face in frame.carried)
        x, y, side = motion.xys_px
        inner = luma(frame)[y + side // 4 : y + 3 * side // 4, x + side // 4 : x + 3 * side // 4]
        assert np.ptp(inner.astype(int)) <= 12


def test_the_texture_can_stay_behind() -> None:
    stages = [Stage(obfuscation="solid", carry_texture=wish) for wish in (True, False)]
    spans = []
    for stage in stages:
        stage.show(FACE)
        frame = stage.show(FACE)
        assert carried(frame)
        spans.append(int(np.ptp(luma(frame)[140:220, 280:360].astype(int))))
    assert spans[0] >= 8 and spans[1] == 0


def test_what_goes_out_is_the_keyframe_moved_by_what_is_told() -> None:
    """Recovery moves the recovered face by the same numbers: they must be the ones used."""
    stage = Stage(carry_texture=True)
    first = stage.show(FACE)
    key = planes_of(first.image)
    key = YuvPlanes(key.y.copy(), key.u.copy(), key.v.copy())
    (fused,) = first.fused
    x, y, side = fused.square.xys_px
    weight = np.zeros((side, side), np.uint8)
    weight[4:-4, 4:-4] = 255
    for n in range(1, 10):
        frame = stage.show(FACE.at(x_px=320 + 4 * n, turn_degrees=n))
        (face,) = frame.carried
        assert face.track_id == 1 and face.motion.key_number == first.number
        moved = move(fused.square.of(key), (x, y), weight, face.motion, SIZE_PX)
        assert moved is not None
        rows = slice(moved.y_px, moved.y_px + moved.weight.shape[0])
        columns = slice(moved.x_px, moved.x_px + moved.weight.shape[1])
        sure = moved.weight == 255
        shown = luma(frame)[rows, columns]
        assert np.abs(shown.astype(int) - moved.planes.y)[sure].max() <= 1
        small = sure[::2, ::2] & sure[1::2, 1::2]
        u = planes_of(frame.image).u[rows.start // 2 :, columns.start // 2 :]
        height, width = small.shape
        off = np.abs(u[:height, :width].astype(int) - moved.planes.u)
        assert off[small].max() <= 1


# --- it stops in doubt: one case for each rule, and what happens without the rule ---


def two(x_px: float) -> list[Placed]:
    return [FACE, Placed(x_px=x_px, y_px=190, seed=9, track_id=2)]


def still(stage: Stage, frames: int) -> None:
    for _ in range(frames):
        stage.show(FACE)


def by_residual(stage: Stage) -> ProtectedFrame:
    """Mouth and chin are another's, as behind a mask: the rest still moves as it did."""
    still(stage, 2)
    return stage.show(boxes=[FACE.box], picture=masked(FACE))


def masked(face: Placed) -> YuvPlanes:
    planes, other = painted(face), painted(face.at(seed=8))
    chin = 194
    planes.y[chin:], planes.u[chin // 2 :] = other.y[chin:], other.u[chin // 2 :]
    return planes


def by_disagreement(stage: Stage) -> ProtectedFrame:
    still(stage, 2)
    noise = np.random.default_rng(0).integers(0, 256, (360, 640)).astype(np.uint8)
    noise = np.asarray(cv2.GaussianBlur(noise, (0, 0), 3), np.uint8)
    plain = painted(FACE)
    return stage.show(boxes=[FACE.box], picture=YuvPlanes(noise, plain.u, plain.v))


def by_drift(stage: Stage) -> ProtectedFrame:
    """Strong noise: each step is all but certain, their sum is not."""
    frame = stage.show(FACE)
    for n in range(1, 24):
        picture = painted(FACE.at(x_px=320 + 2 * n))
        grain = np.random.default_rng(n).normal(0, 30, picture.y.shape)
        noisy = np.clip(picture.y + grain, 0, 255).astype(np.uint8)
        frame = stage.show(
            boxes=[FACE.at(x_px=320 + 2 * n).box], picture=YuvPlanes(noisy, picture.u, picture.v)
        )
        if not carried(frame):
            break
    return frame


def by_turn(stage: Stage) -> ProtectedFrame:
    frame = stage.show(FACE)
    for n in range(1, 9):
        frame = stage.show(FACE.at(turn_degrees=2.4 * n))
        if not carried(frame):
            break
    return frame


def by_scale(stage: Stage) -> ProtectedFrame:
    frame = stage.show(FACE)
    for n in range(1, 10):
        frame = stage.show(FACE.at(scale=1.035**n))
        if not carried(frame):
            break
    return frame


def by_occlusion(stage: Stage) -> ProtectedFrame:
    """Another face's box comes near; the picture of this one does not change yet."""
    stage.show(FACE, boxes=[face.box for face in two(520)])
    return stage.show(FACE, boxes=[face.box for face in two(375)])


def by_jump(stage: Stage) -> ProtectedFrame:
    """The box wanders off, the face does not."""
    frame = stage.show(FACE)
    for n in range(1, 9):
        wandering = replace(FACE, x_px=FACE.x_px + 5 * n).box
        frame = stage.show(FACE, boxes=[wandering])
        if not carried(frame):
            break
    return frame


def by_cover(stage: Stage) -> ProtectedFrame:
    """A face comes in from the edge: the keyframe knew half of it."""
    frame = stage.show(face := FACE.at(x_px=5))
    for n in range(1, 12):
        frame = stage.show(face.at(x_px=5 + 6 * n))
        if not carried(frame):
            break
    return frame


def by_cut(stage: Stage) -> ProtectedFrame:
    still(stage, 2)
    return stage.show(FACE, follows_cut=True)


def by_gap(stage: Stage) -> ProtectedFrame:
    still(stage, 2)
    return stage.show(FACE, seconds=2 / FPS + 0.3)


def by_age(stage: Stage) -> ProtectedFrame:
    stage.show(FACE)
    stage.fuser.broken = True
    frame = stage.show(FACE)
    while carried(frame) and stage.number < 100:
        frame = stage.show(FACE)
    return frame


INF = float("inf")  # where nothing is found, that is the disagreement
RULES = [
    (by_residual, "residual", {"MOST_RESIDUAL": 9.0}),
    (by_disagreement, "forward-backward", {"MOST_DISAGREEMENT": INF, "MOST_DRIFT": INF}),
    (by_drift, "forward-backward", {"MOST_DRIFT": 9.0}),
    (by_turn, "scale or rotation", {"MOST_TURN_DEGREES": 90.0}),
    (by_scale, "scale or rotation", {"MOST_SCALE": 9.0}),
    (by_occlusion, "occlusion", {"MOST_OCCLUSION": 2.0}),
    (by_jump, "box jump", {"MOST_STRAY": 9.0, "LEAST_CARRIED": 0.0}),
    (by_cover, "uncovered", {"LEAST_CARRIED": 0.0}),
    (by_gap, "gap", {"MOST_GAP_SECONDS": 9.0}),
    (by_age, "too old", {"MOST_AGES": 9.0}),
]


@pytest.mark.parametrize(
    ("case", "reason", "without"), RULES, ids=[case.__name__ for case, _, _ in RULES]
)
def test_each_rule_of_doubt(
    case: Callable[[Stage], ProtectedFrame],
    reason: str,
    without: dict[str, float],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # what one of the two sees is often seen by the other as well
    if reason == "forward-backward":
        monkeypatch.setattr(propagate, "MOST_RESIDUAL", INF)
    if reason == "residual":
        monkeypatch.setattr(propagate, "MOST_DISAGREEMENT", INF)
        monkeypatch.setattr(propagate, "MOST_DRIFT", INF)
    if case is by_drift:  # in fewer frames than it takes by default
        monkeypatch.setattr(propagate, "MOST_DRIFT", 0.01)
    stage = Stage()
    frame = case(stage)
    assert frame.redacted is None and not any(face.track_id == 1 for face in frame.carried)
    assert set(stage.let_go) == {reason}
    # the rule alone did it
    for name, value in without.items():
        monkeypatch.setattr(propagate, name, value)
    stage = Stage()
    case(stage)
    assert reason not in stage.let_go


def test_nothing_is_carried_across_a_cut() -> None:
    """This rule has no threshold: the window says so, and that is that."""
    stage = Stage()
    frame = by_cut(stage)
    assert not frame.carried and stage.let_go == {"scene cut": 1}


def test_a_frame_that_was_obscured_ends_it() -> None:
    stage = Stage()
    still(stage, 2)
    stage.gate.redact(raw(painted(FACE), 2, 2 / FPS), "no detection")
    stage.number += 1
    assert not stage.show(FACE).carried and stage.let_go == {"gap": 1}


def test_doubt_asks_for_a_keyframe_at_once_but_not_again_and_again() -> None:
    stage = Stage()
    still(stage, 15)  # 0.6 s after the keyframe
    frame = stage.show(boxes=[FACE.box], picture=masked(FACE))
    assert frame.fused and sum(stage.overlay.counts.keyframes.values()) == 2
    fused = 0
    for n in range(25):  # a face that never becomes certain
        fused += len(stage.show(FACE.at(seed=20 + n)).fused)
    assert fused <= 3 and stage.fuser.runs == 2 + fused


def test_without_a_keyframe_the_plain_obfuscation_is_seen() -> None:
    stage = Stage()
    still(stage, 15)
    stage.fuser.broken = True
    frame = stage.show(FACE.at(seed=8))
    assert not frame.fused and not frame.carried and frame.redacted is None
    plain = Gate("lobby", partial(make_patches, settings=ProtectSettings()))
    alone = plain.protect(raw(painted(FACE.at(seed=8)), 0, 0.0), [FACE.box], Zones())
    np.testing.assert_array_equal(luma(frame), luma(alone))


# --- faults ---


def raises(points: FloatArray) -> FloatArray:
    raise RuntimeError("a secret")


FAULTS: dict[str, Callable[[FloatArray], FloatArray]] = {
    "nan": lambda points: np.full_like(points, np.nan),
    "infinite": lambda points: np.full_like(points, np.inf),
    "wild": lambda points: points + np.float32(1e9),
    "empty": lambda points: points[:0],
    "raises": raises,
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_the_flow_leaves_the_plain_obfuscation(
    fault: str, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(
        _one: U8Array, _other: U8Array, points: FloatArray, *_: object, **__: object
    ) -> object:
        """In place of Lucas-Kanade, which says that all is well."""
        return FAULTS[fault](points), np.ones((len(points), 1), np.uint8), None

    stage = Stage()
    still(stage, 3)
    monkeypatch.setattr(cv2, "calcOpticalFlowPyrLK", broken)
    frame = stage.show(FACE)
    assert frame.redacted is None and not frame.carried
    assert_faces_hidden(painted(FACE).y, luma(frame), FACE.box.box_xyxy_px[None])
    assert sum(stage.let_go.values()) == 1
    assert "secret" not in caplog.text


def test_a_frame_of_another_size_ends_everything() -> None:
    stage = Stage()
    still(stage, 3)
    stage.size_px = (320, 180)
    small = Placed(x_px=160, y_px=90)
    frame = stage.show(small)
    assert frame.redacted is None and not frame.carried
    assert_faces_hidden(
        painted(small, size_px=(320, 180)).y, luma(frame), small.box.box_xyxy_px[None]
    )


@pytest.mark.parametrize("scale", [0.1, 0.2, 0.3])
def test_small_faces_are_hidden_with_or_without(scale: float) -> None:
    """8 px and more: those below the least square are never fused, so nothing is carried."""
    stage = Stage()
    for n in range(10):
        face = FACE.at(scale=scale, x_px=320 + 2 * n)
        frame = stage.show(face)
        assert frame.redacted is None
        if scale * FACE_PX < 20:
            assert not frame.carried and not frame.fused


def test_a_face_leaves_over_each_edge() -> None:
    for dx, dy in ((14, 0), (-14, 0), (0, 9), (0, -9)):
        stage = Stage()
        for n in range(30):
            face = FACE.at(x_px=320 + dx * n, y_px=180 + dy * n)
            frame = stage.show(face)
            assert frame.redacted is None
            box = face.box.box_xyxy_px
            inside = np.clip(box, 0, [640, 360, 640, 360])
            if (inside[2:] - inside[:2]).min() >= 40:
                before = painted(face).y
                assert face_visible(before, luma(frame), inside) < 0.35, (dx, dy, n)


def test_a_face_that_is_gone_is_forgotten() -> None:
    stage = Stage()
    still(stage, 3)
    stage.show(boxes=[], picture=painted())
    assert not stage.show(FACE).carried


def views() -> set[int]:
    """All that is left of originals in this process."""
    gc.collect()
    # by type, not isinstance: that asks strangers for their class, and some of them warn
    return {id(each) for each in gc.get_objects() if type(each) is View}


def test_no_original_outlives_a_pause() -> None:
    others = views()
    stage = Stage()
    still(stage, 3)
    assert views() - others
    stage.overlay.forget()
    assert not views() - others
    assert not stage.show(FACE).carried


def test_only_the_frame_before_is_kept() -> None:
    """An original waits for one frame, however old its keyframe is."""
    others = views()
    stage = Stage()
    still(stage, 10)
    assert len(views() - others) == 1


def test_a_live_stream_gives_it_a_share_of_its_time() -> None:
    """The clock shows 20 ms for every face: half of a stream of 25 frames/s."""
    ticks = (n * 0.02 for n in range(10**6))
    propagation = Propagation("lobby", 1.0, live=True, clock=lambda: next(ticks))
    stage = Stage()
    stage.overlay._propagation = propagation
    for _ in range(100):
        stage.show(FACE)
    share = propagation.carried * 0.02 / 4
    assert 0 < share <= propagate.LIVE_SHARE + propagate.LIVE_SAVED_SECONDS / 4 + 0.02
    assert propagation.too_slow == stage.let_go["too slow"] > 0


# --- whatever happens ---

coordinates = st.tuples(
    st.integers(-60, 700), st.integers(-60, 420), st.floats(0.15, 2.5), st.integers(1, 4)
)


@settings(max_examples=25)
@given(st.lists(st.lists(coordinates, max_size=4), min_size=2, max_size=6))
def test_whatever_the_boxes_do_every_face_is_covered(
    frames: list[list[tuple[int, int, float, int]]],
) -> None:
    stage = Stage()
    for places in frames:
        boxes = {
            track: Placed(x_px=x, y_px=y, scale=scale, track_id=track).box
            for x, y, scale, track in places
        }
        frame = stage.show(FACE, boxes=list(boxes.values()))
        assert frame.redacted is None  # the gate's own check of every face
        fused = {face.track_id for face in frame.fused}
        assert not fused & {face.track_id for face in frame.carried}
