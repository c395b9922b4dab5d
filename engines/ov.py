"""OpenVINO on the CPU."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import openvino as ov

from .base import Array, EngineError


class OpenVinoEngine:
    """One compiled model with one request.

    The batch stays dynamic: cameras come and go.
    """

    runtime = "openvino"

    def __init__(
        self, path: Path, *, name: str, input_name: str, size_px: tuple[int, int], threads: int = 0
    ) -> None:
        """`threads` 0 leaves the choice to the runtime. Raises EngineError."""
        self.name = name
        width, height = size_px
        core = ov.Core()
        config: dict[str, object] = {
            "PERFORMANCE_HINT": "LATENCY",
            # Emulated bfloat16 is much slower than float32 on CPUs without AMX.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        if threads:
            config["INFERENCE_NUM_THREADS"] = threads
        try:
            model = core.read_model(path)
            model.reshape({input_name: ov.PartialShape([-1, 3, height, width])})
            self._outputs = [port.get_any_name() for port in model.outputs]
            self._request: ov.InferRequest | None = core.compile_model(
                model, "CPU", config
            ).create_infer_request()
        except RuntimeError as error:
            raise EngineError(f"OpenVINO cannot open model {name}: {_first_line(error)}") from error

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See Engine. Outputs are copies: the request's own buffers are reused."""
        if self._request is None:
            raise EngineError(f"model {self.name} is closed")
        try:
            results = self._request.infer(dict(inputs))
        except RuntimeError as error:
            raise EngineError(f"model {self.name} failed: {_first_line(error)}") from error
        return {
            name: np.array(results[name], dtype=np.float32, copy=True) for name in self._outputs
        }

    def close(self) -> None:
        """See Engine."""
        self._request = None


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[-1] if lines else type(error).__name__
