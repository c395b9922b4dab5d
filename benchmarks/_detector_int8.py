"""A detector in INT8: quantized by OpenVINO's NNCF after training.

NNCF is no part of the product and of none of its extras. It sees made scenes of another seed than
the benchmark's and, with the test data, street pictures, of which some are judged as well. Labels
are never used.
"""

from __future__ import annotations

import importlib
import importlib.util
import logging
from collections.abc import Iterator
from dataclasses import replace as with_changes
from pathlib import Path

import numpy as np

from engines import Catalog, EngineError, ModelEntry
from engines.catalog import verified_file
from pipeline.detect.letterbox import Letterbox
from pipeline.frames import FloatArray, planes_of
from pipeline.resources import config_path

from ._detector_looks import SIZES_PX, Look, View
from ._leak_made import made_clips
from ._leak_stills import street_stills
from ._pictures import Picture, of_still, sampled
from .report import progress

MODEL = "centerface"
INT8_SIZES_PX = SIZES_PX[1:3]
SEED = 2  # not the benchmark's
FRAMES_OF_A_SCENE = 4
STILLS = 120


def why_absent() -> str | None:
    """What to do where nothing can be quantized; None if it can."""
    if importlib.util.find_spec("nncf") is None:
        return "int8 left out: nncf is not installed (pip install nncf)"
    return None


def calibration() -> Iterator[Picture]:
    """Pictures as cameras see them; of the truth nothing is used."""
    for clip in made_clips(FRAMES_OF_A_SCENE, SEED):
        if not isinstance(clip, str):
            yield from sampled(clip, FRAMES_OF_A_SCENE)
    for still in street_stills(STILLS, np.random.default_rng(SEED)):
        yield of_still(still)


def network_inputs(entry: ModelEntry, pictures: Iterator[Picture]) -> list[FloatArray]:
    """(1, 3, H, W) of each, 0..255, as EngineDetector makes them."""
    found = []
    for picture in pictures:
        planes = planes_of(picture.image)
        letterbox = Letterbox(planes.size_px, entry.input_size_px)
        image = letterbox.image(planes, rgb=entry.colour == "rgb")
        found.append(np.ascontiguousarray(image.transpose(2, 0, 1)[None], dtype=np.float32))
    return found


def quantize(model: str, size_px: tuple[int, int], folder: Path) -> Path:
    """A catalogued model at that input size, as an .xml with its .bin. Raises EngineError."""
    if (absent := why_absent()) is not None:
        raise EngineError(absent)
    entry = with_changes(
        Catalog.load(config_path("models.yaml")).entry(model), input_size_px=size_px
    )
    progress(f"quantizing {model} {size_px[0]}x{size_px[1]}")
    nncf, ov = importlib.import_module("nncf"), importlib.import_module("openvino")
    logging.getLogger("nncf").setLevel(logging.ERROR)
    graph = ov.Core().read_model(verified_file(entry))
    graph.reshape({entry.input_name: ov.PartialShape([1, 3, size_px[1], size_px[0]])})
    pictures = network_inputs(entry, calibration())
    # MIXED: activations may be asymmetric, as those before a sigmoid or an exponent are
    small = nncf.quantize(
        graph,
        nncf.Dataset(pictures),
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(pictures),
    )
    path = folder / f"{model}-{size_px[0]}x{size_px[1]}-int8.xml"
    ov.save_model(small, path, compress_to_fp16=False)
    return path


def int8_looks(folder: Path) -> tuple[Look, ...]:
    """Quantized into that folder. Raises EngineError."""
    return tuple(
        Look((View(MODEL, size_px, quantize(MODEL, size_px, folder)),)) for size_px in INT8_SIZES_PX
    )
