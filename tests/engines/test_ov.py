from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from engines import Catalog, EngineError, open_engine
from engines.catalog import verified_file
from engines.ov import OpenVinoEngine

ENTRY = Catalog.load(Path(__file__).resolve().parents[2] / "configs" / "models.yaml").entry(
    "centerface"
)


@pytest.fixture(scope="module")
def engine() -> Iterator[OpenVinoEngine]:
    # a small picture: the answers are checked, not the network
    opened = OpenVinoEngine(
        verified_file(ENTRY), name="centerface", input_name=ENTRY.input_name, size_px=(64, 32)
    )
    yield opened
    opened.close()


def pictures(count: int, seed: int = 0) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    rng = np.random.default_rng(seed)
    return rng.uniform(0, 255, (count, 3, 32, 64)).astype(np.float32)


def test_a_batch_is_the_same_as_one_by_one(engine: OpenVinoEngine) -> None:
    batch = pictures(3)
    together = engine.run({ENTRY.input_name: batch})
    for index in range(3):
        alone = engine.run({ENTRY.input_name: batch[index : index + 1]})
        assert set(alone) == set(together)
        for name, tensor in alone.items():
            assert tensor.dtype == np.float32
            np.testing.assert_allclose(together[name][index], tensor[0], atol=1e-3)


def test_answers_are_copies(engine: OpenVinoEngine) -> None:
    first = engine.run({ENTRY.input_name: pictures(1)})
    kept = {name: tensor.copy() for name, tensor in first.items()}
    engine.run({ENTRY.input_name: pictures(1, seed=1)})
    for name, tensor in first.items():
        np.testing.assert_array_equal(tensor, kept[name])


@pytest.mark.parametrize("shape", [(1, 3, 32, 32), (1, 1, 32, 64), (3, 32, 64)])
def test_a_wrong_input_is_an_engine_error(engine: OpenVinoEngine, shape: tuple[int, ...]) -> None:
    with pytest.raises(EngineError, match="centerface failed"):
        engine.run({ENTRY.input_name: np.zeros(shape, np.float32)})
    engine.run({ENTRY.input_name: pictures(1)})  # and the next one works


def test_use_after_close_raises() -> None:
    engine = open_engine(ENTRY, threads=1)
    assert (engine.name, engine.runtime) == ("centerface", "openvino")
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run({ENTRY.input_name: np.zeros((1, 3, 384, 640), np.float32)})


def test_a_file_that_is_no_model(tmp_path: Path) -> None:
    path = tmp_path / "x.onnx"
    path.write_bytes(b"nothing of the kind")
    with pytest.raises(EngineError, match="OpenVINO cannot open model x: ") as caught:
        OpenVinoEngine(path, name="x", input_name="in", size_px=(64, 32))
    assert "\n" not in str(caught.value)


SIGNAL_AFTER_CLOSE = """
import gc, os, signal, sys, threading
from pathlib import Path
from engines.ov import OpenVinoEngine

engines = [OpenVinoEngine(Path(sys.argv[1]), name="x", input_name=sys.argv[2], size_px=(64, 32))]

def drop():
    engines.pop().close()
    gc.collect()

thread = threading.Thread(target=drop)
thread.start()
thread.join()
signal.signal(signal.SIGTERM, lambda *_: print("told to stop"))
os.kill(os.getpid(), signal.SIGTERM)
"""


def test_a_signal_after_another_thread_closed_the_network() -> None:
    """OpenVINO's plugin would leave the main thread without a stack for signals."""
    done = subprocess.run(
        [sys.executable, "-c", SIGNAL_AFTER_CLOSE, verified_file(ENTRY), ENTRY.input_name],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "told to stop\n"), done.stderr
