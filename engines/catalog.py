"""models.yaml as entries: which files, which hashes, which tensors, whose licence.

A detector's file is `package:NAME/FILE` (a resource inside an installed wheel; none of that
wheel's code runs) or a bare file name, looked for in $BAUTA_MODELS and then in the user's data
folder. A fusion model is a folder of graphs, looked for in $BAUTA_MODELS, beside models.yaml
and in the data folder. A file is opened only when its SHA-256 is the catalogued one.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import yaml

from .bands import BandLayout
from .base import EngineError
from .fusion import Carries, FusionSpec, Part, WrongRecovery

Graphs = Mapping[Part, bytes]  # the ONNX graphs of a model, hash-checked

FUSION_FAMILIES = ("proface-s",)


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One detector of the catalogue."""

    name: str
    family: str  # which pre- and post-processing belongs to it
    file: str
    sha256: str
    input_name: str
    input_size_px: tuple[int, int]  # (width, height) it is run at; a multiple of 32
    colour: str  # "rgb" or "bgr": order of the input's channels, values 0..255
    licence: str
    source: str  # where it comes from, for people
    fix: str  # what to do when the file is missing

    def __post_init__(self) -> None:
        width, height = self.input_size_px
        if width % 32 or height % 32 or width <= 0 or height <= 0:
            raise EngineError(
                f"models.yaml: {self.name}.input_size_px must be multiples of 32, got "
                f"{width}x{height}"
            )


@dataclass(frozen=True, slots=True)
class FusionEntry:
    """One fusion model of the catalogue: a folder with PART.onnx for each of `spec.parts`."""

    spec: FusionSpec
    family: str
    folder: str  # relative to a model folder, such as weights/proface-s
    sha256s: Mapping[Part, str]
    licence: str
    source: str
    fix: str
    home: Path  # where models.yaml lies

    def __post_init__(self) -> None:
        if set(self.sha256s) != set(self.spec.parts):
            raise EngineError(
                f"models.yaml: {self.name}.sha256 must have {', '.join(self.spec.parts)}, got "
                f"{', '.join(sorted(self.sha256s))}"
            )

    @property
    def name(self) -> str:
        """As in models.yaml."""
        return self.spec.name

    @property
    def protect_sha256(self) -> str:
        """Names the network that protects."""
        return self.sha256s["protect"]

    @property
    def recover_sha256(self) -> str:
        """Names the network that recovers."""
        return self.sha256s["recover"]


def model_folders() -> list[Path]:
    """Where files that no wheel carries are looked for, first match wins."""
    folders = [Path(folder)] if (folder := os.environ.get("BAUTA_MODELS")) else []
    data_home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return [*folders, Path(data_home).expanduser() / "bauta" / "models"]


@dataclass(frozen=True, slots=True)
class Catalog:
    """All entries of one models.yaml: detectors in `entries`, fusion models in `fusions`."""

    entries: dict[str, ModelEntry]
    fusions: dict[str, FusionEntry]

    @classmethod
    def load(cls, path: Path) -> Catalog:
        """Raises EngineError where the file is missing or an entry is incomplete."""
        entries: dict[str, ModelEntry] = {}
        fusions: dict[str, FusionEntry] = {}
        try:
            tree: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))
            for name, fields in tree.items():
                if fields.get("family") in FUSION_FAMILIES:
                    fusions[name] = _fusion_entry(name, fields, path.parent)
                else:
                    entries[name] = _entry(name, fields)
        except OSError as error:
            raise EngineError(f"models.yaml cannot be read: {error.strerror}") from error
        except (yaml.YAMLError, AttributeError, TypeError, KeyError, ValueError) as error:
            line = " ".join(str(error).split())
            raise EngineError(f"models.yaml is damaged: {line}; reinstall bauta") from error
        return cls(entries, fusions)

    def entry(self, name: str) -> ModelEntry:
        """A detector. Raises EngineError for a name that is not catalogued as one."""
        if name in self.entries:
            return self.entries[name]
        raise self._unknown(name, "detector", self.entries)

    def fusion(self, name: str) -> FusionEntry:
        """A fusion model. Raises EngineError for a name that is not catalogued as one."""
        if name in self.fusions:
            return self.fusions[name]
        raise self._unknown(name, "fusion model", self.fusions)

    def _unknown(self, name: str, kind: str, known: dict[str, Any]) -> EngineError:
        names = ", ".join(sorted(known)) or f"no {kind}"
        if name in self.entries or name in self.fusions:
            other = self.entries.get(name) or self.fusions[name]
            what = f"model {name!r} is of family {other.family}, not a {kind}"
        else:
            what = f"unknown model {name!r}"
        return EngineError(f"{what}; configs/models.yaml has: {names}")


