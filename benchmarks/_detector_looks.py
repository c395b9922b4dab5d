"""The ways to look at a picture that are compared: a network at a size, or two sizes merged."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as with_changes
from pathlib import Path

from engines import Catalog, open_engine
from engines.ov import OpenVinoEngine
from pipeline.detect.detector import EngineDetector
from pipeline.detect.scales import merged
from pipeline.frames import Detections, planes_of
from pipeline.resources import config_path
from pipeline.settings import DETECTOR_PRESETS

from ._pictures import Picture

WARM_UP_RUNS = 3


@dataclass(frozen=True, slots=True)
class View:
    """The whole picture through one network."""

    model: str  # a key of configs/models.yaml
    size_px: tuple[int, int]  # of the network's input
    int8_path: Path | None = None  # what runs in place of the model's own file

    @property
    def network(self) -> str:
        """For tables."""
        return self.model if self.int8_path is None else f"{self.model} int8"

    def __str__(self) -> str:
        return f"{self.network} {self.size_px[0]}x{self.size_px[1]}"


@dataclass(frozen=True, slots=True)
class Look:
    """Everything that is found in one picture by one or several views."""

    views: tuple[View, ...]

    @property
    def name(self) -> str:
        """For tables."""
        network = self.views[0].network
        if any(view.network != network for view in self.views):
            return " + ".join(map(str, self.views))
        sizes = [f"{view.size_px[0]}x{view.size_px[1]}" for view in self.views]
        return f"{network} {' + '.join(sizes)}"


SIZES_PX = ((480, 288), (640, 384), (960, 544), (1280, 736))
LOOKS = (
    *(Look((View("centerface", size_px),)) for size_px in SIZES_PX),
    Look((View("centerface", SIZES_PX[1]), View("centerface", SIZES_PX[3]))),
    *(Look((View("yunet", size_px),)) for size_px in SIZES_PX[1:3]),
)


@dataclass(slots=True)
class Seen:
    """What one view or look found in each picture of a set, and what that took."""

    found: list[Detections] = field(default_factory=list)
    ms: list[float] = field(default_factory=list)  # to prepare the picture and to run the network
    cpu_ms: list[float] = field(default_factory=list)


def product_looks() -> dict[str, Look]:
    """The presets of the product."""
    catalog = Catalog.load(config_path("models.yaml"))
    return {
        preset: Look(
            tuple(
                View(entry.family, entry.input_size_px)
                for entry in (catalog.entry(model) for model in models)
            )
        )
        for preset, models in DETECTOR_PRESETS.items()
    }


def opened(view: View, min_score: float, threads: int) -> EngineDetector:
    """A catalogued model at any input size. Raises EngineError."""
    entry = Catalog.load(config_path("models.yaml")).entry(view.model)
    entry = with_changes(entry, input_size_px=view.size_px)
    if view.int8_path is None:
        return EngineDetector(entry, open_engine(entry, threads=threads), min_score=min_score)
    engine = OpenVinoEngine(
        view.int8_path,
        name=view.network,
        input_name=entry.input_name,
        size_px=view.size_px,
        threads=threads,
    )
    return EngineDetector(entry, engine, min_score=min_score)


def look_through(
    detectors: Mapping[View, EngineDetector], pictures: Sequence[Picture]
) -> dict[View, Seen]:
    """Every picture once, one at a time. Raises EngineError.

    The views take turns picture by picture: what else the machine does then slows all alike.
    """
    for detector in detectors.values():
        for _ in range(WARM_UP_RUNS):
            detector.detect([detector.prepare(planes_of(pictures[0].image))])
    seen = {view: Seen() for view in detectors}
    for picture in pictures:
        planes = planes_of(picture.image)
        for view, detector in detectors.items():
            cpu, started = time.process_time(), time.perf_counter()
            (found,) = detector.detect([detector.prepare(planes)])
            seen[view].ms.append((time.perf_counter() - started) * 1e3)
            seen[view].cpu_ms.append((time.process_time() - cpu) * 1e3)
            seen[view].found.append(found)
    return seen


def together(views: Sequence[Seen]) -> Seen:
    """One look from its views, as the product merges them: every one is paid for."""
    if len(views) == 1:
        return views[0]
    return Seen(
        [merged(found) for found in zip(*(view.found for view in views), strict=True)],
        [sum(each) for each in zip(*(view.ms for view in views), strict=True)],
        [sum(each) for each in zip(*(view.cpu_ms for view in views), strict=True)],
    )
