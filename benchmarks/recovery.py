"""Evidence: does what was sealed come back, how exact is it, and what does it cost?"""

from __future__ import annotations

import argparse
import hashlib
import json
import math
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np

from pipeline.errors import NothingOpened
from pipeline.frames import planes_of
from pipeline.recover.clip_records import read_clip
from pipeline.vault.epoch_keys import open_entry
from pipeline.vault.identity import Identity, create_identity
from pipeline.vault.opening import open_epoch

from . import clips
from ._recovery_worker import name_of
from .clips import Clip
from .report import Column, Report, Row, Table, add_output_options, progress

CARRIERS = (
    Column("codec", "codec"),
    Column("way", "way"),
    Column("sealed", "entries sealed"),
    Column("same", "came back the same"),
    Column("share", "share %", 2),
    Column("other_key", "with another key"),
)
FIDELITY = Table(
    "fidelity",
    (
        Column("clip", "clip"),
        Column("detail", "detail"),
        Column("face_frames", "face-frames"),
        Column("psnr_mean_db", "PSNR mean dB"),
        Column("psnr_p5_db", "5th percentile"),
        Column("psnr_least_db", "least"),
        Column("identical_share", "identical %"),
    ),
)
BITS = Table(
    "bits",
    (
        Column("clip", "clip"),
        Column("detail", "detail"),
        Column("without_kbit_s", "without kbit/s", 0),
        Column("with_kbit_s", "with kbit/s", 0),
        Column("overhead_percent", "overhead %"),
    ),
)
SPEED = Table(
    "speed",
    (
        Column("clip", "clip"),
        Column("what", "what"),
        Column("without", "without", 2),
        Column("with", "with", 2),
        Column("ratio", "ratio", 3),
        Column("ratio_worst", "worst", 3),
    ),
)
CONTAINERS = ("mp4", "mkv", "ts")


