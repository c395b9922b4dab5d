"""The pixels of a made scene: one room, and people cut from a portrait.

The portrait is `skimage.data.astronaut()` (NASA, public domain), which ships with scikit-image.
All colours leave this file as BT.709 limited-range planes.
"""

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from skimage import data

U8Array = NDArray[np.uint8]
U16Array = NDArray[np.uint16]
F32Array = NDArray[np.float32]

# The portrait, in pixels of the 512x512 picture.
_BUST_XYXY_PX = (50, 8, 362, 312)
_FACE_XYXY_PX = (181, 60, 270, 179)  # hairline to chin, ear to ear
_COLLAR_Y_PX = 182  # everything below is clothing
_OUTLINE_XY_PX = (
    (230, 17), (260, 21), (281, 39), (294, 60), (299, 85), (293, 110), (276, 131), (266, 138),
    (263, 155), (257, 171), (270, 181), (284, 196), (296, 216), (303, 238), (330, 254),
    (342, 276), (352, 312), (58, 312), (62, 248), (76, 236), (112, 214), (118, 190), (131, 167),
    (146, 155), (165, 150), (186, 150), (182, 132), (172, 122), (162, 112), (156, 90), (155, 66),
    (167, 49), (189, 37), (201, 26), (215, 19),
)  # fmt: skip


class Look(NamedTuple):
    """How one person differs from the portrait."""

    face_height: float  # of the frame's height
    flipped: bool
    gamma: float  # above 1 darkens
    gain_rgb: tuple[float, float, float]
    clothes_hue_shift: int  # OpenCV hue steps of 2 degrees


class Patch(NamedTuple):
    """One plane of a cut-out: the result is (weighted + background * keep) / 256."""

    weighted: U16Array  # alpha * value * 256
    keep: U16Array  # (1 - alpha) * 256


class CutOut(NamedTuple):
    """A person in the final size, ready to be pasted."""

    # By (y parity, x parity) of the corner, so that chroma stays registered at odd positions:
    # the three planes, padded to even sides.
    patches: dict[tuple[int, int], tuple[Patch, Patch, Patch]]
    face_xyxy_px: tuple[float, float, float, float]  # inside the cut-out


def draw_room(width_px: int, height_px: int, random: np.random.Generator) -> tuple[U8Array, ...]:
    """Luma (H, W) and two chromas (H/2, W/2) of an empty room; both sides must be even."""
    luma, chroma_b, chroma_r = _yuv444(_room_rgb(width_px, height_px, random))
    planes = (luma, _halve(chroma_b), _halve(chroma_r))
    return tuple(np.rint(plane).astype(np.uint8) for plane in planes)


def cut_out(look: Look, frame_height_px: int) -> CutOut:
    """A person whose face is `look.face_height` of the frame's height."""
    left, top, right, bottom = _BUST_XYXY_PX
    portrait: U8Array = data.astronaut()  # (512, 512, 3) RGB
    rgb = portrait[top:bottom, left:right]
    collar = _COLLAR_Y_PX - top
    hsv = cv2.cvtColor(rgb[collar:], cv2.COLOR_RGB2HSV)
    hsv[..., 0] = (hsv[..., 0].astype(np.int64) + look.clothes_hue_shift) % 180
    hsv[..., 1] = np.rint(hsv[..., 1] * 0.6)  # signal orange is rare indoors, and so is its green
    toned = np.concatenate([rgb[:collar], cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)]) / 255.0
    toned = np.clip(toned**look.gamma * np.array(look.gain_rgb), 0, 1) * 255

    outline = np.array(_OUTLINE_XY_PX, dtype=np.int32) - np.array([left, top], dtype=np.int32)
    mask = cv2.fillPoly(np.zeros(rgb.shape[:2], dtype=np.float32), [outline], [1.0])
    mask = cv2.GaussianBlur(cv2.erode(mask, np.ones((3, 3))), (0, 0), 2.0)
    waist_fade = np.clip(np.arange(bottom - top, 0, -1) / 40.0, 0, 1)
    mask = mask * waist_fade[:, None]

    face_x1, face_y1, face_x2, face_y2 = _FACE_XYXY_PX
    scale = look.face_height * frame_height_px / (face_y2 - face_y1)
    width_px, height_px = round((right - left) * scale), round((bottom - top) * scale)
    rgba = np.dstack([toned, mask]).astype(np.float32)
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    rgba = np.asarray(cv2.resize(rgba, (width_px, height_px), interpolation=method))
    x1, x2 = ((v - left) * width_px / (right - left) for v in (face_x1, face_x2))
    y1, y2 = ((v - top) * height_px / (bottom - top) for v in (face_y1, face_y2))
    if look.flipped:
        rgba, x1, x2 = rgba[:, ::-1], width_px - x2, width_px - x1
    patches = {(py, px): _weigh(rgba, py, px) for py in (0, 1) for px in (0, 1)}
    return CutOut(patches, (x1, y1, x2, y2))


