"""Runs tensors: models, runtimes, parity. Knows no video, camera or key.

Public names below; `pipeline.build` opens engines, the stages only name the protocol.
"""

from .base import Engine, EngineError, RuntimeAbsent
from .catalog import Catalog, FusionEntry, ModelEntry
from .fusion import FaceSecrets, FusionModel, FusionSpec
from .select_runtime import open_engine, open_fusion

__all__ = [
    "Catalog",
    "Engine",
    "EngineError",
    "FaceSecrets",
    "FusionEntry",
    "FusionModel",
    "FusionSpec",
    "ModelEntry",
    "RuntimeAbsent",
    "open_engine",
    "open_fusion",
]
