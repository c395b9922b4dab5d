from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from pipeline.frames import Square, YuvPlanes, planes_of
from pipeline.recover.search import MOST_TRIES, candidates, search
from pipeline.vault.secret_map import face_key, face_secrets
from support.clips import paint_frames
from support.fusion import SPEC, rendered, scripted_model

CLIP_KEY = bytes(range(32))
TRUE = Square(60, 44, 96)


def key_of(square: Square) -> bytes:
    return face_key(CLIP_KEY, 7, square.xys_px)


def protected() -> YuvPlanes:
    rgb, _ = next(iter(paint_frames((240, 180), 1, faces=1, face_px=60)))
    planes = planes_of(rendered(rgb))
    part = TRUE.of(planes)
    faces = part.y[None, None].copy(), np.stack([part.u, part.v])[None]
    grey = tuple(np.full_like(plane, 120) for plane in faces)
    secrets = face_secrets([key_of(TRUE)], SPEC, (96, 96))
    luma, chroma = scripted_model().protect(faces, grey, secrets)
    part.y[...], part.u[...], part.v[...] = luma[0, 0], chroma[0, 0], chroma[0, 1]
    return planes


def test_it_finds_the_very_place() -> None:
    seen: list[tuple[int, int]] = []
    found = search(
        protected(),
        Square(52, 52, 80),
        key_of,
        scripted_model(),
        reach_px=16,
        progress=lambda done, of: seen.append((done, of)),
    )
    assert found is not None and found.is_face
    assert found.square == TRUE
    done = [one for one, _ in seen]
    assert done == sorted(done) and done[-1] < seen[-1][1]  # stopped when it had found it


def test_without_the_key_no_place_opens() -> None:
    def wrong(square: Square) -> bytes:
        return face_key(bytes(32), 7, square.xys_px)

    found = search(protected(), TRUE, wrong, scripted_model(), reach_px=4)
    assert found is not None and not found.is_face


def test_out_of_reach_is_not_found() -> None:
    found = search(protected(), Square(90, 44, 96), key_of, scripted_model(), reach_px=8)
    assert found is not None and not found.is_face
    assert search(protected(), Square(200, 44, 240), key_of, scripted_model(), reach_px=0) is None


@given(
    st.integers(0, 100).map(lambda v: 2 * v),
    st.integers(0, 100).map(lambda v: 2 * v),
    st.integers(4, 40).map(lambda v: 4 * v),
    st.integers(0, 40),
)
def test_candidates_are_bounded_near_first_and_inside(
    x: int, y: int, side: int, reach: int
) -> None:
    around = Square(x, y, side)
    found = candidates(around, (320, 240), reach)
    assert len(found) == len(set(found)) <= MOST_TRIES
    for square in found:
        assert square.x_px + square.side_px <= 320 and square.y_px + square.side_px <= 240
    if x + side <= 320 and y + side <= 240:
        assert found[0] == around
