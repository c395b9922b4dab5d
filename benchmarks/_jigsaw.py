"""An attack on the scrambling of engines/fusion.py, as strong as we could make it.

What the attacker has: the protected picture, the model, the obfuscator, thousands of faces of other
people, and the pieces: recovery without unscrambling gives the coefficients of every band, without
their places and signs. Not the key.

The attack, band by band: a linear guess of the face from the protected picture (ridge regression on
the other faces, in their principal components) says which value is expected where; the pieces are
then placed so that they fit best. That assignment is exact: sum of (s m - x)^2 over all
permutations and signs is least where the magnitudes m and |x| have the same order and s is the sign
of x. The placed pieces and the histograms of all bands correct the guess by a second regression,
learned by attacking other faces in the same way; the corrected guess places the pieces again.

Components, first guess and every correction are learned on different faces: a guess for one that
taught the step before is too good, and the next step would trust it too much (tried: 4 dB worse).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engines.bands import F32

F64 = NDArray[np.float64]

COMPONENTS = 200  # of the faces: 92 % of their energy
QUANTILES = 12  # of every band's magnitudes, as features
RIDGES = 10.0 ** np.arange(-4, 3)  # times the mean eigenvalue


def place(pieces: F32, guess: F32) -> F32:
    """The signed permutation of every band's pieces nearest to the guess. (..., C, n) both."""
    return _place_sorted(np.sort(np.abs(pieces), axis=-1), guess)


def _place_sorted(magnitudes: F32, guess: F32) -> F32:
    placed = np.empty_like(guess)
    np.put_along_axis(placed, np.argsort(np.abs(guess), axis=-1), magnitudes, axis=-1)
    return np.copysign(placed, guess)


@dataclass(frozen=True, slots=True)
class Ridge:
    """Linear regression; how much it is held back is chosen by leaving one out."""

    mean_in: F64 = field(repr=False)
    mean_out: F64 = field(repr=False)
    weights: NDArray[np.float32] = field(repr=False)  # (inputs, outputs)

    @classmethod
    def fit(cls, inputs: NDArray[np.floating], outputs: NDArray[np.floating]) -> Ridge:
        """(N, inputs) to (N, outputs)."""
        mean_in, mean_out = inputs.mean(axis=0, dtype=np.float64), outputs.mean(axis=0)
        x = (inputs - mean_in).astype(np.float32)
        y = outputs - mean_out
        if x.shape[1] > len(x):
            gram = (x @ x.T).astype(np.float64)
            values, vectors = np.linalg.eigh(gram)
            projected = vectors.T @ y
            best, dual = np.inf, y
            for share in RIDGES:
                inverse = 1 / (np.maximum(values, 0) + share * values.mean())
                coefficients = vectors @ (inverse[:, None] * projected)
                # the error of each sample, predicted by all the others, in closed form
                left_out = coefficients / ((vectors**2) @ inverse)[:, None]
                if (error := float(np.square(left_out).mean())) < best:
                    best, dual = error, coefficients
            return cls(mean_in, mean_out, x.T @ dual.astype(np.float32))
        values, vectors = np.linalg.eigh((x.T @ x).astype(np.float64))
        rotated, projected = x @ vectors, vectors.T @ (x.T @ y)
        best, weights = np.inf, projected
        for share in RIDGES:
            inverse = 1 / (np.maximum(values, 0) + share * values.mean())
            residual = y - rotated @ (inverse[:, None] * projected)
            leverage = (rotated**2) @ inverse
            left_out = residual / np.maximum(1 - leverage, 1e-3)[:, None]
            if (error := float(np.square(left_out).mean())) < best:
                best, weights = error, vectors @ (inverse[:, None] * projected)
        return cls(mean_in, mean_out, weights.astype(np.float32))

    def predict(self, inputs: NDArray[np.floating]) -> F64:
        """(N, inputs) to (N, outputs)."""
        predicted: F64 = (inputs - self.mean_in).astype(np.float32) @ self.weights + self.mean_out
        return predicted


@dataclass(frozen=True, slots=True)
class FacePrior:
    """What faces look like, in bands: mean and principal components."""

    mean: F32 = field(repr=False)  # (D,)
    components: F32 = field(repr=False)  # (K, D) orthonormal rows

    @classmethod
    def fit(cls, bands: F32) -> FacePrior:
        """From (N, C, h, w) bands of faces."""
        flat = bands.reshape(len(bands), -1)
        mean = flat.mean(axis=0)
        centred = flat - mean
        _, vectors = np.linalg.eigh((centred @ centred.T).astype(np.float64))
        count = min(COMPONENTS, len(bands) - 1)
        leading = vectors[:, ::-1][:, :count].astype(np.float32)
        spanning = leading.T @ centred
        lengths = np.linalg.norm(spanning, axis=1, keepdims=True)
        return cls(mean, np.asarray(spanning / lengths, np.float32))

    def encode(self, bands: F32) -> F32:
        """(N, C, h, w) or (N, C, n) to (N, K)."""
        coded = (bands.reshape(len(bands), -1) - self.mean) @ self.components.T
        return np.asarray(coded, np.float32)

    def decode(self, coded: NDArray[np.floating], shape: tuple[int, ...]) -> F32:
        """(N, K) to (N, *shape)."""
        flat: F32 = coded.astype(np.float32) @ self.components + self.mean
        return flat.reshape(len(coded), *shape)


