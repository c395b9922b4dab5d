from __future__ import annotations

import gc
import threading
import time
from collections.abc import Mapping

import numpy as np
import pytest

from engines import EngineError
from engines.fusion import FaceSecrets, FusionModel
from pipeline.fusion_worker import FusionWorker, Picture
from pipeline.vault.secret_map import face_secrets
from support.fusion import SPEC, Array, Script, scripted_model

SIDE = 32


def faces(count: int = 1) -> tuple[Picture, FaceSecrets]:
    rng = np.random.default_rng(count)
    picture = (
        rng.integers(40, 200, (count, 1, SIDE, SIDE), np.uint8),
        rng.integers(40, 200, (count, 2, SIDE // 2, SIDE // 2), np.uint8),
    )
    keys = [bytes([n]) * 32 for n in range(count)]
    return picture, face_secrets(keys, SPEC, (SIDE, SIDE))


def threads() -> int:
    return sum(thread.name == "fusion" for thread in threading.enumerate())


def wait_until(what: str, seconds: float = 10.0, *, count: int) -> None:
    deadline = time.monotonic() + seconds
    while threads() != count:
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_it_gives_what_the_model_gives() -> None:
    worker = FusionWorker(scripted_model)
    picture, secrets = faces(3)
    made = worker.protect(picture, picture, secrets, timeout_seconds=10)
    expected = scripted_model().protect(picture, picture, secrets)
    for plane, other in zip(made, expected, strict=True):
        np.testing.assert_array_equal(plane, other)
    assert worker.spec == SPEC and worker.runtime == "scripted"
    worker.close()


def test_a_model_that_cannot_be_opened_is_an_error_at_once() -> None:
    def missing() -> FusionModel:
        raise EngineError("model proface-s-video: protect.onnx is not in /nowhere")

    wait_until("those of other tests", count=0)
    with pytest.raises(EngineError, match="is not in /nowhere"):
        FusionWorker(missing)
    wait_until("the thread ends", count=0)


def test_what_the_model_raises_is_raised_and_the_next_call_goes_well() -> None:
    script = Script()

    def once(run: int, _inputs: Mapping[str, Array]) -> dict[str, Array] | None:
        if run == 1:
            raise ValueError("broken")
        return None

    script.fault = once
    worker = FusionWorker(script.open)
    picture, secrets = faces()
    with pytest.raises(ValueError, match="broken"):
        worker.protect(picture, picture, secrets, timeout_seconds=10)
    assert worker.protect(picture, picture, secrets, timeout_seconds=10)
    worker.close()


def test_a_call_that_hangs_is_left_and_no_other_waits_for_it() -> None:
    script, release = Script(), threading.Event()

    def hang_first(run: int, _inputs: Mapping[str, Array]) -> None:
        if run == 1:
            release.wait(20)

    script.fault = hang_first
    worker = FusionWorker(script.open)
    picture, secrets = faces()
    began = time.monotonic()
    with pytest.raises(EngineError, match=r"no answer from the fusion model in 0\.2 s"):
        worker.protect(picture, picture, secrets, timeout_seconds=0.2)
    with pytest.raises(EngineError, match="hangs"):
        worker.protect(picture, picture, secrets, timeout_seconds=10)
    assert time.monotonic() - began < 5
    release.set()
    deadline = time.monotonic() + 10
    while True:  # it has come back: so does the model
        try:
            assert worker.protect(picture, picture, secrets, timeout_seconds=10)
            break
        except EngineError:
            assert time.monotonic() < deadline
            time.sleep(0.02)
    worker.close()


def test_sessions_that_share_it_each_get_their_own() -> None:
    worker = FusionWorker(scripted_model)
    inputs = [faces(n + 1) for n in range(4)]
    expected = [scripted_model().protect(p, p, s) for p, s in inputs]
    wrong: list[int] = []

    def session(n: int) -> None:
        picture, secrets = inputs[n]
        for _ in range(30):
            made = worker.protect(picture, picture, secrets, timeout_seconds=30)
            if not all(np.array_equal(a, b) for a, b in zip(made, expected[n], strict=True)):
                wrong.append(n)

    running = [threading.Thread(target=session, args=(n,)) for n in range(4)]
    for thread in running:
        thread.start()
    for thread in running:
        thread.join(60)
    assert wrong == []
    worker.close()


def test_it_ends_when_closed_and_when_forgotten() -> None:
    wait_until("those of other tests", count=0)
    worker = FusionWorker(scripted_model)
    assert threads() == 1
    worker.close()
    worker.close()
    picture, secrets = faces()
    with pytest.raises(EngineError, match="closed"):
        worker.protect(picture, picture, secrets, timeout_seconds=1)
    wait_until("closed", count=0)

    worker = FusionWorker(scripted_model)
    del worker
    gc.collect()
    wait_until("forgotten", count=0)
