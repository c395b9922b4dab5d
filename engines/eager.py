"""PyTorch: the readable reference on the CPU, and CUDA with one captured graph per input shape.

The network is `nets/fusion.py` with the weights of the exported graph: what runs here is what the
paper says, what runs elsewhere is held to it (`export/parity.py`).

The CUDA part was written without a GPU at hand; docs/engines.md says what was run where.
"""

from __future__ import annotations

import ctypes
import importlib.util
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np

from .base import Array, EngineError, RuntimeAbsent
from .catalog import Graphs
from .fusion import FusionSpec, Part
from .shape_cache import ShapeCache, Shapes, shapes_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from .nets.fusion import FusionNet

Device = Literal["cpu", "cuda"]

GRAPHS_KEPT = 8  # one per input shape; a face's side is a multiple of 4, so sizes come back
WARM_UP_RUNS = 3  # before a capture: libraries choose their kernels and allocate
_one_capture_at_a_time = threading.Lock()  # in a process: PyTorch's rule


def why_absent(device: Device) -> str | None:
    """Why this runtime cannot be used here; None if it can. Imports no PyTorch."""
    missing = [name for name in ("torch", "onnx") if importlib.util.find_spec(name) is None]
    if missing:
        return f"{' and '.join(missing)} not installed: pip install 'bauta[train]'"
    if device == "cuda":
        if not nvidia_gpu_count():
            return "no NVIDIA GPU"
        if built_for_cuda() is None:
            return "this PyTorch is built for the CPU"
    return None


def built_for_cuda() -> str | None:
    """The CUDA version of the installed PyTorch, read from its files: importing takes seconds."""
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        text = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
    except OSError:
        return None
    found = re.search(r"^cuda\b.*=\s*'([^']+)'", text, re.MULTILINE)
    return found[1] if found else None


def nvidia_gpu_count() -> int:
    """GPUs that the CUDA driver answers for; 0 without a driver."""
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return 0
    count = ctypes.c_int(0)
    if driver.cuInit(0) != 0 or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


