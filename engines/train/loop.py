"""One training run, readable from top to bottom (PRO-Face S, sections IV-D and IV-E)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..base import EngineError
from ..fusion import FusionSpec
from ..nets.fusion import FusionNet, net_for
from ..nets.haar import dwt, iwt
from . import checkpoint as checkpoints
from .channel import Codec, add_noise, through_codec, to_8_bits
from .checkpoint import Checkpoint
from .data import FaceSet, TrainingBatch, draw_batch
from .losses import band_weights, excess, log_error, psnr, squared_error, wrong_key_hinge
from .obfuscators import Obfuscator

WARM_UP_STEPS = 50
MEAN_DECAY = 0.998


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """Everything that decides the outcome, beside the data."""

    steps: int
    batch: int = 8
    crop_px: int = 56
    rate: float = 1e-3  # Adam's; cosine to 2 % over the last 60 % of the steps
    seed: int = 0
    protected_db: float = 43.0  # the protected picture is held at this PSNR to the obfuscated one
    first_protected_db: float = 28.0  # where the first steps begin; reached after 30 % of them
    protect_weight: float = 4.0
    recover_floor: float = 0.3  # squared levels; see losses.log_error
    wrong_weight: float = 1.0
    protect_chroma_weight: float = 3.0  # see losses.band_weights: payload likes to hide in colour
    recover_chroma_weight: float = 1.0
    noise: float = 0.0  # largest sigma of Gaussian noise, in levels of 255
    codec_share: float = 0.0  # of the steps that go through a real encoder instead


@dataclass(frozen=True, slots=True)
class StepReport:
    """What a progress display shows."""

    step: int
    steps: int
    loss: float
    protected_db: float
    recovered_db: float
    wrong_db: float | None


Watch = Callable[[StepReport], None]
KEEP_HISTORY_EVERY = 20


class Training:
    """A run that can be interrupted after any step and goes on the same."""

    def __init__(
        self,
        spec: FusionSpec,
        settings: TrainSettings,
        faces: FaceSet,
        obfuscators: Sequence[Obfuscator],
        *,
        codec: Codec | None = None,
        device: str = "cpu",
    ) -> None:
        """Raises EngineError for settings that do not fit together."""
        if settings.crop_px % spec.layout.side_multiple_px:
            raise EngineError(
                f"crop must be a multiple of {spec.layout.side_multiple_px}, got {settings.crop_px}"
            )
        if settings.codec_share and codec is None:
            raise EngineError("codec_share needs a codec")
        self.spec, self.settings = spec, settings
        self._faces, self._obfuscators, self._codec = faces, obfuscators, codec
        self._device = torch.device(device)
        torch.manual_seed(settings.seed)
        self.net: FusionNet = net_for(spec).to(self._device)
        self._mean = {name: t.detach().clone() for name, t in self.net.state_dict().items()}
        self._optimizer = torch.optim.Adam(self.net.parameters(), lr=settings.rate)
        self._shown = band_weights(spec.layout, settings.protect_chroma_weight).to(self._device)
        self._wanted = band_weights(spec.layout, settings.recover_chroma_weight).to(self._device)
        self.step = 0
        self.history: list[dict[str, float]] = []

    def resume(self, saved: Checkpoint, *, weights_only: bool = False) -> None:
        """Go on from a checkpoint; `weights_only` starts a new run from its weights (fine tuning).

        Raises EngineError where the checkpoint is of another run.
        """
        if weights_only:
            if replace(saved.spec, name=self.spec.name, mode=self.spec.mode) != self.spec:
                raise EngineError("the checkpoint has other dimensions; start from nothing")
            self.net.load_state_dict(saved.mean_weights)
            self._mean = self._copies(saved.mean_weights)
            return
        mine = asdict(self.settings)
        differing = [key for key, value in saved.settings.items() if mine.get(key) != value]
        if saved.spec != self.spec or differing:
            raise EngineError(
                f"the checkpoint had other settings ({', '.join(differing) or 'model'});"
                " repeat them, or write to another folder"
            )
        self.net.load_state_dict(saved.weights)
        self._mean = self._copies(saved.mean_weights)
        checkpoints.restore_moments(self._optimizer, self.net, saved.optimizer)
        self.step, self.history = saved.step, list(saved.history)

    def run(self, until_step: int, watch: Watch) -> None:
        """Train up to `until_step` or the settings' steps, whichever comes first."""
        self.net.train()
        while self.step < min(until_step, self.settings.steps):
            report = self._one_step()
            if report.step % KEEP_HISTORY_EVERY == 0 or report.step == 1:
                self.history.append(
                    {k: v for k, v in asdict(report).items() if k != "steps" and v is not None}
                )
            watch(report)

    def save(self, path: Path) -> None:
        """A checkpoint. Raises EngineError."""
        data = {
            "file": self._faces.source,
            "sha256": self._faces.sha256,
            "faces": len(self._faces),
            "identities": len(set(self._faces.identities)),
            "split": "train: identities that engines.train.split does not hold out",
        }
        checkpoints.save(
            Checkpoint(
                spec=self.spec,
                step=self.step,
                settings=asdict(self.settings),
                data=data,
                history=self.history,
                weights=dict(self.net.state_dict()),
                mean_weights=self._mean,
                optimizer=checkpoints.moments(self._optimizer, self.net),
            ),
            path,
        )

    def _copies(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: tensor.to(self._device).clone() for name, tensor in tensors.items()}

    def _one_step(self) -> StepReport:
        settings = self.settings
        rng = np.random.default_rng([settings.seed, self.step])
        generator = torch.Generator().manual_seed(settings.seed * 1_000_003 + self.step)
        batch = draw_batch(
            self._faces,
            self._obfuscators,
            planes=self.spec.layout.planes,
            batch=settings.batch,
            crop_px=settings.crop_px,
            rng=rng,
        )
        for group in self._optimizer.param_groups:
            group["lr"] = settings.rate * self._rate_share()
        loss, errors = self._loss(batch, rng, generator)
        self._optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        if not bool(torch.isfinite(norm)):
            raise EngineError(f"step {self.step}: the loss is not finite; lower the rate")
        self._optimizer.step()
        self.step += 1
        decay = min(MEAN_DECAY, self.step / (self.step + 10))
        with torch.no_grad():
            for name, value in self.net.state_dict().items():
                self._mean[name].lerp_(value, 1 - decay)
        return StepReport(
            self.step,
            settings.steps,
            float(loss.detach()),
            psnr(errors["protected"]),
            psnr(errors["recovered"]),
            psnr(errors["wrong"]) if "wrong" in errors else None,
        )

    def _allowed_error(self) -> float:
        """Generous at first: from a strict start a network learns to hide nothing at all."""
        first, last = self.settings.first_protected_db, self.settings.protected_db
        left = max(0.0, 1 - self.step / (0.3 * self.settings.steps))
        return float(255**2 / 10 ** ((last + (first - last) * left) / 10))

    def _rate_share(self) -> float:
        done = self.step / self.settings.steps
        warm = min(1.0, (self.step + 1) / WARM_UP_STEPS)
        if done < 0.4:
            return warm
        return warm * max(0.02, 0.5 * (1 + math.cos(math.pi * (done - 0.4) / 0.6)))

    def _loss(
        self, batch: TrainingBatch, rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[Tensor, dict[str, Tensor]]:
        settings, spec = self.settings, self.spec
        original = to_bands(self._tensors(batch.original), spec)
        obfuscated = to_bands(self._tensors(batch.obfuscated), spec)
        secret = self._secret(original.shape, generator)
        payload = original - obfuscated if self.net.restore is not None else original

        hidden = self.net.protect(secret.scramble(payload), obfuscated, secret.key)
        planes = to_planes(hidden, spec)
        received = self._received(tuple(map(to_8_bits, planes)), rng, generator)
        bands = to_bands(received, spec)
        # a wrong key of a scrambled model shows noise whatever the weights are: nothing to train
        taught = spec.mode == "obfswr" or not spec.scrambled
        wrong_secrets = [self._secret(original.shape, generator)] if taught else []
        recovered, *wrong_faces = self._recover(bands, secret, *wrong_secrets)
        errors = {
            "protected": squared_error(hidden, obfuscated, self._shown),
            "recovered": squared_error(recovered, original, self._wanted),
        }
        loss = settings.protect_weight * excess(errors["protected"], self._allowed_error())
        loss = loss + log_error(errors["recovered"], settings.recover_floor)
        for wrong in wrong_faces:
            if spec.mode == "obfswr":
                errors["wrong"] = squared_error(wrong, obfuscated, self._wanted)
                term = log_error(errors["wrong"], 20.0)
            else:
                errors["wrong"] = squared_error(wrong, original, self._wanted)
                term = wrong_key_hinge(wrong, original, least_error=9000.0)
            loss = loss + settings.wrong_weight * term
        return loss, errors

    def _recover(self, bands: Tensor, *secrets: _Secret) -> list[Tensor]:
        """Received bands to the face's, by each secret, as FusionModel.recover does."""
        faces: list[Tensor] = []
        both: tuple[Tensor, Tensor] | None = None
        for secret in secrets:
            if self.net.restore is None:
                face = secret.unscramble(self.net.recover(bands, secret.key))
                faces.append(face if self.net.polish is None else self.net.polish(face))
                continue
            if both is None or self.spec.keyed:  # without a key the blocks know no secret
                both = self.net.recover_both(bands, secret.key)
            faces.append(self.net.restore(secret.unscramble(both[0]), both[1]))
        return faces

    def _received(
        self, sent: tuple[Tensor, ...], rng: np.random.Generator, generator: torch.Generator
    ) -> tuple[Tensor, ...]:
        settings = self.settings
        if self._codec is not None and rng.random() < settings.codec_share:
            return through_codec(sent, self._codec, rng)
        if settings.noise:
            sigma = torch.rand(len(sent[0]), generator=generator).to(self._device) * settings.noise
            return tuple(add_noise(plane, sigma, generator) for plane in sent)
        return sent

    def _secret(self, shape: torch.Size, generator: torch.Generator) -> _Secret:
        """Fresh secrets, one per face."""
        key = None
        if self.spec.keyed:
            side = self.settings.crop_px
            bits = torch.randint(0, 2, (shape[0], 1, side, side), generator=generator)
            key = (bits * 2 - 1).to(self._device, torch.float32)
            for _ in range(self.spec.layout.levels):
                key = dwt(key)
        return _Secret(key, _Scramble(shape, generator) if self.spec.scrambled else None)

    def _tensors(self, picture: Sequence[Any]) -> tuple[Tensor, ...]:
        return tuple(
            (torch.from_numpy(plane).to(self._device, torch.float32) - 128) / 255
            for plane in picture
        )


def to_bands(picture: Sequence[Tensor], spec: FusionSpec) -> Tensor:
    """The torch twin of BandLayout.to_bands, values already (pixel - 128) / 255."""
    parts = []
    for index, plane in enumerate(picture):
        for _ in range(spec.layout.levels - index):
            plane = dwt(plane)
        parts.append(plane)
    return torch.cat(parts, dim=1)


def to_planes(bands: Tensor, spec: FusionSpec) -> tuple[Tensor, ...]:
    """The inverse of `to_bands`."""
    levels = spec.layout.levels
    parts = [bands]
    if spec.layout.planes == "yuv420":
        parts = [bands[:, : 4**levels], bands[:, 4**levels :]]
    planes = []
    for index, part in enumerate(parts):
        for _ in range(levels - index):
            part = iwt(part)
        planes.append(part)
    return tuple(planes)


@dataclass(frozen=True, slots=True)
class _Secret:
    """What FaceSecrets is to numpy, drawn at random: a map (equations 5 and 6) and a scramble."""

    key: Tensor | None
    order: _Scramble | None

    def scramble(self, bands: Tensor) -> Tensor:
        return bands if self.order is None else self.order.apply(bands)

    def unscramble(self, bands: Tensor) -> Tensor:
        return bands if self.order is None else self.order.undo(bands)


class _Scramble:
    """Every band permuted and its signs flipped at random, as FaceSecrets does by key."""

    def __init__(self, shape: torch.Size, generator: torch.Generator) -> None:
        batch, channels, height, width = shape
        flat = (batch, channels, height * width)
        self._order = torch.argsort(torch.rand(flat, generator=generator), dim=2)
        self._signs = torch.randint(0, 2, flat, generator=generator) * 2 - 1

    def apply(self, bands: Tensor) -> Tensor:
        """(B, C, h, w) to the same."""
        flat = bands.reshape(self._order.shape).gather(2, self._order.to(bands.device))
        return (flat * self._signs.to(bands.device)).reshape(bands.shape)

    def undo(self, bands: Tensor) -> Tensor:
        """The inverse of `apply`."""
        flat = bands.reshape(self._order.shape) * self._signs.to(bands.device)
        clear = torch.empty_like(flat).scatter(2, self._order.to(bands.device), flat)
        return clear.reshape(bands.shape)
