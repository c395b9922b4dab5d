"""Where a moved face is laid: in its own place, and not over anybody else's."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from pipeline.evidence.body import TileItem
from pipeline.evidence.group_record import Entry, EntryKind, GroupHead, GroupRecord, Place
from pipeline.frames import MOTION_CELLS, Motion, YuvPlanes
from pipeline.recover.claims import SCENE, Box, Claim, ClaimMap, claims_of
from pipeline.recover.evidence import FrameTiles, MovedTile, Tile
from pipeline.recover.lay import lay

SIZE_PX = (96, 64)
BOX: Box = (20, 10, 32, 32)


def flat(size_px: tuple[int, int], luma: int) -> YuvPlanes:
    width, height = size_px
    half = np.full((height // 2, width // 2), 128, np.uint8)
    return YuvPlanes(np.full((height, width), luma, np.uint8), half, half.copy())


def moved_tile() -> MovedTile:
    """A white face that has not moved."""
    tile = Tile(EntryKind.FACE, 1, TileItem(True, BOX, b"x"), flat(BOX[2:], 255))
    still = np.zeros((MOTION_CELLS, MOTION_CELLS, 2), np.int16)
    return MovedTile(tile, Motion(0, (20, 10, 32), (20, 10, 32), still))


def shown(frame: FrameTiles) -> npt.NDArray[np.bool_]:
    planes = flat(SIZE_PX, 0)
    lay(planes, frame)
    return planes.y > 0


def test_a_moved_face_is_not_laid_over_somebody_elses() -> None:
    whole = shown(FrameTiles(moved=[moved_tile()]))
    assert whole.sum() > 28 * 28
    claims: list[Claim] = [(1, BOX), (2, (40, 21, 30, 9)), (SCENE, (20, 30, 8, 8))]
    kept = shown(FrameTiles(moved=[moved_tile()], claims=claims))
    assert not kept[20:30, 40:].any() and not kept[30:38, 20:28].any()
    kept[20:30, 40:70], kept[30:38, 20:28] = whole[20:30, 40:70], whole[30:38, 20:28]
    np.testing.assert_array_equal(kept, whole)


def test_a_moved_face_stays_in_the_rectangle_that_is_public() -> None:
    within = replace(moved_tile(), within_px=(24, 12, 10, 60))
    found = shown(FrameTiles(moved=[within]))
    assert found.any()
    found[12:72, 24:34] = False
    assert not found.any()


def test_claims_reach_from_one_record_to_the_next() -> None:
    def group(first: int, *entries: tuple[EntryKind, int, int, Box]) -> GroupRecord:
        head = GroupHead(bytes(16), first, (bytes(16),) * 2, False)
        made = (Entry(Place(*entry), bytes(144)) for entry in entries)
        return GroupRecord(head, tuple(made))

    one = group(
        0,
        (EntryKind.FACE, 1, 1, (0, 0, 4, 4)),
        (EntryKind.FACE, 2, 3, (8, 8, 4, 4)),
        (EntryKind.SCENE, 2, 2, (2, 2, 2, 2)),
    )
    after = group(2, (EntryKind.MOTION, 2, 3, (20, 4, 4, 4)))
    assert claims_of(one, after) == [
        [(1, (0, 0, 4, 4)), (2, (8, 4, 16, 8))],
        [(2, (8, 4, 16, 8)), (SCENE, (2, 2, 2, 2))],
    ]
    assert claims_of(one, None)[1][0] == (2, (8, 8, 4, 4))


@pytest.mark.parametrize("box", [(0, 0, 65535, 65535), (65535, 65535, 1, 1), (95, 63, 9, 9)])
def test_rectangles_from_anywhere(box: Box) -> None:
    claims = ClaimMap([(2, box)] * 3 + [(1, (0, 0, 96, 64))] * 3, SIZE_PX)
    others = claims.of_others(1, 0, 0, (64, 96))
    x, y = box[:2]
    assert not others[: y // 2 * 2].any() and not others[:, : x // 2 * 2].any()
    assert others[y // 2 * 2 :, x // 2 * 2 :].all()
    assert claims.of_others(2, 0, 0, (64, 96)).all()
