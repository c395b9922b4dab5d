"""The composition root: settings to wired parts. Only this module and `session` know them all."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from weakref import WeakValueDictionary

from engines import (
    Catalog,
    EngineError,
    FusionEntry,
    FusionModel,
    ModelEntry,
    open_engine,
    open_fusion,
)

from .compose.gate import Gate, Zones
from .detect.detector import EngineDetector, FaceDetector
from .detect.scales import SeveralDetectors
from .detect.service import DetectionService
from .errors import SettingsError
from .frames import U8Array
from .fusion_worker import FusionWorker
from .in_band import KeyedFuser, ModelName, Sidecars, sidecar_paths
from .presence import RecordingSession
from .protect.choose import make_patches
from .protect.fuse import FaceFuser, FaceFusion
from .protect.keyed import KeyedProtection
from .protect.propagate import Propagation
from .protect.region import polygon_mask
from .publish.file import FileWriter, file_format
from .publish.hls import HlsWriter
from .publish.push import PushWriter, is_network
from .publish.segments import SegmentWriter
from .publish.sink import Sink
from .resources import config_path
from .runtime.credentials import without_credentials
from .sealing import Evidence, Site
from .settings import CameraSettings, DetectorSettings, ProtectSettings, ZoneSettings
from .source.av_input import AvSource
from .track.keyframe import KeyframePolicy
from .vault.clip_key import new_clip_key
from .vault.identity import load_recipient

_log = logging.getLogger(__name__)


def open_detector(settings: DetectorSettings) -> FaceDetector:
    """The configured detector, hash-checked. Raises EngineError with the fix."""
    catalog = Catalog.load(config_path("models.yaml"))
    with ExitStack() as opened:
        detectors = []
        for name in settings.models:
            detector = _open_one(catalog.entry(name), settings)
            opened.callback(detector.close)
            detectors.append(detector)
        opened.pop_all()
    return detectors[0] if len(detectors) == 1 else SeveralDetectors(detectors)


def _open_one(entry: ModelEntry, settings: DetectorSettings) -> FaceDetector:
    if entry.family == "landmarks68":
        raise EngineError(f"{entry.name} finds landmarks of faces, not faces: name a detector")
    if entry.family == "face-alignment":
        # imports PyTorch: only where it was asked for
        from .detect.face_alignment_detector import FaceAlignmentDetector

        return FaceAlignmentDetector(entry, min_score=settings.min_score)
    return EngineDetector(
        entry, open_engine(entry, threads=settings.threads), min_score=settings.min_score
    )


def build_service(settings: DetectorSettings) -> DetectionService:
    """The detector that all cameras share. Raises SettingsError where it cannot be had."""
    try:
        return DetectionService(
            partial(open_detector, settings),
            batch=settings.batch,
            timeout_seconds=settings.timeout,
        )
    except EngineError as error:
        key = "model" if settings.model is not None else f"preset {settings.preset}"
        raise SettingsError(f"detector.{key}: {error}") from error


def build_source(camera: CameraSettings) -> AvSource:
    """Connects. Raises SourceError."""
    return AvSource(camera)


def build_gate(
    camera: CameraSettings,
    overlay: KeyedProtection | None = None,
    evidence: Evidence | None = None,
) -> Gate:
    """The camera's only way out."""
    return Gate(
        camera.id,
        partial(make_patches, settings=camera.protect),
        everything=camera.privacy == "everything",
        overlay=overlay,
        gop_seconds=camera.encode.gop,
        keep=evidence.originals.keep if evidence else None,
        refusal=evidence.refusal if evidence else None,
    )


def build_evidence(camera: CameraSettings, site: Site) -> Evidence | None:
    """None where the camera's configuration asks for none. Raises VaultError, SettingsError."""
    if camera.evidence is None:
        return None
    if camera.privacy == "everything":
        _log.warning("%s: privacy everything hides for good: no evidence is kept", camera.id)
        return None
    if not site.recipients:
        raise SettingsError("evidence needs recipients: name at least one group of public keys")
    files = [target for target in camera.publish if not is_network(target)]
    if camera.evidence.carrier == "sidecar" and not files and camera.record is None:
        raise SettingsError(
            "evidence.carrier: sidecar writes beside a file or a recording, and there is neither; "
            "add record, or choose stream"
        )
    return Evidence(camera, camera.evidence, site)


def fusion_entry(name: str) -> FusionEntry:
    """A fusion model of the catalogue. Raises EngineError."""
    return Catalog.load(config_path("models.yaml")).fusion(name)


def open_fusion_model(name: str, *, threads: int = 0, recover: bool = False) -> FusionModel:
    """A fusion model, hash-checked, for the calling thread. Raises EngineError with the fix."""
    return open_fusion(fusion_entry(name), threads=threads, recover=recover)


