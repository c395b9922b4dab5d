"""Are cuts told from camera moves and changes of light?

Recorded clips, whose cuts were found by eye, frame after frame; and made from them: splices of two
clips brought to the same brightness and contrast, light that goes on or off by a gain, and cameras
that pan, zoom and shake. Costs are of one core.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import numpy.typing as npt

from benchmarks.clips import testdata
from benchmarks.report import Column, Report, Table, Value, add_output_options, progress
from pipeline.detect.activity import thumbnail
from pipeline.detect.scene_change import SceneChange, SceneWatch
from pipeline.frames import U8Array, planes_of
from pipeline.source.normalize import Normalizer
from pipeline.source.scene import Scene

KNOWN_CUTS = {"short_hamilton_clip_640x360.mp4": (20, 82, 211)}
LONGEST = 400  # frames of a clip
# x, y in px of 1280 wide between two frames, zoom, turn in degrees
MOVES = (
    (16, 0, 1.0, 0.0),  # 400 px/s at 25 frames/s
    (32, 16, 1.0, 0.0),
    (100, 0, 1.0, 0.0),
    (0, 0, 1.05, 0.0),
    (0, 0, 1.1, 0.0),
    (20, 10, 1.03, 2.0),
    (32, 32, 1.0, 3.0),
)
LIGHTS = ((1.6, 0), (2.5, 0), (4.0, 0), (0.4, 0), (0.2, 0), (1.0, 60))  # gain, levels

Pair = tuple[U8Array, U8Array]


def thumbs_of(path: Path) -> list[U8Array]:
    """Of the clip's first frames; damaged packets are left out."""
    normalize, thumbs = Normalizer(path.name), []
    with av.open(str(path)) as container:
        for packet in container.demux(container.streams.video[0]):
            try:
                images = packet.decode()
            except av.FFmpegError:
                continue
            for image in images:
                assert isinstance(image, av.VideoFrame)
                thumbs.append(thumbnail(planes_of(normalize(image))).copy())
            if len(thumbs) >= LONGEST:
                break
    return thumbs


def made_thumbs(seed: int) -> list[U8Array]:
    """Where there are no recorded clips."""
    scene = Scene(width_px=1280, height_px=720, fps=25, faces=3, seed=seed)
    return [thumbnail(planes_of(scene.render(index))).copy() for index in range(40)]


def clip_row(name: str, thumbs: list[U8Array]) -> dict[str, Value]:
    """What the watch says of a clip, frame by frame."""
    watch = SceneWatch()
    started = time.process_time()
    changes = [watch.observe(thumb) for thumb in thumbs]
    cost_ms = (time.process_time() - started) / len(thumbs) * 1e3
    known = set(KNOWN_CUTS.get(name, ()))
    cuts = {index for index, change in enumerate(changes) if change is SceneChange.CUT}
    return {
        "clip": name,
        "frames": len(thumbs),
        "known": len(known),
        "found": len(cuts & known),
        "false": len(cuts - known),
        "closer": sum(change is not SceneChange.LITTLE for change in changes),
        "ms": cost_ms,
    }


def judge(name: str, count: int, pair: Callable[[], Pair]) -> dict[str, Value]:
    """What is said of `count` pairs of one kind."""
    said: Counter[SceneChange] = Counter()
    cost = 0.0
    for _ in range(count):
        before, after = pair()
        watch = SceneWatch()
        watch.observe(before)
        started = time.process_time()
        said[watch.observe(after)] += 1
        cost += time.process_time() - started
    shares = {change.value: 100 * said[change] / count for change in SceneChange}
    return {"made": name, "pairs": count, **shares, "ms": cost / count * 1e3}


