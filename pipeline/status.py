"""What one camera does now, as facts: for the status line, JSON, and the console."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING

import numpy as np

from .counts import LATENCY_BUCKETS_MS

if TYPE_CHECKING:
    # the console's process uses these values, and has no session
    from .session import CameraSession


@dataclass(frozen=True, slots=True)
class SinkStatus:
    """One destination."""

    name: str
    state: str
    written: int
    dropped: int
    error: str | None


@dataclass(frozen=True, slots=True)
class CameraStatus:
    """One camera."""

    camera: str
    state: str
    error: str | None
    seconds_in_state: float
    frames_in: int
    frames_out: int
    frames_per_second: float  # out, over the last frames
    faces: int
    fused: int  # faces that went out recoverable
    not_fused: dict[str, int]  # reason to faces that were due and could not be
    keyframes: dict[str, int]  # reason to faces that became due
    carried: int  # faces that showed a keyframe's protection, moved along
    not_carried: dict[str, int]  # reason to faces that were carried no further
    dropped_raw: int
    dropped_protected: int
    obscured: dict[str, int]  # reason to frames
    looks: int  # runs of the detector asked for
    reconnects: int
    damaged_packets: int
    latency_p50_ms: float | None  # from decoded to encoded
    latency_p95_ms: float | None
    encoder: str | None
    sinks: list[SinkStatus]
    sealed_faces: int = 0  # tiles and motions in evidence records
    evidence_alarm: str | None = None  # why nothing is sealed now
    since_ms: int = 0  # Unix time; of the present state
    codec: str | None = None  # of the protected stream: h264 or h265
    width: int = 0  # pixels; 0 before the first frame
    height: int = 0
    recording: bool = False  # is configured to record
    evidence: bool = False  # is configured to keep evidence
    frames_queued_raw: int = 0  # wait for protection
    frames_queued_protected: int = 0  # wait for the encoder
    capacity_raw: int = 0  # most frames that may wait there
    capacity_protected: int = 0
    # upper bound in ms ("+Inf" at the end) to frames at or below it, over the whole session
    latency_buckets: dict[str, int] = field(default_factory=dict)
    latency_sum_ms: float = 0.0  # of all those frames
    tracks: int = 0  # that the tracker began in this session

    def as_dict(self) -> dict[str, object]:
        """For JSON."""
        return asdict(self)

    def as_line(self) -> str:
        """For people."""
        parts = [f"{self.camera}: {self.state}"]
        if self.state == "up":
            parts.append(f"{self.frames_per_second:.1f} frames/s")
            parts.append(f"{self.faces} faces")
            if self.fused or self.not_fused:
                missed = sum(self.not_fused.values())
                parts.append(f"{self.fused} fused" + (f" ({missed} not)" if missed else ""))
                parts.append(f"{self.carried} carried")
            if self.sealed_faces:
                parts.append(f"{self.sealed_faces} sealed")
            if self.latency_p95_ms is not None:
                parts.append(f"+{self.latency_p50_ms:.0f} ms (p95 {self.latency_p95_ms:.0f})")
        if self.evidence_alarm:
            parts.append(f"EVIDENCE IS NOT SEALED: {self.evidence_alarm}")
        if self.error:
            parts.append(f"{self.error} (since {self.seconds_in_state:.0f} s)")
        if dropped := self.dropped_raw + self.dropped_protected:
            parts.append(f"{dropped} frames dropped")
        if self.obscured:
            worst = max(self.obscured, key=lambda reason: self.obscured[reason])
            parts.append(f"{sum(self.obscured.values())} obscured ({worst})")
        parts += [
            f"{sink.name} {sink.state}" + (f" ({sink.dropped} dropped)" if sink.dropped else "")
            for sink in self.sinks
        ]
        return ", ".join(parts)


def camera_status(
    camera_id: str,
    session: CameraSession | None,
    error: str | None = None,
    *,
    since_ms: int | None = None,
) -> CameraStatus:
    """A snapshot; `error` says why there is no session, and `since_ms` (Unix) since when."""
    if session is None:
        now_ms = time.time_ns() // 1_000_000
        since_ms = now_ms if since_ms is None else since_ms
        return CameraStatus(
            camera=camera_id,
            state="failed",
            error=error,
            since_ms=since_ms,
            seconds_in_state=round(max(now_ms - since_ms, 0) / 1000, 1),
            frames_in=0,
            frames_out=0,
            frames_per_second=0.0,
            faces=0,
            fused=0,
            not_fused={},
            keyframes={},
            carried=0,
            not_carried={},
            dropped_raw=0,
            dropped_protected=0,
            obscured={},
            looks=0,
            reconnects=0,
            damaged_packets=0,
            latency_p50_ms=None,
            latency_p95_ms=None,
            encoder=None,
            sinks=[],
        )
    counts = session.counts
    keyed = session.keyed_counts
    latencies = np.array(counts.latencies_ns, np.float64) / 1e6
    return CameraStatus(
        camera=camera_id,
        state=counts.state,
        error=counts.error,
        seconds_in_state=round(time.monotonic() - counts.since, 1),
        frames_in=counts.frames_in,
        frames_out=counts.frames_out,
        frames_per_second=round(counts.rate.per_second(), 2),
        faces=counts.faces,
        fused=keyed.fused,
        not_fused=dict(keyed.not_fused),
        keyframes=dict(keyed.keyframes),
        carried=keyed.carried,
        not_carried=dict(keyed.not_carried),
        dropped_raw=session.raw.dropped,
        dropped_protected=session.protected.dropped,
        obscured=dict(session.gate.redactions),
        looks=session.window.looks if session.window else 0,
        reconnects=counts.reconnects,
        damaged_packets=counts.damaged_packets,
        latency_p50_ms=round(float(np.median(latencies)), 1) if latencies.size else None,
        latency_p95_ms=round(float(np.percentile(latencies, 95)), 1) if latencies.size else None,
        encoder=session.encoder_name,
        sinks=[
            SinkStatus(sink.name, sink.state.value, sink.written, sink.dropped, sink.error)
            for sink in session.sinks
        ],
        sealed_faces=session.evidence.counts.faces if session.evidence else 0,
        evidence_alarm=session.evidence.counts.alarm if session.evidence else None,
        since_ms=counts.since_ms,
        codec=session.camera.encode.codec,
        width=counts.width_px,
        height=counts.height_px,
        recording=session.camera.record is not None,
        evidence=session.evidence is not None,
        frames_queued_raw=len(session.raw),
        frames_queued_protected=len(session.protected),
        capacity_raw=session.raw.depth,
        capacity_protected=session.protected.depth,
        latency_buckets=_cumulative(counts.latency.counts),
        latency_sum_ms=round(counts.latency.sum_ns / 1e6, 1),
        tracks=session.window.tracks_begun if session.window else 0,
    )


def _cumulative(counts: list[int]) -> dict[str, int]:
    """As Prometheus wants it."""
    names = [*map(str, LATENCY_BUCKETS_MS), "+Inf"]
    return dict(zip(names, accumulate(counts), strict=True))
