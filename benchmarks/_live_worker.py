"""One contestant of the live benchmarks, for some seconds, in a process of its own.

Each camera's stream carries, in every picture, the monotonic clock of the moment before it was
encoded. A packet's arrival is noted when the sink's thread gets it ("publish"); the time codes
are read from the decoded output afterwards, so that reading costs the measured path nothing.
`--keyframes-only` reads along, one picture in every group: for runs too long to keep.

Prints one JSON line "ready" when frames flow, and the result as the last line.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import av
import numpy as np

from benchmarks._bare import BareRelay
from pipeline.build import build_service
from pipeline.frames import EncodedPacket, planes_of
from pipeline.publish.sink import Sink
from pipeline.session import CameraSession
from pipeline.settings import CameraSettings, EncodeSettings, ProtectSettings, Settings
from pipeline.source.scene import read_timecode
from pipeline.status import camera_status
from pipeline.streams import StreamTemplates

WRAP_MS = 1 << 32
FIRST_FRAME_SECONDS = 20.0  # longer than any probe or first connection takes


@dataclass(slots=True)
class Reader:
    """A destination that keeps what arrives, and when. See Writer."""

    keyframes_only: bool = False
    packets: list[tuple[int, bytes]] = field(default_factory=list, repr=False)
    samples: list[tuple[float, float]] = field(default_factory=list)  # (arrival s, latency ms)
    unreadable: int = 0
    arrived: int = 0
    first: threading.Event = field(default_factory=threading.Event)

    def write(self, packet: EncodedPacket) -> None:
        """Called by the sink's thread."""
        now_ns = time.monotonic_ns()
        if packet.kind != "video":
            return
        self.arrived += 1
        self.first.set()
        if not self.keyframes_only:
            self.packets.append((now_ns, packet.data))
        elif packet.is_keyframe:
            # parameter sets come with every IDR: a decoder of its own reads it
            self._read(_decoder(), [(now_ns, packet.data)])

    def close(self) -> None:
        """Nothing is held open."""

    def read_all(self) -> None:
        """Time codes of everything that was kept."""
        self._read(_decoder(), self.packets)
        self.packets.clear()

    def _read(self, decoder: av.VideoCodecContext, packets: list[tuple[int, bytes]]) -> None:
        arrivals = [arrival for arrival, _ in packets]
        images = [image for _, data in packets for image in decoder.decode(av.Packet(data))]
        images += decoder.decode(None)
        # no B-frames: pictures come out in the order of their packets
        for arrival_ns, image in zip(arrivals, images, strict=False):
            stamp_ms = read_timecode(planes_of(image).y)
            if stamp_ms is None:
                self.unreadable += 1
            else:
                late_ms = (arrival_ns / 1e6 - stamp_ms) % WRAP_MS
                self.samples.append((arrival_ns / 1e9, late_ms))


def _decoder() -> av.VideoCodecContext:
    context = av.CodecContext.create("h264", "r")
    assert isinstance(context, av.VideoCodecContext)
    context.thread_count = 1  # frame threads would hold pictures back
    return context


@dataclass(frozen=True, slots=True)
class Contestant:
    """What `main` needs of either side."""

    start: Callable[[], None]
    stop: Callable[[], None]
    facts: Callable[[], list[dict[str, Any]]]  # counters, one a camera


def writer_to(reader: Reader) -> Callable[[StreamTemplates], Reader]:
    """The reader as a destination that is always there."""
    return lambda _templates: reader


def bauta(cameras: list[CameraSettings], readers: list[Reader]) -> Contestant:
    """Sessions as `bauta run` starts them, published to the readers."""
    settings = Settings(cameras=cameras)
    service = build_service(settings.detector)
    sessions = [
        CameraSession(
            camera,
            detector=settings.detector,
            service=service,
            cameras=len(cameras),
            extra_sinks=[Sink("reader", writer_to(reader), live=True)],
        )
        for camera, reader in zip(cameras, readers, strict=True)
    ]

    def start() -> None:
        for session in sessions:
            session.start()

    def stop() -> None:
        for session in sessions:
            session.request_stop()
        for session in sessions:
            session.stop()
        service.close()

    def facts() -> list[dict[str, Any]]:
        found = []
        for session in sessions:
            status = camera_status(session.camera.id, session)
            found.append(
                {
                    "frames_in": status.frames_in,
                    "frames_out": status.frames_out,
                    "dropped": status.dropped_raw + status.dropped_protected,
                    "obscured": sum(status.obscured.values()),
                    "looks": status.looks,
                    "fused": status.fused,
                    "carried": status.carried,
                    "let_go": sum(status.not_carried.values()),
                    "inner_p50_ms": status.latency_p50_ms,  # decoded to encoded, last 10 s
                    "inner_p95_ms": status.latency_p95_ms,
                }
            )
        return found

    return Contestant(start, stop, facts)


