"""Labelled stills as clips: each as one frame, and some under a window that pans slowly.

The street scenes count as they are labelled. WIDER FACE labels everything that somebody took for a
face, so there one is doubtful if it is flagged `invalid`, or heavily blurred (2 of 2) and below
BLURRED_PX. Their source squashed the WIDER pictures to 416x416: they are stretched back to the
size they had, but the detail is gone. Hence one rule more, for both sets: of a face that has fewer
than LEAST_DETAIL_PX in the picture's file nobody can say what it is.
"""

from __future__ import annotations

import io
import json
import math
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np

from pipeline.frames import FloatArray

from . import clips
from ._leak_truth import Family, LeakClip, TrueFace, face_of_box
from ._similarity import U8

FPS = Fraction(25)
PAN_FRAMES = 50
PAN_PX = (640, 360)
MOST_STEP_PX = 4.0  # of the window, a frame: a slow pan
STILLS_PER_PAN = 6
MOST_PAN_FACE_PX = 180.0  # half of the window: a larger face is no scene
STREET_SCALE = 2.0  # pans over the small street scenes are enlarged; over WIDER they are not
HEAVY_BLUR = 2  # of WIDER's 0, 1, 2
BLURRED_PX = 20.0
LEAST_DETAIL_PX = 8.0  # sqrt(w * h) in the file's own pixels
_HALVES = (-(PAN_FRAMES - 1) / 2, (PAN_FRAMES - 1) / 2)
CROWD = 8  # faces; from here on the condition says so
SMALL_PX = 20.0  # the median face

# (x1, y1, x2, y2) of the face in skimage's portrait, for machines without the test data.
_PORTRAIT_XYXY_PX = (177.0, 60.0, 274.0, 179.0)


@dataclass(frozen=True, slots=True)
class Still:
    """One labelled picture."""

    name: str
    size_px: tuple[int, int]  # as it is shown, even
    box_xyxy_px: FloatArray = field(repr=False)  # (N, 4) in that size
    is_doubtful: Sequence[bool] = field(repr=False)
    rgb: Callable[[], U8] = field(repr=False)  # (H, W, 3), of that size
    truth: str = "hand-made boxes"
    pan_scale: float = 1.0

    @property
    def largest_px(self) -> float:
        """sqrt(w * h) of its largest face."""
        return max(map(_size_px, self.box_xyxy_px), default=0.0)

    @property
    def condition(self) -> str:
        """As the tables group it."""
        sizes = [_size_px(box) for box in self.box_xyxy_px]
        if len(sizes) >= CROWD:
            return "crowd"
        return "small" if sizes and float(np.median(sizes)) < SMALL_PX else ""


