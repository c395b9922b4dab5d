"""Small fusion networks with random weights, exported as a catalogue has them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import yaml

from engines.bands import BandLayout
from engines.catalog import FusionEntry
from engines.export.to_onnx import export
from engines.fusion import FusionSpec, Part
from engines.nets.fusion import FusionNet, net_for
from engines.select_runtime import Runtime, why_absent

YUV, RGB = BandLayout("yuv420", 2), BandLayout("rgb", 1)

SCRAMBLED = FusionSpec("scrambled", YUV, "randwr", False, True, growth=4, depth=2)
KEYED = FusionSpec("keyed", RGB, "obfswr", True, False, growth=4, depth=2)
ONE_BLOCK = FusionSpec("one-block", BandLayout("yuv420", 1), "randwr", True, True, 3, 1)
RESTORED = FusionSpec("restored", YUV, "randwr", False, True, 4, 2, restore_width=6)
POLISHED = replace(RESTORED, name="polished", carries="face")
SPECS = (SCRAMBLED, KEYED, ONE_BLOCK, RESTORED, POLISHED)
"""Every way in which models differ: keyed, scrambled, both; with and without a restore step; one
block; key bands that are repeated to the channels evenly and not."""


def random_net(spec: FusionSpec, seed: int = 0) -> FusionNet:
    """New blocks are the identity: every weight that begins at zero is given a value."""
    net = net_for(spec)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in net.parameters():
            noise = torch.randn(weight.shape, generator=generator)
            weight.copy_(noise * (0.5 / max(weight[0].numel(), 1) ** 0.5))
    return net.eval()


def exported(spec: FusionSpec, home: Path, seed: int = 0) -> FusionEntry:
    """A network of random weights under home/weights/NAME, and its entry."""
    folder = f"weights/{spec.name}"
    digests = export(random_net(spec, seed), home / folder)
    parts: tuple[Part, ...] = get_args(Part)
    return FusionEntry(
        spec=spec,
        family="proface-s",
        folder=folder,
        sha256s={part: digests[part] for part in parts if part in digests},
        licence="Apache-2.0",
        source="random weights",
        fix="Export it again",
        home=home,
    )


def as_fields(entry: FusionEntry) -> dict[str, Any]:
    """As models.yaml has it."""
    spec = entry.spec
    return {
        "family": entry.family,
        "folder": entry.folder,
        "sha256": dict(entry.sha256s),
        "planes": spec.layout.planes,
        "levels": spec.layout.levels,
        "growth": spec.growth,
        "depth": spec.depth,
        "restore_width": spec.restore_width,
        "carries": spec.carries,
        "mode": spec.mode,
        "keyed": spec.keyed,
        "scrambled": spec.scrambled,
        "licence": entry.licence,
        "source": entry.source,
        "fix": entry.fix,
    }


def write_catalog(home: Path, entries: Sequence[FusionEntry]) -> Path:
    """A models.yaml beside the weights; its path."""
    path = home / "models.yaml"
    tree = {entry.name: as_fields(entry) for entry in entries}
    path.write_text(yaml.safe_dump(tree), encoding="utf-8")
    return path


def need(runtime: Runtime) -> None:
    """Skip where a runtime is absent; fail where `make test-gpu` promised it."""
    if (reason := why_absent(runtime)) is not None:
        if os.environ.get("BAUTA_REQUIRE_GPU"):
            pytest.fail(reason)
        pytest.skip(reason)
