"""Checks on decoded pictures: is the face gone, and is everything else still there."""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt

U8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float32]

# Fine detail is what is left after a blur of 4 % of the face width: eyes, lips, nostrils, brows.
DETAIL_SIGMA_FACES = 0.04
DETAIL_SIGMA_LEAST_PX = 1.0
# Below half a grey level rms there is nothing to see, only rounding and codec residue to correlate.
SEEN_LEAST_RMS_LEVELS = 0.5

# Measured on clips.make_clip, faces 24 to 200 px wide, 25 frames each, lowest to highest frame:
#   x264 of the whole picture   crf 18: 0.99 - 1.00   crf 23: 0.97 - 1.00   crf 33: 0.85 - 0.98
#   Gaussian blur of the face   sigma 2 %: 0.86 - 0.98   10 %: 0.34 - 0.47   20 %: 0.16 - 0.32
#   pixelated, cells across     16: 0.44 - 0.59   12: 0.20 - 0.41   8: 0.08 - 0.12   5: 0.01 - 0.05
#   lower half still open       0.65: a part left open counts with the root of its share
#   pixelated or filled, then x264 crf 23: at most 0.10 where there is anything to see
HIDDEN_MOST = 0.35
SHOWN_LEAST = 0.7


def face_visible(original_luma: U8Array, output_luma: U8Array, box_xyxy_px: FloatArray) -> float:
    """How much of the original's fine detail the output still shows inside the box, -1 to 1.

    Normalised cross-correlation of both pictures after a high-pass; 0 for a flat output. A box
    whose original has no detail raises ValueError: nothing could be told about it.
    Luma planes are (H, W), of one size.
    """
    _assert_same_size(original_luma, output_luma)
    x1, y1, x2, y2 = _clipped(box_xyxy_px, original_luma.shape)
    if x2 - x1 < 8 or y2 - y1 < 8:
        raise ValueError(f"box {box_xyxy_px.tolist()} leaves fewer than 8 px to compare")
    sigma_px = max(DETAIL_SIGMA_LEAST_PX, DETAIL_SIGMA_FACES * (x2 - x1))
    # Only pixels of the box take part: the background around a well hidden face is meant to match.
    before = _detail(original_luma[y1:y2, x1:x2], sigma_px)
    after = _detail(output_luma[y1:y2, x1:x2], sigma_px)
    energy_before, energy_after = float((before**2).sum()), float((after**2).sum())
    if energy_before < before.size * 1.0**2:  # under one grey level rms
        raise ValueError(f"the original shows no detail inside {box_xyxy_px.tolist()}")
    if energy_after < after.size * SEEN_LEAST_RMS_LEVELS**2:
        return 0.0
    return float((before * after).sum()) / float(np.sqrt(energy_before * energy_after))


def assert_faces_hidden(
    original_luma: U8Array,
    output_luma: U8Array,
    boxes_xyxy_px: FloatArray,
    *,
    most: float = HIDDEN_MOST,
    where: str = "",
) -> None:
    """No box may still show the original's detail; `where` names the frame in the message."""
    for box in np.asarray(boxes_xyxy_px, dtype=np.float32).reshape(-1, 4):
        seen = face_visible(original_luma, output_luma, box)
        assert seen < most, (
            f"{where or 'frame'}: the face at {box.round(1).tolist()} px is still visible:"
            f" detail correlation {seen:.3f}, must be below {most}"
        )


def assert_faces_shown(
    original_luma: U8Array,
    output_luma: U8Array,
    boxes_xyxy_px: FloatArray,
    *,
    least: float = SHOWN_LEAST,
    where: str = "",
) -> None:
    """The counterpart, for recovered faces and for proving that the measure has teeth."""
    for box in np.asarray(boxes_xyxy_px, dtype=np.float32).reshape(-1, 4):
        seen = face_visible(original_luma, output_luma, box)
        assert seen > least, (
            f"{where or 'frame'}: the face at {box.round(1).tolist()} px is not recognisable:"
            f" detail correlation {seen:.3f}, must be above {least}"
        )


