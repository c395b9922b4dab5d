"""What carrying a face costs beside fusing it anew, and how often the network runs in a session."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import cv2

from engines import Engine
from engines.base import Array
from engines.fusion import FusionModel
from pipeline.build import InBand, build_keyed, open_fusion_model
from pipeline.detect.service import DetectionService
from pipeline.frames import FaceBox, FacePatch, FloatArray, FrameMoment, YuvPlanes
from pipeline.fusion_worker import FusionWorker
from pipeline.in_band import KeyedFuser
from pipeline.protect.choose import make_patches
from pipeline.protect.flow import Flow, View, flow_between
from pipeline.protect.fuse import FaceFusion
from pipeline.protect.keyed import KeyedCounts, KeyedProtection
from pipeline.protect.propagate import Propagation
from pipeline.protect.square import square_around
from pipeline.session import CameraSession
from pipeline.settings import (
    FILE_PROTECT,
    CameraSettings,
    DetectorSettings,
    EncodeSettings,
    ProtectSettings,
)
from pipeline.track.keyframe import KeyframePolicy
from pipeline.vault.clip_key import new_clip_key

from ._flow_runs import MODEL, NAME, BoxedClip, settings_for

KEYFRAME_FRAMES = 25
WARM_UP = 5  # faces fused and carried before the clock counts
T = TypeVar("T")


# --- time ---


@dataclass(slots=True)
class Times:
    """Milliseconds for one face by the clock, one list each.

    Not CPU time: asking a process of many threads for it can take longer than what is measured.
    """

    side_px: int = 0
    carry: list[float] = field(default_factory=list)
    flow: list[float] = field(default_factory=list)  # part of carry
    fuse: list[float] = field(default_factory=list)
    network: list[float] = field(default_factory=list)  # part of fuse
    obfuscate: list[float] = field(default_factory=list)  # every frame pays it
    let_go: int = 0

    def median(self, name: str) -> float:
        """Of one of the lists."""
        values: list[float] = getattr(self, name)
        return statistics.median(values) if values else float("nan")


class TimedEngine:
    """An engine whose runs are timed."""

    def __init__(self, engine: Engine, into: list[float]) -> None:
        self.name, self.runtime = engine.name, engine.runtime
        self._engine, self._into = engine, into

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """See Engine."""
        return _timed(self._into, lambda: self._engine.run(inputs))

    def close(self) -> None:
        """See Engine."""
        self._engine.close()


def _timed(into: list[float], work: Callable[[], T]) -> T:
    started = time.perf_counter()
    result = work()
    into.append(1e3 * (time.perf_counter() - started))
    return result


@contextmanager
def one_thread() -> Iterator[None]:
    """OpenCV on one thread, as the network is."""
    before = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(before)


def time_clip(clip: BoxedClip) -> Times:
    """Carries and fuses the clip's one face in every frame, by turns."""
    times = Times()
    settings = settings_for("propagated", fusions_per_second=10_000)

    def open_timed() -> FusionModel:
        model = open_fusion_model(MODEL, threads=1)
        assert model._protect is not None
        model._protect = TimedEngine(model._protect, times.network)
        return model

    worker = FusionWorker(open_timed)
    try:
        fuser = KeyedFuser(worker, new_clip_key(), live=False)
        with one_thread():
            _time_clip(clip, settings, fuser, times)
    finally:
        worker.close()
    for values in (times.carry, times.flow, times.fuse, times.network, times.obfuscate):
        del values[:WARM_UP]
    return times


