"""YAML and environment to settings. An unknown key is an error that names the nearest one.

`${NAME}` anywhere in a text takes an environment variable, `file:PATH` as a whole value takes a
file's first line: credentials stay out of the configuration. Values never appear in errors where
they could hold a secret.
"""

from __future__ import annotations

import difflib
import os
import re
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from .errors import SettingsError
from .settings import Settings

_REFERENCE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_SECRET_KEYS = ("source", "publish")


def load_settings(path: Path) -> Settings:
    """A configuration file, checked. Raises SettingsError with one line."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SettingsError(f"{path}: no such configuration file") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: cannot be read: {error}") from None
    try:
        tree = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "not valid YAML"
        raise SettingsError(f"{path}: {problem}{where}") from None
    if not isinstance(tree, dict):
        raise SettingsError(f"{path}: must hold keys such as 'cameras:', see configs/default.yaml")
    try:
        return settings_from(tree)
    except SettingsError as error:
        raise SettingsError(f"{path}: {error}") from None


def settings_from(tree: dict[str, Any]) -> Settings:
    """A parsed configuration, checked. Raises SettingsError with one line."""
    resolved = _resolve(tree, "")
    try:
        return Settings.model_validate(resolved)
    except ValidationError as error:
        raise SettingsError(_one_line(error)) from None


def expand(text: str) -> str:
    """`${NAME}` by the environment. Raises SettingsError where it is not set."""

    def value(match: re.Match[str]) -> str:
        try:
            return os.environ[match[1]]
        except KeyError:
            raise SettingsError(
                f"${{{match[1]}}} is not set in the environment; export {match[1]}=…"
            ) from None

    return _REFERENCE.sub(value, text)


def _resolve(node: Any, key: str) -> Any:
    if isinstance(node, dict):
        return {name: _resolve(value, str(name)) for name, value in node.items()}
    if isinstance(node, list):
        return [_resolve(value, key) for value in node]
    if not isinstance(node, str):
        return node
    if node.startswith("file:") and key in _SECRET_KEYS:
        path = Path(expand(node.removeprefix("file:")))
        try:
            return path.read_text(encoding="utf-8").splitlines()[0].strip()
        except (OSError, ValueError, IndexError):  # ValueError: not text
            raise SettingsError(f"{key}: file:{path} cannot be read or is empty") from None
    return expand(node)


def _one_line(error: ValidationError) -> str:
    """The first problem, as: where, what, what to do."""
    problems = error.errors(include_url=False, include_input=False)
    # a misspelt key is also a missing one: the spelling is what helps
    misspelt = (problem for problem in problems if problem["type"] == "extra_forbidden")
    problem = next(misspelt, problems[0])
    where = _path_text(problem["loc"])
    if problem["type"] == "extra_forbidden":
        key = str(problem["loc"][-1])
        known = _keys_at(Settings, problem["loc"][:-1])
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(sorted(known))}"
        return f"{where}: unknown key; {hint}"
    message = problem["msg"].removeprefix("Value error, ")
    if problem["type"] == "missing":
        message = "is required"
    return f"{where}: {message}" if where else message


def _path_text(location: tuple[int | str, ...]) -> str:
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _keys_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    """The keys that the settings know at a place."""
    current: type[BaseModel] = model
    is_name = False  # the next part names an entry, as a key of `recipients` does
    for part in location:
        if isinstance(part, int) or is_name:
            is_name = False
            continue
        field = current.model_fields.get(part)
        inner = _model_in(field.annotation) if field else None
        if field is None or inner is None:
            return []
        is_name = get_origin(field.annotation) is dict
        current = inner
    return list(current.model_fields)


def _model_in(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    if get_origin(annotation) is Annotated:
        return _model_in(get_args(annotation)[0])
    if get_origin(annotation) in (dict, list, Union, UnionType):
        for argument in get_args(annotation):
            if (found := _model_in(argument)) is not None:
                return found
    return None