def relay(cameras: list[CameraSettings], readers: list[Reader]) -> Contestant:
    """Decode and encode alone."""

    relays = [
        BareRelay(camera, writer_to(reader), preset=camera.encode.preset)
        for camera, reader in zip(cameras, readers, strict=True)
    ]

    def start() -> None:
        for each in relays:
            each.start()

    def stop() -> None:
        for each in relays:
            each.stop()
        for each in relays:
            each.wait()

    def facts() -> list[dict[str, Any]]:
        return [
            {"frames_in": r.frames_in, "frames_out": r.frames_out, "dropped": r.channel.dropped}
            for r in relays
        ]

    return Contestant(start, stop, facts)


CONTESTANTS = {"bauta": bauta, "relay": relay}


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _difference(before: list[dict[str, Any]], after: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Counters of the measured time alone; medians and the like as they are."""
    return [
        {key: value - old[key] if isinstance(value, int) else value for key, value in new.items()}
        for old, new in zip(before, after, strict=True)
    ]


def run(options: argparse.Namespace) -> dict[str, Any]:
    """Start, let it settle, measure, stop, read."""
    encode = EncodeSettings.model_validate({"preset": options.preset})
    protect = ProtectSettings.model_validate({"protector": options.protector})
    cameras = [
        CameraSettings(id=f"camera{index}", source=url, encode=encode, protect=protect)
        for index, url in enumerate(options.urls)
    ]
    readers = [Reader(options.keyframes_only) for _ in cameras]
    contestant = CONTESTANTS[options.contestant](cameras, readers)
    contestant.start()
    for camera, reader in zip(cameras, readers, strict=True):
        if not reader.first.wait(FIRST_FRAME_SECONDS):
            raise RuntimeError(f"{camera.id}: no frame within {FIRST_FRAME_SECONDS:g} s")
    print('"ready"', flush=True)
    time.sleep(options.settle)
    begun, cpu, before = time.monotonic(), _cpu_seconds(), contestant.facts()
    arrived = [reader.arrived for reader in readers]
    time.sleep(options.seconds)
    ended, cpu_after, after = time.monotonic(), _cpu_seconds(), contestant.facts()
    arrived = [r.arrived - old for r, old in zip(readers, arrived, strict=True)]
    contestant.stop()
    result: list[dict[str, Any]] = _difference(before, after)
    for facts, reader, count in zip(result, readers, arrived, strict=True):
        reader.read_all()
        measured = np.array([s for s in reader.samples if begun <= s[0] <= ended], np.float64)
        measured = measured.reshape(-1, 2)
        facts["published"] = count
        facts["unreadable"] = reader.unreadable
        facts["at_seconds"] = [round(float(v), 4) for v in measured[:, 0]]
        facts["latency_ms"] = [round(float(v), 2) for v in measured[:, 1]]
    return {
        "seconds": ended - begun,
        "cpu_seconds": cpu_after - cpu,
        "lookahead_frames": protect.lookahead,
        "cameras": result,
    }


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contestant", choices=tuple(CONTESTANTS))
    parser.add_argument("urls", nargs="+")
    parser.add_argument("--seconds", type=float, required=True, help="measured")
    parser.add_argument("--settle", type=float, default=3.0, help="seconds before, not measured")
    parser.add_argument("--preset", required=True)
    parser.add_argument("--keyframes-only", action="store_true")
    parser.add_argument("--protector", default="obfuscate")
    options = parser.parse_args(arguments)
    av.logging.set_level(None)
    print(json.dumps(run(options)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
