"""Pictures with known faces for the detectors benchmark."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.frames import FloatArray, ShapeError

from . import clips
from ._leak_judge import BANDS
from ._leak_made import SMALL, made_clips
from ._leak_recorded import CLIPS, recorded_clips
from ._leak_stills import Still, street_stills, wider_stills
from ._leak_truth import LEAST_VISIBLE, LeakClip, TrueFace, face_of_box
from .report import progress

LEAST_PX = BANDS[0][1]  # smaller faces are doubtful
RECORDED = {"street": "street 1080p", "hamilton": "hamilton 640x360"}
MOST_RECORDED = 40  # of each: frames of one clip resemble each other
MADE_FRAMES = 50
MOST_OF_A_SCENE = 6
PICTURES_A_SCENE_FRAME = 20  # so many wished, and one frame more of each made scene
NARROW_PX = 640  # a second time WIDER: as a small camera would have seen it
_SEED = 1


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture and where its faces are."""

    image: av.VideoFrame = field(repr=False)
    box_xyxy_px: FloatArray = field(repr=False)  # (N, 4) whole faces; may reach out of it
    is_doubtful: NDArray[np.bool_] = field(repr=False)  # (N,) counted on neither side

    def __post_init__(self) -> None:
        if self.box_xyxy_px.shape != (len(self.is_doubtful), 4):
            raise ShapeError(f"boxes {self.box_xyxy_px.shape}, doubts {self.is_doubtful.shape}")

    @property
    def size_px(self) -> FloatArray:
        """(N,) sqrt(w * h) of every face."""
        side = self.box_xyxy_px[:, 2:] - self.box_xyxy_px[:, :2]
        size: FloatArray = np.sqrt(side[:, 0] * side[:, 1])
        return size


@dataclass(frozen=True, slots=True)
class PictureSet:
    """What one table block is about."""

    name: str
    pictures: list[Picture] = field(repr=False)
    truth: str  # where it comes from, for people


def picture_of(image: av.VideoFrame, faces: Sequence[TrueFace]) -> Picture:
    """Faces that are very small, or hardly in the picture, become doubtful."""
    boxes = np.array([face.box_xyxy_px for face in faces], np.float32).reshape(-1, 4)
    doubtful = [
        face.is_doubtful or face.visible < LEAST_VISIBLE or face.size_px < LEAST_PX
        for face in faces
    ]
    return Picture(image, boxes, np.array(doubtful, bool))


def sampled(clip: LeakClip, count: int) -> Iterator[Picture]:
    """So many frames of it, spread evenly."""
    wanted = {math.floor((place + 0.5) * clip.frames / count) for place in range(count)}
    last = max(wanted)
    for index, image in enumerate(clip.pictures()):
        if index in wanted:
            yield picture_of(image, clip.truths(index))
        if index >= last:
            return


def of_still(still: Still, width_px: int | None = None) -> Picture:
    """As it is, or made as wide as that; it is never enlarged."""
    rgb, (width, height) = still.rgb(), still.size_px
    scale = min(1.0, (width_px or width) / width)
    if scale < 1:
        width, height = (round(side * scale / 2) * 2 for side in still.size_px)
        rgb = np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_AREA), np.uint8)
    image = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p")
    boxes = zip(still.box_xyxy_px * np.float32(scale), still.is_doubtful, strict=True)
    faces = [
        face_of_box(number, box, (width, height), is_doubtful=doubtful)
        for number, (box, doubtful) in enumerate(boxes)
    ]
    return picture_of(image, [face for face in faces if face is not None])


def made_sets(count: int) -> Iterator[PictureSet | str]:
    """The made scenes of the leak measurement, the small ones apart."""
    large: list[Picture] = []
    small: list[Picture] = []
    frames = min(max(count // PICTURES_A_SCENE_FRAME, 1), MOST_OF_A_SCENE)
    for clip in made_clips(MADE_FRAMES, _SEED):
        if isinstance(clip, str):
            yield clip
            continue
        progress(f"making {clip.name}")
        (small if clip.size_px == SMALL else large).extend(sampled(clip, frames))
    yield PictureSet("made 720p, 1080p", large, "exact")
    yield PictureSet(f"made {SMALL[0]}x{SMALL[1]}", small, "exact")


def recorded_sets(count: int) -> Iterator[PictureSet | str]:
    """Frames of recorded clips."""
    left_out = [clip.name for clip in CLIPS if clip.name not in RECORDED]
    for clip in recorded_clips(None):
        if isinstance(clip, str):
            if clip.partition(":")[0] not in left_out:
                yield clip
        elif clip.name in RECORDED:
            pictures = list(sampled(clip, min(count, MOST_RECORDED)))
            yield PictureSet(RECORDED[clip.name], pictures, clip.truth)


def still_sets(count: int) -> Iterator[PictureSet | str]:
    """Labelled pictures."""
    wider = wider_stills(count, np.random.default_rng(_SEED))
    street = street_stills(count, np.random.default_rng(_SEED))
    for name, stills, width_px in (
        ("WIDER", wider, None),
        (f"WIDER, {NARROW_PX} wide", wider, NARROW_PX),
        ("masks 400x300", street, None),
    ):
        if not stills:
            yield f"{name} left out; set BAUTA_TESTDATA"
            continue
        yield PictureSet(name, [of_still(still, width_px) for still in stills], stills[0].truth)


SETS: tuple[Callable[[int], Iterator[PictureSet | str]], ...] = (
    still_sets,
    recorded_sets,
    made_sets,
)


def all_sets(count: int) -> Iterator[PictureSet | str]:
    """Every set that is to be had, one at a time; a note for each that is not."""
    for sets in SETS:
        yield from sets(count)


def testdata_weights() -> str | None:
    """Where the test data keeps networks that no package carries."""
    folder = clips.testdata()
    return None if folder is None else str(folder / "weights")
