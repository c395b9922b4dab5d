"""Cameras and contestants of the live benchmarks as processes, and the statistics of latency."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.encode.probe import choose_encoder, live_preset

ROOT = Path(__file__).resolve().parents[1]
F64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CameraProcess:
    """A simulated camera whose pictures carry the monotonic clock."""

    url: str
    pid: int

    def cpu_seconds(self) -> float:
        """So far; it is the price of the simulation, not of what is measured."""
        return process_cpu_seconds(self.pid)


def process_cpu_seconds(pid: int) -> float:
    """User and system time of a running process (Linux)."""
    text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    fields = text.rpartition(")")[2].split()
    ticks_per_second = 100  # USER_HZ of every Linux that Python runs on
    return (int(fields[11]) + int(fields[12])) / ticks_per_second


@contextmanager
def cameras(count: int, size: str, fps: float, faces: int) -> Iterator[list[CameraProcess]]:
    """That many cameras, each a process of its own, stopped at the end."""
    started: list[subprocess.Popen[str]] = []
    found: list[CameraProcess] = []
    try:
        for index in range(count):
            command = [sys.executable, "-m", "pipeline.source.simulated_camera", "--port", "0"]
            command += ["--size", size, "--fps", str(fps), "--faces", str(faces)]
            command += ["--seed", str(index + 1), "--timecode"]
            process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
            started.append(process)
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            if not url:
                raise RuntimeError(f"a simulated camera of {size} did not start")
            found.append(CameraProcess(url, process.pid))
        yield found
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(timeout=10)


def start_contestant(
    what: str,
    urls: Sequence[str],
    *,
    preset: str,
    seconds: float,
    settle_seconds: float,
    keyframes_only: bool = False,
    protector: str = "obfuscate",
) -> subprocess.Popen[str]:
    """Begin; `result_of` waits for its end."""
    command = [sys.executable, "-m", "benchmarks._live_worker", what, *urls]
    command += ["--preset", preset, "--seconds", str(seconds), "--settle", str(settle_seconds)]
    command += ["--protector", protector]
    command += ["--keyframes-only"] if keyframes_only else []
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def result_of(process: subprocess.Popen[str], what: str) -> dict[str, Any]:
    """Raises RuntimeError with what it said."""
    out, err = process.communicate()
    if process.returncode:
        raise RuntimeError(f"{what} failed: {err.strip()[-2000:]}")
    result: dict[str, Any] = json.loads(out.splitlines()[-1])
    return result


def probed_preset(size: str, fps: float, count: int) -> str:
    """What a live session would choose on this machine."""
    width, height = map(int, size.split("x"))
    encoder = choose_encoder("h264", "auto")
    return live_preset(encoder, width, height, Fraction(fps).limit_denominator(1001), count)


@dataclass(frozen=True, slots=True)
class Slope:
    """A straight line through a figure over time; each block has a height of its own."""

    per_minute: float
    standard_error: float

    @property
    def is_flat(self) -> bool:
        """Not to be told from zero."""
        return abs(self.per_minute) < 2 * self.standard_error


def slope_of(blocks: Sequence[tuple[F64, F64]], *, bin_seconds: float = 1.0) -> Slope | None:
    """Least squares over (seconds, value) blocks; None where they are too short.

    Neighbouring frames are alike, so their errors are not independent: values are averaged over
    bins first, and the error of the slope is widened by what correlation is left between bins.
    """
    times: list[F64] = []
    values: list[F64] = []
    for seconds, value in blocks:
        if len(seconds) < 2:
            continue
        bins = ((seconds - seconds[0]) // bin_seconds).astype(np.int64)
        counts = np.bincount(bins)
        used = counts > 0
        t = np.bincount(bins, seconds)[used] / counts[used]
        v = np.bincount(bins, value)[used] / counts[used]
        times.append(t - t.mean())
        values.append(v - v.mean())
    t = np.concatenate(times) if times else np.zeros(0)
    v = np.concatenate(values) if values else np.zeros(0)
    free = len(t) - len(times) - 1
    spread = float((t * t).sum())
    if free < 3 or spread == 0:
        return None
    slope = float((t * v).sum()) / spread
    rest = v - slope * t
    variance = float((rest * rest).sum()) / free
    lagged = float((rest[1:] * rest[:-1]).sum()) / max(float((rest * rest).sum()), 1e-12)
    correlation = min(max(lagged, 0.0), 0.95)
    widen = math.sqrt((1 + correlation) / (1 - correlation))
    return Slope(slope * 60, math.sqrt(variance / spread) * widen * 60)
