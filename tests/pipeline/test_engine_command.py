"""`bauta engine`: on small networks of random weights; what is absent here is said, not hidden."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
import torch

from engines import EngineError, FusionEntry, select_runtime
from engines.base import Array
from engines.export.parity import compare
from engines.ov import OpenVinoEngine
from engines.select_runtime import NAMES, OPENERS, RUNTIMES
from pipeline import engine_command
from pipeline.cli import main
from support.fusion_nets import KEYED, RESTORED, exported, write_catalog


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("configs")
    write_catalog(home, [exported(RESTORED, home), exported(KEYED, home)])
    return home


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> Iterator[None]:
    """The networks are tiny: a second thread only waits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _small(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine_command, "config_path", lambda name: home / name)
    monkeypatch.setattr(engine_command, "LEAST_RUNS", 1)
    monkeypatch.setattr(engine_command, "SECONDS_OF_RUNS", 0.0)
    monkeypatch.setattr(engine_command, "compare", partial(compare, cases=((2, 24, 40),)))
    # a machine without a GPU, whichever this is
    missing = "tensorrt not installed: pip install 'bauta[gpu]'"
    absent: dict[str, str] = {"tensorrt": missing, "eager-cuda": "no GPU"}
    real = select_runtime.why_absent

    def why(runtime: select_runtime.Runtime) -> str | None:
        return absent.get(runtime) or real(runtime)

    monkeypatch.setattr(select_runtime, "why_absent", why)
    monkeypatch.setattr(engine_command, "why_absent", why)


def words(text: str) -> str:
    return " ".join(text.split())


def test_list_has_a_line_for_every_model_and_runtime(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engine", "list", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["rows"]
    assert [(row["model"], row["runtime"]) for row in rows] == [
        (model, NAMES[runtime]) for model in ("keyed", "restored") for runtime in RUNTIMES
    ]
    states = {row["runtime"]: row["state"] for row in rows[:4]}
    assert states == {
        "TensorRT": "tensorrt not installed: pip install 'bauta[gpu]'",
        "PyTorch on CUDA": "no GPU",
        "OpenVINO": "ready, taken by default",
        "PyTorch on the CPU": "ready",
    }
    assert main(["engine", "list"]) == 0
    assert "pip install 'bauta[gpu]'" in words(capsys.readouterr().out)  # brackets are no markup


def test_list_says_which_weights_are_damaged(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = home / "weights" / "keyed" / "recover.onnx"
    content = path.read_bytes()
    try:
        path.write_bytes(content[:-1])
        assert main(["engine", "list", "--json"]) == 0
        rows = json.loads(capsys.readouterr().out)["rows"]
        assert all("recover.onnx has SHA-256" in row["state"] for row in rows[:4])
        assert main(["engine", "build", "keyed"]) == 1
        error = capsys.readouterr().err
        assert error.startswith("bauta: model keyed: recover.onnx has SHA-256")
        assert error.count("\n") == 1
    finally:
        path.write_bytes(content)


def test_build_says_what_and_how_long(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engine", "build", "restored"]) == 0
    tensorrt, openvino = capsys.readouterr().out.splitlines()
    assert tensorrt.startswith("restored  TensorRT: left out: tensorrt not installed")
    assert openvino.startswith("restored  OpenVINO: 3 parts in ")
    assert openvino.endswith(" s; nothing to keep, it compiles at every start")


def test_parity_holds_for_what_is_here(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engine", "parity", "restored", "--json"]) == 0
    rows = {row["runtime"]: row for row in json.loads(capsys.readouterr().out)["rows"]}
    assert rows["TensorRT"]["verdict"].startswith("left out: ")
    found = rows["OpenVINO"]
    assert found["verdict"] == "holds"
    assert found["protect_levels"] <= 1 and found["allowed"]["levels"] == 1
    assert abs(found["loss_db"]) < 0.1


def test_half_precision_can_be_judged_without_a_gpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["engine", "parity", "restored", "--half"]) == 0
    out = words(capsys.readouterr().out)
    assert "float16, on the CPU" in out and "LOST" not in out


def test_parity_that_is_lost_is_a_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    real = OpenVinoEngine.run

    def off(self: OpenVinoEngine, inputs: dict[str, Array]) -> dict[str, Array]:
        return {name: tensor + 0.1 for name, tensor in real(self, inputs).items()}

    monkeypatch.setattr(OpenVinoEngine, "run", off)
    assert main(["engine", "parity", "keyed"]) == 1
    assert "LOST" in capsys.readouterr().out


def test_a_runtime_that_fails_to_build_is_a_failed_parity(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(*_: object) -> None:
        raise EngineError("OpenVINO cannot open model keyed")

    monkeypatch.setitem(OPENERS, "openvino", broken)
    assert main(["engine", "parity", "keyed"]) == 1
    assert "FAILED: OpenVINO cannot open model keyed" in words(capsys.readouterr().out)


def test_bench_times_every_part(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["engine", "bench", "restored", "--size", "24", "--batch", "1", "3", "--json"]
    assert main([*arguments, "--threads", "1"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["size_px"] == 24 and "RTX 3090" in report["facts"]
    rows = report["rows"]
    assert {row["runtime"] for row in rows} == {"OpenVINO", "PyTorch on the CPU"}
    assert [(row["part"], row["faces"]) for row in rows[:6]] == [
        (part, faces) for faces in (1, 3) for part in ("protect", "recover", "restore")
    ]
    for row in rows:
        assert row["network_ms"] > 0 and row["face_ms"] > 0
        assert ("whole_ms" in row) == (row["part"] != "recover")
    assert main(["engine", "bench", "keyed", "--size", "8", "--batch", "1"]) == 0
    assert "14 ms for 16 faces" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["bench", "restored", "--size", "30"], 2, "restored takes multiples of 4 px, got 30"),
        (["bench", "--batch", "0"], 2, "--batch: at least 1 face"),
        (["bench", "nope"], 1, "unknown model 'nope'"),
        (["build", "nope"], 1, "has: keyed, restored"),
    ],
)
def test_wrong_use_is_one_line(
    arguments: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["engine", *arguments]) == code
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1


def test_without_an_action(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(["engine"])
    assert caught.value.code == 2
    assert "ACTION" in capsys.readouterr().err


def test_a_catalogue_without_fusion_models(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    entries: list[FusionEntry] = []
    write_catalog(tmp_path, entries)
    monkeypatch.setattr(engine_command, "config_path", lambda name: tmp_path / name)
    assert main(["engine", "bench"]) == 1
    assert "holds no fusion model" in capsys.readouterr().err
