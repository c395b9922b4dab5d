"""TensorRT's decisions, with a maker that compiles for OpenVINO: no GPU is here."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from engines import Engine, EngineError, FusionEntry, trt_plans
from engines.base import Array
from engines.catalog import Graphs, verified_graphs
from engines.export.parity import Engines, compare
from engines.export.to_onnx import read_weights
from engines.fusion import Part
from engines.ov import OpenVinoEngine
from engines.plan_cache import PlanCache, ShapeRange
from engines.scripted import ScriptedEngine
from engines.trt_plans import open_with_tensorrt, plan_keys

ALL: tuple[Part, ...] = ("protect", "recover", "restore")


class Maker:
    """A plan is the graph behind a stamp. `half_is_off` spoils float16 plans."""

    gpu = "NVIDIA Imaginary"
    compute_capability = (9, 0)

    def __init__(self, *, version: str = "11.4", half_is_off: float = 0.0) -> None:
        self.version = version
        self.half_is_off = half_is_off
        self.built: list[tuple[bool, bytes]] = []  # half or not, the timings that were given

    def build(self, graph: bytes, shapes: ShapeRange, timings: bytes) -> tuple[bytes, bytes]:
        half = b"half" if is_half(graph) else b"full"
        self.built.append((half == b"half", timings))
        return half + self.version.encode() + graph, timings + b"t"

    def open(self, plan: bytes, name: str) -> Engine:
        stamp, graph = plan[: 4 + len(self.version)], plan[4 + len(self.version) :]
        if stamp[4:].decode() != self.version:
            raise EngineError(f"TensorRT does not accept the plan of model {name}")
        inner = OpenVinoEngine(graph, name=name, threads=1)
        off = np.float32(self.half_is_off if stamp.startswith(b"half") else 0)

        def script(inputs: Mapping[str, Array]) -> dict[str, Array]:
            return {key: out + off for key, out in inner.run(inputs).items()}

        engine = ScriptedEngine(script)
        engine.runtime = "tensorrt"
        return engine


def is_half(graph: bytes) -> bool:
    import onnx

    types = {item.data_type for item in onnx.load_from_string(graph).graph.initializer}
    return types == {onnx.TensorProto.FLOAT16}


@pytest.fixture(autouse=True)
def _small_faces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trt_plans, "compare", partial(compare, cases=((2, 24, 40),)))


@pytest.fixture
def entry(entries: Mapping[str, FusionEntry]) -> FusionEntry:
    return entries["restored"]


@pytest.fixture
def graphs(entry: FusionEntry) -> Graphs:
    return verified_graphs(entry)


def opened(
    maker: Maker, cache: PlanCache, entry: FusionEntry, wanted: tuple[Part, ...] = ALL
) -> dict[Part, Engine]:
    graphs = verified_graphs(entry)

    def reference() -> Engines:
        return Engines(*(OpenVinoEngine(graphs[part], name=entry.name, threads=1) for part in ALL))

    return open_with_tensorrt(maker, cache, entry, graphs, wanted, reference)


def test_float16_where_parity_holds(tmp_path: Path, entry: FusionEntry) -> None:
    maker, cache = Maker(), PlanCache(tmp_path)
    engines = opened(maker, cache, entry)
    assert list(engines) == list(ALL)
    assert [half for half, _ in maker.built] == [True, True, True]
    assert cache.load_verdict(plan_keys(maker, entry, "half")) is True


def test_float32_where_it_does_not(
    tmp_path: Path, entry: FusionEntry, caplog: pytest.LogCaptureFixture
) -> None:
    maker, cache = Maker(half_is_off=0.1), PlanCache(tmp_path)
    with caplog.at_level(logging.INFO):
        opened(maker, cache, entry)
    assert [half for half, _ in maker.built] == [True] * 3 + [False] * 3
    assert "float32 is taken" in caplog.text
    assert cache.load_verdict(plan_keys(maker, entry, "half")) is False


def test_the_next_start_builds_and_compares_nothing(tmp_path: Path, entry: FusionEntry) -> None:
    cache = PlanCache(tmp_path)
    opened(Maker(), cache, entry)
    again = Maker()

    def reference() -> Engines:
        raise AssertionError("the verdict is known")

    open_with_tensorrt(again, cache, entry, verified_graphs(entry), ALL, reference)
    assert again.built == []


def test_a_service_that_only_protects_gets_the_same_precision(
    tmp_path: Path, entry: FusionEntry
) -> None:
    maker = Maker()
    assert list(opened(maker, PlanCache(tmp_path), entry, ("protect",))) == ["protect"]
    assert all(half for half, _ in maker.built)


def test_timings_go_from_build_to_build(tmp_path: Path, entry: FusionEntry) -> None:
    maker = Maker()
    opened(maker, PlanCache(tmp_path), entry)
    assert [timings for _, timings in maker.built] == [b"", b"t", b"tt"]


def test_another_version_builds_its_own(tmp_path: Path, entry: FusionEntry) -> None:
    cache = PlanCache(tmp_path)
    opened(Maker(), cache, entry)
    newer = Maker(version="11.5")
    opened(newer, cache, entry)
    assert len(newer.built) == 3


def test_a_plan_that_is_not_accepted_is_built_again(
    tmp_path: Path, entry: FusionEntry, caplog: pytest.LogCaptureFixture
) -> None:
    cache, maker = PlanCache(tmp_path), Maker()
    opened(maker, cache, entry)
    key = plan_keys(maker, entry, "half")["recover"]
    cache.store(key, b"fullXX.X of another world")
    maker.built.clear()
    with caplog.at_level(logging.WARNING):
        opened(maker, cache, entry)
    assert len(maker.built) == 1
    assert "does not accept the plan of model restored; the plan is built again" in caplog.text


def test_a_damaged_plan_is_built_again(tmp_path: Path, entry: FusionEntry) -> None:
    cache, maker = PlanCache(tmp_path), Maker()
    opened(maker, cache, entry)
    maker.built.clear()
    plan = tmp_path / f"{plan_keys(maker, entry, 'half')['protect'].digest()}.plan"
    plan.write_bytes(plan.read_bytes()[:-4])
    engines = opened(maker, cache, entry)
    assert len(maker.built) == 1 and "protect" in engines


def test_what_cannot_be_built_is_an_engine_error(
    tmp_path: Path, entry: FusionEntry, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> tuple[bytes, bytes]:
        raise EngineError("TensorRT cannot build a plan; its log says why")

    maker = Maker()
    monkeypatch.setattr(maker, "build", fails)
    with pytest.raises(EngineError, match="cannot build"):
        opened(maker, PlanCache(tmp_path), entry)


def test_plans_are_told_apart_by_part(entry: FusionEntry, graphs: Graphs) -> None:
    keys = plan_keys(Maker(), entry, "half")
    assert len({key.digest() for key in keys.values()}) == len(keys) == 3
    assert all(read_weights(graphs[part]) for part in entry.spec.parts)
