"""How much protected faces change from frame to frame where the faces themselves only move.

The frame before is brought to where the face is now, by its true motion on made clips and by dense
flow of the originals on recorded ones; what then still differs in the square is what a viewer
sees as flicker. All variants are judged in the same squares: those of fusion in every frame.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from pipeline.frames import FloatArray, Square, YuvPlanes
from pipeline.in_band import KeyedFuser

from ._coding import through_codec
from ._face_clips import copied
from ._flow_runs import VARIANTS, BoxedClip, Shown, Variant, gate_for, run_boxes, settings_for

CRF = 23
GOP_SECONDS = 2.0
LEAST_PIXELS = 256
FLOW_MARGIN_PX = 24
FARTHEST_PX = 96  # a face that moves farther between two frames is not compared

Coding = str  # "8 bits" or "x264 CRF 23"
UNCODED, CODED = "8 bits", f"x264 CRF {CRF}"


Kind = Literal["carried", "keyframe", "let go", "plain"]
KINDS: tuple[Kind, ...] = ("carried", "keyframe", "let go", "plain")
"""What became of a face between two frames."""


@dataclass(slots=True)
class Changes:
    """Mean absolute changes of luma, one for each pair of frames and face, in 8-bit levels."""

    found: list[tuple[Kind, float]] = field(default_factory=list)

    def mean(self, kind: Kind | None = None) -> float | None:
        """Of one kind of pair, or of all."""
        values = [value for each, value in self.found if kind in (None, each)]
        return float(np.mean(values)) if values else None

    def share(self, kind: Kind) -> float:
        """How many pairs are of it."""
        return sum(each == kind for each, _ in self.found) / max(len(self.found), 1)


def kind_of(before: str | None, now: str | None) -> Kind:
    """By the states in both frames, see `Shown.state_of`."""
    if now == "fused":
        return "keyframe"
    if now == "carried":
        return "carried"
    return "plain" if before == "plain" else "let go"


@dataclass(frozen=True, slots=True)
class _Kept:
    """What is judged of one run: each face's square before and after coding, and what made it."""

    squares: list[list[Square]]
    lumas: list[list[NDArray[np.uint8]]] = field(repr=False)
    coded: list[list[NDArray[np.uint8]]] = field(repr=False)
    states: list[dict[int, str]] = field(repr=False)


def measure(clip: BoxedClip, fuser: KeyedFuser) -> dict[tuple[Variant, Coding], Changes]:
    """All variants of one clip."""
    tracks, squares = fused_squares(clip, fuser)
    kept = {variant: _keep(clip, variant, fuser, tracks, squares) for variant in VARIANTS}
    found = {(variant, how): Changes() for variant in VARIANTS for how in (UNCODED, CODED)}
    for index in range(1, len(clip.frames)):
        for place, track_id in enumerate(tracks[index]):
            if track_id not in tracks[index - 1] or index in clip.cuts:
                continue
            before = tracks[index - 1].index(track_id)
            now_square, then_square = squares[index][place], squares[index - 1][before]
            places = where_it_was(clip, index, track_id, now_square, then_square)
            if places is None:
                continue
            for variant, each in kept.items():
                for how, lumas in ((UNCODED, each.lumas), (CODED, each.coded)):
                    change = change_between(lumas[index - 1][before], lumas[index][place], places)
                    if change is None:
                        continue
                    kind = kind_of(
                        each.states[index - 1].get(track_id), each.states[index].get(track_id)
                    )
                    found[variant, how].found.append((kind, change))
    return found


def fused_squares(clip: BoxedClip, fuser: KeyedFuser) -> tuple[list[list[int]], list[list[Square]]]:
    """Of every frame the tracks that fusion in every frame fuses, and their squares."""
    tracks: list[list[int]] = []
    squares: list[list[Square]] = []
    for shown in run_boxes(clip, gate_for(settings_for("every frame"), fuser)):
        tracks.append([face.track_id for face in shown.frame.fused])
        squares.append([face.square for face in shown.frame.fused])
    return tracks, squares


