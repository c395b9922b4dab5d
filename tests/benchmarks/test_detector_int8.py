"""What is quantized is opened, prepared and decoded as the product does it. No NNCF is needed."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import av
import numpy as np
import pytest

from benchmarks import _detector_int8
from benchmarks._detector_int8 import int8_looks, network_inputs, quantize, why_absent
from benchmarks._detector_looks import LOOKS, View, look_through, opened
from benchmarks._pictures import Picture, made_sets
from engines import Catalog, EngineError
from pipeline.resources import config_path

SIZE_PX = (160, 96)


def _picture(level: int) -> Picture:
    rgb = np.full((90, 160, 3), level, np.uint8)
    image = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format="yuv420p")
    return Picture(image, np.zeros((0, 4), np.float32), np.zeros(0, bool))


class FakeNncf:
    """Leaves the network as it is."""

    Dataset = list
    QuantizationPreset = SimpleNamespace(MIXED="mixed")

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def quantize(self, graph: Any, data: list[Any], *, preset: str, subset_size: int) -> Any:
        assert preset == "mixed" and subset_size == len(data)
        self.shapes = [each.shape for each in data]
        return graph


@pytest.fixture
def nncf(monkeypatch: pytest.MonkeyPatch) -> FakeNncf:
    fake, real = FakeNncf(), importlib.import_module
    monkeypatch.setattr(_detector_int8, "why_absent", lambda: None)
    monkeypatch.setattr(
        importlib, "import_module", lambda name: fake if name == "nncf" else real(name)
    )

    def calibration() -> Iterator[Picture]:
        yield from (_picture(level) for level in (0, 120, 255))

    monkeypatch.setattr(_detector_int8, "calibration", calibration)
    return fake


def test_without_nncf_a_note_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install nncf" in str(why_absent())
    with pytest.raises(EngineError, match="pip install nncf"):
        int8_looks(tmp_path)
    assert not list(tmp_path.iterdir())


def test_pictures_are_prepared_as_the_product_prepares_them() -> None:
    entry = Catalog.load(config_path("models.yaml")).entry("centerface")
    (one,) = network_inputs(entry, iter([_picture(200)]))
    width, height = entry.input_size_px
    assert one.shape == (1, 3, height, width) and one.dtype == np.float32
    assert one.flags.c_contiguous and abs(float(one.max()) - 200) < 4


def test_what_was_quantized_runs_in_place_of_the_models_file(
    nncf: FakeNncf, tmp_path: Path
) -> None:
    view = View("centerface", SIZE_PX, quantize("centerface", SIZE_PX, tmp_path))
    assert str(view) == "centerface int8 160x96"
    assert nncf.shapes == [(1, 3, SIZE_PX[1], SIZE_PX[0])] * 3
    made = next(one for one in made_sets(1) if not isinstance(one, str))
    detectors = {one: opened(one, 0.1, 1) for one in (View("centerface", SIZE_PX), view)}
    plain, small = look_through(detectors, made.pictures[:2]).values()
    for detector in detectors.values():
        detector.close()
    assert sum(len(found.score) for found in plain.found)
    for one, other in zip(plain.found, small.found, strict=True):
        np.testing.assert_allclose(one.box_xyxy_px, other.box_xyxy_px, atol=0.1)


def test_looks_in_int8_have_names_of_their_own(nncf: FakeNncf, tmp_path: Path) -> None:
    names = [look.name for look in (*LOOKS, *int8_looks(tmp_path))]
    assert names[-2:] == ["centerface int8 640x384", "centerface int8 960x544"]
    assert len(set(names)) == len(names)
