import numpy as np
import pytest

from pipeline.frames import FloatArray, U8Array
from pipeline.track.backtrack import trace_back
from support.clips import head_patch, textured_background

SIZE = (640, 360)


def frame(x: int, y: int, face_px: int = 40, *, seed: int = 2) -> tuple[U8Array, FloatArray]:
    """Luma with a head at a place, and the face's box."""
    picture = np.ascontiguousarray(textured_background(*SIZE, seed=seed)[..., 1])
    rgb, alpha, box = head_patch(face_px)
    height, width = rgb.shape[:2]
    under = picture[y : y + height, x : x + width]
    under[:] = np.rint(under * (1 - alpha[..., 0]) + rgb[..., 1] * alpha[..., 0]).astype(np.uint8)
    return picture, box + np.array([x, y, x, y], np.float32)


def empty() -> U8Array:
    return np.ascontiguousarray(textured_background(*SIZE, seed=2)[..., 1])


@pytest.mark.parametrize("step", [(0, 0), (6, 0), (-30, 4), (38, -10), (12, 14)])
@pytest.mark.parametrize("face_px", [24, 40, 80])
def test_a_face_that_moved_is_found_where_it_was(step: tuple[int, int], face_px: int) -> None:
    dx, dy = (round(part * face_px / 40) for part in step)
    x, y = 260, 100
    now, box = frame(x, y, face_px)
    earlier = [frame(x - dx * n, y - dy * n, face_px) for n in (1, 2, 3)]

    found = trace_back(now, box, [picture for picture, _ in earlier])

    assert len(found) == 3
    for place, (_, truth) in zip(found, earlier, strict=True):
        assert np.abs(place - truth).max() <= max(2.0, 0.15 * face_px)


def test_it_ends_where_the_face_is_no_more() -> None:
    now, box = frame(260, 100)
    before, _ = frame(250, 100)
    assert len(trace_back(now, box, [before, empty(), before])) == 1


def test_a_jump_out_of_reach_is_not_followed() -> None:
    now, box = frame(260, 100)
    far, _ = frame(60, 100)
    assert trace_back(now, box, [far]) == []


@pytest.mark.parametrize("level", [0, 128, 255])
def test_a_flat_picture_is_not_recognised(level: int) -> None:
    """Everything matches a flat patch: no trace is better than a false one."""
    flat = np.full((360, 640), level, np.uint8)
    box = np.array([200, 100, 240, 150], np.float32)
    assert trace_back(flat, box, [flat, flat]) == []
    now, face = frame(260, 100)
    assert trace_back(now, face, [flat]) == []


@pytest.mark.parametrize(
    "box",
    [
        [-100, 100, -60, 150],  # outside
        [700, 100, 760, 160],
        [0, 0, 6, 6],  # too small to know again
        [-34, 100, 6, 150],  # six pixels inside
        [300, 300, 300, 300],
        [300, 300, 290, 290],
    ],
)
def test_what_cannot_be_traced_is_not(box: list[float]) -> None:
    now, _ = frame(260, 100)
    assert trace_back(now, np.array(box, np.float32), [now]) == []


@pytest.mark.parametrize("place", [(-20, 100), (600, 100), (260, -30), (260, 300)])
def test_faces_at_the_edge_of_the_picture(place: tuple[int, int]) -> None:
    """The box reaches over the edge, as detectors say it does."""
    width, height = 40, 52
    rng = np.random.default_rng(5)
    big = rng.integers(0, 255, (52, 40), np.uint8)
    big = np.kron(big[::4, ::4], np.ones((4, 4), np.uint8))

    def picture(x: int, y: int) -> U8Array:
        canvas = np.full((600, 900), 90, np.uint8)
        canvas[120 + y : 120 + y + height, 120 + x : 120 + x + width] = big
        return np.ascontiguousarray(canvas[120:480, 120:760])

    x, y = place
    box = np.array([x, y, x + width, y + height], np.float32)
    found = trace_back(picture(x, y), box, [picture(x, y)])
    assert len(found) == 1
    assert np.abs(found[0] - box).max() <= 3.0


def test_nothing_earlier_nothing_found() -> None:
    now, box = frame(260, 100)
    assert trace_back(now, box, []) == []
