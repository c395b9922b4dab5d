"""The words of the leak measurement: a face in a frame, and a clip with the truth beside it.

The size of a face is `sqrt(w * h)` of its true box. Its pixels are the visible ellipse of a made
face, or the ellipse inscribed in a labelled box: a box's corners are no face. A face counts in a
frame if at least LEAST_VISIBLE of its ellipse is to be seen there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Literal

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.frames import FloatArray, ShapeError

Mask = NDArray[np.bool_]
Family = Literal["made", "stills", "pans", "recorded"]

LEAST_VISIBLE = 0.25  # of a face's pixels inside the frame: less of it is not judged


@dataclass(frozen=True, slots=True)
class TrueFace:
    """One face in one frame of the truth."""

    person: int  # the same through the clip
    box_xyxy_px: FloatArray  # (4,) the whole face; may reach out of the frame
    x_px: int  # of the mask's corner, inside the frame
    y_px: int
    mask: Mask = field(repr=False)  # (h, w) what is to be seen of the face
    visible: float  # the mask's share of the whole face's pixels
    is_doubtful: bool = False  # nobody can say whether it is one: counted on neither side

    def __post_init__(self) -> None:
        if self.box_xyxy_px.shape != (4,) or not np.isfinite(self.box_xyxy_px).all():
            raise ShapeError(f"box_xyxy_px must be 4 finite numbers, got {self.box_xyxy_px}")
        if self.mask.ndim != 2 or self.mask.dtype != np.bool_:
            raise ShapeError(f"mask must be (h, w) bool, got {self.mask.shape} {self.mask.dtype}")
        if self.x_px < 0 or self.y_px < 0:
            raise ShapeError(f"a mask's corner must be inside, got {self.x_px},{self.y_px}")

    @property
    def size_px(self) -> float:
        """sqrt(w * h) of the whole face's box."""
        x1, y1, x2, y2 = map(float, self.box_xyxy_px)
        return math.sqrt((x2 - x1) * (y2 - y1))


@dataclass(frozen=True, slots=True)
class LeakClip:
    """Pictures, and where every face in them is."""

    name: str
    family: Family
    condition: str  # day, dusk, blur, compression, occlusion, profile, edges, small, crowd; "" else
    frames: int
    size_px: tuple[int, int]  # (width, height), even
    fps: Fraction
    pictures: Callable[[], Iterator[av.VideoFrame]] = field(repr=False)
    """yuv420p, in order, new objects each time: who gets them may write into them."""
    truths: Callable[[int], list[TrueFace]] = field(repr=False)  # by frame index
    truth: str = ""  # where it comes from, for people

    def __post_init__(self) -> None:
        if any(side < 2 or side % 2 for side in self.size_px):
            raise ShapeError(f"{self.name}: sides must be even, got {self.size_px}")
        if self.frames < 1:
            raise ShapeError(f"{self.name}: a clip has frames, got {self.frames}")


def face_of_box(
    person: int,
    box_xyxy_px: FloatArray,
    frame_px: tuple[int, int],
    *,
    is_doubtful: bool = False,
) -> TrueFace | None:
    """With the inscribed ellipse as its pixels; None where nothing of it lies in the frame."""
    x1, y1, x2, y2 = map(float, box_xyxy_px)
    if x2 <= x1 or y2 <= y1:
        return None
    left, top = math.floor(x1), math.floor(y1)
    columns = np.arange(left, math.ceil(x2)) + 0.5  # pixels' centres
    rows = np.arange(top, math.ceil(y2)) + 0.5
    across = ((columns - (x1 + x2) / 2) / ((x2 - x1) / 2)) ** 2
    down = ((rows - (y1 + y2) / 2) / ((y2 - y1) / 2)) ** 2
    whole = across[None, :] + down[:, None] <= 1
    width, height = frame_px
    cut_x, cut_y = max(-left, 0), max(-top, 0)
    mask = whole[cut_y : max(height - top, 0), cut_x : max(width - left, 0)].copy()
    if not mask.any():
        return None
    visible = float(mask.sum()) / float(whole.sum())
    box = np.array(box_xyxy_px, np.float32)
    return TrueFace(person, box, left + cut_x, top + cut_y, mask, visible, is_doubtful)
