"""A fusion model without a network: arithmetic that hides a scrambled face in a picture and finds
it again. Quick, exact enough to recover faces from lossless video, and noise for a wrong key.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from weakref import WeakValueDictionary

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from engines.bands import BandLayout
from engines.fusion import FusionModel, FusionSpec
from engines.scripted import ScriptedEngine
from pipeline import build, recover_in_band
from pipeline.build import InBand, build_keyed
from pipeline.frames import U8Array
from pipeline.fusion_worker import FusionWorker
from pipeline.in_band import KeyedFuser, ModelName, Sidecars, sidecar_paths
from pipeline.settings import CameraSettings
from pipeline.vault.clip_key import ClipKey, new_clip_key

Array = NDArray[np.float32]
Run = Callable[[Mapping[str, Array]], dict[str, Array]]

PASSWORD = "correct horse battery"
SHA256 = "5c" * 32

SHARE = np.float32(1 / 16)  # of the face in the protected bands
STEP = np.float32(34 / 255)  # the obfuscation's bands are rounded to this: what is left is the face
SPEC = FusionSpec(
    name="scripted",
    layout=BandLayout("yuv420", 1),
    mode="randwr",
    keyed=False,
    scrambled=True,
    growth=1,
    depth=1,
)


def hide(inputs: Mapping[str, Array]) -> dict[str, Array]:
    """A face's bands lie within -1 and 1: a sixteenth of them is less than half a step."""
    return {"out": np.rint(inputs["y"] / STEP) * STEP + inputs["x"] * SHARE}


def find(inputs: Mapping[str, Array]) -> dict[str, Array]:
    protected = inputs["y"]
    return {"out": (protected - np.rint(protected / STEP) * STEP) / SHARE}


def scripted_model(protect: Run = hide, recover: Run | None = find) -> FusionModel:
    return FusionModel(
        SPEC,
        ScriptedEngine(protect),
        None if recover is None else ScriptedEngine(recover),
    )


class Script:
    """A fusion model whose engine can be told to fail; counts its runs."""

    def __init__(self) -> None:
        self.runs = 0
        self.fault: Callable[[int, Mapping[str, Array]], dict[str, Array] | None] = no_fault

    def open(self) -> FusionModel:
        return scripted_model(self._protect)

    def _protect(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.runs += 1
        instead = self.fault(self.runs, inputs)
        return hide(inputs) if instead is None else instead


def no_fault(_run: int, _inputs: Mapping[str, Array]) -> None:
    return None


def rendered(picture_rgb: U8Array) -> av.VideoFrame:
    """An (H, W, 3) picture as a 4:2:0 frame."""
    return av.VideoFrame.from_ndarray(picture_rgb, format="rgb24").reformat(format="yuv420p")


def scripted_in_band(
    camera: CameraSettings,
    *,
    key: ClipKey | None = None,
    worker: FusionWorker | None = None,
    live: bool = False,
) -> InBand:
    """What `build_in_band` makes, around the scripted model."""
    key = key or new_clip_key(password=PASSWORD)
    worker = worker or FusionWorker(scripted_model)
    overlay = build_keyed(camera.id, camera.protect, KeyedFuser(worker, key, live=live), live=live)
    sidecars = Sidecars(
        camera.id, sidecar_paths(camera), ModelName(SPEC.name, SHA256), key, live=live
    )
    return InBand(overlay, sidecars)


@dataclass(frozen=True)
class ScriptedEntry:
    """As much of a catalogue's entry as is asked for."""

    name: str = SPEC.name
    recover_sha256: str = SHA256


def use_scripted_models(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever model a command asks for, it gets the scripted one."""

    def entry(_name: str) -> ScriptedEntry:
        return ScriptedEntry()

    def open_model(_name: str, *, threads: int = 0, recover: bool = False) -> FusionModel:
        return scripted_model()

    for module in (build, recover_in_band):
        monkeypatch.setattr(module, "fusion_entry", entry)
        monkeypatch.setattr(module, "open_fusion_model", open_model)
    monkeypatch.setattr(build, "_fusion_workers", WeakValueDictionary())
