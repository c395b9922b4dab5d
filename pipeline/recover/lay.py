"""Writes opened tiles into a frame of the protected clip."""

from __future__ import annotations

import numpy as np

from ..compose.blend import write_patch
from ..evidence.body import TileItem, mask_of
from ..frames import FacePatch, FloatArray, U8Array, YuvPlanes
from ..motion import move
from .between import EDGE_SHARE
from .evidence import FrameTiles, MovedTile
from .tile_decoder import lay_in


def lay(planes: YuvPlanes, here: FrameTiles) -> bool:
    """All of a frame's tiles, in place; whether one of them was moved there."""
    moved = [_lay_moved(planes, each) for each in here.moved]
    for tile in here.tiles:  # the frame's own pixels lie over what was moved
        lay_in(planes, tile.item, tile.pixels)
    return any(moved)


def _lay_moved(planes: YuvPlanes, moved: MovedTile) -> bool:
    item = moved.key.item
    x, y, _, _ = item.box_xywh_px
    weight = _weight(item)
    found = move(moved.key.pixels, (x, y), weight, moved.motion, planes.size_px, sharp=True)
    if found is None:
        return False
    nowhere = np.zeros(4, np.float32)
    patch = FacePatch(0, found.x_px, found.y_px, found.planes, found.weight, nowhere)
    write_patch(planes, patch, None)
    return bool(found.weight.any())


def _weight(item: TileItem) -> U8Array:
    """(h, w) 255 where the tile gives the pixels, falling off towards its edge."""
    _, _, width, height = item.box_xywh_px
    edge_px = max(min(width, height) * EDGE_SHARE, 2.0)

    def from_edge(length: int) -> FloatArray:
        along = np.arange(length, dtype=np.float32) + np.float32(0.5)
        near: FloatArray = np.minimum(np.minimum(along, length - along) / np.float32(edge_px), 1)
        return near

    soft = np.minimum(from_edge(height)[:, None], from_edge(width)[None, :])
    weight: U8Array = np.rint(255 * soft).astype(np.uint8)
    if (owned := mask_of(item)) is not None:
        weight *= owned.repeat(2, axis=0).repeat(2, axis=1)
    return weight
