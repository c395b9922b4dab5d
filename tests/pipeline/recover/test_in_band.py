from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from engines import EngineError
from pipeline.frames import ShapeError, Square, U8Array, YuvPlanes, planes_of
from pipeline.recover.in_band import LEAST_LIKENESS, likeness, open_squares, recover_frame
from pipeline.vault.secret_map import face_secrets
from support.clips import head_patch, paint_frames
from support.fusion import SPEC, rendered, scripted_model

KEYS = [bytes([n]) * 32 for n in range(4)]


def fused(squares: list[Square]) -> tuple[YuvPlanes, YuvPlanes]:
    """(original, protected) planes with the squares fused under KEYS, over even grey."""
    rgb, _ = next(iter(paint_frames((320, 240), 1, faces=2, face_px=60)))
    original = planes_of(rendered(rgb))
    protected = YuvPlanes(original.y.copy(), original.u.copy(), original.v.copy())
    for square, key in zip(squares, KEYS, strict=False):
        part, target = square.of(original), square.of(protected)
        secrets = face_secrets([key], SPEC, (square.side_px, square.side_px))
        faces = part.y[None, None], np.stack([part.u, part.v])[None]
        grey = tuple(np.full_like(plane, 120) for plane in faces)
        luma, chroma = scripted_model().protect(faces, grey, secrets)
        target.y[...], target.u[...], target.v[...] = luma[0, 0], chroma[0, 0], chroma[0, 1]
    return original, protected


def test_faces_of_several_sizes_in_any_order() -> None:
    squares = [Square(0, 0, 96), Square(200, 100, 32), Square(100, 130, 96), Square(8, 140, 64)]
    original, protected = fused(squares)
    order = [2, 0, 3, 1]
    back = recover_frame(
        protected, [squares[i] for i in order], [KEYS[i] for i in order], scripted_model()
    )
    for old, new in ((original.y, back.y), (original.u, back.u), (original.v, back.v)):
        assert np.abs(old.astype(int) - new).mean() < 4
    assert np.abs(original.y.astype(int) - protected.y).mean() > 5


def test_nothing_to_open_is_a_copy() -> None:
    _, protected = fused([])
    back = recover_frame(protected, [], [], scripted_model())
    np.testing.assert_array_equal(back.y, protected.y)
    back.y[...] = 0
    assert protected.y.any()


def test_what_cannot_be_asked() -> None:
    _, protected = fused([Square(0, 0, 32)])
    with pytest.raises(ShapeError, match="does not lie in a frame"):
        open_squares(protected, [Square(300, 0, 32)], KEYS[:1], scripted_model())
    with pytest.raises(ValueError, match="2 squares need as many keys"):
        open_squares(protected, [Square(0, 0, 32), Square(40, 0, 32)], KEYS[:1], scripted_model())
    with pytest.raises(ValueError, match="share a key"):
        twice = [Square(0, 0, 32), Square(40, 0, 32)]
        open_squares(protected, twice, [KEYS[0], KEYS[0]], scripted_model())
    with pytest.raises(EngineError, match="protection only"):
        open_squares(protected, [Square(0, 0, 32)], KEYS[:1], scripted_model(recover=None))


# --- is it a face? ---


@pytest.mark.parametrize("side", [32, 48, 112, 240])
@pytest.mark.parametrize("block_px", [2, 4])
def test_faces_are_like_themselves_and_noise_is_not(side: int, block_px: int) -> None:
    rgb, _, _ = head_patch(100)
    face = planes_of(rendered(rgb[: rgb.shape[0] // 2 * 2, : rgb.shape[1] // 2 * 2])).y
    import cv2

    small: U8Array = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA).astype(np.uint8)
    assert likeness(small, block_px) > LEAST_LIKENESS + 0.05
    rng = np.random.default_rng(side)
    noise = np.clip(rng.normal(128, 50, (side, side)), 0, 255).astype(np.uint8)
    assert abs(likeness(noise, block_px)) < LEAST_LIKENESS - 0.05
    # noise of the size of a scrambled coefficient
    coarse = np.kron(noise[::block_px, ::block_px], np.ones((block_px, block_px), np.uint8))
    assert abs(likeness(coarse, block_px)) < LEAST_LIKENESS - 0.05


@given(st.integers(0, 255), st.sampled_from([8, 32, 50]), st.sampled_from([2, 4]))
def test_an_even_picture_is_no_face(level: int, side: int, block_px: int) -> None:
    assert likeness(np.full((side, side), level, np.uint8), block_px) == 0