@dataclass(frozen=True, slots=True)
class Bench:
    """A folder with two keys in it."""

    folder: Path
    key: Path
    other: Path
    identity: Identity
    another: Identity

    @classmethod
    def new(cls, folder: Path) -> Bench:
        """Makes the keys."""
        key, other = folder / "a.key", folder / "b.key"
        return cls(folder, key, other, create_identity(key, None), create_identity(other, None))

    def protect(self, clip: Clip, dest: Path | str, *, sealed: bool = True, **more: str) -> Any:
        """One worker; what it printed."""
        command = [sys.executable, "-m", "benchmarks._recovery_worker", str(clip.path), str(dest)]
        command += ["--recipient", str(self.key.with_suffix(".pub"))] if sealed else []
        for name, value in more.items():
            command += [f"--{name}", value]
        return json.loads(self._run(command).splitlines()[-1])

    def recover(self, clip: Path, dest: Path, *options: str) -> float:
        """`bauta recover`; the seconds it took, with the start of the program."""
        command = [sys.executable, "-m", "pipeline", "recover", str(clip), str(dest)]
        command += ["--key", str(self.key), "--case", "bench", "--reason", "benchmark"]
        started = time.monotonic()
        self._run([*command, "--overwrite", *options])
        return time.monotonic() - started

    def _run(self, command: Sequence[str]) -> str:
        done = subprocess.run(
            command,
            cwd=Path(__file__).resolve().parents[1],
            env={**os.environ, "BAUTA_STATE": str(self.folder / "state")},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise RuntimeError(f"{' '.join(command[2:5])}: {done.stderr.strip()[-2000:]}")
        return done.stdout


# --- what comes back ---


def opened(clip: Path, identity: Identity, sidecar: Path | None = None) -> dict[str, str]:
    """Every entry that opens, by name, and the SHA-256 of its content."""
    found = {}
    for epoch in read_clip(clip, sidecar).epochs:
        keys = open_epoch(epoch.record, identities=[identity])
        for group in epoch.groups:
            for entry in group.entries:
                key = keys.key_for(entry.place.kind, entry.place.track)
                if key is None:
                    continue
                try:
                    plain = open_entry(key, epoch.record.context, group.head, entry)
                except NothingOpened:
                    continue
                found[name_of(group.head, entry.place)] = hashlib.sha256(plain).hexdigest()
    return found


def carriers(bench: Bench, clip: Clip) -> Iterator[Row]:
    """Each codec through each container, a remux of it, a sidecar, and an RTSP recorder."""
    for codec in ("h264", "h265"):
        for container in CONTAINERS:
            made = bench.folder / f"{codec}.{container}"
            sealed = bench.protect(clip, made, codec=codec, preset="superfast")["sealed"]
            yield _carried(bench, codec, container, sealed, made)
            for other in CONTAINERS:
                if (copy := _remuxed(made, bench.folder / f"{codec}-{container}.{other}")) is None:
                    continue
                yield _carried(
                    bench, codec, f"{container} -> {other}, ffmpeg -c copy", sealed, copy
                )
        made = bench.folder / f"{codec}-beside.mp4"
        sealed = bench.protect(clip, made, codec=codec, carrier="sidecar")["sealed"]
        yield _carried(bench, codec, "sidecar", sealed, made)
        recorded = bench.folder / f"{codec}-recorded.mkv"
        with _recorder(recorded) as url:
            sealed = bench.protect(clip, url, codec=codec, preset="superfast")["sealed"]
        yield _carried(bench, codec, "RTSP to a recorder", sealed, recorded)


def _carried(bench: Bench, codec: str, way: str, sealed: dict[str, str], clip: Path) -> Row:
    back = opened(clip, bench.identity)
    same = sum(back.get(name) == digest for name, digest in sealed.items())
    progress(f"{codec} {way}: {same} of {len(sealed)}")
    return {
        "codec": codec,
        "way": way,
        "sealed": len(sealed),
        "same": same,
        "share": 100 * same / max(len(sealed), 1),
        "other_key": len(opened(clip, bench.another)),
    }


def _remuxed(clip: Path, target: Path) -> Path | None:
    """By the ffmpeg program; None where there is none."""
    if shutil.which("ffmpeg") is None or clip.suffix == target.suffix:
        return None
    command = ["ffmpeg", "-v", "error", "-y", "-i", str(clip), "-c", "copy", str(target)]
    subprocess.run(command, check=True, capture_output=True)
    return target


class _recorder:  # noqa: N801 -- used as a context manager only
    """ffmpeg as an RTSP server that records what is pushed to it."""

    def __init__(self, target: Path) -> None:
        self._target = target

    def __enter__(self) -> str:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        url = f"rtsp://127.0.0.1:{port}/live"
        command = ["ffmpeg", "-v", "error", "-y", "-rtsp_flags", "listen", "-i", url]
        self._process = subprocess.Popen([*command, "-c", "copy", str(self._target)])
        time.sleep(1)
        return url

    def __exit__(self, *_: object) -> None:
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.terminate()
            self._process.wait(10)


# --- how exact it is ---


def fidelity(bench: Bench, clip: Clip, detail: str) -> Row:
    """The recovered file, written without loss, against the camera's pixels in true face boxes."""
    made, back = bench.folder / f"{detail}.mp4", bench.folder / f"{detail}-back.mp4"
    bench.protect(clip, made, detail=detail)
    bench.recover(made, back, "--lossless", "--no-mark")
    scene = clips.made_scene(clips.MADE[clip.name])
    errors = []
    with av.open(str(clip.path)) as camera, av.open(str(back)) as recovered:
        pairs = zip(camera.decode(video=0), recovered.decode(video=0), strict=True)
        for index, (before, after) in enumerate(pairs):
            true, found = planes_of(before).y, planes_of(after).y
            for box in scene.face_boxes_xyxy_px(index):
                x1, y1, x2, y2 = (int(value) for value in np.rint(box))
                part = slice(max(y1, 0), max(y2, 0)), slice(max(x1, 0), max(x2, 0))
                if true[part].size:
                    off = true[part].astype(np.float64) - found[part]
                    errors.append(float((off**2).mean()))
    psnr = [10 * math.log10(255**2 / max(error, 1e-5)) for error in errors]
    progress(f"{clip.name} {detail}: {statistics.mean(psnr):.1f} dB, least {min(psnr):.1f}")
    return {
        "clip": clip.name,
        "detail": detail,
        "face_frames": len(psnr),
        "psnr_mean_db": statistics.mean(psnr),
        "psnr_p5_db": float(np.percentile(psnr, 5)),
        "psnr_least_db": min(psnr),
        "identical_share": 100 * sum(error == 0 for error in errors) / len(errors),
    }


# --- what it costs ---


def bits(bench: Bench, clip: Clip, detail: str) -> Row:
    """File sizes, padding and signatures included."""
    sizes = []
    for sealed in (False, True):
        made = bench.folder / "bits.mp4"
        bench.protect(clip, made, sealed=sealed, detail=detail)
        sizes.append(made.stat().st_size * 8 / 1000 / (clip.frames / clips.FPS))
    without, with_it = sizes
    progress(f"{clip.name} {detail}: {without:.0f} -> {with_it:.0f} kbit/s")
    return {
        "clip": clip.name,
        "detail": detail,
        "without_kbit_s": without,
        "with_kbit_s": with_it,
        "overhead_percent": 100 * (with_it / without - 1),
    }


def protect_speed(bench: Bench, clip: Clip, rounds: int, tiles: str) -> list[Row]:
    """Frames a second and CPU time with evidence against without, by turns.

    `tiles`: coded as for a "file" or as for a "live" stream.
    """
    runs: dict[bool, list[Any]] = {False: [], True: []}
    bench.protect(clips.cut(clip, 25), bench.folder / "warm.mp4")
    for number in range(rounds):
        for sealed in (False, True) if number % 2 == 0 else (True, False):
            run = bench.protect(clip, bench.folder / "speed.mp4", sealed=sealed, tiles=tiles)
            runs[sealed].append(run)
            progress(f"{clip.name} sealed={sealed}: {run['frames'] / run['seconds']:.1f} frames/s")
    rates = {sealed: [r["frames"] / r["seconds"] for r in each] for sealed, each in runs.items()}
    cpu = {
        sealed: [r["cpu_seconds"] / r["frames"] * 1e3 for r in each]
        for sealed, each in runs.items()
    }
    return [
        _ratio(clip, f"protect, {tiles} tiles: frames/s", rates[False], rates[True], worst=min),
        _ratio(clip, f"protect, {tiles} tiles: CPU ms a frame", cpu[False], cpu[True], worst=max),
    ]


def recover_speed(bench: Bench, clip: Clip, rounds: int) -> Row:
    """`bauta recover` against decoding and encoding the same file with the same settings."""
    made = bench.folder / "recover.mp4"
    bench.protect(clip, made)
    bare, ours = [], []
    for number in range(rounds + 1):
        started = time.monotonic()
        _run_bare_transcode(made, bench.folder / "bare.mp4")
        bare.append(time.monotonic() - started)
        ours.append(bench.recover(made, bench.folder / "recovered.mp4"))
        progress(f"recover round {number}: {ours[-1]:.1f} s, bare {bare[-1]:.1f} s")
    return _ratio(clip, "recover: seconds", bare[1:], ours[1:], worst=max)


def _run_bare_transcode(clip: Path, target: Path) -> None:
    """In a process of its own as well: the start of Python is in both."""
    command = [sys.executable, "-m", "benchmarks._recovery_transcode", str(clip), str(target)]
    subprocess.run(command, cwd=Path(__file__).resolve().parents[1], check=True)


def _ratio(clip: Clip, what: str, without: list[float], with_it: list[float], *, worst: Any) -> Row:
    ratios = [b / a for a, b in zip(without, with_it, strict=True)]
    return {
        "clip": clip.name,
        "what": what,
        "without": statistics.median(without),
        "with": statistics.median(with_it),
        "ratio": statistics.median(ratios),
        "ratio_worst": worst(ratios),
    }


PARTS = ("carriers", "fidelity", "bits", "speed")


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(prog="bauta bench recovery", description=__doc__)
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS), metavar="PART")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each clip (default: 20)")
    parser.add_argument("--rounds", type=int, default=5, help="of speed (default: 5)")
    add_output_options(parser)
    options = parser.parse_args(arguments)
    settings = {"parts": options.parts, "seconds": options.seconds, "rounds": options.rounds}
    tables = [Table(each.title, each.columns) for each in (FIDELITY, BITS, SPEED)]
    exact, size, speed = tables
    report = Report("recovery", CARRIERS, settings, more=tables)
    one, three, five = (clips.made_clip(faces, options.seconds) for faces in (1, 3, 5))
    with tempfile.TemporaryDirectory(prefix="bauta-bench-") as folder:
        bench = Bench.new(Path(folder))
        try:
            if "carriers" in options.parts:
                report.rows += carriers(bench, clips.cut(three, 200))
            if "fidelity" in options.parts:
                exact.rows.extend(
                    fidelity(bench, clip, detail)
                    for clip in (one, five)
                    for detail in ("default", "lossless", "keyframes")
                )
            if "bits" in options.parts:
                size.rows.extend(
                    bits(bench, clip, detail)
                    for clip in (one, five)
                    for detail in ("default", "lossless", "keyframes")
                )
            if "speed" in options.parts:
                for tiles in ("live", "file"):
                    speed.rows.extend(protect_speed(bench, three, options.rounds, tiles))
                minute = clips.made_clip(1, 60.0)
                speed.rows.append(recover_speed(bench, minute, max(options.rounds // 2, 1)))
        except RuntimeError as error:
            progress(f"recovery: {error}")
            return 1
    report.finish(as_json=options.json, save_as=options.save_as)
    return 0


if __name__ == "__main__":
    sys.exit(main())