def _weigh(rgba: F32Array, pad_y: int, pad_x: int) -> tuple[Patch, Patch, Patch]:
    """The planes of an (h, w, 4) cut-out that starts pad pixels after an even position."""
    height_px, width_px = rgba.shape[:2]
    even = ((pad_y, (height_px + pad_y) % 2), (pad_x, (width_px + pad_x) % 2), (0, 0))
    padded = np.pad(rgba, even)
    alpha = padded[..., 3]
    quarter = _halve(alpha)
    luma, chroma_b, chroma_r = _yuv444(padded[..., :3])

    def patch(weighted: F32Array, alpha: F32Array) -> Patch:
        return Patch(
            np.rint(weighted * 256).astype(np.uint16), np.rint((1 - alpha) * 256).astype(np.uint16)
        )

    # Chroma is averaged after weighting: what is outside the outline must not tint its rim.
    return (
        patch(luma * alpha, alpha),
        patch(_halve(chroma_b * alpha), quarter),
        patch(_halve(chroma_r * alpha), quarter),
    )


def _halve(plane: F32Array) -> F32Array:
    height_px, width_px = plane.shape
    quads = plane.reshape(height_px // 2, 2, width_px // 2, 2)
    return np.asarray(quads.mean(axis=(1, 3)), dtype=np.float32)


def _yuv444(rgb: F32Array) -> tuple[F32Array, ...]:
    """BT.709 limited-range planes (h, w), unrounded, of (h, w, 3) RGB in 0..255."""
    luma = rgb @ np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)
    scaled = np.float32(219 / 255)
    chroma = np.float32(224 / 255)
    return (
        16 + luma * scaled,
        128 + (rgb[..., 2] - luma) * (chroma / np.float32(1.8556)),  # 2 * (1 - 0.0722)
        128 + (rgb[..., 0] - luma) * (chroma / np.float32(1.5748)),  # 2 * (1 - 0.2126)
    )


def _room_rgb(width_px: int, height_px: int, random: np.random.Generator) -> F32Array:
    """A wall with a door, a picture and two lamps over a floor: (H, W, 3) RGB in 0..255."""
    x = (np.arange(width_px, dtype=np.float32) / width_px)[None, :, None]
    y = (np.arange(height_px, dtype=np.float32) / height_px)[:, None, None]
    wall = np.array([176, 172, 160], dtype=np.float32) * (1.08 - 0.22 * y - 0.12 * x)
    planks = 1 + 0.05 * np.sign(np.sin(40 * (x - 0.5) / (y - 0.35).clip(0.05)))
    floor = np.array([112, 92, 74], dtype=np.float32) * (0.55 + 0.6 * y) * planks
    room = np.where(y < 0.74, wall, floor).astype(np.float32)

    def box(x1: float, y1: float, x2: float, y2: float, rgb: tuple[int, int, int]) -> None:
        corners = (
            (round(x1 * width_px), round(y1 * height_px)),
            (
                round(x2 * width_px),
                round(y2 * height_px),
            ),
        )
        cv2.rectangle(room, *corners, rgb, cv2.FILLED)

    box(0.0, 0.735, 1.0, 0.755, (92, 84, 76))  # skirting board
    box(0.055, 0.26, 0.175, 0.74, (96, 72, 54))  # door frame
    box(0.063, 0.275, 0.167, 0.74, (138, 106, 78))
    box(0.152, 0.5, 0.16, 0.52, (200, 186, 140))  # handle
    box(0.58, 0.12, 0.75, 0.27, (70, 62, 56))  # picture
    box(0.588, 0.134, 0.742, 0.256, (118, 140, 150))
    box(0.588, 0.205, 0.742, 0.256, (92, 112, 84))
    for lamp_x in (0.42, 0.91):
        glow = np.exp(-(((x - lamp_x) / 0.10) ** 2) - ((y - 0.16) / 0.16) ** 2)
        room += np.array([58, 50, 30], dtype=np.float32) * glow
        box(lamp_x - 0.012, 0.11, lamp_x + 0.012, 0.17, (245, 232, 200))
    stains = cv2.resize(
        random.normal(0, 3.0, (18, 32)).astype(np.float32),
        (width_px, height_px),
        interpolation=cv2.INTER_CUBIC,
    )
    grain = random.normal(0, 1.5, (height_px, width_px)).astype(np.float32)
    return np.clip(room + np.asarray(stains + grain)[..., None], 0, 255).astype(np.float32)
