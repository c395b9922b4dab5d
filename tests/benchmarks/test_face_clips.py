"""Made clips know where their faces are, and streams give the wanted squares back."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks import _face_clips
from benchmarks._coding import CODECS, Codec, through_codec
from benchmarks._face_clips import FaceClip, made_clip, square_of, stills
from benchmarks._fusion import Faces
from benchmarks._similarity import psnr

FRAMES = 12


@pytest.fixture(scope="module")
def faces() -> Faces:
    """Four grey tones with a ramp: told apart by their means."""
    ramp = np.linspace(-30, 30, 112)[None, :]
    chroma = np.full((56, 56), 128, np.uint8)
    pictures = [
        (np.broadcast_to(tone + ramp, (112, 112)).astype(np.uint8), chroma, chroma)
        for tone in (60, 100, 140, 180)
    ]
    return Faces(pictures, list("abcd"))


@pytest.fixture
def clip(faces: Faces, monkeypatch: pytest.MonkeyPatch) -> FaceClip:
    """Without recorded backgrounds."""
    monkeypatch.setattr(_face_clips, "BACKGROUNDS", ("none.mp4",))
    return made_clip(faces, 0, FRAMES)


def test_a_made_clips_squares_show_its_faces(clip: FaceClip, faces: Faces) -> None:
    assert clip.size_px == (640, 360) and len(clip.frames) == len(clip.squares) == FRAMES
    for planes, squares in zip(clip.frames, clip.squares, strict=True):
        for number, square in enumerate(squares):
            shown = square.of(planes).y[20:-20, 20:-20].astype(float)
            truth = faces.pictures[number][0][20:-20, 20:-20].astype(float)
            assert abs(shown.mean() - truth.mean()) < 2
            assert np.abs(shown - truth).max() < 6  # parts of a pixel of movement


def test_a_made_clips_faces_move_and_never_meet(clip: FaceClip) -> None:
    for lane in range(_face_clips.LANES):
        assert len({squares[lane].xys_px for squares in clip.squares}) > FRAMES / 2
    for squares in clip.squares:
        for index, square in enumerate(squares):
            assert not any(square.overlaps(other) for other in squares[:index])


def test_a_made_clip_is_the_same_every_time(faces: Faces, clip: FaceClip) -> None:
    again = made_clip(faces, 0, FRAMES)
    assert all((a.y == b.y).all() for a, b in zip(clip.frames, again.frames, strict=True))


def test_stills_hold_every_face_untouched(faces: Faces) -> None:
    clip = stills(faces)
    assert len(clip.frames) == 1
    for picture, square in zip(faces.pictures, clip.squares[0], strict=True):
        assert (square.of(clip.frames[0]).y == picture[0]).all()


@pytest.mark.parametrize("codec", CODECS)
def test_a_stream_gives_the_wanted_squares_back(clip: FaceClip, codec: Codec) -> None:
    wanted = [squares if index % 2 == 0 else [] for index, squares in enumerate(clip.squares)]
    frames = clip.frames[:5]
    stream = through_codec(frames, wanted, codec=codec, crf=10, gop=3, fps=clip.fps)
    assert [frame.kind for frame in stream.frames] == list("IPPIP")
    assert [len(frame.squares) for frame in stream.frames] == [3, 0, 3, 0, 3]
    for index, frame in enumerate(stream.frames):
        for square, got in zip(wanted[index], frame.squares, strict=True):
            assert psnr(got.y[None], square.of(clip.frames[index]).y[None])[0] > 38
    worse = through_codec(frames, wanted, codec=codec, crf=30, gop=3, fps=clip.fps)
    assert worse.size_bytes < stream.size_bytes


def test_a_square_lies_around_its_face_and_inside_the_frame() -> None:
    square = square_of((100, 50, 180, 150), (640, 360))
    assert square is not None and square.side_px == 144  # 100 * 1.35, in steps of 16
    assert square.xys_px[:2] == (68, 28)
    at_edge = square_of((600, 10, 640, 60), (640, 360))
    assert at_edge is not None
    assert at_edge.x_px + at_edge.side_px <= 640 and at_edge.y_px >= 0
    assert square_of((0, 0, 20, 20), (640, 360)) is None
    assert square_of((0, 0, 400, 400), (640, 360)) is None
