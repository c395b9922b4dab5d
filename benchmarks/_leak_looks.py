"""Two detectors at double size on some frames of a recorded clip: the raw material of its truth.

Looking is slow and its outcome is kept in the cache folder, a file per clip.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from pipeline.detect.detector import EngineDetector
from pipeline.frames import FloatArray, YuvPlanes, planes_of

from . import clips
from ._detector_looks import View, opened
from ._leak_recorded import recorded_images
from .report import progress

LEAST_SCORE = {"centerface": 0.2, "yunet": 0.3}
SCALES = (2.0, 1.0)  # of the frame: at double size the small ones, at its own size the large ones
MOST_PX = 2560 * 1472  # a network's input; larger pictures are looked at as large as this
NETWORK_STEP_PX = 32
CUT_LIKENESS = 0.5  # correlation of two frames' thumbnails; shaken pans stay above 0.7
THUMBNAIL_PX = (64, 36)
CACHE_VERSION = 1


@dataclass(frozen=True, slots=True)
class Looks:
    """What was found in the frames looked at."""

    size_px: tuple[int, int]
    frames: int
    cuts: list[int]  # first frames of new shots
    found: dict[int, list[tuple[str, FloatArray]]]  # by frame: detector, (N, 5) boxes and scores


def looks_of(path: Path, every: int, most_frames: int | None = None) -> Looks:
    """At all of a clip or at its beginning: from the cache, or made."""
    part = "" if most_frames is None else f"-first{most_frames}"
    kept = clips.cache_folder() / f"leak-looks-{path.stem}-{every}{part}-v{CACHE_VERSION}.json"
    if not kept.is_file():
        looks = _look(path, every, most_frames)
        unready = kept.with_suffix(".part")
        unready.write_text(json.dumps(_as_json(looks)), encoding="utf-8")
        unready.replace(kept)
    return _from_json(json.loads(kept.read_text(encoding="utf-8")))


def _look(path: Path, every: int, most_frames: int | None) -> Looks:
    cuts, frames, size_px = _cuts(path, most_frames)
    wanted = set(range(0, frames, every)) | {frames - 1}
    wanted |= {cut - 1 for cut in cuts} | set(cuts)  # no track is drawn out over a cut
    detectors = list(_detectors(size_px))
    found: dict[int, list[tuple[str, FloatArray]]] = {}
    try:
        for index, image in enumerate(islice(recorded_images(path), frames)):
            if index in wanted:
                found[index] = _found(detectors, planes_of(image))
                if len(found) % 20 == 0:
                    progress(f"{path.name}: {len(found)} of {len(wanted)} frames")
    finally:
        for _, detector in detectors:
            detector.close()
    return Looks(size_px, frames, cuts, found)


def _cuts(path: Path, most_frames: int | None) -> tuple[list[int], int, tuple[int, int]]:
    """First frames of new shots, the number of frames, the size."""
    cuts: list[int] = []
    before, index, size_px = None, -1, (0, 0)
    for index, image in enumerate(islice(recorded_images(path), most_frames)):
        size_px = (image.width, image.height)
        small = cv2.resize(planes_of(image).y, THUMBNAIL_PX, interpolation=cv2.INTER_AREA)
        now = small.astype(np.float32).ravel()
        if before is not None and float(np.corrcoef(now, before)[0, 1]) < CUT_LIKENESS:
            cuts.append(index)
        before = now
    return cuts, index + 1, size_px


def _detectors(size_px: tuple[int, int]) -> Iterator[tuple[str, EngineDetector]]:
    largest = (MOST_PX / (size_px[0] * size_px[1])) ** 0.5
    for scale in sorted({min(scale, largest) for scale in SCALES}):
        input_px = (_rounded_up(scale * size_px[0]), _rounded_up(scale * size_px[1]))
        for name, least in LEAST_SCORE.items():
            yield name, opened(View(name, input_px), least, 1)


def _rounded_up(side_px: float) -> int:
    return int(-(-side_px // NETWORK_STEP_PX)) * NETWORK_STEP_PX


def _found(
    detectors: Sequence[tuple[str, EngineDetector]], planes: YuvPlanes
) -> list[tuple[str, FloatArray]]:
    found = []
    for name, detector in detectors:
        faces = detector.detect([detector.prepare(planes)])[0]
        table = np.column_stack([faces.box_xyxy_px, faces.score]).astype(np.float32)
        found.append((name, table))
    return found


def _as_json(looks: Looks) -> dict[str, object]:
    return {
        "size_px": looks.size_px,
        "frames": looks.frames,
        "cuts": looks.cuts,
        "found": {
            index: [[name, np.round(table, 3).tolist()] for name, table in each]
            for index, each in looks.found.items()
        },
    }


def _from_json(kept: dict[str, object]) -> Looks:
    found = kept["found"]
    assert isinstance(found, dict)
    return Looks(
        tuple(kept["size_px"]),  # type: ignore[arg-type]
        int(kept["frames"]),  # type: ignore[call-overload]
        list(kept["cuts"]),  # type: ignore[call-overload]
        {
            int(index): [(name, np.array(rows, np.float32).reshape(-1, 5)) for name, rows in each]
            for index, each in found.items()
        },
    )