def _time_clip(clip: BoxedClip, settings: ProtectSettings, fuser: KeyedFuser, times: Times) -> None:
    policy = KeyframePolicy(settings.keyframe_every)
    fusion = FaceFusion(NAME, settings, fuser, policy, live=False)
    propagation = Propagation(NAME, settings.keyframe_every, live=False)

    def timed_flow(before: View, now: View, face_xyxy: FloatArray, face: FloatArray) -> Flow:
        return _timed(times.flow, partial(flow_between, before, now, face_xyxy, face))

    propagation._flow = timed_flow
    going = False
    for index, planes in enumerate(clip.frames):
        faces = clip.faces[index]
        moment = FrameMoment(index, float(index / clip.fps), False)
        patches = _timed(times.obfuscate, partial(make_patches, planes, faces, settings=settings))
        policy.due(faces, moment, {})  # it must know the face before it is told of its fusion
        carry = partial(propagation.carry, planes, faces, patches, moment)
        fuse = partial(fusion.fuse, planes, faces, patches, moment)
        # by turns: what runs second finds warm caches
        carry_first = index % 2 == 0
        if going and carry_first:
            going = bool(_timed(times.carry, carry)[0])
            times.let_go += not going
        fused = _timed(times.fuse, fuse)
        if going and not carry_first:
            going = bool(_timed(times.carry, carry)[0])
            times.let_go += not going
        if fused and (not going or index % KEYFRAME_FRAMES == 0):
            propagation.start(fused[0], planes, faces, moment)
            times.side_px = fused[0].square.alpha.shape[0]
            going = True


# --- network runs of whole sessions ---


@dataclass(slots=True)
class Usage:
    """One session: what became of its faces, frame by frame."""

    fps: float = 0.0
    frames: int = 0
    face_frames: int = 0
    fusable: int = 0  # large enough and with room: the others never see the network
    fused: int = 0
    carried: int = 0
    obscured: int = 0
    counts: KeyedCounts = field(default_factory=KeyedCounts)

    @property
    def runs_per_second(self) -> float:
        """Of one face that can be fused at all."""
        return self.fused / max(self.fusable / self.fps, 1e-9)

    def share(self, count: int) -> float:
        """Of the faces that can be fused."""
        return count / max(self.fusable, 1)


class CountingOverlay(KeyedProtection):
    """The session's overlay; counts what it is asked for and what it gives."""

    def __init__(self, settings: ProtectSettings, fuser: KeyedFuser, usage: Usage) -> None:
        # as the product wires it; the base class's own parts stay unused
        self._inner = build_keyed(NAME, settings, fuser, live=False)
        self._multiple_px = fuser.side_multiple_px
        self._usage = usage

    def __call__(
        self,
        planes: YuvPlanes,
        faces: Sequence[FaceBox],
        patches: Sequence[FacePatch],
        moment: FrameMoment,
    ) -> list[FacePatch]:
        """See KeyedProtection."""
        over = self._inner(planes, faces, patches, moment)
        usage = self._usage
        usage.face_frames += len(faces)
        usage.fusable += sum(
            not isinstance(square_around(patch, planes.size_px, self._multiple_px), str)
            for patch in patches
        )
        usage.fused += sum(patch.is_fused for patch in over)
        usage.carried += sum(patch.motion is not None for patch in over)
        return over

    def forget(self) -> None:
        """See KeyedProtection."""
        self._inner.forget()

    @property
    def counts(self) -> KeyedCounts:
        """See KeyedProtection."""
        return self._inner.counts


def run_session(
    path: Path,
    target: Path,
    service: DetectionService,
    worker: FusionWorker,
    *,
    live_defaults: bool,
) -> Usage:
    """One file through a whole session. `live_defaults`: a camera's look-ahead, nothing dropped."""
    protect = ProtectSettings.model_validate(
        {"protector": "proface-s", **({} if live_defaults else FILE_PROTECT)}
    )
    usage = Usage()
    fuser = KeyedFuser(worker, new_clip_key(), live=False)
    overlay = CountingOverlay(protect, fuser, usage)
    camera = CameraSettings(
        id="bench",
        source=str(path),
        publish=[str(target)],
        protect=protect,
        encode=EncodeSettings(preset="ultrafast"),
    )
    session = CameraSession(
        camera,
        detector=DetectorSettings(),
        service=service,
        retry=False,
        in_band=InBand(overlay, None),
    )
    session.start()
    session.wait()
    assert session.info is not None
    usage.fps = float(session.info.fps)
    usage.frames = session.counts.frames_out
    usage.obscured = sum(session.redactions().values())
    usage.counts = session.keyed_counts
    return usage
