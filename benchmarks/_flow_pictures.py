"""Pictures to look at: the original, fusion in every frame, and what is carried, side by side."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np

from pipeline.frames import FloatArray, YuvPlanes
from pipeline.in_band import KeyedFuser

from ._face_clips import rgb_of_planes
from ._flow_runs import BoxedClip, Variant, gate_for, run_boxes, settings_for
from ._sheets import contact_sheet
from ._similarity import U8

CELL_PX = 176
SHEET_FRAMES = (0, 3, 6, 10, 14, 18, 22, 24)  # since the first keyframe; the next one is at 25
ROOM = 2.0  # of the face's box
SHOWN: tuple[Variant, ...] = ("every frame", "propagated")


def strips(clip: BoxedClip, fuser: KeyedFuser) -> dict[str, U8]:
    """(N, CELL, CELL, 3) by title, around the clip's first face."""
    track = clip.faces[0][0].track_id
    boxes = [
        next((face.box_xyxy_px for face in faces if face.track_id == track), None)
        for faces in clip.faces
    ]
    found: dict[str, list[U8]] = {"original": []}
    for planes, box in zip(clip.frames, boxes, strict=True):
        if box is not None:
            found["original"].append(_around(planes, box))
    for variant in SHOWN:
        cells = found[variant] = []
        for shown in run_boxes(clip, gate_for(settings_for(variant), fuser)):
            box = boxes[shown.index]
            if box is not None:
                cells.append(_around(shown.protected, box))
    return {title: np.stack(cells) for title, cells in found.items()}


def _around(planes: YuvPlanes, box_xyxy_px: FloatArray) -> U8:
    """The face, always as large: what moves is what is not carried along with it."""
    rgb = rgb_of_planes(planes)
    centre = (box_xyxy_px[:2] + box_xyxy_px[2:]) / 2
    side = float((box_xyxy_px[2:] - box_xyxy_px[:2]).max()) * ROOM
    scale = CELL_PX / side
    to_cell = np.array(
        [
            [scale, 0, CELL_PX / 2 - scale * float(centre[0])],
            [0, scale, CELL_PX / 2 - scale * float(centre[1])],
        ]
    )
    cell = cv2.warpAffine(rgb, to_cell, (CELL_PX, CELL_PX), flags=cv2.INTER_AREA)
    return np.asarray(cell, np.uint8)


def save_sheet(clips: Sequence[BoxedClip], fuser: KeyedFuser, path: Path) -> None:
    """A column for each clip and variant, a row for each of SHEET_FRAMES."""
    columns = []
    for clip in clips:
        found = strips(clip, fuser)
        rows = [frame for frame in SHEET_FRAMES if frame < len(found["original"])]
        columns += [(f"{clip.name}, {title}", cells[rows]) for title, cells in found.items()]
    contact_sheet(columns, path)


def save_clip(clips: Sequence[BoxedClip], fuser: KeyedFuser, path: Path) -> None:
    """One clip after the other, three cells beside each other."""
    wide: list[U8] = []
    for clip in clips:
        found = strips(clip, fuser)
        least = min(len(cells) for cells in found.values())
        wide += list(np.concatenate([cells[:least] for cells in found.values()], axis=2))
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(25), options={"crf": "16"})
        assert isinstance(stream, av.VideoStream)
        stream.width, stream.height, stream.pix_fmt = wide[0].shape[1], wide[0].shape[0], "yuv420p"
        for picture in wide:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
