"""Tile videos back to pixels, and these into a frame (docs/evidence-format.md, section 5).

An entry that opened was sealed by the service, and still nothing in it is relied upon: whatever the
bytes are, a tile comes out or None.
"""

from __future__ import annotations

import av
import av.error
import numpy as np
from av.codec.context import Flags

from ..errors import RecordError
from ..evidence.body import TileItem, mask_of
from ..frames import PLANE_FORMATS, U8Array, YuvPlanes, part_of, planes_of

MOST_PX = 8192  # a side of a tile video's picture


class TileDecoder:
    """The tile videos of one kind and track, one after the other. Used by one thread.

    Each picture needs all before it since its video began. That an item is missing is not seen
    here: say so with `skip`, or what follows is put together wrongly. Nor is every flipped bit:
    for those there is the entry's tag.
    """

    def __init__(self, most_px: int = MOST_PX**2) -> None:
        """`most_px`: in a picture of the tile videos; larger ones are not decoded."""
        self._most_px = most_px
        self._context: av.VideoCodecContext | None = None
        self.picture_px = 0  # in a picture of its video, as far as one was decoded

    def decode(self, item: TileItem) -> YuvPlanes | None:
        """The rectangle's pixels, a copy; None where they cannot be had.

        That is where the packet is damaged, is no picture of this size, or its video's beginning is
        missing; then None up to the next item that starts a video.
        """
        if item.starts_video:
            self._context = _decoder(self._most_px)
        picture = self._picture(item.packet)
        tile = _cut(picture, item) if picture is not None else None
        if tile is None:
            self.skip()
        return tile

    def skip(self) -> None:
        """An item is missing: nothing can be had until the next one that starts a video."""
        self._context = None

    def _picture(self, data: bytes) -> av.VideoFrame | None:
        if self._context is None or not data:  # an empty packet would end the video
            return None
        try:
            pictures = self._context.decode(av.Packet(data))
        except (av.error.FFmpegError, ValueError, OSError):
            return None
        # one goes in, one comes out: nothing is held back, and no packet has two
        if len(pictures) != 1 or pictures[0].is_corrupt:
            return None
        self.picture_px = pictures[0].width * pictures[0].height
        return pictures[0]


def lay_in(planes: YuvPlanes, item: TileItem, tile: YuvPlanes) -> None:
    """Write a decoded tile over its rectangle, in place, where its mask says; all of it without.

    Raises RecordError where the rectangle does not lie in the frame; then nothing is written.
    """
    x, y, width, height = item.box_xywh_px
    if x + width > planes.size_px[0] or y + height > planes.size_px[1]:
        raise RecordError("a tile's rectangle does not lie in the frame")
    if tile.size_px != (width, height):
        raise RecordError("a tile is not of its rectangle's size")
    target = part_of(planes, x, y, width, height)
    mask = mask_of(item)
    if mask is None:
        target.y[...], target.u[...], target.v[...] = tile.y, tile.u, tile.v
        return
    given = mask > 0
    for row in (0, 1):
        for column in (0, 1):
            some = (slice(row, None, 2), slice(column, None, 2))
            np.copyto(target.y[some], tile.y[some], where=given)
    np.copyto(target.u, tile.u, where=given)
    np.copyto(target.v, tile.v, where=given)


def _decoder(most_px: int) -> av.VideoCodecContext:
    context = av.CodecContext.create("h264", "r")
    context.thread_count = 1
    context.flags |= Flags.low_delay
    # bytes from anywhere: an error is one, nothing is made up for it, nothing huge is set aside
    context.options = {"err_detect": "explode", "ec": "0", "max_pixels": str(most_px)}
    return context


def _cut(picture: av.VideoFrame, item: TileItem) -> YuvPlanes | None:
    """The rectangle out of the middle of the picture; None where it cannot be in there."""
    _, _, width, height = item.box_xywh_px
    if picture.format.name not in PLANE_FORMATS:
        return None
    if not width <= picture.width <= MOST_PX or not height <= picture.height <= MOST_PX:
        return None
    if picture.width % 2 or picture.height % 2:
        return None
    x, y = (picture.width - width) // 4 * 2, (picture.height - height) // 4 * 2
    part = part_of(planes_of(picture), x, y, width, height)

    def own(plane: U8Array) -> U8Array:
        return plane.copy()  # the decoder goes on reading its picture

    return YuvPlanes(own(part.y), own(part.u), own(part.v))
