"""`bauta engine list|build|parity|bench`: fusion models on the runtimes of this machine."""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from engines import Catalog, EngineError, FusionEntry, FusionModel, RuntimeAbsent
from engines.catalog import Graphs, verified_file, verified_graphs
from engines.export.parity import TOLERANCES, Engines, Parity, Tolerance, compare, made_faces
from engines.select_runtime import NAMES, RUNTIMES, Runtime, open_on, plans_kept, why_absent

from .errors import BautaError, UsageError
from .resources import config_path

PAPER = "the paper: 14 ms for 16 faces of 112x112 on an RTX 3090"
WARM_UP_RUNS = 2
LEAST_RUNS, MOST_RUNS, SECONDS_OF_RUNS = 5, 50, 2.0

RUN_IN_PYTORCH = ("face-alignment", "landmarks68")  # families, for comparison

Row = dict[str, Any]


def list_engines(*, as_json: bool) -> int:
    """Every model and every runtime, one line each."""
    with _engine_errors():
        catalog = Catalog.load(config_path("models.yaml"))
        rows = [row for entry in catalog.fusions.values() for row in _states(entry)]
        for detector in catalog.entries.values():
            runtime = (
                "PyTorch" if detector.family in ("face-alignment", "landmarks68") else "OpenVINO"
            )
            try:
                verified_file(detector)
                state = "ready"
            except EngineError:
                state = "not here: bauta doctor says how to get it"
            rows.append({"model": detector.name, "runtime": runtime, "state": state})
    _show(rows, {"model": "model", "runtime": "runtime", "state": "state"}, as_json=as_json)
    return 0


def _states(entry: FusionEntry) -> Iterator[Row]:
    try:
        verified_graphs(entry)
        broken = None
    except EngineError as error:
        broken = str(error)
    taken = False
    for runtime in RUNTIMES:
        state = broken or why_absent(runtime)
        if state is None:
            state = "ready" if taken else "ready, taken by default"
            taken = True
            if runtime == "tensorrt":
                kept = plans_kept(entry)
                state += f"; plans kept: {kept}" if kept else "; no plans yet: bauta engine build"
        yield {"model": entry.name, "runtime": NAMES[runtime], "state": state}


def build(model: str | None) -> int:
    """Open each model on every compiling runtime that is here; TensorRT keeps what it built."""
    for entry in _entries(model):
        with _engine_errors():
            graphs = verified_graphs(entry)
        for runtime in ("tensorrt", "openvino"):
            started = time.monotonic()
            line = f"{entry.name}  {NAMES[runtime]}: "
            try:
                opened = open_on(runtime, entry, graphs)
            except RuntimeAbsent as error:
                print(f"{line}left out: {error}", flush=True)
                continue
            except EngineError as error:
                raise BautaError(str(error)) from error
            for engine in opened.values():
                engine.close()
            seconds = time.monotonic() - started
            if runtime == "tensorrt":
                kept = f"plans kept: {plans_kept(entry) or 'none'}"
            else:
                kept = "nothing to keep, it compiles at every start"
            print(f"{line}{len(opened)} parts in {seconds:.1f} s; {kept}", flush=True)
    return 0


def parity(model: str | None, *, half: bool, as_json: bool) -> int:
    """Every runtime against PyTorch on the CPU. 1 where one is off by more than it may be."""
    rows: list[Row] = []
    kept = True
    for entry in _entries(model):
        with _engine_errors():
            graphs = verified_graphs(entry)
            reference = _open(entry, graphs, "eager-cpu")
            for label, opened in _candidates(entry, graphs, half=half):
                row: Row = {"model": entry.name, "runtime": label}
                if isinstance(opened, EngineError):
                    absent = isinstance(opened, RuntimeAbsent)
                    kept &= absent
                    why = "left out" if absent else "FAILED"
                    rows.append(row | {"verdict": f"{why}: {opened}"})
                    continue
                found = compare(entry.spec, reference, opened)
                allowed = TOLERANCES["tensorrt" if "float16" in label else found.runtime]
                holds = found.holds(allowed)
                kept &= holds
                row = asdict(found) | row | {"loss_db": found.loss_db, "allowed": asdict(allowed)}
                row |= {"verdict": "holds" if holds else "LOST"} | _texts(found, allowed)
                rows.append(row)
                opened.close()
            reference.close()
    columns = {
        "model": "model",
        "runtime": "runtime",
        "protect": "protect off",
        "recover": "recover off",
        "recovery": "recovery",
        "may": "allowed",
        "verdict": "verdict",
    }
    _show(rows, columns, as_json=as_json)
    return 0 if kept else 1


def _candidates(
    entry: FusionEntry, graphs: Graphs, *, half: bool
) -> Iterator[tuple[str, Engines | EngineError]]:
    for runtime in RUNTIMES:
        if runtime == "eager-cpu":
            continue  # the reference
        try:
            yield NAMES[runtime], _open(entry, graphs, runtime)
        except EngineError as error:
            yield NAMES[runtime], error
    if half:
        from engines.eager import EagerEngine

        yield (
            "float16, on the CPU",
            Engines(*(EagerEngine(graphs[p], p, entry.spec, half=True) for p in entry.spec.parts)),
        )


def _texts(found: Parity, allowed: Tolerance) -> Row:
    """Worst pixels in levels of 255, before rounding in brackets."""
    return {
        "protect": f"{found.protect_levels} ({found.protect_float_levels:.2g})",
        "recover": f"{found.recover_levels} ({found.recover_float_levels:.2g})",
        "recovery": f"{found.recovery_db:.2f} of {found.reference_db:.2f} dB",
        "may": f"{allowed.levels}, {allowed.recovery_loss_db:g} dB",
    }


