"""Recognizers that judge whether two pictures show one person: the attacker's tools.

They see aligned 112x112 crops, as LFW's are. The alignment is fixed and the same for every variant
of a face: an attacker knows where the face is, and landmarks found in noise would say more about
the landmark finder than about what leaks.
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import EngineError

from . import clips
from ._similarity import F32, U8

# Eye corners and the base of the nose in an aligned 112x112 crop: means over 60 faces of LFW by
# dlib's five-point predictor, in its order (right eye outer, inner, left eye outer, inner, nose).
FIVE_POINTS_PX = ((72, 52), (58, 53), (23, 52), (37, 53), (47, 79))
DLIB_THRESHOLD = 0.6  # distance; dlib's own advice, and the task's. LFW pairs here: 95 % hits
DLIB_CHIP_PX = 150
DLIB_PADDING = 0.25
_BORDER_PX = 40  # the chip reaches outside the crop: its edge is repeated, not black

# 1 - cosine. On the 2,417 pairs of different people of lfw_pairs.txt one in a thousand lies below;
# of the 2,691 pairs of one person 91 % do.
MOBILEFACENET_THRESHOLD = 1 - 0.41
MOBILEFACENET_FILE = "mobilefacenet_casia_112x96_converted.onnx"
_COLUMNS = slice(8, 104)  # it was trained on the middle 96


class Recognizer(Protocol):
    """Faces to vectors; near vectors are one person."""

    name: str
    threshold: float  # distances below it are a match

    def embed(self, rgb: U8) -> F32:
        """(N, 112, 112, 3) to (N, D)."""
        ...

    def distance(self, first: F32, second: F32) -> F32:
        """Of rows: (N,)."""
        ...


class DlibRecognizer:
    """The ResNet of dlib, from the files of `face_recognition_models`; its code never runs."""

    name = "dlib"
    threshold = DLIB_THRESHOLD

    def __init__(self) -> None:
        """Raises EngineError where the packages are missing."""
        try:
            import dlib
        except ImportError:
            raise EngineError("dlib is not installed; run: pip install dlib-bin") from None
        path = _package_file("face_recognition_models", "dlib_face_recognition_resnet_model_v1.dat")
        self._dlib: Any = dlib
        self._net = dlib.face_recognition_model_v1(str(path))
        points = [dlib.point(x + _BORDER_PX, y + _BORDER_PX) for x, y in FIVE_POINTS_PX]
        box = dlib.rectangle(_BORDER_PX, _BORDER_PX, _BORDER_PX + 111, _BORDER_PX + 111)
        self._alignment = dlib.full_object_detection(box, dlib.points(points))

    def embed(self, rgb: U8) -> F32:
        """See Recognizer. About 60 ms a face."""
        border = (_BORDER_PX,) * 4
        vectors = []
        for picture in rgb:
            wide = cv2.copyMakeBorder(picture, *border, cv2.BORDER_REPLICATE)
            chip = self._dlib.get_face_chip(wide, self._alignment, DLIB_CHIP_PX, DLIB_PADDING)
            vectors.append(self._net.compute_face_descriptor(chip))
        return np.array(vectors, np.float32).reshape(len(rgb), -1)

    def distance(self, first: F32, second: F32) -> F32:
        """See Recognizer."""
        return _f32(np.linalg.norm(first - second, axis=-1))


class MobileFaceNet:
    """A light recognizer of another kind, on OpenVINO. For evaluation only: it has no licence."""

    name = "mobilefacenet"
    threshold = MOBILEFACENET_THRESHOLD

    def __init__(self, threads: int = 2) -> None:
        """Raises EngineError where the file is missing."""
        from engines.ov import OpenVinoEngine

        folder = clips.testdata()
        path = folder / "weights" / MOBILEFACENET_FILE if folder else None
        if path is None or not path.is_file():
            raise EngineError(f"weights/{MOBILEFACENET_FILE} is missing; set BAUTA_TESTDATA")
        self._input = "data"
        self._engine = OpenVinoEngine(path, name=self.name, threads=threads)

    def embed(self, rgb: U8) -> F32:
        """See Recognizer. About 5 ms a face."""
        vectors = []
        for start in range(0, len(rgb), 16):
            crops = (_f32(rgb[start : start + 16, :, _COLUMNS]) - 127.5) / 128
            tensor = np.ascontiguousarray(crops.transpose(0, 3, 1, 2), np.float32)
            (out,) = self._engine.run({self._input: tensor}).values()
            vectors.append(out)
        stacked = np.concatenate(vectors)
        return _f32(stacked / np.linalg.norm(stacked, axis=1, keepdims=True))

    def distance(self, first: F32, second: F32) -> F32:
        """See Recognizer."""
        return _f32(1 - (first * second).sum(axis=-1))


def open_recognizers(threads: int = 2) -> tuple[list[Recognizer], list[str]]:
    """Those that are to be had, and a note for each that is not."""
    found: list[Recognizer] = []
    missing: list[str] = []
    for name, make in (("dlib", DlibRecognizer), ("mobilefacenet", lambda: MobileFaceNet(threads))):
        try:
            found.append(make())
        except EngineError as error:
            missing.append(f"{name} left out: {error}")
    return found, missing


def rank_one(probes: F32, gallery: F32, recognizer: Recognizer) -> NDArray[np.bool_]:
    """Whether the nearest of the gallery to each probe is the one in the same place. (N,)"""
    nearest = [
        int(np.argmin(recognizer.distance(np.broadcast_to(probe, gallery.shape), gallery)))
        for probe in probes
    ]
    own: NDArray[np.bool_] = np.array(nearest) == np.arange(len(probes))
    return own


def _f32(values: object) -> F32:
    return np.asarray(values, np.float32)


def _package_file(package: str, name: str) -> Path:
    # find_spec does not import a top-level package: its code never runs here
    spec = importlib.util.find_spec(package)
    for root in (spec.submodule_search_locations or []) if spec else []:
        if (path := Path(root) / "models" / name).is_file():
            return path
    raise EngineError(f"{name} is not installed; run: pip install {package}")
