"""models.yaml as entries: which file, which hash, which tensors, whose licence.

A file reference is `package:NAME/FILE` (a resource inside an installed wheel; none of that
wheel's code runs) or a bare file name, looked for in $BAUTA_MODELS and then in the user's data
folder. A file is opened only when its SHA-256 is the catalogued one.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from .base import EngineError


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One network of the catalogue."""

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


def model_folders() -> list[Path]:
    """Where files that no wheel carries are looked for, first match wins."""
    folders = [Path(folder)] if (folder := os.environ.get("BAUTA_MODELS")) else []
    data_home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return [*folders, Path(data_home).expanduser() / "bauta" / "models"]


@dataclass(frozen=True, slots=True)
class Catalog:
    """All entries of one models.yaml."""

    entries: dict[str, ModelEntry]

    @classmethod
    def load(cls, path: Path) -> Catalog:
        """Raises EngineError where the file is missing or an entry is incomplete."""
        try:
            tree: dict[str, dict[str, Any]] = yaml.safe_load(path.read_text(encoding="utf-8"))
            return cls({name: _entry(name, fields) for name, fields in tree.items()})
        except OSError as error:
            raise EngineError(f"models.yaml cannot be read: {error.strerror}") from error
        except (yaml.YAMLError, AttributeError, TypeError, KeyError) as error:
            raise EngineError(f"models.yaml is damaged: {error}; reinstall bauta") from error

    def entry(self, name: str) -> ModelEntry:
        """Raises EngineError for a name that is not catalogued."""
        try:
            return self.entries[name]
        except KeyError:
            known = ", ".join(sorted(self.entries))
            raise EngineError(f"unknown model {name!r}; configs/models.yaml has: {known}") from None


def _entry(name: str, fields: dict[str, Any]) -> ModelEntry:
    width, height = fields.pop("input_size_px")
    return ModelEntry(name=name, input_size_px=(int(width), int(height)), **fields)


def verified_file(entry: ModelEntry) -> Path:
    """The model's file, its hash checked. Raises EngineError with the fix."""
    path = _find(entry)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != entry.sha256:
        raise EngineError(
            f"model {entry.name}: {path.name} has SHA-256 {digest[:12]}…, expected "
            f"{entry.sha256[:12]}…; it is not the file that was tested. {entry.fix}"
        )
    return path


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
