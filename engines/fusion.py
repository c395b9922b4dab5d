"""A trained PRO-Face S model on any runtime: a face and its obfuscation to the protected face, and
back. It knows arrays: which secret belongs to which face is the business of `pipeline/vault`.

Scramble first, then fuse: before the network every band of the face is permuted and its
coefficients' signs are flipped, by the secret. What a wrong secret opens is then noise with the
face's histogram of coefficients, whatever the network leaks (docs/fusion.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from .bands import F32, U8, BandLayout, haar
from .base import Engine, EngineError

WrongRecovery = Literal["randwr", "obfswr"]
Carries = Literal["face", "difference"]
Part = Literal["protect", "recover", "restore"]  # the graphs of a model, one file each


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
    restore_width: int = 0  # channels of the last step of recovery; 0: none, as in the paper
    carries: Carries = "difference"  # what a model with a last step hides: see nets/restore, polish

    def __post_init__(self) -> None:
        if not (self.keyed or self.scrambled):
            raise ValueError(f"model {self.name} is neither keyed nor scrambled: no secret")

    @property
    def parts(self) -> tuple[Part, ...]:
        """Its graphs, in the order in which a face passes them."""
        return ("protect", "recover", "restore") if self.restore_width else ("protect", "recover")

    @property
    def carries_difference(self) -> bool:
        """Whether the last step adds what was hidden to the obfuscation."""
        return self.restore_width > 0 and self.carries == "difference"

    def inputs_of(self, part: Part) -> dict[str, int]:
        """Channels of each input of a graph, by name, in order."""
        bands = self.layout.channels
        names = {"protect": ("x", "y"), "recover": ("y",)}.get(
            part, ("x", "y") if self.carries_difference else ("x",)
        )
        keyed = {"k": self.key_channels} if self.keyed and part != "restore" else {}
        return {name: bands for name in names} | keyed

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

    def __init__(
        self,
        spec: FusionSpec,
        protect: Engine,
        recover: Engine | None,
        restore: Engine | None = None,
    ) -> None:
        """`recover` None: a service that only protects. `restore`: where the spec has a width.

        Raises EngineError.
        """
        if recover is not None and (restore is not None) != ("restore" in spec.parts):
            needed = " and ".join(spec.parts[1:])
            raise EngineError(f"model {spec.name}: recovery takes the engines {needed}")
        self.spec = spec
        self._protect = protect
        self._recover = recover
        self._restore = restore

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
        face, y = layout.to_bands(original), layout.to_bands(obfuscated)
        payload = face - y if self.spec.carries_difference else face
        out = self._run(self._protect, {"x": secrets.scramble(payload), "y": y}, secrets)
        return layout.to_picture(self._bands(out, "out", y))

    def recover(self, protected: Sequence[U8], secrets: FaceSecrets) -> tuple[U8, ...]:
        """The protected batch to the original one. Raises EngineError.

        A wrong secret raises nothing: it gives a wrong picture.
        """
        if self._recover is None:
            raise EngineError(f"model {self.spec.name} was opened for protection only")
        layout = self.spec.layout
        y = layout.to_bands(protected)
        out = self._run(self._recover, {"y": y}, secrets)
        bands = secrets.unscramble(self._bands(out, "out", y))
        if self._restore is not None:
            found = {"x": bands}
            if self.spec.carries_difference:
                found["y"] = self._bands(out, "obfuscated", y)
            bands = self._bands(self._restore.run(found), "out", y)
        return layout.to_picture(bands)

    def _run(
        self, engine: Engine, inputs: dict[str, F32], secrets: FaceSecrets
    ) -> Mapping[str, F32]:
        # checked for both kinds: a model that has both must not run with one of them
        if self.spec.scrambled and (secrets.order is None or secrets.signs is None):
            raise EngineError(f"model {self.spec.name} needs a scrambling order and signs")
        if self.spec.keyed:
            key = secrets.key_bands(self.spec.layout.levels)
            if key is None:
                raise EngineError(f"model {self.spec.name} needs a secret map")
            inputs["k"] = key
        return engine.run(inputs)

    def _bands(self, outputs: Mapping[str, F32], name: str, like: F32) -> F32:
        bands = np.asarray(outputs[name], np.float32)
        if bands.shape != like.shape or not np.isfinite(bands).all():
            raise EngineError(f"model {self.spec.name} gave no usable picture")
        return bands

    def close(self) -> None:
        """Free the engines. Idempotent."""
        for engine in (self._protect, self._recover, self._restore):
            if engine is not None:
                engine.close()


HEAD_ROOM = (20, 234)
_HEAD_ROOM_TABLE = np.rint(np.linspace(HEAD_ROOM[0], HEAD_ROOM[1], 256)).astype(np.uint8)


def with_head_room(planes: Sequence[U8]) -> tuple[U8, ...]:
    """0..255 mapped to 20..234: 0.3 % of clipped pixels cost 16 dB of recovery."""
    return tuple(_HEAD_ROOM_TABLE[plane] for plane in planes)
