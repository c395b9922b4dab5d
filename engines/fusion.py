"""A trained PRO-Face S model on any runtime: a face and its obfuscation to the protected face, and
back. It knows arrays: which secret belongs to which face is the business of `pipeline/vault`.

Scramble first, then fuse: before the network every band of the face is permuted and its
coefficients' signs are flipped, by the secret. What a wrong secret opens is then noise with the
face's histogram of coefficients, whatever the network leaks (docs/fusion.md).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .bands import F32, U8, BandLayout, haar
from .base import Engine, EngineError

WrongRecovery = Literal["randwr", "obfswr"]


@dataclass(frozen=True, slots=True)
class FusionSpec:
    """What a model was trained for. From its entry in models.yaml."""

    name: str
    layout: BandLayout
    mode: WrongRecovery  # what a wrong key shows: noise, or the obfuscated face
    keyed: bool  # the secret map goes into every block (the paper)
    scrambled: bool  # the face's bands are scrambled before fusion
    growth: int
    depth: int

    def __post_init__(self) -> None:
        if not (self.keyed or self.scrambled):
            raise ValueError(f"model {self.name} is neither keyed nor scrambled: no secret")

    @property
    def key_channels(self) -> int:
        """Channels of the secret map's bands: 4 in the paper; 0 without a map."""
        return 4**self.layout.levels if self.keyed else 0


@dataclass(frozen=True, slots=True)
class FaceSecrets:
    """The secrets of B faces, one each, as arrays."""

    sign_map: NDArray[np.int8] | None = field(repr=False)  # (B, 1, H, W) of -1 and 1; keyed models
    order: NDArray[np.int64] | None = field(repr=False)  # (B, C, h * w) permutations; scrambled
    signs: NDArray[np.int8] | None = field(repr=False)  # (B, C, h * w) of -1 and 1; scrambled

    def key_bands(self, levels: int) -> F32 | None:
        """Equation 6: (B, 4**levels, h, w); None for a model without a map."""
        if self.sign_map is None:
            return None
        bands: F32 = self.sign_map.astype(np.float32)
        for _ in range(levels):
            bands = haar(bands)
        return bands

    def scramble(self, bands: F32) -> F32:
        """Every band's coefficients in secret order, with secret signs."""
        if self.order is None or self.signs is None:
            return bands
        flat = bands.reshape(self.order.shape)
        mixed: F32 = np.take_along_axis(flat, self.order, axis=2) * self.signs
        return mixed.reshape(bands.shape)

    def unscramble(self, bands: F32) -> F32:
        """The inverse of `scramble`."""
        if self.order is None or self.signs is None:
            return bands
        flat = bands.reshape(self.order.shape) * self.signs
        clear = np.empty_like(flat)
        np.put_along_axis(clear, self.order, flat, axis=2)
        return clear.reshape(bands.shape)


class FusionModel:
    """Both directions of one model. Batches of faces of one size; thread-bound like its engines."""

    def __init__(self, spec: FusionSpec, protect: Engine, recover: Engine | None) -> None:
        """`recover` None: a service that only protects."""
        self.spec = spec
        self._protect = protect
        self._recover = recover

    @property
    def runtime(self) -> str:
        """The runtime that `protect` runs on."""
        return self._protect.runtime

    def protect(
        self, original: Sequence[U8], obfuscated: Sequence[U8], secrets: FaceSecrets
    ) -> tuple[U8, ...]:
        """Picture batches (see BandLayout) of one size to the protected batch. Raises EngineError.

        `obfuscated` must leave head-room (`with_head_room`): clipped pixels cannot be recovered.
        """
        layout = self.spec.layout
        inputs = {
            "x": secrets.scramble(layout.to_bands(original)),
            "y": layout.to_bands(obfuscated),
        }
        bands = self._run(self._protect, inputs, secrets)
        return layout.to_picture(bands)

    def recover(self, protected: Sequence[U8], secrets: FaceSecrets) -> tuple[U8, ...]:
        """The protected batch to the original one. Raises EngineError.

        A wrong secret raises nothing: it gives a wrong picture.
        """
        if self._recover is None:
            raise EngineError(f"model {self.spec.name} was opened for protection only")
        layout = self.spec.layout
        bands = self._run(self._recover, {"y": layout.to_bands(protected)}, secrets)
        return layout.to_picture(secrets.unscramble(bands))

    def _run(self, engine: Engine, inputs: dict[str, F32], secrets: FaceSecrets) -> F32:
        key = secrets.key_bands(self.spec.layout.levels) if self.spec.keyed else None
        if self.spec.keyed:
            if key is None:
                raise EngineError(f"model {self.spec.name} needs a secret map")
            inputs["k"] = key
        elif secrets.order is None:
            raise EngineError(f"model {self.spec.name} needs a scrambling order")
        bands = np.asarray(engine.run(inputs)["out"], np.float32)
        if bands.shape != inputs["y"].shape or not np.isfinite(bands).all():
            raise EngineError(f"model {self.spec.name} gave no usable picture")
        return bands

    def close(self) -> None:
        """Free both engines. Idempotent."""
        self._protect.close()
        if self._recover is not None:
            self._recover.close()


HEAD_ROOM = (20, 234)
_HEAD_ROOM_TABLE = np.rint(np.linspace(HEAD_ROOM[0], HEAD_ROOM[1], 256)).astype(np.uint8)


def with_head_room(planes: Sequence[U8]) -> tuple[U8, ...]:
    """0..255 mapped to 20..234: 0.3 % of clipped pixels cost 16 dB of recovery."""
    return tuple(_HEAD_ROOM_TABLE[plane] for plane in planes)
