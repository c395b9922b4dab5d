from typing import Literal

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from pipeline.frames import FaceBox, FloatArray
from pipeline.protect.region import Region, polygon_mask, region_of

FRAME = (640, 360)
LEAST_COVER = 0.95  # what the gate asks for
Shape = Literal["ellipse", "box"]


def face(x1: float, y1: float, x2: float, y2: float, slack_px: float = 0.0) -> FaceBox:
    return FaceBox(1, np.array([x1, y1, x2, y2], np.float32), slack_px)


def inside(box: FloatArray) -> tuple[int, int, int, int]:
    """Whole pixels of the box that lie in the frame, as the gate counts them."""
    x1, y1, x2, y2 = (int(v) for v in np.rint(box))
    return max(x1, 0), max(y1, 0), min(x2, FRAME[0]), min(y2, FRAME[1])


def opaque_share(region: Region | None, box: FloatArray) -> float:
    """Of the box's pixels inside the frame, how many the region replaces wholly."""
    x1, y1, x2, y2 = inside(box)
    if x1 >= x2 or y1 >= y2:
        return 1.0
    weight = np.zeros((FRAME[1], FRAME[0]), np.uint8)
    if region is not None:
        width, height = region.size_px
        weight[region.y_px : region.y_px + height, region.x_px : region.x_px + width] = region.alpha
    return float((weight[y1:y2, x1:x2] == 255).mean())


# from one pixel to larger than the frame, inside, across every edge, and beyond
boxes = st.tuples(
    st.floats(-300, 900), st.floats(-300, 600), st.floats(1, 500), st.floats(1, 500)
).map(lambda b: (b[0], b[1], b[0] + b[2], b[1] + b[3]))


@settings(max_examples=400)
@given(
    corners=boxes,
    slack=st.floats(0, 60),
    grow=st.floats(1.0, 3.0),
    shape=st.sampled_from(["ellipse", "box"]),
)
@example((0, 0, 8, 8), 0, 1.35, "ellipse")
@example((632, 352, 640, 360), 0, 1.35, "ellipse")
@example((-30, -30, 10, 10), 0, 1.35, "ellipse")
@example((101.4, 57.6, 109.4, 65.6), 0, 1.35, "ellipse")
@example((-500, -500, 1200, 900), 0, 1.35, "ellipse")
@example((639.4, 100, 670, 140), 0, 1.1, "ellipse")
@example((0, 277, 268, 553), 0, 1.0, "ellipse")
@example((635, 356, 900, 700), 0, 1.0, "ellipse")
def test_a_region_replaces_the_box(
    corners: tuple[float, float, float, float], slack: float, grow: float, shape: Shape
) -> None:
    box = face(*corners, slack)
    region = region_of(box, FRAME, grow=grow, shape=shape)

    assert opaque_share(region, box.box_xyxy_px) >= LEAST_COVER
    if region is not None:
        width, height = region.size_px
        assert region.x_px % 2 == region.y_px % 2 == width % 2 == height % 2 == 0
        assert region.x_px >= 0 and region.x_px + width <= FRAME[0]
        assert region.y_px >= 0 and region.y_px + height <= FRAME[1]


@given(corners=boxes, shape=st.sampled_from(["ellipse", "box"]))
def test_the_default_region_replaces_every_pixel_of_the_box(
    corners: tuple[float, float, float, float], shape: Shape
) -> None:
    box = face(*corners)
    region = region_of(box, FRAME, grow=1.35, shape=shape)
    assert opaque_share(region, box.box_xyxy_px) >= 0.99


@given(corners=boxes)
def test_only_what_touches_the_frame_has_a_region(
    corners: tuple[float, float, float, float],
) -> None:
    box = face(*corners)
    region = region_of(box, FRAME, grow=1.35, shape="box")
    x1, y1, x2, y2 = inside(box.box_xyxy_px)
    if x1 < x2 and y1 < y2:
        assert region is not None
    if corners[2] < -400 or corners[0] > FRAME[0] + 400:
        assert region is None


@pytest.mark.parametrize("shape", ["ellipse", "box"])
def test_the_edge_is_soft_and_outside(shape: Shape) -> None:
    region = region_of(face(200, 100, 280, 204), FRAME, grow=1.35, shape=shape)
    assert region is not None
    middle = region.alpha[region.alpha.shape[0] // 2].astype(int)
    assert middle[0] < 128 and middle[-1] < 128
    rising = np.diff(middle[: len(middle) // 2])
    assert (rising >= 0).all()  # falls towards the edge, never back


def test_doubt_is_covered_wider() -> None:
    sure = region_of(face(200, 100, 240, 140), FRAME, grow=1.35, shape="box")
    unsure = region_of(face(200, 100, 240, 140, slack_px=10), FRAME, grow=1.35, shape="box")
    assert sure is not None and unsure is not None
    assert (unsure.alpha == 255).sum() > (sure.alpha == 255).sum()
    for grown in range(190, 250):
        assert opaque_share(unsure, np.array([190, 90, 250, 150], np.float32)) == 1.0, grown


def test_a_profile_is_covered_like_a_head() -> None:
    """A narrow box is a turned head: never narrower than three quarters of its height."""
    region = region_of(face(300, 100, 320, 200), FRAME, grow=1.0, shape="box")
    assert region is not None
    assert opaque_share(region, np.array([310 - 37, 101, 310 + 37, 199], np.float32)) == 1.0
    assert region.face_width_px == pytest.approx(75)


def test_the_smallest_face_still_covers_a_block() -> None:
    region = region_of(face(300, 100, 301, 101), FRAME, grow=1.35, shape="box")
    assert region is not None
    assert min(region.size_px) >= 8


def test_strength_refers_to_the_face() -> None:
    for side in (20.0, 80.0):
        region = region_of(face(200, 100, 200 + side, 100 + side), FRAME, grow=2.0, shape="box")
        assert region is not None
        assert region.face_width_px == side


def test_masks_are_shared_and_cannot_be_written() -> None:
    region = region_of(face(200, 100, 240, 140), FRAME, grow=1.35, shape="box")
    assert region is not None
    with pytest.raises(ValueError, match="read-only"):
        region.alpha[0, 0] = 0


def test_a_polygon_covers_its_share() -> None:
    mask = polygon_mask([(0.25, 0.5), (0.75, 0.5), (0.75, 1.0), (0.25, 1.0)], FRAME)
    assert mask.shape == (360, 640)
    assert (mask[181:, 161:480] == 255).all()
    assert (mask[:179] == 0).all()
    assert (mask[:, :159] == 0).all() and (mask[:, 482:] == 0).all()


def test_a_polygon_of_the_whole_picture_leaves_nothing_out() -> None:
    mask = polygon_mask([(0, 0), (1, 0), (1, 1), (0, 1)], FRAME)
    assert (mask == 255).all()