def background_psnr_db(
    original_luma: U8Array,
    output_luma: U8Array,
    boxes_xyxy_px: FloatArray,
    *,
    margin: float = 0.6,
    spare: float = 0.0,
) -> float:
    """PSNR of everything further than `margin` box sides from every box; inf when identical.

    `spare`: this share of it, where it has changed most, is not counted.
    """
    _assert_same_size(original_luma, output_luma)
    outside = np.ones(original_luma.shape, dtype=np.bool_)
    for x1, y1, x2, y2 in np.asarray(boxes_xyxy_px, dtype=np.float32).reshape(-1, 4):
        pad_x, pad_y = (x2 - x1) * margin, (y2 - y1) * margin
        grown = np.array([x1 - pad_x, y1 - pad_y, x2 + pad_x, y2 + pad_y], dtype=np.float32)
        left, top, right, bottom = _clipped(grown, original_luma.shape)
        outside[top:bottom, left:right] = False
    if not outside.any():
        raise ValueError(f"margin {margin} leaves no background to compare")
    difference = original_luma[outside].astype(np.float64) - output_luma[outside]
    counted = round(difference.size * (1 - spare))
    error = float(np.partition(difference**2, counted - 1)[:counted].mean())
    return float("inf") if error == 0 else float(10 * np.log10(255.0**2 / error))


def assert_background_kept(
    original_luma: U8Array,
    output_luma: U8Array,
    boxes_xyxy_px: FloatArray,
    *,
    psnr_db: float = 30.0,
    margin: float = 0.6,
    spare: float = 0.0,
    where: str = "",
) -> None:
    got_db = background_psnr_db(
        original_luma, output_luma, boxes_xyxy_px, margin=margin, spare=spare
    )
    assert got_db >= psnr_db, (
        f"{where or 'frame'}: the background changed: {got_db:.1f} dB, must be at least {psnr_db}"
    )


def pixelated(picture: U8Array, box_xyxy_px: FloatArray, cells: int = 5) -> U8Array:
    """A copy whose box is averaged down to `cells` across; the plainest correct redaction."""
    result = picture.copy()
    x1, y1, x2, y2 = _clipped(box_xyxy_px, picture.shape)
    region = result[y1:y2, x1:x2]
    rows = max(1, round(cells * (y2 - y1) / (x2 - x1)))
    small = cv2.resize(region, (cells, rows), interpolation=cv2.INTER_AREA)
    big = cv2.resize(small, (x2 - x1, y2 - y1), interpolation=cv2.INTER_NEAREST)
    result[y1:y2, x1:x2] = big
    return result


def filled(picture: U8Array, box_xyxy_px: FloatArray, level: int = 128) -> U8Array:
    result = picture.copy()
    x1, y1, x2, y2 = _clipped(box_xyxy_px, picture.shape)
    result[y1:y2, x1:x2] = level
    return result


def _detail(region: U8Array, sigma_px: float) -> FloatArray:
    picture = region.astype(np.float32)
    detail = picture - cv2.GaussianBlur(picture, (0, 0), sigma_px)
    return np.asarray(detail - detail.mean(), dtype=np.float32)


def _clipped(box_xyxy_px: FloatArray, shape: Iterable[int]) -> tuple[int, int, int, int]:
    """The box in whole pixels, outward, cut at the picture's edge."""
    height, width = list(shape)[:2]
    x1, y1, x2, y2 = (float(value) for value in box_xyxy_px)
    return (
        max(0, int(np.floor(x1))),
        max(0, int(np.floor(y1))),
        min(width, int(np.ceil(x2))),
        min(height, int(np.ceil(y2))),
    )


def _assert_same_size(original_luma: U8Array, output_luma: U8Array) -> None:
    assert original_luma.ndim == 2 and original_luma.shape == output_luma.shape, (
        f"luma planes differ in size: {original_luma.shape} and {output_luma.shape}"
    )