@dataclass(frozen=True, slots=True)
class Fold:
    """Other people's faces to learn on, protected by the attacker's own hand. (N, C, h, w) each."""

    original: F32 = field(repr=False)
    public: F32 = field(repr=False)  # protected, as it is sent
    pieces: F32 = field(repr=False)  # recovered, not unscrambled


@dataclass(frozen=True, slots=True)
class Solver:
    """An attack prepared for one obfuscator."""

    prior: FacePrior
    difference: bool  # the pieces are of the face less what is public, not of the face
    alone: Ridge  # from the protected picture, learned on all folds: what needs no pieces
    first: Ridge  # the same, learned on the first fold: what the stages correct
    stages: Sequence[Ridge] = ()  # from guess, placed pieces and histograms

    @classmethod
    def prepare(cls, prior: FacePrior, folds: Sequence[Fold], *, difference: bool) -> Solver:
        """The first fold teaches the guess, each other one a correction."""
        public = [fold.public.reshape(len(fold.public), -1) for fold in folds]
        codes = [prior.encode(fold.original) for fold in folds]
        alone = Ridge.fit(np.concatenate(public), np.concatenate(codes))
        first = Ridge.fit(public[0], codes[0])
        stages: list[Ridge] = []
        for fold, code in zip(folds[1:], codes[1:], strict=True):
            solver = cls(prior, difference, alone, first, tuple(stages))
            features = solver._features(fold.public, sorted_magnitudes(fold.pieces))
            stages.append(Ridge.fit(features, code))
        return cls(prior, difference, alone, first, tuple(stages))

    def guess(self, public: F32) -> F32:
        """The best linear guess from (N, C, h, w) public bands alone.

        It has learned on as many faces as what it is compared with.
        """
        coded = self.alone.predict(public.reshape(len(public), -1))
        return self.prior.decode(coded, public.shape[1:])

    def solve(self, public: F32, pieces: F32) -> tuple[F32, F32]:
        """The corrected guess and the face of the placed pieces, both (N, C, h, w).

        `pieces` are bands with their coefficients in any order, under any signs.
        """
        magnitudes = sorted_magnitudes(pieces)
        features = self._features(public, magnitudes)
        coded = features[:, : len(self.prior.components)]
        guess = self.prior.decode(coded, public.shape[1:])
        return guess, self._placed(magnitudes, coded, public)

    def _features(self, public: F32, magnitudes: F32) -> F32:
        """The guess after all stages, the pieces placed by it, and the histograms. (N, features)"""
        histograms = quantiles(magnitudes)
        coded: NDArray[np.floating] = self.first.predict(public.reshape(len(public), -1))
        features = self._with_placed(coded, public, magnitudes, histograms)
        for stage in self.stages:
            coded = stage.predict(features)
            features = self._with_placed(coded, public, magnitudes, histograms)
        return features

    def _with_placed(
        self, coded: NDArray[np.floating], public: F32, magnitudes: F32, histograms: F32
    ) -> F32:
        portions = zip(*(_portions(each) for each in (magnitudes, coded, public)), strict=True)
        placed = np.concatenate([self.prior.encode(self._placed(*some)) for some in portions])
        return np.concatenate([coded.astype(np.float32), placed, histograms], axis=1)

    def _placed(self, magnitudes: F32, coded: NDArray[np.floating], public: F32) -> F32:
        """(N, C, h, w) the face that the pieces make where the guess wants them."""
        base = public if self.difference else np.zeros_like(public)
        wanted = self.prior.decode(coded, public.shape[1:]) - base
        placed = _place_sorted(magnitudes, wanted.reshape(magnitudes.shape))
        return placed.reshape(public.shape) + base


def _portions(array: NDArray[Any]) -> list[NDArray[Any]]:
    """64 faces at a time: all at once would take gigabytes."""
    return [array[start : start + 64] for start in range(0, len(array), 64)]


def quantiles(magnitudes: F32) -> F32:
    """What places and signs do not hide: (N, C, n) sorted to (N, C * QUANTILES)."""
    at = ((np.arange(QUANTILES) + 0.5) / QUANTILES * magnitudes.shape[-1]).astype(np.int64)
    chosen: F32 = magnitudes[..., at].reshape(len(magnitudes), -1)
    return chosen


def sorted_magnitudes(pieces: F32) -> F32:
    """The fingerprint that scrambling leaves: (N, C, h, w) to (N, C, h * w), rising."""
    return np.sort(np.abs(pieces.reshape(*pieces.shape[:2], -1)), axis=-1)
