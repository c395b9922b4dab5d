"""Fusion is judged by what goes out of the gate and by what a key opens of it."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.build import build_keyed
from pipeline.compose.gate import Gate, ProtectedFrame, Zones
from pipeline.frames import FaceBox, FacePatch, RawFrame, Square, U8Array, YuvPlanes, planes_of
from pipeline.fusion_worker import FusionWorker
from pipeline.in_band import KeyedFuser
from pipeline.protect.choose import make_patches
from pipeline.protect.fuse import (
    LIVE_SAVED_SECONDS,
    LIVE_SHARE,
    MOST_FAILURES,
    Picture,
)
from pipeline.protect.keyed import KeyedProtection
from pipeline.protect.region import polygon_mask
from pipeline.protect.square import ring_around, square_around
from pipeline.recover.in_band import likeness, open_squares, recover_frame
from pipeline.settings import ProtectSettings
from pipeline.vault.clip_key import ClipKey, new_clip_key
from pipeline.vault.secret_map import face_key
from support.asserts import assert_faces_hidden, face_visible
from support.clips import paint_frames
from support.fusion import Array, Script, rendered, scripted_model

WIDTH, HEIGHT = 640, 360
KEY: ClipKey = new_clip_key(password="x")
# Of the scripted model: pixels are rounded, and a sixteenth of the face is in them.
MOST_ERROR_LEVELS = 7.0


@pytest.fixture(scope="module")
def script() -> Script:
    return Script()


@pytest.fixture(scope="module")
def worker(script: Script) -> Iterator[FusionWorker]:
    worker = FusionWorker(script.open)
    yield worker
    worker.close()


@pytest.fixture(autouse=True)
def sound(script: Script) -> None:
    script.__init__()  # type: ignore[misc]


def picture(faces: int = 2, face_px: int = 70) -> tuple[U8Array, list[FaceBox]]:
    """(H, W, 3) with its true boxes."""
    rgb, boxes = next(iter(paint_frames((WIDTH, HEIGHT), 1, faces=faces, face_px=face_px)))
    return rgb, [FaceBox(n + 1, box, 0.0) for n, box in enumerate(boxes)]


def raw(rgb: U8Array, number: int = 0) -> RawFrame:
    return RawFrame(rendered(rgb), number, number * 3_600, Fraction(1, 90_000), 0)


def copied(planes: YuvPlanes) -> YuvPlanes:
    return YuvPlanes(planes.y.copy(), planes.u.copy(), planes.v.copy())


def fusion_of(worker: FusionWorker, *, live: bool = False, **protect: object) -> KeyedProtection:
    chosen = ProtectSettings.model_validate({"protector": "proface-s"} | protect)
    return build_keyed("lobby", chosen, KeyedFuser(worker, KEY, live=live), live=live)


def gate_of(fusion: KeyedProtection | None, gop: float | None = None, **protect: object) -> Gate:
    chosen = ProtectSettings.model_validate(protect)
    return Gate("lobby", partial(make_patches, settings=chosen), overlay=fusion, gop_seconds=gop)


def recovered(frame: ProtectedFrame, key: ClipKey = KEY) -> list[YuvPlanes]:
    squares = [face.square for face in frame.fused]
    keys = [face_key(key.key, frame.number, square.xys_px) for square in squares]
    return open_squares(planes_of(frame.image), squares, keys, scripted_model())


def error_levels(one: U8Array, other: U8Array) -> float:
    return float(np.abs(one.astype(int) - other).mean())


# --- what goes out, and what comes back ---


def test_faces_are_hidden_and_come_back_with_the_key(worker: FusionWorker) -> None:
    rgb, faces = picture()
    before = copied(planes_of(raw(rgb).image))
    fusion = fusion_of(worker)
    frame = gate_of(fusion).protect(raw(rgb), faces, Zones())

    assert frame.redacted is None and [face.track_id for face in frame.fused] == [1, 2]
    assert fusion.counts.fused == 2 and not fusion.counts.not_fused
    boxes = np.stack([face.box_xyxy_px for face in faces])
    assert_faces_hidden(before.y, planes_of(frame.image).y, boxes)
    for face, original in zip(frame.fused, recovered(frame), strict=True):
        truth = face.square.of(before)
        for plane, true in zip(
            (original.y, original.u, original.v), (truth.y, truth.u, truth.v), strict=True
        ):
            assert error_levels(plane, true) < MOST_ERROR_LEVELS


def test_another_key_another_frame_or_another_place_opens_nothing(worker: FusionWorker) -> None:
    rgb, faces = picture(1)
    frame = gate_of(fusion_of(worker)).protect(raw(rgb), faces, Zones())
    (face,) = frame.fused
    x, y, side = face.square.xys_px
    planes, truth = planes_of(frame.image), planes_of(raw(rgb).image)
    one_bit = bytes([KEY.key[0] ^ 1]) + KEY.key[1:]

    def opened(key: bytes, number: int, square: Square) -> YuvPlanes:
        keys = [face_key(key, number, square.xys_px)]
        return open_squares(planes, [square], keys, scripted_model())[0]

    right = opened(KEY.key, 0, face.square)
    assert likeness(right.y, 2) > 0.8
    for key, number, square in (
        (one_bit, 0, face.square),
        (bytes(32), 0, face.square),
        (KEY.key, 1, face.square),
        (KEY.key, 0, Square(x + 2, y, side)),
        (KEY.key, 0, Square(x, y, side - 4)),
    ):
        wrong = opened(key, number, square)
        assert likeness(wrong.y, 2) < 0.2
        box = np.array([0, 0, square.side_px, square.side_px], np.float32)
        assert face_visible(square.of(truth).y.copy(), wrong.y, box) < 0.2


def test_no_pixel_beyond_square_and_ring_is_touched(worker: FusionWorker) -> None:
    rgb, faces = picture(1)
    before = copied(planes_of(raw(rgb).image))
    frame = gate_of(fusion_of(worker)).protect(raw(rgb), faces, Zones())
    after = planes_of(frame.image)
    (patch,) = make_patches(before, faces, ProtectSettings())
    square = square_around(patch, (WIDTH, HEIGHT), 2)
    assert isinstance(square, Square) and frame.fused[0].square == square
    x, y, width, height = ring_around(square, patch, (WIDTH, HEIGHT))
    for old, new, scale in ((before.y, after.y, 1), (before.u, after.u, 2), (before.v, after.v, 2)):
        touched = np.ones(old.shape, np.bool_)
        touched[y // scale : (y + height) // scale, x // scale : (x + width) // scale] = False
        np.testing.assert_array_equal(old[touched], new[touched])
        assert not np.array_equal(old, new)


def test_the_picture_leaves_room_above_and_below(worker: FusionWorker) -> None:
    """A clipped pixel costs the recovery of its surroundings."""
    black_and_white = np.kron(
        np.random.default_rng(1).integers(0, 2, (HEIGHT // 4, WIDTH // 4, 1)) * 255,
        np.ones((4, 4, 3)),
    ).astype(np.uint8)
    _, faces = picture(1)
    frame = gate_of(fusion_of(worker)).protect(raw(black_and_white), faces, Zones())
    inside = frame.fused[0].square.of(planes_of(frame.image)).y
    assert inside.min() > 0 and inside.max() < 255


# --- one key, one person ---


def test_two_faces_that_overlap_open_one_person_only(worker: FusionWorker) -> None:
    """What is another's is their obfuscation before it is fused: no key can bring it back."""
    rgb, _ = picture(1)
    left = FaceBox(1, np.array([200, 100, 270, 180], np.float32), 0.0)
    right = FaceBox(2, np.array([262, 120, 332, 200], np.float32), 0.0)
    rgb[90:220, 180:360] = np.random.default_rng(3).integers(0, 256, (130, 180, 3), np.uint8)
    before = copied(planes_of(raw(rgb).image))
    frame = gate_of(fusion_of(worker)).protect(raw(rgb), [left, right], Zones())

    (fused,) = frame.fused  # the other keeps its plain obfuscation: two squares cannot share pixels
    own, other = (left, right) if fused.track_id == 1 else (right, left)
    plain = {p.track_id: p for p in make_patches(before, [left, right], ProtectSettings())}
    (original,) = recovered(frame)
    x, y, side = fused.square.xys_px
    theirs = np.zeros((HEIGHT, WIDTH), np.bool_)
    patch = plain[other.track_id]
    rows, columns = patch.alpha.shape
    theirs[patch.y_px : patch.y_px + rows, patch.x_px : patch.x_px + columns] = patch.alpha > 0
    inside = theirs[y : y + side, x : x + side]
    assert inside.sum() > 200
    truth = fused.square.of(before).y
    hidden = np.zeros((HEIGHT, WIDTH), np.uint8)
    hidden[patch.y_px : patch.y_px + rows, patch.x_px : patch.x_px + columns] = patch.planes.y
    shown = hidden[y : y + side, x : x + side]
    assert error_levels(original.y[inside], shown[inside]) < MOST_ERROR_LEVELS
    assert error_levels(original.y[inside], truth[inside]) > 30
    assert error_levels(original.y[~inside], truth[~inside]) < MOST_ERROR_LEVELS
    assert own.track_id == fused.track_id


