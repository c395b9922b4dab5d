"""Any decoded picture to the one kind the live path works on: 8-bit 4:2:0, even, one size.

Planar 8-bit 4:2:0 of the first size passes untouched, without a copy. Everything else is converted
once, here, and said in one line. A change of resolution in mid-stream is fitted into the first
size, whole picture, grey around it: recorders and viewers keep their stream.
"""

from __future__ import annotations

import logging

import av
import numpy as np

from ..frames import PLANE_FORMATS, planes_of

_log = logging.getLogger(__name__)


class Normalizer:
    """One session's geometry; the first frame decides it."""

    def __init__(self, camera: str) -> None:
        self._camera = camera
        self._size_px: tuple[int, int] | None = None
        self._format = "yuv420p"
        self._said: set[tuple[int, int, str]] = set()
        self._said_rotation = 0

    def __call__(self, image: av.VideoFrame) -> av.VideoFrame:
        """The same frame object where nothing has to change, else a new one."""
        if image.rotation % 360:
            image = self._upright(image)
        kind = (image.width, image.height, image.format.name)
        if self._size_px is None:
            width, height = max(image.width // 2 * 2, 2), max(image.height // 2 * 2, 2)
            self._size_px = (width, height)
            if image.format.name in PLANE_FORMATS:
                self._format = image.format.name
        if (image.width, image.height) == self._size_px and image.format.name == self._format:
            return image
        if kind not in self._said:
            self._said.add(kind)
            _log.warning(
                "%s: %s %dx%d is converted to %s %dx%d",
                self._camera,
                image.format.name,
                image.width,
                image.height,
                self._format,
                *self._size_px,
            )
        return self._converted(image)

    def _upright(self, image: av.VideoFrame) -> av.VideoFrame:
        """Turned as its display matrix says: a face that lies on its side is not found.

        Phones film this way; the output carries no matrix.
        """
        quarters = round(image.rotation / 90) % 4
        if self._said_rotation != quarters:
            self._said_rotation = quarters
            _log.warning("%s: the picture is turned by %d degrees", self._camera, quarters * 90)
        even = (max(image.width // 2 * 2, 2), max(image.height // 2 * 2, 2))
        plane_format = image.format.name if image.format.name in PLANE_FORMATS else "yuv420p"
        planes = planes_of(image.reformat(width=even[0], height=even[1], format=plane_format))
        turned = [np.rot90(plane, quarters) for plane in (planes.y, planes.u, planes.v)]
        height, width = turned[0].shape
        i420 = np.concatenate([plane.reshape(-1) for plane in turned])
        upright = av.VideoFrame.from_ndarray(
            i420.reshape(height * 3 // 2, width), format=plane_format
        )
        return _like(upright, image)

    def _converted(self, image: av.VideoFrame) -> av.VideoFrame:
        assert self._size_px is not None
        width, height = self._size_px
        even = (max(image.width // 2 * 2, 2), max(image.height // 2 * 2, 2))
        if even == self._size_px:
            return _like(image.reformat(width=width, height=height, format=self._format), image)
        scale = min(width / image.width, height / image.height)
        fit = tuple(max(2, int(side * scale) // 2 * 2) for side in (image.width, image.height))
        small = planes_of(image.reformat(width=fit[0], height=fit[1], format=self._format))
        i420 = np.full((height * 3 // 2, width), 128, np.uint8)
        i420[:height] = 16
        canvas = av.VideoFrame.from_ndarray(i420, format=self._format)
        planes = planes_of(canvas)
        x, y = (width - fit[0]) // 4 * 2, (height - fit[1]) // 4 * 2
        planes.y[y : y + fit[1], x : x + fit[0]] = small.y
        for target, source in ((planes.u, small.u), (planes.v, small.v)):
            target[y // 2 : (y + fit[1]) // 2, x // 2 : (x + fit[0]) // 2] = source
        return _like(canvas, image)


def _like(new: av.VideoFrame, old: av.VideoFrame) -> av.VideoFrame:
    new.color_range, new.colorspace = old.color_range, old.colorspace
    return new
