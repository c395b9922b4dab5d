"""A face as the product hides it: the region around its box, the patch, the mixing, and for keyed
protectors the square in which it is fused.

A crop stands in a frame of twice its side, so that the region has room. Recognizers and attackers
get the crop's part of the protected frame, in one of two ways: whole, with what the region leaves
of hair, clothes and place; or the region alone, everything else being one grey, for protected and
for clear pictures alike. Then what is found was found by what protection let through, and plain
grey over the face is the same picture for everybody.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
from numpy.typing import NDArray

from engines import EngineError
from engines.fusion import FusionModel
from engines.train.data import FACE_PX
from pipeline.build import open_fusion_model
from pipeline.compose.blend import write_patch
from pipeline.frames import FaceBox, FacePatch, FrameMoment, Square, YuvPlanes
from pipeline.protect.choose import make_patches
from pipeline.protect.fuse import FaceFusion, Picture
from pipeline.protect.region import Region, region_of
from pipeline.settings import ProtectSettings

from . import _fusion
from ._face_clips import planes_of_rgb, rgb_of_planes
from ._flow_scenes import CENTRE_PX, HALF_PX
from ._similarity import F64, U8

UNSCALED = ("solid", "mask")  # nothing of the original is left: strength says nothing
# 0.1 is too mild for anybody: what an attack makes of it says whether the attack works at all
STRENGTHS = (0.1, 0.25, 0.5, 1.0)
KEYED_OVER = ("pixelate", "noise", "solid", "mask")  # under a keyed protector: blur is no better
DEFAULT = ProtectSettings()
# From frame to frame a face moves by parts of a pixel, and its box is off by a few hundredths of
# its side, in place and in size: then pixelation has other cells.
MOVE_PX = 1.0
JITTER = 0.03
NEUTRAL = 128  # instead of what lies outside of the region
EDGE_PX = 3  # of the region's rim go as well: chroma and enlarging mix it with what is outside


@dataclass(frozen=True, slots=True)
class Setting:
    """One way to hide faces."""

    obfuscation: str
    strength: float | None = None  # None where it says nothing
    model: str | None = None  # of a keyed protector

    @property
    def name(self) -> str:
        """For people and for files."""
        strength = "" if self.strength is None else f" {self.strength:g}"
        return (f"{self.model}: " if self.model else "") + self.obfuscation + strength

    def settings(self) -> ProtectSettings:
        """As in a configuration, all else being the defaults."""
        return ProtectSettings.model_validate(
            {
                "protector": "proface-s" if self.model else "obfuscate",
                "obfuscation": self.obfuscation,
                "strength": DEFAULT.strength if self.strength is None else self.strength,
                "fusions_per_second": 10_000,  # every frame is a keyframe here
            }
        )


def all_settings(
    obfuscations: Sequence[str], strengths: Sequence[float], models: Sequence[str]
) -> list[Setting]:
    """Every obfuscation at every strength, and the keyed protectors at the default strength."""
    plain = [
        Setting(name, strength)
        for name in obfuscations
        for strength in ((None,) if name in UNSCALED else strengths)
    ]
    keyed = [
        Setting(name, None if name in UNSCALED else DEFAULT.strength, model)
        for model in models
        for name in obfuscations
        if name in KEYED_OVER
    ]
    return plain + keyed


class Protector:
    """Hides crops in one way. `seed` decides keys, moves and jitter."""

    def __init__(self, setting: Setting, *, crop_px: int, seed: int) -> None:
        """Raises EngineError where the model is not to be had."""
        self.setting = setting
        self._settings = setting.settings()
        self._crop_px = crop_px
        self._rng = np.random.default_rng([seed, 3])
        self._margin_px = crop_px // 4 * 2
        self._fusion: FaceFusion | None = None
        if setting.model is not None:
            fuser = RandomlyKeyed(open_fusion_model(setting.model, threads=1), self._rng)
            self._fusion = FaceFusion("bench", self._settings, fuser, _NobodyWaits(), live=False)
        self._frames = 0

    def hide(self, pictures: U8) -> U8:
        """(N, 112, 112, 3) whole crops, each in one frame, its box exactly where the face is."""
        still = (0.0, 0.0)
        return np.stack([self._hidden(each, still, still, 1.0, False) for each in pictures])

    def hide_in_motion(self, pictures: U8, frames: int) -> U8:
        """The mean of so many frames of each, laid over each other by who saw the face move.

        Only the region is shown, in every frame its own.
        """
        return region_alone(np.stack([self._mean(each, frames) for each in pictures]))

    def _mean(self, picture: U8, frames: int) -> U8:
        total = np.zeros(picture.shape, np.float64)
        for _ in range(frames):
            x, y = self._rng.uniform(-MOVE_PX, MOVE_PX, 2)
            off = self._rng.normal(0, JITTER, 2)
            grow = float(np.exp(self._rng.normal(0, JITTER)))
            move_px, wrong = (float(x), float(y)), (float(off[0]), float(off[1]))
            hidden = self._hidden(picture, move_px, wrong, grow, True)
            total += _moved(hidden, -x, -y)
        return np.rint(total / frames).astype(np.uint8)

    def _hidden(
        self,
        picture: U8,
        move_px: tuple[float, float],
        off: tuple[float, float],
        grow: float,
        alone: bool,
    ) -> U8:
        """`move_px` in the crop's 112 px; `off` and `grow` of the box, in box sides."""
        side, margin = self._crop_px, self._margin_px
        scale = side / FACE_PX
        small = _moved(picture, *move_px) if any(move_px) else picture
        if side != FACE_PX:
            small = resized(small, side, cv2.INTER_AREA)
        frame = cv2.copyMakeBorder(small, *(margin,) * 4, cv2.BORDER_REPLICATE)
        planes = planes_of_rgb(np.asarray(frame, np.uint8))
        half = scale * np.array(HALF_PX)
        centre = margin + scale * (np.array(CENTRE_PX) + move_px) + 2 * half * off
        patches = self._protect(planes, _face_at(centre, grow * half))
        protected = rgb_of_planes(planes)
        if alone:
            for patch in patches:
                protected[~_inner(patch, protected.shape[:2])] = NEUTRAL
        shown = protected[margin : margin + side, margin : margin + side]
        if side != FACE_PX:
            shown = resized(shown, FACE_PX, cv2.INTER_CUBIC)
        return shown

    def _protect(self, planes: YuvPlanes, face: FaceBox) -> list[FacePatch]:
        """The patches that say where the region is."""
        patches = make_patches(planes, [face], self._settings)
        over = []
        if self._fusion is not None:
            moment = FrameMoment(self._frames, float(self._frames), is_idr=True)
            self._frames += 1
            fused = self._fusion.fuse(planes, [face], patches, moment)
            if not fused:
                raise EngineError(f"not fused: {dict(self._fusion.not_fused)}")
            over = [patch for each in fused for patch in (each.ring, each.square)]
        for patch in (*patches, *over):
            write_patch(planes, patch, None)
        return patches


