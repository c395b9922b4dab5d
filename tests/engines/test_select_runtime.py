from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest

from engines import EngineError, FusionEntry, RuntimeAbsent, open_fusion, select_runtime
from engines.catalog import Graphs, verified_graphs
from engines.export.parity import Engines, compare, made_faces
from engines.fusion import Part
from engines.scripted import ScriptedEngine
from engines.select_runtime import NAMES, OPENERS, RUNTIMES, Opened, Runtime, open_on
from support.fusion_nets import need

Entries = Mapping[str, FusionEntry]
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _all_are_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine with a GPU: whatever opens is decided by the openers."""
    monkeypatch.setattr(select_runtime, "why_absent", lambda runtime: None)


def fails(monkeypatch: pytest.MonkeyPatch, runtime: Runtime, error: Exception) -> None:
    def opener(*_: object) -> Opened:
        raise error

    monkeypatch.setitem(OPENERS, runtime, opener)


def answers(monkeypatch: pytest.MonkeyPatch, runtime: Runtime, factor: float = 1.0) -> None:
    def opener(entry: FusionEntry, graphs: Graphs, wanted: Sequence[Part], threads: int) -> Opened:
        def script(inputs: Mapping[str, object]) -> dict[str, object]:
            return {"out": inputs["y"] * np.float32(factor), "obfuscated": inputs["y"]}  # type: ignore[operator]

        made = {part: ScriptedEngine(script) for part in wanted}  # type: ignore[arg-type]
        for engine in made.values():
            engine.runtime = runtime
        return dict(made)

    monkeypatch.setitem(OPENERS, runtime, opener)


def test_the_first_that_opens_is_taken(entries: Entries, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = entries["restored"]
    for runtime in RUNTIMES:
        answers(monkeypatch, runtime)
    for runtime in RUNTIMES:
        assert open_fusion(entry).runtime == runtime
        fails(monkeypatch, runtime, EngineError("out of order"))
    with pytest.raises(EngineError) as caught:
        open_fusion(entry)
    message = str(caught.value)
    assert message.startswith("model restored cannot be opened. ")
    assert all(f"{NAMES[runtime]}: out of order" in message for runtime in RUNTIMES)
    assert "\n" not in message


@pytest.mark.parametrize(
    ("error", "level", "why"),
    [
        (RuntimeAbsent("not installed: pip install x"), "INFO", "not installed: pip install x"),
        (EngineError("TensorRT cannot build a plan"), "WARNING", "TensorRT cannot build a plan"),
        (RuntimeError("no kernel image\nat line 1"), "WARNING", "no kernel image"),
        (MemoryError(), "WARNING", "MemoryError"),
    ],
)
def test_a_runtime_that_is_skipped_is_named_once_and_so_is_the_taken_one(
    entries: Entries,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    level: str,
    why: str,
) -> None:
    for runtime in RUNTIMES:
        answers(monkeypatch, runtime)
    fails(monkeypatch, "tensorrt", error)
    with caplog.at_level(logging.INFO, "engines"):
        model = open_fusion(entries["scrambled"])
    assert model.runtime == "eager-cuda"
    lines = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert len(lines) == 2
    assert lines[0][0] == level
    assert lines[0][1].startswith("model scrambled: TensorRT is skipped: ")
    assert why in lines[0][1] and "\n" not in lines[0][1]
    assert lines[1][1] == "model scrambled runs on PyTorch on CUDA"


def test_a_runtime_that_is_named_is_never_replaced(
    entries: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    for runtime in RUNTIMES:
        answers(monkeypatch, runtime)
    fails(monkeypatch, "tensorrt", RuntimeAbsent("not installed"))
    with pytest.raises(EngineError, match=r"cannot be opened\. TensorRT: not installed"):
        open_fusion(entries["scrambled"], runtime="tensorrt")
    fails(monkeypatch, "openvino", EngineError("broken"))
    with pytest.raises(EngineError, match="OpenVINO: broken"):
        open_fusion(entries["scrambled"], runtime="openvino")


def test_eager_prefers_the_gpu(entries: Entries, monkeypatch: pytest.MonkeyPatch) -> None:
    entry = entries["scrambled"]
    answers(monkeypatch, "eager-cuda")
    assert open_fusion(entry, runtime="eager").runtime == "eager-cuda"
    fails(monkeypatch, "eager-cuda", RuntimeAbsent("no NVIDIA GPU"))
    assert open_fusion(entry, runtime="eager").runtime == "eager-cpu"


def test_a_runtime_that_opens_but_does_not_run_is_skipped(
    entries: Entries, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A GPU without kernels for it builds and then fails on the first face."""
    answers(monkeypatch, "tensorrt", factor=np.nan)
    answers(monkeypatch, "eager-cuda")
    with caplog.at_level(logging.WARNING):
        assert open_fusion(entries["scrambled"]).runtime == "eager-cuda"
    assert "no usable picture in a trial run" in caplog.text


def test_engines_of_a_failed_trial_are_closed(
    entries: Entries, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[ScriptedEngine] = []

    def opener(entry: FusionEntry, graphs: Graphs, wanted: Sequence[Part], threads: int) -> Opened:
        made.extend(ScriptedEngine(lambda inputs: {"out": inputs["y"][:0]}) for _ in wanted)
        return dict(zip(wanted, made, strict=True))

    monkeypatch.setitem(OPENERS, "openvino", opener)
    entry = entries["scrambled"]
    with pytest.raises(EngineError, match="trial run"):
        open_on("openvino", entry, verified_graphs(entry))
    assert len(made) == 2
    for engine in made:
        with pytest.raises(EngineError, match="closed"):
            engine.run({})


@pytest.mark.parametrize("name", ["scrambled", "keyed", "one-block", "restored"])
@pytest.mark.parametrize("runtime", ["openvino", "eager"])
def test_every_kind_of_model_opens_and_runs(entries: Entries, name: str, runtime: str) -> None:
    entry = entries[name]
    model = open_fusion(entry, runtime=runtime, threads=1)  # type: ignore[arg-type]
    for original, obfuscated, secrets in made_faces(entry.spec, 1, ((2, 24, 16), (1, 8, 12))):
        protected = model.protect(original, obfuscated, secrets)
        recovered = model.recover(protected, secrets)
        for before, after in zip(original, recovered, strict=True):
            assert before.shape == after.shape and after.dtype == np.uint8
    model.close()


def test_no_pytorch_is_imported_where_openvino_serves() -> None:
    """It would cost seconds and hundreds of megabytes on every start of a service."""
    code = (
        "import sys; import engines, engines.select_runtime as s\n"
        "s.why_absent('eager-cuda'); s.why_absent('tensorrt'); s.why_absent('eager-cpu')\n"
        "assert not {'torch', 'onnx', 'tensorrt', 'pycuda'} & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.gpu
@pytest.mark.parametrize("name", ["scrambled", "keyed", "one-block", "restored"])
@pytest.mark.parametrize("runtime", ["tensorrt", "eager-cuda"])
def test_gpu_runtimes_are_within_their_tolerance(
    entries: Entries,
    runtime: Runtime,
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    need(runtime)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    entry, graphs = entries[name], verified_graphs(entries[name])
    reference = Engines(*open_on("eager-cpu", entry, graphs).values())
    candidate = Engines(*open_on(runtime, entry, graphs).values())
    found = compare(entry.spec, reference, candidate)
    again = compare(entry.spec, reference, candidate)  # captured graphs, replayed
    candidate.close()
    assert found.holds(), found
    assert again == found
