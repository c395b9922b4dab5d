"""TensorRT: the calls, and no decisions (those are in `trt_plans.py` and `plan_cache.py`).

TensorRT 10 and 11: named tensors and strongly typed networks, whose precision stands in the graph
(11 has no FP16 flag any more). pycuda holds the memory and the stream on the device's primary
context, which PyTorch and others share; it cannot capture graphs, so the captures go through
cuda-python on the stream's handle.

Not one line of this has run on a GPU yet; docs/engines.md says what was checked without one.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from .base import Array, Engine, EngineError, RuntimeAbsent
from .eager import nvidia_gpu_count
from .plan_cache import ShapeRange
from .shape_cache import ShapeCache, Shapes, shapes_of

_log = logging.getLogger(__name__)

GRAPHS_KEPT = 8  # one per input shape, each with a context and buffers of its own
PACKAGES = {
    "tensorrt": "tensorrt",
    "pycuda": "pycuda",
    "cuda-python": "cuda.bindings",
    "onnx": "onnx",
}


def why_absent() -> str | None:
    """Why TensorRT cannot be used here; None if it can. Imports none of it."""
    missing = [package for package, module in PACKAGES.items() if not _installed(module)]
    if missing:
        return f"{', '.join(missing)} not installed: pip install 'bauta[gpu]'"
    return None if nvidia_gpu_count() else "no NVIDIA GPU"


def _installed(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # its parent
        return False


class Gpu:
    """The first GPU, as a PlanMaker. Its context is current only inside calls of ours."""

    def __init__(self) -> None:
        """Raises EngineError."""
        if (absent := why_absent()) is not None:
            raise RuntimeAbsent(absent)
        with _errors("TensorRT"):
            import pycuda.driver
            import tensorrt
            from cuda.bindings import driver

            self.trt: Any = tensorrt
            self.pycuda: Any = pycuda.driver
            self.cuda: Any = driver
            self.pycuda.init()
            device = self.pycuda.Device(0)
            self._context = device.retain_primary_context()
            self.gpu: str = device.name()
            major, minor = device.compute_capability()
        self.compute_capability: tuple[int, int] = (int(major), int(minor))
        self.version: str = str(tensorrt.__version__)
        self.logger = _logger(self.trt)

    @contextmanager
    def current(self) -> Iterator[None]:
        """The context is current on this thread."""
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()

    def build(self, graph: bytes, shapes: ShapeRange, timings: bytes) -> tuple[bytes, bytes]:
        """See PlanMaker."""
        trt = self.trt
        with self.current(), _errors("TensorRT cannot build a plan"):
            builder = trt.Builder(self.logger)
            strongly_typed = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
            network = builder.create_network(strongly_typed)
            parser = trt.OnnxParser(network, self.logger)
            if not parser.parse(graph):
                raise EngineError(f"TensorRT cannot read the graph: {parser.get_error(0)}")
            config = builder.create_builder_config()
            # the mantissa of float16 by the back door: the graph alone decides on precision
            config.clear_flag(trt.BuilderFlag.TF32)
            cache = config.create_timing_cache(timings)
            config.set_timing_cache(cache, ignore_mismatch=False)
            profile = builder.create_optimization_profile()
            for index in range(network.num_inputs):
                tensor = network.get_input(index)
                channels = tensor.shape[1]
                ranges = (
                    (batch, channels, side, side)
                    for batch, side in zip(shapes.batch, shapes.side, strict=True)
                )
                profile.set_shape(tensor.name, *ranges)
            config.add_optimization_profile(profile)
            plan = builder.build_serialized_network(network, config)
            if plan is None:
                raise EngineError("TensorRT cannot build a plan; its log says why")
            return bytes(plan), bytes(config.get_timing_cache().serialize())

    def open(self, plan: bytes, name: str) -> Engine:
        """See PlanMaker."""
        return TensorRtEngine(self, plan, name)


class TensorRtEngine:
    """One plan, with a captured graph per input shape."""

    runtime = "tensorrt"

    def __init__(self, gpu: Gpu, plan: bytes, name: str) -> None:
        """Raises EngineError where TensorRT does not accept the plan."""
        self.name = name
        self._gpu = gpu
        with gpu.current(), _errors(f"TensorRT cannot open model {name}"):
            self._runtime = gpu.trt.Runtime(gpu.logger)
            self._engine = self._runtime.deserialize_cuda_engine(plan)
            if self._engine is None:
                raise EngineError(f"TensorRT does not accept the plan of model {name}")
            self._stream = gpu.pycuda.Stream()
        self._slots = ShapeCache(GRAPHS_KEPT, self._capture, self._free)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See Engine."""
        if self._engine is None:
            raise EngineError(f"model {self.name} is closed")
        with self._gpu.current(), _errors(f"model {self.name} failed"):
            slot = self._slots.get(shapes_of(inputs))
            for name, array in inputs.items():
                np.copyto(slot.host[name], array)
            self._check(self._gpu.cuda.cuGraphLaunch(slot.graph, self._handle()))
            self._stream.synchronize()
            return {name: slot.host[name].copy() for name in slot.outputs}

    def _handle(self) -> Any:
        return self._gpu.cuda.CUstream(int(self._stream.handle))

    def _capture(self, shapes: Shapes) -> _Slot:
        """Copies, network and copy back as one graph.

        The context is the graph's own: changing a captured context's shapes would change what the
        graph replays.
        """
        pycuda = self._gpu.pycuda
        context = self._engine.create_execution_context()
        if context is None:
            raise EngineError(f"model {self.name}: no memory on the GPU for another context")
        for name, shape in shapes:
            if not context.set_input_shape(name, shape):
                raise EngineError(f"model {self.name}: {name} cannot be {shape}: outside the plan")
        names = (self._engine.get_tensor_name(i) for i in range(self._engine.num_io_tensors))
        inputs = dict(shapes)
        outputs = {
            name: tuple(context.get_tensor_shape(name)) for name in names if name not in inputs
        }
        host: dict[str, Array] = {}
        device: dict[str, Any] = {}

        def enqueue() -> None:
            for name in inputs:
                pycuda.memcpy_htod_async(device[name], host[name], self._stream)
            if not context.execute_async_v3(int(self._stream.handle)):
                raise EngineError(f"model {self.name}: TensorRT did not start; its log says why")
            for name in outputs:
                pycuda.memcpy_dtoh_async(host[name], device[name], self._stream)

        try:
            for name, shape in (inputs | outputs).items():
                host[name] = pycuda.pagelocked_zeros(shape, np.float32)
                device[name] = pycuda.mem_alloc(host[name].nbytes)
                context.set_tensor_address(name, int(device[name]))
            graph = self._graph_of(enqueue)
        except BaseException:
            for memory in device.values():
                memory.free()
            raise
        return _Slot(context, host, device, tuple(outputs), graph)

    def _graph_of(self, enqueue: Callable[[], None]) -> Any:
        """What `enqueue` puts on the stream, run once and then captured."""
        cuda = self._gpu.cuda
        enqueue()  # so that nothing is set up during the capture
        self._stream.synchronize()
        # THREAD_LOCAL: what other threads do with the GPU must not break the capture
        mode = cuda.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._check(cuda.cuStreamBeginCapture(self._handle(), mode))
        try:
            enqueue()
        finally:
            # in every case: a stream left capturing serves nobody
            ended = cuda.cuStreamEndCapture(self._handle())
        captured = self._check(ended)
        try:
            return self._check(cuda.cuGraphInstantiate(captured, 0))
        finally:
            self._check(cuda.cuGraphDestroy(captured))

    def _check(self, result: tuple[Any, ...]) -> Any:
        """cuda-python answers (status, value) or (status,)."""
        status, *value = result
        if status != self._gpu.cuda.CUresult.CUDA_SUCCESS:
            raise EngineError(f"model {self.name}: CUDA says {status.name}")
        return value[0] if value else None

    def _free(self, slot: _Slot) -> None:
        self._check(self._gpu.cuda.cuGraphExecDestroy(slot.graph))
        for memory in slot.device.values():
            memory.free()

    def close(self) -> None:
        """See Engine."""
        if self._engine is None:
            return
        with self._gpu.current(), _errors(f"model {self.name} cannot be closed"):
            self._stream.synchronize()
            self._slots.clear()
            self._engine = self._runtime = None


@dataclass(frozen=True, slots=True)
class _Slot:
    """All that belongs to one input shape. Host memory is page-locked, as async copies need."""

    context: Any
    host: Mapping[str, Array]
    device: Mapping[str, Any]
    outputs: tuple[str, ...]
    graph: Any


def _logger(trt: Any) -> Any:
    """TensorRT's messages in our log; its own logger writes to the terminal."""
    levels = {
        trt.ILogger.Severity.INTERNAL_ERROR: logging.ERROR,
        trt.ILogger.Severity.ERROR: logging.ERROR,
        trt.ILogger.Severity.WARNING: logging.WARNING,
    }

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)  # pybind11 asks for the explicit call

        def log(self, severity: Any, message: str) -> None:
            _log.log(levels.get(severity, logging.DEBUG), "TensorRT: %s", message)

    return Logger()


@contextmanager
def _errors(what: str) -> Iterator[None]:
    """The three libraries raise kinds of their own, a missing driver library an OSError."""
    try:
        yield
    except EngineError:
        raise
    except Exception as error:
        lines = str(error).strip().splitlines()
        raise EngineError(f"{what}: {lines[0] if lines else type(error).__name__}") from error
