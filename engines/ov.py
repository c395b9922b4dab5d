"""OpenVINO on the CPU."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from .base import Array, EngineError

# OpenVINO's wheel reports every import to an analytics service and keeps files for that in the
# user's home. Without the package that does it, OpenVINO takes its own empty stand-in.
sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]

import openvino as ov  # noqa: E402 -- after the line above

# One for the life of the process, never freed. The CPU plugin gives the thread that loads it a
# stack for signals, and takes it back from whichever thread drops the plugin. Dropped elsewhere,
# the first keeps a stack that is gone, and its next signal, a SIGTERM say, is a segmentation fault.
_CORE = ov.Core()


class OpenVinoEngine:
    """One compiled model with one request.

    A detector's batch stays free: cameras come and go. A fusion graph keeps batch, height and width
    free. Compiling it anew for each size was measured: it saves 2 to 8 % a run (one 112 px face:
    7.5 ms of CPU time against 8.1) and costs 180 ms a size, and a face that walks up to the camera
    has dozens of sizes.
    """

    runtime = "openvino"

    def __init__(
        self,
        model: Path | bytes,
        *,
        name: str,
        input_name: str = "",
        size_px: tuple[int, int] | None = None,
        threads: int = 0,
    ) -> None:
        """An ONNX file or its content. Raises EngineError.

        `input_name` and `size_px` (width, height) fix the picture's size of a detector. `threads` 0
        leaves the choice to the runtime.
        """
        self.name = name
        config: dict[str, object] = {
            "PERFORMANCE_HINT": "LATENCY",
            # Emulated bfloat16 is much slower than float32 on CPUs without AMX.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        if threads:
            config["INFERENCE_NUM_THREADS"] = threads
        try:
            graph = _CORE.read_model(io.BytesIO(model) if isinstance(model, bytes) else model)
            if size_px is not None:
                width, height = size_px
                graph.reshape({input_name: ov.PartialShape([-1, 3, height, width])})
            self._outputs = [port.get_any_name() for port in graph.outputs]
            self._request: ov.InferRequest | None = _CORE.compile_model(
                graph, "CPU", config
            ).create_infer_request()
        except RuntimeError as error:
            raise EngineError(f"OpenVINO cannot open model {name}: {_last_line(error)}") from error

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See Engine. Outputs are copies: the request's own buffers are reused."""
        if self._request is None:
            raise EngineError(f"model {self.name} is closed")
        try:
            results = self._request.infer(dict(inputs))
        except RuntimeError as error:
            raise EngineError(f"model {self.name} failed: {_last_line(error)}") from error
        return {
            name: np.array(results[name], dtype=np.float32, copy=True) for name in self._outputs
        }

    def close(self) -> None:
        """See Engine."""
        self._request = None


def _last_line(error: Exception) -> str:
    # OpenVINO's first lines are places in its own source
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__


def available_devices() -> list[str]:
    """OpenVINO's names, such as CPU."""
    return list(_CORE.available_devices)