_fusion_workers: WeakValueDictionary[str, FusionWorker] = WeakValueDictionary()
_fusion_lock = threading.Lock()


def shared_fusion(name: str, *, threads: int = 0) -> FusionWorker:
    """The process's one worker for a model; it ends with the last session that uses it.

    Raises EngineError.
    """
    with _fusion_lock:
        worker = _fusion_workers.get(name)
        if worker is None:
            worker = FusionWorker(partial(open_fusion_model, name, threads=threads))
            _fusion_workers[name] = worker
        return worker


def build_keyed(
    camera: str,
    protect: ProtectSettings,
    fuser: FaceFuser,
    *,
    live: bool,
    clock: Callable[[], float] = time.monotonic,
) -> KeyedProtection:
    """What a keyed protector lays over the plain patches. `clock`: bounds what it takes live."""
    policy = KeyframePolicy(protect.keyframe_every)
    return KeyedProtection(
        policy,
        FaceFusion(camera, protect, fuser, policy, live=live, clock=clock),
        Propagation(
            camera,
            protect.keyframe_every,
            with_texture=protect.carry_texture,
            live=live,
            clock=clock,
        ),
    )


@dataclass(frozen=True, slots=True)
class InBand:
    """What a session with the protector proface-s has in addition."""

    overlay: KeyedProtection
    sidecars: Sidecars | None  # None: nobody could use them


def build_in_band(
    camera: CameraSettings,
    *,
    live: bool,
    threads: int = 0,
    password: str | None = None,
    sidecars: Sequence[Path] | None = None,
) -> InBand | None:
    """None where the camera's protector is another. A fresh clip key with every call.

    `sidecars`: instead of those beside the camera's files. Raises SettingsError, VaultError.
    """
    protect = camera.protect
    if protect.protector != "proface-s" or camera.privacy == "everything":
        return None
    try:
        entry = fusion_entry(protect.fusion_model)
        worker = shared_fusion(protect.fusion_model, threads=threads)
    except EngineError as error:
        raise SettingsError(f"protect.fusion_model: {error}") from error
    if worker.spec.layout.planes != "yuv420":
        raise SettingsError(
            f"protect.fusion_model: {entry.name} works on RGB pictures; video needs a model of "
            "the planes yuv420, such as proface-s-video"
        )
    clip_key = new_clip_key([load_recipient(path) for path in protect.recipients], password)
    overlay = build_keyed(camera.id, protect, KeyedFuser(worker, clip_key, live=live), live=live)
    paths = sidecar_paths(camera) if sidecars is None else list(sidecars)
    if not clip_key.can_be_had_again:
        _log.warning(
            "%s: proface-s has neither recipients nor a password: no one can ever recover these "
            "faces; name public keys in protect.recipients",
            camera.id,
        )
        paths = []
    elif not paths:
        _log.warning(
            "%s: proface-s writes its sidecar beside a file or a recording, and there is neither: "
            "no one can ever recover these faces",
            camera.id,
        )
    if not paths:
        return InBand(overlay, None)
    model = ModelName(entry.name, entry.recover_sha256)
    return InBand(overlay, Sidecars(camera.id, paths, model, clip_key, live=live))


def build_zones(zones: ZoneSettings, frame_px: tuple[int, int]) -> Zones:
    """The polygons as masks for one frame size."""
    return Zones(_union(zones.always, frame_px), _union(zones.never, frame_px))


def _union(polygons: list[list[tuple[float, float]]], frame_px: tuple[int, int]) -> U8Array | None:
    mask: U8Array | None = None
    for corners in polygons:
        one = polygon_mask(corners, frame_px)
        mask = one if mask is None else mask | one
    return mask


def build_sinks(
    camera: CameraSettings, *, live: bool, session: RecordingSession | None = None
) -> list[Sink]:
    """Every destination of a camera, not started. Raises SinkError for an unknown file ending.

    `session`: recordings note who is in them.
    """
    sinks = []
    for target in camera.publish:
        name = without_credentials(target)
        if is_network(target):
            sinks.append(Sink(name, partial(PushWriter, target), live=live))
        else:
            file_format(Path(target))
            open_file = partial(FileWriter, Path(target))
            sinks.append(Sink(name, open_file, live=live, keeps_records=True))
    if camera.record is not None:
        open_segments = partial(SegmentWriter, camera.id, camera.record, session=session)
        sinks.append(Sink("record", open_segments, live=live, keeps_records=True))
    if camera.hls is not None:
        sinks.append(Sink("hls", partial(HlsWriter, camera.id, camera.hls), live=live))
    return sinks
