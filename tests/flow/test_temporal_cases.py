"""Cases that are hard in time: a new number for the same face, the frame's edge, a mirror, a
poster, glass. Real network, look-ahead window and gate; every frame's pixels are looked at.

Whatever is filled is filled with one level, so a face's pixel is hidden if it has that level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import lru_cache, partial

import av
import cv2
import numpy as np
import numpy.typing as npt
import pytest

from pipeline.compose.gate import Gate, ProtectedFrame, Zones
from pipeline.detect.detector import ScriptedDetector
from pipeline.detect.service import DetectionService
from pipeline.frames import Detections, FaceBox, RawFrame, planes_of
from pipeline.protect.choose import make_patches
from pipeline.settings import DetectorSettings, ProtectSettings
from pipeline.window import LookaheadWindow
from support.asserts import U8Array
from support.clips import head_patch, textured_background

WIDTH, HEIGHT = 640, 360
FPS = Fraction(25)
FILL = 96  # luma of `solid`
COVERED = 0.95  # of a face's pixels: less is a leak
LEAST_VISIBLE = 0.25  # of a face: less of it is not judged

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Head:
    """One face in one frame."""

    x: float  # of the face's middle
    y: float
    face_px: int = 60
    mirrored: bool = False

    def draw(self, canvas: U8Array) -> Mask:
        """Into the RGB canvas, cut at its edges; gives the face's pixels: an ellipse."""
        rgb, alpha, box = head_patch(self.face_px)
        x1, y1, x2, y2 = (float(side) for side in box)
        if self.mirrored:
            rgb, alpha = rgb[:, ::-1], alpha[:, ::-1]
            x1, x2 = rgb.shape[1] - x2, rgb.shape[1] - x1
        left, top = round(self.x - (x1 + x2) / 2), round(self.y - (y1 + y2) / 2)
        rows, columns = rgb.shape[:2]
        to = np.s_[max(top, 0) : max(top + rows, 0), max(left, 0) : max(left + columns, 0)]
        of = np.s_[max(-top, 0) :, max(-left, 0) :]
        place = canvas[to]
        part = np.s_[: place.shape[0], : place.shape[1]]
        weight = alpha[of][part]
        place[:] = np.rint(place * (1 - weight) + rgb[of][part] * weight).astype(np.uint8)
        across = (np.arange(WIDTH) + 0.5 - left - (x1 + x2) / 2) / ((x2 - x1) / 2)
        down = (np.arange(HEIGHT) + 0.5 - top - (y1 + y2) / 2) / ((y2 - y1) / 2)
        return np.asarray(across[None, :] ** 2 + down[:, None] ** 2 <= 1)

    @property
    def pixels(self) -> float:
        """Of the whole face."""
        x1, y1, x2, y2 = (float(side) for side in head_patch(self.face_px)[2])
        return np.pi / 4 * (x2 - x1) * (y2 - y1)


@dataclass(frozen=True)
class Painted:
    """RGB, and of each face the pixels that show it."""

    rgb: U8Array
    faces: list[Mask]
    whole: list[float]  # pixels of each face, had nothing hidden it


def paint(*heads: Head, background: U8Array | None = None) -> Painted:
    """Later heads stand before earlier ones."""
    canvas = (wall() if background is None else background).copy()
    masks: list[Mask] = []
    for head in heads:
        before = canvas.copy()
        mask = head.draw(canvas)
        changed = (canvas != before).any(axis=2)
        masks = [earlier & ~changed for earlier in masks] + [mask]
    return Painted(canvas, masks, [head.pixels for head in heads])


@lru_cache(maxsize=1)
def wall() -> U8Array:
    return textured_background(WIDTH, HEIGHT, 3)


@dataclass(frozen=True)
class Shown:
    """One frame as it went out."""

    bare: list[float]  # of each face that counts: the share of its pixels that is not filled
    ids: list[int]  # of the boxes, seen ones only
    filled: Mask = field(repr=False)


class Told(Gate):
    """Notes the numbers of the faces that it is given."""

    def __init__(self, settings: ProtectSettings) -> None:
        super().__init__("cam", partial(make_patches, settings=settings))
        self.ids: list[list[int]] = []

    def protect(
        self,
        frame: RawFrame,
        faces: Sequence[FaceBox],
        zones: Zones,
        *,
        follows_cut: bool = False,
    ) -> ProtectedFrame:
        self.ids.append([face.track_id for face in faces if face.is_found and not face.is_led_in])
        return super().protect(frame, faces, zones, follows_cut=follows_cut)


