"""Which runtime opens a model, and why."""

from __future__ import annotations

import logging

from .base import Engine
from .catalog import ModelEntry, verified_file
from .ov import OpenVinoEngine

_log = logging.getLogger(__name__)


def open_engine(entry: ModelEntry, *, threads: int = 0) -> Engine:
    """The model, hash-checked and compiled. Raises EngineError.

    One runtime so far: OpenVINO. TensorRT and eager PyTorch join here with the fusion networks.
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