def test_the_one_that_was_left_out_comes_with_the_next_frame(worker: FusionWorker) -> None:
    rgb, _ = picture(1)
    pair = [
        FaceBox(n + 1, np.array([200 + 60 * n, 100, 270 + 60 * n, 180], np.float32), 0.0)
        for n in range(2)
    ]
    fusion = fusion_of(worker)
    gate = gate_of(fusion)
    fused = [
        [face.track_id for face in gate.protect(raw(rgb, n), pair, Zones()).fused] for n in range(4)
    ]
    assert fused == [[1], [2], [], []]
    assert fusion.counts.not_fused == {"overlaps another": 1}


class Recorder:
    """Passes on, and keeps what was asked for."""

    def __init__(self, inner: KeyedFuser) -> None:
        self.side_multiple_px = inner.side_multiple_px
        self.asked: list[tuple[int, tuple[int, int, int]]] = []
        self.runs: list[int] = []
        self._inner = inner

    def fuse(
        self, original: Picture, obfuscated: Picture, number: int, squares: Sequence[Square]
    ) -> Picture:
        self.asked += [(number, square.xys_px) for square in squares]
        self.runs.append(len(squares))
        return self._inner.fuse(original, obfuscated, number, squares)


boxes = st.tuples(
    st.floats(-60, 660), st.floats(-60, 380), st.floats(20, 160), st.floats(20, 160)
).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(boxes, min_size=1, max_size=7))
def test_whatever_the_faces_all_are_hidden_and_no_square_is_touched_again(
    worker: FusionWorker, corners: list[tuple[float, float, float, float]]
) -> None:
    rgb, _ = picture(1)
    faces = [FaceBox(n, np.array(box, np.float32), 0.0) for n, box in enumerate(corners)]
    protect = ProtectSettings(protector="proface-s", fusions_per_second=1_000)
    recorder = Recorder(KeyedFuser(worker, KEY, live=False))
    fusion = build_keyed("lobby", protect, recorder, live=False)
    patches: list[FacePatch] = []

    def spy(*arguments: object) -> list[FacePatch]:
        made = fusion(*arguments)  # type: ignore[arg-type]
        patches.extend(made)
        return made

    maker = partial(make_patches, settings=ProtectSettings())
    gate = Gate("lobby", maker, overlay=spy)
    plain = Gate("lobby", maker)
    for number in range(3):
        patches.clear()
        frame = gate.protect(raw(rgb, number), faces, Zones())
        assert frame.redacted is None  # the gate's own check of every face
        after = planes_of(frame.image)
        fused = [patch for patch in patches if patch.is_fused]
        assert len(fused) == len(frame.fused)
        for patch, face in zip(fused, frame.fused, strict=True):
            inside = face.square.of(after)
            np.testing.assert_array_equal(inside.y, patch.planes.y)
            np.testing.assert_array_equal(inside.u, patch.planes.u)
            np.testing.assert_array_equal(inside.v, patch.planes.v)
        squares = [face.square for face in frame.fused]
        for i, square in enumerate(squares):
            assert not any(square.overlaps(other) for other in squares[i + 1 :])
        # nothing of the original where the plain protection would not have left it
        without = planes_of(plain.protect(raw(rgb, number), faces, Zones()).image)
        original = planes_of(raw(rgb).image)
        replaced = np.zeros(original.y.shape, np.bool_)
        for patch in make_patches(original, faces, ProtectSettings()):
            rows, columns = patch.alpha.shape
            part = replaced[patch.y_px : patch.y_px + rows, patch.x_px : patch.x_px + columns]
            part |= patch.alpha == 255
        if replaced.any():
            changed = np.abs(after.y.astype(int) - original.y)[replaced].mean()
            assert changed > 0.6 * np.abs(without.y.astype(int) - original.y)[replaced].mean()
    assert len(set(recorder.asked)) == len(recorder.asked)
    keys = {face_key(KEY.key, number, square) for number, square in recorder.asked}
    assert len(keys) == len(recorder.asked)


