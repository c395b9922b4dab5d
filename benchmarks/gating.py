"""What activity gating saves, and whether it misses anybody who enters.

Truth: the network looks at every single frame (no gate, no interval); each sure face of it must be
covered in the gated run. The same without the gate shows what is due to the detection interval. An
entry is a face seen in at least three frames in a row; one that flashes up in a single frame is the
network's mistake more often than a face.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType

from pipeline.build import build_service, open_detector
from pipeline.compose.gate import Gate, ProtectedFrame, Zones
from pipeline.frames import Detections, FaceBox, RawFrame, planes_of
from pipeline.settings import DetectorSettings, ProtectSettings
from pipeline.source.normalize import Normalizer
from pipeline.source.scene import Scene
from pipeline.window import LookaheadWindow

CLIPS = (
    "intel_one-by-one-person-detection.mp4",
    "foreman_cif_BA1_FT_C.264",
    "intel_bottle-detection.mp4",
    "intel_car-detection.mp4",
    "sam2_cups.mp4",
    "vtest_pets2009_480x360.avi",
)
ENTRY_FRAMES = 3
COVERED = 0.5  # share of a true face's box that some box of the run must overlap


@dataclass(frozen=True, slots=True)
class GatingRow:
    """One clip, gate on or off."""

    clip: str
    gate: bool
    frames: int
    looks: int
    true_face_frames: int
    missed_face_frames: int
    entries: int
    missed_entries: int  # not covered in one of its first frames
    detection_share: float  # of detection, decoding and encoding, in CPU time


class _Recorder(Gate):
    """Notes the boxes of each frame instead of showing it."""

    def __init__(self) -> None:
        super().__init__("gating", lambda _planes, _faces: [])
        self.boxes: list[list[FaceBox]] = []

    def protect(
        self,
        frame: RawFrame,
        faces: Sequence[FaceBox],
        zones: Zones,
        *,
        follows_cut: bool = False,
    ) -> ProtectedFrame:
        """See Gate."""
        del zones, follows_cut
        self.boxes.append(list(faces))
        return self.redact(frame, "only measured")


def frames_of(path: Path) -> list[RawFrame]:
    """All pictures of a clip, on a 25 Hz clock."""
    normalize = Normalizer(path.name)
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        base = 1 / Fraction(stream.average_rate or 25)
        return [
            RawFrame(normalize(image), index, index, base, 0)
            for index, image in enumerate(container.decode(stream))
        ]


def empty_scene(path: Path) -> None:
    """A made 720p clip of a still room under sensor noise, a minute long."""
    room = planes_of(Scene(width_px=1280, height_px=720, fps=25, faces=0, seed=3).render(0))
    i420 = np.concatenate([plane.reshape(-1) for plane in (room.y, room.u, room.v)])
    rng = np.random.default_rng(5)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        stream.options = {"preset": "ultrafast", "crf": "20"}
        for _ in range(25 * 60):
            noise = rng.integers(-6, 7, i420.shape, np.int8)
            picture = np.clip(i420.astype(np.int16) + noise, 0, 255).astype(np.uint8)
            image = av.VideoFrame.from_ndarray(picture.reshape(1080, 1280), format="yuv420p")
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))


def truth_of(frames: list[RawFrame], settings: DetectorSettings) -> tuple[list[Detections], float]:
    """The sure faces of every frame, and the CPU milliseconds of one look."""
    detector = open_detector(settings)
    started = time.process_time()
    found = [detector.detect([detector.prepare(planes_of(f.image))])[0] for f in frames]
    cost_ms = (time.process_time() - started) / len(frames) * 1e3
    return [d.take(d.score >= settings.sure_score) for d in found], cost_ms


def boxes_and_looks(frames: list[RawFrame], *, gate: bool) -> tuple[list[list[FaceBox]], int]:
    """Boxes per frame, and how often the network looked."""
    settings = DetectorSettings()
    service = build_service(settings)
    recorder = _Recorder()
    try:
        window = LookaheadWindow(
            "gating",
            protect=ProtectSettings(gate=gate),
            detector=settings,
            service=service,
            gate=recorder,
            zones=Zones(),
            fps=Fraction(25),
        )
        for frame in frames:
            window.add(frame)
        window.flush()
    finally:
        service.close()
    return recorder.boxes, window.looks


def missed(truth: list[Detections], boxes: list[list[FaceBox]]) -> int:
    """True faces of which less than half is inside the boxes of the run."""
    return sum(_missed_in(found, covered) for found, covered in zip(truth, boxes, strict=True))


def entries(truth: list[Detections], boxes: list[list[FaceBox]]) -> tuple[int, int]:
    """(times that faces came into an empty picture, times that one was not covered at once)."""
    seen = lost = 0
    index = 0
    while index < len(truth):
        length = 0
        while index + length < len(truth) and len(truth[index + length]):
            length += 1
        if length >= ENTRY_FRAMES:
            seen += 1
            start = range(index, index + ENTRY_FRAMES)
            lost += any(_missed_in(truth[frame], boxes[frame]) for frame in start)
        index += max(length, 1)
    return seen, lost


def _missed_in(found: Detections, covered: list[FaceBox]) -> int:
    count = 0
    for x1, y1, x2, y2 in found.box_xyxy_px:
        area = max((x2 - x1) * (y2 - y1), 1.0)
        best = 0.0
        for box in covered:
            left, top, right, bottom = box.box_xyxy_px
            overlap = max(min(x2, right) - max(x1, left), 0.0)
            overlap *= max(min(y2, bottom) - max(y1, top), 0.0)
            best = max(best, overlap / area)
        count += best < COVERED
    return count


def bare_cost_ms(path: Path, frames: int) -> float:
    """CPU milliseconds a frame of decoding and encoding alone, as `bauta protect` encodes."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        encoder = av.CodecContext.create("libx264", "w")
        assert isinstance(encoder, av.VideoCodecContext)
        encoder.width, encoder.height = stream.width // 2 * 2, stream.height // 2 * 2
        encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 25)
        encoder.options = {"preset": "veryfast", "tune": "zerolatency", "crf": "23"}
        started = time.process_time()
        for index, image in enumerate(container.decode(stream)):
            image.pts, image.time_base = index, Fraction(1, 25)
            image.pict_type = PictureType.NONE
            encoder.encode(image)
        return (time.process_time() - started) / frames * 1e3


