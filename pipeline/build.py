"""The composition root: settings to wired parts. Only this module and `session` know them all."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from engines import Catalog, EngineError, open_engine

from .compose.gate import Gate, Zones
from .detect.detector import EngineDetector, FaceDetector
from .detect.service import DetectionService
from .errors import SettingsError
from .frames import U8Array
from .protect.choose import make_patches
from .protect.region import polygon_mask
from .publish.file import FileWriter, file_format
from .publish.hls import HlsWriter
from .publish.push import PushWriter, is_network
from .publish.segments import SegmentWriter
from .publish.sink import Sink
from .resources import config_path
from .runtime.credentials import without_credentials
from .settings import CameraSettings, DetectorSettings, ZoneSettings
from .source.av_input import AvSource


def open_detector(settings: DetectorSettings) -> FaceDetector:
    """The configured detector, hash-checked. Raises EngineError with the fix."""
    entry = Catalog.load(config_path("models.yaml")).entry(settings.model)
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
        raise SettingsError(f"detector.model: {error}") from error


def build_source(camera: CameraSettings) -> AvSource:
    """Connects. Raises SourceError."""
    return AvSource(camera)


def build_gate(camera: CameraSettings) -> Gate:
    """The camera's only way out."""
    maker = partial(make_patches, settings=camera.protect)
    return Gate(camera.id, maker, everything=camera.privacy == "everything")


def build_zones(zones: ZoneSettings, frame_px: tuple[int, int]) -> Zones:
    """The polygons as masks for one frame size."""
    return Zones(_union(zones.always, frame_px), _union(zones.never, frame_px))


def _union(polygons: list[list[tuple[float, float]]], frame_px: tuple[int, int]) -> U8Array | None:
    mask: U8Array | None = None
    for corners in polygons:
        one = polygon_mask(corners, frame_px)
        mask = one if mask is None else mask | one
    return mask


def build_sinks(camera: CameraSettings, *, live: bool) -> list[Sink]:
    """Every destination of a camera, not started. Raises SinkError for an unknown file ending."""
    sinks = []
    for target in camera.publish:
        name = without_credentials(target)
        if is_network(target):
            sinks.append(Sink(name, partial(PushWriter, target), live=live))
        else:
            file_format(Path(target))
            sinks.append(Sink(name, partial(FileWriter, Path(target)), live=live))
    if camera.record is not None:
        sinks.append(Sink("record", partial(SegmentWriter, camera.id, camera.record), live=live))
    if camera.hls is not None:
        sinks.append(Sink("hls", partial(HlsWriter, camera.id, camera.hls), live=live))
    return sinks