def test_faces_of_one_size_share_a_run(worker: FusionWorker) -> None:
    rgb, _ = picture(1)
    faces = [
        FaceBox(n, np.array([20 + 150 * n, 60, 70 + 150 * n + n, 120], np.float32), 0.0)
        for n in range(4)
    ]
    recorder = Recorder(KeyedFuser(worker, KEY, live=False))
    fusion = build_keyed("lobby", ProtectSettings(), recorder, live=False)
    frame = gate_of(fusion).protect(raw(rgb), faces, Zones())
    assert len(frame.fused) == 4
    assert recorder.runs == [4]


# --- when, and how often ---


def test_keyframes_are_the_first_frame_every_second_and_each_idr(worker: FusionWorker) -> None:
    rgb, faces = picture(1)
    gate = gate_of(fusion_of(worker, keyframe_every=1.0), gop=1.6)
    fused, idr = [], []
    for number in range(100):
        here = faces if number >= 3 else []
        frame = gate.protect(raw(rgb, number), here, Zones())
        if frame.fused:
            fused.append(number)
        if frame.is_idr:
            idr.append(number)
    assert idr == [0, 40, 80]
    assert fused == [3, 28, 40, 65, 80]


def test_a_budget_bounds_the_work_and_is_said(worker: FusionWorker) -> None:
    rgb, _ = picture(1)
    faces = [
        FaceBox(n, np.array([10 + 90 * n, 60, 60 + 90 * n, 110], np.float32), 0.0) for n in range(7)
    ]
    cost = (80 / 112) ** 2
    fusion = fusion_of(worker, fusions_per_second=2 * cost, keyframe_every=0.04)
    gate = gate_of(fusion)
    for number in range(100):  # four seconds: 700 faces are due
        frame = gate.protect(raw(rgb, number), faces, Zones())
        assert frame.redacted is None
    assert 2 * 4 <= fusion.counts.fused <= 2 * 4 + 3
    assert fusion.counts.not_fused["over the budget"] == 700 - fusion.counts.fused


