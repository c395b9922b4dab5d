"""`bauta recover --search`: from a clip and frame numbers to the places where faces were fused."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from engines.fusion import FusionModel

from .build import build_source, open_detector
from .frames import FaceBox, Square, YuvPlanes, planes_of
from .protect.choose import make_patches
from .protect.square import square_around
from .recover.in_band import Progress
from .recover.search import Found, search
from .settings import CameraSettings, DetectorSettings, ProtectSettings
from .source.base import DecodedFrame

KeyOf = Callable[[int, Square], bytes]
"""(position in the clip, square) to the key of a face fused there."""


def search_clip(
    clip: Path,
    positions: Sequence[int],
    around: Sequence[Square],
    key_of: KeyOf,
    model: FusionModel,
    *,
    reach_px: int,
    progress: Progress,
) -> list[tuple[int, Found]]:
    """The best place near each of `around`, in each of the frames; in their order.

    Without `around`, near each face that a detector still finds under its protection.
    """
    results: list[tuple[int, Found]] = []
    for position, planes in _pictures(clip, set(positions)):
        guesses = around or guess_squares(planes, model.spec.layout.side_multiple_px)
        for guess in guesses:
            found = search(
                planes,
                guess,
                partial(key_of, position),
                model,
                reach_px=reach_px,
                progress=progress,
            )
            if found is not None:
                results.append((position, found))
    return results


def guess_squares(planes: YuvPlanes, side_multiple_px: int) -> list[Square]:
    """Where a detector sees faces, as the squares in which they would be fused."""
    settings = DetectorSettings()
    detector = open_detector(settings)
    try:
        (seen,) = detector.detect([detector.prepare(planes)])
    finally:
        detector.close()
    faces = [FaceBox(n, box, 0.0) for n, box in enumerate(seen.box_xyxy_px)]
    patches = make_patches(planes, faces, ProtectSettings(obfuscation="solid"))
    squares = (square_around(patch, planes.size_px, side_multiple_px) for patch in patches)
    return [square for square in squares if isinstance(square, Square)]


def _pictures(clip: Path, positions: set[int]) -> list[tuple[int, YuvPlanes]]:
    """The planes of some frames; positions behind the end are left out."""
    source = build_source(CameraSettings(id="recover", source=str(clip)))
    found: list[tuple[int, YuvPlanes]] = []
    position = 0
    try:
        for item in source.read():
            if not isinstance(item, DecodedFrame):
                continue
            if position in positions:
                view = planes_of(item.image)
                found.append((position, YuvPlanes(view.y.copy(), view.u.copy(), view.v.copy())))
            if position >= max(positions):
                break
            position += 1
    finally:
        source.close()
    return found
