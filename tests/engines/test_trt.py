"""The calls to TensorRT, pycuda and cuda-python, recorded by stand-ins: no GPU is here.

The stand-ins have the names of the real interfaces (TensorRT 11.4, cuda-python 13.5) and the rules
that matter: what was not set before a run fails, a stream that captures may not be waited for.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from engines import EngineError, RuntimeAbsent, trt
from engines.plan_cache import ShapeRange
from engines.trt import Gpu, TensorRtEngine

RANGES = ShapeRange.for_levels(2)


class Status(IntEnum):
    CUDA_SUCCESS = 0
    CUDA_ERROR_STREAM_CAPTURE_INVALIDATED = 901


class Memory:
    """Device memory: an array and an address."""

    live = 0

    def __init__(self, size: int) -> None:
        self.bytes = np.zeros(size, np.uint8)
        Memory.live += 1

    def __int__(self) -> int:
        return id(self)

    def free(self) -> None:
        Memory.live -= 1


class Stream:
    handle = 77

    def __init__(self) -> None:
        self.captured: list[Any] | None = None

    def do(self, step: Any) -> None:
        if self.captured is None:
            step()
        else:
            self.captured.append(step)

    def synchronize(self) -> None:
        assert self.captured is None, "waiting breaks a capture"


class Context:
    """An execution context of the network `out = y + 1`; y is (b, C, h, w) within RANGES."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.shape: tuple[int, ...] = ()
        self.addresses: dict[str, int] = {}

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        self.shape = shape
        return shape[0] <= RANGES.batch[2]

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return self.shape

    def set_tensor_address(self, name: str, address: int) -> None:
        self.addresses[name] = address

    def execute_async_v3(self, stream_handle: int) -> bool:
        assert stream_handle == Stream.handle and set(self.addresses) == {"y", "out"}
        memory = self.world.memory

        def step() -> None:
            y = memory[self.addresses["y"]].bytes.view(np.float32)
            memory[self.addresses["out"]].bytes.view(np.float32)[:] = y + 1

        self.world.stream.do(step)
        return not self.world.refuses_to_run


class World:
    """One GPU, and what was asked of it."""

    def __init__(self) -> None:
        self.stream = Stream()
        self.memory: dict[int, Memory] = {}
        self.current = 0
        self.contexts = 0
        self.graphs = 0
        self.refuses_to_run = False
        self.capture_status = Status.CUDA_SUCCESS

    # --- pycuda.driver ---

    def allocate(self, size: int) -> Memory:
        assert self.current, "no context is current"
        memory = Memory(size)
        self.memory[int(memory)] = memory
        return memory

    def to_device(self, to: Memory, array: Any, stream: Stream) -> None:
        stream.do(lambda: to.bytes.__setitem__(slice(None), array.view(np.uint8).ravel()))

    def to_host(self, array: Any, source: Memory, stream: Stream) -> None:
        stream.do(lambda: np.copyto(array, source.bytes.view(np.float32).reshape(array.shape)))

    def pycuda(self) -> Any:
        return SimpleNamespace(
            Stream=lambda: self.stream,
            mem_alloc=self.allocate,
            pagelocked_zeros=np.zeros,
            memcpy_htod_async=self.to_device,
            memcpy_dtoh_async=self.to_host,
        )

    # --- cuda.bindings.driver ---

    def begin(self, stream: int, mode: str) -> tuple[Status]:
        assert (stream, mode) == (Stream.handle, "thread-local")
        self.stream.captured = []
        return (Status.CUDA_SUCCESS,)

    def end(self, stream: int) -> tuple[Status, Any]:
        steps, self.stream.captured = self.stream.captured, None
        return self.capture_status, steps

    def instantiate(self, steps: Any, flags: int) -> tuple[Status, Any]:
        self.graphs += 1
        return Status.CUDA_SUCCESS, steps

    def launch(self, steps: Any, stream: int) -> tuple[Status]:
        for step in steps:
            step()
        return (Status.CUDA_SUCCESS,)

    def drop(self, _: Any) -> tuple[Status]:
        self.graphs -= 1
        return (Status.CUDA_SUCCESS,)

    def cuda(self) -> Any:
        mode = SimpleNamespace(CU_STREAM_CAPTURE_MODE_THREAD_LOCAL="thread-local")
        return SimpleNamespace(
            CUstream=int,
            CUresult=Status,
            CUstreamCaptureMode=mode,
            cuStreamBeginCapture=self.begin,
            cuStreamEndCapture=self.end,
            cuGraphInstantiate=self.instantiate,
            cuGraphLaunch=self.launch,
            cuGraphDestroy=lambda steps: (Status.CUDA_SUCCESS,),
            cuGraphExecDestroy=self.drop,
        )

    # --- tensorrt ---

    def make_context(self) -> Context:
        self.contexts += 1
        return Context(self)

    def accept(self, plan: bytes) -> Any:
        engine = SimpleNamespace(
            create_execution_context=self.make_context,
            num_io_tensors=2,
            get_tensor_name=lambda index: ("y", "out")[index],
        )
        return engine if plan == b"good plan" else None

    def gpu(self) -> Gpu:
        """As Gpu.__init__ leaves it."""
        gpu = object.__new__(Gpu)
        runtime = SimpleNamespace(deserialize_cuda_engine=self.accept)
        gpu.trt = SimpleNamespace(Runtime=lambda logger: runtime)
        gpu.pycuda, gpu.cuda, gpu.logger = self.pycuda(), self.cuda(), None

        @contextmanager
        def current() -> Iterator[None]:
            self.current += 1
            try:
                yield
            finally:
                self.current -= 1

        gpu.current = current  # type: ignore[method-assign]
        return gpu


