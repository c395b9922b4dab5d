"""Checkpoints as one safetensors file: weights, their running mean, the optimizer, and in the
metadata everything that says what they are. No pickle: opening one runs no code."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import safetensors
import torch
from safetensors.torch import save_file
from torch import Tensor

from ..bands import BandLayout
from ..base import EngineError
from ..fusion import FusionSpec
from ..nets.fusion import FusionNet, net_for

FORMAT = "bauta-training/1"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A run at one step."""

    spec: FusionSpec
    step: int
    settings: dict[str, Any]
    data: dict[str, Any]  # provenance: file, hash, faces, split
    history: list[dict[str, float]]
    weights: dict[str, Tensor] = field(repr=False)
    mean_weights: dict[str, Tensor] = field(repr=False)  # exponential running mean: what ships
    optimizer: dict[str, Tensor] = field(repr=False)  # first and second moments by parameter


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Atomic: an interruption leaves the file before. Raises EngineError."""
    tensors: dict[str, Tensor] = {}
    for prefix, group in (
        ("weights", checkpoint.weights),
        ("mean", checkpoint.mean_weights),
        ("optimizer", checkpoint.optimizer),
    ):
        tensors |= {f"{prefix}/{name}": t.detach().cpu().contiguous() for name, t in group.items()}
    about = {
        "format": FORMAT,
        "spec": asdict(checkpoint.spec),
        "step": checkpoint.step,
        "settings": checkpoint.settings,
        "data": checkpoint.data,
        "history": checkpoint.history,
    }
    beside = path.with_suffix(".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file(tensors, beside, metadata={"bauta": json.dumps(about)})
        beside.replace(path)
    except OSError as error:
        raise EngineError(f"{path}: checkpoint cannot be written ({error.strerror})") from error


def load(path: Path) -> Checkpoint:
    """Raises EngineError for anything that is not a checkpoint of ours."""
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            about = json.loads((file.metadata() or {})["bauta"])
            groups: dict[str, dict[str, Tensor]] = {"weights": {}, "mean": {}, "optimizer": {}}
            for key in file.keys():  # noqa: SIM118 -- not a mapping
                prefix, _, name = key.partition("/")
                groups[prefix][name] = file.get_tensor(key)
        if about["format"] != FORMAT:
            raise KeyError("format")
        return Checkpoint(
            spec=_spec(about["spec"]),
            step=int(about["step"]),
            settings=about["settings"],
            data=about["data"],
            history=about["history"],
            weights=groups["weights"],
            mean_weights=groups["mean"],
            optimizer=groups["optimizer"],
        )
    except FileNotFoundError:
        raise EngineError(f"{path}: no such checkpoint") from None
    except (OSError, safetensors.SafetensorError, KeyError, TypeError, ValueError) as error:
        raise EngineError(f"{path}: not a {FORMAT} checkpoint ({type(error).__name__})") from error


def load_model(path: Path) -> tuple[FusionSpec, FusionNet]:
    """The running mean of a checkpoint's weights, ready to use. Raises EngineError."""
    checkpoint = load(path)
    net = net_for(checkpoint.spec)
    try:
        net.load_state_dict(checkpoint.mean_weights)
    except RuntimeError as error:
        raise EngineError(f"{path}: weights do not fit the dimensions it states") from error
    return checkpoint.spec, net.eval()


def _spec(fields: dict[str, Any]) -> FusionSpec:
    return FusionSpec(**{**fields, "layout": BandLayout(**fields["layout"])})


def moments(optimizer: torch.optim.Adam, net: FusionNet) -> dict[str, Tensor]:
    """Adam's state as named tensors."""
    found = {}
    for name, parameter in net.named_parameters():
        for key, value in optimizer.state.get(parameter, {}).items():
            found[f"{name}/{key}"] = value
    return found


def restore_moments(optimizer: torch.optim.Adam, net: FusionNet, named: dict[str, Tensor]) -> None:
    """The inverse of `moments`."""
    for name, parameter in net.named_parameters():
        state = {
            key.rpartition("/")[2]: value
            for key, value in named.items()
            if key.rpartition("/")[0] == name
        }
        if state:
            moved = {k: v if k == "step" else v.to(parameter.device) for k, v in state.items()}
            optimizer.state[parameter] = moved