def test_a_slow_engine_takes_no_more_than_its_share_of_a_live_stream(
    worker: FusionWorker,
) -> None:
    """Its clock shows a quarter of a second for every run."""
    quarters = (n / 4 for n in range(10**6))
    rgb, faces = picture(1)
    settings = ProtectSettings(keyframe_every=0.04)
    fuser = KeyedFuser(worker, KEY, live=True)
    fusion = build_keyed("lobby", settings, fuser, live=True, clock=lambda: next(quarters))
    gate = gate_of(fusion)
    for number in range(250):  # ten seconds
        gate.protect(raw(rgb, number), faces, Zones())
    most = (10 * LIVE_SHARE + LIVE_SAVED_SECONDS) / 0.25
    assert most - 2 <= fusion.counts.fused <= most + 1
    assert fusion.counts.not_fused == {"too slow": 250 - fusion.counts.fused}


# --- where it does not fit ---


@pytest.mark.parametrize(
    ("box", "reason"),
    [
        ((100, 100, 112, 112), "too small"),
        ((150, 20, 480, 340), "no room"),
    ],
)
def test_faces_without_a_square_keep_their_obfuscation(
    worker: FusionWorker, box: tuple[float, float, float, float], reason: str
) -> None:
    rgb, _ = picture(1)
    face = [FaceBox(1, np.array(box, np.float32), 0.0)]
    fusion = fusion_of(worker)
    gate, plain = gate_of(fusion), gate_of(None)
    for number in range(30):
        frame = gate.protect(raw(rgb, number), face, Zones())
        assert frame.fused == () and frame.redacted is None
    assert fusion.counts.not_fused == {reason: 2}  # at its first frame and a second later
    same = plain.protect(raw(rgb), face, Zones())
    np.testing.assert_array_equal(planes_of(frame.image).y, planes_of(same.image).y)


