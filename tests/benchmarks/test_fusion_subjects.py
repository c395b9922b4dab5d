"""What the benchmarks of fusion measure with; engines that hide nothing stand for networks."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import pytest

from benchmarks import _fusion
from benchmarks._fusion import WRONG_KINDS, Batch, Opener, Remembering, UnroundedLayout
from engines import FaceSecrets
from engines.bands import BandLayout
from engines.base import Array
from engines.fusion import FusionModel, FusionSpec
from engines.train.data import FaceSet
from engines.train.split import is_held_out
from pipeline.vault.secret_map import KEY_BYTES

SIDE_PX = 112
KEY = bytes(range(KEY_BYTES))


class Passing:
    """The scrambled face goes out as it came in: all secrecy is the scrambling's."""

    name = runtime = "passing"

    def __init__(self) -> None:
        self.runs = 0

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        self.runs += 1
        return {"out": inputs["x"] if "x" in inputs else inputs["y"]}

    def close(self) -> None:
        pass


def model(*, keyed: bool = False, scrambled: bool = True) -> FusionModel:
    spec = FusionSpec("passing", BandLayout("yuv420", 2), "randwr", keyed, scrambled, 8, 3)
    return FusionModel(spec, Passing(), Passing())


def batch(count: int, spec: FusionSpec) -> Batch:
    rng = np.random.default_rng(0)
    smooth = np.linspace(60, 190, SIDE_PX)[:, None] + rng.normal(0, 12, (count, SIDE_PX, SIDE_PX))
    luma = smooth.astype(np.uint8)
    chroma = np.full((SIDE_PX // 2, SIDE_PX // 2), 128, np.uint8)
    pictures = [(each, chroma, chroma) for each in luma]
    return _fusion.batch_of(pictures, ["pixelate"] * count, spec)


# --- keys ---


@pytest.mark.parametrize(
    ("kind", "bits"), [("one bit", 1), ("half the bits", 128), ("all bits", 256)]
)
def test_a_wrong_key_is_wrong_in_as_many_bits(kind: str, bits: int) -> None:
    wrong = _fusion.wrong_key(kind, KEY, np.random.default_rng(0))
    difference = int.from_bytes(wrong, "big") ^ int.from_bytes(KEY, "big")
    assert len(wrong) == KEY_BYTES and difference.bit_count() == bits


def test_the_other_wrong_keys() -> None:
    rng = np.random.default_rng(0)
    assert _fusion.wrong_key("zero key", KEY, rng) == bytes(KEY_BYTES)
    assert _fusion.wrong_key("random key", KEY, rng) != _fusion.wrong_key("random key", KEY, rng)
    with pytest.raises(ValueError, match="no key is wrong by 'no secret'"):
        _fusion.wrong_key("no secret", KEY, rng)


def test_one_secret_for_all_faces_is_the_same_secret() -> None:
    spec = model(keyed=True).spec
    shared = _fusion.shared_secret(KEY, spec)(slice(16, 19))
    one = _fusion.secrets_of([KEY], spec)(slice(0, 1))
    assert shared.order is not None and one.order is not None
    assert shared.sign_map is not None and one.sign_map is not None
    assert shared.order.shape[0] == 3 and (shared.order == one.order).all()
    assert (shared.sign_map == one.sign_map).all()


def test_no_secret_unscrambles_nothing() -> None:
    spec = model(keyed=True).spec
    secrets: FaceSecrets = _fusion.no_secret(spec)(slice(0, 2))
    bands = np.random.default_rng(0).normal(size=(2, 24, 28, 28)).astype(np.float32)
    assert (secrets.unscramble(bands) == bands).all()
    assert secrets.sign_map is not None and not secrets.sign_map.any()


# --- through the model ---


def test_the_right_key_opens_and_every_kind_of_wrong_one_does_not() -> None:
    fusion = model()
    faces = batch(3, fusion.spec)
    keys = _fusion.random_keys(3, np.random.default_rng(1))
    right = _fusion.secrets_of(keys, fusion.spec)
    opener = Opener(fusion, _fusion.protect_all(fusion, faces, right))
    original = fusion.spec.layout.to_bands(faces.original)
    assert np.abs(opener.open(right) - original).max() < 1e-6
    rng = np.random.default_rng(2)
    for kind in WRONG_KINDS:
        opened = opener.open(_fusion.wrong_secrets(kind, keys, fusion.spec, rng))
        errors = np.abs(opened - original).mean(axis=(1, 2, 3))
        assert errors.min() > 0.05, kind  # 13 levels of 255


def test_many_keys_cost_one_run_of_an_unkeyed_network() -> None:
    fusion = model()
    faces = batch(2, fusion.spec)
    keys = _fusion.random_keys(2, np.random.default_rng(1))
    opener = Opener(
        fusion, _fusion.protect_all(fusion, faces, _fusion.secrets_of(keys, fusion.spec))
    )
    for number in range(4):
        opener.open(_fusion.shared_secret(bytes([number]) * KEY_BYTES, fusion.spec))
    recover = fusion._recover
    assert isinstance(recover, Passing) and recover.runs == 1


def test_a_keyed_network_runs_for_every_key() -> None:
    fusion = model(keyed=True)
    opener = Opener(fusion, np.zeros((2, 24, 28, 28), np.float32))
    for number in range(4):
        opener.open(_fusion.shared_secret(bytes([number]) * KEY_BYTES, fusion.spec))
    recover = fusion._recover
    assert isinstance(recover, Passing) and recover.runs == 4


def test_some_faces_open_as_all_of_them_do() -> None:
    fusion = model()
    faces = batch(20, fusion.spec)
    keys = _fusion.random_keys(20, np.random.default_rng(1))
    right = _fusion.secrets_of(keys, fusion.spec)
    opener = Opener(fusion, _fusion.protect_all(fusion, faces, right))
    whole = opener.open(right)
    assert (opener.open(right, slice(16, 20)) == whole[16:]).all()


def test_what_is_hidden_is_the_unscrambled_face() -> None:
    fusion = model()
    faces = batch(2, fusion.spec)
    hidden = _fusion.payload_of(fusion, faces.original, faces.obfuscated)
    assert (hidden == fusion.spec.layout.to_bands(faces.original)).all()
    protect = fusion._protect
    assert isinstance(protect, Passing) and protect.runs == 0


def test_pieces_are_what_the_network_gives_without_the_order() -> None:
    fusion = model()
    secrets = _fusion.shared_secret(KEY, fusion.spec)(slice(0, 1))
    bands = np.random.default_rng(0).normal(size=(1, 24, 28, 28)).astype(np.float32)
    assert (_fusion.pieces_of(fusion, bands, secrets) == bands).all()


def test_an_unrounded_layout_keeps_what_eight_bits_lose() -> None:
    layout = UnroundedLayout("yuv420", 1)
    bands = np.random.default_rng(0).normal(0, 0.1, (1, 6, 8, 8)).astype(np.float32)
    assert (layout.to_bands(layout.to_picture(bands)) == bands).all()
    rounded = BandLayout("yuv420", 1)
    assert np.abs(rounded.to_bands(rounded.to_picture(bands)) - bands).max() > 1e-4


def test_the_same_question_is_asked_once() -> None:
    engine = Passing()
    remembering = Remembering(engine)
    first = np.zeros((1, 2), np.float32)
    remembering.run({"y": first})
    remembering.run({"y": first.copy()})
    assert engine.runs == 1
    remembering.run({"y": first + 1})
    assert engine.runs == 2


# --- faces ---


def test_the_split_is_by_identity_and_does_not_move() -> None:
    names = [f"Person_{number}" for number in range(2000)]
    share = sum(map(is_held_out, names)) / len(names)
    assert 0.08 < share < 0.13
    for name in names[:50]:
        first_byte = hashlib.sha256(name.encode("utf-8")).digest()[0]
        assert is_held_out(name) == (first_byte < 26)


def test_everybody_comes_once_before_anybody_comes_twice() -> None:
    identities = tuple("aaaabbc")
    faces = FaceSet(np.zeros((7, 168, 112), np.uint8), identities, "made", "")
    chosen = _fusion.choose_faces(faces, 5, seed=0).identities
    assert set(chosen[:3]) == {"a", "b", "c"} and sorted(chosen[3:]) == ["a", "b"]
    assert chosen == _fusion.choose_faces(faces, 5, seed=0).identities


@pytest.mark.parametrize("kind", _fusion.KINDS)
def test_every_obfuscator_gives_another_picture_of_the_size(kind: str) -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 256, (112, 112), np.uint8)
    u, v = rng.integers(0, 256, (2, 56, 56), np.uint8)
    hidden = _fusion.obfuscated((y, u, v), kind)
    assert [plane.shape for plane in hidden] == [(112, 112), (56, 56), (56, 56)]
    assert (hidden[0] != y).any()


def test_batches_cover_all_and_none_twice() -> None:
    covered = [index for each in _fusion.in_batches(37) for index in range(each.start, each.stop)]
    assert covered == list(range(37))