def run(
    service: DetectionService, painted: Sequence[Painted], **protect: object
) -> tuple[list[Shown], LookaheadWindow]:
    """All frames through window and gate; none may be dropped, none is the curtain."""
    settings = ProtectSettings.model_validate({"obfuscation": "solid"} | protect)
    gate = Told(settings)
    window = LookaheadWindow(
        "cam",
        protect=settings,
        detector=DetectorSettings(timeout=30.0),
        service=service,
        gate=gate,
        zones=Zones(),
        fps=FPS,
    )

    def frames() -> Iterator[ProtectedFrame]:
        for index, picture in enumerate(painted):
            i420 = cv2.cvtColor(picture.rgb, cv2.COLOR_RGB2YUV_I420)
            image = av.VideoFrame.from_ndarray(np.asarray(i420, np.uint8), format="yuv420p")
            yield from window.add(RawFrame(image, index, index, 1 / FPS, 0))
        yield from window.flush()

    out = list(frames())
    assert len(out) == len(painted) == len(gate.ids)
    assert not any(frame.redacted for frame in out)
    shown = []
    for frame, picture, ids in zip(out, painted, gate.ids, strict=True):
        filled = planes_of(frame.image).y == FILL
        counts = [
            float(mask.sum()) >= LEAST_VISIBLE * whole
            for mask, whole in zip(picture.faces, picture.whole, strict=True)
        ]
        bare = [
            1 - float(filled[mask].mean())
            for mask, is_judged in zip(picture.faces, counts, strict=True)
            if is_judged
        ]
        shown.append(Shown(bare, ids, filled))
    return shown, window


def assert_covered(shown: Sequence[Shown], *, least_judged: int) -> None:
    leaks = {
        index: [round(share, 2) for share in each.bare]
        for index, each in enumerate(shown)
        if any(share > 1 - COVERED for share in each.bare)
    }
    assert not leaks, f"bare shares of faces by frame: {leaks}"
    assert sum(len(each.bare) for each in shown) >= least_judged


def assert_most_is_clear(shown: Sequence[Shown], most: float = 0.2) -> None:
    """Nothing is won by filling the picture."""
    assert max(float(each.filled.mean()) for each in shown) < most


# --- a face whose number changes ---


@pytest.mark.parametrize("jumps_at", [20, 21, 22, 23])
def test_a_face_that_jumps_gets_a_new_number_and_stays_covered(
    service: DetectionService, jumps_at: int
) -> None:
    """By many times its size between two frames, on any frame between two looks."""
    painted = [
        paint(Head(130 + 2 * n, 150) if n < jumps_at else Head(480 + 2 * (n - jumps_at), 200))
        for n in range(40)
    ]
    shown, _ = run(service, painted)
    assert_covered(shown, least_judged=40)
    assert not set(shown[8].ids) & set(shown[36].ids)
    assert shown[8].ids and shown[36].ids


def test_who_comes_back_after_long_gets_a_new_number_and_is_covered_at_once(
    service: DetectionService,
) -> None:
    """Behind a pillar for longer than a lost face is held."""
    x1, x2 = 250, 400

    def behind_pillar(x: float) -> Painted:
        picture = paint(Head(x, 170))
        picture.rgb[:, x1:x2] = (90, 95, 100)
        picture.faces[0][:, x1:x2] = False
        return picture

    painted = [behind_pillar(120 + 5 * n) for n in range(80)]
    hidden = [n for n, picture in enumerate(painted) if not picture.faces[0].any()]
    assert len(hidden) > 15
    shown, _ = run(service, painted, hold=0.2)
    assert_covered(shown, least_judged=50)
    before, after = set(shown[hidden[0] - 20].ids), set(shown[hidden[-1] + 20].ids)
    assert before and after and not before & after


def test_two_who_cross_stay_covered_whatever_their_numbers(service: DetectionService) -> None:
    painted = [
        paint(Head(150 + 6 * n, 165, 56), Head(490 - 6 * n, 185, 64, mirrored=True))
        for n in range(56)
    ]
    shown, _ = run(service, painted)
    assert_covered(shown, least_judged=90)
    assert_most_is_clear(shown)


# --- the edge ---

Way = Callable[[int], tuple[float, float]]

EDGES: dict[str, Way] = {
    "left": lambda n: (-40 + 4.0 * n if n < 20 else 40 - 4.0 * (n - 20), 180),
    "right": lambda n: (WIDTH + 40 - 4.0 * n if n < 20 else WIDTH - 40 + 4.0 * (n - 20), 180),
    "top": lambda n: (300, -50 + 5.0 * n if n < 20 else 50 - 5.0 * (n - 20)),
    "bottom": lambda n: (300, HEIGHT + 50 - 5.0 * n if n < 20 else HEIGHT - 50 + 5.0 * (n - 20)),
}


