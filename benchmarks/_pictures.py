"""Pictures with known faces for the detectors benchmark."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from dataclasses import replace as with_changes

import av
import numpy as np

from engines import Catalog, EngineError, ModelEntry, open_engine
from pipeline.detect.detector import EngineDetector
from pipeline.detect.suppress import suppress
from pipeline.frames import FloatArray, planes_of
from pipeline.resources import config_path
from pipeline.source.normalize import Normalizer

from . import clips
from .report import progress

FULL_SIZE_PX = (1920, 1088)  # truth for the street clip: every pixel of it
TRUTH_SCORES = {"centerface": 0.5, "yunet": 0.6}
SAME_FACE = 0.4  # intersection over union; more than this and two boxes of the truth are one face


@dataclass(frozen=True, slots=True)
class Picture:
    """One picture and where its faces are."""

    image: av.VideoFrame = field(repr=False)
    truth_xyxy_px: FloatArray = field(repr=False)  # (N, 4)


@dataclass(frozen=True, slots=True)
class PictureSet:
    """What one table block is about."""

    name: str
    pictures: list[Picture] = field(repr=False)
    truth: str  # where it comes from, for people


def detector_at(
    name: str, size_px: tuple[int, int], min_score: float, threads: int
) -> EngineDetector:
    """A catalogued model at any input size. Raises EngineError."""
    entry: ModelEntry = Catalog.load(config_path("models.yaml")).entry(name)
    entry = with_changes(entry, input_size_px=size_px)
    return EngineDetector(entry, open_engine(entry, threads=threads), min_score=min_score)


def made_pictures(faces: int, count: int) -> PictureSet:
    """Frames of the made scene, a second apart; the truth is exact."""
    scene = clips.made_scene(faces)
    pictures = [
        Picture(scene.render(index * clips.FPS), _f32(scene.face_boxes_xyxy_px(index * clips.FPS)))
        for index in range(count)
    ]
    return PictureSet(f"made, {faces} faces", pictures, "exact")


def street_pictures(count: int) -> PictureSet | None:
    """Frames of the street clip; truth is what the detectors find together at full size."""
    folder = clips.testdata()
    path = folder / "videos" / clips.RECORDED["street"] if folder else None
    if path is None or not path.is_file():
        return None
    normalize = Normalizer("street")
    with av.open(str(path)) as container:
        images = [normalize(image) for image in container.decode(video=0)]
    images = images[:: max(1, len(images) // count)][:count]
    progress("street clip: finding the truth at full size")
    found: list[list[FloatArray]] = [[] for _ in images]
    used = []
    for name, least in TRUTH_SCORES.items():
        try:
            detector = detector_at(name, FULL_SIZE_PX, least, 0)
        except EngineError:
            continue
        used.append(name)
        for boxes, image in zip(found, images, strict=True):
            faces = detector.detect([detector.prepare(planes_of(image))])[0]
            boxes.append(np.column_stack([faces.box_xyxy_px, faces.score]))
        detector.close()
    pictures = []
    for image, each in zip(images, found, strict=True):
        table = np.concatenate(each).astype(np.float32)
        kept = suppress(table[:, :4], table[:, 4], limit=SAME_FACE)
        pictures.append(Picture(image, _f32(table[kept, :4])))
    return PictureSet("street 1080p", pictures, f"union of {' and '.join(used)} at 1920x1088")


def still_pictures(count: int) -> PictureSet | None:
    """A sample of the labelled stills, spread over the whole set."""
    folder = clips.testdata()
    if folder is None or not (folder / "faces" / "facemask_853.zip").is_file():
        return None
    labels = json.loads((folder / "faces" / "facemask_853.json").read_text(encoding="utf-8"))
    names = sorted(labels)[:: max(1, len(labels) // count)][:count]
    with zipfile.ZipFile(folder / "faces" / "facemask_853.zip") as archive:
        pictures = [
            Picture(_decoded(archive.read(name)), _xyxy(labels[name]["boxes_xywh"]))
            for name in names
        ]
    return PictureSet("stills 400x300", pictures, "hand-made boxes")


def all_sets(count: int) -> Iterator[PictureSet | str]:
    """Every set that is to be had; a note for each that is not."""
    yield made_pictures(5, min(count, 30))
    yield street_pictures(min(count, 35)) or "street clip left out; set BAUTA_TESTDATA"
    yield still_pictures(count) or "labelled stills left out; set BAUTA_TESTDATA"


def _decoded(data: bytes) -> av.VideoFrame:
    with av.open(io.BytesIO(data), "r") as container:
        image = next(container.decode(video=0))
    return Normalizer("still")(image)


def _xyxy(boxes_xywh: list[list[float]]) -> FloatArray:
    box = _f32(np.array(boxes_xywh, np.float32).reshape(-1, 4))
    return np.concatenate([box[:, :2], box[:, :2] + box[:, 2:]], axis=1)


def _f32(boxes: object) -> FloatArray:
    made: FloatArray = np.asarray(boxes, np.float32).reshape(-1, 4)
    return made
