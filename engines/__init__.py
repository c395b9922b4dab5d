"""Runs tensors: models, runtimes, parity. Knows no video, camera or key.

Public names below; `pipeline.build` opens engines, the stages only name the protocol.
"""

from .base import Engine, EngineError
from .catalog import Catalog, ModelEntry
from .select_runtime import open_engine

__all__ = ["Catalog", "Engine", "EngineError", "ModelEntry", "open_engine"]
