"""Whole runs over clips with hard cuts and flashes: every face hidden, no id on both sides."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from pipeline.compose.gate import Gate, ProtectedFrame, Zones
from pipeline.detect.service import DetectionService
from pipeline.frames import FaceBox, RawFrame
from support.asserts import FloatArray, U8Array, assert_faces_hidden
from support.clips import Clip, decode_all, luma, paint_frames
from support.flow import pictures_of, run_file

SIZE = (640, 360)
CUTS = (22, 37)  # on no frame that would have been looked at anyway: 20, 24, 36, 40


def write_clip(path: Path, pictures: list[U8Array], truth: list[FloatArray]) -> Clip:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        stream.options = {"preset": "veryfast", "crf": "18"}
        for picture in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return Clip(
        path=path,
        truth=tuple(truth),
        pts=tuple(n / 25 for n in range(len(truth))),
        width=SIZE[0],
        height=SIZE[1],
        fps=Fraction(25),
        sizes=(SIZE,) * len(truth),
    )


@pytest.fixture
def spliced(tmp_path: Path) -> Clip:
    """Three shots with faces of other sizes at other places; the third is the first again."""
    pictures, truth = [], []
    shots = [(0, CUTS[0], 1, 80, 1), (0, CUTS[1] - CUTS[0], 2, 60, 7), (40, 20, 1, 80, 1)]
    for first, frames, faces, face_px, seed in shots:
        for picture, boxes in paint_frames(
            SIZE, frames, faces=faces, face_px=face_px, seed=seed, first=first
        ):
            pictures.append(picture)
            truth.append(boxes)
    return write_clip(tmp_path / "spliced.mp4", pictures, truth)


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[tuple[set[int], bool]]:
    """Of each frame that the gate protects: the ids of its faces, and whether it follows a cut."""
    seen: list[tuple[set[int], bool]] = []
    protect = Gate.protect

    def noted(
        self: Gate,
        frame: RawFrame,
        faces: Sequence[FaceBox],
        zones: Zones,
        *,
        follows_cut: bool = False,
    ) -> ProtectedFrame:
        seen.append(({face.track_id for face in faces if face.is_somebody}, follows_cut))
        return protect(self, frame, faces, zones, follows_cut=follows_cut)

    monkeypatch.setattr(Gate, "protect", noted)
    return seen


def assert_all_hidden(clip: Clip, out: Path) -> None:
    before, after = decode_all(clip.path), pictures_of(out)
    assert len(before) == len(after) == clip.frames
    for index, (old, shown, boxes) in enumerate(zip(before, after, clip.truth, strict=True)):
        assert_faces_hidden(luma(old), shown, boxes, where=f"frame {index}")


def test_faces_are_hidden_around_cuts_and_no_id_is_on_both_sides(
    service: DetectionService,
    spliced: Clip,
    told: list[tuple[set[int], bool]],
    tmp_path: Path,
) -> None:
    out = tmp_path / "out.mp4"
    session = run_file(service, spliced, out)

    assert not session.gate.redactions
    assert_all_hidden(spliced, out)
    assert [n for n, (_, cut) in enumerate(told) if cut] == [0, *CUTS]
    edges = [0, *CUTS, spliced.frames]
    shots = [
        set[int]().union(*(ids for ids, _ in told[first:end]))
        for first, end in itertools.pairwise(edges)
    ]
    assert all(shots)
    for index, ids in enumerate(shots):
        assert not ids & set[int]().union(*shots[index + 1 :])


def test_a_flash_shows_nobody_and_is_no_cut(
    service: DetectionService, told: list[tuple[set[int], bool]], tmp_path: Path
) -> None:
    painted = list(paint_frames(SIZE, 40, faces=1, face_px=80, seed=1))
    pictures = [picture for picture, _ in painted]
    for index in (18, 27):
        bright = pictures[index].astype(np.float32) * 1.6 + 20
        pictures[index] = np.clip(bright, 0, 255).astype(np.uint8)
    clip = write_clip(tmp_path / "flash.mp4", pictures, [boxes for _, boxes in painted])
    out = tmp_path / "out.mp4"
    run_file(service, clip, out)

    assert_all_hidden(clip, out)
    assert [n for n, (_, cut) in enumerate(told) if cut] == [0]
    assert {frozenset(ids) for ids, _ in told} == {frozenset({1})}


def test_a_flash_that_burns_everything_out_shows_nobody(
    service: DetectionService, tmp_path: Path
) -> None:
    """It looks like another scene; the face behind it must stay hidden all the same."""
    painted = list(paint_frames(SIZE, 40, faces=1, face_px=80, seed=1))
    pictures = [picture for picture, _ in painted]
    for index in (18, 19, 30):
        pictures[index] = np.clip(pictures[index].astype(int) * 8 + 150, 0, 255).astype(np.uint8)
    nobody = np.zeros((0, 4), np.float32)  # all is white there
    truth = [nobody if n in (18, 19, 30) else boxes for n, (_, boxes) in enumerate(painted)]
    clip = write_clip(tmp_path / "burnt.mp4", pictures, truth)
    out = tmp_path / "out.mp4"
    run_file(service, clip, out)
    assert_all_hidden(clip, out)