@pytest.mark.parametrize("kind", ["never", "always"])
def test_a_zone_that_cuts_into_the_square_prevents_it(worker: FusionWorker, kind: str) -> None:
    rgb, faces = picture(1)
    x2, y2 = (float(v) for v in faces[0].box_xyxy_px[2:])
    corner = [
        ((x2 + 4) / WIDTH, (y2 + 4) / HEIGHT),
        (1.0, (y2 + 4) / HEIGHT),
        (1.0, 1.0),
        ((x2 + 4) / WIDTH, 1.0),
    ]
    mask = polygon_mask(corner, (WIDTH, HEIGHT))
    zones = Zones(never=mask) if kind == "never" else Zones(always=mask)
    fusion = fusion_of(worker)
    frame = gate_of(fusion).protect(raw(rgb), faces, zones)
    assert frame.redacted is None and frame.fused == ()
    assert fusion.counts.not_fused == {"in a zone": 1}
    far = polygon_mask([(0.0, 0.0), (0.02, 0.0), (0.02, 0.02)], (WIDTH, HEIGHT))
    zones = Zones(never=far) if kind == "never" else Zones(always=far)
    assert gate_of(fusion_of(worker)).protect(raw(rgb), faces, zones).fused


# --- an engine that fails ---


def nan(_run: int, inputs: Mapping[str, Array]) -> dict[str, Array]:
    return {"out": np.full_like(inputs["y"], np.nan)}


def raising(_run: int, _inputs: Mapping[str, Array]) -> dict[str, Array]:
    raise RuntimeError("a secret of the driver")


def of_another_size(_run: int, inputs: Mapping[str, Array]) -> dict[str, Array]:
    return {"out": inputs["y"][..., :-1]}


def wild(_run: int, inputs: Mapping[str, Array]) -> dict[str, Array]:
    return {"out": (inputs["y"] + 0.6 * np.sign(inputs["x"])).astype(np.float32)}


@pytest.mark.parametrize("fault", [nan, raising, of_another_size, wild], ids=lambda f: f.__name__)
def test_an_engine_that_fails_leaves_the_plain_obfuscation(
    worker: FusionWorker, script: Script, fault: object, caplog: pytest.LogCaptureFixture
) -> None:
    rgb, faces = picture()
    before = planes_of(raw(rgb).image).y.copy()
    boxes = np.stack([face.box_xyxy_px for face in faces])
    gate, plain = gate_of(fusion := fusion_of(worker, keyframe_every=0.04)), gate_of(None)
    assert gate.protect(raw(rgb), faces, Zones()).fused
    script.fault = fault  # type: ignore[assignment]
    runs = script.runs
    with caplog.at_level(logging.WARNING):
        for number in range(1, 20):
            frame = gate.protect(raw(rgb, number), faces, Zones())
            assert frame.redacted is None and frame.fused == ()
            assert_faces_hidden(before, planes_of(frame.image).y, boxes)
            if frame.carried:  # the sound keyframe, while it is certain and young
                assert number <= 2
                continue
            same = plain.protect(raw(rgb, number), faces, Zones())
            for new, old in zip(
                (planes_of(frame.image).y, planes_of(frame.image).u),
                (planes_of(same.image).y, planes_of(same.image).u),
                strict=True,
            ):
                np.testing.assert_array_equal(new, old)
    # broken: it is not asked again, and that is said once
    assert script.runs == runs + MOST_FAILURES
    assert fusion.counts.not_fused["the engine failed"] == 2 * MOST_FAILURES
    assert fusion.counts.not_fused["switched off"] == 2 * (19 - MOST_FAILURES)
    assert sum("switched off" in record.message for record in caplog.records) == 1
    assert "secret" not in caplog.text