class Maker:
    """Pairs of thumbnails made from the clips."""

    def __init__(self, clips: dict[str, list[U8Array]], seed: int) -> None:
        self._clips = clips
        self._rng = np.random.default_rng(seed)

    def splice(self) -> Pair:
        """Two clips, the second at the brightness and contrast of the first."""
        first, second = self._rng.choice(sorted(self._clips), 2, replace=False)
        before, after = self._any(first), self._any(second)
        size = (before.shape[1], before.shape[0])
        scaled = cv2.resize(after, size, interpolation=cv2.INTER_AREA).astype(np.float32)
        gain = float(before.std()) / max(float(scaled.std()), 1.0)
        return before, _levels((scaled - scaled.mean()) * gain + before.mean())

    def lit(self, gain: float, levels: float) -> Pair:
        """Two frames in a row, the second under another light."""
        before, after = self._in_a_row()
        return before, _levels(after.astype(np.float32) * gain + levels)

    def moved(self, x: float, y: float, zoom: float, degrees: float) -> Pair:
        """Two frames in a row, the second by a camera that has moved; edges are cut off."""
        before, after = self._in_a_row()
        height, width = after.shape
        centre = (width / 2, height / 2)
        crop = cv2.getRotationMatrix2D(centre, 0, 1.25)
        move = cv2.getRotationMatrix2D(centre, degrees, 1.25 * zoom)
        move[:, 2] += np.array([x, y]) * width / 1280
        size = (width, height)
        return (
            np.asarray(cv2.warpAffine(before, crop, size), np.uint8),
            np.asarray(cv2.warpAffine(after, move, size), np.uint8),
        )

    def _any(self, name: str) -> U8Array:
        thumbs = self._clips[name]
        return thumbs[int(self._rng.integers(len(thumbs)))]

    def _in_a_row(self) -> Pair:
        name = str(self._rng.choice(sorted(self._clips)))
        thumbs = self._clips[name]
        index = int(self._rng.integers(1, len(thumbs)))
        if index in KNOWN_CUTS.get(name, ()):
            index -= 1
        return thumbs[index - 1], thumbs[index]


def _levels(picture: npt.NDArray[Any]) -> U8Array:
    return np.asarray(np.clip(picture, 0, 255), np.uint8)


def main(arguments: Sequence[str] | None = None) -> int:
    """Without recorded clips the made scenes take their place."""
    parser = argparse.ArgumentParser(prog="bauta bench scenes", description=__doc__)
    parser.add_argument("--pairs", type=int, default=300, metavar="N", help="of each made kind")
    add_output_options(parser)
    options = parser.parse_args(arguments)
    av.logging.set_level(None)
    cv2.setNumThreads(1)
    report = Report(
        "scenes",
        (
            Column("clip", "clip"),
            Column("frames", "frames"),
            Column("known", "cuts"),
            Column("found", "found"),
            Column("false", "false"),
            Column("closer", "looked closer"),
            Column("ms", "ms/frame", 3),
        ),
        {"pairs": options.pairs},
    )
    folder = testdata()
    paths = sorted((folder / "videos").iterdir()) if folder else []
    clips = {path.name: thumbs_of(path) for path in paths}
    if not clips:
        clips = {f"made {seed}": made_thumbs(seed) for seed in range(6)}
        report.notes.append("no recorded clips; set BAUTA_TESTDATA")
    report.rows += [clip_row(name, thumbs) for name, thumbs in clips.items()]
    progress("clips done")
    maker = Maker(clips, seed=1)
    made = Table(
        "said of made changes, %",
        (
            Column("made", "made"),
            Column("pairs", "pairs"),
            *(Column(change.value, change.value) for change in SceneChange),
            Column("ms", "ms/frame", 3),
        ),
    )
    made.rows.append(judge("splice, equal light", 10 * options.pairs, maker.splice))
    for gain, levels in LIGHTS:
        name = f"light x {gain:g} {levels:+d}"
        made.rows.append(judge(name, options.pairs, partial(maker.lit, gain, levels)))
    for move in MOVES:
        name = "move {} {} px, zoom {:g}, {:g} deg".format(*move)
        made.rows.append(judge(name, options.pairs, partial(maker.moved, *move)))
    report.more.append(made)
    report.finish(as_json=options.json, save_as=options.save_as)
    return 0


if __name__ == "__main__":
    sys.exit(main())
