"""Face crops from a zip of aligned pictures, as batches of planes for training.

Every batch depends on the seed and the step alone: a run that was interrupted goes on as if it had
not been.
"""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import cv2
import numpy as np

from ..bands import U8, Planes
from ..base import EngineError
from ..fusion import with_head_room
from .obfuscators import Obfuscator, Picture
from .split import is_held_out

FACE_PX = 112


@dataclass(frozen=True, slots=True)
class FaceSet:
    """All faces of one side of the split, and where they come from."""

    i420: U8 = field(repr=False)  # (N, 168, 112): Y above U above V, BT.601
    identities: tuple[str, ...] = field(repr=False)  # (N,)
    source: str  # file name
    sha256: str  # of the file

    def __len__(self) -> int:
        return len(self.i420)

    def picture(self, index: int) -> Picture:
        """Planes of one face: (112, 112), (56, 56), (56, 56)."""
        return planes_of_i420(self.i420[index])


def load_faces(path: Path, *, held_out: bool) -> FaceSet:
    """Faces of 112x112, folder = identity, from a zip. Raises EngineError."""
    try:
        content = path.read_bytes()
        with zipfile.ZipFile(path) as archive:
            names = [
                name
                for name in sorted(archive.namelist())
                if name.lower().endswith((".jpg", ".png"))
                and is_held_out(PurePosixPath(name).parent.name) == held_out
            ]
            faces = [_decode(archive.read(name), name) for name in names]
    except (OSError, zipfile.BadZipFile) as error:
        raise EngineError(f"{path}: faces cannot be read ({error})") from error
    if not faces:
        raise EngineError(f"{path}: no face of the wanted side; expected IDENTITY/FACE.jpg inside")
    identities = tuple(PurePosixPath(name).parent.name for name in names)
    return FaceSet(np.stack(faces), identities, path.name, hashlib.sha256(content).hexdigest())


def _decode(encoded: bytes, name: str) -> U8:
    picture = cv2.imdecode(np.frombuffer(encoded, np.uint8), cv2.IMREAD_COLOR)
    if picture is None or picture.shape != (FACE_PX, FACE_PX, 3):
        raise EngineError(f"{name}: must be a picture of {FACE_PX}x{FACE_PX}")
    return cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420).astype(np.uint8, copy=False)


def planes_of_i420(i420: U8) -> Picture:
    """(3 H / 2, W) to Y (H, W), U, V (H/2, W/2), as views."""
    rows, width = i420.shape
    height = rows * 2 // 3
    quarter = height // 4
    half = (height // 2, width // 2)
    return (
        i420[:height],
        i420[height : height + quarter].reshape(half),
        i420[height + quarter :].reshape(half),
    )


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """B faces and their obfuscations with head-room, as picture batches (see BandLayout)."""

    original: tuple[U8, ...] = field(repr=False)
    obfuscated: tuple[U8, ...] = field(repr=False)


def draw_batch(
    faces: FaceSet,
    obfuscators: Sequence[Obfuscator],
    *,
    planes: Planes,
    batch: int,
    crop_px: int,
    rng: np.random.Generator,
) -> TrainingBatch:
    """Random faces, mirrored, enlarged and cropped; each obfuscated in its own random way."""
    pairs = []
    for _ in range(batch):
        face = faces.picture(int(rng.integers(len(faces))))
        if rng.random() < 0.5:
            face = _mirrored(face)
        if rng.random() < 0.3:  # nearer faces than the set has: smoother, coarser obfuscation
            face = _enlarged(face, 1 + float(rng.random()))
        hidden = obfuscators[int(rng.integers(len(obfuscators)))](face, rng)
        pairs.append(_crop(face, with_head_room(hidden), crop_px, rng))
    return TrainingBatch(
        stack([face for face, _ in pairs], planes), stack([hidden for _, hidden in pairs], planes)
    )


def stack(pictures: Sequence[Sequence[U8]], planes: Planes) -> tuple[U8, ...]:
    """Planes of B faces of one size to a picture batch."""
    if planes == "rgb":
        return (np.stack([_rgb(picture) for picture in pictures]),)
    luma = np.stack([picture[0] for picture in pictures])[:, None]
    chroma = np.stack([np.stack(picture[1:]) for picture in pictures])
    return luma, chroma


def _rgb(picture: Sequence[U8]) -> U8:
    width = picture[0].shape[1]
    i420 = np.concatenate([np.asarray(plane).reshape(-1, width) for plane in picture])
    rgb: U8 = np.asarray(cv2.cvtColor(i420, cv2.COLOR_YUV2RGB_I420), np.uint8)
    return rgb.transpose(2, 0, 1)


def _mirrored(face: Picture) -> Picture:
    y, u, v = (np.ascontiguousarray(plane[:, ::-1]) for plane in face)
    return y, u, v


def _enlarged(face: Picture, factor: float) -> Picture:
    side = int(FACE_PX * factor) // 4 * 4
    sizes = ((side, side), (side // 2, side // 2), (side // 2, side // 2))
    y, u, v = (
        cv2.resize(plane, size, interpolation=cv2.INTER_CUBIC).astype(np.uint8, copy=False)
        for plane, size in zip(face, sizes, strict=True)
    )
    return y, u, v


def _crop(
    face: Picture, hidden: Sequence[U8], crop_px: int, rng: np.random.Generator
) -> tuple[list[U8], list[U8]]:
    height, width = face[0].shape
    x = 2 * int(rng.integers((width - crop_px) // 2 + 1))
    y = 2 * int(rng.integers((height - crop_px) // 2 + 1))

    def cut(picture: Sequence[U8]) -> list[U8]:
        half = (slice(y // 2, (y + crop_px) // 2), slice(x // 2, (x + crop_px) // 2))
        luma = picture[0][y : y + crop_px, x : x + crop_px]
        return [luma, picture[1][half], picture[2][half]]

    return cut(face), cut(hidden)