def still_clips(count: int, seed: int) -> Iterator[LeakClip | str]:
    """So many stills, a third of them WIDER's, and a pan for every sixth of either set."""
    rng = np.random.default_rng(seed)
    wider, street = wider_stills(count // 3, rng), street_stills(count - count // 3, rng)
    if not wider and not street:
        yield "labelled stills left out, one portrait instead; set BAUTA_TESTDATA"
        street = [_portrait()]
    for still in (*street, *wider):
        yield _clip(still, "stills", still.name, 1, still.size_px, lambda _: (1.0, 0.0, 0.0))
    for stills in (street, wider):
        fitting = [one for one in stills if one.largest_px * one.pan_scale <= MOST_PAN_FACE_PX]
        for still in fitting[: math.ceil(len(stills) / STILLS_PER_PAN)]:
            way = _way(still, rng)
            yield _clip(still, "pans", f"pan {still.name}", PAN_FRAMES, PAN_PX, way)


# --- the sets ---


def _chosen(names: Sequence[str], count: int, rng: np.random.Generator) -> list[str]:
    """Spread over the whole set; the seed says where to begin."""
    if count < 1 or not names:
        return []
    step = max(1.0, len(names) / count)
    places = rng.uniform(0, step) + step * np.arange(min(count, len(names)))
    return [names[int(place) % len(names)] for place in places]


def _labels(name: str) -> tuple[dict[str, Any], Path] | None:
    folder = clips.testdata()
    if folder is None or not (folder / "faces" / f"{name}.zip").is_file():
        return None
    labels = json.loads((folder / "faces" / f"{name}.json").read_text(encoding="utf-8"))
    return labels, folder / "faces" / f"{name}.zip"


def street_stills(count: int, rng: np.random.Generator) -> list[Still]:
    if (found := _labels("facemask_853")) is None:
        return []
    labels, archive = found
    stills = []
    for name in _chosen(sorted(labels), count, rng):
        label = labels[name]
        boxes = _xyxy(label["boxes_xywh"])
        stills.append(
            _still(name, archive, (label["w"], label["h"]), boxes, boxes, {}, STREET_SCALE)
        )
    return stills


def wider_stills(count: int, rng: np.random.Generator) -> list[Still]:
    if (found := _labels("widerface_val")) is None:
        return []
    labels, archive = found
    stills = []
    for name in _chosen(sorted(labels), count, rng):
        label = labels[name]
        boxes, in_file = _xyxy(label["boxes_xywh_orig"]), _xyxy(label["boxes_xywh_416"])
        size_px = (label["orig_w"], label["orig_h"])
        stills.append(_still(name, archive, size_px, boxes, in_file, label))
    return stills


def _still(
    name: str,
    archive: Path,
    size_px: tuple[int, int],
    boxes: FloatArray,
    in_file: FloatArray,
    flags: Mapping[str, Sequence[int]],
    pan_scale: float = 1.0,
) -> Still:
    none = [0] * len(boxes)
    doubtful = [
        bool(invalid)
        or (blur >= HEAVY_BLUR and _size_px(box) < BLURRED_PX)
        or _size_px(small) < LEAST_DETAIL_PX
        for box, small, invalid, blur in zip(
            boxes, in_file, flags.get("invalid", none), flags.get("blur", none), strict=True
        )
    ]
    even = (size_px[0] // 2 * 2, size_px[1] // 2 * 2)
    rgb = partial(_read, archive, name, size_px)
    return Still(name, even, boxes, doubtful, rgb, pan_scale=pan_scale)


def _read(archive: Path, name: str, size_px: tuple[int, int]) -> U8:
    """Stretched back where it was squashed; the odd last row or column is left out."""
    with zipfile.ZipFile(archive) as kept:
        data = io.BytesIO(kept.read(name))
    with av.open(data, "r") as container:
        image = next(container.decode(video=0))
    rgb = np.asarray(image.to_ndarray(format="rgb24"), np.uint8)
    if (rgb.shape[1], rgb.shape[0]) != size_px:
        rgb = np.asarray(cv2.resize(rgb, size_px, interpolation=cv2.INTER_CUBIC), np.uint8)
    width, height = size_px
    return np.asarray(rgb[: height // 2 * 2, : width // 2 * 2], np.uint8)


def _portrait() -> Still:
    from skimage import data

    rgb = np.asarray(data.astronaut(), np.uint8)
    box = np.array([_PORTRAIT_XYXY_PX], np.float32)
    size_px = (rgb.shape[1], rgb.shape[0])
    return Still("portrait", size_px, box, [False], lambda: rgb, "a box drawn by hand")


# --- clips of them ---

Window = Callable[[int], tuple[float, float, float]]
"""Frame to scale, and left and top of what is shown, in the enlarged still's pixels."""


def _clip(
    still: Still, family: Family, name: str, frames: int, size_px: tuple[int, int], window: Window
) -> LeakClip:
    def pictures() -> Iterator[av.VideoFrame]:
        rgb = still.rgb()
        for index in range(frames):
            shown = _shown(rgb, size_px, *window(index))
            yield av.VideoFrame.from_ndarray(shown, format="rgb24").reformat(format="yuv420p")

    return LeakClip(
        name=name,
        family=family,
        condition=still.condition,
        frames=frames,
        size_px=size_px,
        fps=FPS,
        pictures=pictures,
        truths=partial(_faces, still, size_px, window),
        truth=still.truth,
    )


def _faces(still: Still, size_px: tuple[int, int], window: Window, index: int) -> list[TrueFace]:
    scale, left, top = window(index)
    boxes = still.box_xyxy_px * scale - np.array([left, top, left, top], np.float32)
    found = (
        face_of_box(person, box, size_px, is_doubtful=doubtful)
        for person, (box, doubtful) in enumerate(zip(boxes, still.is_doubtful, strict=True))
    )
    return [face for face in found if face is not None]


def _shown(rgb: U8, size_px: tuple[int, int], scale: float, left: float, top: float) -> U8:
    if (rgb.shape[1], rgb.shape[0]) == size_px and (scale, left, top) == (1.0, 0.0, 0.0):
        return np.ascontiguousarray(rgb)
    # a pixel's centre lies half a pixel inside of it, before and after
    shift = [scale / 2 - 0.5 - corner for corner in (left, top)]
    move = np.array([[scale, 0, shift[0]], [0, scale, shift[1]]])
    return np.asarray(cv2.warpAffine(rgb, move, size_px, borderMode=cv2.BORDER_REPLICATE), np.uint8)


def _way(still: Still, rng: np.random.Generator) -> Window:
    """Straight on, at one speed, by a face in the middle of the way."""
    scale = max(
        still.pan_scale, *(side / own for side, own in zip(PAN_PX, still.size_px, strict=True))
    )
    room = np.array(still.size_px) * scale - PAN_PX
    sure = np.flatnonzero(~np.array(still.is_doubtful, bool))
    if len(sure):
        box = still.box_xyxy_px[rng.choice(sure)] * scale
        centre = (box[:2] + box[2:]) / 2 - np.array(PAN_PX) / 2
    else:
        centre = room / 2
    angle, speed = rng.uniform(0, 2 * math.pi), rng.uniform(0.4, 1.0) * MOST_STEP_PX
    step = speed * np.array([math.cos(angle), math.sin(angle)])

    centre = np.clip(centre, 0, room)
    first, last = (np.clip(centre + step * half, 0, room) for half in _HALVES)

    def window(index: int) -> tuple[float, float, float]:
        left, top = first + (last - first) * index / (PAN_FRAMES - 1)
        return scale, float(left), float(top)

    return window


def _xyxy(boxes_xywh: Sequence[Sequence[float]]) -> FloatArray:
    box = np.array(boxes_xywh, np.float32).reshape(-1, 4)
    return np.concatenate([box[:, :2], box[:, :2] + box[:, 2:]], axis=1)


def _size_px(box_xyxy_px: FloatArray) -> float:
    width, height = (box_xyxy_px[2:] - box_xyxy_px[:2]).tolist()
    return math.sqrt(max(width, 0.0) * max(height, 0.0))
