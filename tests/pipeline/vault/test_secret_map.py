"""One key, one face: every bit of it counts, and nothing else decides."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from engines.bands import BandLayout
from engines.fusion import FaceSecrets, FusionSpec
from pipeline.vault.secret_map import (
    KEY_BYTES,
    PBKDF2_ITERATIONS,
    face_key,
    face_secrets,
    key_from_password,
)

BOTH = FusionSpec("both", BandLayout("yuv420", 2), "randwr", True, True, growth=4, depth=1)
SIZE_PX = (48, 32)
KEY = bytes(range(KEY_BYTES))


def secrets_of(*keys: bytes, spec: FusionSpec = BOTH) -> FaceSecrets:
    return face_secrets(keys, spec, SIZE_PX)


def test_shapes_and_values() -> None:
    made = secrets_of(KEY, KEY[::-1])
    assert made.sign_map is not None and made.order is not None and made.signs is not None
    assert made.sign_map.shape == (2, 1, 32, 48)
    assert made.order.shape == made.signs.shape == (2, 24, 8 * 12)
    assert set(np.unique(made.sign_map).tolist()) == {-1, 1}
    assert set(np.unique(made.signs).tolist()) == {-1, 1}
    assert (np.sort(made.order, axis=2) == np.arange(96)).all()
    assert abs(float(made.sign_map.mean())) < 0.1


@settings(max_examples=25, deadline=None)
@given(bit=st.integers(0, 8 * KEY_BYTES - 1))
def test_one_bit_changes_everything(bit: int) -> None:
    other = bytearray(KEY)
    other[bit // 8] ^= 1 << bit % 8
    made, changed = secrets_of(KEY), secrets_of(bytes(other))
    for name in ("sign_map", "signs"):
        same = float((getattr(made, name) == getattr(changed, name)).mean())
        assert 0.4 < same < 0.6, name
    assert made.order is not None and changed.order is not None
    assert float((made.order == changed.order).mean()) < 0.05


def test_bands_have_orders_of_their_own() -> None:
    made = secrets_of(KEY)
    assert made.order is not None
    assert len({band.tobytes() for band in made.order[0]}) == 24


def test_the_derivation_does_not_move() -> None:
    """Clips that were sealed with it must stay open: a new version needs a new label."""
    made = secrets_of(KEY)
    assert made.sign_map is not None and made.order is not None and made.signs is not None
    digest = hashlib.sha256()
    for array in (made.sign_map, made.order.astype(">i8"), made.signs):
        digest.update(array.tobytes())
    digest.update(face_key(KEY, 7, (12, 34, 112)))
    assert digest.hexdigest() == "7d1815c0c38443c40adf2320d63fb3aa7c2aa5dfc46a06e52fc6d5c5482cd66e"


@pytest.mark.parametrize("spec", [BOTH, replace(BOTH, keyed=False), replace(BOTH, scrambled=False)])
def test_only_what_the_model_takes(spec: FusionSpec) -> None:
    made = secrets_of(KEY, spec=spec)
    assert (made.sign_map is not None) == spec.keyed
    assert (made.order is not None) == (made.signs is not None) == spec.scrambled


def test_scrambling_comes_back_with_the_same_key_only() -> None:
    bands = np.random.default_rng(0).normal(size=(1, 24, 8, 12)).astype(np.float32)
    made = secrets_of(KEY)
    assert np.array_equal(made.unscramble(made.scramble(bands)), bands)
    wrong = secrets_of(bytes(KEY_BYTES)).unscramble(made.scramble(bands))
    assert abs(float(np.corrcoef(wrong.ravel(), bands.ravel())[0, 1])) < 0.1


def test_two_faces_never_share_a_key() -> None:
    with pytest.raises(ValueError, match="share a key"):
        secrets_of(KEY, KEY)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 2**40), *[st.integers(0, 8192)] * 3),
        min_size=2,
        max_size=2,
        unique=True,
    )
)
def test_every_frame_and_square_has_its_own_key(places: list[tuple[int, int, int, int]]) -> None:
    first, second = (face_key(KEY, frame, (x, y, side)) for frame, x, y, side in places)
    assert first != second and len(first) == len(second) == KEY_BYTES


def test_a_password_needs_its_salt_and_a_modern_work_factor() -> None:
    assert PBKDF2_ITERATIONS >= 600_000
    one = key_from_password("correct horse", b"s" * 16)
    assert one == hashlib.pbkdf2_hmac("sha256", b"correct horse", b"s" * 16, PBKDF2_ITERATIONS)
    assert one != key_from_password("correct horse", b"t" * 16)
    for password, salt in (("", b"s" * 16), ("x", b"short")):
        with pytest.raises(ValueError, match=r"empty|must be 16 bytes"):
            key_from_password(password, salt)


@pytest.mark.parametrize("key", [b"", KEY[:-1], KEY + b"x"])
def test_a_key_of_another_length_is_refused(key: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        secrets_of(key)
    with pytest.raises(ValueError, match="32 bytes"):
        face_key(key, 0, (0, 0, 64))
