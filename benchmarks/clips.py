"""Pictures to measure on: made clips with a known number of faces, and recorded ones if present.

Made clips are encoded once and kept in a cache folder (BAUTA_BENCH_CACHE, else the system's
temporary folder). Recorded clips are short; their packets are repeated, not encoded again, until
the wished length is reached.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av

from pipeline.source.scene import Scene

from .report import progress

FPS = 25
_VERSION = 1  # raise it when the made pictures or their coding change: old caches are not used
_SEED = 1
# As a camera or a phone would have coded it: ordinary GOP, B-frames, visually good.
_CODING = {"preset": "fast", "crf": "21", "g": "50"}

RECORDED = {  # name to file under testdata/videos
    "street": "royal_opera_house_crowd_1080p.mp4",  # 1080p, 5-8 faces of 32-144 px
    "dog": "sam2_dog.mp4",  # 720p, handheld, nobody near
    "cups": "sam2_cups.mp4",  # 720p, no face at all
}
MADE = {"faces1": 1, "faces3": 3, "faces5": 5}
ALL = (*MADE, *RECORDED)


@dataclass(frozen=True, slots=True)
class Clip:
    """One file to measure on."""

    name: str
    path: Path
    frames: int


def cache_folder() -> Path:
    """Where made clips are kept between runs."""
    wish = os.environ.get("BAUTA_BENCH_CACHE")
    folder = Path(wish) if wish else Path(tempfile.gettempdir()) / "bauta-bench"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def testdata() -> Path | None:
    """The folder with recorded clips, stills and weights; None where there is none."""
    beside = Path(__file__).resolve().parents[2] / "shared" / "testdata"
    folder = Path(os.environ.get("BAUTA_TESTDATA") or beside)
    return folder if folder.is_dir() else None


def find_clips(names: Sequence[str], seconds: float) -> tuple[list[Clip], list[str]]:
    """The named clips at that length, and one note for each that is not to be had."""
    found: list[Clip] = []
    missing: list[str] = []
    for name in names:
        if name in MADE:
            found.append(made_clip(MADE[name], seconds))
        elif (clip := recorded_clip(name, seconds)) is not None:
            found.append(clip)
        else:
            missing.append(f"{name}: left out, no {RECORDED[name]}; set BAUTA_TESTDATA")
    return found, missing


def made_scene(faces: int, size_px: tuple[int, int] = (1920, 1080)) -> Scene:
    """The scene of the made clips; it knows where its faces are."""
    return Scene(width_px=size_px[0], height_px=size_px[1], fps=FPS, faces=faces, seed=_SEED)


def made_clip(faces: int, seconds: float, size_px: tuple[int, int] = (1920, 1080)) -> Clip:
    """A clip of the scene with that many faces."""
    frames = max(1, round(seconds * FPS))
    name = f"scene-{faces}faces-{size_px[0]}x{size_px[1]}-{frames}f-v{_VERSION}.mp4"

    def write(path: Path) -> None:
        progress(f"making {name} ({frames} frames, once)")
        scene = made_scene(faces, size_px)
        with av.open(str(path), "w", format="mp4") as container:
            stream = container.add_stream("libx264", rate=FPS, options=_CODING)
            assert isinstance(stream, av.VideoStream)
            stream.width, stream.height, stream.pix_fmt = *size_px, "yuv420p"
            for index in range(frames):
                picture = scene.render(index)
                picture.pts, picture.time_base = index, Fraction(1, FPS)
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))

    return Clip(f"faces{faces}", _cached(name, write), frames)


def recorded_clip(name: str, seconds: float) -> Clip | None:
    """A recorded clip, repeated or cut to the wished length; None without the test data."""
    folder = testdata()
    source = folder / "videos" / RECORDED[name] if folder else None
    if source is None or not source.is_file():
        return None
    with av.open(str(source)) as container:
        rate = container.streams.video[0].average_rate or Fraction(FPS)
    frames = max(1, round(seconds * rate))
    path = _cached(f"{name}-{frames}f-v{_VERSION}.mp4", lambda path: _repeat(source, path, frames))
    return Clip(name, path, frames)


def cut(clip: Clip, frames: int) -> Clip:
    """The clip's beginning."""
    if frames >= clip.frames:
        return clip
    path = _cached(
        f"{clip.path.stem}-first{frames}.mp4", lambda path: _repeat(clip.path, path, frames)
    )
    return Clip(clip.name, path, frames)


def _repeat(source: Path, target: Path, frames: int) -> None:
    """Copy packets, from the start again at the end, until there are `frames`; no audio."""
    with av.open(str(source)) as given, av.open(str(target), "w", format="mp4") as made:
        stream = given.streams.video[0]
        copy = made.add_stream_from_template(stream)
        done, offset = 0, 0
        while done < frames:
            given.seek(0)
            end = offset
            for packet in given.demux(stream):
                if packet.dts is None or packet.pts is None or done >= frames:
                    continue  # the flushing packet at the end, or more than wished
                duration = packet.duration or 0
                packet.dts += offset
                packet.pts += offset
                end = max(end, packet.pts + duration)  # by pts: B-frames' dts begin below zero
                packet.stream = copy
                made.mux(packet)
                done += 1
            offset = end


def _cached(name: str, write: Callable[[Path], None]) -> Path:
    """The file of that name; `write` makes it, whole or not at all."""
    path = cache_folder() / name
    if not path.is_file():
        part = path.with_suffix(f".{os.getpid()}.part")
        write(part)
        part.replace(path)
    return path
