"""Clips through the product's own gate, each frame as it went in, as it came out, and every patch
with the weight that it was really written with.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

from pipeline.build import build_keyed, shared_fusion
from pipeline.compose import gate as gate_module
from pipeline.compose.gate import Gate, ProtectedFrame, Zones
from pipeline.detect.service import DetectionService
from pipeline.frames import FaceBox, FacePatch, RawFrame, U8Array, YuvPlanes, planes_of
from pipeline.in_band import KeyedFuser
from pipeline.protect.choose import make_patches
from pipeline.protect.keyed import KeyedProtection
from pipeline.settings import (
    FILE_PROTECT,
    DetectorSettings,
    EncodeSettings,
    ProtectSettings,
)
from pipeline.source.normalize import Normalizer
from pipeline.vault.clip_key import new_clip_key
from pipeline.window import LookaheadWindow

from ._face_clips import copied
from ._flow_scenes import Affine, Scene, image_of

MODEL = "proface-s-video"
NAME = "bench flow"
Variant = Literal["propagated", "every frame", "plain"]
VARIANTS: tuple[Variant, ...] = ("propagated", "every frame", "plain")


@dataclass(frozen=True, slots=True)
class BoxedClip:
    """Frames and where their faces are; the same boxes for whatever is compared."""

    name: str
    frames: list[YuvPlanes] = field(repr=False)
    faces: list[list[FaceBox]] = field(repr=False)
    fps: Fraction
    places: list[dict[int, Affine]] | None = field(default=None, repr=False)  # true ones, by track
    cuts: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Written:
    """A patch, and the weight that the gate used."""

    patch: FacePatch
    weight: U8Array = field(repr=False)
    is_plain: bool  # of `choose.py`: what lies below all others, one for each face


@dataclass(slots=True)
class Seen:
    """One frame on its way through the gate."""

    faces: Sequence[FaceBox]
    written: list[Written] = field(default_factory=list)
    is_curtain: bool = False
    let_go: dict[str, int] = field(default_factory=dict)  # by reason


@dataclass(frozen=True, slots=True)
class Shown:
    """One frame, before and after."""

    index: int
    original: YuvPlanes = field(repr=False)
    protected: YuvPlanes = field(repr=False)
    frame: ProtectedFrame = field(repr=False)
    seen: Seen = field(repr=False)

    def state_of(self, track_id: int) -> str:
        """What covers a face: `fused`, `carried` or `plain`."""
        if any(face.track_id == track_id for face in self.frame.fused):
            return "fused"
        if any(face.track_id == track_id for face in self.frame.carried):
            return "carried"
        return "plain"


class WatchedGate(Gate):
    """The gate; what it was given and what it wrote is kept beside."""

    def __init__(self, settings: ProtectSettings, overlay: KeyedProtection | None) -> None:
        self._plain: list[FacePatch] = []
        super().__init__(
            NAME,
            partial(self._make_patches_for, settings),
            overlay=overlay,
            gop_seconds=EncodeSettings().gop,
        )
        self.keyed = overlay
        self.seen: deque[Seen] = deque()

    def protect(
        self,
        frame: RawFrame,
        faces: Sequence[FaceBox],
        zones: Zones,
        *,
        follows_cut: bool = False,
    ) -> ProtectedFrame:
        """See Gate."""
        before = dict(self.keyed.counts.not_carried) if self.keyed else {}
        seen = Seen(list(faces))
        self.seen.append(seen)
        self._plain = []
        with self._watching(seen.written):
            protected = super().protect(frame, faces, zones, follows_cut=follows_cut)
        seen.is_curtain = protected.redacted is not None
        after = dict(self.keyed.counts.not_carried) if self.keyed else {}
        seen.let_go = {
            name: count - before.get(name, 0)
            for name, count in after.items()
            if count > before.get(name, 0)
        }
        return protected

    def redact(self, frame: RawFrame, reason: str) -> ProtectedFrame:
        """See Gate."""
        self.seen.append(Seen([], is_curtain=True))
        return super().redact(frame, reason)

    def _make_patches_for(
        self, settings: ProtectSettings, planes: YuvPlanes, faces: Sequence[FaceBox]
    ) -> list[FacePatch]:
        self._plain = make_patches(planes, faces, settings)
        return self._plain

    @contextmanager
    def _watching(self, written: list[Written]) -> Iterator[None]:
        """Every patch that is written meanwhile, with the weight that was used."""
        module: Any = gate_module  # it exports the function to nobody: this is a tap, not a use
        inner = module.write_patch

        def write(planes: YuvPlanes, patch: FacePatch, clear: U8Array | None) -> U8Array:
            used: U8Array = inner(planes, patch, clear)
            is_plain = any(patch is each for each in self._plain)
            written.append(Written(patch, used, is_plain))
            return used

        module.write_patch = write
        try:
            yield
        finally:
            module.write_patch = inner


def open_fuser(threads: int = 1) -> KeyedFuser:
    """The shipped model under a fresh key. Raises EngineError."""
    return KeyedFuser(shared_fusion(MODEL, threads=threads), new_clip_key(), live=False)


def settings_for(variant: Variant, **changes: object) -> ProtectSettings:
    """The product's defaults for files but for what makes the variant."""
    values: dict[str, object] = {"protector": "proface-s", **FILE_PROTECT}
    if variant == "plain":
        values["protector"] = "obfuscate"
    if variant == "every frame":
        values |= {"keyframe_every": 0.001, "fusions_per_second": 10_000}
    return ProtectSettings.model_validate(values | changes)


