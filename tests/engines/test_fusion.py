from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from engines import EngineError, FaceSecrets, FusionEntry, FusionModel, FusionSpec, open_fusion
from engines.base import Array
from engines.export.parity import made_faces, made_secrets
from engines.fusion import with_head_room
from engines.scripted import ScriptedEngine
from support.fusion_nets import KEYED, ONE_BLOCK, RESTORED, SCRAMBLED

NONE = FaceSecrets(None, None, None)


def echo(inputs: Mapping[str, Array]) -> dict[str, Array]:
    return {"out": inputs["y"], "obfuscated": inputs["y"]}


def echoing(spec: FusionSpec) -> FusionModel:
    engines = [ScriptedEngine(echo) for _ in spec.parts]
    return FusionModel(spec, *engines)


@pytest.mark.parametrize(
    ("spec", "lost"),
    [
        (KEYED, ("sign_map",)),
        (SCRAMBLED, ("order",)),
        (SCRAMBLED, ("signs",)),
        (ONE_BLOCK, ("sign_map",)),  # keyed and scrambled: neither alone will do
        (ONE_BLOCK, ("order", "signs")),
        (RESTORED, ("order", "signs")),
    ],
    ids=str,
)
def test_no_secret_no_picture(spec: FusionSpec, lost: tuple[str, ...]) -> None:
    """A model without its secret would fuse a face that anyone can recover."""
    ((original, obfuscated, secrets),) = made_faces(spec, 0, ((1, 8, 8),))
    model = echoing(spec)
    model.protect(original, obfuscated, secrets)
    for wrong in (replace(secrets, **dict.fromkeys(lost)), NONE):
        with pytest.raises(EngineError, match=f"model {spec.name} needs a"):
            model.protect(original, obfuscated, wrong)
        with pytest.raises(EngineError, match=f"model {spec.name} needs a"):
            model.recover(obfuscated, wrong)


def test_a_model_without_any_secret_cannot_be_described() -> None:
    with pytest.raises(ValueError, match="no secret"):
        replace(SCRAMBLED, scrambled=False)


def test_scrambling_is_undone_and_no_coefficient_is_lost() -> None:
    rng = np.random.default_rng(0)
    secrets = made_secrets(SCRAMBLED, rng, 2, 16, 24)
    bands = rng.normal(size=(2, 24, 4, 6)).astype(np.float32)
    mixed = secrets.scramble(bands)
    np.testing.assert_array_equal(secrets.unscramble(mixed), bands)
    assert np.abs(mixed - bands).mean() > 0.5
    np.testing.assert_array_equal(
        np.sort(np.abs(mixed).reshape(2, 24, 24)), np.sort(np.abs(bands).reshape(2, 24, 24))
    )


def test_secrets_are_not_in_their_repr() -> None:
    secrets = made_secrets(ONE_BLOCK, np.random.default_rng(0), 1, 8, 8)
    assert "array" not in repr(secrets)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_an_unusable_answer_is_an_error(bad: float) -> None:
    """Mid-stream: the caller falls back, nothing of it is shown."""
    ((original, obfuscated, secrets),) = made_faces(SCRAMBLED, 0, ((1, 8, 8),))
    engine = ScriptedEngine(lambda inputs: {"out": inputs["y"] * np.float32(bad)})
    with np.errstate(invalid="ignore"), pytest.raises(EngineError, match="no usable picture"):
        FusionModel(SCRAMBLED, engine, None).protect(original, obfuscated, secrets)


def test_protection_alone(entries: Mapping[str, FusionEntry]) -> None:
    ((original, obfuscated, secrets),) = made_faces(RESTORED, 0, ((1, 16, 16),))
    model = open_fusion(entries["restored"], runtime="openvino", threads=1, recover=False)
    protected = model.protect(original, obfuscated, secrets)
    with pytest.raises(EngineError, match="opened for protection only"):
        model.recover(protected, secrets)
    model.close()


def test_recovery_without_its_last_step_is_refused() -> None:
    engine = ScriptedEngine(echo)
    with pytest.raises(EngineError, match="takes the engines recover and restore"):
        FusionModel(RESTORED, engine, engine)
    with pytest.raises(EngineError, match="takes the engines recover"):
        FusionModel(SCRAMBLED, engine, engine, engine)


def test_a_closed_model_raises(entries: Mapping[str, FusionEntry]) -> None:
    for name in ("scrambled", "restored"):
        spec = entries[name].spec
        ((original, obfuscated, secrets),) = made_faces(spec, 0, ((1, 8, 8),))
        model = open_fusion(entries[name], runtime="openvino", threads=1)
        model.close()
        model.close()
        with pytest.raises(EngineError, match="closed"):
            model.protect(original, obfuscated, secrets)
        with pytest.raises(EngineError, match="closed"):
            model.recover(original, secrets)


def test_head_room() -> None:
    plane = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    (kept,) = with_head_room([plane])
    assert (int(kept.min()), int(kept.max())) == (20, 234)
    assert np.all(np.diff(kept.ravel().astype(int)) >= 0)