def bench(
    model: str | None, *, size_px: int, batches: Sequence[int], threads: int, as_json: bool
) -> int:
    """Milliseconds a batch and a face, for every runtime here: medians after warm-up."""
    if any(batch < 1 for batch in batches):
        raise UsageError("--batch: at least 1 face")
    rows: list[Row] = []
    for entry in _entries(model):
        step = entry.spec.layout.side_multiple_px
        if size_px < step or size_px % step:
            raise UsageError(f"--size: {entry.name} takes multiples of {step} px, got {size_px}")
        with _engine_errors():
            graphs = verified_graphs(entry)
            for runtime in RUNTIMES:
                try:
                    opened = _open(entry, graphs, runtime, threads=threads)
                except RuntimeAbsent:
                    continue
                except EngineError as error:
                    print(f"bauta: left out: {NAMES[runtime]}: {error}", file=sys.stderr)
                    continue
                for batch in batches:
                    rows.extend(_time(entry, runtime, opened, batch, size_px))
                opened.close()
    facts = f"{os.cpu_count()} CPU cores, load {os.getloadavg()[0]:.1f}; {PAPER}"
    columns = {
        "model": "model",
        "runtime": "runtime",
        "part": "part",
        "faces": "faces",
        "network_ms": "network, ms",
        "face_ms": "ms a face",
        "face_cpu_ms": "CPU ms a face",
        "whole_ms": "whole way, ms",
    }
    report = {"size_px": size_px, "threads": threads, "facts": facts}
    _show(rows, columns, as_json=as_json, report=report)
    if not as_json:
        print(facts)
    return 0


def _time(
    entry: FusionEntry, runtime: Runtime, opened: Engines, batch: int, size_px: int
) -> Iterator[Row]:
    """One row a part: the network alone, and where a direction ends, all that it is."""
    ((original, obfuscated, secrets),) = made_faces(entry.spec, 0, ((batch, size_px, size_px),))
    layout, model = entry.spec.layout, FusionModel(entry.spec, *opened)
    x, y = layout.to_bands(original), layout.to_bands(obfuscated)
    key = secrets.key_bands(layout.levels)
    keys = {} if key is None else {"k": key}
    inputs = {
        "protect": {"x": x, "y": y} | keys,
        "recover": {"y": y} | keys,
        "restore": {name: y for name in entry.spec.inputs_of("restore")},
    }
    whole: dict[str, Callable[[], object]] = {
        "protect": lambda: model.protect(original, obfuscated, secrets),
        entry.spec.parts[-1]: lambda: model.recover(obfuscated, secrets),
    }
    for part, engine in zip(entry.spec.parts, opened, strict=False):
        assert engine is not None
        network_ms, cpu_ms = _median_ms(partial(engine.run, inputs[part]))
        row: Row = {
            "model": entry.name,
            "runtime": NAMES[runtime],
            "part": part,
            "faces": batch,
            "network_ms": round(network_ms, 2),
            "face_ms": round(network_ms / batch, 2),
            "face_cpu_ms": round(cpu_ms / batch, 2),
        }
        yield row | {"whole_ms": round(_median_ms(whole[part])[0], 2)} if part in whole else row


def _median_ms(call: Callable[[], object]) -> tuple[float, float]:
    """On the clock, and CPU time of all threads: the steadier figure on a busy machine."""
    for _ in range(WARM_UP_RUNS):
        call()
    took: list[tuple[float, float]] = []
    until = time.monotonic() + SECONDS_OF_RUNS
    while len(took) < LEAST_RUNS or (time.monotonic() < until and len(took) < MOST_RUNS):
        started, busy = time.perf_counter(), time.process_time()
        call()
        took.append((time.perf_counter() - started, time.process_time() - busy))
    wall, cpu = (statistics.median(times) * 1e3 for times in zip(*took, strict=True))
    return wall, cpu


def _open(entry: FusionEntry, graphs: Graphs, runtime: Runtime, *, threads: int = 0) -> Engines:
    return Engines(*open_on(runtime, entry, graphs, threads=threads).values())


def _entries(model: str | None) -> list[FusionEntry]:
    with _engine_errors():
        catalog = Catalog.load(config_path("models.yaml"))
        entries = [catalog.fusion(model)] if model else list(catalog.fusions.values())
    if not entries:
        raise BautaError("configs/models.yaml holds no fusion model; bauta train makes one")
    return entries


@contextmanager
def _engine_errors() -> Iterator[None]:
    try:
        yield
    except EngineError as error:
        raise BautaError(str(error)) from error


def _show(
    rows: Sequence[Row], columns: dict[str, str], *, as_json: bool, report: Row | None = None
) -> None:
    if as_json:
        hidden = ("protect", "recover", "recovery", "may")
        clean = [{key: _plain(row[key]) for key in row if key not in hidden} for row in rows]
        print(json.dumps((report or {}) | {"rows": clean}, indent=2))
        return
    table = Table.grid(padding=(0, 2), pad_edge=False)
    for _ in columns:
        table.add_column(overflow="fold")
    table.add_row(*columns.values(), style="dim")
    for row in rows:
        # Text: in "bauta[gpu]" a string would lose its brackets as markup
        table.add_row(*(Text(str(row.get(key, ""))) for key in columns))
    # in a pipe a line stays a line
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    console.print(table)


def _plain(value: Any) -> Any:
    """JSON has no infinity: a perfect recovery is null decibels."""
    return None if isinstance(value, float) and not np.isfinite(value) else value