def _keep(
    clip: BoxedClip,
    variant: Variant,
    fuser: KeyedFuser,
    tracks: Sequence[Sequence[int]],
    squares: list[list[Square]],
) -> _Kept:
    lumas: list[list[NDArray[np.uint8]]] = []
    states: list[dict[int, str]] = []

    def frames() -> Iterator[YuvPlanes]:
        for shown in run_boxes(clip, gate_for(settings_for(variant), fuser)):
            lumas.append([_luma(shown, square) for square in squares[shown.index]])
            states.append({track: shown.state_of(track) for track in tracks[shown.index]})
            yield copied(shown.protected)

    gop = max(1, round(GOP_SECONDS * clip.fps))
    stream = through_codec(frames(), squares, codec="x264", crf=CRF, gop=gop, fps=clip.fps)
    coded = [[square.y for square in frame.squares] for frame in stream.frames]
    return _Kept(squares, lumas, coded, states)


def _luma(shown: Shown, square: Square) -> NDArray[np.uint8]:
    return square.of(shown.protected).y.copy()


def where_it_was(
    clip: BoxedClip, index: int, track_id: int, now: Square, then: Square
) -> FloatArray | None:
    """(side, side, 2) for each pixel of the square its place in the square before, x and y."""
    if clip.places is not None:
        if track_id not in clip.places[index - 1] or track_id not in clip.places[index]:
            return None
        place, before = clip.places[index][track_id], clip.places[index - 1][track_id]
        return affine_places(place, before, now, then)
    return flow_places(clip.frames[index - 1], clip.frames[index], now, then)


def affine_places(
    place: NDArray[np.float64], before: NDArray[np.float64], now: Square, then: Square
) -> FloatArray:
    """By two affine maps of the same picture into the frames. Pixel centres lie at halves."""
    inverse = np.linalg.inv(np.vstack([place, [0, 0, 1]]))
    whole = before @ inverse
    along = np.arange(now.side_px) + 0.5
    xs, ys = np.meshgrid(along + now.x_px, along + now.y_px)
    from_x = whole[0, 0] * xs + whole[0, 1] * ys + whole[0, 2] - then.x_px - 0.5
    from_y = whole[1, 0] * xs + whole[1, 1] * ys + whole[1, 2] - then.y_px - 0.5
    return np.stack([from_x, from_y], axis=-1).astype(np.float32)


def flow_places(
    before: YuvPlanes, planes: YuvPlanes, now: Square, then: Square
) -> FloatArray | None:
    """By dense flow of the originals, both squares laid over each other first."""
    shift = then.x_px - now.x_px, then.y_px - now.y_px
    if max(map(abs, shift)) > FARTHEST_PX:
        return None
    here = _cut(planes.y, now.x_px, now.y_px, now.side_px)
    there = _cut(before.y, now.x_px + shift[0], now.y_px + shift[1], now.side_px)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow: NDArray[Any] = dis.calc(here, there, np.zeros(0, np.float32))
    inner = flow[FLOW_MARGIN_PX:-FLOW_MARGIN_PX, FLOW_MARGIN_PX:-FLOW_MARGIN_PX]
    along = np.arange(now.side_px, dtype=np.float32)
    places = np.stack(np.meshgrid(along, along), axis=-1)
    return np.asarray(places + inner, np.float32)


def _cut(luma: NDArray[np.uint8], x: int, y: int, side: int) -> NDArray[np.uint8]:
    margin = FLOW_MARGIN_PX
    wide = cv2.copyMakeBorder(luma, *(margin + FARTHEST_PX,) * 4, borderType=cv2.BORDER_REPLICATE)
    top, left = y + FARTHEST_PX, x + FARTHEST_PX
    part = wide[top : top + side + 2 * margin, left : left + side + 2 * margin]
    return np.ascontiguousarray(part, np.uint8)


def change_between(
    then: NDArray[np.uint8], now: NDArray[np.uint8], places: FloatArray
) -> float | None:
    """Mean absolute difference where both frames show the place; None where too little is left."""
    height, width = then.shape
    moved = cv2.remap(
        then.astype(np.float32),
        places[..., 0],
        places[..., 1],
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    inside = (
        (places[..., 0] >= 0)
        & (places[..., 1] >= 0)
        & (places[..., 0] <= width - 1)
        & (places[..., 1] <= height - 1)
    )
    if int(inside.sum()) < LEAST_PIXELS:
        return None
    return float(np.abs(now.astype(np.float32) - moved)[inside].mean())
