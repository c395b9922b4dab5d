"""Which runtime opens a model, and why."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Sequence
from typing import Literal, get_args

import numpy as np

from . import eager, trt
from .base import Engine, EngineError, RuntimeAbsent
from .catalog import (
    FusionEntry,
    Graphs,
    ModelEntry,
    verified_file,
    verified_graphs,
)
from .export.parity import Engines
from .fusion import FusionModel, FusionSpec, Part
from .ov import OpenVinoEngine
from .plan_cache import PlanCache, Precision
from .trt_plans import open_with_tensorrt, plan_keys

_log = logging.getLogger(__name__)

Runtime = Literal["tensorrt", "eager-cuda", "openvino", "eager-cpu"]
Choice = Literal["auto", "tensorrt", "openvino", "eager"]
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)  # in the order of `auto`

CANDIDATES: dict[Choice, tuple[Runtime, ...]] = {
    "auto": RUNTIMES,
    "tensorrt": ("tensorrt",),
    "openvino": ("openvino",),
    "eager": ("eager-cuda", "eager-cpu"),
}
NAMES: dict[Runtime, str] = {
    "tensorrt": "TensorRT",
    "eager-cuda": "PyTorch on CUDA",
    "openvino": "OpenVINO",
    "eager-cpu": "PyTorch on the CPU",
}

Opened = dict[Part, Engine]
Opener = Callable[[FusionEntry, Graphs, Sequence[Part], int], Opened]

TRIAL_SIDE_PX = 32


def open_engine(entry: ModelEntry, *, threads: int = 0) -> Engine:
    """A detector, hash-checked and compiled. Raises EngineError.

    Detectors run on OpenVINO alone.
    """
    engine = OpenVinoEngine(
        verified_file(entry),
        name=entry.name,
        input_name=entry.input_name,
        size_px=entry.input_size_px,
        threads=threads,
    )
    _log.info("model %s runs on %s (CPU)", entry.name, engine.runtime)
    return engine


def open_fusion(
    entry: FusionEntry, *, runtime: Choice = "auto", threads: int = 0, recover: bool = True
) -> FusionModel:
    """A fusion model, hash-checked, on the first runtime that opens it and passes a trial run.

    Order: TensorRT, PyTorch on CUDA, OpenVINO, PyTorch on the CPU. A runtime that is named is taken
    or refused, never replaced. `recover` False opens protection alone. Raises EngineError.
    """
    graphs = verified_graphs(entry)
    wanted = entry.spec.parts if recover else ("protect",)
    reasons: list[str] = []
    for candidate in CANDIDATES[runtime]:
        try:
            opened = open_on(candidate, entry, graphs, wanted, threads=threads)
        except EngineError as error:
            absent = isinstance(error, RuntimeAbsent)
            reasons.append(f"{NAMES[candidate]}: {error}")
            _log.log(
                logging.INFO if absent else logging.WARNING,
                "model %s: %s is skipped: %s",
                entry.name,
                NAMES[candidate],
                error,
            )
            continue
        _log.info("model %s runs on %s", entry.name, NAMES[candidate])
        return FusionModel(
            entry.spec, opened["protect"], opened.get("recover"), opened.get("restore")
        )
    raise EngineError(f"model {entry.name} cannot be opened. {'; '.join(reasons)}")


def open_on(
    runtime: Runtime,
    entry: FusionEntry,
    graphs: Graphs,
    wanted: Sequence[Part] | None = None,
    *,
    threads: int = 0,
) -> Opened:
    """On this runtime and no other, all parts by default. Raises RuntimeAbsent or EngineError."""
    if (absent := why_absent(runtime)) is not None:
        raise RuntimeAbsent(absent)
    try:
        opened = OPENERS[runtime](entry, graphs, wanted or entry.spec.parts, threads)
    except EngineError:
        raise
    except Exception as error:  # drivers and compilers raise anything
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise EngineError(f"cannot open model {entry.name}: {lines[0]}") from error
    try:
        for part, engine in opened.items():
            _try_out(engine, part, entry.spec)
    except EngineError:
        for engine in opened.values():
            engine.close()
        raise
    return opened


def why_absent(runtime: Runtime) -> str | None:
    """Why a runtime cannot be used here, with what to do; None if it can. Quick."""
    if runtime == "tensorrt":
        return trt.why_absent()
    if runtime == "openvino":
        there = importlib.util.find_spec("openvino") is not None
        return None if there else "openvino not installed: pip install openvino"
    return eager.why_absent("cuda" if runtime == "eager-cuda" else "cpu")


def plans_kept(entry: FusionEntry) -> str:
    """What TensorRT has in its cache for a model, such as "half, float32"; "" without any.

    Raises EngineError where TensorRT cannot be used here.
    """
    gpu, cache = trt.Gpu(), PlanCache()
    precisions: tuple[Precision, ...] = get_args(Precision)
    return ", ".join(
        precision
        for precision in precisions
        if all(cache.has(key) for key in plan_keys(gpu, entry, precision).values())
    )


def _try_out(engine: Engine, part: Part, spec: FusionSpec) -> None:
    """One small run: a GPU that the runtime has no kernels for fails here and not on a face."""
    side = TRIAL_SIDE_PX // spec.layout.side_multiple_px
    y = np.zeros((1, spec.layout.channels, side, side), np.float32)
    inputs = {
        name: np.zeros((1, channels, side, side), np.float32)
        for name, channels in spec.inputs_of(part).items()
    }
    outputs = engine.run(inputs).values()
    if not outputs or any(out.shape != y.shape or not np.isfinite(out).all() for out in outputs):
        raise EngineError(f"model {spec.name} gives no usable picture in a trial run")


def _open_tensorrt(
    entry: FusionEntry, graphs: Graphs, wanted: Sequence[Part], threads: int
) -> Opened:
    def reference() -> Engines:
        # OpenVINO in float32 and not PyTorch: it is always installed
        return Engines(*_open_openvino(entry, graphs, entry.spec.parts, threads).values())

    return open_with_tensorrt(trt.Gpu(), PlanCache(), entry, graphs, wanted, reference)


def _open_openvino(
    entry: FusionEntry, graphs: Graphs, wanted: Sequence[Part], threads: int
) -> Opened:
    return {part: OpenVinoEngine(graphs[part], name=entry.name, threads=threads) for part in wanted}


def _open_eager_cuda(
    entry: FusionEntry, graphs: Graphs, wanted: Sequence[Part], threads: int
) -> Opened:
    return {
        part: eager.EagerEngine(graphs[part], part, entry.spec, device="cuda") for part in wanted
    }


def _open_eager_cpu(
    entry: FusionEntry, graphs: Graphs, wanted: Sequence[Part], threads: int
) -> Opened:
    return {
        part: eager.EagerEngine(graphs[part], part, entry.spec, threads=threads) for part in wanted
    }


OPENERS: dict[Runtime, Opener] = {
    "tensorrt": _open_tensorrt,
    "eager-cuda": _open_eager_cuda,
    "openvino": _open_openvino,
    "eager-cpu": _open_eager_cpu,
}
"""Tests put one in that fails."""
