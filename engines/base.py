"""The one protocol of this package, and its error root."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


class EngineError(Exception):
    """A model cannot be found, verified, opened or run. One line: what, the rule, what to do."""


class RuntimeAbsent(EngineError):
    """A runtime is not installed here, or its hardware is missing: no fault, only a choice less."""


class Engine(Protocol):
    """A compiled network. `run` may be called from one thread at a time."""

    name: str
    runtime: str

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """Named tensors in, named tensors out. Raises EngineError."""
        ...

    def close(self) -> None:
        """Free the runtime's memory. Idempotent; `run` afterwards raises EngineError."""
        ...
