"""How far a runtime is from the reference (PyTorch, CPU, float32), and how far it may be.

Protected pictures are compared in 8-bit levels, as they leave the product; the float difference
beside them is in levels as well, before rounding. Recovery is compared on the reference's protected
picture, and by what the right key brings back after the runtime's own protection.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..bands import F32, U8, BandLayout
from ..base import Engine, EngineError
from ..fusion import FaceSecrets, FusionModel, FusionSpec, with_head_room

Cases = tuple[tuple[int, int, int], ...]  # (batch, height, width) in px

# the paper's size, a batch, odd multiples, the least, a large one
CASES = ((1, 112, 112), (3, 40, 56), (2, 24, 104), (1, 8, 8), (1, 152, 200))
CELLS = 7  # of the made obfuscation, across the picture


class Engines(NamedTuple):
    """All parts of one model on one runtime."""

    protect: Engine
    recover: Engine
    restore: Engine | None = None

    def close(self) -> None:
        """Free all."""
        for engine in self:
            if engine is not None:
                engine.close()


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What a runtime may differ by."""

    levels: int  # worst pixel of 255, in both directions
    recovery_loss_db: float  # PSNR of right-key recovery, in all cases together


TOLERANCES = {
    "eager-cpu": Tolerance(levels=0, recovery_loss_db=0.0),  # the reference itself
    "openvino": Tolerance(levels=1, recovery_loss_db=0.1),
    "eager-cuda": Tolerance(levels=1, recovery_loss_db=0.1),
    "tensorrt": Tolerance(levels=2, recovery_loss_db=0.1),  # float16 in the convolutions
}


@dataclass(frozen=True, slots=True)
class Parity:
    """One runtime against the reference."""

    runtime: str
    protect_levels: int  # worst difference of a protected pixel
    protect_float_levels: float
    recover_levels: int  # of a recovered one, from the same protected picture
    recover_float_levels: float
    recovery_db: float  # right key, 8-bit pictures, against the original
    reference_db: float

    @property
    def loss_db(self) -> float:
        """Positive where the runtime recovers worse than the reference."""
        return self.reference_db - self.recovery_db

    def holds(self, tolerance: Tolerance | None = None) -> bool:
        """Within `tolerance`, by default the one of its runtime."""
        allowed = tolerance or TOLERANCES[self.runtime]
        return (
            max(self.protect_levels, self.recover_levels) <= allowed.levels
            and self.loss_db <= allowed.recovery_loss_db
        )


@dataclass(slots=True)
class _Squares:
    """Squared error of many pictures."""

    total: float = 0.0
    count: int = 0

    def add(self, one: tuple[U8, ...], other: tuple[U8, ...]) -> None:
        for a, b in zip(one, other, strict=True):
            difference = a.astype(np.float64) - b
            self.total += float((difference**2).sum())
            self.count += difference.size

    def psnr_db(self) -> float:
        mean = self.total / self.count
        return 10 * math.log10(255**2 / mean) if mean else math.inf


def compare(
    spec: FusionSpec,
    reference: Engines,
    candidate: Engines,
    *,
    cases: Cases = CASES,
    seed: int = 0,
) -> Parity:
    """Both on random faces in awkward sizes. Raises EngineError where one fails."""
    layout = spec.layout
    worst = {"protect": (0, 0.0), "recover": (0, 0.0)}
    right, right_reference = _Squares(), _Squares()
    both = FusionModel(spec, *reference), FusionModel(spec, *candidate)
    for original, obfuscated, secrets in made_faces(spec, seed, cases):
        face, y = layout.to_bands(original), layout.to_bands(obfuscated)
        payload = face - y if spec.carries_difference else face
        key = secrets.key_bands(layout.levels)
        keys = {} if key is None else {"k": key}
        inputs = {"x": secrets.scramble(payload), "y": y} | keys
        outs = [engines.protect.run(inputs) for engines in (reference, candidate)]
        worst["protect"] = _worse(worst["protect"], layout, *outs)

        protected = layout.to_picture(outs[0]["out"])
        outs = [
            _recovered(engines, layout.to_bands(protected), keys, secrets)
            for engines in (reference, candidate)
        ]
        worst["recover"] = _worse(worst["recover"], layout, *outs)

        for model, squares in zip(both, (right_reference, right), strict=True):
            own = model.protect(original, obfuscated, secrets)
            squares.add(original, model.recover(own, secrets))
    return Parity(
        candidate.protect.runtime,
        *worst["protect"],
        *worst["recover"],
        right.psnr_db(),
        right_reference.psnr_db(),
    )