@pytest.fixture
def world() -> Iterator[World]:
    before = Memory.live
    yield (made := World())
    assert Memory.live == before, "device memory was not freed"
    assert made.graphs == 0 and made.current == 0


def batch(count: int, side: int = 4) -> dict[str, Any]:
    rng = np.random.default_rng(count * side)
    return {"y": rng.normal(size=(count, 6, side, side)).astype(np.float32)}


def test_one_capture_a_shape_and_then_replays(world: World) -> None:
    engine = TensorRtEngine(world.gpu(), b"good plan", "tiny")
    for count, side in ((1, 4), (2, 4), (1, 4), (1, 8), (2, 4)):
        inputs = batch(count, side)
        out = engine.run(inputs)["out"]
        np.testing.assert_array_equal(out, inputs["y"] + 1)
    # a context of its own for each: another shape would change what a captured graph replays
    assert world.contexts == world.graphs == 3
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="model tiny is closed"):
        engine.run(batch(1))


def test_answers_are_copies(world: World) -> None:
    engine = TensorRtEngine(world.gpu(), b"good plan", "tiny")
    first = engine.run(batch(1))["out"]
    kept = first.copy()
    engine.run({"y": np.full((1, 6, 4, 4), 9, np.float32)})
    np.testing.assert_array_equal(first, kept)
    engine.close()


def test_at_most_so_many_graphs(world: World) -> None:
    engine = TensorRtEngine(world.gpu(), b"good plan", "tiny")
    for side in range(1, trt.GRAPHS_KEPT + 5):
        engine.run(batch(1, side))
    assert world.graphs == trt.GRAPHS_KEPT
    engine.close()


def test_a_plan_of_another_gpu(world: World) -> None:
    with pytest.raises(EngineError, match="does not accept the plan of model tiny"):
        TensorRtEngine(world.gpu(), b"other plan", "tiny")


def test_a_batch_outside_the_plan(world: World) -> None:
    engine = TensorRtEngine(world.gpu(), b"good plan", "tiny")
    with pytest.raises(EngineError, match="outside the plan"):
        engine.run(batch(17))
    engine.run(batch(16))
    engine.close()


def test_a_failed_capture_leaves_no_capturing_stream(world: World) -> None:
    engine = TensorRtEngine(world.gpu(), b"good plan", "tiny")
    world.capture_status = Status.CUDA_ERROR_STREAM_CAPTURE_INVALIDATED
    with pytest.raises(EngineError, match="CUDA_ERROR_STREAM_CAPTURE_INVALIDATED"):
        engine.run(batch(1))
    assert world.stream.captured is None
    world.capture_status = Status.CUDA_SUCCESS
    engine.run(batch(1))
    engine.close()


def test_a_run_that_does_not_start(world: World) -> None:
    engine = TensorRtEngine(world.gpu(), b"good plan", "tiny")
    world.refuses_to_run = True
    with pytest.raises(EngineError, match="did not start"):
        engine.run(batch(1))
    engine.close()


