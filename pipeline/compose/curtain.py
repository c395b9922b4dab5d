"""The picture that is shown when a frame must not be: made from nothing of the original."""

from __future__ import annotations

from functools import lru_cache
from typing import cast

import av
import cv2
import numpy as np

from ..frames import U8Array, YuvPlanes

MOSAIC_CELLS = 20  # across the longer side: a face that fills the picture is ten cells wide
_LUMA = 40


@lru_cache(maxsize=8)
def _curtain_i420(width_px: int, height_px: int) -> U8Array:
    """(H*3/2, W) dark grey with a small word in the middle."""
    picture = np.full((height_px * 3 // 2, width_px), 128, np.uint8)
    luma = picture[:height_px]
    luma[:] = _LUMA
    scale = max(min(width_px, height_px) / 600, 0.25)
    text, font = "PROTECTED", cv2.FONT_HERSHEY_SIMPLEX
    (text_w, text_h), _ = cv2.getTextSize(text, font, scale, 1)
    origin = ((width_px - text_w) // 2, (height_px + text_h) // 2)
    cv2.putText(luma, text, origin, font, scale, 110, max(1, round(scale)), cv2.LINE_AA)
    picture.flags.writeable = False
    return picture


def curtain_frame(width_px: int, height_px: int, format_name: str) -> av.VideoFrame:
    """A new frame that shares no buffer with any decoded one."""
    frame = av.VideoFrame.from_ndarray(_curtain_i420(width_px, height_px), format="yuv420p")
    if format_name == frame.format.name:
        return frame
    # the same three planes under the full-range name
    return av.VideoFrame.from_ndarray(_curtain_i420(width_px, height_px), format=format_name)


def mosaic(planes: YuvPlanes) -> None:
    """Replace the whole picture by a few large cells, in place (`privacy: everything`)."""
    width, height = planes.size_px
    cell = max(width, height) / MOSAIC_CELLS
    cells = (max(1, int(width / cell)), max(1, int(height / cell)))
    for plane in (planes.y, planes.u, planes.v):
        small = cv2.resize(plane, cells, interpolation=cv2.INTER_AREA)
        size = (plane.shape[1], plane.shape[0])
        plane[...] = cast(U8Array, cv2.resize(small, size, interpolation=cv2.INTER_NEAREST))
