"""Which plan TensorRT runs, and in which precision: the decisions, free of its libraries.

`trt.py` makes the calls; here they are behind `PlanMaker`, so that all of this is tested without a
GPU.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from typing import Protocol

from .base import Engine, EngineError
from .catalog import FusionEntry, Graphs
from .export.parity import Engines, compare
from .fusion import Part
from .plan_cache import PlanCache, PlanKey, Precision, ShapeRange

_log = logging.getLogger(__name__)


class PlanMaker(Protocol):
    """What trt.py can do on one GPU."""

    gpu: str
    compute_capability: tuple[int, int]
    version: str

    def build(self, graph: bytes, shapes: ShapeRange, timings: bytes) -> tuple[bytes, bytes]:
        """An ONNX graph to a plan and the kernel timings. Takes up to minutes. EngineError."""
        ...

    def open(self, plan: bytes, name: str) -> Engine:
        """Raises EngineError where the plan is not accepted."""
        ...


def open_with_tensorrt(
    maker: PlanMaker,
    cache: PlanCache,
    entry: FusionEntry,
    graphs: Graphs,
    wanted: Sequence[Part],
    open_reference: Callable[[], Engines],
) -> dict[Part, Engine]:
    """Engines for `wanted`: float16 in the convolutions where parity holds, else float32.

    The verdict takes all parts and is kept with the plans. Raises EngineError.
    """
    keys = plan_keys(maker, entry, "half")
    kept = cache.load_verdict(keys)
    if kept is None:
        kept = _half_keeps_parity(maker, cache, entry, graphs, open_reference)
        cache.store_verdict(keys, kept)
    precision: Precision = "half" if kept else "float32"
    return {part: _open(maker, cache, entry, part, graphs[part], precision) for part in wanted}


def plan_keys(maker: PlanMaker, entry: FusionEntry, precision: Precision) -> dict[str, PlanKey]:
    """By part."""
    return {
        part: PlanKey(
            model_sha256=entry.sha256s[part],
            gpu=maker.gpu,
            compute_capability=maker.compute_capability,
            tensorrt=maker.version,
            precision=precision,
            shapes=ShapeRange.for_levels(entry.spec.layout.levels),
        )
        for part in entry.spec.parts
    }


def _half_keeps_parity(
    maker: PlanMaker,
    cache: PlanCache,
    entry: FusionEntry,
    graphs: Graphs,
    open_reference: Callable[[], Engines],
) -> bool:
    reference = open_reference()
    try:
        candidate = Engines(
            *(_open(maker, cache, entry, part, graphs[part], "half") for part in entry.spec.parts)
        )
        try:
            parity = compare(entry.spec, reference, candidate)
        finally:
            candidate.close()
    finally:
        reference.close()
    kept = parity.holds()
    _log.info(
        "model %s: float16 is off by %d and %d levels and %.2f dB: %s",
        entry.name,
        parity.protect_levels,
        parity.recover_levels,
        parity.loss_db,
        "taken" if kept else "float32 is taken",
    )
    return kept


def _open(
    maker: PlanMaker,
    cache: PlanCache,
    entry: FusionEntry,
    part: Part,
    graph: bytes,
    precision: Precision,
) -> Engine:
    key = plan_keys(maker, entry, precision)[part]
    if (plan := cache.load(key)) is not None:
        try:
            return maker.open(plan, entry.name)
        except EngineError as error:
            _log.warning("%s; the plan is built again", error)
            cache.discard(key)
    started = time.monotonic()
    if precision == "half":
        graph = _half_graph(entry, part, graph)
    plan, timings = maker.build(graph, key.shapes, cache.load_timings(key))
    _log.info(
        "model %s: TensorRT built %s in %s within %.0f s",
        entry.name,
        part,
        precision,
        time.monotonic() - started,
    )
    cache.store(key, plan)
    cache.store_timings(key, timings)
    return maker.open(plan, entry.name)


def _half_graph(entry: FusionEntry, part: Part, graph: bytes) -> bytes:
    from .export.to_onnx import graph_bytes, read_weights

    return graph_bytes(
        part,
        read_weights(graph),
        channels=entry.spec.layout.channels,
        key_channels=entry.spec.key_channels,
        restored=entry.spec.carries_difference,
        half=True,
    )