def region_alone(pictures: U8) -> U8:
    """(N, 112, 112, 3) pictures, clear ones too, with nothing beside the region."""
    return np.where(_still_region()[..., None], pictures, np.uint8(NEUTRAL))


@lru_cache(maxsize=1)
def _still_region() -> NDArray[np.bool_]:
    """(112, 112) of a face that does not move."""
    margin = FACE_PX // 2
    face = _face_at(margin + np.array(CENTRE_PX), np.array(HALF_PX))
    frame_px = (FACE_PX + 2 * margin,) * 2
    region = region_of(face, frame_px, grow=DEFAULT.grow, shape=DEFAULT.shape)
    assert region is not None
    inner = _inner(region, frame_px, EDGE_PX)
    return inner[margin : margin + FACE_PX, margin : margin + FACE_PX]


def _face_at(centre_px: F64, half_px: F64) -> FaceBox:
    box = np.concatenate([centre_px - half_px, centre_px + half_px])
    return FaceBox(0, box.astype(np.float32), 0.0)


def _inner(
    part: FacePatch | Region, frame_px: tuple[int, int], edge_px: int = 1
) -> NDArray[np.bool_]:
    """Where nothing of the original is left, and a rim less."""
    inside = np.zeros(frame_px, np.uint8)
    height, width = part.alpha.shape
    inside[part.y_px : part.y_px + height, part.x_px : part.x_px + width] = part.alpha == 255
    side = 2 * edge_px + 1
    return np.asarray(cv2.erode(inside, np.ones((side, side), np.uint8)), np.bool_)


def resized(picture: U8, side_px: int, interpolation: int) -> U8:
    """To a square."""
    return np.asarray(
        cv2.resize(picture, (side_px, side_px), interpolation=interpolation), np.uint8
    )


def _moved(picture: U8, x_px: float, y_px: float) -> U8:
    move = np.array([[1, 0, x_px], [0, 1, y_px]], np.float64)
    moved = cv2.warpAffine(
        picture, move, picture.shape[1::-1], flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(moved, np.uint8)


class RandomlyKeyed:
    """A `FaceFuser`: a fresh key for every face."""

    def __init__(self, model: FusionModel, rng: np.random.Generator) -> None:
        self.side_multiple_px = model.spec.layout.side_multiple_px
        self._model, self._rng = model, rng

    def fuse(
        self, original: Picture, obfuscated: Picture, number: int, squares: Sequence[Square]
    ) -> Picture:
        """See FaceFuser."""
        keys = _fusion.random_keys(len(squares), self._rng)
        secrets = _fusion.secrets_of(keys, self._model.spec, squares[0].side_px)
        return self._model.protect(original, obfuscated, secrets(slice(0, len(squares))))


class _NobodyWaits:
    def settle(self, track_id: int, *, fused_seconds: float | None = None) -> None:
        """See Waiting."""
