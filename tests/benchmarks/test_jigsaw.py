"""The attack: its assignment is exact, and it does solve what can be solved."""

from __future__ import annotations

import itertools

import numpy as np

from benchmarks._jigsaw import FacePrior, Fold, Ridge, Solver, place, quantiles, sorted_magnitudes
from engines.bands import F32


def test_placing_is_the_best_of_all_permutations_and_signs() -> None:
    rng = np.random.default_rng(0)
    pieces = rng.normal(size=5).astype(np.float32)
    guess = rng.normal(size=5).astype(np.float32)
    found = float(np.square(place(pieces[None], guess[None]) - guess).sum())
    best = min(
        float(np.square(np.array(order) * signs - guess).sum())
        for order in itertools.permutations(np.abs(pieces))
        for signs in itertools.product((-1, 1), repeat=5)
    )
    assert abs(found - best) < 1e-6


def test_placing_uses_every_piece_once() -> None:
    rng = np.random.default_rng(0)
    pieces, guess = rng.normal(size=(2, 3, 4, 9)).astype(np.float32)
    placed = place(pieces, guess)
    assert (np.sort(np.abs(placed)) == np.sort(np.abs(pieces))).all()
    assert (np.sign(placed) == np.sign(guess)).all()


def test_ridge_finds_a_linear_law_with_many_and_with_few_samples() -> None:
    rng = np.random.default_rng(0)
    law = rng.normal(size=(20, 3))
    for count in (200, 15):
        inputs = rng.normal(size=(count, 20))
        ridge = Ridge.fit(inputs, inputs @ law + 5)
        assert np.abs(ridge.predict(inputs) - inputs @ law - 5).max() < 0.2


def test_ridge_does_not_believe_in_noise() -> None:
    rng = np.random.default_rng(0)
    ridge = Ridge.fit(rng.normal(size=(60, 40)), rng.normal(size=(60, 2)))
    assert np.abs(ridge.predict(rng.normal(size=(50, 40)))).mean() < 0.5


def test_pieces_help_where_the_public_picture_says_little() -> None:
    """Pictures of one shape and of any strength: the public part shows the shape's sign only."""
    rng = np.random.default_rng(0)
    shape = rng.normal(size=(1, 2, 8, 8)).astype(np.float32)

    def made(count: int) -> tuple[F32, F32]:
        strength = rng.uniform(0.2, 3, (count, 1, 1, 1)).astype(np.float32)
        sign = rng.choice([-1, 1], (count, 1, 1, 1)).astype(np.float32)
        noise = 0.02 * rng.normal(size=(count, 2, 8, 8)).astype(np.float32)
        return strength * sign * shape + noise, sign * shape + noise

    prior = FacePrior.fit(made(60)[0])
    folds = [Fold(truth, public, truth) for truth, public in (made(150), made(150))]
    solver = Solver.prepare(prior, folds, difference=False)
    truth, public = made(30)
    scrambled = rng.permuted(truth.reshape(30, 2, 64), axis=2).reshape(truth.shape)
    scrambled *= rng.choice([-1, 1], truth.shape)
    guess, placed = solver.solve(public, scrambled)

    def error(found: F32) -> float:
        return float(np.square(found - truth).mean())

    assert error(guess) < 0.3 * error(solver.guess(public))
    assert error(placed) < 0.3 * error(solver.guess(public))


def test_what_scrambling_leaves_does_not_depend_on_the_key() -> None:
    rng = np.random.default_rng(0)
    bands = rng.normal(size=(2, 3, 4, 4)).astype(np.float32)
    scrambled = rng.permuted(bands.reshape(2, 3, 16), axis=2).reshape(bands.shape) * -1
    assert (sorted_magnitudes(bands) == sorted_magnitudes(scrambled)).all()
    assert quantiles(sorted_magnitudes(bands)).shape == (2, 36)
