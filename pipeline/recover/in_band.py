"""In-band recovery: a fused square and its key to the face (PRO-Face S, the way back)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from engines.fusion import FusionModel

from ..frames import Square, U8Array, YuvPlanes
from ..vault.secret_map import face_secrets

# A face's neighbouring pixels resemble each other; a wrong key, number or place opens noise. The
# shipped models, from 8 bits and after x264 at CRF 0, 18, 23: right keys 0.64 and up for faces of
# 112 px, 0.53 at 48 px, 0.31 at 32 px; wrong ones at most 0.26, 0.34 and 0.41.
LEAST_LIKENESS = 0.4
LEAST_LIKENESS_SMALL = 0.25  # noise that is shown does less harm than a face that is left out
SMALL_BLOCKS = 400


def recover_frame(
    planes: YuvPlanes, squares: Sequence[Square], keys: Sequence[bytes], model: FusionModel
) -> YuvPlanes:
    """A copy of a protected frame with the squares' originals in their places.

    `keys` are face keys (`vault.secret_map.face_key`), one for each square. A wrong one raises
    nothing: it gives noise. Raises ShapeError for squares outside, EngineError, ValueError.
    """
    whole = YuvPlanes(planes.y.copy(), planes.u.copy(), planes.v.copy())
    for square, face in zip(squares, open_squares(planes, squares, keys, model), strict=True):
        put_back(whole, square, face)
    return whole


def open_squares(
    planes: YuvPlanes, squares: Sequence[Square], keys: Sequence[bytes], model: FusionModel
) -> list[YuvPlanes]:
    """The originals of a frame's squares. ShapeError for those outside; see `open_parts`."""
    return open_parts([square.of(planes) for square in squares], keys, model)


def open_parts(
    parts: Sequence[YuvPlanes], keys: Sequence[bytes], model: FusionModel
) -> list[YuvPlanes]:
    """The originals of fused squares from their pixels, in their order.

    Those of one side are one run of the network. Raises EngineError, ValueError.
    """
    if len(parts) != len(keys):
        raise ValueError(f"{len(parts)} squares need as many keys, got {len(keys)}")
    sides = [part.size_px[0] for part in parts]
    opened: dict[int, YuvPlanes] = {}
    for side in sorted(set(sides)):
        places = [i for i, its in enumerate(sides) if its == side]
        secrets = face_secrets([keys[i] for i in places], model.spec, (side, side))
        luma, chroma = model.recover(
            (
                np.stack([parts[i].y for i in places])[:, None],
                np.stack([np.stack([parts[i].u, parts[i].v]) for i in places]),
            ),
            secrets,
        )
        for row, i in enumerate(places):
            opened[i] = YuvPlanes(luma[row, 0], chroma[row, 0], chroma[row, 1])
    return [opened[i] for i in range(len(parts))]


def put_back(planes: YuvPlanes, square: Square, face: YuvPlanes) -> None:
    """Write a square's original into writable planes."""
    target = square.of(planes)
    target.y[...], target.u[...], target.v[...] = face.y, face.u, face.v


def looks_like_a_face(luma: U8Array, block_px: int) -> bool:
    """Whether a square has opened, for models of the mode randwr. In doubt yes, for small ones."""
    is_small = luma.size < SMALL_BLOCKS * block_px**2
    least = LEAST_LIKENESS_SMALL if is_small else LEAST_LIKENESS
    return likeness(luma, block_px) >= least


def likeness(luma: U8Array, block_px: int) -> float:
    """How much neighbours resemble each other, -1 to 1: near 0 for noise. (H, W) luma.

    Looked at in blocks of `block_px`, the size of a scrambled coefficient: inside of one, noise is
    as smooth as a face.
    """
    height, width = (length // block_px * block_px for length in luma.shape)
    blocks = luma[:height, :width].reshape(height // block_px, block_px, -1, block_px)
    means = blocks.astype(np.float64).mean(axis=(1, 3))
    means -= means.mean()
    power = float((means**2).mean())
    if power < 1e-3:
        return 0.0  # one even level: no face
    across = float((means[:, 1:] * means[:, :-1]).mean())
    down = float((means[1:] * means[:-1]).mean())
    return (across + down) / (2 * power)


Progress = Callable[[int, int], None]
"""(done, of how many)"""
