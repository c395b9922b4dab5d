"""One live camera for a long time: do memory and latency stay where they are?"""

from __future__ import annotations

import argparse
import json
import os
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ._live import (
    F64,
    cameras,
    probed_preset,
    process_cpu_seconds,
    result_of,
    slope_of,
    start_contestant,
)
from .report import Column, Report, Row, add_output_options, progress

COLUMNS = (
    Column("what", "what"),
    Column("minutes", "minutes"),
    Column("start", "first tenth"),
    Column("end", "last tenth"),
    Column("peak", "peak"),
    Column("slope_per_minute", "per minute", 3),
    Column("slope_error", "± SE", 3),
    Column("flat", "flat"),
)
SAMPLE_SECONDS = 1.0
TARGET_PEAK_MB = 600.0
PROGRESS_SECONDS = 30.0


class Sampler:
    """Resident memory of a process, once a second, until it ends."""

    def __init__(self, pid: int, origin: float) -> None:
        self._pid = pid
        self._origin = origin
        self._stop = threading.Event()
        self.seconds: list[float] = []
        self.rss_mb: list[float] = []
        self.peak_mb = 0.0
        self.cpu_seconds = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """No more samples."""
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        said = time.monotonic()
        while not self._stop.wait(SAMPLE_SECONDS):
            try:
                pages = int(Path(f"/proc/{self._pid}/statm").read_text("ascii").split()[1])
                status = Path(f"/proc/{self._pid}/status").read_text("utf-8")
                self.cpu_seconds = process_cpu_seconds(self._pid)
            except (OSError, IndexError):
                return  # it has ended
            peak = [line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")]
            if not peak:
                return
            now = time.monotonic()
            self.peak_mb = int(peak[0]) / 1024
            self.seconds.append(now - self._origin)
            self.rss_mb.append(pages * os.sysconf("SC_PAGE_SIZE") / 2**20)
            if now - said > PROGRESS_SECONDS:
                said = now
                progress(f"{now - self._origin:.0f} s: {self.rss_mb[-1]:.0f} MB")


def measure(options: argparse.Namespace, report: Report) -> None:
    """One run of `--minutes`."""
    preset = options.preset
    if preset == "auto":
        preset = probed_preset(options.size, options.fps, 1)
    seconds = options.minutes * 60
    with cameras(1, options.size, options.fps, options.faces) as filmed:
        process = start_contestant(
            options.what,
            [filmed[0].url],
            preset=preset,
            seconds=seconds,
            settle_seconds=options.settle,
            keyframes_only=True,
        )
        begun = time.monotonic()
        sampler = Sampler(process.pid, begun)
        try:
            result = result_of(process, options.what)
        finally:
            sampler.stop()
    facts = result["cameras"][0]
    measured_from = begun + options.settle
    memory = (np.array(sampler.seconds) + begun, np.array(sampler.rss_mb))
    steady = memory[0] > measured_from
    latency = (np.array(facts["at_seconds"]), np.array(facts["latency_ms"]))
    report.rows.append(_row("memory MB", (memory[0][steady], memory[1][steady]), sampler.peak_mb))
    report.rows.append(_row("latency ms", latency, float(latency[1].max(initial=0))))
    report.notes += _notes(facts, result, preset, sampler.peak_mb, options.fps)
    if options.series is not None:
        series = {"seconds": sampler.seconds, "rss_mb": sampler.rss_mb, **facts}
        options.series.write_text(json.dumps(series) + "\n", encoding="utf-8")


def _row(what: str, series: tuple[F64, F64], peak: float) -> Row:
    seconds, value = series
    tenth = max(1, len(value) // 10)
    # keyframes come every 2 s; about sixty bins, whatever the length
    span = float(seconds[-1] - seconds[0]) if len(seconds) else 0.0
    slope = slope_of([series], bin_seconds=max(2.5, span / 60))
    return {
        "what": what,
        "minutes": span / 60,
        "start": float(np.median(value[:tenth])) if len(value) else None,
        "end": float(np.median(value[-tenth:])) if len(value) else None,
        "peak": peak,
        "slope_per_minute": slope.per_minute if slope else None,
        "slope_error": slope.standard_error if slope else None,
        "flat": slope.is_flat if slope else None,
    }


def _notes(
    facts: dict[str, Any], result: dict[str, Any], preset: str, peak_mb: float, fps: float
) -> list[str]:
    return [
        f"preset {preset}; {facts['frames_in']} frames in, {facts['published']} published of "
        f"{round(result['seconds'] * fps)} filmed, {facts['dropped']} dropped, "
        f"{facts.get('obscured', 0)} obscured, "
        f"{result['cpu_seconds'] / result['seconds']:.2f} cores",
        f"peak memory {peak_mb:.0f} MB, target at most {TARGET_PEAK_MB:.0f} for a 1080p camera "
        f"({'met' if peak_mb <= TARGET_PEAK_MB else 'MISSED'})",
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="bauta bench soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--what", choices=("bauta", "relay"), default="bauta")
    parser.add_argument("--size", default="1920x1080", help="default: 1920x1080")
    parser.add_argument("--fps", type=float, default=25.0)
    parser.add_argument("--faces", type=int, default=3, help="in each picture, 0 to 5")
    parser.add_argument("--settle", type=float, default=20.0, help="seconds not measured at first")
    parser.add_argument("--preset", default="auto", help="auto: what the probe chooses")
    parser.add_argument("--series", type=Path, metavar="FILE", help="every sample, as JSON")
    add_output_options(parser)
    options = parser.parse_args(arguments)
    if options.minutes <= 0:
        parser.error("--minutes must be positive")
    keys = ("minutes", "what", "size", "fps", "faces", "preset")
    report = Report("soak", COLUMNS, {key: getattr(options, key) for key in keys})
    try:
        measure(options, report)
    except RuntimeError as error:
        progress(f"soak: {error}")
        return 1
    report.finish(as_json=options.json, save_as=options.save_as)
    return 0


if __name__ == "__main__":
    sys.exit(main())
