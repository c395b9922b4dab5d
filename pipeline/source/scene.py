"""A scene made on the spot: the same call gives the same pixels and the same face boxes.

Tests, benchmarks and demos need moving faces whose true place is known. The room is drawn once,
the people are cut from scikit-image's public-domain portrait, and only they are pasted per frame.
Colours are BT.709, limited range, and the frames say so.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import av
import numpy as np
from numpy.typing import NDArray

from .scene_picture import CutOut, Look, U8Array, cut_out, draw_room

FloatArray = NDArray[np.float64]

MAX_FACES = 5

TIMECODE_BITS = 32
TIMECODE_BLOCK_PX = 16  # one H.264 macroblock per bit
TIMECODE_WIDTH_PX = TIMECODE_BITS * TIMECODE_BLOCK_PX  # 512
TIMECODE_HEIGHT_PX = 2 * TIMECODE_BLOCK_PX  # 32: the bits, and their complement below
_BLACK, _WHITE, _NEUTRAL = 16, 235, 128  # limited range; neutral is "no colour" in both chromas
_TIMECODE_CONTRAST = 80  # of 219 levels: flatter than this is a picture, not a timecode

_BT709 = 1  # AVCOL_SPC_BT709, AVCOL_PRI_BT709 and AVCOL_TRC_BT709 share the number
_LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG


class _Path(NamedTuple):
    """A Lissajous curve of the face's centre, in fractions of the frame's width and height."""

    middle_xy: tuple[float, float]
    reach_xy: tuple[float, float]
    period_xy_seconds: tuple[float, float]
    phase_turns: float

    def at(self, seconds: float, extra_phase_turns: float) -> tuple[float, float]:
        turns = self.phase_turns + extra_phase_turns
        x, y = (
            middle + reach * math.sin(2 * math.pi * (seconds / period + turns))
            for middle, reach, period in zip(
                self.middle_xy, self.reach_xy, self.period_xy_seconds, strict=True
            )
        )
        return x, y


# A scene of n faces shows the first n. The third reaches 1.16 half widths: it leaves and returns.
# The second and the fourth run against each other and cross.
_CAST: tuple[tuple[Look, _Path], ...] = (
    (Look(0.16, False, 1.0, (1.0, 1.0, 1.0), 0), _Path((0.30, 0.52), (0.12, 0.06), (13, 9), 0.0)),
    (
        Look(0.12, True, 1.35, (1.0, 0.95, 0.9), 55),
        _Path((0.56, 0.46), (0.30, 0.03), (17, 11), 0.1),
    ),
    (
        Look(0.10, False, 0.85, (0.97, 1.0, 1.03), 100),
        _Path((0.50, 0.38), (0.58, 0.04), (19, 8), 0.17),
    ),
    (
        Look(0.08, True, 1.15, (0.96, 0.98, 1.0), 140),
        _Path((0.56, 0.42), (0.30, 0.03), (17, 7), 0.6),
    ),
    (Look(0.05, False, 1.6, (1.0, 0.92, 0.84), 85), _Path((0.80, 0.30), (0.08, 0.03), (11, 7), 0)),
)


@dataclass(frozen=True, slots=True)
class _Person:
    """A cut-out and its path."""

    cut_out: CutOut = field(repr=False)
    path: _Path
    extra_phase_turns: float

    def corner_xy_px(self, seconds: float, width_px: int, height_px: int) -> tuple[int, int]:
        """The frame position of the cut-out's corner, in whole pixels."""
        x, y = self.path.at(seconds, self.extra_phase_turns)
        x1, y1, x2, y2 = self.cut_out.face_xyxy_px
        return round(x * width_px - (x1 + x2) / 2), round(y * height_px - (y1 + y2) / 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """People moving about a room. Safe to share between threads: rendering changes nothing."""

    width_px: int  # even
    height_px: int  # even
    fps: float  # only turns a frame index into a time: the paths are functions of time
    faces: int  # 0..5, the largest first
    seed: int  # the wall's texture and where on its path everybody starts
    timecode: bool = False  # render() stamps the frame index into the top left corner
    _room: tuple[U8Array, ...] = field(init=False, repr=False, compare=False)
    _people: tuple[_Person, ...] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name, side_px in (("width_px", self.width_px), ("height_px", self.height_px)):
            if side_px < 64 or side_px % 2:
                raise ValueError(f"scene {name} must be even and at least 64, got {side_px}")
        if not 0 <= self.faces <= MAX_FACES:
            raise ValueError(f"scene faces must be between 0 and {MAX_FACES}, got {self.faces}")
        if not (math.isfinite(self.fps) and self.fps > 0):
            raise ValueError(f"scene fps must be positive, got {self.fps}")
        if self.timecode and self.width_px < TIMECODE_WIDTH_PX:
            raise ValueError(
                f"a timecode needs a width of {TIMECODE_WIDTH_PX} pixels, got {self.width_px}"
            )
        random = np.random.default_rng(self.seed)
        room = draw_room(self.width_px, self.height_px, random)
        phases = random.uniform(-0.04, 0.04, MAX_FACES)
        people = tuple(
            _Person(cut_out(look, self.height_px), path, float(phase))
            for (look, path), phase in zip(_CAST[: self.faces], phases, strict=False)
        )
        object.__setattr__(self, "_room", room)
        object.__setattr__(self, "_people", people)

    def render(self, frame_index: int) -> av.VideoFrame:
        """A new yuv420p frame, tagged BT.709 limited range; pts is left unset."""
        frame = av.VideoFrame(self.width_px, self.height_px, "yuv420p")
        frame.colorspace = frame.color_primaries = frame.color_trc = _BT709
        frame.color_range = _LIMITED_RANGE
        planes = [plane_view(frame, index) for index in range(3)]
        for plane, room in zip(planes, self._room, strict=True):
            np.copyto(plane, room)
        for person in reversed(self._people):  # the small ones stand at the back
            corner = person.corner_xy_px(frame_index / self.fps, self.width_px, self.height_px)
            _paste(planes, person, corner)
        if self.timecode:
            stamp_timecode(frame, frame_index)
        return frame

    def face_boxes_xyxy_px(self, frame_index: int) -> FloatArray:
        """The true boxes, (N, 4), hairline to chin and ear to ear, x2 and y2 exclusive.

        Clipped to the frame; a face wholly outside is left out, one that stands behind another
        is not.
        """
        boxes: list[tuple[float, float, float, float]] = []
        for person in self._people:
            x, y = person.corner_xy_px(frame_index / self.fps, self.width_px, self.height_px)
            x1, x2 = (
                min(max(x + v, 0.0), self.width_px) for v in person.cut_out.face_xyxy_px[0::2]
            )
            y1, y2 = (
                min(max(y + v, 0.0), self.height_px) for v in person.cut_out.face_xyxy_px[1::2]
            )
            if x1 < x2 and y1 < y2:
                boxes.append((x1, y1, x2, y2))
        return np.array(boxes, dtype=np.float64).reshape(-1, 4)


def plane_view(frame: av.VideoFrame, index: int) -> U8Array:
    """A writable (height, width) view of one 8-bit plane, without the padding of its rows."""
    plane = frame.planes[index]
    buffer: Any = plane  # a buffer at run time, which PyAV's types do not say
    rows: U8Array = np.frombuffer(buffer, dtype=np.uint8, count=plane.line_size * plane.height)
    view: U8Array = rows.reshape(plane.height, plane.line_size)[:, : plane.width]
    return view


def stamp_timecode(frame: av.VideoFrame, value: int) -> None:
    """Write a 32-bit number over the top left 512x32 pixels of a yuv420p frame, in place.

    Raises ValueError if the frame is of another format or too small, or the number does not fit.
    """
    if frame.format.name != "yuv420p":
        raise ValueError(f"a timecode needs a yuv420p frame, got {frame.format.name}")
    if frame.width < TIMECODE_WIDTH_PX or frame.height < TIMECODE_HEIGHT_PX:
        raise ValueError(
            f"a timecode needs {TIMECODE_WIDTH_PX}x{TIMECODE_HEIGHT_PX} pixels, "
            f"got {frame.width}x{frame.height}"
        )
    if not 0 <= value < 1 << TIMECODE_BITS:
        raise ValueError(f"a timecode must fit {TIMECODE_BITS} bits, got {value}")
    bits = np.array([value >> bit & 1 for bit in reversed(range(TIMECODE_BITS))], dtype=bool)
    levels = np.where(np.stack([bits, ~bits]), _WHITE, _BLACK).astype(np.uint8)  # (2, 32)
    strip = levels.repeat(TIMECODE_BLOCK_PX, axis=0).repeat(TIMECODE_BLOCK_PX, axis=1)
    plane_view(frame, 0)[:TIMECODE_HEIGHT_PX, :TIMECODE_WIDTH_PX] = strip
    for index in (1, 2):
        chroma = plane_view(frame, index)
        chroma[: TIMECODE_HEIGHT_PX // 2, : TIMECODE_WIDTH_PX // 2] = _NEUTRAL


def read_timecode(luma: U8Array) -> int | None:
    """The number stamped into a (H, W) luma plane; None where bits and complement disagree."""
    if luma.shape[0] < TIMECODE_HEIGHT_PX or luma.shape[1] < TIMECODE_WIDTH_PX:
        return None
    block = TIMECODE_BLOCK_PX
    blocks = luma[:TIMECODE_HEIGHT_PX, :TIMECODE_WIDTH_PX].reshape(2, block, -1, block)
    # A block's rim may be bent by its neighbours (ringing, deblocking): only its middle counts.
    levels = blocks[:, 4:-4, :, 4:-4].mean(axis=(1, 3))  # (2, 32)
    contrast = levels[0] - levels[1]
    if np.abs(contrast).min() < _TIMECODE_CONTRAST:
        return None
    return int("".join("1" if bit else "0" for bit in contrast > 0), 2)


def _paste(planes: Sequence[U8Array], person: _Person, corner_xy_px: tuple[int, int]) -> None:
    x, y = corner_xy_px
    for step, plane, patch in zip(
        (1, 2, 2), planes, person.cut_out.patches[y % 2, x % 2], strict=True
    ):
        left, top = (x - x % 2) // step, (y - y % 2) // step
        x1, x2 = max(left, 0), min(left + patch.keep.shape[1], plane.shape[1])
        y1, y2 = max(top, 0), min(top + patch.keep.shape[0], plane.shape[0])
        if x1 >= x2 or y1 >= y2:
            return
        cut = np.s_[y1 - top : y2 - top, x1 - left : x2 - left]
        under = plane[y1:y2, x1:x2]
        # At most 235 * 256 + 128 and a rounding step: fits 16 bits.
        under[:] = (under * patch.keep[cut] + patch.weighted[cut] + np.uint16(128)) >> 8