def _entry(name: str, fields: dict[str, Any]) -> ModelEntry:
    width, height = fields.pop("input_size_px")
    return ModelEntry(name=name, input_size_px=(int(width), int(height)), **fields)


def _fusion_entry(name: str, fields: dict[str, Any], home: Path) -> FusionEntry:
    mode, keyed, scrambled = (fields.pop(key) for key in ("mode", "keyed", "scrambled"))
    if mode not in get_args(WrongRecovery):
        raise ValueError(f"{name}.mode must be {' or '.join(get_args(WrongRecovery))}, got {mode}")
    carries = fields.pop("carries", "difference")
    if carries not in get_args(Carries):
        raise ValueError(f"{name}.carries must be face or difference, got {carries}")
    if not (isinstance(keyed, bool) and isinstance(scrambled, bool)):
        raise ValueError(f"{name}.keyed and {name}.scrambled must be true or false")
    spec = FusionSpec(
        name=name,
        layout=BandLayout(fields.pop("planes"), int(fields.pop("levels"))),
        mode=mode,
        keyed=keyed,
        scrambled=scrambled,
        growth=int(fields.pop("growth")),
        depth=int(fields.pop("depth")),
        restore_width=int(fields.pop("restore_width", 0)),
        carries=carries,
    )
    hashes = {part: str(digest) for part, digest in fields.pop("sha256").items()}
    return FusionEntry(spec=spec, home=home, sha256s=hashes, **fields)


def verified_file(entry: ModelEntry) -> Path:
    """A detector's file, its hash checked. Raises EngineError with the fix."""
    path = _find(entry)
    _read_verified(path, entry.sha256, entry.name, entry.fix)
    return path


def verified_graphs(entry: FusionEntry) -> Graphs:
    """All graphs of a fusion model, their hashes checked. Raises EngineError with the fix."""
    return {part: verified_graph(entry, part) for part in entry.spec.parts}


def verified_graph(entry: FusionEntry, part: Part) -> bytes:
    """One graph of a fusion model, its hash checked. Raises EngineError with the fix.

    The bytes, not the path: what was checked is what gets opened.
    """
    *chosen, data = model_folders()
    file = f"{part}.onnx"
    folders = [folder / entry.folder for folder in (*chosen, entry.home, data)]
    for folder in folders:
        if folder.is_dir():
            return _read_verified(folder / file, entry.sha256s[part], entry.name, entry.fix)
    tried = " or ".join(str(folder) for folder in folders)
    raise EngineError(f"model {entry.name}: there is no {tried}. {entry.fix}")


def _read_verified(path: Path, sha256: str, name: str, fix: str) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise EngineError(
            f"model {name}: {path.name} cannot be read: {error.strerror}. {fix}"
        ) from error
    digest = hashlib.sha256(content).hexdigest()
    if digest != sha256:
        raise EngineError(
            f"model {name}: {path.name} has SHA-256 {digest[:12]}…, expected {sha256[:12]}…; "
            f"it is not the file that was tested. {fix}"
        )
    return content


def _find(entry: ModelEntry) -> Path:
    if entry.file.startswith("package:"):
        package, _, resource = entry.file.removeprefix("package:").partition("/")
        # find_spec does not import a top-level package: its code never runs here.
        spec = importlib.util.find_spec(package)
        for root in (spec.submodule_search_locations or []) if spec else []:
            if (path := Path(root) / resource).is_file():
                return path
        raise EngineError(f"model {entry.name}: {resource} is not installed. {entry.fix}")
    for folder in model_folders():
        if (path := folder / entry.file).is_file():
            return path
    tried = " or ".join(str(folder) for folder in model_folders())
    raise EngineError(f"model {entry.name}: {entry.file} is not in {tried}. {entry.fix}")