@pytest.mark.parametrize("edge", EDGES)
def test_a_face_that_comes_in_and_goes_out_is_covered_in_every_frame(
    service: DetectionService, edge: str
) -> None:
    shown, _ = run(service, [paint(Head(*EDGES[edge](n))) for n in range(42)])
    assert_covered(shown, least_judged=25)
    assert_most_is_clear(shown)


@pytest.mark.parametrize(("x", "y"), [(0, 180), (WIDTH, 180), (300, HEIGHT - 4)])
def test_half_a_face_that_stays_at_the_edge_is_covered(
    service: DetectionService, x: float, y: float
) -> None:
    painted = [paint(Head(x + 3 * np.sin(n / 3), y + 2 * np.sin(n / 2))) for n in range(30)]
    shown, _ = run(service, painted)
    assert_covered(shown, least_judged=30)


# --- mirror, poster, glass ---


def test_a_face_and_its_mirror_image_are_both_covered(service: DetectionService) -> None:
    """They come together and part again, as before a mirror; each has its number."""

    def before_mirror(n: int) -> Painted:
        away = 110 + 50 * float(np.sin(n / 12))
        return paint(Head(320 - away, 180, 64), Head(320 + away, 180, 58, mirrored=True))

    shown, _ = run(service, [before_mirror(n) for n in range(48)])
    assert_covered(shown, least_judged=96)
    assert_most_is_clear(shown)
    assert min(len(set(each.ids)) for each in shown) == 2


@pytest.mark.parametrize("grey", [False, True])
def test_a_poster_is_covered_like_a_face(service: DetectionService, grey: bool) -> None:
    """Nobody can tell a printed face from one that stands still; nor is a poster nobody's face.
    Nothing moves, so it is looked at but once in a while, and stays covered."""
    background = wall().copy()
    cv2.rectangle(background, (400, 40), (560, 260), (225, 222, 214), -1)
    cv2.rectangle(background, (400, 40), (560, 260), (30, 30, 30), 3)
    cv2.putText(background, "VOTE", (428, 245), cv2.FONT_HERSHEY_DUPLEX, 1.3, (40, 40, 90), 2)
    still = paint(Head(480, 130, 62), background=background)
    if grey:
        tone = still.rgb[40:260, 400:560].mean(axis=2, keepdims=True)
        still.rgb[40:260, 400:560] = np.rint(0.7 * tone + 50).astype(np.uint8)
    shown, window = run(service, [still] * 100)
    assert_covered(shown, least_judged=100)
    assert window.looks <= 6  # of 25: one for every gate_refresh
    assert_most_is_clear(shown)


@pytest.mark.parametrize("reflected", [0.2, 0.35, 0.5])
def test_a_face_behind_glass_is_covered(service: DetectionService, reflected: float) -> None:
    """A street is mirrored in the pane, and slides over the face."""
    street = cv2.GaussianBlur(textured_background(2 * WIDTH, HEIGHT, 11), (0, 0), 1.5)
    street[:, 300:420] = 245  # the sky between two houses
    cv2.line(street, (500, 0), (760, HEIGHT), (20, 20, 20), 14)

    def behind_glass(n: int) -> Painted:
        picture = paint(Head(250 + 2.5 * n, 170 + 8 * float(np.sin(n / 7)), 66))
        pane = street[:, 4 * n : 4 * n + WIDTH]
        mixed = (1 - reflected) * picture.rgb + reflected * pane
        picture.rgb[:] = np.clip(np.rint(mixed), 0, 255).astype(np.uint8)
        return picture

    shown, _ = run(service, [behind_glass(n) for n in range(36)])
    assert_covered(shown, least_judged=36)
    assert_most_is_clear(shown, most=0.3)  # reflections look like faces here and there


# --- the judge ---


def test_the_judge_sees_a_face_that_is_left_bare() -> None:
    blind = DetectionService(
        lambda: ScriptedDetector(lambda _call, _item: Detections.empty()),
        batch=1,
        timeout_seconds=30.0,
    )
    try:
        shown, _ = run(blind, [paint(Head(300 + n, 180)) for n in range(12)])
    finally:
        blind.close()
    assert all(each.bare[0] > 0.9 for each in shown)
    with pytest.raises(AssertionError, match="bare shares"):
        assert_covered(shown, least_judged=12)