def _recovered(
    engines: Engines, y: F32, keys: dict[str, F32], secrets: FaceSecrets
) -> dict[str, F32]:
    """The bands of the recovered face, before they are rounded to a picture."""
    out = engines.recover.run({"y": y} | keys)
    clear = secrets.unscramble(out["out"])
    if engines.restore is None:
        return {"out": clear}
    found = {"x": clear}
    if "obfuscated" in out:
        found["y"] = out["obfuscated"]
    return engines.restore.run(found)


def _worse(
    before: tuple[int, float],
    layout: BandLayout,
    reference: Mapping[str, F32],
    candidate: Mapping[str, F32],
) -> tuple[int, float]:
    expected, got = reference["out"], candidate["out"]
    if expected.shape != got.shape:
        raise EngineError(f"the runtime answers {got.shape}, the reference {expected.shape}")
    difference = float(np.abs(expected - got).max()) * 255
    # NaN would lose every comparison: it must win them
    if not math.isfinite(difference):
        return 255, math.inf
    levels = max(
        int(np.abs(a.astype(np.int16) - b).max())
        for a, b in zip(layout.to_picture(expected), layout.to_picture(got), strict=True)
    )
    return max(before[0], levels), max(before[1], difference)


def made_faces(
    spec: FusionSpec, seed: int, cases: Cases = CASES
) -> Iterator[tuple[tuple[U8, ...], tuple[U8, ...], FaceSecrets]]:
    """Pictures of about a face's statistics, their obfuscation, and throw-away secrets.

    The secrets come from a seeded generator: they try out arithmetic and must protect nobody.
    """
    rng = np.random.default_rng(seed)
    for batch, height, width in cases:
        shapes = (
            [(3, height, width)]
            if spec.layout.planes == "rgb"
            else [(1, height, width), (2, height // 2, width // 2)]
        )
        original = tuple(_texture(rng, batch, *shape) for shape in shapes)
        obfuscated = with_head_room([_pixelated(plane) for plane in original])
        yield original, obfuscated, made_secrets(spec, rng, batch, height, width)


def made_secrets(
    spec: FusionSpec, rng: np.random.Generator, batch: int, height: int, width: int
) -> FaceSecrets:
    """Throw-away secrets for figures and tests; real ones come from keys."""
    sign_map = order = signs = None
    if spec.keyed:
        sign_map = rng.choice(np.array([-1, 1], np.int8), (batch, 1, height, width))
    if spec.scrambled:
        step = spec.layout.side_multiple_px
        shape = (batch, spec.layout.channels, (height // step) * (width // step))
        order = np.argsort(rng.random(shape), axis=2)
        signs = rng.choice(np.array([-1, 1], np.int8), shape)
    return FaceSecrets(sign_map, order, signs)


def _texture(rng: np.random.Generator, batch: int, channels: int, height: int, width: int) -> U8:
    """Large soft shapes, less and less contrast at finer scales, as pictures have."""
    picture = np.full((batch, channels, height, width), 120.0)
    for cells, contrast in ((3, 45.0), (8, 25.0), (20, 12.0), (60, 6.0)):
        coarse = rng.normal(0, contrast, (batch, channels, cells, cells))
        rows = np.arange(height) * cells // height
        columns = np.arange(width) * cells // width
        picture += coarse[:, :, rows][..., columns]
    pixels: U8 = np.clip(picture, 0, 255).astype(np.uint8)
    return pixels


def _pixelated(plane: U8) -> U8:
    height, width = plane.shape[2:]
    rows = np.arange(height) * CELLS // height
    columns = np.arange(width) * CELLS // width
    # one pixel of each cell stands for it
    first_rows = np.searchsorted(rows, rows)
    first_columns = np.searchsorted(columns, columns)
    return plane[:, :, first_rows][..., first_columns]
