from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from engines import EngineError, FusionEntry, RuntimeAbsent, eager
from engines.base import Array
from engines.catalog import verified_graph
from engines.eager import EagerEngine, built_for_cuda, nvidia_gpu_count, why_absent
from support.fusion_nets import random_net

Entries = Mapping[str, FusionEntry]


def opened(entry: FusionEntry, *, half: bool = False) -> EagerEngine:
    return EagerEngine(verified_graph(entry, "protect"), "protect", entry.spec, half=half)


def inputs(entry: FusionEntry, side: int = 4) -> dict[str, Array]:
    rng = np.random.default_rng(0)
    shape = (1, entry.spec.layout.channels, side, side)
    return {name: rng.normal(size=shape).astype(np.float32) for name in ("x", "y")}


def test_it_is_the_network_of_the_paper(entries: Entries) -> None:
    entry = entries["scrambled"]
    given = inputs(entry)
    engine = opened(entry)
    assert (engine.name, engine.runtime) == ("scrambled", "eager-cpu")
    with torch.inference_mode():
        x, y = (torch.from_numpy(given[name]) for name in ("x", "y"))
        expected = random_net(entry.spec).protect(x, y, None).numpy()
    np.testing.assert_array_equal(engine.run(given)["out"], expected)


def test_half_rounds_and_not_much(entries: Entries) -> None:
    for name in ("scrambled", "restored"):
        given = inputs(entries[name])
        whole, half = opened(entries[name]).run(given), opened(entries[name], half=True).run(given)
        difference = np.abs(whole["out"] - half["out"]).max()
        assert 0 < difference < 0.02
        assert half["out"].dtype == np.float32


def test_a_wrong_input_is_an_engine_error(entries: Entries) -> None:
    engine = opened(entries["scrambled"])
    given = inputs(entries["scrambled"])
    for wrong in ({"y": given["y"]}, given | {"x": given["x"][:, :3]}):
        with pytest.raises(EngineError, match="model scrambled failed") as caught:
            engine.run(wrong)
        assert "\n" not in str(caught.value)
    engine.run(given)


def test_closed_is_closed(entries: Entries) -> None:
    engine = opened(entries["scrambled"])
    engine.close()
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run(inputs(entries["scrambled"]))


def hide(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, package=None: None if name in names else real(name, package),
    )


def test_without_pytorch(entries: Entries, monkeypatch: pytest.MonkeyPatch) -> None:
    hide(monkeypatch, "torch")
    with pytest.raises(RuntimeAbsent, match=r"torch not installed: pip install 'bauta\[train\]'"):
        opened(entries["scrambled"])
    hide(monkeypatch, "torch", "onnx")
    assert (why_absent("cpu") or "").startswith("torch and onnx not installed")


def test_cuda_needs_a_gpu_and_a_build_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eager, "nvidia_gpu_count", lambda: 0)
    assert why_absent("cuda") == "no NVIDIA GPU"
    monkeypatch.setattr(eager, "nvidia_gpu_count", lambda: 1)
    monkeypatch.setattr(eager, "built_for_cuda", lambda: None)
    assert why_absent("cuda") == "this PyTorch is built for the CPU"
    monkeypatch.setattr(eager, "built_for_cuda", lambda: "13.0")
    assert why_absent("cuda") is None


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("cuda: Optional[str] = '12.8'\n", "12.8"),
        ("cuda: Optional[str] = None\n", None),
        ("", None),
    ],
)
def test_the_build_is_read_without_importing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, expected: str | None
) -> None:
    (tmp_path / "version.py").write_text(line, encoding="utf-8")
    spec = SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: spec)
    assert built_for_cuda() == expected
    (tmp_path / "version.py").unlink()
    assert built_for_cuda() is None


class Driver:
    """libcuda as ctypes shows it."""

    def __init__(self, status: int, count: int) -> None:
        self._status, self._count = status, count

    def cuInit(self, _: int) -> int:  # noqa: N802
        return self._status

    def cuDeviceGetCount(self, count: object) -> int:  # noqa: N802
        count._obj.value = self._count  # type: ignore[attr-defined]
        return 0


def test_gpus_are_what_the_driver_answers_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ctypes.CDLL", lambda name: Driver(0, 2))
    assert nvidia_gpu_count() == 2
    monkeypatch.setattr("ctypes.CDLL", lambda name: Driver(100, 2))  # CUDA_ERROR_NO_DEVICE
    assert nvidia_gpu_count() == 0

    def missing(name: str) -> None:
        raise OSError

    monkeypatch.setattr("ctypes.CDLL", missing)
    assert nvidia_gpu_count() == 0
