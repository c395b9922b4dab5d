"""/metrics: what the cameras' process reports and the console counts, as Prometheus reads it.

Counters start anew with each camera session, which Prometheus understands. No label is ever an
address or a name of a person.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_1_0_0, generate_latest

from ...runtime.credentials import without_credentials
from ...version import __version__
from ..live.facts import CameraFact
from .context import Context

CONTENT_TYPE = CONTENT_TYPE_PLAIN_1_0_0
_CAMERA = ["camera"]
_LIVE_STATES = ("connecting", "up", "down", "failed", "ended", "silent")


class ConsoleCollector:
    """Makes the families anew at each scrape: nothing outlives the camera that it is of."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def collect(self) -> Iterator[Metric]:
        """See prometheus_client."""
        facts = self._context.facts.all()
        yield from _states(facts)
        yield from _counters(facts)
        yield from _gauges(facts)
        yield _latency(facts)
        yield from _sinks(facts)
        yield from self._console()

    def _console(self) -> Iterator[Metric]:
        context = self._context
        counts = context.counts
        viewers = GaugeMetricFamily(
            "bauta_viewers", "Browsers that watch a camera live.", labels=_CAMERA
        )
        for camera in context.plan.cameras:
            viewers.add_metric([camera], context.hub.viewers(camera))
        yield viewers
        requests = CounterMetricFamily(
            "bauta_console_requests", "Answers of the console.", labels=["method", "status"]
        )
        for (method, status), count in sorted(counts.requests.items()):
            requests.add_metric([method, str(status)], count)
        yield requests
        for name, text, value in (
            ("sign_in_failures", "Wrong names and passwords.", counts.sign_in_failures),
            ("lock_outs", "Times a name or address had to wait.", counts.lock_outs),
            ("audit_failures", "Entries that the log did not take.", counts.audit_failures),
        ):
            yield CounterMetricFamily(f"bauta_console_{name}", text, value=value)
        version = GaugeMetricFamily("bauta_build_info", "This version.", labels=["version"])
        version.add_metric([__version__], 1)
        yield version


def metrics_text(context: Context) -> bytes:
    """All of it. A registry of its own: this process's Python is nobody's business."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(ConsoleCollector(context))
    return generate_latest(registry)


def _states(facts: Iterable[CameraFact]) -> Iterator[Metric]:
    up = GaugeMetricFamily("bauta_camera_up", "1 while the camera delivers.", labels=_CAMERA)
    state = GaugeMetricFamily(
        "bauta_camera_state", "1 for the state that it is in.", labels=["camera", "state"]
    )
    for fact in facts:
        up.add_metric([fact.camera], fact.state == "up")
        for name in _LIVE_STATES:
            state.add_metric([fact.camera, name], fact.state == name)
    yield from (up, state)


def _counters(facts: Iterable[CameraFact]) -> Iterator[Metric]:
    plain: tuple[tuple[str, str, Callable[[CameraFact], int]], ...] = (
        ("frames_in", "Frames decoded.", lambda fact: fact.frames_in),
        ("frames_out", "Protected frames encoded.", lambda fact: fact.frames_out),
        ("detections", "Runs of the face detector.", lambda fact: fact.looks),
        ("tracks", "Faces that the tracker began to follow.", lambda fact: fact.tracks),
        ("reconnects", "Times the camera was lost.", lambda fact: fact.reconnects),
        ("damaged_packets", "Packets that broke.", lambda fact: fact.damaged_packets),
        ("sealed_faces", "Tiles in evidence records.", lambda fact: fact.sealed_faces),
    )
    facts = list(facts)
    for name, text, value in plain:
        family = CounterMetricFamily(f"bauta_{name}", text, labels=_CAMERA)
        for fact in facts:
            family.add_metric([fact.camera], value(fact))
        yield family
    dropped = CounterMetricFamily(
        "bauta_frames_dropped", "Frames lost to load.", labels=["camera", "reason"]
    )
    redacted = CounterMetricFamily(
        "bauta_redactions", "Frames obscured whole.", labels=["camera", "reason"]
    )
    runs = CounterMetricFamily(
        "bauta_network_runs", "Pictures that a network was given.", labels=["camera", "network"]
    )
    for fact in facts:
        dropped.add_metric([fact.camera, "raw"], fact.dropped_raw)
        dropped.add_metric([fact.camera, "protected"], fact.dropped_protected)
        for reason, count in sorted(fact.obscured.items()):
            redacted.add_metric([fact.camera, reason], count)
        runs.add_metric([fact.camera, "detector"], fact.looks)
        runs.add_metric([fact.camera, "fusion"], fact.fused)
    yield from (dropped, redacted, runs)


def _gauges(facts: Iterable[CameraFact]) -> Iterator[Metric]:
    faces = GaugeMetricFamily("bauta_faces", "Faces that the newest frame hides.", labels=_CAMERA)
    alarm = GaugeMetricFamily(
        "bauta_evidence_alarm", "1 while nothing can be sealed.", labels=_CAMERA
    )
    depth = GaugeMetricFamily("bauta_queue_depth", "Frames that wait.", labels=["camera", "queue"])
    capacity = GaugeMetricFamily(
        "bauta_queue_capacity", "Frames that may wait.", labels=["camera", "queue"]
    )
    for fact in facts:
        faces.add_metric([fact.camera], fact.faces)
        alarm.add_metric([fact.camera], fact.evidence_alarm is not None)
        for queue, waiting, most in (
            ("raw", fact.frames_queued_raw, fact.capacity_raw),
            ("protected", fact.frames_queued_protected, fact.capacity_protected),
        ):
            depth.add_metric([fact.camera, queue], waiting)
            capacity.add_metric([fact.camera, queue], most)
    yield from (faces, alarm, depth, capacity)


def _latency(facts: Iterable[CameraFact]) -> Metric:
    family = HistogramMetricFamily(
        "bauta_latency_seconds", "From decoded to encoded.", labels=_CAMERA
    )
    for fact in facts:
        buckets = [
            (bound if bound == "+Inf" else repr(float(bound) / 1000), float(count))
            for bound, count in fact.latency_buckets.items()
        ]
        if buckets:
            family.add_metric([fact.camera], buckets, fact.latency_sum_ms / 1000)
    return family


def _sinks(facts: Iterable[CameraFact]) -> Iterator[Metric]:
    labels = ["camera", "sink"]
    up = GaugeMetricFamily("bauta_sink_up", "1 while it takes packets.", labels=labels)
    written = CounterMetricFamily("bauta_sink_written", "Packets written.", labels=labels)
    dropped = CounterMetricFamily("bauta_sink_dropped", "Packets lost.", labels=labels)
    for fact in facts:
        for sink in fact.sinks:
            # its name comes cleaned already; that it stays so must not hang on that alone
            at = [fact.camera, without_credentials(sink.name)]
            up.add_metric(at, sink.state == "up")
            written.add_metric(at, sink.written)
            dropped.add_metric(at, sink.dropped)
    yield from (up, written, dropped)
