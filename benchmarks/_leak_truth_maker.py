"""Where the faces of the recorded clips are: candidates from two detectors, sheets to look at.

    python -m benchmarks._leak_truth_maker [--clips NAME...] [--sheets DIR]

Writes truth/CLIP.json: boxes of every track in the frames looked at, and whether the detectors
agree on it. People decide about the others, in truth/verdicts.json; the sheets show each track in
some of its frames. Made once, and committed: boxes only, no pixels.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path

import av
import cv2
import numpy as np

from pipeline.frames import FloatArray

from . import clips
from ._leak_looks import Looks, looks_of
from ._leak_recorded import CLIPS, WITHOUT_FACES, RecordedClip, recorded_images, truth_path
from ._leak_tracks import AGREED_SCORES, Track, linked
from ._similarity import U8
from .report import progress

CELL_PX = 96
CELLS = 9  # pictures of a track
ROWS = 11  # tracks of a sheet
AROUND = 2.6  # of a box's side, to be seen around it
LABEL_PX = 150
GLIMPSE_LOOKS, GLIMPSE_SCORE = 3, 0.6
_INK, _PAPER = (0, 0, 0), 255
_BOX_RGB = (255, 40, 40)


def main(arguments: Sequence[str] | None = None) -> int:
    """All clips that are to be had, or the named ones."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", nargs="*", metavar="NAME", help="of the list; else all")
    parser.add_argument("--sheets", type=Path, metavar="DIR", help="also draw the tracks there")
    options = parser.parse_args(arguments)
    folder = clips.testdata()
    if folder is None:
        parser.error("there is no test data; set BAUTA_TESTDATA")
    os.environ.setdefault("BAUTA_MODELS", str(folder / "weights"))
    av.logging.set_level(None)
    for clip in CLIPS:
        path = folder / "videos" / clip.file
        if path.is_file() and (not options.clips or clip.name in options.clips):
            make(clip, path, options.sheets)
    return 0


def make(clip: RecordedClip, path: Path, sheets: Path | None) -> None:
    """The truth file of one clip, and its sheets."""
    if clip.name in WITHOUT_FACES:
        return
    looks = looks_of(path, clip.every, clip.most_frames)
    tracks = linked(looks.found, looks.cuts, clip.every)
    target = truth_path(clip)
    target.parent.mkdir(exist_ok=True)
    target.write_text(as_text(clip, looks, tracks), encoding="utf-8")
    agreed = sum(track.is_agreed for track in tracks)
    progress(f"{clip.name}: {len(tracks)} tracks, {agreed} agreed")
    if sheets is not None:
        sheets.mkdir(parents=True, exist_ok=True)
        draw(path, tracks, sheets / clip.name)


def as_text(clip: RecordedClip, looks: Looks, tracks: Sequence[Track]) -> str:
    """JSON, a track a line: a change shows as one."""
    head = {
        "file": clip.file,
        "size_px": looks.size_px,
        "frames": looks.frames,
        "looked_every": clip.every,
        "cuts": looks.cuts,
    }
    lines = [
        json.dumps(
            {
                "track": number,
                "sure_frames": track.sure_frames,
                "best": {name: round(track.best(name), 2) for name in AGREED_SCORES},
                "frame_xyxy_px": [
                    [frame, *np.round(sighting.box_xyxy_px.astype(float), 1).tolist()]
                    for frame, sighting in zip(track.frames, track.sightings, strict=True)
                ],
            }
        )
        for number, track in enumerate(tracks)
    ]
    body = ",\n".join(f"  {line}" for line in lines)
    return json.dumps(head)[:-1] + ', "tracks": [\n' + body + "\n]}\n"


def draw(path: Path, tracks: Sequence[Track], stem: Path) -> None:
    """Sheets of all tracks but glimpses, the doubtful ones first."""
    order = sorted(
        (number for number, track in enumerate(tracks) if not _is_glimpse(track)),
        key=lambda number: (tracks[number].is_agreed, number),
    )
    wanted: dict[int, list[tuple[int, int, FloatArray]]] = {}
    for number in order:
        track = tracks[number]
        chosen = np.unique(np.linspace(0, len(track.frames) - 1, CELLS).round().astype(int))
        for place, at in enumerate(chosen):
            box = track.sightings[at].box_xyxy_px
            wanted.setdefault(track.frames[at], []).append((number, place, box))
    cells: dict[tuple[int, int], U8] = {}
    for index, image in enumerate(recorded_images(path)):
        if index in wanted:
            rgb = np.asarray(image.to_ndarray(format="rgb24"), np.uint8)
            for number, place, box in wanted[index]:
                cells[number, place] = _cell(rgb, box)
    for sheet, start in enumerate(range(0, len(order), ROWS)):
        rows = [_row(number, tracks[number], cells) for number in order[start : start + ROWS]]
        picture = cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR)
        cv2.imwrite(f"{stem}-{sheet:02}.png", picture)


def _is_glimpse(track: Track) -> bool:
    """Too little to be worth anybody's look: it stays doubtful."""
    best = max(track.best(name) for name in AGREED_SCORES)
    return len(track.frames) < GLIMPSE_LOOKS and best < GLIMPSE_SCORE


def _cell(rgb: U8, box: FloatArray) -> U8:
    x1, y1, x2, y2 = map(float, box)
    side = AROUND * max(x2 - x1, y2 - y1)
    scale = CELL_PX / side
    left, top = (x1 + x2 - side) / 2, (y1 + y2 - side) / 2
    move = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    cell = cv2.warpAffine(rgb, move, (CELL_PX, CELL_PX), flags=way)
    gain = 128 / max(float(np.percentile(cell, 90)), 16)  # what is dark is made bright
    cell = np.clip(cell * max(gain, 1.0), 0, 255).astype(np.uint8)
    corners = [round((v - o) * scale) for v, o in ((x1, left), (y1, top), (x2, left), (y2, top))]
    cv2.rectangle(cell, tuple(corners[:2]), tuple(corners[2:]), _BOX_RGB, 1)
    return np.asarray(cell, np.uint8)


def _row(number: int, track: Track, cells: dict[tuple[int, int], U8]) -> U8:
    row = np.full((CELL_PX + 2, LABEL_PX + CELLS * (CELL_PX + 2), 3), _PAPER, np.uint8)
    x1, y1, x2, y2 = map(float, track.sightings[0].box_xyxy_px)
    lines = [
        f"{number} {'agreed' if track.is_agreed else 'DOUBTFUL'}",
        f"frames {track.frames[0]}-{track.frames[-1]}",
        f"{len(track.frames)} looks, {((x2 - x1) * (y2 - y1)) ** 0.5:.0f} px",
        f"at {x1:.0f},{y1:.0f}",
        *(f"{name} {track.best(name):.2f}" for name in AGREED_SCORES),
    ]
    for line, text in enumerate(lines):
        where = (2, 14 + 15 * line)
        cv2.putText(row, text, where, cv2.FONT_HERSHEY_SIMPLEX, 0.4, _INK, 1, cv2.LINE_AA)
    for place in range(CELLS):
        if (number, place) in cells:
            x = LABEL_PX + place * (CELL_PX + 2)
            row[:CELL_PX, x : x + CELL_PX] = cells[number, place]
    return row


if __name__ == "__main__":
    raise SystemExit(main())
