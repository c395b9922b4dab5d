"""Whose pixels are whose: judged by laying the tiles back over what the gate made."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from typing import Any

import av
import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.compose.gate import Gate, Overlay, PatchMaker, Zones
from pipeline.compose.ownership import copied, originals_of
from pipeline.frames import (
    NOBODY,
    FaceBox,
    FacePatch,
    FrameOriginals,
    OriginalTile,
    RawFrame,
    U8Array,
    YuvPlanes,
    part_of,
    planes_of,
)
from pipeline.protect.choose import make_patches
from pipeline.protect.region import polygon_mask
from pipeline.settings import ProtectSettings

WIDTH, HEIGHT = 160, 120
MAKE: PatchMaker = partial(make_patches, settings=ProtectSettings(obfuscation="solid"))
Bools = NDArray[np.bool_]


def face(*box: float, track_id: int = 1, seen: bool = True, slack: float = 0.0) -> FaceBox:
    return FaceBox(track_id, np.array(box, np.float32), slack, seen)


def camera(seed: int = 0) -> YuvPlanes:
    random = np.random.default_rng(seed)
    half = (HEIGHT // 2, WIDTH // 2)
    return YuvPlanes(
        # no value that plain grey has: what was written is seen in every pixel
        random.integers(130, 256, (HEIGHT, WIDTH), np.uint8),
        random.integers(140, 256, half, np.uint8),
        random.integers(140, 256, half, np.uint8),
    )


def copy_of(planes: YuvPlanes) -> YuvPlanes:
    return YuvPlanes(planes.y.copy(), planes.u.copy(), planes.v.copy())


@dataclass(frozen=True)
class Made:
    before: YuvPlanes
    after: YuvPlanes
    originals: FrameOriginals

    @property
    def changed(self) -> Bools:
        """(H/2, W/2) cells"""
        luma = cells(self.before.y != self.after.y)
        chroma = (self.before.u != self.after.u) | (self.before.v != self.after.v)
        return np.asarray(luma | chroma)

    @property
    def tiles(self) -> tuple[OriginalTile, ...]:
        return self.originals.faces + self.originals.scenes

    def face(self, track_id: int) -> Bools:
        """(H/2, W/2) what the track's tile gives."""
        return owned(next(tile for tile in self.originals.faces if tile.track_id == track_id))


