import itertools
from fractions import Fraction

import av
import numpy as np
import pytest

from pipeline.source.scene import (
    MAX_FACES,
    Scene,
    plane_view,
    read_timecode,
    stamp_timecode,
)


def scene_of(**changes: object) -> Scene:
    options: dict[str, object] = {
        "width_px": 640, "height_px": 360, "fps": 25, "faces": 3, "seed": 7,
    }  # fmt: skip
    return Scene(**{**options, **changes})  # type: ignore[arg-type]


def test_the_same_call_gives_the_same_picture() -> None:
    first, second = scene_of().render(40), scene_of().render(40)

    for index in range(3):
        np.testing.assert_array_equal(plane_view(first, index), plane_view(second, index))
    other_seed = scene_of(seed=8).render(40)
    assert (plane_view(first, 0) != plane_view(other_seed, 0)).mean() > 0.3


def test_frames_are_limited_range_and_say_which_colours_they_hold() -> None:
    frame = scene_of(faces=MAX_FACES).render(3)

    assert (frame.format.name, frame.width, frame.height) == ("yuv420p", 640, 360)
    assert (frame.colorspace, frame.color_primaries, frame.color_trc) == (1, 1, 1)  # BT.709
    assert frame.color_range == 1  # limited
    luma = plane_view(frame, 0)
    assert luma.min() >= 16
    assert luma.max() <= 235


def test_pixels_change_only_around_the_people() -> None:
    empty, peopled = scene_of(faces=0).render(0), scene_of(faces=1).render(0)
    ((x1, y1, x2, y2),) = scene_of(faces=1).face_boxes_xyxy_px(0)

    changed = plane_view(empty, 0) != plane_view(peopled, 0)
    rows, columns = np.flatnonzero(changed.any(axis=1)), np.flatnonzero(changed.any(axis=0))
    # The cut-out is a bust: 3.6 face widths across, 2.6 face heights tall.
    assert x1 - 1.6 * (x2 - x1) < columns[0] < x1 < x2 < columns[-1] < x2 + 1.6 * (x2 - x1)
    assert y1 - 0.5 * (y2 - y1) < rows[0] < y1 < y2 < rows[-1] < y2 + 1.2 * (y2 - y1)
    assert changed[int(y1) + 1 : int(y2), int(x1) + 1 : int(x2)].mean() > 0.9


def test_the_box_moves_with_the_face() -> None:
    """The pixels at the centre of the box are the same face wherever it stands."""
    scene = scene_of(faces=1)
    crops = []
    for frame_index in (0, 31, 90):
        ((x1, y1, x2, y2),) = scene.face_boxes_xyxy_px(frame_index)
        top, left = round((y1 + y2) / 2), round((x1 + x2) / 2)
        luma = plane_view(scene.render(frame_index), 0)
        crops.append(luma[top - 16 : top + 16, left - 12 : left + 12].astype(int))

    for first, second in itertools.pairwise(crops):
        assert np.abs(first - second).max() <= 1  # opaque there: nothing of the wall shines through


def test_sizes_are_within_the_promised_share_of_the_frame() -> None:
    boxes = scene_of(faces=MAX_FACES, width_px=1280, height_px=720).face_boxes_xyxy_px(200)

    heights = (boxes[:, 3] - boxes[:, 1]) / 720
    assert 0.045 < heights.min() < heights.max() < 0.165


def test_a_face_at_the_edge_is_clipped_and_one_outside_left_out() -> None:
    scene = scene_of()
    boxes = [scene.face_boxes_xyxy_px(index) for index in range(25 * 19)]  # its whole period

    assert {len(box) for box in boxes} == {2, 3}
    stacked = np.concatenate(boxes)
    assert stacked[:, 0::2].min() == 0.0
    assert stacked[:, 0::2].max() == 640.0
    assert (stacked[:, 0] < stacked[:, 2]).all()


def test_paths_are_smooth() -> None:
    scene = scene_of(faces=1)
    centres = np.concatenate([scene.face_boxes_xyxy_px(index)[:, :2] for index in range(400)])

    assert np.abs(np.diff(centres, axis=0)).max() <= 3  # pixels per frame


def test_no_faces_means_no_boxes() -> None:
    assert scene_of(faces=0).face_boxes_xyxy_px(5).shape == (0, 4)


@pytest.mark.parametrize("frame_index", range(0, 475, 19))
def test_every_parity_and_edge_renders(frame_index: int) -> None:
    scene_of(faces=MAX_FACES, width_px=64, height_px=66).render(frame_index)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width_px": 641}, "width_px must be even"),
        ({"height_px": 62}, "height_px must be even and at least 64, got 62"),
        ({"faces": 6}, "between 0 and 5, got 6"),
        ({"fps": 0}, "fps must be positive"),
        ({"width_px": 510, "timecode": True}, "512 pixels, got 510"),
    ],
)
def test_refuses(changes: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        scene_of(**changes)


@pytest.mark.parametrize("value", [0, 1, 0x80000000, 0xFFFFFFFF, 0xA5A5_1234, 4_000_000_001])
def test_timecode_round_trip(value: int) -> None:
    frame = scene_of().render(0)
    stamp_timecode(frame, value)

    assert read_timecode(plane_view(frame, 0)) == value


@pytest.mark.parametrize("value", [-1, 1 << 32])
def test_timecode_refuses_a_number_that_does_not_fit(value: int) -> None:
    with pytest.raises(ValueError, match="32 bits"):
        stamp_timecode(scene_of().render(0), value)


def test_timecode_refuses_a_frame_it_does_not_fit() -> None:
    with pytest.raises(ValueError, match="512x32 pixels, got 320x240"):
        stamp_timecode(av.VideoFrame(320, 240, "yuv420p"), 1)
    with pytest.raises(ValueError, match="yuv420p"):
        stamp_timecode(av.VideoFrame(640, 240, "rgb24"), 1)


def test_a_scene_stamps_its_frame_index() -> None:
    assert read_timecode(plane_view(scene_of(timecode=True).render(1234), 0)) == 1234


def test_no_timecode_is_read_where_none_is_or_where_it_is_damaged() -> None:
    frame = scene_of().render(0)
    luma = plane_view(frame, 0)
    assert read_timecode(luma) is None
    assert read_timecode(luma[:, :500]) is None
    stamp_timecode(frame, 99)
    luma[:32, 64:80] = 128  # one bit masked over
    assert read_timecode(luma) is None
    stamp_timecode(frame, 99)
    luma[:16, 64:80] = luma[16:32, 64:80]  # one bit that is its own complement
    assert read_timecode(luma) is None


def test_timecode_survives_a_poor_encoder() -> None:
    scene = scene_of(faces=2)
    encoder = av.CodecContext.create("libx264", "w")
    assert isinstance(encoder, av.VideoCodecContext)
    encoder.width, encoder.height, encoder.pix_fmt = 640, 360, "yuv420p"
    encoder.framerate, encoder.time_base = Fraction(25), Fraction(1, 25)
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "44"}
    decoder = av.CodecContext.create("h264", "r")
    assert isinstance(decoder, av.VideoCodecContext)
    values = [frame_index * 0x0765_4321 % (1 << 32) for frame_index in range(12)]
    packets = []
    for frame_index, value in enumerate(values):
        frame = scene.render(frame_index)
        stamp_timecode(frame, value)
        frame.pts = frame_index
        packets += encoder.encode(frame)
    decoded = [frame for packet in packets for frame in decoder.decode(packet)]
    decoded += decoder.decode(None)

    assert [read_timecode(plane_view(frame, 0)) for frame in decoded] == values