class EagerEngine:
    """One part of a fusion network in PyTorch."""

    def __init__(
        self,
        content: bytes,
        part: Part,
        spec: FusionSpec,
        *,
        device: Device = "cpu",
        half: bool = False,
        threads: int = 0,
    ) -> None:
        """`content`: the exported graph, for its weights. `half`: float16 in the convolutions.
        `threads` is PyTorch's setting for the whole process; 0 leaves it. Raises EngineError."""
        if (absent := why_absent(device)) is not None:
            raise RuntimeAbsent(absent)
        import torch

        self.name = spec.name
        self.runtime = f"eager-{device}"
        self._device = device
        if threads:
            torch.set_num_threads(threads)
        with _torch_errors(f"PyTorch cannot open model {spec.name}"):
            net = _net(content, part, spec)
            if half:
                _use_half_convolutions(net)
            self._net: FusionNet | None = net.to(device).eval()
        self._part = part
        self._graphs = ShapeCache(GRAPHS_KEPT, self._capture)

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See Engine."""
        import torch

        if self._net is None:
            raise EngineError(f"model {self.name} is closed")
        with _torch_errors(f"model {self.name} failed"), torch.inference_mode():
            if self._device == "cuda":
                outputs = self._graphs.get(shapes_of(inputs)).replay(inputs)
            else:
                outputs = self._forward({name: _tensor(array) for name, array in inputs.items()})
            return {name: tensor.cpu().numpy() for name, tensor in outputs.items()}

    def _forward(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        net = self._net
        assert net is not None
        if self._part == "protect":
            return {"out": net.protect(inputs["x"], inputs["y"], inputs.get("k"))}
        if self._part == "restore":
            if net.polish is not None:
                return {"out": net.polish(inputs["x"])}
            assert net.restore is not None
            return {"out": net.restore(inputs["x"], inputs["y"])}
        if net.restore is None:
            return {"out": net.recover(inputs["y"], inputs.get("k"))}
        face, obfuscated = net.recover_both(inputs["y"], inputs.get("k"))
        return {"out": face, "obfuscated": obfuscated}

    def _capture(self, shapes: Shapes) -> _CapturedGraph:
        """Run on a side stream first, as captures demand, then capture."""
        import torch

        inputs = {name: torch.zeros(shape, device="cuda") for name, shape in shapes}
        # TensorFloat-32 has the mantissa of float16: the reference is not to round like that.
        with _one_capture_at_a_time, torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            stream: torch.cuda.Stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP_RUNS):
                    self._forward(inputs)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            # thread_local: what other threads do with the GPU must not break the capture
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                outputs = self._forward(inputs)
        return _CapturedGraph(graph, inputs, outputs)

    def close(self) -> None:
        """See Engine."""
        self._net = None
        self._graphs.clear()


@dataclass(frozen=True, slots=True)
class _CapturedGraph:
    """A CUDA graph and the tensors that it reads and writes."""

    graph: torch.cuda.CUDAGraph
    inputs: Mapping[str, Tensor]
    outputs: Mapping[str, Tensor]

    def replay(self, inputs: Mapping[str, Array]) -> Mapping[str, Tensor]:
        for name, tensor in self.inputs.items():
            tensor.copy_(_tensor(inputs[name]))
        self.graph.replay()
        return self.outputs


def load_net(graphs: Graphs, spec: FusionSpec) -> FusionNet:
    """The whole network from all exported graphs, on the CPU. Raises EngineError."""
    if (absent := why_absent("cpu")) is not None:
        raise RuntimeAbsent(absent)
    with _torch_errors(f"PyTorch cannot open model {spec.name}"):
        net = _empty_net(spec)
        net.load_state_dict(dict(pair for graph in graphs.values() for pair in _state(graph)))
        return net.eval()


def _net(content: bytes, part: Part, spec: FusionSpec) -> FusionNet:
    """A network with the weights of one graph; the maps that this part skips stay empty."""
    net = _empty_net(spec)
    state = dict(_state(content))
    expected = {name for name in net.state_dict() if _is_used(name, part, spec)}
    if wrong := sorted(expected.symmetric_difference(state)):
        raise EngineError(
            f"model {spec.name}: {part}.onnx does not hold a network of depth {spec.depth}, "
            f"growth {spec.growth}: {wrong[0]} is {'missing' if wrong[0] in expected else 'new'}"
        )
    net.load_state_dict(state, strict=False)
    return net


def _is_used(weight: str, part: Part, spec: FusionSpec) -> bool:
    """Whether a graph holds a weight: a part computes nothing that it does not give."""
    last_step = weight.startswith(("restore.", "polish."))
    if part == "restore" or last_step:
        return part == "restore" and last_step
    if part == "protect":
        last = f"blocks.{spec.depth - 1}"
        return not weight.startswith((f"{last}.rho.", f"{last}.eta."))
    return spec.carries_difference or not weight.startswith(("blocks.0.omega.", "blocks.0.phi."))


def _empty_net(spec: FusionSpec) -> FusionNet:
    from .nets.fusion import net_for

    return net_for(spec)


def _state(content: bytes) -> Iterator[tuple[str, Tensor]]:
    import torch

    from .export.to_onnx import read_weights

    for name, array in read_weights(content).items():
        yield name, torch.from_numpy(array)


def _use_half_convolutions(net: FusionNet) -> None:
    """The precision of `export.to_onnx.graph_bytes(half=True)`, for the same figures."""
    import torch
    from torch import nn

    class Half(nn.Module):
        def __init__(self, inner: nn.Module, back: torch.dtype = torch.float32) -> None:
            super().__init__()
            self.inner, self.back = inner.half(), back

        def forward(self, x: Tensor) -> Tensor:
            out: Tensor = self.inner(x.to(torch.float16))
            return out.to(self.back)

    for block in net.blocks:
        for name in ("omega", "phi", "rho", "eta"):
            setattr(block, name, Half(getattr(block, name)))
    for step in (net.restore, net.polish):
        if step is not None:
            step.body = nn.Sequential(Half(step.body, torch.float16))
            step.last = Half(step.last)  # type: ignore[assignment]


def _tensor(array: Array) -> Tensor:
    import torch

    return torch.from_numpy(np.ascontiguousarray(array, np.float32))


@contextmanager
def _torch_errors(what: str) -> Iterator[None]:
    """PyTorch raises RuntimeError for nearly everything, and KeyError for a forgotten input."""
    try:
        yield
    except (RuntimeError, KeyError) as error:
        lines = str(error).strip().splitlines()
        raise EngineError(f"{what}: {lines[0] if lines else type(error).__name__}") from error