def made(
    faces: Sequence[FaceBox],
    zones: Zones | None = None,
    *,
    make: PatchMaker = MAKE,
    overlay: Overlay | None = None,
) -> Made:
    """What the gate shows, and what it hands over."""
    before = camera()
    i420 = np.concatenate([plane.reshape(-1) for plane in (before.y, before.u, before.v)])
    image = av.VideoFrame.from_ndarray(i420.reshape(HEIGHT * 3 // 2, WIDTH), format="yuv420p")
    kept: list[FrameOriginals] = []
    gate = Gate("lobby", make, overlay=overlay, keep=kept.append)
    frame = gate.protect(RawFrame(image, 0, 0, Fraction(1, 25), 0), faces, zones or Zones())
    assert frame.redacted is None, frame.redacted
    assert not gate.not_kept, gate.not_kept
    (originals,) = kept
    return Made(before, copy_of(planes_of(frame.image)), originals)


def cells(mask: NDArray[Any]) -> Bools:
    """(H, W) to (H/2, W/2): any of the four."""
    rows, columns = mask.shape
    return np.asarray(mask.reshape(rows // 2, 2, columns // 2, 2).any(axis=(1, 3)))


def box_cells(item: FaceBox) -> Bools:
    x1, y1, x2, y2 = (max(int(v), 0) for v in np.rint(item.box_xyxy_px))
    inside = np.zeros((HEIGHT, WIDTH), np.bool_)
    inside[y1:y2, x1:x2] = True
    return cells(inside)


def owned(tile: OriginalTile) -> Bools:
    """(H/2, W/2)"""
    x, y, width, height = (value // 2 for value in tile.xywh_px)
    whole = np.zeros((HEIGHT // 2, WIDTH // 2), np.bool_)
    whole[y : y + height, x : x + width] = True if tile.owned is None else tile.owned > 0
    return whole


def put_back(after: YuvPlanes, tiles: Sequence[OriginalTile]) -> YuvPlanes:
    result = copy_of(after)
    for tile in tiles:
        mine = np.ones(tile.planes.u.shape, np.bool_) if tile.owned is None else tile.owned > 0
        target = part_of(result, *tile.xywh_px)
        np.copyto(target.y, tile.planes.y, where=mine.repeat(2, 0).repeat(2, 1))
        np.copyto(target.u, tile.planes.u, where=mine)
        np.copyto(target.v, tile.planes.v, where=mine)
    return result


# --- for any faces and zones ---

FACES = st.lists(
    st.tuples(
        st.floats(-40, 150),
        st.floats(-40, 110),
        st.floats(2, 90),
        st.floats(2, 90),
        st.booleans(),
        st.floats(0, 4),
    ),
    max_size=6,
)
POLYGON = st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=5)
ZONE = st.one_of(st.none(), POLYGON.map(lambda corners: polygon_mask(corners, (WIDTH, HEIGHT))))
SQUARE = st.tuples(st.integers(0, 60), st.integers(0, 40), st.integers(2, 10), st.integers(0, 5))


def squares(planned: list[tuple[int, int, int, int]]) -> Overlay:
    """Rings and fused squares of tracks that are there, wherever."""

    def over(_planes: object, faces: Sequence[FaceBox], *_: object) -> list[FacePatch]:
        return [
            flat(
                faces[which % len(faces)].track_id,
                x * 2,
                y * 2,
                side * 4,
                side * 4,
                fused=n % 2 == 0,
            )
            for n, (x, y, side, which) in enumerate(planned)
        ]

    return over


def flat(
    track_id: int, x: int, y: int, width: int, height: int, *, fused: bool = False
) -> FacePatch:
    half = (height // 2, width // 2)
    planes = YuvPlanes(
        np.full((height, width), 96, np.uint8),
        np.full(half, 128, np.uint8),
        np.full(half, 128, np.uint8),
    )
    weight = np.full((height, width), 255, np.uint8)
    return FacePatch(track_id, x, y, planes, weight, np.zeros(4, np.float32), is_fused=fused)


@settings(max_examples=150)
@given(FACES, st.randoms(use_true_random=False), ZONE, ZONE, st.lists(SQUARE, max_size=3))
def test_each_pixel_has_one_owner_and_comes_back(
    drawn: list[tuple[float, float, float, float, bool, float]],
    random: Any,
    always: U8Array | None,
    never: U8Array | None,
    planned: list[tuple[int, int, int, int]],
) -> None:
    ids = random.sample([*range(1, 8), *range(NOBODY, NOBODY + 4)], len(drawn))
    faces = [
        face(x, y, x + w, y + h, track_id=track, seen=seen, slack=slack)
        for track, (x, y, w, h, seen, slack) in zip(ids, drawn, strict=True)
    ]
    it = made(faces, Zones(always, never), overlay=squares(planned))

    zone = (
        cells(always > 0) if always is not None else np.zeros((HEIGHT // 2, WIDTH // 2), np.bool_)
    )
    owners = sum((owned(tile).astype(int) for tile in it.tiles), np.zeros(zone.shape, int))
    assert (owners[it.changed & ~zone] == 1).all()
    assert (owners[zone] == 0).all()
    assert owners.max() <= 1

    # nobody's tile shows what may be somebody else's face
    seen_boxes = {item.track_id: box_cells(item) for item in faces if item.is_found}
    weak_boxes = [box_cells(item) for item in faces if item.is_seen and not item.is_somebody]
    for tile in it.originals.faces:
        for track, box in seen_boxes.items():
            assert track == tile.track_id or not (owned(tile) & box).any()
        own = seen_boxes.get(tile.track_id, np.zeros(zone.shape, np.bool_))
        assert not any((owned(tile) & box & ~own).any() for box in weak_boxes)
        assert tile.track_id < NOBODY
    # and a face that was seen is whole but for what is shared
    several = sum((box.astype(int) for box in seen_boxes.values()), np.zeros(zone.shape, int)) > 1
    scenes = [tile for tile in it.originals.scenes if tile.track_id < NOBODY]
    shared = sum((owned(tile) for tile in scenes), np.zeros(zone.shape, np.bool_))
    assert ((shared == (several & ~zone)) | ~it.changed).all()
    assert (several | ~shared).all()

    for tile in it.tiles:
        part = part_of(it.after, *tile.xywh_px)
        other = ~owned(tile)
        x, y, width, height = (value // 2 for value in tile.xywh_px)
        other = other[y : y + height, x : x + width]
        for shown, sealed in zip(planes(part), planes(tile.planes), strict=True):
            where = other.repeat(2, 0).repeat(2, 1) if shown is part.y else other
            np.testing.assert_array_equal(sealed[where], shown[where])

    back = put_back(it.after, it.tiles)
    clear = ~zone.repeat(2, 0).repeat(2, 1)
    np.testing.assert_array_equal(back.y[clear], it.before.y[clear])
    np.testing.assert_array_equal(back.u[~zone], it.before.u[~zone])
    np.testing.assert_array_equal(back.v[~zone], it.before.v[~zone])
    np.testing.assert_array_equal(back.y[~clear], it.after.y[~clear])


def planes(of: YuvPlanes) -> tuple[U8Array, U8Array, U8Array]:
    return of.y, of.u, of.v


# --- the rules, one by one ---


def test_apart_a_whole_rectangle_is_its_tracks() -> None:
    faces = [face(10, 10, 40, 45, track_id=7), face(100, 50, 130, 90, track_id=3)]
    it = made(faces, Zones(always=polygon_mask([(0, 0.9), (1, 0.9), (1, 1)], (WIDTH, HEIGHT))))
    assert [(tile.track_id, tile.owned) for tile in it.originals.faces] == [(3, None), (7, None)]
    assert it.originals.scenes == ()
    tile = it.originals.faces[1]
    patch = next(each for each in MAKE(it.before, faces) if each.track_id == 7)
    assert tile.xywh_px == (patch.x_px, patch.y_px, *patch.planes.size_px)
    np.testing.assert_array_equal(tile.planes.y, part_of(it.before, *tile.xywh_px).y)


def test_a_tile_holds_its_pixels_itself() -> None:
    """A view of the frame would show later frames, or keep the whole picture in memory."""
    it = made([face(10, 10, 40, 45)])
    (tile,) = it.originals.faces
    assert tile.around is not None
    for plane, around in zip(planes(tile.planes), planes(tile.around.planes), strict=True):
        assert plane.base is around
        assert around.base is None and around.flags.c_contiguous


def test_the_rectangle_holds_all_patches_of_its_track() -> None:
    def over(*_: object) -> list[FacePatch]:
        return [flat(1, 60, 4, 40, 32), flat(1, 64, 8, 32, 24, fused=True)]

    it = made([face(40, 30, 70, 60)], overlay=over)
    (tile,) = it.originals.faces
    x, y, width, _ = tile.xywh_px
    assert (y, x + width) == (4, 100)
    assert tile.owned is None


def test_what_two_seen_faces_share_is_the_scenes_and_lies_with_the_lower_track() -> None:
    first, second = face(30, 30, 70, 80, track_id=9), face(60, 35, 100, 85, track_id=4)
    it = made([first, second])
    (scene,) = it.originals.scenes
    shared = box_cells(first) & box_cells(second)
    assert shared.any()
    assert scene.track_id == 4
    assert scene.xywh_px == next(t for t in it.originals.faces if t.track_id == 4).xywh_px
    np.testing.assert_array_equal(owned(scene), shared)


def test_what_is_nobodys_is_the_scenes_and_takes_nothing_from_a_face() -> None:
    seen, weak = face(40, 30, 80, 80, track_id=8), face(70, 30, 106, 70, track_id=NOBODY)
    it = made([seen, weak])
    (mine,), (scene,) = it.originals.faces, it.originals.scenes
    assert (mine.track_id, scene.track_id) == (8, NOBODY)
    assert owned(mine)[box_cells(seen)].all()
    # what may be another face beside it is not shown with it, though its own patch reaches there
    assert owned(scene)[box_cells(weak) & ~box_cells(seen)].all()


def test_nobody_alone_has_no_tile_that_a_key_opens() -> None:
    it = made([face(40, 30, 80, 80, track_id=NOBODY + 3)])
    assert it.originals.faces == ()
    (scene,) = it.originals.scenes
    np.testing.assert_array_equal(owned(scene) & it.changed, it.changed)


def test_three_faces_share_each_cell_once() -> None:
    boxes = [(30, 30, 70, 80), (60, 35, 100, 85), (50, 50, 85, 100)]
    faces = [face(*box, track_id=5 - n) for n, box in enumerate(boxes)]
    it = made(faces)
    scenes = {tile.track_id: owned(tile) for tile in it.originals.scenes}
    inside = {item.track_id: box_cells(item) for item in faces}
    assert (inside[3] & inside[4] & inside[5]).any()
    np.testing.assert_array_equal(scenes[3], inside[3] & (inside[4] | inside[5]))
    np.testing.assert_array_equal(scenes[4], inside[4] & inside[5] & ~inside[3])
    assert set(scenes) == {3, 4}


def test_a_seen_face_is_whole_where_a_held_one_lies_over_it() -> None:
    """What was held may have gone; what was seen is there."""
    seen, held = face(40, 30, 80, 80, track_id=8), face(60, 30, 100, 80, track_id=2, seen=False)
    it = made([seen, held])
    assert it.originals.scenes == ()
    assert it.face(8)[box_cells(seen)].all()
    assert not it.face(2)[box_cells(seen)].any()
    # also in the margin of the seen one, although the other's centre is nearer
    margin = np.zeros((HEIGHT // 2, WIDTH // 2), np.bool_)
    margin[27:28, 41:42] = True
    assert it.face(8)[margin].all() and not it.face(2)[margin].any()


def test_two_held_faces_share_by_the_nearest_centre() -> None:
    faces = [
        face(30, 30, 70, 80, track_id=1, seen=False),
        face(70, 30, 110, 80, track_id=2, seen=False),
    ]
    it = made(faces)
    assert it.originals.scenes == ()
    assert it.face(1)[27, 34] and not it.face(2)[27, 34]
    assert it.face(2)[27, 35] and not it.face(1)[27, 35]


def test_nearness_is_measured_in_box_sizes() -> None:
    """The margin of a big face reaches farther."""
    big = face(20, 20, 80, 100, track_id=1)
    small = face(92, 52, 108, 72, track_id=2)
    it = made([big, small])
    both = np.zeros((HEIGHT // 2, WIDTH // 2), np.bool_)
    both[31, 43] = True  # 37 px from the big one's middle, 13 from the small one's
    assert it.changed[both].all()
    assert it.face(1)[both].all() and not it.face(2)[both].any()


def test_a_margin_is_not_given_to_a_track_that_does_not_hide_it() -> None:
    """The corner of an ellipse's rectangle, where another face's margin lies."""
    near, far = face(40, 30, 80, 80, track_id=1), face(92, 84, 108, 100, track_id=2, seen=False)
    patches = {patch.track_id: patch for patch in MAKE(camera(), [near, far])}
    alone = {track: written(patch) for track, patch in patches.items()}
    it = made([near, far])
    only_held = alone[2] & ~alone[1]
    rectangle = np.zeros_like(only_held)
    x, y, width, height = (value // 2 for value in it.originals.faces[0].xywh_px)
    rectangle[y : y + height, x : x + width] = True
    assert (only_held & rectangle).any()
    assert it.face(2)[only_held].all()


def written(patch: FacePatch) -> Bools:
    whole = np.zeros((HEIGHT, WIDTH), np.bool_)
    height, width = patch.alpha.shape
    whole[patch.y_px : patch.y_px + height, patch.x_px : patch.x_px + width] = patch.alpha > 0
    return cells(whole)


def test_a_box_beyond_its_patch_is_still_its_faces() -> None:
    """The gate lets a patch leave out a twentieth; another's margin may cover that."""
    own = face(40, 30, 80, 70, track_id=2)

    def make(_planes: YuvPlanes, _faces: Sequence[FaceBox]) -> list[FacePatch]:
        return [flat(2, 30, 20, 48, 60), flat(1, 76, 20, 50, 60)]  # two columns stay out

    it = made([own, face(90, 30, 120, 70, track_id=1)], make=make)
    assert it.face(2)[15:35, 39].all()
    assert not it.face(1)[15:35, 39].any()


def test_an_always_zone_is_nobodys() -> None:
    always = polygon_mask([(0.25, 0.25), (0.35, 0.25), (0.35, 1), (0.25, 1)], (WIDTH, HEIGHT))
    it = made([face(40, 30, 80, 80)], Zones(always=always))
    (tile,) = it.originals.faces
    x, y, width, height = tile.xywh_px
    zone = always[y : y + height, x : x + width] > 0
    assert tile.owned is not None and not tile.owned[cells(zone)].any()
    assert (tile.planes.y[zone] == 96).all()
    assert (tile.planes.u[cells(zone)] == 128).all()


def test_a_track_that_keeps_nothing_has_no_tile() -> None:
    held = face(50, 40, 70, 60, track_id=1, seen=False)
    it = made([held, face(20, 10, 110, 100, track_id=2)])
    assert [tile.track_id for tile in it.originals.faces] == [2]
    whole = polygon_mask([(0, 0), (1, 0), (1, 1), (0, 1)], (WIDTH, HEIGHT))
    assert made([held], Zones(always=whole)).originals.faces == ()


def test_patches_of_nobodys_track_are_a_track_of_their_own() -> None:
    def over(*_: object) -> list[FacePatch]:
        return [flat(9, 64, 30, 40, 40)]

    seen = face(40, 30, 70, 60)
    it = made([seen], overlay=over)
    assert not it.face(9)[box_cells(seen)].any()
    assert it.face(9)[20:30, 48:52].all()


def test_a_rectangle_that_hangs_out_is_cut_at_the_frame() -> None:
    """The gate refuses such a patch when it writes it; the copy before must not get in its way."""
    before = camera()
    (copy,) = copied(before, [], [flat(1, 140, 100, 40, 40)])
    originals = originals_of([copy], before, [], None, 3)
    assert [tile.xywh_px for tile in originals.faces] == [(140, 100, 20, 20)]
    assert originals.number == 3
    assert copied(before, [], [flat(1, WIDTH, 0, 8, 8)]) == ()


def test_repr_shows_no_pixel() -> None:
    (copy,) = copied(camera(), [], [flat(1, 0, 0, 8, 8)])
    assert "array" not in repr(copy)


def test_around_a_tile_is_the_protected_picture_and_nothing_else() -> None:
    it = made([face(60, 50, 90, 85), face(100, 48, 130, 80, track_id=2)])
    for tile in it.originals.faces:
        around = tile.around
        assert around is not None
        x, y, width, height = tile.xywh_px
        shown = np.array(around.planes.y)
        left, top = around.x_px, around.y_px
        expected = np.array(it.after.y[top : top + shown.shape[0], left : left + shown.shape[1]])
        expected[y - top : y - top + height, x - left : x - left + width] = tile.planes.y
        np.testing.assert_array_equal(shown, expected)
        # where somebody else is hidden is said, but for what is this track's own
        assert around.is_hidden is not None and around.is_hidden.any()
        own = around.is_hidden[
            (y - top) // 2 : (y - top + height) // 2, (x - left) // 2 : (x - left + width) // 2
        ]
        expected_own = np.zeros(own.shape) if tile.owned is None else tile.owned == 0
        np.testing.assert_array_equal(own > 0, expected_own)


def test_alone_nothing_around_is_hidden() -> None:
    it = made([face(60, 50, 90, 85)])
    (tile,) = it.originals.faces
    assert tile.around is not None and tile.around.is_hidden is None
