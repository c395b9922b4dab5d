"""Undoing an obfuscation, as somebody would who has the product and thousands of other faces.

Per setting a linear guess: ridge regression from the protected crop to principal components of
faces (_jigsaw.py). Where information was only mixed, as by blur and pixelation, that finds most of
it. One small U-Net for all settings then corrects protected crop and guess together; it learns on
people on whom no guess was learned, since a guess for one who taught it is too good. And without
any picture: ridge regression from the crop straight to a recognizer's vector, since who wants a
name needs no face. From video: the mean of some frames, laid over each other, in place of the crop;
each is pixelated along other lines.

The attacker sees the region alone (_reid_protect.py), and is taught clear faces with as little
beside them. Works at 56 px, enlarged again for the recognizers: detail of two pixels is finer than
what any setting leaves. What was learned is kept in the cache folder.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from engines.train.data import FACE_PX

from . import clips
from ._jigsaw import FacePrior, Ridge
from ._recognizers import Recognizer
from ._reid_protect import Protector, Setting, region_alone
from ._similarity import F32, U8
from .report import progress

WORK_PX = 56
LUMA_PX, CHROMA_PX = 28, 10  # what the guess sees: 28 * 28 + 2 * 10 * 10 = 984 numbers
PRIOR_FACES = 2000
NET_SHARE = 0.15  # of the other pictures: taught to the network
CHECK_SHARE = 0.02  # of them: what was learned is checked on these
SLOW_DIVISOR = 4  # fusing costs, and so do many frames: fewer examples
_VERSION = 4  # raise it when anything here changes what is learned


@dataclass(frozen=True, slots=True)
class Target:
    """What is to be undone: a setting, seen in so many frames."""

    setting: Setting
    frames: int = 1

    @property
    def name(self) -> str:
        """Stable: the cache is keyed by it."""
        return f"{self.setting.name} x{self.frames}"

    def seen(self, pictures: U8, *, crop_px: int, seed: int) -> U8:
        """The crops as the attacker has them."""
        protector = Protector(self.setting, crop_px=crop_px, seed=seed)
        if self.frames > 1:
            return protector.hide_in_motion(pictures, self.frames)
        return region_alone(protector.hide(pictures))


@dataclass(frozen=True, slots=True, kw_only=True)
class Lesson:
    """How the attack is learned."""

    crop_px: int
    steps: int  # of the network; 0: the guess alone
    seed: int


@dataclass(frozen=True, slots=True)
class Errors:
    """Mean absolute errors in levels of 255, regions and what is beside them, on unknown faces."""

    mean_face: float  # of who knows nothing but what faces look like
    guess: float
    net: float | None


class Restorer:
    """Learned attacks on some targets."""

    def __init__(
        self,
        prior: FacePrior,
        guesses: Mapping[str, Ridge],
        net: Any,
        errors: Mapping[str, Errors],
        known_vectors: Mapping[str, Mapping[str, Ridge]],
    ) -> None:
        """By the targets' names; `known_vectors` by those of recognizers, and then of targets."""
        self._prior, self._guesses, self._net = prior, guesses, net
        self.errors, self.known_vectors = errors, known_vectors

    @property
    def has_net(self) -> bool:
        """Without torch there are guesses alone."""
        return self._net is not None

    def guess(self, seen: U8, target: Target) -> U8:
        """(N, 112, 112, 3) protected crops to the linear guesses."""
        return region_alone(_large(_guessed(seen, self._guesses[target.name], self._prior)))

    def restore(self, seen: U8, target: Target) -> U8:
        """The guesses, corrected by the network."""
        guess = _guessed(seen, self._guesses[target.name], self._prior)
        if self._net is None:
            return region_alone(_large(guess))
        from ._reid_net import corrected

        return region_alone(_large(corrected(self._net, _small(seen), guess)))

    def vectors(self, seen: U8, target: Target, recognizer: Recognizer) -> F32:
        """(N, D) of unit length: what `recognizer` would make of the clear faces, guessed."""
        ridge = self.known_vectors[recognizer.name][target.name]
        found = ridge.predict(_features(seen))
        lengths = np.linalg.norm(found, axis=1, keepdims=True)
        return np.asarray(found / np.maximum(lengths, 1e-6), np.float32)


def learn(
    others: U8, targets: Sequence[Target], lesson: Lesson, recognizers: Sequence[Recognizer]
) -> tuple[Restorer, str | None]:
    """From the cache, or anew; a note where there is no network.

    `recognizers`: whose vectors, of unit length, are guessed as well.
    """
    try:
        from . import _reid_net
    except ImportError:
        restorer = _learned(others, targets, lesson, recognizers, None)
        return restorer, "no torch: restored by linear guess alone"
    path = clips.cache_folder() / f"reid-{_digest(others, targets, lesson, recognizers)}.pt"
    if path.is_file():
        return _opened(path, _reid_net), None
    restorer = _learned(others, targets, lesson, recognizers, _reid_net)
    _keep(restorer, path)
    return restorer, None


