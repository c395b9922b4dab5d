"""Writes opened tiles into a frame of the protected clip."""

from __future__ import annotations

import numpy as np

from ..compose.blend import write_patch
from ..evidence.body import TileItem, mask_of
from ..frames import FacePatch, FloatArray, U8Array, YuvPlanes
from ..motion import move
from .between import EDGE_SHARE
from .claims import Box, ClaimMap
from .evidence import FrameTiles, MovedTile
from .tile_decoder import lay_in


def lay(planes: YuvPlanes, here: FrameTiles) -> bool:
    """All of a frame's tiles, in place; whether one of them was moved there."""
    claims = ClaimMap(here.claims, planes.size_px) if here.moved and here.claims else None
    moved = [_lay_moved(planes, each, claims) for each in here.moved]
    for tile in here.tiles:  # the frame's own pixels lie over what was moved
        lay_in(planes, tile.item, tile.pixels)
    return any(moved)


def _lay_moved(planes: YuvPlanes, moved: MovedTile, claims: ClaimMap | None) -> bool:
    """Inside of its motion's square, and not over what belongs to somebody else."""
    item = moved.key.item
    x, y, _, _ = item.box_xywh_px
    weight = _weight(item)
    found = move(moved.key.pixels, (x, y), weight, moved.motion, planes.size_px, sharp=True)
    if found is None:
        return False
    shown = found.weight
    if moved.within_px is not None:
        shown = _within(shown, found.x_px, found.y_px, moved.within_px)
    if claims is not None:
        others = claims.of_others(moved.key.track, found.x_px, found.y_px, shown.shape)
        shown = np.where(others > 0, 0, shown).astype(np.uint8)
    nowhere = np.zeros(4, np.float32)
    patch = FacePatch(0, found.x_px, found.y_px, found.planes, shown, nowhere)
    write_patch(planes, patch, None)
    return bool(shown.any())


def _within(weight: U8Array, x_px: int, y_px: int, box_xywh_px: Box) -> U8Array:
    """0 outside of a rectangle of the frame; `weight` lies at (x, y) of it."""
    x, y, width, height = box_xywh_px
    left, top, right, bottom = x - x_px, y - y_px, x + width - x_px, y + height - y_px
    part = (slice(max(top, 0), max(bottom, 0)), slice(max(left, 0), max(right, 0)))
    kept: U8Array = np.zeros_like(weight)
    kept[part] = weight[part]
    return kept


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
