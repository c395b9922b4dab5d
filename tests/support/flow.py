"""Whole runs of the product: the command line in this process or in one of its own, and checks."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import logging
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import av
import numpy as np
import psutil
import setproctitle

from pipeline.cli import main
from pipeline.config import settings_from
from pipeline.detect.detector import DetectorInput
from pipeline.detect.letterbox import Letterbox
from pipeline.detect.service import DetectionService
from pipeline.frames import Detections, EncodedPacket, YuvPlanes
from pipeline.session import CameraSession
from pipeline.settings import CameraSettings, DetectorSettings
from pipeline.source.base import DecodedFrame, SourceInfo

from .asserts import FloatArray, U8Array, assert_background_kept, assert_faces_hidden
from .clips import Clip, decode_all, luma

ROOT = Path(__file__).resolve().parents[2]
PATIENCE_S = 40.0  # the longest wait for what takes a second or two on a machine with time to spare
CURTAIN_LUMA = 40
CURTAIN_SHARE = 0.9  # the word in its middle is the rest
T = TypeVar("T")


@dataclass(frozen=True)
class Done:
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def error_line(self) -> str:
        """The only line on standard error; anything more or less fails the test."""
        lines = self.err.splitlines()
        assert len(lines) == 1, f"expected one line on stderr, got {len(lines)}:\n{self.err}"
        assert "Traceback" not in self.err
        return lines[0]

    @property
    def result(self) -> dict[str, Any]:
        """What `--json` printed."""
        return cast(dict[str, Any], json.loads(self.out))


def bauta(*arguments: str | Path) -> Done:
    """Runs a command in this process; loggers and the process title are put back."""
    root, title = logging.getLogger(), setproctitle.getproctitle()
    handlers, level, av_level = list(root.handlers), root.level, av.logging.get_level()
    out, err = io.StringIO(), io.StringIO()
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            try:
                code = main([str(argument) for argument in arguments])
            except SystemExit as error:
                code = error.code if isinstance(error.code, int) else 1
    finally:
        root.handlers = handlers
        root.setLevel(level)
        av.logging.set_level(av_level)
        setproctitle.setproctitle(title)
    return Done(code, out.getvalue(), err.getvalue())


def protect(source: str | Path, dest: str | Path, *options: str) -> dict[str, Any]:
    """`bauta protect … --json`, which must succeed; its result."""
    done = bauta("protect", source, dest, "--json", *options)
    assert done.code == 0, done.err
    return done.result


class Running:
    """A command in a process group of its own; its output goes to files."""

    def __init__(self, process: subprocess.Popen[bytes], out: Path, err: Path) -> None:
        self.process = process
        self._out, self._err = out, err

    @property
    def out(self) -> str:
        return self._out.read_text(errors="replace")

    @property
    def err(self) -> str:
        return self._err.read_text(errors="replace")

    def status(self, camera: str) -> dict[str, Any] | None:
        """The newest whole `--json` status line of a camera."""
        every = self.all_status(camera)
        return every[-1] if every else None

    def all_status(self, camera: str) -> list[dict[str, Any]]:
        lines = [
            json.loads(line) for line in self.out.splitlines(keepends=True) if line[-1] == "\n"
        ]
        return [fields for fields in lines if fields["camera"] == camera]

    def ended(self, timeout_s: float = PATIENCE_S) -> int:
        """The exit code; raises subprocess.TimeoutExpired."""
        return self.process.wait(timeout_s)

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)


@contextlib.contextmanager
def running_bauta(*arguments: str | Path) -> Iterator[Running]:
    """Starts a command; whatever is left of it and its children is killed at the end."""
    with tempfile.TemporaryDirectory() as folder:
        out, err = Path(folder, "out"), Path(folder, "err")
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(
                [sys.executable, "-m", "pipeline", *(str(argument) for argument in arguments)],
                stdin=subprocess.DEVNULL,
                stdout=out_file,
                stderr=err_file,
                cwd=ROOT,
                start_new_session=True,
            )
        try:
            yield Running(process, out, err)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(timeout=20)


def wait_for(
    what: str, condition: Callable[[], T], timeout_s: float = PATIENCE_S, every_s: float = 0.05
) -> T:
    """The first true answer of `condition`; fails the test after the timeout."""
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        if answer := condition():
            return answer
        time.sleep(every_s)
    raise AssertionError(f"still waiting after {timeout_s:g} s for: {what}")


# --- looking at what came out ---------------------------------------------------------------------


def seconds_of(frames: Sequence[av.VideoFrame]) -> list[Fraction]:
    """Presentation times, exactly as the container has them."""
    times = []
    for frame in frames:
        assert frame.pts is not None and frame.time_base is not None
        times.append(frame.pts * frame.time_base)
    return times


def is_curtain(picture: U8Array) -> bool:
    """The plain picture that replaces a whole frame."""
    near = np.abs(picture.astype(np.int16) - CURTAIN_LUMA) <= 6
    return bool(near.mean() > CURTAIN_SHARE)


HELD_FRAMES = 30  # a second of hold, and a little of look-ahead
MOST_FALSE_COVER = (
    0.08  # of the background: one phantom; made ones look more like faces than real ones
)


def assert_no_face(
    clip: Clip, output: Path, *, curtains: Literal["none", "some"] = "none", psnr_db: float = 30.0
) -> list[int]:
    """Frame by frame against the clip: every true face hidden, the background kept.

    Where a face is about to be or has just been counts as its place: it is covered in advance and
    held after loss. And of the background a little may be covered for a face that is none.

    Returns the positions of the frames that are curtains; "none" allows none.
    """
    before, after = decode_all(clip.path), decode_all(output)
    assert len(after) == len(before) == clip.frames
    fallen = []
    for index, (old, new, boxes) in enumerate(zip(before, after, clip.truth, strict=True)):
        shown = luma(new)
        if curtains == "some" and is_curtain(shown):
            fallen.append(index)
            continue
        original = eight_bit_420(old)
        where = f"{output.name} frame {index}"
        assert_faces_hidden(original, shown, boxes, where=where)
        places = np.concatenate(clip.truth[max(index - HELD_FRAMES, 0) : index + HELD_FRAMES + 1])
        assert_background_kept(
            original, shown, places, psnr_db=psnr_db, spare=MOST_FALSE_COVER, where=where
        )
    return fallen


def eight_bit_420(frame: av.VideoFrame) -> U8Array:
    """(H, W) luma of the picture as 4:2:0 with even sides, by swscale."""
    if frame.format.name in ("yuv420p", "yuvj420p") and not (frame.width % 2 or frame.height % 2):
        return luma(frame)
    width, height = frame.width // 2 * 2, frame.height // 2 * 2
    return luma(frame.reformat(width=width, height=height, format="yuv420p"))


def assert_hidden_anywhere(clip: Clip, pictures: Sequence[U8Array], *, most: float = 0.35) -> None:
    """For streams that have lost the clip's frame numbers: no picture shows a face of any frame.

    A clear face would match the frame that it comes from, pixel for pixel.
    """
    originals = [luma(frame) for frame in decode_all(clip.path)]
    for number, picture in enumerate(pictures):
        if is_curtain(picture):
            continue
        for original, truth in zip(originals, clip.truth, strict=True):
            assert_faces_hidden(original, picture, truth, most=most, where=f"picture {number}")


def pictures_of(path: Path, *, damaged_ok: bool = False) -> list[U8Array]:
    return [luma(frame) for frame in decode_all(path, damaged_ok=damaged_ok)]


# --- sessions in this process ---------------------------------------------------------------------


def settings_for(
    source: str | Path, publish: Sequence[str | Path] = (), **camera: object
) -> tuple[CameraSettings, DetectorSettings]:
    """One camera named cam, with short patience; `detector` is the section of that name."""
    detector = camera.pop("detector", {})
    reconnect = {
        "first_pause": 0.2,
        "longest_pause": 0.5,
        "open_timeout": 3.0,
        "read_timeout": 1.5,
    }
    tree: dict[str, object] = {"id": "cam", "source": str(source), "reconnect": reconnect}
    tree |= {"publish": [str(target) for target in publish]} | camera
    settings = settings_from({"detector": detector, "cameras": [tree]})
    return settings.cameras[0], settings.detector


@contextlib.contextmanager
def session_on(
    service: DetectionService, source: str | Path, publish: Sequence[str | Path] = (), **more: Any
) -> Iterator[CameraSession]:
    """A started session; stopped at the end, within seconds or the test fails."""
    parts = {name: more.pop(name) for name in ("retry", "open_source") if name in more}
    camera, detector = settings_for(source, publish, **more)
    session = CameraSession(camera, detector=detector, service=service, **parts)
    session.start()
    try:
        yield session
    finally:
        session.stop(PATIENCE_S)
        alive = [thread.name for thread in threading.enumerate() if thread.name == "cam encode"]
        assert not alive, "the session did not stop"


def run_file(service: DetectionService, clip: Clip, dest: Path, **more: Any) -> CameraSession:
    """A session over a whole file; must end by itself within a bounded time."""
    with session_on(service, clip.path, [dest], **more) as session:
        assert session.wait(PATIENCE_S), "the session hangs"
    return session


def detections(boxes_xyxy_px: FloatArray, score: float = 0.9) -> Detections:
    count = len(boxes_xyxy_px)
    landmarks = np.full((count, 5, 2), np.nan, np.float32)
    return Detections(boxes_xyxy_px, landmarks, np.full(count, score, np.float32))


# --- a detector that knows the truth, and fails on demand -----------------------------------------

Fault = Callable[[int, list[Detections]], list[Detections]]
"""(number of the run, what a perfect detector would say) to what this one says."""


def no_fault(_: int, found: list[Detections]) -> list[Detections]:
    return found


class TruthDetector:
    """Recognises each frame of the clip by its pixels, so the answer fits whatever frame is asked.

    Of a service that replaces it, the runs are counted on: pass the same `runs`.
    """

    name = "truth"

    def __init__(self, clip: Clip, fault: Fault, runs: Iterator[int]) -> None:
        self._truth = clip.truth
        self._small = np.stack([picture[::8, ::8] for picture in pictures_of(clip.path)])
        self._fault = fault
        self._runs = runs

    def prepare(self, planes: YuvPlanes) -> DetectorInput:
        small = planes.y[::8, ::8]
        distance = np.abs(self._small.astype(np.int16) - small).mean(axis=(1, 2))
        index = int(distance.argmin())
        # the number of the frame instead of its picture
        image = np.array([[[index // 256, index % 256, 0]]], np.uint8)
        return DetectorInput(image, Letterbox(planes.size_px, (640, 384)))

    def detect(self, batch: Sequence[DetectorInput]) -> list[Detections]:
        numbers = (item.image[0, 0].astype(int) for item in batch)
        truth = [detections(self._truth[high * 256 + low]) for high, low, _ in numbers]
        return self._fault(next(self._runs), truth)

    def close(self) -> None:
        pass


@contextlib.contextmanager
def truth_service(
    clip: Clip, fault: Fault = no_fault, *, timeout_s: float = 10.0
) -> Iterator[DetectionService]:
    """A service whose detector is perfect but for `fault`; one picture a run."""
    runs = itertools.count()
    service = DetectionService(
        lambda: TruthDetector(clip, fault, runs), batch=1, timeout_seconds=timeout_s
    )
    try:
        yield service
    finally:
        service.close()


class LossySource:
    """A clip whose frames are partly lost on the way to us; their clock goes on."""

    def __init__(self, clip: Clip, lost: Container[int]) -> None:
        self._clip = clip
        self.kept = [index for index in range(clip.frames) if index not in lost]
        self.info = SourceInfo(
            width_px=clip.width,
            height_px=clip.height,
            fps=clip.fps,
            time_base=1 / clip.fps,
            live=False,
            frames_total=None,
            duration_seconds=None,
            codec="h264",
        )

    def read(self) -> Iterator[DecodedFrame | EncodedPacket]:
        kept = set(self.kept)
        for index, image in enumerate(decode_all(self._clip.path)):
            if index in kept:
                image.pts, image.time_base = index, 1 / self._clip.fps
                yield DecodedFrame(image, index, time.monotonic_ns())

    def take_damaged(self) -> int:
        return 0

    def close(self) -> None:
        pass


def push_children(of: int | None = None) -> list[psutil.Process]:
    """The processes that push to networks, below `of` (default: this process)."""
    found = []
    for child in psutil.Process(of).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.ZombieProcess):
            title = " ".join(child.cmdline())
            if "bauta push" in title or "push_child" in title:
                found.append(child)
    return found