def _learned(
    others: U8,
    targets: Sequence[Target],
    lesson: Lesson,
    recognizers: Sequence[Recognizer],
    net: Any,
) -> Restorer:
    for_check, for_net = (max(4, round(s * len(others))) for s in (CHECK_SHARE, NET_SHARE))
    taught, kept, unknown = np.split(others, [-for_net - for_check, -for_check])
    shown = region_alone(taught)
    vectors = {each.name: each.embed(shown) for each in recognizers}
    known_vectors: dict[str, dict[str, Ridge]] = {name: {} for name in vectors}
    faces = _small(shown)
    prior = FacePrior.fit(faces[:PRIOR_FACES])
    codes = prior.encode(faces)
    guesses: dict[str, Ridge] = {}
    examples: list[tuple[F32, F32, F32]] = []
    checks: dict[str, tuple[F32, F32]] = {}
    truth = _small(region_alone(unknown))
    for number, target in enumerate(targets):
        progress(f"learning to restore: {target.name}")
        divisor = SLOW_DIVISOR if target.setting.model or target.frames > 1 else 1
        count, few = len(taught) // divisor, max(2, for_net // divisor)
        all_three = np.concatenate([taught[:count], kept[:few], unknown])
        seen = target.seen(all_three, crop_px=lesson.crop_px, seed=lesson.seed + 1000 + number)
        known, new, last = np.split(seen, [count, count + few])
        features = _features(known)
        ridge = guesses[target.name] = Ridge.fit(features, codes[:count])
        for name, wanted_vectors in vectors.items():
            known_vectors[name][target.name] = Ridge.fit(features, wanted_vectors[:count])
        wanted = _small(region_alone(kept[:few]))
        examples.append((_small(new), _guessed(new, ridge, prior), wanted))
        checks[target.name] = _small(last), _guessed(last, ridge, prior)
    trained = None
    if net is not None and lesson.steps:
        hidden, guess, wanted = (np.concatenate(part) for part in zip(*examples, strict=True))
        trained = net.train(hidden, guess, wanted, lesson.steps, lesson.seed)
    mean_face = _levels_off(faces.mean(axis=0), truth)
    errors = {
        name: Errors(
            mean_face,
            _levels_off(guess, truth),
            None if trained is None else _levels_off(net.corrected(trained, hidden, guess), truth),
        )
        for name, (hidden, guess) in checks.items()
    }
    return Restorer(prior, guesses, trained, errors, known_vectors)


def _levels_off(found: F32, truth: F32) -> float:
    return 255 * float(np.abs(np.clip(found, 0, 1) - truth).mean())


def _features(seen: U8) -> F32:
    """(N, 984) luma finer than chroma, 0..1."""
    found = []
    for each in seen:
        luma, *chroma = cv2.split(cv2.cvtColor(each, cv2.COLOR_RGB2YCrCb))
        planes = [cv2.resize(luma, (LUMA_PX, LUMA_PX), interpolation=cv2.INTER_AREA)]
        planes += [
            cv2.resize(plane, (CHROMA_PX, CHROMA_PX), interpolation=cv2.INTER_AREA)
            for plane in chroma
        ]
        found.append(np.concatenate([plane.ravel() for plane in planes]))
    return np.stack(found).astype(np.float32) / np.float32(255)


def _guessed(seen: U8, ridge: Ridge, prior: FacePrior) -> F32:
    """(N, 56, 56, 3), about 0..1."""
    return prior.decode(ridge.predict(_features(seen)), (WORK_PX, WORK_PX, 3))


def _small(pictures: U8) -> F32:
    """(N, 112, 112, 3) to (N, 56, 56, 3), 0..1."""
    size = (WORK_PX, WORK_PX)
    found = [cv2.resize(each, size, interpolation=cv2.INTER_AREA) for each in pictures]
    return np.stack(found).astype(np.float32) / np.float32(255)


def _large(pictures: F32) -> U8:
    size = (FACE_PX, FACE_PX)
    found = np.stack([cv2.resize(each, size, interpolation=cv2.INTER_CUBIC) for each in pictures])
    return np.asarray(np.clip(np.rint(255 * found), 0, 255), np.uint8)


# --- the cache ---


def _digest(
    others: U8, targets: Sequence[Target], lesson: Lesson, recognizers: Sequence[Recognizer]
) -> str:
    names = sorted(target.name for target in targets), sorted(each.name for each in recognizers)
    facts = repr((_VERSION, names, lesson, others.shape))
    digest = hashlib.sha256(facts.encode())
    # the obfuscators' own code is part of what was learned: their output stands for it
    for target in sorted(set(targets), key=lambda each: each.name):
        if target.setting.obfuscation != "noise":  # never twice the same
            digest.update(target.seen(others[:1], crop_px=lesson.crop_px, seed=lesson.seed).data)
    return digest.hexdigest()[:16]


def _keep(restorer: Restorer, path: Path) -> None:
    import torch

    def tensors(value: FacePrior | Ridge) -> dict[str, torch.Tensor]:
        return {name: torch.from_numpy(np.array(getattr(value, name))) for name in value.__slots__}

    net = restorer._net
    part = path.with_suffix(".part")
    torch.save(
        {
            "prior": tensors(restorer._prior),
            "guesses": {name: tensors(ridge) for name, ridge in restorer._guesses.items()},
            "net": None if net is None else net.state_dict(),
            "errors": {name: asdict(each) for name, each in restorer.errors.items()},
            "known_vectors": {
                recognizer: {name: tensors(ridge) for name, ridge in ridges.items()}
                for recognizer, ridges in restorer.known_vectors.items()
            },
        },
        part,
    )
    part.replace(path)


def _opened(path: Path, reid_net: Any) -> Restorer:
    import torch

    progress(f"learned before: {path.name}")
    state = torch.load(path, map_location="cpu", weights_only=True)

    def arrays(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
        return {name: tensor.numpy() for name, tensor in tensors.items()}

    net = None
    if state["net"] is not None:
        net = reid_net.Corrector()
        net.load_state_dict(state["net"])
        net.eval()
    guesses = {name: Ridge(**arrays(each)) for name, each in state["guesses"].items()}
    errors = {name: Errors(**each) for name, each in state["errors"].items()}
    known_vectors = {
        recognizer: {name: Ridge(**arrays(each)) for name, each in ridges.items()}
        for recognizer, ridges in state["known_vectors"].items()
    }
    return Restorer(FacePrior(**arrays(state["prior"])), guesses, net, errors, known_vectors)