def test_a_single_failure_is_forgotten(worker: FusionWorker, script: Script) -> None:
    rgb, faces = picture(1)
    fusion = fusion_of(worker, keyframe_every=0.04)
    gate = gate_of(fusion)

    def now_and_then(run: int, _inputs: Mapping[str, Array]) -> dict[str, Array] | None:
        if run % 3:
            raise RuntimeError
        return None

    script.fault = now_and_then
    for number in range(60):
        gate.protect(raw(rgb, number), faces, Zones())
    assert fusion.counts.fused == 20
    assert fusion.counts.not_fused == {"the engine failed": 40}


class GivesTheFaceBack:
    side_multiple_px = 4

    def fuse(
        self, original: Picture, obfuscated: Picture, number: int, squares: Sequence[Square]
    ) -> Picture:
        return original


class GivesAThird(GivesTheFaceBack):
    def fuse(
        self, original: Picture, obfuscated: Picture, number: int, squares: Sequence[Square]
    ) -> Picture:
        mixed = obfuscated[0] * 0.7 + original[0] * 0.3
        return mixed.astype(np.uint8), obfuscated[1]


@pytest.mark.parametrize("fuser", [GivesTheFaceBack(), GivesAThird()])
def test_an_engine_that_gives_the_face_back_is_not_believed(fuser: GivesTheFaceBack) -> None:
    rgb, faces = picture()
    before = planes_of(raw(rgb).image).y.copy()
    fusion = build_keyed("lobby", ProtectSettings(), fuser, live=False)
    frame = gate_of(fusion).protect(raw(rgb), faces, Zones())
    assert frame.fused == () and frame.redacted is None
    shown = planes_of(frame.image).y
    assert_faces_hidden(before, shown, np.stack([face.box_xyxy_px for face in faces]))


def test_an_engine_that_hangs_holds_the_stream_for_a_bounded_time(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    import time

    from pipeline import in_band

    monkeypatch.setattr(in_band, "LIVE_TIMEOUT_SECONDS", 0.2)
    script, release = Script(), threading.Event()

    def hang(_run: int, _inputs: Mapping[str, Array]) -> None:
        release.wait(20)

    script.fault = hang
    worker = FusionWorker(script.open)
    rgb, faces = picture()
    fusion = fusion_of(worker, live=True, keyframe_every=0.04, fusions_per_second=1_000)
    gate = gate_of(fusion)
    before = planes_of(raw(rgb).image).y.copy()
    boxes = np.stack([face.box_xyxy_px for face in faces])
    began = time.monotonic()
    with caplog.at_level(logging.WARNING):
        for number in range(200):
            frame = gate.protect(raw(rgb, number), faces, Zones())
            assert frame.fused == () and frame.redacted is None
            if number % 20 == 0:
                assert_faces_hidden(before, planes_of(frame.image).y, boxes)
    assert time.monotonic() - began < 15
    assert script.runs == 1  # nobody waits behind the one that hangs
    assert "switched off" in caplog.text
    release.set()


# --- the library's way back ---


def test_recover_frame_puts_back_what_it_is_given_the_keys_for(worker: FusionWorker) -> None:
    rgb, faces = picture()
    truth = planes_of(raw(rgb).image)
    frame = gate_of(fusion_of(worker)).protect(raw(rgb), faces, Zones())
    protected = planes_of(frame.image)
    kept = copied(protected)
    first, second = frame.fused
    keys = [face_key(KEY.key, 0, first.square.xys_px)]

    back = recover_frame(protected, [first.square], keys, scripted_model())

    np.testing.assert_array_equal(protected.y, kept.y)  # a copy
    assert error_levels(first.square.of(back).y, first.square.of(truth).y) < MOST_ERROR_LEVELS
    np.testing.assert_array_equal(second.square.of(back).y, second.square.of(kept).y)
