"""Clips whose faces are fused at keyframes and grey in between, with the motions of their path."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from pipeline.frames import (
    MOTION_CELLS,
    CarriedFace,
    FusedFace,
    Motion,
    Square,
    YuvPlanes,
    planes_of,
)
from pipeline.in_band import ModelName, Sidecars
from pipeline.recover.video import FrameFaces
from pipeline.vault.clip_key import ClipKey
from pipeline.vault.secret_map import face_key, face_secrets

from .clips import paint_frames
from .fusion import SHA256, SPEC, rendered, scripted_model

SIZE = (480, 240)
FPS = 25
SIDE = 112  # of each face's square; the face itself is 64 px wide


@dataclass
class Made:
    """What the gate would have let out, without an encoder."""

    originals: list[av.VideoFrame] = field(default_factory=list)
    frames: list[av.VideoFrame] = field(default_factory=list)
    truth: list[NDArray[Any]] = field(default_factory=list)  # (N, 4) boxes
    lines: list[FrameFaces] = field(default_factory=list)

    def hidden_at(self, position: int) -> list[tuple[int, int, int]]:
        """The squares of a frame, fused or carried."""
        line = self.lines[position]
        return [f.square.xys_px for f in line.fused] + [f.motion.xys_px for f in line.carried]


def made(
    clip_key: bytes,
    frames: int,
    keyframes: Sequence[int],
    *,
    faces: int = 1,
    lost: int = 0,
    lost_before: int = 0,
) -> Made:
    """`lost`: numbers that a live stream dropped behind the gate before frame `lost_before`."""
    clip = Made()
    fused_last: dict[int, tuple[int, FusedFace, NDArray[Any]]] = {}
    for position, (rgb, boxes) in enumerate(paint_frames(SIZE, frames, faces=faces, face_px=64)):
        number = position + (lost if position >= lost_before else 0)
        original = rendered(rgb)
        original.pts, original.time_base = position, Fraction(1, FPS)
        image = copy_of(original)
        fused: list[FusedFace] = []
        carried: list[CarriedFace] = []
        for track_id, box in enumerate(boxes, start=1):
            if position in keyframes:
                x, y = (int((box[i] + box[i + 2] - SIDE) / 2) // 2 * 2 for i in (0, 1))
                face = FusedFace(track_id, Square(x, y, SIDE))
                fuse(planes_of(image), face.square, clip_key, number)
                fused_last[track_id] = number, face, box
                fused.append(face)
            else:
                key_number, face, key_box = fused_last[track_id]
                motion = shifted(key_number, face.square, box[:2] - key_box[:2])
                hide(planes_of(image), Square(*motion.xys_px))
                carried.append(CarriedFace(track_id, motion))
        clip.originals.append(original)
        clip.frames.append(image)
        clip.truth.append(boxes)
        clip.lines.append(FrameFaces(position, number, tuple(fused), tuple(carried)))
    return clip


def shifted(key_number: int, square: Square, shift_px: NDArray[Any]) -> Motion:
    """By whole pixels: the square goes by even ones, the grid has the rest."""
    whole = np.rint(shift_px).astype(int)
    even = whole // 2 * 2
    grid = np.zeros((MOTION_CELLS, MOTION_CELLS, 2), np.int16)
    grid[...] = 8 * (even - whole)
    here = (square.x_px + int(even[0]), square.y_px + int(even[1]), square.side_px)
    return Motion(key_number, square.xys_px, here, grid)


def fuse(planes: YuvPlanes, square: Square, clip_key: bytes, number: int) -> None:
    """By the scripted model into even grey, in place."""
    part = square.of(planes)
    faces = part.y[None, None].copy(), np.stack([part.u, part.v])[None]
    grey = tuple(np.full_like(plane, 120) for plane in faces)
    keys = [face_key(clip_key, number, square.xys_px)]
    secrets = face_secrets(keys, SPEC, (square.side_px, square.side_px))
    luma, chroma = scripted_model().protect(faces, grey, secrets)
    part.y[...], part.u[...], part.v[...] = luma[0, 0], chroma[0, 0], chroma[0, 1]


def hide(planes: YuvPlanes, square: Square) -> None:
    """Nothing but grey, in place."""
    part = square.of(planes)
    part.y[...], part.u[...], part.v[...] = 120, 128, 128


def copy_of(image: av.VideoFrame) -> av.VideoFrame:
    """With buffers of its own."""
    copy = av.VideoFrame.from_ndarray(image.to_ndarray(), format=image.format.name)
    copy.pts, copy.time_base = image.pts, image.time_base
    copy.make_writable()
    return copy


def encoded(path: Path, frames: Sequence[av.VideoFrame]) -> Path:
    """Without loss."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=FPS, options={"qp": "0"})
        stream.width, stream.height = SIZE
        for position, frame in enumerate(frames):
            image = copy_of(frame)
            image.pts, image.time_base = position, Fraction(1, FPS)
            container.mux(stream.encode(image))
        container.mux(stream.encode(None))
    return path


def write_sidecar(clip: Path, lines: Sequence[FrameFaces], key: ClipKey) -> Path:
    """Beside the clip, as a session writes it."""
    path = Path(f"{clip}.inband.jsonl")
    sidecars = Sidecars("cam", [path], ModelName(SPEC.name, SHA256), key, live=False)
    for line in lines:
        sidecars.note(
            number=line.number,
            pts_seconds=line.position / FPS,
            size_px=SIZE,
            fused=line.fused,
            carried=line.carried,
        )
    sidecars.close()
    return path