def measure(path: Path) -> list[GatingRow]:
    """Both rows of one clip."""
    frames = frames_of(path)
    truth, look_ms = truth_of(frames, DetectorSettings())
    bare_ms = bare_cost_ms(path, len(frames))
    rows = []
    for gate in (False, True):
        boxes, looks = boxes_and_looks(frames, gate=gate)
        detection_ms = looks * look_ms / len(frames)
        rows.append(
            GatingRow(
                clip=path.name,
                gate=gate,
                frames=len(frames),
                looks=looks,
                true_face_frames=sum(map(len, truth)),
                missed_face_frames=missed(truth, boxes),
                entries=entries(truth, boxes)[0],
                missed_entries=entries(truth, boxes)[1],
                detection_share=round(detection_ms / (detection_ms + bare_ms), 3),
            )
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> int:
    """Without recorded clips only the made scene is measured."""
    parser = argparse.ArgumentParser(prog="bauta bench gating", description=__doc__)
    parser.add_argument("--json", action="store_true", help="JSON alone on stdout")
    options = parser.parse_args(arguments)
    default = Path(__file__).resolve().parents[2] / "shared" / "testdata"
    videos = Path(os.environ.get("BAUTA_TESTDATA", default)) / "videos"
    clips = [videos / name for name in CLIPS if (videos / name).is_file()]
    av.logging.set_level(None)
    logging.disable(logging.WARNING)  # every frame is obscured here, and each says so
    rows = []
    if not options.json:
        print(f"{'clip':40} gate  frames looks  faces missed  entries missed  detection")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "made empty scene 720p.mp4"
        empty_scene(made)
        for clip in (made, *clips):
            for row in measure(clip):
                rows.append(row)
                if not options.json:
                    print(_line(row), flush=True)
    if options.json:
        print(json.dumps([asdict(row) for row in rows]))
    return 0


def _line(row: GatingRow) -> str:
    return (
        f"{row.clip:40} {'on' if row.gate else 'off':4} {row.frames:7} {row.looks:5} "
        f"{row.true_face_frames:6} {row.missed_face_frames:6}  {row.entries:7} "
        f"{row.missed_entries:6}  {row.detection_share:8.1%}"
    )


if __name__ == "__main__":
    sys.exit(main())
