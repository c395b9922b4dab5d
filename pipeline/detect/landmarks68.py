"""68 landmarks of a face by 2DFAN-4, as the package face-alignment carries it, in PyTorch.

A. Bulat and G. Tzimiropoulos, How far are we from solving the 2D & 3D face alignment problem?,
ICCV 2017. Slow, for protectors and measurements that ask for it. Package and weights are the
user's to install (extra `landmarks`). Of the package only the network is used: its own class
downloads weights, compiles, writes a cache and rounds landmarks to whole pixels.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import EngineError, ModelEntry
from engines.catalog import verified_file

from ..frames import FloatArray, ShapeError, U8Array, YuvPlanes

CROP_PX = 256  # the side of the network's input
MAP_PX = 64  # the side of its heat maps: one cell is 256 / 64 = 4 pixels of the crop
COUNT = 68
# How faces were cut out for training: the square is 200 / 195 of the sum of the box's sides, and
# its middle lies 0.12 of the box's height above the box's.
SQUARE_PER_SIDES = 200 / 195
RAISED = 0.12
BLACK_YUV = (16, 128, 128)  # outside of the frame; BT.601, limited range

Heatmaps = Callable[[FloatArray], FloatArray]
"""(1, 3, 256, 256) RGB in 0..1 to (1, 68, 64, 64)."""


class FanLandmarks:
    """Where eyes, brows, nose, mouth and jaw are, inside boxes that a detector found."""

    def __init__(self, name: str, heatmaps: Heatmaps) -> None:
        """With a network that is loaded already; `open` loads the catalogued one."""
        self.name = name
        self._heatmaps: Heatmaps | None = heatmaps

    @classmethod
    def open(cls, entry: ModelEntry) -> FanLandmarks:
        """Raises EngineError where package or weights are missing, or are not those tested."""
        for package in ("torch", "face_alignment"):
            if importlib.util.find_spec(package) is None:
                shown = package.replace("_", "-")
                raise EngineError(f"model {entry.name}: {shown} is not installed. {entry.fix}")
        return cls(entry.name, _fan(entry))

    def find(self, planes: YuvPlanes, box_xyxy_px: FloatArray) -> FloatArray:
        """(N, 68, 2) in source pixels for (N, 4) boxes, ordered as in iBUG's 300-W.

        NaN for a box that is empty, or larger than twice the frame. Raises EngineError.
        """
        if self._heatmaps is None:
            raise EngineError(f"model {self.name} is closed")
        found = np.full((len(box_xyxy_px), COUNT, 2), np.nan, np.float32)
        for index, box in enumerate(box_xyxy_px):
            square = _square(box, planes.size_px)
            if square is None:
                continue
            x, y, side = square
            picture = _crop(planes, x, y, side).transpose(2, 0, 1)[None]  # (1, 3, 256, 256)
            try:
                maps = self._heatmaps(picture * np.float32(1 / 255))
            except (RuntimeError, MemoryError) as error:
                raise EngineError(f"model {self.name} failed: {type(error).__name__}") from error
            if maps.shape != (1, COUNT, MAP_PX, MAP_PX):
                raise EngineError(f"model {self.name} gave heat maps of {maps.shape}")
            found[index] = peaks(maps[0]) * (side / MAP_PX) + np.array([x, y], np.float32)
        return found

    def close(self) -> None:
        """Free the network."""
        self._heatmaps = None


def five_of_68(landmarks: NDArray[Any]) -> FloatArray:
    """(..., 68, 2) to (..., 5, 2) as in `Detections`: middles of the eyes, nose, mouth corners.

    The eye and the corner on the picture's left come first. An eye's middle is that of its six
    points: the pupil is not among them.
    """
    if landmarks.shape[-2:] != (COUNT, 2):
        raise ShapeError(f"landmarks must be (..., {COUNT}, 2), got {landmarks.shape}")
    points = [
        landmarks[..., 36:42, :].mean(axis=-2),
        landmarks[..., 42:48, :].mean(axis=-2),
        landmarks[..., 30, :],
        landmarks[..., 48, :],
        landmarks[..., 54, :],
    ]
    return np.stack(points, axis=-2).astype(np.float32)


def peaks(maps: FloatArray) -> FloatArray:
    """(K, H, W) heat maps to (K, 2), in cells: cell i of a row covers [i, i + 1).

    A quarter of a cell from the middle of the highest towards its higher neighbour, on each axis:
    A. Newell et al., Stacked hourglass networks, ECCV 2016, section 3.2. NaN where a map is not
    finite.
    """
    count, _, width = maps.shape
    rows, columns = np.divmod(maps.reshape(count, -1).argmax(axis=1), width)
    each = np.arange(count)
    framed = np.pad(maps, ((0, 0), (1, 1), (1, 1)), mode="edge")
    with np.errstate(invalid="ignore"):  # what is not finite is left out below
        lean_x = framed[each, rows + 1, columns + 2] - framed[each, rows + 1, columns]
        lean_y = framed[each, rows + 2, columns + 1] - framed[each, rows, columns + 1]
    points = np.stack([columns, rows], axis=1) + 0.5
    points += 0.25 * np.sign(np.stack([lean_x, lean_y], axis=1))
    points[~np.isfinite(maps).all(axis=(1, 2))] = np.nan
    return points.astype(np.float32)


def _square(box: FloatArray, frame_px: tuple[int, int]) -> tuple[int, int, int] | None:
    """(x, y, side) of the square that the network sees, even, so that chroma follows."""
    x1, y1, x2, y2 = (float(value) for value in box)
    width, height = x2 - x1, y2 - y1
    # Also for NaN, which compares false; a wild box would need memory without end.
    if not (width > 0 and height > 0 and width + height <= 4 * max(frame_px)):
        return None
    side = max(2 * round((width + height) * SQUARE_PER_SIDES / 2), 2)
    middle_y = (y1 + y2) / 2 - RAISED * height
    x, y = (2 * round((middle - side / 2) / 2) for middle in ((x1 + x2) / 2, middle_y))
    return x, y, side


def _crop(planes: YuvPlanes, x_px: int, y_px: int, side_px: int) -> U8Array:
    """(256, 256, 3) RGB of a square of the frame; black where it reaches beyond."""
    resample = cv2.INTER_AREA if side_px > CROP_PX else cv2.INTER_LINEAR
    i420 = np.empty((CROP_PX * 3 // 2, CROP_PX), np.uint8)
    chroma = i420[CROP_PX:].reshape(2, CROP_PX // 2, CROP_PX // 2)
    parts = ((planes.y, 1, i420[:CROP_PX]), (planes.u, 2, chroma[0]), (planes.v, 2, chroma[1]))
    for (plane, step, made), black in zip(parts, BLACK_YUV, strict=True):
        x, y, side = x_px // step, y_px // step, side_px // step
        square = np.full((side, side), black, np.uint8)
        inside = plane[max(y, 0) : max(y + side, 0), max(x, 0) : max(x + side, 0)]
        top, left = max(-y, 0), max(-x, 0)
        height, width = inside.shape
        square[top : top + height, left : left + width] = inside
        made[...] = cv2.resize(square, made.shape[::-1], interpolation=resample)
    return np.asarray(cv2.cvtColor(i420, cv2.COLOR_YUV2RGB_I420), np.uint8)


def _fan(entry: ModelEntry) -> Heatmaps:
    """The network with its hash-checked weights."""
    weights = verified_file(entry)
    import torch
    from face_alignment.models import FAN

    try:
        net = FAN(4)  # four hourglasses, the last of which answers
        # Of numbers only: a file that holds anything to be run is refused.
        net.load_state_dict(torch.load(weights, map_location="cpu", weights_only=True))
    except Exception as error:  # torch raises many kinds for a file that is not what it should be
        raise EngineError(
            f"model {entry.name}: {weights.name} does not fit. {entry.fix}"
        ) from error
    net.eval()

    def run(pictures: FloatArray) -> FloatArray:
        with torch.inference_mode():
            made: FloatArray = net(torch.from_numpy(pictures))[-1].numpy()
        return made

    return run
