"""The values that travel from stage to stage. Frozen, shape-checked, and mute about pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Literal

import av
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float32]
U8Array = NDArray[np.uint8]
I16Array = NDArray[np.int16]

PLANE_FORMATS = ("yuv420p", "yuvj420p")
"""Pixel formats the live path works on: three planes, 8 bit, chroma at half size."""


class ShapeError(ValueError):
    """An array does not have the shape that its name promises."""


@dataclass(frozen=True, slots=True)
class YuvPlanes:
    """Views into the planes of one 4:2:0 frame; writing into them writes into the frame.

    Take a new view after `VideoFrame.make_writable()`: that call may move the buffers.
    """

    y: U8Array = field(repr=False)  # (H, W)
    u: U8Array = field(repr=False)  # (H/2, W/2)
    v: U8Array = field(repr=False)  # (H/2, W/2)

    def __post_init__(self) -> None:
        height, width = self.y.shape
        if height % 2 or width % 2:
            raise ShapeError(f"luma sides must be even, got {width}x{height}")
        half = (height // 2, width // 2)
        if self.u.shape != half or self.v.shape != half:
            raise ShapeError(f"chroma must be {half}, got {self.u.shape} and {self.v.shape}")

    @property
    def size_px(self) -> tuple[int, int]:
        """(width, height) of the luma plane."""
        return self.y.shape[1], self.y.shape[0]


def planes_of(image: av.VideoFrame) -> YuvPlanes:
    """The frame's planes as arrays, without a copy. Raises ShapeError for other formats."""
    if image.format.name not in PLANE_FORMATS:
        raise ShapeError(f"planes need one of {PLANE_FORMATS}, got {image.format.name}")

    def view(index: int, width: int, height: int) -> U8Array:
        plane = image.planes[index]
        rows = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
        visible: U8Array = rows[:height, :width]
        return visible

    width, height = image.width, image.height
    return YuvPlanes(
        view(0, width, height),
        view(1, width // 2, height // 2),
        view(2, width // 2, height // 2),
    )


@dataclass(frozen=True, slots=True)
class RawFrame:
    """One decoded, unprotected picture. It never leaves the process; nothing encodes it."""

    image: av.VideoFrame = field(repr=False)
    index: int  # position in this session, from 0; gaps where a live source dropped frames
    pts: int  # output clock, in ticks of `time_base`, strictly increasing
    time_base: Fraction
    captured_ns: int  # this machine's monotonic clock when the packet had been decoded

    @property
    def pts_seconds(self) -> float:
        """Time on the output clock."""
        return float(self.pts * self.time_base)


@dataclass(frozen=True, slots=True)
class Detections:
    """The faces found in one picture, as a struct of arrays."""

    box_xyxy_px: FloatArray  # (N, 4) source-image pixels, x2 and y2 exclusive
    landmark_px: FloatArray  # (N, 5, 2) eyes, nose, mouth corners; NaN where unknown
    score: FloatArray  # (N,) in 0..1

    def __post_init__(self) -> None:
        count = len(self.score)
        if self.box_xyxy_px.shape != (count, 4):
            raise ShapeError(f"box_xyxy_px must be ({count}, 4), got {self.box_xyxy_px.shape}")
        if self.landmark_px.shape != (count, 5, 2):
            raise ShapeError(f"landmark_px must be ({count}, 5, 2), got {self.landmark_px.shape}")
        if not np.isfinite(self.box_xyxy_px).all() or not np.isfinite(self.score).all():
            # A NaN box covers nothing and compares false to everything: it must not go on.
            raise ShapeError("boxes and scores must be finite")

    def __len__(self) -> int:
        return len(self.score)

    @classmethod
    def empty(cls) -> Detections:
        """No face."""
        return cls(
            np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32), np.zeros(0, np.float32)
        )

    @classmethod
    def joined(cls, parts: Sequence[Detections]) -> Detections:
        """All of them, part by part; nothing is left out."""
        if not parts:
            return cls.empty()
        return cls(
            np.concatenate([part.box_xyxy_px for part in parts]),
            np.concatenate([part.landmark_px for part in parts]),
            np.concatenate([part.score for part in parts]),
        )

    def near(self, frame_px: tuple[int, int]) -> Detections:
        """Boxes cut off three frame sizes outside the frame: a wild one must stay computable."""
        size = np.array([*frame_px, *frame_px], np.float32)
        return replace(self, box_xyxy_px=np.clip(self.box_xyxy_px, -3 * size, 4 * size))

    def take(self, keep: NDArray[Any]) -> Detections:
        """The detections chosen by a mask or by indices."""
        return Detections(self.box_xyxy_px[keep], self.landmark_px[keep], self.score[keep])


NOBODY = 1 << 31
"""Numbers from here on are nobody's: what they cover may be no face at all."""


@dataclass(frozen=True, slots=True)
class FaceBox:
    """Where one tracked face is in one frame, and how far it may be from there."""

    track_id: int  # from NOBODY on: hidden in case it is a face, and nobody
    box_xyxy_px: FloatArray = field(repr=False)  # (4,)
    slack_px: float  # uncertainty of each side: extrapolated boxes are covered wider
    is_seen: bool = True  # found at or after this frame; False: held where it may have gone
    is_led_in: bool = False  # before it was first found: it may not have been there yet

    def __post_init__(self) -> None:
        if self.box_xyxy_px.shape != (4,) or not np.isfinite(self.box_xyxy_px).all():
            raise ShapeError(f"box_xyxy_px must be 4 finite numbers, got {self.box_xyxy_px}")

    @property
    def is_somebody(self) -> bool:
        """Whether it has a number that stands for a person."""
        return self.track_id < NOBODY

    @property
    def is_found(self) -> bool:
        """Whether somebody is really there: neither held after loss nor a weak box alone."""
        return self.is_seen and self.is_somebody


@dataclass(frozen=True, slots=True)
class TrackBox:
    """Where a frame hides a face that was seen there: whoever sees the picture may know it."""

    track_id: int  # the number that evidence records give it
    box_xywh_px: tuple[int, int, int, int]  # inside the frame

    def __post_init__(self) -> None:
        x, y, width, height = self.box_xywh_px
        if x < 0 or y < 0 or width < 1 or height < 1:
            raise ShapeError(f"a track's box must lie inside the frame, got {self.box_xywh_px}")


@dataclass(frozen=True, slots=True)
class Square:
    """Where one face is fused, on the frame's own grid: recovery needs exactly these numbers."""

    x_px: int  # left, even: a chroma sample begins here
    y_px: int  # top, even
    side_px: int  # a multiple of 4

    def __post_init__(self) -> None:
        if self.x_px % 2 or self.y_px % 2 or self.x_px < 0 or self.y_px < 0:
            raise ShapeError(f"a square's corner must be even and inside, got {self}")
        if self.side_px < 4 or self.side_px % 4:
            raise ShapeError(f"a square's side must be a multiple of 4, got {self.side_px}")

    @property
    def xys_px(self) -> tuple[int, int, int]:
        """(left, top, side)"""
        return self.x_px, self.y_px, self.side_px

    def overlaps(self, other: Square) -> bool:
        """Whether they share a pixel."""
        return (
            self.x_px < other.x_px + other.side_px
            and other.x_px < self.x_px + self.side_px
            and self.y_px < other.y_px + other.side_px
            and other.y_px < self.y_px + self.side_px
        )

    def of(self, planes: YuvPlanes) -> YuvPlanes:
        """Views of the square's pixels. Raises ShapeError where it does not lie inside."""
        width, height = planes.size_px
        x, y, side = self.xys_px
        if x + side > width or y + side > height:
            raise ShapeError(f"{self} does not lie in a frame of {width}x{height}")
        return part_of(planes, x, y, side, side)


def part_of(planes: YuvPlanes, x_px: int, y_px: int, width_px: int, height_px: int) -> YuvPlanes:
    """Views of an even-aligned rectangle inside the planes."""
    rows, columns = slice(y_px, y_px + height_px), slice(x_px, x_px + width_px)
    half = (
        slice(y_px // 2, (y_px + height_px) // 2),
        slice(x_px // 2, (x_px + width_px) // 2),
    )
    return YuvPlanes(planes.y[rows, columns], planes.u[half], planes.v[half])


@dataclass(frozen=True, slots=True)
class FusedFace:
    """A face whose original can be had from the protected pixels, by who has the key."""

    track_id: int
    square: Square


MOTION_CELLS = 9  # a side; benchmarks/motion.py, table "grid"


@dataclass(frozen=True, slots=True)
class Motion:
    """Where the pixels of a square of this frame were in the keyframe; `motion.py` reads it.

    Lay the two squares over each other, stretched: `grid` says how far each cell is then off.
    """

    key_number: int  # of the keyframe, as `FrameMoment.number` counts
    key_xys_px: tuple[int, int, int]  # left, top, side there, even; may hang out of the frame
    xys_px: tuple[int, int, int]  # the same here
    grid: I16Array = field(repr=False)  # (G, G, 2) x and y at cells' centres, 1/8 px of the key

    def __post_init__(self) -> None:
        if self.grid.shape != (MOTION_CELLS, MOTION_CELLS, 2) or self.grid.dtype != np.int16:
            raise ShapeError(
                f"a motion's grid must be ({MOTION_CELLS}, {MOTION_CELLS}, 2) int16, got "
                f"{self.grid.shape} {self.grid.dtype}"
            )
        for square in (self.key_xys_px, self.xys_px):
            if any(value % 2 for value in square) or square[2] < 2:
                raise ShapeError(f"a motion's squares must be even, got {square}")


Doubt = Literal[
    "forward-backward",
    "residual",
    "scale or rotation",
    "occlusion",
    "box jump",
    "uncovered",
    "scene cut",
    "gap",
    "too old",
    "flow failed",
]
"""Why a keyframe's protection is not carried on; `protect/propagate.py` has the rules."""


@dataclass(frozen=True, slots=True)
class CarriedFace:
    """A face that shows its keyframe's protection, moved along."""

    track_id: int
    motion: Motion


@dataclass(frozen=True, slots=True)
class FrameMoment:
    """What is known of a frame beside its pixels when its faces are hidden."""

    number: int  # counts the frames that leave the gate, from 0, without gaps
    pts_seconds: float  # output clock
    is_idr: bool  # the encoder will make an IDR frame of it
    zones: tuple[U8Array, ...] = field(default=(), repr=False)  # (H, W) masks: fixed content
    follows_cut: bool = False  # another scene than in the frame before


@dataclass(frozen=True, slots=True)
class FacePatch:
    """Obfuscated pixels for one even-aligned rectangle, and what they are sure to hide."""

    track_id: int
    x_px: int  # even, may not be negative
    y_px: int
    planes: YuvPlanes = field(repr=False)  # the rectangle's new content
    alpha: U8Array = field(repr=False)  # (h, w) luma weight of the new content, 255 = all of it
    face_xyxy_px: FloatArray = field(repr=False)  # (4,) the box that this patch promises to cover
    is_fused: bool = False  # a whole square out of a fusion engine: nothing may be mixed into it
    motion: Motion | None = None  # the content is that of a keyframe, moved by this

    def __post_init__(self) -> None:
        if self.x_px % 2 or self.y_px % 2 or self.x_px < 0 or self.y_px < 0:
            raise ShapeError(f"patch origin must be even and inside, got {self.x_px},{self.y_px}")
        if self.alpha.shape != self.planes.y.shape:
            raise ShapeError(f"alpha must be {self.planes.y.shape}, got {self.alpha.shape}")


@dataclass(frozen=True, slots=True)
class Surroundings:
    """The protected picture around a tile, with the tile in it."""

    x_px: int  # even, in the frame
    y_px: int
    planes: YuvPlanes = field(repr=False)
    is_hidden: U8Array | None = field(repr=False)  # (h/2, w/2) not 0: obfuscation; None: nowhere

    def part(self, x: int, y: int, width: int, height: int) -> Surroundings:
        """An even rectangle of it, counted from its own corner."""
        hidden = self.is_hidden
        if hidden is not None:
            hidden = hidden[y // 2 : (y + height) // 2, x // 2 : (x + width) // 2]
        return Surroundings(
            self.x_px + x, self.y_px + y, part_of(self.planes, x, y, width, height), hidden
        )


@dataclass(frozen=True, slots=True)
class OriginalTile:
    """What the camera saw where one track is hidden: for the seal stage, and for nobody else."""

    track_id: int  # from NOBODY on: of a scene tile only
    x_px: int  # even, inside the frame
    y_px: int
    # (h, w) even; the camera's pixels where the track owns them, elsewhere the protected picture's
    planes: YuvPlanes = field(repr=False)
    owned: U8Array | None = field(default=None, repr=False)  # (h/2, w/2) not 0: owned; None: all
    # the protected picture around it, with `planes` as a view of its middle: a tile video whose
    # edges show what a camera would see takes half the bits
    around: Surroundings | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if self.x_px % 2 or self.y_px % 2 or self.x_px < 0 or self.y_px < 0:
            raise ShapeError(f"a tile's corner must be even and inside, got {self.xywh_px}")
        if self.owned is not None and self.owned.shape != self.planes.u.shape:
            raise ShapeError(f"owned must be {self.planes.u.shape}, got {self.owned.shape}")

    @property
    def xywh_px(self) -> tuple[int, int, int, int]:
        """(left, top, width, height)"""
        return self.x_px, self.y_px, *self.planes.size_px


@dataclass(frozen=True, slots=True)
class FrameOriginals:
    """All that protection took away from one frame, each pixel once at most."""

    number: int  # as `FrameMoment.number` counts
    faces: tuple[OriginalTile, ...]
    scenes: tuple[OriginalTile, ...]  # what more than one face may own, by the track it lies in


@dataclass(frozen=True, slots=True)
class EncodedPacket:
    """One compressed packet, free of any container. Clock: ticks of `time_base`."""

    kind: str  # "video" or "audio"
    data: bytes = field(repr=False)
    pts: int
    dts: int
    duration: int
    time_base: Fraction
    is_keyframe: bool
    captured_ns: int = 0  # monotonic clock of the source frame; 0 for audio
    frame: int = -1  # counts the video frames of the session from 0; -1 for audio
    records: tuple[bytes, ...] = field(default=(), repr=False)  # evidence, for a sidecar
    tracks: tuple[TrackBox, ...] = ()  # whose faces the frame hides; none for audio
    redacted: bool = False  # the whole picture was obscured
