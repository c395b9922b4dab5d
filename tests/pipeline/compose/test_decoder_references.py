"""What is written into a decoded frame must not come back in later ones.

Decoded frames share their buffers with the decoder's references. The gate calls `make_writable`
first; the last test shows that without it later frames are spoilt, so that these tests can fail.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.codec.context import ThreadType

from pipeline.compose.gate import Gate, Zones
from pipeline.frames import FaceBox, FacePatch, RawFrame, U8Array, YuvPlanes, planes_of
from support.clips import Codec, decode_all, make_clip

SIZE = (320, 192)
BOX = (80, 40, 240, 150)
FRAMES = 20
CLIPS: list[tuple[Codec, int]] = [
    ("libx264", 0),
    ("libx264", 3),
    ("libx265", 0),
    ("libx265", 2),
]


@pytest.fixture(scope="module", params=CLIPS, ids=lambda clip: f"{clip[0]}-{clip[1]}B")
def clip(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[list[U8Array]], int]:
    """A file, its planes as a decoder without us gives them, its B frames in a row."""
    codec, bframes = request.param
    path = tmp_path_factory.mktemp("clips") / f"{codec}{bframes}.mkv"
    made = make_clip(path, codec=codec, size=SIZE, frames=FRAMES, bframes=bframes, face_px=50)
    return made.path, [planes_copied(frame) for frame in decode_all(made.path)], bframes


def planes_copied(image: av.VideoFrame) -> list[U8Array]:
    planes = planes_of(image)
    return [planes.y.copy(), planes.u.copy(), planes.v.copy()]


def decoded(path: Path, threads: str, count: int) -> Iterator[av.VideoFrame]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.thread_type = ThreadType[threads]
        stream.codec_context.thread_count = count
        yield from container.decode(stream)


def black(_planes: YuvPlanes, faces: Sequence[FaceBox]) -> list[FacePatch]:
    x1, y1, x2, y2 = (int(v) for v in faces[0].box_xyxy_px)
    half = ((y2 - y1) // 2, (x2 - x1) // 2)
    content = YuvPlanes(
        np.zeros((y2 - y1, x2 - x1), np.uint8), np.zeros(half, np.uint8), np.zeros(half, np.uint8)
    )
    alpha = np.full((y2 - y1, x2 - x1), 255, np.uint8)
    return [FacePatch(1, x1, y1, content, alpha, faces[0].box_xyxy_px)]


@pytest.mark.parametrize("threads", ["SLICE", "FRAME", "AUTO"])
@pytest.mark.parametrize("count", [1, 0])
def test_protected_frames_leave_the_decoder_clean(
    clip: tuple[Path, list[list[U8Array]], int], threads: str, count: int
) -> None:
    path, clean, _ = clip
    gate = Gate("lobby", black)
    face = FaceBox(1, np.array(BOX, np.float32), 0.0)
    x1, y1, x2, y2 = BOX
    index = 0
    for image in decoded(path, threads, count):
        before = planes_copied(image)
        frame = gate.protect(RawFrame(image, index, index, Fraction(1, 25), 0), [face], Zones())
        assert frame.redacted is None
        after = planes_copied(frame.image)
        for plane, (old, new) in enumerate(zip(before, after, strict=True)):
            half = 2 if plane else 1
            # as it came out of the decoder, and as it goes out beside the patch
            np.testing.assert_array_equal(old, clean[index][plane], f"frame {index}")
            outside = np.ones(old.shape, np.bool_)
            outside[y1 // half : y2 // half, x1 // half : x2 // half] = False
            np.testing.assert_array_equal(new[outside], clean[index][plane][outside])
            assert (new[~outside] == 0).all()
        index += 1
    assert index == FRAMES


def test_without_make_writable_later_frames_are_spoilt(
    clip: tuple[Path, list[list[U8Array]], int],
) -> None:
    path, clean, bframes = clip
    x1, y1, x2, y2 = BOX
    spoilt = 0
    for index, image in enumerate(decoded(path, "AUTO", 1)):
        planes = planes_of(image)
        spoilt += not np.array_equal(planes.y, clean[index][0])
        planes.y[y1:y2, x1:x2] = 0
    # without B frames every frame but the first builds on the one before
    assert spoilt >= (FRAMES - 2 if bframes == 0 else 3)