def test_a_wrong_input_is_an_engine_error(world: World) -> None:
    engine = TensorRtEngine(world.gpu(), b"good plan", "tiny")
    engine.run(batch(1))
    with pytest.raises(EngineError, match="model tiny failed"):
        engine.run({"z": np.zeros((1, 6, 4, 4), np.float32)})
    engine.close()


# --- building ---


class Builder:
    """Records what a plan is asked for."""

    def __init__(self, parses: bool, plan: bytes | None) -> None:
        self.calls: list[Any] = []
        self.parses, self.plan = parses, plan

    def trt(self) -> Any:
        calls = self.calls
        tensors = [SimpleNamespace(name=name, shape=(-1, 24, -1, -1)) for name in ("x", "y")]
        network = SimpleNamespace(num_inputs=2, get_input=lambda index: tensors[index])
        profile = SimpleNamespace(set_shape=lambda *shapes: calls.append(("shape", *shapes)))
        timing = SimpleNamespace(serialize=lambda: b"new timings")
        config = SimpleNamespace(
            clear_flag=lambda flag: calls.append(("clear", flag)),
            create_timing_cache=lambda content: calls.append(("timings", content)),
            set_timing_cache=lambda cache, ignore_mismatch: None,
            get_timing_cache=lambda: timing,
            add_optimization_profile=lambda added: calls.append(("profile", added is profile)),
        )
        builder = SimpleNamespace(
            create_network=lambda flags: calls.append(("flags", flags)) or network,  # type: ignore[func-returns-value]
            create_builder_config=lambda: config,
            create_optimization_profile=lambda: profile,
            build_serialized_network=lambda *_: self.plan,
        )
        parser = SimpleNamespace(parse=lambda graph: self.parses, get_error=lambda index: "no Conv")
        return SimpleNamespace(
            Builder=lambda logger: builder,
            OnnxParser=lambda net, logger: parser,
            NetworkDefinitionCreationFlag=SimpleNamespace(STRONGLY_TYPED=1),
            BuilderFlag=SimpleNamespace(TF32="tf32"),
        )


def built(world: World, builder: Builder) -> tuple[bytes, bytes]:
    gpu = world.gpu()
    gpu.trt = builder.trt()
    return gpu.build(b"graph", RANGES, b"old timings")


def test_a_plan_is_strongly_typed_exact_and_dynamic(world: World) -> None:
    builder = Builder(parses=True, plan=b"plan")
    assert built(world, builder) == (b"plan", b"new timings")
    shapes = [(1, 24, 2, 2), (16, 24, 28, 28), (16, 24, 128, 128)]
    assert builder.calls == [
        ("flags", 2),
        ("clear", "tf32"),
        ("timings", b"old timings"),
        ("shape", "x", *shapes),
        ("shape", "y", *shapes),
        ("profile", True),
    ]


@pytest.mark.parametrize(
    ("parses", "plan", "why"), [(False, b"plan", "no Conv"), (True, None, "cannot build a plan")]
)
def test_a_build_that_fails(world: World, parses: bool, plan: bytes | None, why: str) -> None:
    with pytest.raises(EngineError, match=why):
        built(world, Builder(parses, plan))


def test_why_it_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    there = {"tensorrt", "pycuda", "cuda", "cuda.bindings"}
    monkeypatch.setattr(trt, "nvidia_gpu_count", lambda: 0)

    def find(name: str, package: str | None = None) -> Any:
        if name in there:
            return SimpleNamespace(name=name)
        return None if name in trt.PACKAGES.values() and name != "onnx" else real(name, package)

    monkeypatch.setattr("importlib.util.find_spec", find)
    assert trt.why_absent() == "no NVIDIA GPU"
    with pytest.raises(RuntimeAbsent, match="no NVIDIA GPU"):
        Gpu()
    monkeypatch.setattr(trt, "nvidia_gpu_count", lambda: 1)
    assert trt.why_absent() is None
    there -= {"cuda.bindings", "pycuda"}
    assert trt.why_absent() == "pycuda, cuda-python not installed: pip install 'bauta[gpu]'"


def test_a_missing_parent_package_is_just_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    def find(name: str, package: str | None = None) -> Any:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr("importlib.util.find_spec", find)
    assert "tensorrt" in (trt.why_absent() or "")