def gate_for(settings: ProtectSettings, fuser: KeyedFuser | None) -> WatchedGate:
    """As `bauta protect` would build it."""
    if settings.protector == "obfuscate":
        return WatchedGate(settings, None)
    assert fuser is not None
    return WatchedGate(settings, build_keyed(NAME, settings, fuser, live=False))


def run_boxes(clip: BoxedClip, gate: WatchedGate) -> Iterator[Shown]:
    """The clip's own boxes through the gate: no detector, no tracker."""
    for index, planes in enumerate(clip.frames):
        yield through_gate(gate, index, planes, clip.faces[index], clip.fps, index in clip.cuts)


def run_scene(scene: Scene, gate: WatchedGate, fps: Fraction) -> Iterator[Shown]:
    """A scene's true boxes through the gate; frames are drawn one by one."""
    for index in range(scene.frames):
        yield through_gate(
            gate, index, scene.render(index), scene.boxes(index), fps, scene.follows_cut(index)
        )


def through_gate(
    gate: WatchedGate,
    index: int,
    planes: YuvPlanes,
    faces: Sequence[FaceBox],
    fps: Fraction,
    follows_cut: bool,
) -> Shown:
    """One frame."""
    frame = RawFrame(image_of(planes), index, index, 1 / fps, 0)
    protected = gate.protect(frame, faces, Zones(), follows_cut=follows_cut)
    return Shown(index, planes, planes_of(protected.image), protected, gate.seen.popleft())


def run_file(
    path: Path,
    gate: WatchedGate,
    settings: ProtectSettings,
    service: DetectionService,
    *,
    frames: int | None = None,
) -> Iterator[Shown]:
    """A file through the look-ahead window: detector, tracker, gate, as a session runs them."""
    originals: deque[YuvPlanes] = deque()
    shown = 0

    def packed(ready: Iterable[ProtectedFrame]) -> Iterator[Shown]:
        nonlocal shown
        for protected in ready:
            yield Shown(
                shown,
                originals.popleft(),
                planes_of(protected.image),
                protected,
                gate.seen.popleft(),
            )
            shown += 1

    window: LookaheadWindow | None = None
    normalize = Normalizer(path.name)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        fps = Fraction(stream.average_rate or 25)
        for index, image in enumerate(container.decode(stream)):
            if index == frames:
                break
            image = normalize(image)
            if window is None:
                window = LookaheadWindow(
                    NAME,
                    protect=settings,
                    detector=DetectorSettings(),
                    service=service,
                    gate=gate,
                    zones=Zones(),
                    fps=fps,
                )
            originals.append(copied(planes_of(image)))
            yield from packed(window.add(RawFrame(image, index, index, 1 / fps, 0)))
    if window is not None:
        yield from packed(window.flush())


def scene_clip(scene: Scene, fps: Fraction) -> BoxedClip:
    """All of a scene's frames with their true boxes and places."""
    indices = range(scene.frames)
    poses = [scene.poses(index) for index in indices]
    return BoxedClip(
        scene.name,
        [scene.render(index) for index in indices],
        [scene.boxes(index) for index in indices],
        fps,
        [
            {
                actor.track_id: pose.affine()
                for actor, pose in zip(scene.actors, each, strict=True)
                if pose is not None
            }
            for each in poses
        ],
        frozenset(index for index in indices if scene.follows_cut(index)),
    )


def tracked_clip(
    path: Path, name: str, service: DetectionService, frames: int, first: int = 0
) -> BoxedClip:
    """A recorded clip and its faces as the product's tracker places them in a file."""
    settings = settings_for("plain")
    gate = gate_for(settings, None)
    found = list(run_file(path, gate, settings, service, frames=first + frames))[first:]
    with av.open(str(path)) as container:
        fps = Fraction(container.streams.video[0].average_rate or 25)
    return BoxedClip(
        name, [each.original for each in found], [list(each.seen.faces) for each in found], fps
    )


def uncovered(
    mask: np.ndarray[tuple[int, ...], np.dtype[np.bool_]],
    x_px: int,
    y_px: int,
    written: Iterable[Written],
    opaque: int,
) -> int:
    """Pixels of the mask, which lies at (x, y), that no patch has replaced."""
    left = mask.copy()
    height, width = mask.shape
    for each in written:
        rows, columns = each.weight.shape
        dx, dy = each.patch.x_px - x_px, each.patch.y_px - y_px
        x1, y1 = max(dx, 0), max(dy, 0)
        x2, y2 = min(dx + columns, width), min(dy + rows, height)
        if x1 < x2 and y1 < y2:
            solid = each.weight[y1 - dy : y2 - dy, x1 - dx : x2 - dx] >= opaque
            left[y1:y2, x1:x2] &= ~solid
    return int(left.sum())
