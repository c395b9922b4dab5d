"""Aligned face crops by landmarks, and their inverse: for protectors that need a frontal face.

Not for PRO-Face S, which fuses on the frame's own grid: a crop made here is resampled.

Coordinates are continuous: pixel i of a row covers [i, i + 1), its centre lies at i + 0.5, as in
`Detections`. A 4:2:0 chroma plane covers the same area with half the samples, so a chroma
coordinate is a luma coordinate halved, and the centre of chroma sample i lies at 2 i + 1 in luma:
between two luma pixels, as in MPEG-1 and JPEG. Where a stream places chroma on the left luma pixel
instead (H.264's default), a crop's colour is off by half a source pixel, and pasting undoes that.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import ceil, floor, hypot, isfinite
from typing import Any, TypeVar, overload

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import ProtectionError
from ..frames import ShapeError, U8Array, YuvPlanes

TEMPLATE_PX = 112  # the side of the square that the template is drawn in
TEMPLATE: NDArray[np.float64] = np.array(  # (5, 2), the one that ArcFace was trained with
    [
        [38.2946, 51.6963],  # the eye on the picture's left
        [73.5318, 51.5014],
        [56.0252, 71.7366],  # tip of the nose
        [41.5493, 92.3655],  # the corner of the mouth on the picture's left
        [70.7299, 92.2041],
    ]
)
TEMPLATE.flags.writeable = False
FEATHER_PX = 4.0  # of the frame: two chroma samples, as in square.py at its least
LEAST_SPREAD_PX = 1.0  # rms from the middle: the noise of landmarks is larger than such a face
LEAST_WIDTH = 0.05  # of their length: landmarks on one line say nothing about the other axis
# Of the template's variance, what the fit explains. The template turned about its vertical axis,
# nose 18 px out: 0.95 at 40 degrees, 0.55 at 90; with its eyes swapped 0.29, mirrored 0.05.
LEAST_EXPLAINED = 0.4
MOST_PX = 1e9  # no landmark of any frame lies there, and nothing overflows below it
MARGIN_PX = 3  # around what is resampled: interpolation reaches two samples further

Picture = TypeVar("Picture", YuvPlanes, U8Array)
"""Planes, or a picture of (H, W) or (H, W, 3)."""


@dataclass(frozen=True, slots=True)
class Similarity:
    """Frame to template: a rotation, one scale and a shift; it has no room for a reflection.

    u = a x - b y + shift_x, v = b x + a y + shift_y, with a = scale cos, b = scale sin.
    """

    a: float
    b: float
    shift_x: float
    shift_y: float

    def __post_init__(self) -> None:
        if not all(isfinite(value) for value in (self.a, self.b, self.shift_x, self.shift_y)):
            raise ProtectionError("an alignment must be of finite numbers")
        if not 1e-9 < self.scale < 1e9:
            raise ProtectionError(f"an alignment's scale must be above 0, got {self.scale:.3g}")

    @property
    def scale(self) -> float:
        """Template pixels per frame pixel."""
        return hypot(self.a, self.b)

    def apply(self, points: NDArray[Any]) -> NDArray[np.float64]:
        """(..., 2) frame to template."""
        x, y = points[..., 0].astype(np.float64), points[..., 1].astype(np.float64)
        return np.stack(
            [self.a * x - self.b * y + self.shift_x, self.b * x + self.a * y + self.shift_y], -1
        )

    def inverse(self) -> Similarity:
        """Template to frame."""
        square = self.a**2 + self.b**2
        a, b = self.a / square, -self.b / square
        x, y = self.shift_x, self.shift_y
        return Similarity(a, b, b * y - a * x, -b * x - a * y)

    def rescaled(self, source: float, target: float) -> Similarity:
        """The same between coordinates that were multiplied by `source` and by `target`."""
        ratio = target / source
        return Similarity(
            self.a * ratio, self.b * ratio, self.shift_x * target, self.shift_y * target
        )

    def from_corner(self, x: float, y: float) -> Similarity:
        """The same, where source coordinates count from (x, y)."""
        u, v = self.apply(np.array([x, y]))
        return Similarity(self.a, self.b, float(u), float(v))


def umeyama(source: NDArray[Any], target: NDArray[Any]) -> tuple[Similarity, float]:
    """The similarity that takes (N, 2) `source` to `target` with the least squared error.

    Also the share of the target's variance that it explains, 0 to 1. S. Umeyama, Least-squares
    estimation of transformation parameters between two point patterns, IEEE TPAMI 13(4), 1991;
    numbers below are its equations. Raises ProtectionError where there is no such similarity.
    """
    x, y = source.astype(np.float64), target.astype(np.float64)
    if x.shape != y.shape or x.ndim != 2 or x.shape[1] != 2 or len(x) < 2:
        raise ProtectionError(f"alignment needs pairs of points, got {x.shape} and {y.shape}")
    if not ((np.abs(x) < MOST_PX).all() and (np.abs(y) < MOST_PX).all()):  # false for NaN
        raise ProtectionError("alignment needs finite points, and some are unknown")
    mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)  # (34), (35)
    variance_x = float(((x - mean_x) ** 2).sum(axis=1).mean())  # (36)
    variance_y = float(((y - mean_y) ** 2).sum(axis=1).mean())  # (37)
    if variance_x == 0 or variance_y == 0:
        raise ProtectionError("alignment needs points that differ: they are all in one place")
    covariance = (y - mean_y).T @ (x - mean_x) / len(x)  # (2, 2), (38)
    U, D, Vt = np.linalg.svd(covariance)
    # (43), which agrees with (39) at full rank: the best rotation, never a reflection
    S = np.array([1.0, 1.0 if np.linalg.det(U) * np.linalg.det(Vt) > 0 else -1.0])
    R = U @ np.diag(S) @ Vt  # (40)
    trace = float((D * S).sum())
    scale = trace / variance_x  # (42)
    shift = mean_y - scale * R @ mean_x  # (41)
    a, b = (float(scale * value) for value in R[:, 0])
    found = Similarity(a, b, float(shift[0]), float(shift[1]))
    return found, scale * trace / variance_y  # the error, (33): variance_y - trace**2 / variance_x


def align(landmark_px: NDArray[Any]) -> Similarity:
    """From a face's (5, 2) landmarks, ordered as in `Detections`, to the template.

    Raises ProtectionError where they are unknown, on one point or line, or of no frontal face.
    """
    if landmark_px.shape != TEMPLATE.shape:
        raise ProtectionError(f"alignment needs (5, 2) landmarks, got {landmark_px.shape}")
    found, explained = umeyama(landmark_px, TEMPLATE)
    # The fit of points on one line is unique, but it is one of noise.
    centred = landmark_px.astype(np.float64) - landmark_px.mean(axis=0, dtype=np.float64)
    length, width = np.linalg.svd(centred, compute_uv=False)
    if hypot(length, width) < LEAST_SPREAD_PX * len(centred) ** 0.5:
        raise ProtectionError("alignment needs landmarks that differ: they are all in one place")
    if width < LEAST_WIDTH * length:
        raise ProtectionError("alignment needs landmarks of a face: they are all on one line")
    if explained < LEAST_EXPLAINED:
        raise ProtectionError("alignment needs landmarks of a frontal face: these are of none")
    return found


@overload
def crop_aligned(picture: YuvPlanes, transform: Similarity, size_px: int = ...) -> YuvPlanes: ...
@overload
def crop_aligned(picture: U8Array, transform: Similarity, size_px: int = ...) -> U8Array: ...
def crop_aligned(
    picture: YuvPlanes | U8Array, transform: Similarity, size_px: int = TEMPLATE_PX
) -> YuvPlanes | U8Array:
    """The template's square out of the frame, `size_px` wide; reads only.

    What lies outside of the frame repeats its edge. Planes need an even size. Raises
    ProtectionError where nothing of the square lies inside the frame.
    """
    _check_size(picture, size_px)
    made = []
    for plane, parts in _planes(picture):
        side = size_px // parts
        forward = transform.rescaled(1 / parts, side / TEMPLATE_PX)
        x1, y1, x2, y2 = _window(plane, forward, side)
        margin = MARGIN_PX * max(1, ceil(1 / forward.scale))
        x0, y0 = max(x1 - margin, 0), max(y1 - margin, 0)
        part = plane[y0 : y2 + margin, x0 : x2 + margin]
        made.append(_resample(part, forward.from_corner(x0, y0), (side, side)))
    return YuvPlanes(*made) if isinstance(picture, YuvPlanes) else made[0]


def paste_aligned(
    picture: Picture, crop: Picture, transform: Similarity, *, feather_px: float = FEATHER_PX
) -> None:
    """Write an aligned crop back, in place, only where its square covers the frame.

    The crop's weight falls to 0 over the outermost `feather_px` frame pixels of the square: what
    is there stays visible, so the square is laid over a face that is hidden already. `picture` is
    the caller's own copy: a frame is written by the gate alone. Raises as `crop_aligned`.
    """
    size_px = crop.size_px[0] if isinstance(crop, YuvPlanes) else crop.shape[1]
    _check_size(crop, size_px)
    targets: list[tuple[U8Array, int]] = list(_planes(picture))
    contents: list[tuple[U8Array, int]] = list(_planes(crop))
    work: list[tuple[U8Array, U8Array, NDArray[np.float32]]] = []
    for (plane, parts), (content, _) in zip(targets, contents, strict=True):
        side = size_px // parts
        if content.shape[:2] != (side, side) or content.shape[2:] != plane.shape[2:]:
            raise ShapeError(f"a crop must be square and like its picture, got {content.shape}")
        forward = transform.rescaled(1 / parts, side / TEMPLATE_PX)
        x1, y1, x2, y2 = _window(plane, forward, side)
        forward = forward.from_corner(x1, y1)
        new = _resample(content, forward.inverse(), (x2 - x1, y2 - y1))
        weight = _weight(forward, side, (x2 - x1, y2 - y1), feather_px / parts)
        work.append((plane[y1:y2, x1:x2], new, weight))
    for target, new, weight in work:  # nothing is written before all of it could be made
        alpha = weight if new.ndim == 2 else weight[:, :, None]
        change = (new.astype(np.float32) - target) * alpha
        target[...] = np.rint(target + change).astype(np.uint8)


def _planes(picture: YuvPlanes | U8Array) -> Iterator[tuple[U8Array, int]]:
    """Each plane, and how many luma pixels one of its samples is wide."""
    if isinstance(picture, YuvPlanes):
        yield from ((picture.y, 1), (picture.u, 2), (picture.v, 2))
    else:
        yield picture, 1


def _check_size(picture: YuvPlanes | U8Array, size_px: int) -> None:
    step = 2 if isinstance(picture, YuvPlanes) else 1
    if size_px < 2 or size_px % step:
        raise ShapeError(f"a crop's side must be at least 2 and a multiple of {step}: {size_px}")


def _window(plane: U8Array, forward: Similarity, side: int) -> tuple[int, int, int, int]:
    """(x1, y1, x2, y2) of the plane around what the square covers of it."""
    height, width = plane.shape[:2]
    corners = np.array([[0, 0], [side, 0], [side, side], [0, side]])
    xs, ys = forward.inverse().apply(corners).T
    x1, x2 = max(floor(xs.min()), 0), min(ceil(xs.max()), width)
    y1, y2 = max(floor(ys.min()), 0), min(ceil(ys.max()), height)
    if x1 >= x2 or y1 >= y2:
        raise ProtectionError("the aligned square lies outside of the frame")
    return x1, y1, x2, y2


def _resample(plane: U8Array, forward: Similarity, size_px: tuple[int, int]) -> U8Array:
    """(h, w, ...) the plane through `forward`, both in continuous coordinates."""
    factor = min(int(1 / forward.scale), *plane.shape[:2])
    if factor >= 2:
        # Interpolation looks at 4 x 4 samples: with more of them to a pixel it would alias.
        rows, columns = (length // factor for length in plane.shape[:2])
        plane = np.asarray(
            cv2.resize(
                plane[: rows * factor, : columns * factor],
                (columns, rows),
                interpolation=cv2.INTER_AREA,
            ),
            np.uint8,
        )
        forward = forward.rescaled(1 / factor, 1)
    # OpenCV counts from pixel centres: u - 0.5 = M (x - 0.5, y - 0.5), hence the half pixels.
    centres = forward.from_corner(0.5, 0.5)
    matrix = np.array(
        [
            [centres.a, -centres.b, centres.shift_x - 0.5],
            [centres.b, centres.a, centres.shift_y - 0.5],
        ]
    )
    made = cv2.warpAffine(
        plane, matrix, size_px, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(made, np.uint8)


def _weight(
    forward: Similarity, side: int, size_px: tuple[int, int], feather: float
) -> NDArray[np.float32]:
    """(h, w) 0 outside of the square, rising to 1 over `feather` samples inside of it."""
    width, height = size_px
    x, y = np.arange(width) + 0.5, np.arange(height)[:, None] + 0.5
    # (h, w) by sums of a row and a column: `apply` on every pixel takes several times as long
    u = forward.a * x + (forward.shift_x - forward.b * y)
    v = forward.b * x + (forward.shift_y + forward.a * y)
    depth = side / 2 - np.maximum(np.abs(u - side / 2), np.abs(v - side / 2))
    depth /= forward.scale * max(feather, 1e-6)
    return np.clip(depth, 0, 1, out=depth).astype(np.float32)
